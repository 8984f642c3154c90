//! The entries of one swarm and family, as columns.
//!
//! A choice looks at many entries and takes few. What it looks at lies together ([`Seen`], 14 bytes of an IPv4 entry: four or five in
//! one line of the processor's cache), with the address as BEP 15 writes it, so that an answer copies it whole. The rest is touched
//! for the chosen alone.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use hashbrown::HashTable;
use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;

use super::super::{Ask, Member, Told};
use super::choose::{self, Pool};
use crate::tracker::networks::{NetworkId, Networks};
use crate::tracker::reach::Reach;
use crate::tracker::wire::{Listed, Nat, Ports, Traits};

/// Below this many entries they are looked through: an index would cost more than it saves.
const INDEXED_FROM: usize = 24;
/// How much larger a full column becomes, as a divisor: by an eighth, so that a sixteenth of the memory is spare on average. An
/// entry is moved eight times then, 58 bytes each.
const GROW_BY: usize = 8;

/// Peers choose their ids, so the index must not be one they can aim at: its hash is keyed with a random key.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// An address family, with the bytes of an address and port on BEP 15's wire.
pub(super) trait Family: Copy + Debug + Default {
    type At: Copy + Debug + AsRef<[u8]>;
    fn at(ip: IpAddr, port: u16) -> Self::At;
    fn ip(at: &Self::At) -> IpAddr;
    /// The part of an address that one party can fill: an IPv4 /24, an IPv6 /48.
    fn network(at: &Self::At) -> u64;
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct V4;
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct V6;

impl Family for V4 {
    type At = [u8; 6];
    #[inline]
    fn at(ip: IpAddr, port: u16) -> [u8; 6] {
        let IpAddr::V4(ip) = ip else { return [0; 6] };
        let ([a, b, c, d], [e, f]) = (ip.octets(), port.to_be_bytes());
        [a, b, c, d, e, f]
    }
    #[inline]
    fn ip([a, b, c, d, ..]: &[u8; 6]) -> IpAddr {
        Ipv4Addr::new(*a, *b, *c, *d).into()
    }
    #[inline]
    fn network([a, b, c, ..]: &[u8; 6]) -> u64 {
        u64::from(u32::from_be_bytes([0, *a, *b, *c]))
    }
}

impl Family for V6 {
    type At = [u8; 18];
    #[inline]
    fn at(ip: IpAddr, port: u16) -> [u8; 18] {
        let mut at = [0; 18];
        if let IpAddr::V6(ip) = ip {
            at[..16].copy_from_slice(&ip.octets());
        }
        at[16..].copy_from_slice(&port.to_be_bytes());
        at
    }
    #[inline]
    fn ip(at: &[u8; 18]) -> IpAddr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&at[..16]);
        Ipv6Addr::from(octets).into()
    }
    #[inline]
    fn network([a, b, c, d, e, f, ..]: &[u8; 18]) -> u64 {
        u64::from_be_bytes([1, 0, *a, *b, *c, *d, *e, *f])
    }
}

/// What a choice looks at. Answers of BEP 15 are made of nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<F: Family> {
    pub(super) hot: Hot,
    pub(super) at: F::At,
}

/// What an entry is like, as far as a choice goes by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hot {
    /// Seconds since the start, of which 16 bits are enough: entries live for minutes and are swept every few seconds.
    expires: u16,
    pub(super) network: u16,
    pub(super) position: u16,
    pub(super) have: u8,
    flags: u8,
}

const SEED: u8 = 1;
const SUPERPEER: u8 = 2;
const REACH_SHIFT: u8 = 2;
const NAT_SHIFT: u8 = 4;
const LIVE: u8 = 64;
const PLAIN: u8 = 128;

/// What only the chosen are asked.
#[derive(Clone, Copy, Debug)]
struct Cold {
    id: PeerId,
    ports: Ports,
    class: u8,
    spare: u8,
}

const _: () = assert!(size_of::<Seen<V4>>() == 14 && size_of::<Seen<V6>>() == 26 && size_of::<Cold>() == 44);

