//! Where nodes learn how they appear, and are called together: the tracker's side of [`pcdn_core::wire::meet`]. Pure.
//!
//! A node is registered while it asks WHERE every 20 s from the socket that carries its sessions, which keeps its NAT's
//! mapping open, too. It is called only if it takes part in a swarm here, at most [`CALLED_PER_SECOND`] times a second, and told
//! of no address but the one from which the caller asked: nobody can aim it at a third party. Private addresses are told to
//! those that are seen at the same public one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::Reach;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{self, AnswerFrom, Call, Here, Meet, PRIVATE_MAX, Ticket, Where, Word};

/// A registration ends this long after the last WHERE: two of them may be lost.
const REGISTERED_FOR: Duration = Duration::from_secs(60);
/// Peers registered behind one address: as many as may announce from there.
const SPOTS_PER_HOST: usize = 64;
/// Hosts with registered peers at most, about 100 bytes each: as many as addresses are remembered.
const HOSTS_MAX: usize = 1_000_000;
const SHARDS: usize = 64;
/// A peer is called so often a second in the long run, and so often at once. What it costs the called one: three seconds of
/// 16-byte punches to one address.
pub const CALLED_PER_SECOND: f64 = 8.0;
const CALLED_BURST: f64 = 32.0;
/// How long a ticket is given out; it is taken for as long again. Longer than a registration, and short enough that an address
/// that changed hands is not of use for long.
const TICKET_SLICE: Duration = Duration::from_secs(600);
/// The nearer of two nodes waits so long at most for the farther: half of the longest round trip there is on land.
const WAIT_MS_MAX: u16 = 300;

/// Where else the tracker can be asked and answer from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// The same address with another port; its IP is unspecified where the tracker listens on all.
    pub other_port: Option<SocketAddr>,
    /// Another address of the same host.
    pub other_address: Option<SocketAddr>,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// From which point.
    pub from: AnswerFrom,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// What the meeting point asks of the rest of the tracker.
pub trait Members {
    /// Whether `peer` takes part in any swarm from `ip`.
    fn has(&self, ip: IpAddr, peer: &PeerId) -> bool;
    /// Whether `ip` may ask again so soon.
    fn may_ask(&self, now: Time, ip: IpAddr) -> bool;
}

/// Who can be called, and where.
#[derive(Debug)]
pub struct MeetingPoint {
    key: [u8; 32],
    points: Points,
    hosts: DashMap<IpAddr, Vec<Spot>>,
}

/// A registered peer.
#[derive(Debug)]
struct Spot {
    id: PeerId,
    port: u16,
    /// The one it showed: what it is told must carry that.
    ticket: Ticket,
    private: Vec<SocketAddr>,
    rtt_ms: u16,
    at: Time,
    calls: f64,
}

impl MeetingPoint {
    /// With `key` freshly drawn.
    pub fn new(key: [u8; 32], points: Points) -> Self {
        Self { key, points, hosts: DashMap::with_shard_amount(SHARDS) }
    }

