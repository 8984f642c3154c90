//! The proof of the swarm secret: the first words on a session, before anything is served or handed on.
//!
//! TLS has proven who both ends are. Now the dialler opens the stream of messages and sends 32 bytes on it; if they are right,
//! the dialled answers with 32 others, and only then does either end treat the session as open. The bytes are a keyed BLAKE3
//! hash, under the secret, of the side and of 32 bytes that TLS exports from this very handshake (RFC 8446, section 7.5): so
//! they prove the secret to this peer, now, and are worth nothing to who relays or replays them. Whoever has no secret uses
//! the key of zeros, so that public nodes and private ones do not meet either.
//!
//! A stranger who dials learns that a node of this key is there and is closed without an answer; a stranger who is dialled
//! gets one hash. Either could try secrets against what it has, which is why [`SwarmSecret`] has a least length.
//!
//! Early data (0-RTT) has no exporter of its own handshake, so no proof of it can be shown there. What can: a ticket of a session
//! that had one ([`resume`](super::resume)). For it a node serves *fetches* ([`early`](super::early)), which change nothing here
//! and are answered to the peer of that session alone. The stream of messages still begins with the proof of this very
//! handshake, which cannot be made before it ends; until then no message is read. The dialler of a resumed session knows by
//! the handshake alone that it has the same peer again, who had the secret then: it need not wait for the other proof before
//! it speaks, and still reads no message before it.

use quinn::{Connection, RecvStream, SendStream};

use super::code;
use crate::secret::SwarmSecret;

/// Bytes of a proof.
const PROOF_BYTES: usize = 32;
const LABEL: &[u8] = b"EXPORTER-pcdn-swarm-1";

/// Both halves of a stream.
pub(super) type Streams = (SendStream, RecvStream);

/// The stream of messages. What is said on it is for this peer.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    /// The proof that comes before the first message, if it has not come yet.
    pub(super) owed: Option<blake3::Hash>,
}

/// Opens the stream of messages. `None` if the other end does not have this node's secret, or is gone.
pub(super) async fn dialled(connection: &Connection, secret: Option<&SwarmSecret>) -> Option<Talk> {
    let streams = connection.open_bi().await.ok()?;
    let mut talk = again(connection, streams, secret).await?;
    let owed = talk.owed.take()?;
    check(&mut talk.recv, &owed).await?;
    Some(talk)
}

/// Begins the messages on `streams` of a session that was resumed. `None` if the other end is gone.
pub(super) async fn again(
    connection: &Connection,
    (mut send, recv): Streams,
    secret: Option<&SwarmSecret>,
) -> Option<Talk> {
    send.set_priority(code::TALK_PRIORITY).ok()?;
    send.write_all(proof(connection, secret, b'd')?.as_bytes()).await.ok()?;
    Some(Talk { send, recv, owed: Some(proof(connection, secret, b'a')?) })
}

/// Takes the stream of messages. `None` if the other end does not have this node's secret, or is gone.
pub(super) async fn answered(
    connection: &Connection,
    (mut send, mut recv): Streams,
    secret: Option<&SwarmSecret>,
) -> Option<Talk> {
    check(&mut recv, &proof(connection, secret, b'd')?).await?;
    send.set_priority(code::TALK_PRIORITY).ok()?;
    send.write_all(proof(connection, secret, b'a')?.as_bytes()).await.ok()?;
    Some(Talk { send, recv, owed: None })
}

/// Reads a proof, and says whether it is the `right` one.
pub(super) async fn check(recv: &mut RecvStream, right: &blake3::Hash) -> Option<()> {
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
