//! Trackers that a mapper names: a stranger's word, so they are only talked to where strangers may be.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_discovery::Tracker;
use pcdn_transport::origin::is_global;
use tokio::sync::OnceCell;

/// A tracker at `HOST:PORT`, `udp://HOST:PORT` or `http://HOST:PORT` that is talked to at a public address only, unless `trusted`.
/// Its name is asked for once, and the address that was judged is the one that is used.
#[derive(Clone, Debug)]
pub(super) struct Named(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    trusted: bool,
    token: Option<String>,
    tracker: OnceCell<Tracker>,
}

impl Named {
    pub(super) fn new(text: &str, trusted: bool, token: Option<String>) -> Self {
        Self(Arc::new(Inner { text: text.to_owned(), trusted, token, tracker: OnceCell::new() }))
    }

    async fn tracker(&self) -> Result<&Tracker, DiscoveryError> {
        self.0.tracker.get_or_try_init(|| self.0.resolve()).await
    }
}

impl Inner {
    async fn resolve(&self) -> Result<Tracker, DiscoveryError> {
        let refused = |why: String| DiscoveryError::Address { node: self.text.clone(), why };
        let (scheme, place) = self.text.split_once("://").unwrap_or(("udp", &self.text));
        let place = place.split('/').next().unwrap_or_default();
        let found = tokio::net::lookup_host(place).await.map_err(|error| refused(error.to_string()))?;
        let all: Vec<SocketAddr> = found.collect();
        if !self.trusted && all.iter().any(|address| !is_global(address.ip())) {
            return Err(refused("a mapper names it, and it is no public address".to_owned()));
        }
        let address = all.first().ok_or_else(|| refused("it has no address".to_owned()))?;
        let tracker: Tracker = format!("{scheme}://{address}").parse()?;
        Ok(match &self.token {
            Some(token) => tracker.with_token(token),
            None => tracker,
        })
    }
}

#[async_trait]
impl Discovery for Named {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        self.tracker().await?.announce(key, me).await
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        match self.0.tracker.get() {
            Some(tracker) => tracker.withdraw(key, me).await,
            None => Ok(()),
        }
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let (named, key) = (self.clone(), *key);
        let found = async move {
            match named.tracker().await {
                Ok(tracker) => tracker.find(&key, want),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        Box::pin(stream::once(found).flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stranger_cannot_lead_into_the_inner_network() {
        for text in ["127.0.0.1:7070", "udp://[::1]:7070", "http://localhost:7070", "10.0.0.1:7070"] {
            let error = Named::new(text, false, None).tracker().await.unwrap_err();
            assert!(matches!(error, DiscoveryError::Address { .. }), "{text}: {error}");
            assert!(Named::new(text, true, None).tracker().await.is_ok(), "{text}");
        }
        assert!(Named::new("no port", true, None).tracker().await.is_err());
        assert!(Named::new("192.0.2.1:7070", false, None).tracker().await.is_err(), "for documentation");
        assert!(Named::new("1.1.1.1:7070", false, None).tracker().await.is_ok());
    }
}
