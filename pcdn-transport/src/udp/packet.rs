//! The outer layer: what a datagram is before anything is decrypted.
//!
//! | byte 0 | packet | layout (big-endian) | bytes |
//! |---|---|---|---|
//! | 0x20 | HELLO | version 1, index 4, Noise IKpsk2 message 1 (168), zeros, mac 16, cookie 16 | 1200 |
//! | 0x21 | WELCOME | to 4, index 4, Noise IKpsk2 message 2 (49) | 58 |
//! | 0x22 | COOKIE | to 4, mac of the hello 16, cookie 16 | 37 |
//! | 0x26 | VERSIONS | to 4, mac of the hello 16, lowest 1, highest 1 | 23 |
//! | 0x28 to 0x2b | PACKET | to 4, low half of the packet number 4, sealed frames, tag 16 | 25 + frames |
//!
//! 0x23, 0x24, 0x25, 0x27 and 0x2c before `pcdnmt1` are the words of [`meet`](pcdn_core::wire::meet), by which nodes learn how they are seen and meet through NATs.
//!
//! The pre-shared key is the BLAKE3 derived key, in the context `pcdn udp swarm secret v1`, of the secret file's bytes without
//! white space at the ends; 32 zeros in a public swarm. It enters in message 2: a caller with another key cannot read the
//! WELCOME, and nothing it seals opens at the called node.
//!
//! Every first byte is below 0x40, so QUIC and STUN can share the socket. `to` and `index` are chosen by the side that
//! receives packets with them: a session is found by index, never by address, and survives a change of address.

/// Bytes of UDP payload at most, on every packet ever sent: fits IPv4 and IPv6 through PPPoE, VPNs and tunnels.
pub const DATAGRAM_MAX: usize = 1350;
/// Bytes of a HELLO: larger than its answer, so that a forged source address gains nothing.
pub const HELLO_LEN: usize = 1200;
/// Bytes of Noise IKpsk2's first message: ephemeral 32, sealed static 32 + 16, sealed payload 72 + 16.
pub const NOISE_1_LEN: usize = 32 + 48 + HELLO_PAYLOAD_LEN + 16;
/// Bytes inside the first Noise message: the initiator's `PeerId` 32, the cipher it prefers 1, and room for what later versions
/// need 39.
pub const HELLO_PAYLOAD_LEN: usize = 72;
/// Bytes of Noise IKpsk2's second message: ephemeral 32, the cipher of both directions 1, tag 16.
pub const NOISE_2_LEN: usize = 49;
/// Bytes of a WELCOME.
pub const WELCOME_LEN: usize = 9 + NOISE_2_LEN;
/// Bytes of a COOKIE.
pub const COOKIE_LEN: usize = 37;
/// Bytes of a VERSIONS.
pub const VERSIONS_LEN: usize = 23;
/// Clear bytes before the sealed part of a PACKET; they are authenticated.
pub const HEADER_LEN: usize = 9;
/// Bytes of the tag that ends a PACKET.
pub const TAG_LEN: usize = 16;
/// The protocol's version. A HELLO of another is answered by VERSIONS. That much holds in all versions: a HELLO is 1200 bytes, has its
/// version and index where they are, and its mac 32 bytes before the end; a VERSIONS is as it is.
pub const VERSION: u8 = 2;

pub(crate) const HELLO: u8 = 0x20;
pub(crate) const WELCOME: u8 = 0x21;
pub(crate) const COOKIE: u8 = 0x22;
pub(crate) const VERSIONS: u8 = 0x26;
/// The lowest two bits are the phase of the key.
pub(crate) const PACKET: u8 = 0x28;
/// Phases of keys that the first byte tells apart.
pub(crate) const PHASES: u8 = 4;
const PACKET_LAST: u8 = PACKET + PHASES - 1;

/// A datagram whose outer form is right. Nothing in it is proven yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// Somebody wants a session.
    Hello {
        /// Where the answer shall go, an index chosen by the asker.
        index: u32,
        /// Noise IKpsk2 message 1.
        noise: &'a [u8],
        /// What `mac` covers.
        covered: &'a [u8],
        /// Proof that the asker knows this node's public key: keeps scanners out cheaply.
        mac: [u8; 16],
        /// Zeros, or what a COOKIE demanded.
        cookie: [u8; 16],
    },
    /// The answer to a HELLO.
    Welcome {
        /// Whose hello.
        to: u32,
        /// The index of the answering side.
        index: u32,
        /// Noise IKpsk2 message 2.
        noise: &'a [u8],
    },
    /// The answer of a busy node: say hello again, with this.
    Cookie {
        /// Whose hello.
        to: u32,
        /// The mac of the hello it answers.
        mac: [u8; 16],
        /// To be copied into the next hello.
        cookie: [u8; 16],
    },
    /// Somebody wants a session in another version of the protocol.
    Foreign {
        /// Where the answer shall go.
        index: u32,
        /// What `mac` covers.
        covered: &'a [u8],
        /// Proof that the asker knows this node's public key.
        mac: [u8; 16],
    },
    /// The answer to a HELLO of another version.
    Versions {
        /// Whose hello.
        to: u32,
        /// The mac of the hello it answers.
        mac: [u8; 16],
        /// The highest version the answering side speaks.
        highest: u8,
    },
    /// A sealed packet of a session.
    Packet {
        /// Which session.
        to: u32,
        /// Low half of the packet number.
        number: u32,
    },
}

