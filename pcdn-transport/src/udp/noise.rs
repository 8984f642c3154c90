//! The handshake: Noise IKpsk2 with the X25519 forms of the nodes' Ed25519 identities.
//!
//! The initiator knows whom it calls (IK), so the first message is already sealed for that key and nobody else can answer.
//! It carries the initiator's `PeerId`, which the responder believes only if its X25519 form is the key Noise proved.
//!
//! The swarm's secret, zeros in a public swarm, is mixed in with the answer: two sides with different ones get different keys,
//! and the caller notices at once.
//!
//! Before any of that costs a curve operation, the HELLO's mac must show that the caller knows the node's public key, and
//! when more hellos come than [`Gate`] lets through, its cookie must show that the caller's address is real.

mod gate;
mod secrets;

use pcdn_core::id::{Identity, PeerId};
use snow::{Builder, HandshakeState};

use super::cipher::Cipher;
use super::packet::{HELLO_LEN, HELLO_PAYLOAD_LEN, NOISE_1_LEN, NOISE_2_LEN, encode_hello};
use super::seal::{Opener, Sealer};
pub(crate) use gate::{Entry, Gate};
pub(crate) use secrets::Secrets;
use secrets::Seeded;

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"pcdn udp v1";
/// Where the pattern mixes the pre-shared key in: at the end of the second message.
const PSK_AT: u8 = 2;

/// What a handshake leaves: the two directions' keys.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// A handshake this side began.
pub(crate) struct Calling {
    state: HandshakeState,
    hello: Vec<u8>,
}

impl Calling {
    /// Begins a handshake with `peer` under the pre-shared key `psk`; `None` if its id is no key.
    pub(crate) fn new(
        me: &Identity,
        peer: &PeerId,
        index: u32,
        psk: &[u8; 32],
        cipher: Cipher,
        secrets: &mut Secrets,
    ) -> Option<Self> {
        let (secret, theirs) = (me.x25519_secret(), peer.x25519_public()?);
        let mut state = builder(secrets)
            .local_private_key(&secret)
            .and_then(|builder| builder.remote_public_key(&theirs))
            .and_then(|builder| builder.prologue(PROLOGUE))
            .and_then(|builder| builder.psk(PSK_AT, psk))
            .and_then(Builder::build_initiator)
            .ok()?;
        let mut payload = [0; HELLO_PAYLOAD_LEN];
        payload[..32].copy_from_slice(&me.peer_id().0);
        payload[32] = cipher.code();
        let mut noise = [0; NOISE_1_LEN];
        state.write_message(&payload, &mut noise).ok()?;
        let mut hello = encode_hello(index, &noise);
        let mac = hello_mac(peer, &hello);
        hello.extend_from_slice(&mac);
        hello.extend_from_slice(&[0; 16]);
        debug_assert_eq!(hello.len(), HELLO_LEN);
        Some(Self { state, hello })
    }

    /// The datagram to send, again and again until it is answered.
    pub(crate) fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Puts `cookie` into the hello, if the demand answers this very hello.
    pub(crate) fn take_cookie(&mut self, mac: &[u8; 16], cookie: &[u8; 16]) -> bool {
        let ours = self.is_mac(mac);
        if ours {
            self.hello[HELLO_LEN - 16..].copy_from_slice(cookie);
        }
        ours
    }

    /// Whether `mac` is that of our hello, which only who saw it can know.
    pub(crate) fn is_mac(&self, mac: &[u8; 16]) -> bool {
        self.hello[HELLO_LEN - 32..HELLO_LEN - 16] == *mac
    }

    /// Reads the answer; `None`, and the handshake still open, if it is not from the peer that was called, or if that peer has
    /// another pre-shared key.
    pub(crate) fn finish(&mut self, noise: &[u8]) -> Option<Keyed> {
        let mut payload = [0; 1];
        self.state.read_message(noise, &mut payload).ok()?;
        let cipher = Cipher::from_code(payload[0])?;
        let (out, back) = self.state.dangerously_get_raw_split();
        Some(Keyed { sealer: Sealer::new(out, cipher), opener: Opener::new(back, cipher) })
    }
}

impl std::fmt::Debug for Calling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calling")
    }
}

/// Answers a hello: who called, the second Noise message, the keys. `None` if it is not proper.
pub(crate) fn answer(
    me: &Identity,
    noise: &[u8],
    psk: &[u8; 32],
    cipher: Cipher,
    secrets: &mut Secrets,
) -> Option<(PeerId, [u8; NOISE_2_LEN], Keyed)> {
    let secret = me.x25519_secret();
    let mut state = builder(secrets)
        .local_private_key(&secret)
        .and_then(|builder| builder.prologue(PROLOGUE))
        .and_then(|builder| builder.psk(PSK_AT, psk))
        .and_then(Builder::build_responder)
        .ok()?;
    let mut payload = [0; HELLO_PAYLOAD_LEN];
    state.read_message(noise, &mut payload).ok()?;
    let peer = PeerId(payload[..32].try_into().ok()?);
    // Noise proved an X25519 key; the name the peer claims must be the Ed25519 form of that key and no other.
    if peer.x25519_public()?.as_slice() != state.get_remote_static()? || peer == me.peer_id() {
        return None;
    }
    // A cipher of a later version is none of ours: ours then decides.
    let cipher = cipher.agreed(Cipher::from_code(payload[32]).unwrap_or(cipher));
    let mut back = [0; NOISE_2_LEN];
    state.write_message(&[cipher.code()], &mut back).ok()?;
    let (theirs, ours) = state.dangerously_get_raw_split();
    Some((peer, back, Keyed { sealer: Sealer::new(ours, cipher), opener: Opener::new(theirs, cipher) }))
}

/// The mac over a hello to `responder`.
pub(crate) fn hello_mac(responder: &PeerId, covered: &[u8]) -> [u8; 16] {
    keyed(&blake3::derive_key("pcdn udp hello mac v1", &responder.0), &[covered])
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

fn builder(secrets: &mut Secrets) -> Builder<'static> {
    let resolver = Seeded { seed: secrets.draw() };
    Builder::with_resolver(PATTERN.parse().expect("the pattern is well formed"), Box::new(resolver))
}

#[cfg(test)]
mod tests;
