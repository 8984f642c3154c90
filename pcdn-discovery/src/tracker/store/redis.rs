//! A store that several trackers share through Redis or Valkey, so that any of them answers for all: for operators who put one
//! address in front of many machines.
//!
//! Every tracker answers from its own [`Memory`]. What it is told it also writes to the database, in batches; before it answers
//! for a swarm it has not looked at for [`FRESH`], its shell lets it fetch a random part of what the others wrote. So no answer
//! waits for the database but the first of every few seconds, and with the database down each tracker goes on with what it
//! knows and is told.
//!
//! A swarm is one hash, `pcdn:s:` + its info hash: field {id 32, address 4 or 16}, value see [`record`]. Expired fields are removed
//! by who draws them, and a hash that nobody renews expires whole. Needs HRANDFIELD (Redis 6.2, any Valkey).

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use dashmap::DashMap;
use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::Time;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, RedisResult};
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use super::{Ask, Elsewhere, Member, Memory, PeerStore, Put, Size, Told};
use crate::tracker::service::Refusal;
use crate::tracker::wire::{Counts, InfoHash};

pub mod record;

/// How long what was fetched of a swarm is good enough. A newcomer is found through another tracker this much later.
pub const FRESH: Duration = Duration::from_secs(3);
/// Entries fetched of a swarm at a time: as many as one choice looks at.
const FETCHED: usize = 128;
/// Changes that wait to be written: two seconds of a busy tracker. More are lost, and said again within one interval.
const CHANGES_MAX: usize = 65_536;
/// Changes written with one round trip.
const BATCH: usize = 512;
/// How long the database may take to answer before it counts as gone: what a client waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(250);
/// Pauses between tries to reach it.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Swarms whose last look is remembered.
const LOOKS_MAX: usize = 1_000_000;

/// See the [module](self).
pub struct Redis {
    memory: Memory,
    client: Client,
    changes: mpsc::Sender<Change>,
    queued: Mutex<mpsc::Receiver<Change>>,
    looked: DashMap<InfoHash, Time>,
    connection: Mutex<Option<MultiplexedConnection>>,
    reachable: AtomicBool,
    lost: AtomicU64,
}

/// What the database is to be told.
enum Change {
    Put(Box<Member>, Duration),
    Removed(InfoHash, PeerId, IpAddr),
}

impl Redis {
    /// At `url` (`redis://HOST:PORT/DB`), around `memory`. Nothing is sent yet.
    pub fn at(url: &str, memory: Memory) -> RedisResult<Self> {
        let (changes, queued) = mpsc::channel(CHANGES_MAX);
        let (looked, connection, reachable, lost) = Default::default();
        let (client, queued) = (Client::open(url)?, Mutex::new(queued));
        Ok(Self { memory, client, changes, queued, looked, connection, reachable, lost })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> RedisResult<()> {
        let mut connection = self.connect().await?;
        redis::cmd("PING").exec_async(&mut connection).await
    }

    /// Changes that were not written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn note(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref() {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        *kept = Some(connection.clone());
        self.reachable.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    async fn disconnect(&self, error: &RedisError) {
        if self.reachable.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, "the shared store is out of reach: this tracker answers from its own memory");
        }
        *self.connection.lock().await = None;
    }

    async fn write(&self, batch: &[Change]) -> RedisResult<()> {
        let mut connection = self.connect().await?;
        let mut pipe = Pipeline::new();
        for change in batch {
            match change {
                Change::Put(member, lasts) => {
                    let until = unix_now() + lasts.as_secs();
                    let (key, field) = (key(&member.swarm), record::field(&member.id, member.ip));
                    pipe.hset(&key, field, record::encode(member, until)).ignore();
                    // Longer than any entry lives, so that it need not be compared with the others.
                    pipe.expire(&key, lasts.as_secs() as i64 * 2).ignore();
                }
                Change::Removed(swarm, id, ip) => {
                    pipe.hdel(key(swarm), record::field(id, *ip)).ignore();
                }
            }
        }
        pipe.exec_async(&mut connection).await
    }

    async fn fetch(&self, now: Time, swarms: &[InfoHash]) -> RedisResult<()> {
        let mut connection = self.connect().await?;
        let mut pipe = Pipeline::new();
        for swarm in swarms {
            pipe.cmd("HRANDFIELD").arg(key(swarm)).arg(FETCHED).arg("WITHVALUES");
        }
        let drawn: Vec<Vec<(Vec<u8>, Vec<u8>)>> = pipe.query_async(&mut connection).await?;
        let unix = unix_now();
        let mut dead = Pipeline::new();
        for (swarm, fields) in swarms.iter().zip(drawn) {
            for (field, value) in fields {
                match record::decode(*swarm, &field, &value) {
                    Some((member, until)) if until > unix => self.adopt(now, member, until - unix),
                    _ => _ = dead.hdel(key(swarm), field).ignore(),
                }
            }
        }
        if dead.cmd_iter().next().is_some() {
            dead.exec_async(&mut connection).await?;
        }
        Ok(())
    }

    /// Takes an entry that another tracker was told. What this one was told itself is newer.
    fn adopt(&self, now: Time, mut member: Member, lasts: u64) {
        let known = self.memory.member(&member.swarm, &member.id, member.ip).is_some();
        // Nobody is evicted for it: a swarm that is full here has enough to tell.
        if known || !self.memory.has_room(&member.swarm) {
            return;
        }
        member.expires = now + Duration::from_secs(lasts.min(3600));
        let ask = Ask::nothing(member.ip);
        let (mut dice, mut nobody) = (Dice::new(0), Vec::new());
        // It has room, so nothing is drawn and nobody refuses.
        let _ = self.memory.put(
            now,
            &mut dice,
            &member,
            &mut |_| Ok(()),
            &ask,
            &mut Told::Addresses(&mut nobody),
        );
    }
}

