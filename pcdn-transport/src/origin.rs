//! The S of P2SP: fetching from ordinary HTTP servers, and not being fooled by them.
//!
//! [`Http`] is the shipped [`Origin`](pcdn_core::origin::Origin). It keeps connections (a range costs no new handshake),
//! speaks HTTP/1.1, HTTP/2 and HTTP/3, and promises what the seam promises: exactly the asked bytes of the asked version, or an error
//! that says whose fault it is. Decisions live in pure files, the shell only asks them:
//!
//! | read | decides |
//! |---|---|
//! | `guard.rs` | which hosts and addresses may be fetched from (SSRF, also after DNS and redirects) |
//! | `range.rs` | what an answer to a range request is worth |
//! | `retry.rs` | whether to ask again, and when |
//! | `hosts.rs` | what is remembered of a host: told to wait, no ranges, retry budget |
//! | `alt_svc.rs` | where an origin says it answers over HTTP/3, and when that is left alone |
//! | `http.rs`, `send.rs`, `incoming.rs`, `body.rs`, `head.rs` | the shell: clients, redirects, timeouts, counted bytes |
//! | `http3.rs` | connections over QUIC, and when TCP takes over |
//! | `pass.rs` | raw answers for a gateway that passes them through |
//! | `mirrors.rs` | several URLs of one content, or of a tree of them, with failover |
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

mod alt_svc;
mod body;
mod config;
mod confirm;
mod guard;
mod head;
mod hosts;
mod http;
mod http3;
mod incoming;
mod mirrors;
mod pass;
mod range;
mod resources;
mod retry;
mod send;
mod tally;
#[cfg(test)]
mod tests;

pub use config::{HeaderLine, HttpConfig, HttpConfigError, OriginHttp, OriginHttpError};
pub use guard::{OriginPattern, PatternError, is_global};
pub use http::Http;
pub use mirrors::{MirroredTree, Mirrors};
pub use pass::Passed;
pub use tally::{Carried, OriginTraffic};
