//! BEP 15, for BitTorrent clients: announce and scrape as every tracker speaks them.
//!
//! | announce | | answer | | scrape | | answer | |
//! |---|---|---|---|---|---|---|---|
//! | 8 | connection id | 4 | action 1 | 8 | connection id | 4 | action 2 |
//! | 4 | action 1 | 4 | transaction | 4 | action 2 | 4 | transaction |
//! | 4 | transaction | 4 | interval, seconds | 4 | transaction | n × 12 | seeds, completed, others |
//! | 20 | info hash | 4 | others | n × 20 | info hashes | | |
//! | 20 | peer id | 4 | seeds | | | | |
//! | 24 | downloaded, left, uploaded | n × 6 or 18 | addresses, of the asker's own family | | | | |
//! | 4 | event: 0 none, 1 completed, 2 started, 3 stopped | | | | | | |
//! | 4 | address (ignored: the tracker takes the one it sees) | | | | | | |
//! | 4 | key | | | | | | |
//! | 4 | peers wanted, −1 for the default | | | | | | |
//! | 2 | port | | | | | | |
//! | … | options (BEP 41): 0 end, 1 nothing, 2 + length + a piece of the tracker's URL | | | | | | |
//!
//! The URL of the options is where a token of a private tracker stands: `?token=…`.

use std::fmt;
use std::str::FromStr;

use pcdn_core::id::{HexError, PeerId, SwarmKey};

use super::field::Reader;
use super::{CONNECT, ERROR, Event, MAGIC, WireError};

/// Info hashes of one scrape at most (BEP 15: about 74 fit).
pub const SCRAPE_MAX: usize = 70;
/// Peers of an answer if the client leaves it to the tracker.
pub const WANT_DEFAULT: u16 = 30;
/// Length of an announce without options.
pub const ANNOUNCE_BYTES: usize = 98;
/// Longest URL put together from options.
const URL_MAX: usize = 1024;

const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;

/// Where peers meet, as BitTorrent names it. Of a swarm of ours it is the first 20 bytes of its key, so that a client that
/// knows BEP 15 alone meets those that know more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// The wire form of `key`.
    pub fn of(key: &SwarmKey) -> Self {
        let mut hash = [0; 20];
        hash.copy_from_slice(&key.0[..20]);
        Self(hash)
    }

    /// The bytes of `key` that are not in its wire form.
    pub(crate) fn tail(key: &SwarmKey) -> [u8; 12] {
        let mut tail = [0; 12];
        tail.copy_from_slice(&key.0[20..]);
        tail
    }

    /// The key with this `tail`.
    pub(crate) fn key(&self, tail: [u8; 12]) -> SwarmKey {
        let mut key = [0; 32];
        key[..20].copy_from_slice(&self.0);
        key[20..].copy_from_slice(&tail);
        SwarmKey(key)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({})", &self.to_string()[..8])
    }
}

impl FromStr for InfoHash {
    type Err = HexError;

    /// 40 hex digits, or the 64 of a swarm's key.
    fn from_str(text: &str) -> Result<Self, HexError> {
        let padded = if text.len() == 40 { format!("{text:0<64}") } else { text.to_owned() };
        padded.parse().map(|key| Self::of(&key))
    }
}

/// An announce of a BitTorrent client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Where.
    pub hash: InfoHash,
    /// Who, see [`plain_id`].
    pub peer: PeerId,
    /// Bytes downloaded so far.
    pub downloaded: u64,
    /// Bytes missing.
    pub left: u64,
    /// What happened.
    pub event: Event,
    /// Addresses wanted; the default if the client leaves it to the tracker.
    pub want: u16,
    /// Where it listens.
    pub port: u16,
}

/// The 20 bytes a BitTorrent client calls itself, and its port, as a [`PeerId`]: clients behind one address may call themselves
/// the same, but have ports of their own. Nobody proves such an id, and no link begins with it.
pub fn plain_id(id: [u8; 20], port: u16) -> PeerId {
    let mut peer = [0; 32];
    peer[..20].copy_from_slice(&id);
    peer[20..22].copy_from_slice(&port.to_be_bytes());
    PeerId(peer)
}

/// Writes an announce without options.
pub fn encode_announce(connection: u64, txn: u32, it: &Plain) -> Vec<u8> {
    let mut out = Vec::with_capacity(ANNOUNCE_BYTES);
    out.extend(connection.to_be_bytes());
    out.extend(ANNOUNCE.to_be_bytes());
    out.extend(txn.to_be_bytes());
    out.extend(it.hash.0);
    out.extend(&it.peer.0[..20]);
    out.extend(it.downloaded.to_be_bytes());
    out.extend(it.left.to_be_bytes());
    out.extend([0; 8]);
    out.extend(event_code(it.event).to_be_bytes());
    out.extend([0; 4]);
    out.extend(&it.peer.0[28..]);
    out.extend(i32::from(it.want).to_be_bytes());
    out.extend(it.port.to_be_bytes());
    out
}

