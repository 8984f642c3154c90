//! Sealing and opening packets: AES-128-GCM or ChaCha20-Poly1305, a 64-bit packet number as nonce, and a replay window.
//!
//! The clear header is authenticated. Keys change with every 2²² packet numbers, so both sides know from the number alone
//! which key holds and no message is needed to agree.

use ring::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};

use super::cipher::Cipher;
use super::packet::{HEADER_LEN, PACKET, TAG_LEN, full_number};

/// Packets under one key: half of what RFC 9001 section 6.6 allows AES-GCM (2²³).
const KEY_PACKETS_LOG2: u32 = 22;
/// Packets behind the highest that are still accepted once: at 1 Gbit/s 2048 full packets are 22 ms of reordering.
const REPLAY_PACKETS: u64 = 2048;
/// Packet numbers ahead of the highest seen that are tried: a forged number must not make us derive endless keys.
const AHEAD_MAX: u64 = 1 << KEY_PACKETS_LOG2;

/// Seals what this side sends.
pub(crate) struct Sealer {
    keys: Keys,
    next: u64,
}

impl Sealer {
    pub(crate) fn new(secret: [u8; 32], cipher: Cipher) -> Self {
        Self { keys: Keys::new(secret, cipher), next: 0 }
    }

    /// One that has already sealed `number` packets.
    #[cfg(test)]
    pub(crate) fn at(secret: [u8; 32], cipher: Cipher, number: u64) -> Self {
        Self { next: number, ..Self::new(secret, cipher) }
    }

    /// The number the next packet will bear.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Writes the header of a packet to `to`; frames follow, then [`finish`](Self::finish).
    pub(crate) fn begin(&self, to: u32, out: &mut Vec<u8>) {
        out.push(PACKET);
        out.extend_from_slice(&to.to_be_bytes());
        out.extend_from_slice(&(self.next as u32).to_be_bytes());
    }

    /// Seals the packet that begins at `start` of `out`.
    pub(crate) fn finish(&mut self, start: usize, out: &mut Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let (header, plain) = out[start..].split_at_mut(HEADER_LEN);
        let tag = self
            .keys
            .of(number)
            .seal_in_place_separate_tag(nonce(number), Aad::from(&*header), plain)
            .expect("a datagram is far below the ciphers' limit");
        out.extend_from_slice(tag.as_ref());
    }
}

