//! What a swarm fetches, within the node's own bounds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pcdn_core::fragment::Segment;
use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::Input;
use pcdn_core::transport::Fetch;
use pcdn_core::unit::Rate;

use super::flow::{assemble, stream};
use super::{Driver, ToSwarm};
use crate::node::{Taken, Throttle};

/// How often it is looked at what the node's bounds leave to this swarm: what other swarms take is measured over a second.
const LIMITED: Duration = Duration::from_millis(250);

impl Driver {
    /// Tells the engine what the node lets through for it, when that changes.
    pub(super) fn limit(&mut self) {
        let now = self.now();
        if self.limited > now {
            return;
        }
        self.limited = now + LIMITED;
        let [node, swarm, lent] = self.throttles();
        let rate = node.share(self.who()).min(swarm.rate()).min(lent.rate());
        let limit = (rate, self.around.links.download_limit());
        if std::mem::replace(&mut self.limit, limit) != limit {
            self.give(Input::Limit { rate: limit.0, neighbour: limit.1 });
            self.drain();
        }
    }

    /// This swarm among those that share a throttle.
    fn who(&self) -> u64 {
        Arc::as_ptr(&self.around.own_throttle) as usize as u64
    }

    pub(super) fn ask(&mut self, flight: u64, link: Handle, fetch: Fetch) {
        let (Some(member), Some(own)) = (self.members.get(&link), self.own.upgrade()) else { return };
        let session = member.link.session.clone();
        let [node, swarm, lent] = self.throttles();
        let throttles = [member.link.throttle.clone(), swarm, node, lent];
        let (who, limited) = (self.who(), self.limit != (Rate::UNLIMITED, Rate::UNLIMITED));
        let task = self.around.tasks.spawn(async move {
            let len = fetch.len as usize;
            // Before it is asked for: what is given up meanwhile then has cost nobody's line anything.
            let taken = Taken::of(throttles, who, len).await;
            if limited {
                // A swarm that ends does not mind.
                let _ = own.send(ToSwarm::Sent(flight)).await;
            }
            let mut fetching = session.fetch(fetch);
            let result = assemble(&mut fetching, len).await;
            if result.is_ok() {
                taken.spend();
            }
            let _ = own.send(ToSwarm::Piece { flight, result }).await;
        });
        self.flights.insert(flight, task.abort_handle());
    }

    /// What bounds the bytes that come in, whoever they are from: the node, the swarm, what is lent to the background.
    fn throttles(&self) -> [Arc<Throttle>; 3] {
        [self.around.throttle.clone(), self.around.own_throttle.clone(), self.lent.clone()]
    }

    pub(super) fn fetch(&mut self, run: u64, url: Url, range: ByteRange) {
        let Some(own) = self.own.upgrade() else { return };
        let origin = self.around.origin.clone();
        let (throttles, who) = (self.throttles(), self.who());
        // Length and version belong to a URL: a stream's segments have their own.
        let begins_in = |segment: &Segment| {
            let part =
                segment.range.is_none_or(|part| part.start() <= range.start() && range.start() < part.end());
            segment.url == url && part
        };
        let segment = self.told.values().find(|(segment, _)| begins_in(segment)).map(|(_, told)| told);
        let head = match segment {
            Some(told) => told.head(),
            None if url == self.around.url => &self.around.head,
            None => &ResourceHead::default(),
        };
        let want = OriginGet { validator: head.validator.clone(), len: head.len, url, range: Some(range) };
        let confirmed = match segment {
            Some(told) => told.confirmed().cloned(),
            None => self.around.stream.is_none().then(|| self.around.confirmed.clone()),
        };
        let clock = self.around.clock.clone();
        let task = self.around.tasks.spawn(async move {
            let opened = |head: &ResourceHead| {
                confirmed.iter().for_each(|confirmed| confirmed.opened(clock.now(), head));
            };
            // An origin that panics is an origin that fails: the run must end, or its pieces would be waited for for ever.
            let streaming =
                AssertUnwindSafe(stream(origin.as_ref(), &want, opened, &own, run, (&throttles, who)));
            let result = streaming
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(OriginError::Other { by: "origin", source: "it panicked".into() }));
            if matches!(result, Err(OriginError::Changed { .. })) {
                // Before anybody hears of it: who asks again then asks for what is there now.
                confirmed.iter().for_each(|confirmed| confirmed.change());
            }
            let _ = own.send(ToSwarm::OriginEnd { run, result }).await;
        });
        self.runs.insert(run, task.abort_handle());
    }
}