/// An entry that was removed.
pub(super) struct Gone {
    pub(super) id: PeerId,
    pub(super) ip: IpAddr,
    pub(super) seed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Columns<F: Family> {
    seen: Vec<Seen<F>>,
    cold: Vec<Cold>,
    index: HashTable<u32>,
}

#[cfg(test)]
impl<F: Family> Seen<F> {
    /// For tests of what does not look at it.
    pub(super) fn nobody() -> Self {
        let hot = Hot { expires: 0, network: 0, position: 0, have: 0, flags: 0 };
        Self { hot, at: F::at(Ipv4Addr::UNSPECIFIED.into(), 0) }
    }
}

impl Hot {
    fn of(member: &Member) -> Self {
        let traits = &member.traits;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(member.seed, SEED)
            | flag(traits.superpeer, SUPERPEER)
            | (Reach::of(member.ip) as u8) << REACH_SHIFT
            | nat_code(traits.nat) << NAT_SHIFT
            | flag(traits.position.is_some(), LIVE)
            | flag(member.plain, PLAIN);
        Self {
            expires: seconds(member.expires),
            network: member.network.0,
            position: traits.position.unwrap_or_default() as u16,
            have: traits.have,
            flags,
        }
    }

    #[inline]
    pub(super) fn is_seed(self) -> bool {
        self.flags & SEED != 0
    }

    #[inline]
    pub(super) fn is_superpeer(self) -> bool {
        self.flags & SUPERPEER != 0
    }

    #[inline]
    pub(super) fn is_live(self) -> bool {
        self.flags & LIVE != 0
    }

    #[inline]
    pub(super) fn nat(self) -> Nat {
        Nat::of(self.flags >> NAT_SHIFT & 3)
    }

    #[inline]
    fn has_expired(self, now: u16) -> bool {
        self.expires.wrapping_sub(now) as i16 <= 0
    }
}

/// Two bits are left for it: who lets in every port of an address is reached by all, as who does not know is assumed to be.
fn nat_code(nat: Nat) -> u8 {
    if nat == Nat::Restricted { Nat::Unknown.code() } else { nat.code() }
}

/// What is to be chosen.
pub(super) struct Choice<'a> {
    pub(super) now: Time,
    pub(super) networks: &'a Networks,
    pub(super) ask: &'a Ask,
    /// Where the asker is in these columns, if that is known.
    pub(super) own: Option<usize>,
    pub(super) want: usize,
}

/// Whether a candidate is of any use to one asker; the same for all candidates of a choice.
pub(super) struct Sieve {
    now: u16,
    /// Flags that a candidate must not have.
    unwanted: u8,
    /// Its reach at least, where flags have it.
    far: u8,
    nat: Nat,
}

const REACH: u8 = 3 << REACH_SHIFT;

impl Sieve {
    fn new(now: Time, ask: &Ask, told: &Told<'_>) -> Self {
        let nameless = if matches!(told, Told::Records(_)) { PLAIN } else { 0 };
        Self {
            // An entry that expires at 150.4 s is written as 151.
            now: (now.0 / 1_000_000) as u16,
            unwanted: nameless | if ask.seed { SEED } else { 0 },
            far: (Reach::of(ask.ip) as u8) << REACH_SHIFT,
            nat: ask.traits.nat,
        }
    }

    #[inline]
    pub(super) fn lets_pass(&self, hot: Hot) -> bool {
        let wanted = hot.flags & self.unwanted == 0 && hot.flags & REACH >= self.far;
        let both_symmetric = self.nat == Nat::Symmetric && hot.nat() == Nat::Symmetric;
        wanted && !hot.has_expired(self.now) && !both_symmetric
    }

    /// The kind of NAT that the asker's does not meet, though it is told of such peers if there are no others.
    pub(super) fn apart(&self) -> Option<Nat> {
        match self.nat {
            Nat::Symmetric => Some(Nat::Cone),
            Nat::Cone => Some(Nat::Symmetric),
            _ => None,
        }
    }
}

