//! What nodes of one local network say to one another.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `pcdnlan1` |
//! | 1 | kind: 1 asks who else is there, 2 says it, 3 says goodbye |
//! | 8 | salt, drawn anew for every datagram |
//! | 32 | the sender's id |
//! | 1 | ports, at most 4 |
//! | 3 each | scheme 1, port 2 (big endian): where the sender is reached, at the address the datagram comes from |
//! | 1 | tags, at most 64 |
//! | 16 each | a swarm's tag: a hash of salt and swarm key |
//!
//! Who does not know a swarm cannot tell from a tag what is watched; who does learns that this host is in it, which is what
//! the announcement is for.

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::Scheme;

/// Ports of a node at most: two transports, two sockets.
pub(super) const PORTS_MAX: usize = 4;
/// Tags in one datagram at most, so that it stays below 1100 bytes.
pub(super) const TAGS_MAX: usize = 64;

const MARK: &[u8; 8] = b"pcdnlan1";

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Who else is in these swarms? And: I am.
    Ask,
    /// I am in these swarms.
    Here,
    /// I am in these swarms no more.
    Gone,
}

pub(super) type Salt = [u8; 8];
pub(super) type Tag = [u8; 16];

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) kind: Kind,
    pub(super) salt: Salt,
    pub(super) id: PeerId,
    pub(super) ports: Vec<(Scheme, u16)>,
    pub(super) tags: Vec<Tag>,
}

/// A swarm as a datagram with `salt` names it.
pub(super) fn tag(salt: &Salt, key: &SwarmKey) -> Tag {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn 2026 swarm in the local network");
    hasher.update(salt).update(&key.0);
    let mut tag = Tag::default();
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    tag
}

pub(super) fn encode(word: &Word) -> Vec<u8> {
    let mut out = Vec::with_capacity(51 + 3 * word.ports.len() + 16 * word.tags.len());
    out.extend_from_slice(MARK);
    out.push(match word.kind {
        Kind::Ask => 1,
        Kind::Here => 2,
        Kind::Gone => 3,
    });
    out.extend_from_slice(&word.salt);
    out.extend_from_slice(&word.id.0);
    let ports = &word.ports[..word.ports.len().min(PORTS_MAX)];
    out.push(ports.len() as u8);
    for (scheme, port) in ports {
        out.push(code(*scheme));
        out.extend_from_slice(&port.to_be_bytes());
    }
    let tags = &word.tags[..word.tags.len().min(TAGS_MAX)];
    out.push(tags.len() as u8);
    tags.iter().for_each(|tag| out.extend_from_slice(tag));
    out
}

/// `None` for anything else. Never panics, and allocates no more than the datagram is long.
pub(super) fn decode(datagram: &[u8]) -> Option<Word> {
    let rest = datagram.strip_prefix(MARK)?;
    let ([kind], rest) = rest.split_first_chunk()?;
    let kind = match kind {
        1 => Kind::Ask,
        2 => Kind::Here,
        3 => Kind::Gone,
        _ => return None,
    };
    let (salt, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let ([ports], rest) = rest.split_first_chunk()?;
    let (ports, rest) = rest.split_at_checked(3 * usize::from(*ports).min(PORTS_MAX))?;
    let ([tags], rest) = rest.split_first_chunk()?;
    let (tags, _) = rest.split_at_checked(16 * usize::from(*tags).min(TAGS_MAX))?;
    let port = |bytes: &[u8]| match bytes {
        [code, high, low] => Some((scheme(*code)?, u16::from_be_bytes([*high, *low]))),
        _ => None,
    };
    Some(Word {
        kind,
        salt: *salt,
        id: PeerId(*id),
        ports: ports.chunks_exact(3).filter_map(port).collect(),
        tags: tags.chunks_exact(16).filter_map(|tag| tag.try_into().ok()).collect(),
    })
}

fn code(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::Udp => 1,
        Scheme::Quic => 2,
        _ => 0,
    }
}

/// Ports of transports unknown here are of no use here.
fn scheme(code: u8) -> Option<Scheme> {
    match code {
        1 => Some(Scheme::Udp),
        2 => Some(Scheme::Quic),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(tags: usize) -> Word {
        Word {
            kind: Kind::Ask,
            salt: [7; 8],
            id: PeerId([3; 32]),
            ports: vec![(Scheme::Udp, 4000), (Scheme::Quic, 4001)],
            tags: (0..tags).map(|n| tag(&[7; 8], &SwarmKey([n as u8; 32]))).collect(),
        }
    }

    #[test]
    fn words_round_trip_and_fit_into_one_datagram() {
        for kind in [Kind::Ask, Kind::Here, Kind::Gone] {
            let word = Word { kind, ..word(TAGS_MAX) };
            let bytes = encode(&word);
            assert!(bytes.len() <= 1_200, "{}", bytes.len());
            assert_eq!(decode(&bytes), Some(word));
        }
    }

    #[test]
    fn no_tag_is_seen_twice() {
        let key = SwarmKey([1; 32]);
        assert_ne!(tag(&[1; 8], &key), tag(&[2; 8], &key));
        assert_ne!(tag(&[1; 8], &key)[..], key.0[..16]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cut in 0usize..2_000) {
            decode(&bytes);
            let mut ours = encode(&word(TAGS_MAX));
            ours.truncate(cut);
            let whole = ours.len() == encode(&word(TAGS_MAX)).len();
            assert_eq!(decode(&ours).is_some(), whole);
            ours.extend_from_slice(&bytes);
            decode(&ours);
        }
    }
}