/// Reads the outer form of a datagram; `None` for anything that is not ours. Never panics, never allocates.
pub fn decode(datagram: &[u8]) -> Option<Datagram<'_>> {
    if datagram.len() > DATAGRAM_MAX {
        return None;
    }
    match *datagram.first()? {
        HELLO if datagram.len() == HELLO_LEN && datagram[1] == VERSION => Some(Datagram::Hello {
            index: be32(datagram, 2)?,
            noise: datagram.get(6..6 + NOISE_1_LEN)?,
            covered: datagram.get(..HELLO_LEN - 32)?,
            mac: array(datagram, HELLO_LEN - 32)?,
            cookie: array(datagram, HELLO_LEN - 16)?,
        }),
        HELLO if datagram.len() == HELLO_LEN => Some(Datagram::Foreign {
            index: be32(datagram, 2)?,
            covered: datagram.get(..HELLO_LEN - 32)?,
            mac: array(datagram, HELLO_LEN - 32)?,
        }),
        VERSIONS if datagram.len() == VERSIONS_LEN => Some(Datagram::Versions {
            to: be32(datagram, 1)?,
            mac: array(datagram, 5)?,
            highest: datagram[22],
        }),
        WELCOME if datagram.len() == WELCOME_LEN => Some(Datagram::Welcome {
            to: be32(datagram, 1)?,
            index: be32(datagram, 5)?,
            noise: datagram.get(9..)?,
        }),
        COOKIE if datagram.len() == COOKIE_LEN => Some(Datagram::Cookie {
            to: be32(datagram, 1)?,
            mac: array(datagram, 5)?,
            cookie: array(datagram, 21)?,
        }),
        PACKET..=PACKET_LAST if datagram.len() >= HEADER_LEN + TAG_LEN => {
            Some(Datagram::Packet { to: be32(datagram, 1)?, number: be32(datagram, 5)? })
        }
        _ => None,
    }
}

/// Writes a HELLO but for its mac, which the caller computes over the result, and its cookie.
pub(crate) fn encode_hello(index: u32, noise: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HELLO_LEN);
    out.push(HELLO);
    out.push(VERSION);
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(noise);
    out.resize(HELLO_LEN - 32, 0);
    out
}

pub(crate) fn encode_welcome(to: u32, index: u32, noise: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(WELCOME_LEN);
    out.push(WELCOME);
    out.extend_from_slice(&to.to_be_bytes());
    out.extend_from_slice(&index.to_be_bytes());
    out.extend_from_slice(noise);
    out
}

pub(crate) fn encode_cookie(to: u32, mac: &[u8; 16], cookie: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(COOKIE_LEN);
    out.push(COOKIE);
    out.extend_from_slice(&to.to_be_bytes());
    out.extend_from_slice(mac);
    out.extend_from_slice(cookie);
    out
}

/// Says which versions this side speaks.
pub(crate) fn encode_versions(to: u32, mac: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(VERSIONS_LEN);
    out.push(VERSIONS);
    out.extend_from_slice(&to.to_be_bytes());
    out.extend_from_slice(mac);
    out.extend_from_slice(&[VERSION, VERSION]);
    out
}

/// Restores a 64-bit packet number from its low half: the value nearest to the `highest` seen.
pub(crate) fn full_number(highest: u64, low: u32) -> u64 {
    let near = (highest & !0xffff_ffff) | u64::from(low);
    let half = 1u64 << 31;
    if near > highest.saturating_add(half) && near >= 1 << 32 {
        near - (1 << 32)
    } else if near.saturating_add(half) < highest {
        near.saturating_add(1 << 32)
    } else {
        near
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, first in 0x1fu8..0x2a) {
            decode(&bytes);
            let mut ours = bytes.clone();
            ours.insert(0, first);
            decode(&ours);
            ours.resize(HELLO_LEN, 7);
            decode(&ours);
        }

        #[test]
        fn the_full_number_is_found_within_half_a_turn(highest in 0u64..1 << 50, step in -(1i64 << 30)..1 << 30) {
            let number = highest.saturating_add_signed(step);
            prop_assert_eq!(full_number(highest, number as u32), number);
        }
    }

    #[test]
    fn hello_and_welcome_round_trip() {
        let mut hello = encode_hello(7, &[9; NOISE_1_LEN]);
        hello.extend_from_slice(&[1; 16]);
        hello.extend_from_slice(&[2; 16]);
        let Some(Datagram::Hello { index: 7, noise, mac, cookie, .. }) = decode(&hello) else {
            panic!("hello")
        };
        assert_eq!((noise, mac, cookie), (&[9; NOISE_1_LEN][..], [1; 16], [2; 16]));
        let welcome = encode_welcome(7, 8, &[3; NOISE_2_LEN]);
        assert_eq!(decode(&welcome), Some(Datagram::Welcome { to: 7, index: 8, noise: &[3; NOISE_2_LEN] }));
        assert!(welcome.len() < hello.len() && COOKIE_LEN < hello.len(), "no amplification");
    }
}
