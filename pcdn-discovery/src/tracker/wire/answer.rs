//! What a tracker sends.

use std::net::{IpAddr, SocketAddr};

use pcdn_core::id::PeerId;

use super::field::{self, Reader, exact, put, put_ports, read_fields, read_ports};
use super::report::{put_reported, read_standing};
use super::{
    ANNOUNCE, Answer, CONNECT, Counts, DATAGRAM_MAX, ERROR, FIND, Listed, Nat, PEERS_MAX, REPORT, Reported,
    Traits, VERSION, WHY_MAX, WireError,
};
use crate::tracker::secret::{Secret, Tag};

const HEAD_BYTES: usize = 8;
const SEED: u8 = 1;
const IPV6: u8 = 2;
const SUPERPEER: u8 = 4;
const NAT_SHIFT: u8 = 3;
/// Three bits; versions that knew two take the fourth kind for an unknown one.
const NAT_MASK: u8 = 7;
/// What a find can ask to know of each peer.
const PEER_TRAITS_BYTES: usize = 7;
const NO_POSITION: u32 = u32::MAX;

/// Writes an answer into `out`, which is cleared first. As many peers as fit in `limit` bytes (at most [`DATAGRAM_MAX`]) are
/// written, a refusal is cut to it; `out` stays empty if not even the rest fits.
pub fn encode_answer(txn: u32, answer: &Answer, limit: usize, secret: Option<&Secret>, out: &mut Vec<u8>) {
    let limit = limit.min(DATAGRAM_MAX);
    out.clear();
    let action = match answer {
        Answer::Connected { .. } => CONNECT,
        Answer::Announced { .. } => ANNOUNCE,
        Answer::Found { .. } => FIND,
        Answer::Reported(_) => REPORT,
        Answer::Refused { .. } => ERROR,
    };
    out.extend(action.to_be_bytes());
    out.extend(txn.to_be_bytes());
    match answer {
        Answer::Connected { connection } => out.extend(connection.to_be_bytes()),
        Answer::Refused { why } => {
            let mut room = why.len().min(limit.saturating_sub(out.len())).min(WHY_MAX);
            while !why.is_char_boundary(room) {
                room -= 1;
            }
            out.extend(&why.as_bytes()[..room]);
        }
        Answer::Announced { interval_s, observed, counts, peers } => {
            out.push(VERSION);
            put(out, field::INTERVAL, &interval_s.to_be_bytes());
            put_observed(out, observed);
            put_swarm(out, counts, peers, false, limit, secret);
            put_tag(out, secret);
        }
        Answer::Found { counts, peers, rich } => {
            out.push(VERSION);
            put_swarm(out, counts, peers, *rich, limit, secret);
            put_tag(out, secret);
        }
        Answer::Reported(reported) => {
            out.push(VERSION);
            put_reported(out, reported);
            put_tag(out, secret);
        }
    }
    if out.len() > limit {
        out.clear();
    }
}

pub(super) fn put_observed(out: &mut Vec<u8>, observed: &SocketAddr) {
    let mut value = Vec::with_capacity(18);
    put_ip(&mut value, observed.ip());
    value.extend(observed.port().to_be_bytes());
    put(out, field::OBSERVED, &value);
}

fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
}

fn put_swarm(
    out: &mut Vec<u8>,
    counts: &Counts,
    peers: &[Listed],
    rich: bool,
    limit: usize,
    secret: Option<&Secret>,
) {
    put(out, field::COUNTS, &[counts.seeds.to_be_bytes(), counts.others.to_be_bytes()].concat());
    let mut limit = limit.saturating_sub(if secret.is_some() { field::TAG_BYTES } else { 0 });
    if rich {
        limit = limit.saturating_sub(field::FIELD_HEAD);
    }
    let start = out.len();
    put(out, field::PEERS, &[]);
    let mut told = 0;
    for peer in peers {
        let mark = out.len();
        put_peer(out, peer);
        if out.len() + if rich { (told + 1) * PEER_TRAITS_BYTES } else { 0 } > limit {
            out.truncate(mark);
            break;
        }
        told += 1;
    }
    let value_len = (out.len() - start - field::FIELD_HEAD) as u16;
    out[start + 1..start + 3].copy_from_slice(&value_len.to_be_bytes());
    if rich {
        let value: Vec<u8> = peers[..told].iter().flat_map(|peer| peer_traits(&peer.traits)).collect();
        put(out, field::PEER_TRAITS, &value);
    }
}

fn put_tag(out: &mut Vec<u8>, secret: Option<&Secret>) {
    if let Some(secret) = secret {
        let tag = secret.tag_answer(out);
        put(out, field::TAG, &tag);
    }
}

fn peer_traits(traits: &Traits) -> [u8; PEER_TRAITS_BYTES] {
    let [a, b, c, d] = traits.position.unwrap_or(NO_POSITION).to_be_bytes();
    [traits.class, traits.spare, traits.have, a, b, c, d]
}

