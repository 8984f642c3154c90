//! What client and tracker say to each other over UDP. Encoding and decoding only: no socket, no state.
//!
//! Byte order is big endian. A datagram has at most [`DATAGRAM_MAX`] bytes.
//!
//! # Connect: BEP 15, unchanged
//!
//! | request | | answer | |
//! |---|---|---|---|
//! | 8 | magic `0x0000041727101980` | 4 | action 0 |
//! | 4 | action 0 | 4 | transaction |
//! | 4 | transaction | 8 | connection id, see [`cookie`](super::cookie) |
//!
//! # Native actions
//!
//! | request | | answer | |
//! |---|---|---|---|
//! | 8 | connection id | 4 | action: the request's, or 3 (error, BEP 15: the rest is text) |
//! | 4 | action `0x00504301` announce, `0x00504302` find, `0x00504303` report | 4 | transaction |
//! | 4 | transaction | 1 | version, 1 |
//! | 1 | version, 1 | … | fields |
//! | … | fields | | |
//!
//! A field is {type 1, length 2, value}. Readers skip types they do not know, so fields can be added within a version; a
//! second field of one type replaces the first (peers add up). Type 0 ends the fields, whatever follows is padding. All
//! actions begin with a zero byte, which tells them from QUIC on a shared socket.
//!
//! | type | field | value | in |
//! |---|---|---|---|
//! | 0x01 | swarm | 32 | announce, find; needed |
//! | 0x02 | peer | 32: the asker | announce; find, where it is left out of the answer |
//! | 0x03 | ports | n × {transport 1 (1 UDP, 2 QUIC), port 2}, n ≤ 4 | announce; needed |
//! | 0x04 | flags | 1: bit 0 seed | announce, find |
//! | 0x05 | event | 1: 0 none, 1 started, 2 stopped | announce |
//! | 0x06 | progress | 16: bytes downloaded 8, bytes left 8 | announce, optional |
//! | 0x07 | want | 2: peers wanted | announce, find |
//! | 0x08 | traits | 5 or 9: NAT 1 (0 unknown, 1 open, 2 port-restricted, 3 symmetric, 4 address-restricted), flags 1 (bit 0 superpeer, bit 1 metered, bit 2 relays), log₂ kbit/s up 1, spare slots 1, share held 1, live position 4 | announce, find, report; optional |
//! | 0x09 | entries | n × {change 1 (1 holds, 2 left), info hash 20, share held 1, live position 4 or all ones}, n ≤ 40 | report |
//! | 0x0a | rich | 0: traits are wanted in the answer | find, optional |
//! | 0x0b | token | a signed token, see [`token`](super::token) | all, where the tracker wants one |
//! | 0x21 | interval | 4: seconds until the next announce | answer to announce |
//! | 0x22 | observed | 6 or 18: address and port the request came from | answer to announce |
//! | 0x23 | counts | 8: seeds 4, other peers 4 | answers |
//! | 0x24 | peers | n × {id 32, flags 1 (bit 0 seed, bit 1 IPv6, bit 2 superpeer, bits 3 to 5 NAT), port count 1, ip 4 or 16, ports as above} | answers |
//! | 0x25 | peers' traits | for each of the peers, in order: {log₂ kbit/s up 1, spare slots 1, share held 1, live position 4 or all ones} | answer to a find that asked for it |
//! | 0x26 | standing | 13: soonest next report 4, swarms held 4, duties 1, version of the tracker list 4 | answer to report |
//! | 0x0f | tag | 16: keyed BLAKE3 of everything before this field; ends the fields | all native ones of a private tracker |
//!
//! # Plain BEP 15
//!
//! Announce (1) and scrape (2) of BitTorrent clients are answered as [`bep15`] says. The first 20 bytes of a swarm's key are
//! its info hash, so both kinds of client meet in one swarm; a BitTorrent client is told of everyone, a native one only of
//! those that have a key it can prove.
//!
//! # Amplification
//!
//! No answer is longer than [`AMPLIFICATION_MAX`] × its request, so clients pad native requests to [`REQUEST_PADDED`] bytes.
//! A full answer holds 28 peers with one IPv4 port each, or 21 with one IPv6 port. One without a valid connection id gets at most an
//! error shorter than itself.

use std::net::{IpAddr, SocketAddr};

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerRecord, Scheme};

mod answer;
pub mod bep15;
mod field;
pub mod report;
mod request;
mod traits;

