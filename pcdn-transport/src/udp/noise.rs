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

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::{Identity, PeerId};
use pcdn_core::unit::Time;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

use super::packet::{HELLO_LEN, HELLO_PAYLOAD_LEN, NOISE_1_LEN, NOISE_2_LEN, encode_hello};
use super::seal::{Opener, Sealer};

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
        let ours = self.hello[HELLO_LEN - 32..HELLO_LEN - 16] == *mac;
        if ours {
            self.hello[HELLO_LEN - 16..].copy_from_slice(cookie);
        }
        ours
    }

    /// Reads the answer; `None`, and the handshake still open, if it is not from the peer that was called, or if that peer has
    /// another pre-shared key.
    pub(crate) fn finish(&mut self, noise: &[u8]) -> Option<Keyed> {
        self.state.read_message(noise, &mut []).ok()?;
        let (out, back) = self.state.dangerously_get_raw_split();
        Some(Keyed { sealer: Sealer::new(out), opener: Opener::new(back) })
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
    let mut back = [0; NOISE_2_LEN];
    state.write_message(&[], &mut back).ok()?;
    let (theirs, ours) = state.dangerously_get_raw_split();
    Some((peer, back, Keyed { sealer: Sealer::new(ours), opener: Opener::new(theirs) }))
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

/// Decides which hellos are worth a curve operation.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Hellos answered a second before cookies are demanded.
    free_per_second: u32,
    window_from: Time,
    answered: u32,
    secret: [u8; 32],
    secret_before: [u8; 32],
    turned: Time,
}

/// How long a cookie holds at least; it holds up to twice that.
const COOKIE_LIFE: Duration = Duration::from_secs(60);
/// Even with cookies a second's handshakes are bounded, at this many times the free ones: 0.4 ms of CPU each.
const PROVEN_FACTOR: u32 = 8;

/// What to do with a hello.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Answer,
    Demand([u8; 16]),
    Drop,
}

impl Gate {
    pub(crate) fn new(free_per_second: u32, secrets: &mut Secrets) -> Self {
        let secret = secrets.draw();
        Self {
            free_per_second,
            window_from: Time::ZERO,
            answered: 0,
            secret,
            secret_before: secret,
            turned: Time::ZERO,
        }
    }

    pub(crate) fn judge(
        &mut self,
        now: Time,
        from: SocketAddr,
        cookie: &[u8; 16],
        secrets: &mut Secrets,
    ) -> Entry {
        if now.since(self.window_from) >= Duration::from_secs(1) {
            (self.window_from, self.answered) = (now, 0);
        }
        if now.since(self.turned) >= COOKIE_LIFE {
            self.secret_before = std::mem::replace(&mut self.secret, secrets.draw());
            self.turned = now;
        }
        let due = cookie_for(&self.secret, from);
        let proven = *cookie == due || *cookie == cookie_for(&self.secret_before, from);
        let limit =
            if proven { self.free_per_second.saturating_mul(PROVEN_FACTOR) } else { self.free_per_second };
        if self.answered < limit {
            self.answered += 1;
            return Entry::Answer;
        }
        if proven { Entry::Drop } else { Entry::Demand(due) }
    }
}

fn cookie_for(secret: &[u8; 32], from: SocketAddr) -> [u8; 16] {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    keyed(secret, &[&ip, &from.port().to_be_bytes()])
}

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
struct Seeded {
    seed: [u8; 32],
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::packet::{Datagram, decode};

    const PUBLIC: [u8; 32] = [0; 32];

    fn id(n: u8) -> Identity {
        Identity::from_secret([n; 32])
    }

    fn noise_of(hello: &[u8]) -> &[u8] {
        let Some(Datagram::Hello { noise, .. }) = decode(hello) else { panic!("not a hello") };
        noise
    }