/// Reads an announce, of which the head is known to be right.
pub fn decode_announce(datagram: &[u8]) -> Result<Plain, WireError> {
    let mut reader = Reader(datagram.get(16..).ok_or(WireError::Short("announce"))?);
    let hash = InfoHash(reader.take("info hash")?);
    let name = reader.take("peer id")?;
    let (downloaded, left) = (reader.u64("announce")?, reader.u64("announce")?);
    let _uploaded = reader.u64("announce")?;
    let event = match reader.u32("announce")? {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        _ => Event::None,
    };
    let (_address, _key) = (reader.u32("announce")?, reader.u32("announce")?);
    let want = reader.u32("announce")? as i32;
    let want = u16::try_from(want).unwrap_or(if want < 0 { WANT_DEFAULT } else { u16::MAX });
    let port = reader.u16("announce")?;
    let peer = plain_id(name, port);
    Ok(Plain { hash, peer, downloaded, left, event, want, port })
}

/// The URL that the options of an announce (BEP 41) spell, without its scheme and host.
pub fn announce_url(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut options = Reader(datagram.get(ANNOUNCE_BYTES..)?);
    let mut url = Vec::new();
    loop {
        match options.u8("option") {
            Ok(1) => {}
            Ok(0) | Err(_) => break,
            Ok(kind) => {
                let Ok(len) = options.u8("option") else { break };
                let Ok(value) = options.slice(len.into(), "option") else { break };
                if kind == 2 && url.len() + value.len() <= URL_MAX {
                    url.extend(value);
                }
            }
        }
    }
    (!url.is_empty()).then_some(url)
}

/// Begins the answer to an announce; the addresses follow as they are on the wire.
pub fn begin_announced(txn: u32, interval_s: u32, seeds: u32, others: u32) -> [u8; 20] {
    let mut out = [0; 20];
    let words = [ANNOUNCE, txn, interval_s, others, seeds];
    for (place, word) in out.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    out
}

/// The info hashes a scrape asks about, at most [`SCRAPE_MAX`].
pub fn decode_scrape(datagram: &[u8]) -> impl ExactSizeIterator<Item = InfoHash> + '_ {
    let hashes = datagram.get(16..).unwrap_or_default().as_chunks().0;
    hashes.iter().take(SCRAPE_MAX).map(|hash| InfoHash(*hash))
}

/// Begins the answer to a scrape; {seeds, completed, others} of each swarm follow.
pub fn begin_scraped(txn: u32, out: &mut Vec<u8>) {
    out.extend(SCRAPE.to_be_bytes());
    out.extend(txn.to_be_bytes());
}

/// What a tracker answers to an announce of this protocol, as its client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainAnswer {
    /// To an announce.
    Announced {
        /// Seconds until the next one.
        interval_s: u32,
        /// Peers that hold everything.
        seeds: u32,
        /// Peers that download.
        others: u32,
    },
    /// To anything.
    Refused(String),
}

/// Reads an answer's transaction and what matters of the rest: the addresses have no names, and nobody of ours can be dialled
/// without one.
pub fn decode_plain(datagram: &[u8]) -> Result<(u32, PlainAnswer), WireError> {
    let mut reader = Reader(datagram);
    let (action, txn) = (reader.u32("head")?, reader.u32("head")?);
    let answer = match action {
        ANNOUNCE => {
            let interval_s = reader.u32("answer")?;
            let (others, seeds) = (reader.u32("answer")?, reader.u32("answer")?);
            PlainAnswer::Announced { interval_s, seeds, others }
        }
        ERROR => PlainAnswer::Refused(super::answer::printable(reader.0)),
        other => return Err(WireError::Action(other)),
    };
    Ok((txn, answer))
}

/// The action of a request as BEP 15 numbers it, if it is one of its own.
pub(super) fn action(connection: u64, action: u32) -> Option<super::Action> {
    match action {
        CONNECT if connection == MAGIC => Some(super::Action::Connect),
        ANNOUNCE => Some(super::Action::PlainAnnounce),
        SCRAPE => Some(super::Action::Scrape),
        _ => None,
    }
}

fn event_code(event: Event) -> u32 {
    match event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    }
}
