//! The admin server: what an operator looks at and scrapes, and the few things that can be changed.
//!
//! | path | is |
//! |---|---|
//! | `/` | the dashboard, one page without outside parts |
//! | `/healthz`, `/readyz` | alive; ready to serve |
//! | `/metrics` | OpenMetrics |
//! | `/api/v1/…` | JSON, described at `/api/v1/openapi.json` |
//!
//! *Promises:* the same guard as the gateway's (a `Host` that is ours, no bodies); reading is for whoever reaches the address,
//! changing needs the bearer token unless both ends are loopback; a page of another site can do neither (no CORS at all, and
//! changing calls from any `Origin` but our own are refused).

mod api;
mod routes;
mod snapshot;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use pcdn_transport::origin::Http;

use crate::config::Config;
use crate::http::guard::Names;
use crate::http::{Limits, Listening, bind, serve};
use crate::metrics::GatewayCounters;
use crate::node::Node;

use routes::Routes;
use snapshot::{Counted, Snapshots, Watched};

/// A running admin server; ends when shut down or dropped.
#[derive(Debug)]
pub struct Admin {
    listening: Listening,
}

/// Why an admin server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error(
        "the admin server cannot listen on {addr}: {source}; give another address, port 0 or off with --admin"
    )]
    Listen {
        /// Which.
        addr: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The token file cannot be used.
    #[error("--admin-token {file}: {why}")]
    Token {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
}

/// A token is read whole; it is a line.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

impl Admin {
    /// Serves `node` as `config.admin` says; `config` is shown by `/api/v1/config` with secrets left out, and of `gateway` and
    /// `origin` what they count.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the token cannot be read.
    pub async fn serve(
        node: Node,
        config: &Config,
        gateway: Option<Arc<GatewayCounters>>,
        origin: Option<Http>,
    ) -> Result<Self, AdminError> {
        Self::over(Arc::new(node), config, Counted { gateway, origin }).await
    }

    async fn over(node: Arc<dyn Watched>, config: &Config, counted: Counted) -> Result<Self, AdminError> {
        let admin = &config.admin;
        let failed = |source| AdminError::Listen { addr: admin.listen.clone(), source };
        let no_address = |e| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, e));
        let addr: SocketAddr = admin.listen.parse().map_err(no_address)?;
        let token = admin.token.as_deref().map(read_token).transpose()?;
        let listeners = bind(addr).await.map_err(failed)?;
        let routes = Arc::new(Routes {
            snapshots: Snapshots::start(node, counted),
            config: api::shown(config),
            token,
            names: Names { extra: admin.hosts.clone() },
        });
        let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
        let listening = serve(listeners, limits, move |request, local| {
            let routes = routes.clone();
            async move { routes.answer(request, local).await }
        });
        Ok(Self { listening })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listening.local_addrs()
    }

    /// Ends within a second.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

/// A few dashboards, a scraper and a script; each dashboard holds one connection open for events.
const CONNECTIONS_MAX: usize = 64;

fn read_token(file: &str) -> Result<String, AdminError> {
    let refused = |why: String| AdminError::Token { file: file.to_owned(), why };
    let text = std::fs::read_to_string(file).map_err(|e| refused(e.to_string()))?;
    let token = text.trim().to_owned();
    if TOKEN_BYTES.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(token);
    }
    Err(refused("a token is one word of 16 to 1024 characters".into()))
}