pub use answer::{decode_answer, encode_answer};
pub use bep15::InfoHash;
pub use report::{Report, Reported};
pub(crate) use request::swarm_of;
pub use request::{decode_head, decode_request, encode_connect, encode_request, encode_with_token, token_of};
pub use traits::{Nat, Traits};

/// Longest datagram either side sends: below the 1,280 bytes every IPv6 path carries, with room for tunnels.
pub const DATAGRAM_MAX: usize = 1200;
/// Longest answer in multiples of its request.
pub const AMPLIFICATION_MAX: usize = 3;
/// Length native requests are padded to: the shortest that allows a full answer.
pub const REQUEST_PADDED: usize = DATAGRAM_MAX.div_ceil(AMPLIFICATION_MAX);
/// Ports of one peer at most: two transports, each with a spare.
pub const PORTS_MAX: usize = 4;
/// Lowest port that is handed out: whoever could announce a lower one could aim a swarm at a well-known service.
pub const PORT_MIN: u16 = 1024;
/// Peers decoded from one answer at most: more than fit in a datagram.
pub const PEERS_MAX: usize = 64;
/// Longest text of a refusal, bytes.
pub const WHY_MAX: usize = 200;
/// Version of the native actions.
pub const VERSION: u8 = 1;

const MAGIC: u64 = 0x0000_0417_2710_1980;
const CONNECT: u32 = 0;
const ERROR: u32 = 3;
const ANNOUNCE: u32 = 0x0050_4301;
const FIND: u32 = 0x0050_4302;
const REPORT: u32 = 0x0050_4303;

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The connection id, or the magic number of a connect.
    pub connection: u64,
    /// What is asked.
    pub action: Action,
    /// Chosen by the client, returned by the tracker.
    pub txn: u32,
}

/// The actions a tracker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks for a connection id.
    Connect,
    /// Takes part, or leaves.
    Announce,
    /// Only looks.
    Find,
    /// Says what changed in all that a peer holds.
    Report,
    /// A BitTorrent client takes part, or leaves.
    PlainAnnounce,
    /// A BitTorrent client asks how large swarms are.
    Scrape,
}

/// A native request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Takes part in a swarm, or leaves it.
    Announce(Announce),
    /// Asks who takes part.
    Find(Find),
    /// Says what changed in all that a peer holds.
    Report(Report),
}

/// "I take part in this swarm." The address is not in it: the tracker takes the one it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Where.
    pub swarm: SwarmKey,
    /// Who.
    pub peer: PeerId,
    /// Where the peer listens.
    pub ports: Ports,
    /// Whether it holds everything and downloads nothing.
    pub seed: bool,
    /// What happened.
    pub event: Event,
    /// How far it is, if it tells.
    pub progress: Option<Progress>,
    /// Peers wanted in the answer.
    pub want: u16,
    /// What it is like.
    pub traits: Traits,
}

/// "Who takes part in this swarm?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Which.
    pub swarm: SwarmKey,
    /// Who asks, to be left out of the answer.
    pub asker: Option<PeerId>,
    /// Whether the asker is a seed, which needs no seeds.
    pub seed: bool,
    /// Peers wanted.
    pub want: u16,
    /// What the asker is like.
    pub traits: Traits,
    /// Whether it wants to know what the others are like.
    pub rich: bool,
}

/// Why a peer announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    /// A renewal.
    #[default]
    None,
    /// The first announce of this peer in this swarm.
    Started,
    /// It leaves.
    Stopped,
    /// It holds everything from now on.
    Completed,
}

/// Bytes done and to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes downloaded so far.
    pub downloaded: u64,
    /// Bytes missing; 0 makes the peer a seed.
    pub left: u64,
}

/// The ports of one peer, at most [`PORTS_MAX`], all at least [`PORT_MIN`], without heap: ten bytes, for a tracker keeps
/// millions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    ports: [u16; PORTS_MAX],
    /// The transport of each, 4 bits a port, first port lowest. 0 means that there is none.
    codes: u16,
}

impl Ports {
    /// Adds a port. `false` if it is too low, already there, of a transport without a number on the wire, or one too many.
    pub fn push(&mut self, scheme: Scheme, port: u16) -> bool {
        scheme_code(scheme).is_some_and(|code| self.push_code(code, port))
    }