    /// Answers a word that came to the tracker's main point; nothing for anything else.
    pub fn handle(
        &self,
        now: Time,
        dice: &mut Dice,
        members: &impl Members,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Vec<Send> {
        match meet::decode(datagram) {
            Some(Word::Where(it)) => {
                let registered = self.proves(now, from, &it.ticket)
                    && self.register(now, from, it.id, it.ticket, (&it.private, it.rtt_ms))
                    && members.has(from.ip().to_canonical(), &it.id);
                vec![self.here(now, from, &it, registered)]
            }
            Some(Word::Call(it)) => self.call(now, dice, members, from, &it),
            _ => Vec::new(),
        }
    }

    /// Answers a word that came to another point: only where it came from.
    pub fn elsewhere(&self, now: Time, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let Some(Word::Where(it)) = meet::decode(datagram) else { return None };
        let it = Where { answer_from: AnswerFrom::Here, ..it };
        Some(self.here(now, from, &it, false).bytes)
    }

    /// Registered peers; for tests and metrics, it takes every lock.
    pub fn len(&self) -> usize {
        self.hosts.iter().map(|host| host.len()).sum()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Forgets who has not asked for a minute. To be called every few seconds.
    pub fn expire(&self, now: Time) {
        self.hosts.retain(|_, spots| {
            spots.retain(|spot| now.since(spot.at) < REGISTERED_FOR);
            !spots.is_empty()
        });
    }

    fn here(&self, now: Time, from: SocketAddr, it: &Where, registered: bool) -> Send {
        let seen = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Points { other_port, other_address } = self.points;
        let here = Here {
            txid: it.txid,
            ticket: self.ticket(now, from),
            registered,
            seen,
            other_port,
            other_address,
        };
        Send { from: it.answer_from, to: from, bytes: meet::encode(&Word::Here(here)) }
    }

    fn call(
        &self,
        now: Time,
        dice: &mut Dice,
        members: &impl Members,
        from: SocketAddr,
        it: &Call,
    ) -> Vec<Send> {
        if !self.proves(now, from, &it.ticket) {
            return Vec::new();
        }
        let (ip, wanted_ip) = (from.ip().to_canonical(), it.at.ip().to_canonical());
        let may = members.may_ask(now, ip) && members.has(ip, &it.id) && it.wanted != it.id;
        let called = if may && self.register(now, from, it.id, it.ticket, (&it.private, it.rtt_ms)) {
            self.summon(now, wanted_ip, &it.wanted).filter(|_| members.has(wanted_ip, &it.wanted))
        } else {
            None
        };
        let meet = |to: SocketAddr, ticket, token, in_ms, peer, addrs| {
            let meet = Meet { txid: it.txid, ticket, token, in_ms, peer, addrs };
            Send { from: AnswerFrom::Here, to, bytes: meet::encode(&Word::Meet(meet)) }
        };
        let Some((port, ticket, private, rtt_ms)) = called else {
            return vec![meet(from, it.ticket, None, 0, it.wanted, Vec::new())];
        };
        let token = Some(dice.next_u64().to_be_bytes());
        let at = in_family_of(SocketAddr::new(wanted_ip, port), from);
        // Whoever shares the public address may share the network behind it; hairpins are not to be relied on.
        let near = |private: &[SocketAddr]| -> Vec<SocketAddr> {
            if ip == wanted_ip { private.to_vec() } else { Vec::new() }
        };
        let to_caller = near(&private).into_iter().chain([SocketAddr::new(wanted_ip, port)]).collect();
        let caller = SocketAddr::new(ip, from.port());
        let to_called = near(&usable(&it.private)).into_iter().chain([caller]).collect();
        let [called_in, caller_in] = begin_in([rtt_ms, it.rtt_ms]);
        vec![
            meet(at, ticket, token, called_in, it.id, to_called),
            meet(from, it.ticket, token, caller_in, it.wanted, to_caller),
        ]
    }

    /// Port, ticket, private addresses and round trip of a registered peer, if it may be called once more.
    fn summon(&self, now: Time, ip: IpAddr, id: &PeerId) -> Option<(u16, Ticket, Vec<SocketAddr>, u16)> {
        let mut spots = self.hosts.get_mut(&ip)?;
        let spot = spots.iter_mut().find(|spot| spot.id == *id)?;
        let fresh = now.since(spot.at) < REGISTERED_FOR;
        let may = fresh && spot.calls >= 1.0;
        spot.calls -= f64::from(u8::from(may));
        may.then(|| (spot.port, spot.ticket, spot.private.clone(), spot.rtt_ms))
    }

    /// Remembers where `id` is; `false` if there is no room.
    fn register(
        &self,
        now: Time,
        from: SocketAddr,
        id: PeerId,
        ticket: Ticket,
        (private, rtt_ms): (&[SocketAddr], u16),
    ) -> bool {
        // Before the entry locks its shard: the length locks them all.
        let full = self.hosts.len() >= HOSTS_MAX;
        let mut spots = match self.hosts.entry(from.ip().to_canonical()) {
            Entry::Occupied(spots) => spots.into_ref(),
            Entry::Vacant(_) if full => return false,
            Entry::Vacant(place) => place.insert(Vec::new()),
        };
        let (port, private) = (from.port(), usable(private));
        match spots.iter().position(|spot| spot.id == id) {
            Some(at) => {
                let gained = now.since(spots[at].at).as_secs_f64() * CALLED_PER_SECOND;
                let calls = (spots[at].calls + gained).min(CALLED_BURST);
                spots[at] = Spot { id, port, ticket, private, rtt_ms, at: now, calls };
            }
            None if spots.len() >= SPOTS_PER_HOST => return false,
            None => {
                spots.push(Spot { id, port, ticket, private, rtt_ms, at: now, calls: CALLED_BURST });
            }
        }
        true
    }

    fn ticket(&self, now: Time, of: SocketAddr) -> Ticket {
        self.ticket_of(slice(now), of)
    }

    fn proves(&self, now: Time, from: SocketAddr, ticket: &Ticket) -> bool {
        let slice = slice(now);
        (slice.saturating_sub(1)..=slice).any(|slice| self.ticket_of(slice, from) == *ticket)
    }

    fn ticket_of(&self, slice: u64, of: SocketAddr) -> Ticket {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&slice.to_be_bytes()).update(&of.port().to_be_bytes());
        match of.ip().to_canonical() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let mut ticket = [0; 8];
        ticket.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        ticket
    }
}

/// In how many milliseconds from when they hear it two nodes begin, so that they do at one moment; at once where a round trip is
/// not known.
fn begin_in(rtts_ms: [u16; 2]) -> [u16; 2] {
    if rtts_ms.contains(&0) {
        return [0; 2];
    }
    let latest = rtts_ms[0].max(rtts_ms[1]);
    rtts_ms.map(|rtt| ((latest - rtt) / 2).min(WAIT_MS_MAX))
}

fn slice(now: Time) -> u64 {
    now.0 / TICKET_SLICE.as_micros() as u64
}

/// What can be a private address of a node: anything else is nobody's business, or somebody else's.
fn usable(private: &[SocketAddr]) -> Vec<SocketAddr> {
    let fit =
        |addr: &&SocketAddr| Reach::of(addr.ip()) == Reach::Site && addr.port() >= super::wire::PORT_MIN;
    private.iter().filter(fit).take(PRIVATE_MAX).copied().collect()
}

/// A socket of both families names IPv4 addresses in IPv6's form.
fn in_family_of(addr: SocketAddr, like: SocketAddr) -> SocketAddr {
    match (addr.ip(), like.is_ipv6()) {
        (IpAddr::V4(ip), true) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        _ => addr,
    }
}

#[cfg(test)]
mod tests;
