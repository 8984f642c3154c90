//! Where a tracker's entries live.
//!
//! [`PeerStore`] is the seam: [`Memory`] keeps them in this process, a shared store (feature `redis`) shares them with other trackers of
//! the same operator. What may be stored and who is asked to wait is not decided here but in the [`table`](super::table).

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::Time;

use super::networks::NetworkId;
use super::service::Refusal;
use super::wire::{Counts, InfoHash, Listed, Ports, Traits};

mod memory;
#[cfg(feature = "redis")]
pub mod redis;

pub use memory::Memory;

/// Keeps who takes part in which swarm, and chooses whom to tell of. Shared by all threads; no call blocks on anything but
/// a lock held for microseconds.
///
/// An entry belongs to a peer's id *and* the address it announced from, see [`table`](super::table).
pub trait PeerStore: Send + Sync + Debug + 'static {
    /// Brings what the next calls for `swarms` look at into the processor's cache: memory that is asked for at once comes at once.
    /// Changes nothing, and a store that is not in memory need do nothing.
    fn warm(&self, swarms: &[InfoHash]);
    /// Adds or renews an entry, and chooses for it in the same look. `admit` is asked before a new one is added, whether its
    /// swarm is new as well. A full swarm loses a random entry, which is returned.
    fn put(
        &self,
        now: Time,
        dice: &mut Dice,
        entry: &Member,
        admit: &mut dyn FnMut(bool) -> Result<(), Refusal>,
        ask: &Ask,
        told: &mut Told<'_>,
    ) -> Result<Put, Refusal>;
    /// Renews an entry as it is; `false` if there is none.
    fn renew(
        &self,
        now: Time,
        swarm: &InfoHash,
        peer: &PeerId,
        ip: IpAddr,
        expires: Time,
        superpeer: bool,
    ) -> bool;
    /// Chooses for somebody who takes no part.
    fn find(&self, now: Time, dice: &mut Dice, swarm: &InfoHash, ask: &Ask, told: &mut Told<'_>) -> Counts;
    /// Removes an entry; whether there was one.
    fn remove(&self, swarm: &InfoHash, peer: &PeerId, ip: IpAddr) -> bool;
    /// Counts a download that has ended.
    fn completed(&self, swarm: &InfoHash);
    /// The size of one swarm, if anybody takes part.
    fn size(&self, swarm: &InfoHash) -> Option<Size>;
    /// The `most` largest swarms, largest first.
    fn largest(&self, most: usize) -> Vec<(SwarmKey, Counts)>;
    /// Drops what has expired, and calls `left` for each. To be called every few seconds.
    fn expire(&self, now: Time, left: &mut dyn FnMut(PeerId, IpAddr));
    /// Swarms now.
    fn swarms(&self) -> usize;
    /// Entries now.
    fn entries(&self) -> usize;
    /// Whether others may know of members of `swarm` that this process has not heard of for too long: then the shell lets the
    /// store look before it answers.
    fn is_stale(&self, now: Time, swarm: &InfoHash) -> bool;
}

/// Where others keep what they were told: the half of a shared store that takes time. Its shell calls it, no core does.
#[async_trait]
pub trait Elsewhere: Send + Sync + Debug + 'static {
    /// Fetches members of `swarms` that others were told of. Ends within a second, whatever happens; afterwards the swarms are
    /// not [stale](PeerStore::is_stale).
    async fn look(&self, now: Time, swarms: &[InfoHash]);
    /// Tells others what this one was told, until it is dropped.
    async fn run(&self);
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where.
    pub swarm: InfoHash,
    /// The bytes of the swarm's key that its info hash leaves out; zeros if a BitTorrent client announced.
    pub tail: [u8; 12],
    /// Who.
    pub id: PeerId,
    /// Where it announced from.
    pub ip: IpAddr,
    /// Where it listens; not empty.
    pub ports: Ports,
    /// Whether it holds everything.
    pub seed: bool,
    /// Whether it speaks BEP 15 only, and so has no key to be dialled by.
    pub plain: bool,
    /// What it is like.
    pub traits: Traits,
    /// The network it belongs to.
    pub network: NetworkId,
    /// When it is forgotten.
    pub expires: Time,
}

/// Who is to be told of others, and how many.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who, to be left out.
    pub id: Option<PeerId>,
    /// From where.
    pub ip: IpAddr,
    /// Its network.
    pub network: NetworkId,
    /// Whether it needs no seeds.
    pub seed: bool,
    /// What it is like.
    pub traits: Traits,
    /// How many.
    pub want: usize,
}

impl Ask {
    /// Nobody, for somebody at `ip`.
    pub fn nothing(ip: IpAddr) -> Self {
        let (traits, network) = Default::default();
        Self { id: None, ip, network, seed: false, traits, want: 0 }
    }
}

/// What the chosen are written to.
#[derive(Debug)]
pub enum Told<'a> {
    /// Whole records, for those who dial by key: plain members are left out. Nearest first.
    Records(&'a mut Vec<Listed>),
    /// Addresses and ports as BEP 15 writes them, of the asker's own family.
    Addresses(&'a mut Vec<u8>),
    /// The same with the 20 bytes that BitTorrent clients call themselves.
    Named(&'a mut Vec<(SocketAddr, [u8; 20])>),
}

/// What [`PeerStore::put`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The swarm's size.
    pub counts: Counts,
    /// Who had to go.
    pub evicted: Option<(PeerId, IpAddr)>,
}

/// The size of a swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Peers.
    pub counts: Counts,
    /// Downloads ended since somebody first took part.
    pub completed: u32,
}