impl<F: Family> Columns<F> {
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// A look at the first entry.
    pub(super) fn touch(&self) -> u8 {
        self.seen.first().map_or(0, |seen| seen.hot.have) ^ self.cold.first().map_or(0, |cold| cold.class)
    }

    /// Where an entry is. The few of a small swarm are looked through, by their addresses first, which a choice looks at anyway.
    pub(super) fn slot(&self, id: &PeerId, ip: IpAddr) -> Option<usize> {
        let same_ip = |at: usize| F::ip(&self.seen[at].at) == ip;
        if self.index.is_empty() {
            return (0..self.len()).find(|at| same_ip(*at) && self.cold[*at].id == *id);
        }
        let is = |at: usize| self.cold[at].id == *id && same_ip(at);
        self.index.find(hash_of(id, ip), |at| is(*at as usize)).map(|at| *at as usize)
    }

    /// Where the entry of a BitTorrent client is: its port is part of its name, so its address alone tells it from nearly all.
    pub(super) fn slot_of(&self, member: &Member) -> Option<usize> {
        if !member.plain || !self.index.is_empty() {
            return self.slot(&member.id, member.ip);
        }
        let at = F::at(member.ip, member.ports.first());
        let same =
            |slot: usize| self.seen[slot].at.as_ref() == at.as_ref() && self.cold[slot].id == member.id;
        (0..self.len()).find(|slot| same(*slot))
    }

    /// Renews the entry at `slot`, or adds one; where it is now, and whether it was a seed before.
    pub(super) fn put(&mut self, member: &Member, slot: Option<usize>) -> (usize, bool) {
        let seen = Seen { hot: Hot::of(member), at: F::at(member.ip, member.ports.first()) };
        let Traits { class, spare, .. } = member.traits;
        let cold = Cold { id: member.id, ports: member.ports, class, spare };
        if let Some(slot) = slot {
            let was_seed = self.seen[slot].hot.is_seed();
            (self.seen[slot], self.cold[slot]) = (seen, cold);
            return (slot, was_seed);
        }
        grow(&mut self.seen);
        grow(&mut self.cold);
        self.seen.push(seen);
        self.cold.push(cold);
        self.index_newest();
        (self.len() - 1, false)
    }

    fn index_newest(&mut self) {
        let Self { seen, cold, index } = self;
        let hash = |slot: &u32| hash_of(&cold[*slot as usize].id, F::ip(&seen[*slot as usize].at));
        let from = match cold.len() {
            len if index.is_empty() && len < INDEXED_FROM => return,
            len if index.is_empty() => 0..len as u32,
            len => len as u32 - 1..len as u32,
        };
        for slot in from {
            index.insert_unique(hash(&slot), slot, hash);
        }
    }

    pub(super) fn renew(&mut self, id: &PeerId, ip: IpAddr, expires: Time, superpeer: bool) -> bool {
        let Some(slot) = self.slot(id, ip) else { return false };
        let hot = &mut self.seen[slot].hot;
        hot.expires = seconds(expires);
        hot.flags = if superpeer { hot.flags | SUPERPEER } else { hot.flags & !SUPERPEER };
        true
    }

    /// Removes the entry at `slot`, which must be there; the last one takes its place.
    pub(super) fn remove_at(&mut self, slot: usize) -> Gone {
        let last = self.len() as u32 - 1;
        if !self.index.is_empty() {
            let hash = |at: usize| hash_of(&self.cold[at].id, F::ip(&self.seen[at].at));
            if let Ok(found) = self.index.find_entry(hash(slot), |at| *at == slot as u32) {
                found.remove();
            }
            if let Some(moved) = self.index.find_mut(hash(last as usize), |at| *at == last) {
                *moved = slot as u32;
            }
        }
        let Seen { hot, at } = self.seen.swap_remove(slot);
        let cold = self.cold.swap_remove(slot);
        Gone { id: cold.id, ip: F::ip(&at), seed: hot.is_seed() }
    }

