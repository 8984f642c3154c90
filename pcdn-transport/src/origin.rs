//! The S of P2SP: fetching from ordinary HTTP servers, and not being fooled by them.
//!
//! [`Http`] is the shipped [`Origin`](pcdn_core::origin::Origin). It keeps connections (a range costs no new handshake),
//! speaks HTTP/1.1 and HTTP/2, and promises what the seam promises: exactly the asked bytes of the asked version, or an error
//! that says whose fault it is. Decisions live in pure files, the shell only asks them:
//!
//! | read | decides |
//! |---|---|
//! | `guard.rs` | which hosts and addresses may be fetched from (SSRF, also after DNS and redirects) |
//! | `range.rs` | what an answer to a range request is worth |
//! | `retry.rs` | whether to ask again, and when |
//! | `hosts.rs` | what is remembered of a host: told to wait, no ranges, retry budget |
//! | `http.rs`, `send.rs`, `body.rs`, `head.rs` | the shell: clients, redirects, timeouts, counted bytes |
//! | `pass.rs` | raw answers for a gateway that passes them through |
//! | `mirrors.rs` | several URLs of one content, with failover |
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use pcdn_core::{dice::Dice, origin::*, resource::Url};
//! use pcdn_transport::origin::{Http, HttpConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = HttpConfig { allow: vec!["127.0.0.1:8080".parse()?], ..HttpConfig::default() };
//! let origin = Http::new(config, Dice::new(7))?;
//! let mut body = origin.get(&OriginGet::whole(Url::parse("http://127.0.0.1:8080/film.flv")?)).await?;
//! while let Some(bytes) = body.bytes.next().await {
//!     println!("{} bytes", bytes?.len());
//! }
//! # Ok(()) }
//! ```

mod body;
mod config;
mod guard;
mod head;
mod hosts;
mod http;
mod mirrors;
mod pass;
mod range;
mod retry;
mod send;
#[cfg(test)]
mod tests;

pub use config::{HeaderLine, HttpConfig, HttpConfigError};
pub use guard::{OriginPattern, PatternError, is_global};
pub use http::Http;
pub use mirrors::Mirrors;
pub use pass::Passed;
