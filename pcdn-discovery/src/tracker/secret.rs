//! The key of a private tracker: who does not have it learns nothing and tells nothing.

use std::fmt;
use std::io;
use std::path::Path;

/// Bytes of a secret file at least. Shorter ones are a mistake, for instance an empty file.
const SECRET_BYTES_MIN: usize = 16;
/// Bytes of a secret file at most: more is the wrong file.
const SECRET_BYTES_MAX: u64 = 4096;

/// The shared key of a private tracker and its nodes.
///
/// Datagrams in both directions carry a 16-byte keyed BLAKE3 tag. A request's tag covers its connection id, so a recorded
/// request is of no use from another address or two minutes later; an answer's covers the transaction it answers.
#[derive(Clone)]
pub struct Secret {
    requests: [u8; 32],
    answers: [u8; 32],
    bodies: [u8; 32],
    reading: [u8; 32],
}

/// A tag that proves knowledge of the [`Secret`].
pub type Tag = [u8; 16];

impl Secret {
    /// From the bytes of a secret file, white space at its ends ignored. `None` below 16 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        (bytes.len() >= SECRET_BYTES_MIN).then(|| Self {
            requests: blake3::derive_key("pcdn tracker requests v1", bytes),
            answers: blake3::derive_key("pcdn tracker answers v1", bytes),
            bodies: blake3::derive_key("pcdn tracker http bodies v1", bytes),
            reading: blake3::derive_key("pcdn tracker reading v1", bytes),
        })
    }

    /// Reads a secret file: 16 to 4,096 bytes of anything, best the output of a random generator.
    pub fn load(path: &Path) -> io::Result<Self> {
        let bad =
            |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        if std::fs::metadata(path)?.len() > SECRET_BYTES_MAX {
            return Err(bad("more than 4096 bytes are no secret file"));
        }
        Self::new(&std::fs::read(path)?).ok_or_else(|| bad("a secret needs at least 16 bytes"))
    }

    /// Tag of a request datagram.
    pub(crate) fn tag_request(&self, bytes: &[u8]) -> Tag {
        tag(&self.requests, bytes)
    }

    /// Tag of an answer datagram.
    pub(crate) fn tag_answer(&self, bytes: &[u8]) -> Tag {
        tag(&self.answers, bytes)
    }

    /// Tag of an HTTP body, for the header `X-Pcdn-Mac`.
    pub fn tag_body(&self, body: &[u8]) -> String {
        hex(&tag(&self.bodies, body))
    }

    /// The bearer token that lets people and scrapers read a private tracker's pages. It does not let them announce.
    pub fn reading_token(&self) -> String {
        hex(&self.reading)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether two texts or tags are equal, in a time that does not tell where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    // Comparing BLAKE3 hashes compares in constant time, and of any lengths.
    blake3::hash(a) == blake3::hash(b)
}

fn tag(key: &[u8; 32], bytes: &[u8]) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&blake3::keyed_hash(key, bytes).as_bytes()[..16]);
    tag
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_never_printed() {
        assert!(Secret::new(b"   short \n").is_none());
        let secret = Secret::new(b"sixteen bytes and a newline\n").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(
            secret.reading_token(),
            Secret::new(b"sixteen bytes and a newline").unwrap().reading_token()
        );
        assert_ne!(
            secret.tag_request(b"x"),
            secret.tag_answer(b"x"),
            "an answer cannot be replayed as a request"
        );
    }
}
