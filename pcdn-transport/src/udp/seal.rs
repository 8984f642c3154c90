//! Sealing and opening packets: AES-128-GCM or ChaCha20-Poly1305, a 64-bit packet number as nonce, and a replay window.
//!
//! The clear header is authenticated. Each direction's sender turns to a new key when it likes, at the latest after so many
//! packets or so much time ([`keys`]), and says by two bits of the first byte which one holds; the receiver follows when a packet opens
//! with the next. No message is needed to agree, and no reordering confuses the keys: two bits tell the last from the next.

mod keys;

use std::time::Duration;

use pcdn_core::unit::Time;
use ring::aead::{Aad, LessSafeKey, Nonce, Tag};

use super::cipher::Cipher;
use super::packet::{HEADER_LEN, PACKET, PHASES, TAG_LEN, full_number};
use keys::Keys;

/// Packets under one key: half of what RFC 9001 section 6.6 allows AES-GCM (2²³ of the largest; section B.1 allows ours more).
const KEY_PACKETS: u32 = 1 << 22;
/// How long one key is used: what WireGuard has (REKEY_AFTER_TIME). Who takes the keys of a node can read the last two
/// minutes of what was recorded, not the film.
const KEY_LIFE: Duration = Duration::from_secs(120);
/// How long packets of the last key are still opened. RFC 9001 section 6.5 has three times a probe timeout, which is a second at
/// the most on paths that carry a film.
const OVERLAP: Duration = Duration::from_secs(3);
/// Packets that do not open, after which a session is given up: what RFC 9147 section 4.5.3 allows either cipher, and RFC 9001
/// section 6.6 the weaker one (2³⁶; AES-128-GCM 2⁵²). Forgers who know the session need 9 hours of 1 Gbit/s for them.
const FORGED_MAX: u64 = 1 << 36;
/// Packets behind the highest that are still accepted once: at 1 Gbit/s 2048 full packets are 22 ms of reordering.
const REPLAY_PACKETS: u64 = 2048;
/// Packet numbers ahead of the highest seen that are tried: no session lives on that has lost so many in a row.
const AHEAD_MAX: u64 = 1 << 22;

/// Seals what this side sends.
pub(crate) struct Sealer {
    keys: Keys,
    next: u64,
    /// Packets that the key may still seal.
    left: u32,
    /// When it is too old; never before its first.
    until: Time,
}

impl Sealer {
    pub(crate) fn new(secret: [u8; 32], cipher: Cipher) -> Self {
        Self { keys: Keys::new(secret, cipher), next: 0, left: KEY_PACKETS, until: Time::NEVER }
    }

    /// One that has already sealed `number` packets and turned to another key so many times.
    #[cfg(test)]
    pub(crate) fn at(secret: [u8; 32], cipher: Cipher, number: u64, turns: usize) -> Self {
        let mut sealer = Self { next: number, ..Self::new(secret, cipher) };
        (0..turns).for_each(|_| sealer.turn());
        sealer
    }

    /// The number the next packet will bear.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Writes the header of a packet to `to`; frames follow, then [`finish`](Self::finish).
    pub(crate) fn begin(&mut self, now: Time, to: u32, out: &mut Vec<u8>) {
        if self.left == 0 || now >= self.until {
            self.turn();
        }
        self.until = self.until.min(now + KEY_LIFE);
        out.push(PACKET | self.keys.phase());
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&(self.next as u32).to_be_bytes());
    }

    /// Seals the packet that begins at `start` of `out`.
    pub(crate) fn finish(&mut self, start: usize, out: &mut Vec<u8>) {
        let number = self.next;
        self.next += 1;
        self.left = self.left.saturating_sub(1);
        let (header, plain) = out[start..].split_at_mut(HEADER_LEN);
        let tag = self
            .keys
            .key()
            .seal_in_place_separate_tag(nonce(number), Aad::from(&*header), plain)
            .expect("a datagram is far below the ciphers' limit");
        out.extend_from_slice(tag.as_ref());
    }

    fn turn(&mut self) {
        self.keys = self.keys.next();
        (self.left, self.until) = (KEY_PACKETS, Time::NEVER);
    }
}