    fn push_code(&mut self, code: u8, port: u16) -> bool {
        let len = self.len();
        let new = port >= PORT_MIN && len < PORTS_MAX && !self.codes().any(|known| known == (code, port));
        if new {
            self.ports[len] = port;
            self.codes |= u16::from(code) << (4 * len);
        }
        new
    }

    fn len(&self) -> usize {
        (16 - self.codes.leading_zeros() as usize).div_ceil(4)
    }

    /// The port that a client with room for one gets.
    pub(crate) fn first(&self) -> u16 {
        self.ports[0]
    }

    /// Those of `me` that can be told to a tracker: the addresses are dropped.
    pub fn of(me: &PeerRecord) -> Self {
        let mut ports = Self::default();
        for addr in &me.addrs {
            ports.push(addr.scheme, addr.addr.port());
        }
        ports
    }

    /// The ports, best first.
    pub fn iter(&self) -> impl Iterator<Item = (Scheme, u16)> + '_ {
        self.codes().filter_map(|(code, port)| Some((scheme_of(code)?, port)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.codes == 0
    }

    fn codes(&self) -> impl Iterator<Item = (u8, u16)> + '_ {
        let code = |at: usize| (self.codes >> (4 * at)) as u8 & 0xf;
        (0..PORTS_MAX).map(move |at| (code(at), self.ports[at])).take_while(|(code, _)| *code != 0)
    }
}

/// A peer as an answer lists it: one address of one family. A peer with two families is listed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who.
    pub id: PeerId,
    /// Where it announced from.
    pub ip: IpAddr,
    /// Where it listens.
    pub ports: Ports,
    /// Whether it is a seed.
    pub seed: bool,
    /// What it is like.
    pub traits: Traits,
}

/// How many take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers that hold everything.
    pub seeds: u32,
    /// Peers that download.
    pub others: u32,
}

/// What a tracker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a connect.
    Connected {
        /// To be put in front of the next requests.
        connection: u64,
    },
    /// To an announce.
    Announced {
        /// Seconds until the next one.
        interval_s: u32,
        /// Where the request came from, as the tracker sees it.
        observed: SocketAddr,
        /// Size of the swarm.
        counts: Counts,
        /// Some of it.
        peers: Vec<Listed>,
    },
    /// To a find.
    Found {
        /// Size of the swarm.
        counts: Counts,
        /// Some of it.
        peers: Vec<Listed>,
        /// Whether their traits are told.
        rich: bool,
    },
    /// To a report.
    Reported(Reported),
    /// To anything.
    Refused {
        /// In words, at most [`WHY_MAX`] bytes.
        why: String,
    },
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Ends too early.
    #[error("ends within {0}")]
    Short(&'static str),
    /// An action this side does not know.
    #[error("unknown action {0:#010x}")]
    Action(u32),
    /// A version this side does not speak.
    #[error("version {0}, this side speaks 1")]
    Version(u8),
    /// A field with an impossible value.
    #[error("bad {0}")]
    Field(&'static str),
    /// A needed field is not there.
    #[error("no {0}")]
    Missing(&'static str),
    /// The tag of a private tracker is missing or wrong.
    #[error("no proof of the tracker's secret")]
    Tag,
}

/// Puts the addresses of an answer together, by peer, in order.
pub fn records(listed: &[Listed]) -> Vec<PeerRecord> {
    let mut records: Vec<PeerRecord> = Vec::with_capacity(listed.len());
    for peer in listed {
        let addrs = peer
            .ports
            .iter()
            .map(|(scheme, port)| pcdn_core::peer::PeerAddr { scheme, addr: SocketAddr::new(peer.ip, port) });
        match records.iter_mut().find(|record| record.id == peer.id) {
            Some(record) => {
                let room = PeerRecord::ADDRS_MAX - record.addrs.len();
                record.addrs.extend(addrs.take(room));
            }
            None => records.push(PeerRecord { id: peer.id, addrs: addrs.collect(), seed: peer.seed }),
        }
    }
    records.retain(|record| !record.addrs.is_empty());
    records
}

fn scheme_code(scheme: Scheme) -> Option<u8> {
    match scheme {
        Scheme::Udp => Some(1),
        Scheme::Quic => Some(2),
        _ => None,
    }
}

fn scheme_of(code: u8) -> Option<Scheme> {
    match code {
        1 => Some(Scheme::Udp),
        2 => Some(Scheme::Quic),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