/// Opens what the other side sent.
pub(crate) struct Opener {
    keys: Keys,
    /// The epoch before the newest, for packets overtaken by a change of key. Most sessions never see one.
    before: Option<Box<(u64, LessSafeKey)>>,
    highest: Option<u64>,
    seen: [u64; (REPLAY_PACKETS / 64) as usize],
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
        Self { keys: Keys::new(secret, cipher), before: None, highest: None, seen: [0; _] }
    }

    /// The highest number that opened.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Opens a whole datagram in place; `None` if it is forged, damaged, too old or was seen before.
    pub(crate) fn open<'a>(&mut self, low: u32, datagram: &'a mut [u8]) -> Option<Opened<'a>> {
        let highest = self.highest.unwrap_or(0);
        let number = full_number(highest, low);
        if number > highest + AHEAD_MAX || self.was_seen(number) {
            return None;
        }
        let (header, sealed) = datagram.split_at_mut_checked(HEADER_LEN)?;
        let (sealed, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG_LEN)?)?;
        let tag = Tag::try_from(&*tag).ok()?;
        let ahead;
        let key = match number >> KEY_PACKETS_LOG2 {
            epoch if epoch == self.keys.epoch => &self.keys.key,
            epoch if epoch > self.keys.epoch => {
                ahead = self.keys.ahead(epoch);
                &ahead
            }
            epoch => &self.before.as_ref().filter(|before| before.0 == epoch)?.1,
        };
        key.open_in_place_separate_tag(nonce(number), Aad::from(&*header), tag, sealed, 0..).ok()?;
        if number >> KEY_PACKETS_LOG2 > self.keys.epoch {
            let old = self.keys.epoch;
            self.before = Some(Box::new((old, self.keys.turn_to(number >> KEY_PACKETS_LOG2))));
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

/// A chain of keys, one for each epoch, of which only the newest secret is kept.
struct Keys {
    cipher: Cipher,
    epoch: u64,
    secret: [u8; 32],
    key: LessSafeKey,
}

impl Keys {
    fn new(secret: [u8; 32], cipher: Cipher) -> Self {
        Self { cipher, epoch: 0, key: key_from(&secret, cipher), secret }
    }

    /// The key for `number`, turning the chain forward if need be.
    fn of(&mut self, number: u64) -> &LessSafeKey {
        if number >> KEY_PACKETS_LOG2 > self.epoch {
            self.turn_to(number >> KEY_PACKETS_LOG2);
        }
        &self.key
    }

    /// The key of a coming epoch, without turning.
    fn ahead(&self, epoch: u64) -> LessSafeKey {
        key_from(&(self.epoch..epoch).fold(self.secret, |secret, _| next_secret(&secret)), self.cipher)
    }

    /// Turns to `epoch`; gives the key that held before.
    fn turn_to(&mut self, epoch: u64) -> LessSafeKey {
        self.secret = (self.epoch..epoch).fold(self.secret, |secret, _| next_secret(&secret));
        self.epoch = epoch;
        std::mem::replace(&mut self.key, key_from(&self.secret, self.cipher))
    }
}

fn next_secret(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("pcdn udp key ratchet v1", secret)
}

fn key_from(secret: &[u8; 32], cipher: Cipher) -> LessSafeKey {
    let bytes = blake3::derive_key("pcdn udp packet key v1", secret);
    let key = match cipher {
        Cipher::Aes128Gcm => UnboundKey::new(&AES_128_GCM, &bytes[..16]),
        Cipher::ChaCha20Poly1305 => UnboundKey::new(&CHACHA20_POLY1305, &bytes),
    };
    LessSafeKey::new(key.expect("AES-128 takes 16 bytes, ChaCha20 32"))
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(sealer: &mut Sealer, plain: &[u8]) -> (u32, Vec<u8>) {
        let mut out = Vec::new();
        let low = sealer.next_number() as u32;
        sealer.begin(7, &mut out);
        out.extend_from_slice(plain);
        sealer.finish(0, &mut out);
        (low, out)
    }

    fn open(opener: &mut Opener, (low, bytes): &(u32, Vec<u8>)) -> Option<Vec<u8>> {
        opener.open(*low, &mut bytes.clone()).map(|opened| opened.plain.to_vec())
    }

    #[test]
    fn each_packet_opens_once_and_only_whole() {
        let (mut sealer, mut opener) =
            (Sealer::new([1; 32], Cipher::Aes128Gcm), Opener::new([1; 32], Cipher::Aes128Gcm));
        let first = packet(&mut sealer, b"first");
        let mut damaged = first.clone();
        damaged.1[12] ^= 1;
        let mut redirected = first.clone();
        redirected.1[2] ^= 1;
        assert_eq!(open(&mut opener, &damaged), None);
        assert_eq!(open(&mut opener, &redirected), None);
        assert_eq!(open(&mut opener, &first).as_deref(), Some(&b"first"[..]));
        assert_eq!(open(&mut opener, &first), None, "a replay");
        assert_eq!(open(&mut Opener::new([2; 32], Cipher::Aes128Gcm), &first), None, "another key");
    }

    #[test]
    fn both_ciphers_open_what_they_seal_and_not_what_the_other_did() {
        for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
            let sealed = packet(&mut Sealer::new([1; 32], cipher), b"hi");
            for other in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
                let opened = open(&mut Opener::new([1; 32], other), &sealed);
                assert_eq!(opened.is_some(), cipher == other);
            }
        }
    }

    #[test]
    fn keys_turn_by_number_and_late_packets_of_the_old_key_open() {
        let (mut sealer, mut opener) =
            (Sealer::new([1; 32], Cipher::Aes128Gcm), Opener::new([1; 32], Cipher::Aes128Gcm));
        open(&mut opener, &packet(&mut sealer, b"start")).unwrap();
        sealer.next = (1 << KEY_PACKETS_LOG2) - 2;
        let (late, last) = (packet(&mut sealer, b"late"), packet(&mut sealer, b"last"));
        let turned = packet(&mut sealer, b"turned");
        for of_old_or_new in [&last, &turned, &late] {
            assert!(open(&mut opener, of_old_or_new).is_some());
        }
        assert_eq!(opener.keys.epoch, 1);
    }

    proptest! {
        #[test]
        fn any_order_delivers_each_packet_at_most_once(order in prop::collection::vec(0usize..300, 0..600)) {
            let (mut sealer, mut opener) = (Sealer::new([1; 32], Cipher::Aes128Gcm), Opener::new([1; 32], Cipher::Aes128Gcm));
            let packets: Vec<_> = (0..300).map(|_| packet(&mut sealer, b"x")).collect();
            let mut seen = std::collections::BTreeSet::new();
            for at in order {
                prop_assert_eq!(open(&mut opener, &packets[at]).is_some(), seen.insert(at));
            }
        }
    }
}
