//! The gateway: what any player, browser or `curl` on this machine opens instead of the origin.
//!
//! A request for `/https/cdn.example/film.mp4` becomes [`Node::open`] of `https://cdn.example/film.mp4`; its bytes are pulled
//! from a [`Reader`](crate::node::Reader) only as fast as the client takes them, and a client that hangs up drops the reader
//! at once (players ask for a file to its end and cut the connection when they seek). What cannot be cut is passed through
//! from the origin.
//!
//! *Promises:* GET, HEAD and OPTIONS only; nothing is answered to a request whose `Host` is not ours; no page reads an
//! answer unless its origin was allowed by name.
//!
//! | file | subject |
//! |---|---|
//! | `gateway/route.rs` | which URL a request means |
//! | `gateway/range.rs`, `gateway/condition.rs` | `Range`, `If-…` |
//! | `gateway/answer.rs` | a request and its response |
//! | `gateway/outline.rs`, `gateway/head.rs` | status and headers |
//! | `gateway/cors.rs` | pages that may read |
//! | `gateway/playlist.rs` | playlists and manifests, rewritten |
//! | `gateway/pass.rs` | what is passed through from the origin |
//! | `gateway/fault.rs` | errors as statuses |
//! | `gateway/source.rs` | what is served: the node, and in tests a fake |

mod answer;
mod condition;
mod cors;
mod fault;
mod head;
mod outline;
mod pass;
mod playlist;
pub(crate) mod range;
mod rest;
mod route;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use pcdn_transport::origin::Http;

use crate::config::GatewayConfig;
use crate::http::guard::Names;
use crate::http::{Limits, Listening, bind, serve};
use crate::metrics::GatewayCounters;
use crate::node::Node;

use answer::Answering;
use source::{Served, Source};

/// A running gateway; ends when shut down or dropped.
#[derive(Debug)]
pub struct Gateway {
    listening: Listening,
    counters: Arc<GatewayCounters>,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("the gateway cannot listen on {addr}: {source}; give another address or port 0 with --gateway")]
    Listen {
        /// Which.
        addr: String,
        /// The system's words.
        source: std::io::Error,
    },
}

impl Gateway {
    /// Serves `node` to players as `config` says.
    ///
    /// # Errors
    /// If the address cannot be listened on. `config.listen` being `off` is such an address: whoever starts a gateway wants one.
    pub async fn serve(node: Node, config: &GatewayConfig) -> Result<Self, GatewayError> {
        Self::over(Arc::new(Served { node, http: None }), config).await
    }

    /// As [`serve`](Self::serve), and what cannot be cut or is an error is answered exactly as the origin does: status, body and
    /// headers. `http` is the client the node fetches with.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_with(node: Node, config: &GatewayConfig, http: Http) -> Result<Self, GatewayError> {
        Self::over(Arc::new(Served { node, http: Some(http) }), config).await
    }

    async fn over(source: Arc<dyn Source>, config: &GatewayConfig) -> Result<Self, GatewayError> {
        let failed = |source| GatewayError::Listen { addr: config.listen.clone(), source };
        let no_address = |e| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, e));
        let addr: SocketAddr = config.listen.parse().map_err(no_address)?;
        let listeners = bind(addr).await.map_err(failed)?;
        let limits = Limits { connections_max: config.connections_max, write_stall: config.write_stall.0 };
        let counters = Arc::new(GatewayCounters::default());
        let answering = Arc::new(Answering {
            source,
            upstream: config.upstream.clone(),
            pages: cors::Pages::new(&config.cors),
            names: Names { extra: config.hosts.clone() },
            counters: counters.clone(),
        });
        let listening = serve(listeners, limits, move |request, local| {
            let answering = answering.clone();
            async move { answering.answer(request, local).await }
        });
        Ok(Self { listening, counters })
    }

    /// Where it listens: the address given, and `::1` beside `127.0.0.1`.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listening.local_addrs()
    }

    /// What it counts, for `/metrics`.
    pub fn counters(&self) -> Arc<GatewayCounters> {
        self.counters.clone()
    }

    /// Takes no new request, lets open ones go on for a second, and ends.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}
