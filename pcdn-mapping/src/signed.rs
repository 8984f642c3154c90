//! Texts of a mapping node and who vouches for them, so that caches and strangers may carry them.

use pcdn_core::id::{Digest, Identity, PeerId};

/// Header of an answer: the signer's public key, hex.
pub const KEY_HEADER: &str = "pcdn-key";
/// Header of an answer: the signature over its body, 128 hex digits.
pub const SIGNATURE_HEADER: &str = "pcdn-signature";

/// What a signed text is; one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The rule file of `GET /v1/rules`.
    Rules,
    /// One answer, of `GET /v1/map` and `GET /v1/rid/…`.
    Map,
    /// The answers of `POST /v1/map:batch`.
    Batch,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Map => "map",
            Self::Batch => "batch",
        }
    }

    /// What is signed: `pcdn mapping v1`, the kind, and the body, with a zero byte after the first two.
    fn message(self, body: &[u8]) -> Vec<u8> {
        [b"pcdn mapping v1\0", self.name().as_bytes(), b"\0", body].concat()
    }
}

/// The two headers for `body`.
pub fn sign(kind: Kind, body: &[u8], key: &Identity) -> Signature {
    let signature = key.sign(&kind.message(body));
    let (left, right) = signature.split_at(32);
    let half = |bytes: &[u8]| Digest(bytes.try_into().expect("half of 64 bytes"));
    Signature { key: key.peer_id(), text: format!("{}{}", half(left), half(right)) }
}

/// Who vouches, and how; the values of the two headers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature {
    /// The signer.
    pub key: PeerId,
    /// 128 hex digits.
    pub text: String,
}

impl Signature {
    /// From the two headers; `None` if they are not there or are none.
    pub fn of_headers(key: Option<&str>, signature: Option<&str>) -> Option<Self> {
        Some(Self { key: key?.parse().ok()?, text: signature?.to_owned() })
    }

    /// Whether it is over `body`.
    pub fn holds(&self, kind: Kind, body: &[u8]) -> bool {
        let halves = self.text.split_at_checked(64).and_then(|(left, right)| {
            let (left, right): (Digest, Digest) = (left.parse().ok()?, right.parse().ok()?);
            <[u8; 64]>::try_from([left.0, right.0].concat()).ok()
        });
        halves.is_some_and(|signature| self.key.verify(&kind.message(body), &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_text_of_one_kind_by_one_key() {
        let me = Identity::from_secret([3; 32]);
        let made = sign(Kind::Rules, b"text", &me);
        assert!(made.holds(Kind::Rules, b"text"));
        assert!(!made.holds(Kind::Map, b"text") && !made.holds(Kind::Rules, b"test"));
        let other = Signature { key: Identity::from_secret([4; 32]).peer_id(), ..made.clone() };
        assert!(!other.holds(Kind::Rules, b"text"));
        for text in ["", "zz", &"é".repeat(64), &made.text[1..]] {
            assert!(
                !Signature { text: text.to_owned(), ..made.clone() }.holds(Kind::Rules, b"text"),
                "{text}"
            );
        }
        let read = Signature::of_headers(Some(&made.key.to_string()), Some(&made.text));
        assert_eq!(read, Some(made));
    }
}
