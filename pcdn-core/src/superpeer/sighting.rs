//! What a witness signs after it dialled a candidate.

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
    pub const BYTES: usize = Self::SIGNED + 64;
    const SIGNED: usize = 16 + 32 + 32 + 1 + 2 + 2;

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
        let mut out = self.signed_bytes().split_off(DOMAIN.len());
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads the wire form; `None` if its length or a field is not right. The signature is not checked here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let array = |at: usize| -> [u8; 32] { bytes[at..at + 32].try_into().expect("32 bytes") };
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let reached = match bytes[80] {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self {
            draw: bytes[..16].try_into().expect("16 bytes"),
            about: PeerId(array(16)),
            witness: PeerId(array(48)),
            reached,
            latency_ms: number(81),
            lost_permille: number(83),
            signature: bytes[Self::SIGNED..].try_into().expect("64 bytes"),
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&self.draw);
        bytes.extend_from_slice(&self.about.0);
        bytes.extend_from_slice(&self.witness.0);
        bytes.push(u8::from(self.reached));
        bytes.extend_from_slice(&self.latency_ms.to_be_bytes());
        bytes.extend_from_slice(&self.lost_permille.to_be_bytes());
        bytes
    }
}
