//! What a peer says of itself, signed: it can be passed on, and nobody on the way can change or invent it.
//!
//! | bytes | field |
//! |---|---|
//! | 32 | the peer's id, its Ed25519 public key |
//! | 8 | seq: Unix milliseconds when it was signed; of two records the later one counts |
//! | 2 | lifetime in seconds, 1 to 1,800 |
//! | 1 | flags: 1 seeds only, 2 superpeer, 4 relays; the others are kept as they are |
//! | 1 | class of its NAT, 0 if unknown |
//! | 1 | class of its uplink, log2 of kbit/s, 0 if unknown |
//! | 1 | number of addresses, 1 to 4 |
//! | 8 or 20 each | scheme, family (4 or 6), IP, port |
//! | 64 | signature over the [hash](blake3::Hasher::new_derive_key) of swarm key and everything above |
//!
//! Big endian, 110 to 190 bytes. The swarm is part of what is signed: a record says that its peer takes part in this very
//! swarm, and says nothing in another one. An id costs nothing to make, so a sound signature proves that the peer once
//! wanted to be found there, not that it is there: that takes a handshake.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{PeerAddr, Reach, Scheme};
use crate::id::{Identity, PeerId, SwarmKey};

/// What a peer says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who.
    pub id: PeerId,
    /// Unix milliseconds when it was signed.
    pub seq: u64,
    /// For how many seconds from then it may be passed on, at most [`LIFETIME_S_MAX`](Self::LIFETIME_S_MAX).
    pub lifetime_s: u16,
    /// [`SEED`](Self::SEED) and the like.
    pub flags: u8,
    /// Class of its NAT, 0 if unknown.
    pub nat: u8,
    /// Class of its uplink: log2 of kbit/s, 0 if unknown.
    pub up: u8,
    /// Where it can be reached, best first, 1 to [`ADDRS_MAX`](Self::ADDRS_MAX).
    pub addrs: Vec<PeerAddr>,
}

impl Facts {
    /// Longest lifetime, 30 minutes: who is gone is forgotten within it.
    pub const LIFETIME_S_MAX: u16 = 1_800;
    /// Addresses at most: two families, two transports.
    pub const ADDRS_MAX: usize = 4;
    /// It has everything and downloads nothing.
    pub const SEED: u8 = 1;
    /// It is a superpeer by its own word; who cares asks for its status.
    pub const SUPERPEER: u8 = 2;
    /// It relays for others.
    pub const RELAY: u8 = 4;

    /// Signs them for `swarm`; `None` if they break a rule or are another's.
    pub fn sign(self, key: &Identity, swarm: &SwarmKey) -> Option<SignedRecord> {
        if self.id != key.peer_id() || self.check().is_err() {
            return None;
        }
        let body = self.encode();
        let signature = key.sign(&digest(swarm, &body));
        Some(SignedRecord { sealed: Arc::new(Sealed { facts: self, body, signature }), sound: Some(*swarm) })
    }

    fn check(&self) -> Result<(), RecordError> {
        let repeated = (1..self.addrs.len()).any(|i| self.addrs[..i].contains(&self.addrs[i]));
        match () {
            () if self.lifetime_s == 0 => Err(RecordError("a record that holds for no time")),
            () if self.lifetime_s > Self::LIFETIME_S_MAX => {
                Err(RecordError("a record that holds above 30 minutes"))
            }
            () if self.addrs.is_empty() => Err(RecordError("a record without an address")),
            () if self.addrs.len() > Self::ADDRS_MAX => Err(RecordError("a record of more than 4 addresses")),
            () if repeated => Err(RecordError("a record that repeats an address")),
            () if !self.addrs.iter().all(PeerAddr::is_dialable) => {
                Err(RecordError("a record of an address that nobody dials"))
            }
            () => Ok(()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SignedRecord::BYTES_MAX);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.lifetime_s.to_be_bytes());
        out.extend_from_slice(&[self.flags, self.nat, self.up, self.addrs.len() as u8]);
        self.addrs.iter().for_each(|addr| addr.put(&mut out));
        out
    }
}

/// [`Facts`] and their signature. Cheap to clone.
#[derive(Clone)]
pub struct SignedRecord {
    sealed: Arc<Sealed>,
    /// The swarm for which the signature was made or checked in this process: that is not done twice.
    sound: Option<SwarmKey>,
}

struct Sealed {
    facts: Facts,
    /// As it came: what a later version writes there is passed on unchanged.
    body: Vec<u8>,
    signature: [u8; 64],
}

impl SignedRecord {
    /// Longest binary form.
    pub const BYTES_MAX: usize = HEAD + Facts::ADDRS_MAX * 20 + 64;
    /// How far clocks of two homes may differ.
    pub const SKEW: Duration = Duration::from_secs(300);