fn put_peer(out: &mut Vec<u8>, peer: &Listed) {
    out.extend(peer.id.0);
    let (seed, v6) = (u8::from(peer.seed) * SEED, u8::from(peer.ip.is_ipv6()) * IPV6);
    let (superpeer, nat) = (u8::from(peer.traits.superpeer) * SUPERPEER, peer.traits.nat.code() << NAT_SHIFT);
    out.push(seed | v6 | superpeer | nat);
    out.push(peer.ports.len() as u8);
    put_ip(out, peer.ip);
    put_ports(out, &peer.ports);
}

/// Reads an answer and its transaction. With a `secret`, the tag of a native answer must be right; refusals carry none, for
/// one who lacks the secret must be able to read why.
pub fn decode_answer(datagram: &[u8], secret: Option<&Secret>) -> Result<(u32, Answer), WireError> {
    let mut reader = Reader(datagram);
    let (action, txn) = (reader.u32("head")?, reader.u32("head")?);
    let answer = match action {
        CONNECT => Answer::Connected { connection: reader.u64("connection id")? },
        ERROR => Answer::Refused { why: printable(reader.0) },
        ANNOUNCE | FIND | REPORT => decode_native(datagram, action, secret)?,
        other => return Err(WireError::Action(other)),
    };
    Ok((txn, answer))
}

fn decode_native(datagram: &[u8], action: u32, secret: Option<&Secret>) -> Result<Answer, WireError> {
    let mut interval_s = None;
    let mut observed = None;
    let mut counts = Counts::default();
    let mut peers: Vec<Listed> = Vec::new();
    let mut traits = None;
    let mut standing = None;
    let proof = secret.map(|secret| (secret, Secret::tag_answer as fn(&Secret, &[u8]) -> Tag));
    read_fields(datagram, HEAD_BYTES, proof, |kind, value| {
        let mut reader = Reader(value);
        match kind {
            field::INTERVAL => interval_s = Some(u32::from_be_bytes(exact(value, "interval")?)),
            field::OBSERVED => observed = Some(read_observed(&mut reader)?),
            field::COUNTS => counts = Counts { seeds: reader.u32("counts")?, others: reader.u32("counts")? },
            field::PEERS => {
                while !reader.0.is_empty() && peers.len() < PEERS_MAX {
                    peers.push(read_peer(&mut reader)?);
                }
            }
            field::PEER_TRAITS => traits = Some(value),
            field::STANDING => standing = Some(read_standing(value)?),
            _ => {}
        }
        Ok(())
    })?;
    if action == FIND {
        if let Some(traits) = traits {
            read_peer_traits(traits, &mut peers);
        }
        return Ok(Answer::Found { counts, peers, rich: traits.is_some() });
    }
    let interval_s = interval_s.ok_or(WireError::Missing("interval"))?;
    let observed = observed.ok_or(WireError::Missing("observed address"))?;
    if action == REPORT {
        let standing = standing.ok_or(WireError::Missing("standing"))?;
        let (soonest_s, held, duties, list_version) = standing;
        return Ok(Answer::Reported(Reported {
            interval_s,
            soonest_s,
            held,
            observed,
            duties,
            list_version,
        }));
    }
    Ok(Answer::Announced { interval_s, observed, counts, peers })
}

fn read_observed(reader: &mut Reader<'_>) -> Result<SocketAddr, WireError> {
    let ip = match reader.0.len() {
        6 => read_ip(reader, false)?,
        18 => read_ip(reader, true)?,
        _ => return Err(WireError::Field("observed address")),
    };
    Ok(SocketAddr::new(ip, reader.u16("observed address")?))
}

fn read_peer(reader: &mut Reader<'_>) -> Result<Listed, WireError> {
    let id = PeerId(reader.take("peer")?);
    let (flags, count) = (reader.u8("peer")?, reader.u8("peer")?);
    let ip = read_ip(reader, flags & IPV6 != 0)?;
    let ports = read_ports(reader, count.into())?;
    let (superpeer, nat) = (flags & SUPERPEER != 0, Nat::of(flags >> NAT_SHIFT & NAT_MASK));
    let traits = Traits { superpeer, nat, ..Traits::default() };
    Ok(Listed { id, ip, ports, seed: flags & SEED != 0, traits })
}

fn read_peer_traits(value: &[u8], peers: &mut [Listed]) {
    for ([class, spare, have, position @ ..], peer) in
        value.as_chunks::<PEER_TRAITS_BYTES>().0.iter().zip(peers)
    {
        let position = Some(u32::from_be_bytes(*position)).filter(|position| *position != NO_POSITION);
        peer.traits = Traits { class: *class, spare: *spare, have: *have, position, ..peer.traits };
    }
}

fn read_ip(reader: &mut Reader<'_>, v6: bool) -> Result<IpAddr, WireError> {
    Ok(if v6 { IpAddr::from(reader.take::<16>("ip")?) } else { IpAddr::from(reader.take::<4>("ip")?) })
}

/// A stranger's words, made safe for a log line.
pub(super) fn printable(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(WHY_MAX)];
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
