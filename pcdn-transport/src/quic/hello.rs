//! The proof of the swarm secret: the first words on a session, before anything is served or handed on.
//!
//! TLS has proven who both ends are. Now the dialler opens the stream of messages and sends 32 bytes on it; if they are right,
//! the dialled answers with 32 others, and only then does either end treat the session as open. The bytes are a keyed BLAKE3
//! hash, under the secret, of the side and of 32 bytes that TLS exports from this very handshake (RFC 8446, section 7.5): so
//! they prove the secret to this peer, now, and are worth nothing to who relays or replays them. Whoever has no secret uses
//! the key of zeros, so that public nodes and private ones do not meet either.
//!
//! A stranger who dials learns that a node of this key is there and is closed without an answer; a stranger who is dialled
//! gets one hash. Either could try secrets against what it has, which is why [`SwarmSecret`] has a least length. Early data
//! (0-RTT) has no exporter of its own handshake in QUIC's TLS, so it could not be bound to the secret and would be served to
//! whoever replays it: it is not used. It would save one round trip of a session that lasts as long as its swarm.

use quinn::{Connection, RecvStream, SendStream};

use super::code;
use crate::secret::SwarmSecret;

/// Bytes of a proof.
const PROOF_BYTES: usize = 32;
const LABEL: &[u8] = b"EXPORTER-pcdn-swarm-1";

/// The stream of messages, proven.
pub(super) type Talk = (SendStream, RecvStream);

/// Opens the stream of messages. `None` if the other end does not have this node's secret, or is gone.
pub(super) async fn dialled(connection: &Connection, secret: Option<&SwarmSecret>) -> Option<Talk> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    send.set_priority(code::TALK_PRIORITY).ok()?;
    send.write_all(proof(connection, secret, b'd')?.as_bytes()).await.ok()?;
    check(&mut recv, &proof(connection, secret, b'a')?).await?;
    Some((send, recv))
}

/// Takes the stream of messages. `None` if the other end does not have this node's secret, or is gone.
pub(super) async fn answered(connection: &Connection, secret: Option<&SwarmSecret>) -> Option<Talk> {
    let (mut send, mut recv) = connection.accept_bi().await.ok()?;
    check(&mut recv, &proof(connection, secret, b'd')?).await?;
    send.set_priority(code::TALK_PRIORITY).ok()?;
    send.write_all(proof(connection, secret, b'a')?.as_bytes()).await.ok()?;
    Some((send, recv))
}

async fn check(recv: &mut RecvStream, right: &blake3::Hash) -> Option<()> {
    let mut shown = [0; PROOF_BYTES];
    recv.read_exact(&mut shown).await.ok()?;
    // This comparison takes the same time for any two hashes.
    (blake3::Hash::from_bytes(shown) == *right).then_some(())
}

fn proof(connection: &Connection, secret: Option<&SwarmSecret>, side: u8) -> Option<blake3::Hash> {
    let mut exported = [0; PROOF_BYTES];
    connection.export_keying_material(&mut exported, LABEL, &[side]).ok()?;
    let key = blake3::derive_key("pcdn quic swarm proof v1", &SwarmSecret::key_of(secret));
    let mut hasher = blake3::Hasher::new_keyed(&key);
    Some(hasher.update(&[side]).update(&exported).finalize())
}
