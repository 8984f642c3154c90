//! The chain of keys of one direction: each secret gives its key and the next secret, and nothing gives the one before.

use ring::aead::{AES_128_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};

use crate::udp::cipher::Cipher;
use crate::udp::packet::PHASES;

/// One key of the chain.
pub(super) struct Keys {
    cipher: Cipher,
    phase: u8,
    secret: [u8; 32],
    key: LessSafeKey,
}

impl Keys {
    /// The first.
    pub(super) fn new(secret: [u8; 32], cipher: Cipher) -> Self {
        Self { cipher, phase: 0, key: key_from(&secret, cipher), secret }
    }

    /// The one after this.
    pub(super) fn next(&self) -> Self {
        let secret = blake3::derive_key("pcdn udp key ratchet v1", &self.secret);
        let phase = (self.phase + 1) % PHASES;
        Self { phase, ..Self::new(secret, self.cipher) }
    }

    /// What packets under it bear: how many keys came before, as far as two bits tell.
    pub(super) fn phase(&self) -> u8 {
        self.phase
    }

    /// How many keys after this one `phase` is: this one, or the next. `None` if neither.
    pub(super) fn turns_to(&self, phase: u8) -> Option<u8> {
        Some((phase + PHASES - self.phase) % PHASES).filter(|turns| *turns <= 1)
    }

    pub(super) fn key(&self) -> &LessSafeKey {
        &self.key
    }

    pub(super) fn into_key(self) -> LessSafeKey {
        self.key
    }
}

fn key_from(secret: &[u8; 32], cipher: Cipher) -> LessSafeKey {
    let bytes = blake3::derive_key("pcdn udp packet key v1", secret);
    let key = match cipher {
        Cipher::Aes128Gcm => UnboundKey::new(&AES_128_GCM, &bytes[..16]),
        Cipher::ChaCha20Poly1305 => UnboundKey::new(&CHACHA20_POLY1305, &bytes),
    };
    LessSafeKey::new(key.expect("AES-128 takes 16 bytes, ChaCha20 32"))
}