/// Opens what the other side sent.
pub(crate) struct Opener {
    keys: Keys,
    /// The last key, for packets overtaken by a change. For most of the time there is none.
    before: Option<Box<Before>>,
    highest: Option<u64>,
    seen: [u64; (REPLAY_PACKETS / 64) as usize],
    forged: u64,
}

/// A key that the other side has turned away from.
struct Before {
    key: LessSafeKey,
    /// The first packet that opened with the next key: what was sealed later is not sealed with this one.
    below: u64,
    until: Time,
}

/// A packet that opened.
pub(crate) struct Opened<'a> {
    /// The frames.
    pub(crate) plain: &'a mut [u8],
    /// Whether its number is the highest so far.
    pub(crate) newest: bool,
}

impl Opener {
    pub(crate) fn new(secret: [u8; 32], cipher: Cipher) -> Self {
        Self { keys: Keys::new(secret, cipher), before: None, highest: None, seen: [0; _], forged: 0 }
    }

    /// The highest number that opened.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether so much was forged that the session must end.
    pub(crate) fn is_worn(&self) -> bool {
        self.forged >= FORGED_MAX
    }

    /// All but one of the forgeries that it bears.
    #[cfg(test)]
    pub(crate) fn wear(&mut self) {
        self.forged = FORGED_MAX - 1;
    }

    /// Opens a whole datagram in place; `None` if it is forged, damaged, too old or was seen before.
    pub(crate) fn open<'a>(&mut self, now: Time, low: u32, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        let highest = self.highest.unwrap_or(0);
        let number = full_number(highest, low);
        if number > highest + AHEAD_MAX || self.was_seen(number) {
            return None;
        }
        self.before.take_if(|before| now >= before.until);
        let (header, sealed) = datagram.split_at_mut_checked(HEADER_LEN)?;
        let (sealed, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG_LEN)?)?;
        let tag = Tag::try_from(&*tag).ok()?;
        let mut ahead = None;
        let key = match self.keys.turns_to(header[0] % PHASES) {
            Some(0) => self.keys.key(),
            Some(1) => ahead.insert(self.keys.next()).key(),
            _ => &self.before.as_ref().filter(|before| number < before.below)?.key,
        };
        let opened = key.open_in_place_separate_tag(nonce(number), Aad::from(&*header), tag, sealed, 0..);
        if opened.is_err() {
            self.forged = self.forged.saturating_add(1);
            return None;
        }
        if let Some(next) = ahead {
            let key = std::mem::replace(&mut self.keys, next).into_key();
            self.before = Some(Box::new(Before { key, below: number, until: now + OVERLAP }));
        }
        let newest = self.highest.is_none_or(|highest| number > highest);
        self.mark(number);
        Some(Opened { plain: sealed, newest })
    }

    fn was_seen(&self, number: u64) -> bool {
        let Some(highest) = self.highest else { return false };
        if number > highest {
            return false;
        }
        number + REPLAY_PACKETS <= highest || self.seen[slot(number)] >> (number % 64) & 1 != 0
    }

    fn mark(&mut self, number: u64) {
        let highest = self.highest.map_or(0, |highest| highest + 1);
        if self.highest.is_none_or(|highest| number > highest) {
            // Clear the bits of the numbers skipped: they are still welcome.
            let from = highest.max((number + 1).saturating_sub(REPLAY_PACKETS));
            (from..number).for_each(|skipped| self.seen[slot(skipped)] &= !(1 << (skipped % 64)));
            self.highest = Some(number);
        }
        self.seen[slot(number)] |= 1 << (number % 64);
    }
}

fn slot(number: u64) -> usize {
    (number / 64 % (REPLAY_PACKETS / 64)) as usize
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(next {})", self.next)
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener(highest {:?})", self.highest)
    }
}

#[cfg(test)]
mod tests;
