//! The secret of a private swarm, as links use it.

use std::fmt;

/// Bytes a secret must have at least: what a tracker's secret file must have, because both read the same file.
const SECRET_BYTES_MIN: usize = 16;

/// What the nodes of a private swarm share: who does not have it cannot open a session with them, even if it knows a node's
/// address and key.
///
/// It is the pre-shared key of the handshake (Noise IKpsk2), so it also seals the session: who later steals the nodes' keys
/// but not the secret cannot read what was recorded. Nodes without one share the key of zeros, which everybody knows.
#[derive(Clone, PartialEq, Eq)]
pub struct SwarmSecret([u8; 32]);

impl SwarmSecret {
    /// From the bytes of a secret file, white space at its ends ignored. `None` below 16 bytes.
    ///
    /// ```
    /// use pcdn_transport::udp::SwarmSecret;
    /// assert_eq!(SwarmSecret::new(b"0123456789abcdef\n"), SwarmSecret::new(b"0123456789abcdef"));
    /// assert_eq!(SwarmSecret::new(b"short"), None);
    /// ```
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        (bytes.len() >= SECRET_BYTES_MIN).then(|| Self(blake3::derive_key("pcdn udp swarm secret v1", bytes)))
    }

    /// The pre-shared key: of `secret`, or the one of public swarms.
    pub(crate) fn key_of(secret: Option<&Self>) -> [u8; 32] {
        secret.map_or([0; 32], |secret| secret.0)
    }
}

impl fmt::Debug for SwarmSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwarmSecret(..)")
    }
}
