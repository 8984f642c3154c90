//! Exit statuses, and what is said when a verb fails.

use std::process::ExitCode;

use pcdn_core::error::Judged as _;
use pcdn_core::origin::OriginError;

use crate::config::ConfigError;
use crate::identity::IdentityError;
use crate::node::OpenError;
use crate::publish::PublishError;
use crate::store::StoreError;

/// Why the program ended; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Other = 1,
    Usage = 2,
    Config = 3,
    NotFound = 4,
    Unreachable = 5,
    Integrity = 6,
    TimedOut = 7,
    Disk = 8,
    Forbidden = 9,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// One line for people, one number for scripts.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) line: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, line: impl std::fmt::Display) -> Self {
        // One line, whatever a system or a server put into its words.
        let line = line.to_string().replace(['\n', '\r'], " ");
        Self { exit, line }
    }

    pub(crate) fn other(line: impl std::fmt::Display) -> Self {
        Self::new(Exit::Other, line)
    }

    /// A file that cannot be read or written.
    pub(crate) fn disk(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::new(Exit::Disk, format!("{what}: {error}"))
    }

    /// A failure about `url`.
    pub(crate) fn of_open(url: &url::Url, error: &OpenError) -> Self {
        let hint = match error {
            OpenError::Origin(OriginError::Status { status: 404 | 410, .. }) => "; check the URL",
            OpenError::Origin(OriginError::Status { status: 401 | 403, .. }) => {
                "; give credentials with --header 'Authorization: …'"
            }
            OpenError::Origin(OriginError::Unreachable { .. } | OriginError::Silent(_)) => {
                "; check the network and the host"
            }
            OpenError::Store(_) => "; give another --data-dir or a smaller --cache-size",
            _ if error.transient() => "; try again later",
            _ => "",
        };
        Self::new(exit_of(error), format!("{}: {error}{hint}", shown(url)))
    }
}

/// A URL for people: without credentials and query, which may be tokens.
pub(crate) fn shown(url: &url::Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::Origin(error) => match error {
            OriginError::Status { status: 404 | 410, .. } => Exit::NotFound,
            OriginError::Unreachable { .. } => Exit::Unreachable,
            OriginError::Silent(_) => Exit::TimedOut,
            OriginError::Changed { .. } => Exit::Integrity,
            OriginError::Forbidden { .. } => Exit::Forbidden,
            _ => Exit::Other,
        },
        OpenError::Url(_) => Exit::Usage,
        OpenError::Integrity(_) => Exit::Integrity,
        OpenError::Store(_) => Exit::Disk,
        _ => Exit::Other,
    }
}

impl From<ConfigError> for Failure {
    /// What was typed is a matter of usage; files and the environment are configuration.
    fn from(error: ConfigError) -> Self {
        let exit = if error.is_of_command_line() { Exit::Usage } else { Exit::Config };
        Self::new(exit, error)
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(Exit::Config, error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Disk, error)
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let exit = match &error {
            PublishError::Io { .. } => Exit::Disk,
            PublishError::Changed { .. } => Exit::Integrity,
            _ => Exit::Other,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: OpenError, exit: Exit) {
        let url = "https://user:pass@cdn.example/film.mp4?token=secret".parse().unwrap();
        let failure = Failure::of_open(&url, &error);
        assert_eq!(failure.exit, exit, "{failure}");
        assert!(failure.line.starts_with("https://cdn.example/film.mp4: "), "{failure}");
        assert!(!failure.line.contains("secret") && !failure.line.contains('\n'));
    }

    #[test]
    fn what_is_typed_wrong_is_usage_and_what_is_configured_wrong_is_configuration() {
        let typed = crate::config::Sources {
            command_line: vec![("node.p2p", vec!["maybe".into()])],
            ..Default::default()
        };
        let set = crate::config::Sources {
            env: vec![("PCDN_NODE__P2P".into(), "maybe".into())],
            ..Default::default()
        };
        for (sources, exit) in [(typed, Exit::Usage), (set, Exit::Config)] {
            assert_eq!(Failure::from(crate::config::load(&sources).unwrap_err()).exit, exit);
        }
    }

    #[test]
    fn errors_have_the_statuses_of_the_contract() {
        let status = |status| OriginError::Status { status, retry_after: None };
        check(status(404).into(), Exit::NotFound);
        check(status(500).into(), Exit::Other);
        check(OriginError::Unreachable { why: "no\nroute".into() }.into(), Exit::Unreachable);
        check(OriginError::Silent(std::time::Duration::from_secs(5)).into(), Exit::TimedOut);
        check(OriginError::Changed { what: "length".into() }.into(), Exit::Integrity);
        check(OriginError::Forbidden { host: "x".into(), why: "private".into() }.into(), Exit::Forbidden);
        check(OpenError::Integrity("no proof".into()), Exit::Integrity);
        check(StoreError::Full("2 GiB".into()).into(), Exit::Disk);
        check(OpenError::Url("ftp".into()), Exit::Usage);
    }
}
