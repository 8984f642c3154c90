//! Each origin's own word on what its contents are called.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::async_trait;
use pcdn_core::clock::Clock;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::unit::Time;

use super::{Ask, Remote, RemoteConfig};

/// Origins remembered. A viewer meets a handful; the bound is against a page that names thousands.
const ORIGINS_MAX: usize = 64;

/// Maps a URL as the file [`WELL_KNOWN`](crate::answer::WELL_KNOWN) of its own origin says: the rules there, or the mapping node it
/// names. A site joins by putting up one file, and takes part only by doing so. An origin's word counts for its own URLs alone.
///
/// It is asked for when an origin is first met, 300 ms at most of which anybody waits, and believed as long as it says (five
/// minutes if it does not). Where there is none, that is remembered for five minutes, doubling to an hour; [`MapError`] leaves the
/// URL to the next mapper. Over plain http, whoever is in between can answer, as with the content itself.
///
/// An origin can call its content by another's name. Its viewers' bytes then differ from the others', who leave them for it: the
/// name proves nothing, the bytes are judged as ever.
#[derive(Clone, Debug)]
pub struct WellKnown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ask: Arc<dyn Ask>,
    clock: Arc<dyn Clock>,
    origins: Mutex<BTreeMap<String, (Remote, Time)>>,
}

impl WellKnown {
    /// Asks origins by `ask`. Needs a tokio runtime.
    pub fn new(ask: impl Ask, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { ask: Arc::new(ask), clock, origins: Mutex::default() }) }
    }

    /// Who maps for the origin of `url`.
    fn remote(&self, url: &Url) -> Option<Remote> {
        let node = url.join("/").ok().filter(|node| matches!(node.scheme(), "http" | "https"))?;
        let name = node.origin().ascii_serialization();
        let now = self.inner.clock.now();
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut origins = self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= ORIGINS_MAX && !origins.contains_key(&name) {
            let oldest = origins.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            oldest.map(|name| origins.remove(&name));
        }
        let (remote, used) = origins.entry(name).or_insert_with(|| {
            // No password of a URL's is for this question.
            let mut bare = node.clone();
            let _ = (bare.set_username(""), bare.set_password(None));
            let config = RemoteConfig { node: bare, key: None, file: None, unasked: true };
            (Remote::shared(config, self.inner.ask.clone(), self.inner.clock.clone()), now)
        });
        *used = now;
        Some(remote.clone())
    }
}

#[async_trait]
impl Mapper for WellKnown {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        let remote = self.remote(url).ok_or(MapError::Unknown)?;
        let mapped = remote.map(url).await;
        // Most origins have no such file, and that is no failure.
        mapped.map_err(|error| match error {
            MapError::Silent { .. } => MapError::Unknown,
            other => other,
        })
    }
}
