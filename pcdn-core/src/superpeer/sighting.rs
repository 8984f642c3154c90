//! What a witness signs after it dialled a candidate.

use crate::form::{self, Fields};
use crate::id::{Identity, PeerId};

const DOMAIN: &[u8] = b"pcdn-sighting-1\0";

/// "Asked by draw `draw`, I, `witness`, dialled `about` from a port it never saw, and this came of it."
///
/// Wire form, big endian, 149 bytes: draw (16), about (32), witness (32), reached (1), latency in ms (2), lost per mille (2),
/// signature over `pcdn-sighting-1\0` and all before (64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The draw's nonce.
    pub draw: [u8; 16],
    /// Who was dialled.
    pub about: PeerId,
    /// Who dialled.
    pub witness: PeerId,
    /// Whether it answered and proved its key.
    pub reached: bool,
    /// From asking for a piece to having it, 90th percentile of a few, in milliseconds.
    pub latency_ms: u16,
    /// Datagrams lost of a thousand.
    pub lost_permille: u16,
    /// The witness's signature.
    pub signature: [u8; 64],
}

impl Sighting {
    /// Length of the wire form.
    pub const BYTES: usize = 16 + 32 + 32 + 1 + 2 + 2 + form::SIGNATURE;

    /// Signs what `witness` saw.
    pub fn sign(
        witness: &Identity,
        draw: [u8; 16],
        about: PeerId,
        reached: bool,
        latency_ms: u16,
        lost_permille: u16,
    ) -> Self {
        let mut sighting = Self {
            draw,
            about,
            witness: witness.peer_id(),
            reached,
            latency_ms,
            lost_permille,
            signature: [0; 64],
        };
        sighting.signature = witness.sign(&sighting.signed_bytes());
        sighting
    }

    /// Whether the witness really said this. About 50 µs.
    pub fn is_signed(&self) -> bool {
        self.witness.verify(&self.signed_bytes(), &self.signature)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(DOMAIN, self.signed_bytes(), &self.signature)
    }

    /// Reads the wire form; `None` if its length or a field is not right. The signature is not checked here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Fields::of(bytes, Self::BYTES)?;
        Some(Self {
            draw: from.take(),
            about: PeerId(from.take()),
            witness: PeerId(from.take()),
            reached: from.flag()?,
            latency_ms: u16::from_be_bytes(from.take()),
            lost_permille: u16::from_be_bytes(from.take()),
            signature: from.take(),
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { draw, about, witness, reached, latency_ms, lost_permille, .. } = self;
        let (reached, latency, lost) =
            ([u8::from(*reached)], latency_ms.to_be_bytes(), lost_permille.to_be_bytes());
        form::signed(DOMAIN, &[draw, &about.0, &witness.0, &reached, &latency, &lost])
    }
}