    #[test]
    fn both_sides_learn_the_other_and_share_keys() {
        let (mut a, mut b) = (Secrets::new([1; 32]), Secrets::new([2; 32]));
        let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &PUBLIC, &mut a).unwrap();
        let (peer, back, mut theirs) = answer(&id(2), noise_of(calling.hello()), &PUBLIC, &mut b).unwrap();
        assert_eq!(peer, id(1).peer_id());
        let mut ours = calling.finish(&back).unwrap();
        let mut packet = Vec::new();
        ours.sealer.begin(1, &mut packet);
        packet.extend_from_slice(b"hi");
        ours.sealer.finish(0, &mut packet);
        assert_eq!(theirs.opener.open(0, &mut packet).unwrap().plain, b"hi");
    }

    #[test]
    fn who_claims_anothers_name_is_refused() {
        let mut secrets = Secrets::new([1; 32]);
        let victim = id(9).peer_id();
        // The impostor runs the handshake with its own key but writes the victim's name into the payload.
        let (secret, theirs) = (id(1).x25519_secret(), id(2).peer_id().x25519_public().unwrap());
        let mut state = builder(&mut secrets)
            .local_private_key(&secret)
            .and_then(|b| b.remote_public_key(&theirs))
            .and_then(|b| b.prologue(PROLOGUE))
            .and_then(|b| b.psk(PSK_AT, &PUBLIC))
            .and_then(Builder::build_initiator)
            .unwrap();
        let mut payload = [0; HELLO_PAYLOAD_LEN];
        payload[..32].copy_from_slice(&victim.0);
        let mut noise = [0; NOISE_1_LEN];
        state.write_message(&payload, &mut noise).unwrap();
        assert!(answer(&id(2), &noise, &PUBLIC, &mut secrets).is_none());
    }

    #[test]
    fn only_the_called_peer_can_answer() {
        let mut secrets = Secrets::new([1; 32]);
        let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &PUBLIC, &mut secrets).unwrap();
        assert!(answer(&id(3), noise_of(calling.hello()), &PUBLIC, &mut secrets).is_none());
        assert!(calling.finish(&[7; NOISE_2_LEN]).is_none());
        let (_, back, _) = answer(&id(2), noise_of(calling.hello()), &PUBLIC, &mut secrets).unwrap();
        assert!(calling.finish(&back).is_some(), "a forged answer does not end the handshake");
    }

    #[test]
    fn without_the_secret_neither_side_gets_through() {
        let mut secrets = Secrets::new([1; 32]);
        for (callers, nodes) in [(PUBLIC, [1; 32]), ([1; 32], PUBLIC), ([1; 32], [2; 32])] {
            let mut calling = Calling::new(&id(1), &id(2).peer_id(), 5, &callers, &mut secrets).unwrap();
            let (_, back, mut theirs) =
                answer(&id(2), noise_of(calling.hello()), &nodes, &mut secrets).unwrap();
            assert!(calling.finish(&back).is_none());
            // Nor does the node take what a caller seals that goes on regardless.
            let (out, _) = calling.state.dangerously_get_raw_split();
            let (mut sealer, mut packet) = (Sealer::new(out), Vec::new());
            sealer.begin(1, &mut packet);
            sealer.finish(0, &mut packet);
            assert!(theirs.opener.open(0, &mut packet).is_none());
            let (_, back, _) = answer(&id(2), noise_of(calling.hello()), &callers, &mut secrets).unwrap();
            assert!(calling.finish(&back).is_some(), "with the caller's secret it opens, also afterwards");
        }
    }

    #[test]
    fn a_busy_node_demands_cookies_that_hold_for_one_address() {
        let mut secrets = Secrets::new([1; 32]);
        let mut gate = Gate::new(2, &mut secrets);
        let (a, b): (SocketAddr, SocketAddr) =
            ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
        let mut judge = |from, cookie| gate.judge(Time::from_secs(5), from, cookie, &mut secrets);
        assert_eq!(judge(a, &[0; 16]), Entry::Answer);
        assert_eq!(judge(a, &[0; 16]), Entry::Answer);
        let Entry::Demand(cookie) = judge(a, &[0; 16]) else { panic!("no cookie demanded") };
        assert_eq!(judge(a, &cookie), Entry::Answer);
        assert!(matches!(judge(b, &cookie), Entry::Demand(_)));
    }
}
