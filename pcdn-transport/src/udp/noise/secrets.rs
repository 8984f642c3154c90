//! Randomness from one seed: for handshakes, indices and cookies.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

/// Secret bytes for keys, indices and cookies, all from one seed the shell drew from the system.
pub(crate) struct Secrets {
    key: [u8; 32],
    drawn: u64,
}

impl Secrets {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { key: blake3::derive_key("pcdn udp secrets v1", &seed), drawn: 0 }
    }

    pub(crate) fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let out = *blake3::keyed_hash(&self.key, &self.drawn.to_be_bytes()).as_bytes();
        // The key moves on, so that a later look into memory does not show what was drawn.
        self.key = blake3::derive_key("pcdn udp secrets ratchet v1", &self.key);
        out
    }

    /// The ephemeral secret of the first handshake drawn from these.
    #[cfg(test)]
    pub(crate) fn first_ephemeral(mut self) -> [u8; 32] {
        let mut out = [0; 32];
        blake3::Hasher::new_keyed(&self.draw()).finalize_xof().fill(&mut out);
        out
    }

    pub(crate) fn draw_u32(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.draw();
        u32::from_be_bytes([a, b, c, d])
    }

    pub(crate) fn draw_8(&mut self) -> [u8; 8] {
        let bytes = self.draw();
        std::array::from_fn(|at| bytes[at])
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// snow's default primitives with randomness from a seed.
pub(super) struct Seeded {
    pub(super) seed: [u8; 32],
}

struct Stream(blake3::OutputReader);

impl Random for Stream {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill(dest);
        Ok(())
    }
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Stream(blake3::Hasher::new_keyed(&self.seed).finalize_xof())))
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}
