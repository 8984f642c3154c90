//! Questions about single URLs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::clock::Clock;
use pcdn_core::id::PeerId;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::unit::Time;
use tokio::time::timeout;

use super::rules::Held;
use super::{Ask, PATIENCE, Reply};
use crate::answer::{ANSWER_BYTES_MAX, MapAnswer, State};
use crate::canonical::host_of;
use crate::signed::{KEY_HEADER, Kind, SIGNATURE_HEADER, Signature};

/// A node that failed is not asked for so long, doubling with each failure: every question costs a viewer [`PATIENCE`].
const QUIET: Duration = Duration::from_secs(2);
const QUIET_MAX: Duration = Duration::from_secs(60);
/// An answer is believed at least and at most so long, whatever it says.
const VALID: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(86_400));

/// Asks the node about one URL; an error is a node that does not answer.
#[derive(Debug)]
pub(super) struct Asker {
    ask: Arc<dyn Ask>,
    clock: Arc<dyn Clock>,
    state: Mutex<Asking>,
}

#[derive(Debug, Default)]
struct Asking {
    node: Option<Url>,
    key: Option<PeerId>,
    quiet_until: Time,
    failures: u32,
}

impl Asker {
    pub(super) fn new(ask: Arc<dyn Ask>, clock: Arc<dyn Clock>) -> Self {
        Self { ask, clock, state: Mutex::default() }
    }

    /// The node that the rules name is asked from now on; it just answered.
    pub(super) fn towards(&self, held: &Held) {
        *self.state() = Asking { node: held.mapping.clone(), key: held.key, ..Asking::default() };
    }

    async fn answer(&self, node: &Url, key: Option<PeerId>, url: &Url) -> Result<Option<Mapping>, String> {
        let mut at = node.join("v1/map").map_err(|error| error.to_string())?;
        at.query_pairs_mut().append_pair("url", url.as_str());
        let reply = timeout(PATIENCE, self.ask.ask(&at, None, ANSWER_BYTES_MAX)).await;
        let reply = reply.map_err(|_| "it is silent".to_owned())?.map_err(|error| error.to_string())?;
        match reply.status {
            200 | 202 => read(&at, url, key, &reply).map(Some),
            404 => Ok(None),
            status => Err(format!("it answers {status}")),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Asking> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mapper for Asker {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        let (node, key, quiet) = {
            let state = self.state();
            (state.node.clone(), state.key, state.quiet_until > self.clock.now())
        };
        let node = node.ok_or(MapError::Unknown)?;
        let silent = || MapError::Silent { node: host_of(&node) };
        if quiet {
            return Err(silent());
        }
        match self.answer(&node, key, url).await {
            Ok(mapping) => {
                self.state().failures = 0;
                mapping.ok_or(MapError::Unknown)
            }
            Err(why) => {
                tracing::warn!(node = %host_of(&node), why, "the mapping node does not answer as it should");
                let now = self.clock.now();
                let mut state = self.state();
                state.quiet_until = now + QUIET.saturating_mul(1 << state.failures.min(5)).min(QUIET_MAX);
                state.failures += 1;
                Err(silent())
            }
        }
    }
}

/// What the answer at `at` says of `url`, if `key` signed it.
fn read(at: &Url, url: &Url, key: Option<PeerId>, reply: &Reply) -> Result<Mapping, String> {
    if let Some(key) = key {
        let made = Signature::of_headers(reply.header(KEY_HEADER), reply.header(SIGNATURE_HEADER));
        let holds = |made: &Signature| made.key == key && made.holds(Kind::Map, &reply.body);
        if !made.as_ref().is_some_and(holds) {
            return Err("its signature does not fit".to_owned());
        }
    }
    let answer: MapAnswer = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    // An answer that somebody carried here must be the one to this question.
    if answer.url.as_ref() != Some(url) {
        return Err("it answers another question".to_owned());
    }
    let valid = match answer.state {
        State::Hashing => reply.retry_after().unwrap_or_default(),
        _ => Duration::from_secs(answer.ttl_s.into()),
    };
    let http = |url: &Url| matches!(url.scheme(), "http" | "https");
    Ok(Mapping {
        mirrors: answer.urls.into_iter().filter(http).filter(|mirror| mirror != url).collect(),
        trackers: answer.trackers,
        manifest: answer.manifest.and_then(|manifest| at.join(&manifest).ok()),
        signer: key,
        generations: answer.generations,
        valid_for: valid.clamp(VALID.0, VALID.1),
        ..Mapping::to(answer.rid, format!("mapping node {}, {}", host_of(at), answer.by))
    })
}
