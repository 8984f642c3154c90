//! What is done by the clock: joining, knowing more nodes, telling how it stands, remembering over restarts.

use std::net::SocketAddr;
use std::path::Path;

use libp2p_kad::{Mode, QueryId};
use libp2p_swarm::dial_opts::DialOpts;
use pcdn_core::id::PeerId;
use tokio::time::Instant;

use super::{AGAIN, Actor, SMALL};
use crate::kad::contact::Contact;
use crate::kad::{KadStatus, place};

/// Remembered nodes dialled at a time. Half of them may be gone.
const REMEMBERED_AT_ONCE: usize = 16;
/// How often expired records are dropped, remembered nodes written, and dials back allowed again.
const SWEEP_TICKS: u64 = 60;
const SAVE_TICKS: u64 = 30;
const FORGET_TICKS: u64 = 60;

impl Actor {
    pub(super) async fn tick(&mut self, count: u64) {
        let lonely = self.reach.len() == 0;
        if lonely && self.retry.0 <= Instant::now() {
            self.retry = (Instant::now() + self.retry.1, (self.retry.1 * 2).min(AGAIN.1));
            self.dial_known();
        }
        self.widen();
        let left: Vec<QueryId> =
            self.looking.iter().filter(|(_, one)| one.found.is_closed()).map(|(id, _)| *id).collect();
        for query in left {
            self.looking.remove(&query);
            if let Some(mut running) = self.kad().query_mut(&query) {
                running.finish();
            }
        }
        if count.is_multiple_of(SWEEP_TICKS) {
            self.kad().store_mut().sweep();
        }
        if count.is_multiple_of(FORGET_TICKS) {
            self.reach.forget_tried();
        }
        if (count + 1).is_multiple_of(SAVE_TICKS) {
            self.save().await;
        }
        self.tell();
    }

    /// A newcomer asks again who is near: those that came with it were not listed yet when it asked first.
    fn widen(&mut self) {
        let now = Instant::now();
        if self.widen.0 > now {
            return;
        }
        self.widen = (now + self.widen.1, (self.widen.1 * 2).min(AGAIN.1));
        if self.known() < SMALL || self.kad().mode() == Mode::Client {
            // Without anybody known it fails, and is tried again.
            let _ = self.kad().bootstrap();
        }
    }

    /// Dials bootstrap nodes, and some of those it remembers.
    pub(super) fn dial_known(&mut self) {
        for contact in self.config.bootstrap.clone() {
            self.lookups.spawn(async move {
                let addrs = contact.addrs().await;
                addrs.into_iter().map(|addr| (addr, contact.peer())).collect()
            });
        }
        let all = self.remembered.all();
        let some = all.iter().cycle().skip(self.next_remembered).take(REMEMBERED_AT_ONCE.min(all.len()));
        let some: Vec<_> = some.filter_map(|contact| Some((contact.addr()?, contact.peer()))).collect();
        self.next_remembered = (self.next_remembered + REMEMBERED_AT_ONCE) % all.len().max(1);
        self.dial_all(some);
    }

    pub(super) fn dial_all(&mut self, addrs: Vec<(SocketAddr, Option<PeerId>)>) {
        for (addr, peer) in addrs {
            let addr = place::quic_v1(addr);
            self.dial(match peer {
                Some(peer) => DialOpts::peer_id(place::name_of(&peer)).addresses(vec![addr]).build(),
                None => DialOpts::unknown_peer_id().address(addr).build(),
            });
        }
    }

    pub(super) fn known(&mut self) -> usize {
        self.kad().kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    pub(super) fn tell(&mut self) {
        let contacts = self.listening.iter().map(|addr| Contact::new(*addr, self.me)).collect();
        let (known, serves) = (self.known(), self.kad().mode() == Mode::Server);
        let stored = self.kad().store_mut().len();
        let now = KadStatus { contacts, connected: self.reach.len(), known, serves, stored };
        self.status.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }

    pub(super) async fn save(&mut self) {
        let Some(file) = self.config.remember.clone().filter(|_| std::mem::take(&mut self.unsaved)) else {
            return;
        };
        let list = self.remembered.clone();
        let saved =
            tokio::task::spawn_blocking(move || list.save(Path::new(&file)).map_err(|error| (file, error)));
        if let Ok(Err((file, error))) = saved.await {
            tracing::warn!(file = %file.display(), %error, "remembered DHT nodes cannot be written");
        }
    }
}
