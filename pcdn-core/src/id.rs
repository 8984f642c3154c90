//! Names of contents, cuts, swarms and peers.
//!
//! All are fixed arrays of bytes with one text form, lower-case hex. They are values, not handles: two nodes that never
//! talked compute the same ones.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The first eight hex digits: enough for a log line, never for a decision.
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $len];
                decode_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Resource id: names a content, whatever URL it came by. Made by a [`Mapper`](crate::mapping::Mapper).
    Rid, 32
);
hex_id!(
    /// Names how a content is cut: the hash of the slicer's name, version and parameters. Made by a
    /// [`Fragmenter`](crate::fragment::Fragmenter).
    RuleId, 8
);
hex_id!(
    /// Where peers meet. Peers that cut differently never meet, so equal piece numbers mean equal bytes.
    SwarmKey, 32
);
hex_id!(
    /// A peer's Ed25519 public key. Links prove it, so it is the unit of trust and of bans.
    PeerId, 32
);
hex_id!(
    /// A BLAKE3 value: of a piece (its chaining value in the segment's tree) or of a whole segment.
    Digest, 32
);

impl Rid {
    /// The name of one rendition of this content: renditions are contents of their own, with swarms of their own.
    pub fn rendition(&self, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn rid rendition v1");
        hasher.update(&self.0).update(name.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

impl RuleId {
    /// The rule of slicer `name`, version `version`, with `parameters` in its own canonical text form.
    pub fn of(name: &str, version: u32, parameters: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn rule v1");
        for field in [name.as_bytes(), &version.to_be_bytes(), parameters.as_bytes()] {
            hash_field(&mut hasher, field);
        }
        let mut id = [0; 8];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl SwarmKey {
    /// The meeting point of all who hold content `rid` cut by `rule`.
    pub fn of(rid: &Rid, rule: &RuleId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pcdn swarm v1");
        hasher.update(&rid.0).update(&rule.0);
        Self(*hasher.finalize().as_bytes())
    }
}

/// Feeds one length-prefixed field, so that ("ab", "c") and ("a", "bc") never hash alike.
pub fn hash_field(hasher: &mut blake3::Hasher, field: &[u8]) {
    hasher.update(&(field.len() as u64).to_be_bytes()).update(field);
}

/// A node's secret key. Everything that proves who the node is derives from it.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// From 32 secret bytes. The caller draws them from the system's generator; core has no dice for secrets.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(&secret) }
    }

    /// The secret bytes, to be written to the identity file and nowhere else.
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public name of this node.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// Signs `message`; verify with [`PeerId::verify`]. About 20 µs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The X25519 form of the secret key, for Diffie–Hellman handshakes (same map as libsodium's).
    pub fn x25519_secret(&self) -> [u8; 32] {
        self.key.to_scalar_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id().short())
    }
}

impl PeerId {
    /// Whether `signature` over `message` was made by this peer. Strict verification, about 50 µs.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }

    /// The X25519 form of the public key; `None` if the bytes are no point of the curve.
    pub fn x25519_public(&self) -> Option<[u8; 32]> {
        Some(VerifyingKey::from_bytes(&self.0).ok()?.to_montgomery().to_bytes())
    }
}

/// Text that is not the hex form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an id: want {want} lower-case hex digits")]
pub struct HexError {
    got: String,
    want: usize,
}

fn decode_hex(text: &str, into: &mut [u8]) -> Result<(), HexError> {
    // A stranger's text is echoed in the error, so it is cut short.
    let bad = || HexError { got: text.chars().take(80).collect(), want: into.len() * 2 };
    if text.len() != into.len() * 2 {
        return Err(bad());
    }
    let digits = text.as_bytes();
    let nibble = |c: u8| (c as char).to_digit(16).map(|n| n as u8);
    let decoded: Option<Vec<u8>> =
        digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
    let decoded = decoded.ok_or_else(bad)?;
    into.copy_from_slice(&decoded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_bad_text_is_refused() {
        let rid = Rid([0xab; 32]);
        assert_eq!(rid.to_string().parse::<Rid>().unwrap(), rid);
        assert!("xyz".parse::<Rid>().is_err());
        assert!("zz".repeat(32).parse::<Rid>().is_err());
        assert!("é".repeat(32).parse::<Rid>().is_err(), "64 bytes of text that are not hex");
    }

    #[test]
    fn rules_with_shifted_fields_differ() {
        assert_ne!(RuleId::of("file", 1, "x"), RuleId::of("filex", 1, ""));
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let me = Identity::from_secret([7; 32]);
        let other = Identity::from_secret([8; 32]);
        let signature = me.sign(b"piece");
        assert!(me.peer_id().verify(b"piece", &signature));
        assert!(!me.peer_id().verify(b"peace", &signature));
        assert!(!other.peer_id().verify(b"piece", &signature));
    }
}