    /// Moves what has expired to `gone`; when the next one does.
    pub(super) fn expire(&mut self, now: Time, gone: &mut Vec<Gone>) -> Option<Time> {
        let clock = (now.0 / 1_000_000) as u16;
        let mut at = 0;
        while at < self.len() {
            if self.seen[at].hot.has_expired(clock) { gone.push(self.remove_at(at)) } else { at += 1 }
        }
        self.shrink();
        let left = self.seen.iter().map(|seen| seen.hot.expires.wrapping_sub(clock)).min();
        left.map(|seconds| Time((now.0 / 1_000_000 + u64::from(seconds)) * 1_000_000))
    }

    /// Gives memory back once most of it is empty.
    fn shrink(&mut self) {
        if self.seen.capacity() > 2 * self.len() + INDEXED_FROM {
            self.seen.shrink_to_fit();
            self.cold.shrink_to_fit();
            if self.len() < INDEXED_FROM / 2 {
                self.index = HashTable::new();
            } else {
                let (seen, cold) = (&self.seen, &self.cold);
                self.index
                    .shrink_to_fit(|slot| hash_of(&cold[*slot as usize].id, F::ip(&seen[*slot as usize].at)));
            }
        }
    }

    /// Tells entries; how many.
    pub(super) fn choose(&self, choice: &Choice<'_>, dice: &mut Dice, told: &mut Told<'_>) -> usize {
        let Choice { networks, ask, own, want, .. } = *choice;
        let sieve = Sieve::new(choice.now, ask, told);
        // An id is looked at only where the place is not known: it lies in a column of its own.
        let is_asker = |at: usize| match own {
            Some(own) => own == at,
            None => ask.id.is_some_and(|id| id == self.cold[at].id),
        };
        match told {
            Told::Records(list) => {
                let mut pool = Pool::drawn(dice, &self.seen, &sieve);
                let near = |a: Hot| networks.same_region(ask.network, NetworkId(a.network));
                let picked = choose::mix(&mut pool, &self.seen, ask, want, near, is_asker);
                list.extend(picked.iter().map(|at| self.listed(at)));
                picked.len()
            }
            Told::Addresses(out) => {
                let picked = choose::uniform(dice, &self.seen, &sieve, want, is_asker);
                picked.iter().for_each(|at| out.extend_from_slice(self.seen[at].at.as_ref()));
                picked.len()
            }
            Told::Named(list) => {
                let picked = choose::uniform(dice, &self.seen, &sieve, want, is_asker);
                list.extend(picked.iter().map(|at| self.named(at)));
                picked.len()
            }
        }
    }

    fn listed(&self, at: usize) -> Listed {
        let (Seen { hot, at: place }, Cold { id, ports, class, spare }) = (self.seen[at], self.cold[at]);
        let position = hot.is_live().then_some(hot.position.into());
        let (nat, superpeer, have) = (hot.nat(), hot.is_superpeer(), hot.have);
        let traits = Traits { nat, superpeer, class, spare, have, position, ..Traits::default() };
        Listed { id, ip: F::ip(&place), ports, seed: hot.is_seed(), traits }
    }

    /// An entry, whether it speaks BEP 15 only, and its network.
    #[cfg(feature = "redis")]
    pub(super) fn entry(&self, at: usize) -> (Listed, bool, NetworkId) {
        (self.listed(at), self.seen[at].hot.flags & PLAIN != 0, NetworkId(self.seen[at].hot.network))
    }

    fn named(&self, at: usize) -> (SocketAddr, [u8; 20]) {
        let Cold { id, ports, .. } = self.cold[at];
        let mut name = [0; 20];
        name.copy_from_slice(&id.0[..20]);
        (SocketAddr::new(F::ip(&self.seen[at].at), ports.first()), name)
    }
}

fn hash_of(id: &PeerId, ip: IpAddr) -> u64 {
    HASHER.hash_one((id, ip))
}

#[inline]
fn seconds(at: Time) -> u16 {
    at.0.div_ceil(1_000_000) as u16
}

fn grow<T>(column: &mut Vec<T>) {
    if column.len() == column.capacity() {
        column.reserve_exact(column.len() / GROW_BY + 1);
    }
}