    /// Reads one from the start of `bytes`, and how long it is. Its signature is not yet checked.
    ///
    /// # Errors
    /// If it is cut short or against the rules.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), RecordError> {
        const SHORT: RecordError = RecordError("a record that is cut short");
        let head: &[u8; HEAD] = bytes.first_chunk().ok_or(SHORT)?;
        let (id, rest) = head.split_at(32);
        let (seq, rest) = rest.split_at(8);
        let mut addrs = Vec::new();
        let mut at = HEAD;
        for _ in 0..usize::from(head[HEAD - 1]).min(Facts::ADDRS_MAX + 1) {
            let (addr, len) = PeerAddr::get(&bytes[at..]).ok_or(SHORT)?;
            addrs.push(addr);
            at += len;
        }
        let signature = *bytes[at..].first_chunk::<64>().ok_or(SHORT)?;
        let facts = Facts {
            id: PeerId(id.try_into().map_err(|_| SHORT)?),
            seq: u64::from_be_bytes(seq.try_into().map_err(|_| SHORT)?),
            lifetime_s: u16::from_be_bytes([rest[0], rest[1]]),
            flags: rest[2],
            nat: rest[3],
            up: rest[4],
            addrs,
        };
        facts.check()?;
        let sealed = Arc::new(Sealed { facts, body: bytes[..at].to_vec(), signature });
        Ok((Self { sealed, sound: None }, at + 64))
    }

    /// Writes its binary form.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sealed.body);
        out.extend_from_slice(&self.sealed.signature);
    }

    /// Length of its binary form.
    pub fn bytes(&self) -> usize {
        self.sealed.body.len() + 64
    }

    /// The same record if its peer signed it for `swarm`. About 50 µs, once in this process.
    pub fn verified(mut self, swarm: &SwarmKey) -> Option<Self> {
        if self.sound != Some(*swarm) {
            let hash = digest(swarm, &self.sealed.body);
            if !self.facts().id.verify(&hash, &self.sealed.signature) {
                return None;
            }
            self.sound = Some(*swarm);
        }
        Some(self)
    }

    /// What it says.
    pub fn facts(&self) -> &Facts {
        &self.sealed.facts
    }

    /// Who.
    pub fn id(&self) -> PeerId {
        self.facts().id
    }

    /// How far the nearest of its addresses reaches: from so near only it is worth telling, and believed.
    pub fn reach(&self) -> Reach {
        self.facts().addrs.iter().map(PeerAddr::reach).min().unwrap_or(Reach::World)
    }

    /// Unix milliseconds when it ends.
    pub fn ends_ms(&self) -> u64 {
        self.facts().seq.saturating_add(u64::from(self.facts().lifetime_s) * 1_000)
    }

    /// Whether it holds at `now_ms`, Unix milliseconds by a clock that may be wrong by [`SKEW`](Self::SKEW).
    pub fn holds_at(&self, now_ms: u64) -> bool {
        let skew = Self::SKEW.as_millis() as u64;
        self.facts().seq <= now_ms.saturating_add(skew) && now_ms < self.ends_ms().saturating_add(skew)
    }
}

impl PartialEq for SignedRecord {
    fn eq(&self, other: &Self) -> bool {
        self.sealed.body == other.sealed.body && self.sealed.signature == other.sealed.signature
    }
}

impl Eq for SignedRecord {}

impl std::fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignedRecord").field(self.facts()).finish()
    }
}

/// Everything before the addresses.
const HEAD: usize = 32 + 8 + 2 + 4;

fn digest(swarm: &SwarmKey, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn peer record v1");
    hasher.update(&swarm.0).update(body);
    *hasher.finalize().as_bytes()
}

impl PeerAddr {
    /// Writes scheme, family, IP and port: 8 or 20 bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.scheme.code());
        match self.addr.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&self.addr.port().to_be_bytes());
    }

    /// Reads one from the start of `bytes`, and how long it is.
    pub(crate) fn get(bytes: &[u8]) -> Option<(Self, usize)> {
        let [scheme, family, rest @ ..] = bytes else { return None };
        let (ip, port): (IpAddr, _) = match family {
            4 => ((*rest.first_chunk::<4>()?).into(), &rest[4..]),
            6 => ((*rest.first_chunk::<16>()?).into(), &rest[16..]),
            _ => return None,
        };
        let port = u16::from_be_bytes(*port.first_chunk()?);
        let len = if ip.is_ipv4() { 8 } else { 20 };
        Some((Self { scheme: Scheme::of_code(*scheme), addr: SocketAddr::new(ip, port) }, len))
    }
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(pub(crate) &'static str);

#[cfg(test)]
mod tests;