#[async_trait]
impl Elsewhere for Redis {
    async fn look(&self, now: Time, swarms: &[InfoHash]) {
        for swarm in swarms {
            if self.looked.len() < LOOKS_MAX {
                self.looked.insert(*swarm, now);
            }
        }
        if let Err(error) = self.fetch(now, swarms).await {
            self.disconnect(&error).await;
        }
    }

    /// Writes changes as they come.
    async fn run(&self) {
        let mut queued = self.queued.lock().await;
        let mut batch = Vec::with_capacity(BATCH);
        let mut pause = AGAIN.0;
        loop {
            batch.clear();
            if queued.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            // Written again until it is taken: every write is idempotent.
            while let Err(error) = self.write(&batch).await {
                self.disconnect(&error).await;
                sleep(pause).await;
                pause = (pause * 2).min(AGAIN.1);
            }
            pause = AGAIN.0;
        }
    }
}

impl PeerStore for Redis {
    fn warm(&self, swarms: &[InfoHash]) {
        self.memory.warm(swarms);
    }

    fn put(
        &self,
        now: Time,
        dice: &mut Dice,
        entry: &Member,
        admit: &mut dyn FnMut(bool) -> Result<(), Refusal>,
        ask: &Ask,
        told: &mut Told<'_>,
    ) -> Result<Put, Refusal> {
        let put = self.memory.put(now, dice, entry, admit, ask, told)?;
        self.note(Change::Put(Box::new(entry.clone()), entry.expires.since(now)));
        Ok(put)
    }

    fn renew(
        &self,
        now: Time,
        swarm: &InfoHash,
        peer: &PeerId,
        ip: IpAddr,
        expires: Time,
        superpeer: bool,
    ) -> bool {
        let Some(member) = self.memory.member(swarm, peer, ip) else { return false };
        self.note(Change::Put(Box::new(member), expires.since(now)));
        self.memory.renew(now, swarm, peer, ip, expires, superpeer)
    }

    fn find(&self, now: Time, dice: &mut Dice, swarm: &InfoHash, ask: &Ask, told: &mut Told<'_>) -> Counts {
        self.memory.find(now, dice, swarm, ask, told)
    }

    fn remove(&self, swarm: &InfoHash, peer: &PeerId, ip: IpAddr) -> bool {
        // Also if it is not known here: another tracker may have been told.
        self.note(Change::Removed(*swarm, *peer, ip));
        self.memory.remove(swarm, peer, ip)
    }

    fn completed(&self, swarm: &InfoHash) {
        self.memory.completed(swarm);
    }

    fn size(&self, swarm: &InfoHash) -> Option<Size> {
        self.memory.size(swarm)
    }

    fn largest(&self, most: usize) -> Vec<(SwarmKey, Counts)> {
        self.memory.largest(most)
    }

    fn expire(&self, now: Time, left: &mut dyn FnMut(PeerId, IpAddr)) {
        self.looked.retain(|_, at| now.since(*at) < FRESH);
        self.memory.expire(now, left);
    }

    fn swarms(&self) -> usize {
        self.memory.swarms()
    }

    fn entries(&self) -> usize {
        self.memory.entries()
    }

    fn is_stale(&self, now: Time, swarm: &InfoHash) -> bool {
        self.reachable.load(Ordering::Relaxed)
            && self.looked.get(swarm).is_none_or(|at| now.since(*at) >= FRESH)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Redis").field("memory", &self.memory).finish_non_exhaustive()
    }
}

fn key(swarm: &InfoHash) -> String {
    format!("pcdn:s:{swarm}")
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tracker::networks::Networks;
    use crate::tracker::wire::Ports;

    fn member(n: u8) -> Member {
        let mut ports = Ports::default();
        ports.push(pcdn_core::peer::Scheme::Udp, 4000);
        Member {
            swarm: InfoHash([7; 20]),
            tail: [0; 12],
            id: PeerId([n; 32]),
            ip: IpAddr::from([192, 0, 2, n]),
            ports,
            seed: n == 1,
            plain: false,
            traits: Default::default(),
            network: Default::default(),
            expires: Time::ZERO,
        }
    }

    /// Taking an entry in once locked its swarm and then asked, under that lock, whether there was room.
    #[tokio::test]
    async fn what_others_were_told_is_taken_in_while_there_is_room() {
        let store = Redis::at("redis://127.0.0.1:1", Memory::new(3, Arc::new(Networks::default()))).unwrap();
        (1..=9).for_each(|n| store.adopt(Time::ZERO, member(n), 60));
        store.adopt(Time::ZERO, member(1), 60);
        let size = store.size(&InfoHash([7; 20])).unwrap();
        assert_eq!((size.counts, store.entries()), (Counts { seeds: 1, others: 2 }, 3));
        store.expire(Time::from_secs(61), &mut |_, _| {});
        assert_eq!(store.entries(), 0);
    }

    #[tokio::test]
    async fn without_its_database_a_tracker_answers_from_memory() {
        let store = Redis::at("redis://127.0.0.1:1", Memory::new(3, Arc::new(Networks::default()))).unwrap();
        assert!(store.ping().await.is_err());
        assert!(!store.is_stale(Time::ZERO, &InfoHash([7; 20])), "nothing is looked for where nobody is");
        store.look(Time::ZERO, &[InfoHash([7; 20])]).await;
    }
}
