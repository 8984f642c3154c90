//! What can be set about fetching from origins.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pcdn_core::unit::{Rate, Span};
use serde::{Deserialize, Serialize};

use super::guard::OriginPattern;

/// Settings of [`Http`](super::Http). Times and rates have text forms: `3s`, `16KiB/s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Hosts that may be fetched from although their address is loopback or private: `HOST[:PORT]`, globs allowed
    /// (`--origin`). Default none.
    pub allow: Vec<OriginPattern>,
    /// Fetch from the hosts in `allow` only, public ones included. Default false.
    pub only_allowed: bool,
    /// Headers sent with every request to the origin, and dropped when it redirects to another one (`--header`).
    pub headers: Vec<HeaderLine>,
    /// Local address of origin requests (`--origin-bind`).
    pub bind: Option<IpAddr>,
    /// PEM file of the only certificate authorities to trust, instead of the system's (`--origin-ca`).
    pub ca: Option<PathBuf>,
    /// Which version of HTTP is spoken to `https` origins (`--origin-http`). Default [`OriginHttp::Auto`].
    pub http: OriginHttp,
    /// DNS, TCP and TLS together. Default 3 s: a SYN is sent twice in it.
    pub connect_timeout: Span,
    /// From a request to the head of its answer, connecting included. Default 5 s.
    pub first_byte_timeout: Span,
    /// The longest silence within a body. Default 4 s.
    pub stall_timeout: Span,
    /// A body of known length that comes slower than this is given up. Default 16 KiB/s, below any watchable bit rate.
    pub rate_min: Rate,
    /// Over how much waiting `rate_min` is measured; time in which nobody reads does not count. Default 5 s.
    pub rate_window: Span,
    /// Redirects followed in one request. Default 5.
    pub redirects_max: u32,
    /// Attempts for one request, the first included. Default 4: at once, then after about 0.25 s and 0.5 s.
    pub attempts: u32,
    /// Time for one request up to its first byte, retries included. Default 10 s.
    pub give_up_after: Span,
    /// The longest wait inserted before a retry; an origin that asks for more (`Retry-After`) gets an error reported at once.
    /// Default 2 s.
    pub retry_wait_max: Span,
    /// Idle connections kept per host. Default 6, as browsers do for HTTP/1.1.
    pub idle_per_host: usize,
    /// How long an idle connection is kept. Default 50 s: most servers close after 60 s or more, and losing that race costs
    /// a retry.
    pub idle_timeout: Span,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let secs = |n| Span(Duration::from_secs(n));
        Self {
            allow: Vec::new(),
            only_allowed: false,
            headers: Vec::new(),
            bind: None,
            ca: None,
            http: OriginHttp::Auto,
            connect_timeout: secs(3),
            first_byte_timeout: secs(5),
            stall_timeout: secs(4),
            rate_min: Rate(16 << 10),
            rate_window: secs(5),
            redirects_max: 5,
            attempts: 4,
            give_up_after: secs(10),
            retry_wait_max: secs(2),
            idle_per_host: 6,
            idle_timeout: secs(50),
        }
    }
}

/// Which version of HTTP is spoken to `https` origins. Plain `http` is always HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginHttp {
    /// HTTP/2 or 1.1, whichever the server prefers, and HTTP/3 where it offers that (`Alt-Svc`) and UDP gets through.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1 only.
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 only.
    #[serde(rename = "2")]
    Http2,
    /// HTTP/3 at once, without waiting for an offer; as with [`Auto`](Self::Auto) where it does not answer.
    #[serde(rename = "3")]
    Http3,
}

impl OriginHttp {
    const NAMES: [(Self, &str); 4] =
        [(Self::Auto, "auto"), (Self::Http1, "1.1"), (Self::Http2, "2"), (Self::Http3, "3")];
}

impl fmt::Display for OriginHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(version, _)| version == self).map_or("auto", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for OriginHttp {
    type Err = OriginHttpError;

    fn from_str(text: &str) -> Result<Self, OriginHttpError> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found
            .map(|(version, _)| *version)
            .ok_or_else(|| OriginHttpError { got: text.chars().take(80).collect() })
    }
}

/// Text that is not an [`OriginHttp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is no version of HTTP that is spoken here: write auto, 1.1, 2 or 3")]
pub struct OriginHttpError {
    got: String,
}

/// One request header, `Name: value`. Its value may be a secret: debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderLine {
    /// The name.
    pub name: HeaderName,
    /// The value.
    pub value: HeaderValue,
}

/// Headers that are the client's own business: a wrong one breaks framing, or asks for bytes nobody checks.
const RESERVED: [&str; 10] = [
    "host",
    "range",
    "if-range",
    "content-length",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "te",
    "upgrade",
    "if-none-match",
];

impl FromStr for HeaderLine {
    type Err = HttpConfigError;

    fn from_str(text: &str) -> Result<Self, HttpConfigError> {
        let bad = |why: &str| HttpConfigError::Header { why: why.to_owned() };
        let (name, value) = text.split_once(':').ok_or_else(|| bad("write it as 'Name: value'"))?;
        let name = HeaderName::from_str(name.trim()).map_err(|_| bad("its name is not a header name"))?;
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| bad("its value has characters a header cannot carry"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(bad(&format!("{name} is set by the node itself")));
        }
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl fmt::Debug for HeaderLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

impl Serialize for HeaderLine {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}: {}", self.name, String::from_utf8_lossy(self.value.as_bytes())))
    }
}

impl<'de> Deserialize<'de> for HeaderLine {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a setting cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpConfigError {
    /// `--header`.
    #[error("a request header is refused: {why}")]
    Header {
        /// What is wrong with it; never its value.
        why: String,
    },
    /// `--origin-ca`.
    #[error("cannot use the certificate file {path}: {why}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// TLS or the client could not be set up; a system without any certificate authority is the usual cause.
    #[error(
        "the HTTP client cannot start: {why}; if this system has no certificate store, give --origin-ca FILE"
    )]
    Client {
        /// What it said.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_their_values_hidden() {
        let line: HeaderLine = "Authorization: Bearer abc".parse().unwrap();
        assert_eq!((line.name.as_str(), line.value.to_str().unwrap()), ("authorization", "Bearer abc"));
        assert!(!format!("{line:?}").contains("abc"));
        for bad in ["no colon", "bad name: x", "Range: bytes=0-1", "Host: evil", "X: a\r\nY: b", ": x"] {
            let error = bad.parse::<HeaderLine>().unwrap_err().to_string();
            assert!(!error.contains("Y: b"), "{error}");
        }
    }
}
