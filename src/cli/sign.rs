//! `pcdn sign`: the publisher's manifest.

mod follow;

use std::path::{Path, PathBuf};

use pcdn_core::fragment::FragmentError;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::resource::Url;
use serde::Serialize;

use super::compose::{make_private_dir, origin};
use super::{Exit, Failure, tell};
use crate::config::{Config, SignConfig};
use crate::node::OpenError;
use crate::publish::{self, PublishError, Signed};

#[derive(Serialize)]
struct Report {
    /// What viewers pin with `--trust`.
    key: PeerId,
    signed: Vec<Signed>,
}

/// Runs the verb.
pub(crate) async fn run(what: &str, config: &Config) -> Result<Exit, Failure> {
    let is_url = what.contains("://");
    if config.sign.follow {
        let key = key(&config.sign)?;
        return if is_url {
            follow::stream(what, config, key).await
        } else {
            follow::files(Path::new(what), config, key).await
        };
    }
    if is_url {
        return remote(what, config).await;
    }
    let (what, sign) = (PathBuf::from(what), config.sign.clone());
    let report = tokio::task::spawn_blocking(move || sign_all(&what, &sign));
    let report = report.await.map_err(Failure::other)??;
    tell_of(&report, config)
}

/// Signs what lies at an origin.
async fn remote(url: &str, config: &Config) -> Result<Exit, Failure> {
    let url: Url = url.parse().map_err(|e| Failure::new(Exit::Usage, format!("{url}: {e}")))?;
    let manifest = follow::out_of(&url, config)?;
    let (key, origin) = (key(&config.sign)?, origin(&config.node)?);
    if url.scheme() == "http" {
        tracing::warn!("read over plain HTTP: whoever is on the way decides what is signed");
    }
    let signed = publish::sign_url(&origin, &url, &manifest, &key).await.map_err(|error| match error {
        PublishError::Origin { source, .. } => Failure::of_open(&url, &OpenError::Origin(source)),
        PublishError::Fragment(FragmentError::Playlist) => Failure::new(
            Exit::Usage,
            format!("{url}: of a playlist, sign its directory where it lies, or let a mapping node sign it"),
        ),
        error => error.into(),
    })?;
    tell_of(&Report { key: key.peer_id(), signed: vec![signed] }, config)
}

fn tell_of(report: &Report, config: &Config) -> Result<Exit, Failure> {
    for signed in report.signed.iter().filter(|signed| signed.missing > 0) {
        tell::line(&missing(signed));
    }
    if config.json {
        return tell::json(report);
    }
    for signed in &report.signed {
        tell::out(&signed.manifest.display().to_string())?;
    }
    tell::line(&format!("signed by {}", report.key));
    Ok(Exit::Done)
}

fn sign_all(what: &Path, config: &SignConfig) -> Result<Report, Failure> {
    let key = key(config)?;
    let meta = std::fs::metadata(what)
        .map_err(|e| Failure::disk(format!("{} cannot be read", what.display()), &e))?;
    let signed = if meta.is_dir() {
        refuse_out(config)?;
        publish::sign_dir(what, &base(config), &key, |_| None)?
    } else {
        let manifest = config.out.as_ref().map_or_else(|| publish::manifest_path(what), PathBuf::from);
        match publish::sign_one(what, &manifest, config.base_url.as_ref(), &key)? {
            Some(signed) => vec![signed],
            None => {
                let line = format!(
                    "{}: it lists no segment that is on this machine; of a master playlist, sign the playlists it names, or the directory",
                    what.display()
                );
                return Err(Failure::other(line));
            }
        }
    };
    Ok(Report { key: key.peer_id(), signed })
}

fn refuse_out(config: &SignConfig) -> Result<(), Failure> {
    match config.out {
        Some(_) => Err(Failure::new(
            Exit::Usage,
            "--out names one manifest and a directory gives many; leave it out",
        )),
        None => Ok(()),
    }
}

/// Where a directory is served, for playlists that name segments by absolute paths: at the server's root unless told.
fn base(config: &SignConfig) -> Url {
    config.base_url.clone().unwrap_or_else(|| Url::parse("http://localhost/").expect("a URL"))
}

/// What is said of a playlist that lists more than there is.
fn missing(signed: &Signed) -> String {
    format!(
        "{}: {} segments that it lists were not found whole beside it and are not signed; if it names them by absolute paths, give --base-url",
        signed.file.display(),
        signed.missing
    )
}

fn key(config: &SignConfig) -> Result<Identity, Failure> {
    let file = match &config.key {
        Some(file) => PathBuf::from(file),
        None => default_key()?,
    };
    Ok(crate::identity::load_or_create(&file)?)
}

/// `pcdn/publisher.key` in the user's configuration directory, which is made.
fn default_key() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::new(Exit::Config, "no place for the publisher's key: HOME is not set; give --key FILE")
    })?;
    let dir = base.join("pcdn");
    make_private_dir(&dir)?;
    Ok(dir.join("publisher.key"))
}
