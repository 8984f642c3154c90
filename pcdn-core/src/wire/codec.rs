//! The bytes of a [`Message`].

mod fields;

use bytes::Bytes;

use super::{
    Envelope, HAVE_SEGMENTS_MAX, MANIFEST_PART_BYTES, Message, PEERS_MAX, SETUP_BYTES_MAX, SliceNote,
};
use crate::id::{Digest, PeerId, SwarmKey};
use crate::layout::SegmentId;
use crate::peer::PeerRecord;
use crate::receipt::Receipt;
use crate::transport::MESSAGE_BYTES_MAX;
use fields::{Reader, Writer};

const VERSION: u8 = 1;
const HELLO: u8 = 1;
const HAVE: u8 = 2;
const CLAIM: u8 = 3;
const WITNESS: u8 = 4;
const ASK_WITNESS: u8 = 5;
const ASK_MANIFEST: u8 = 7;
const MANIFEST_PART: u8 = 8;
const BYE: u8 = 9;
const SLICE: u8 = 10;
const RECEIPT: u8 = 11;
// 6 was peers without signatures: it is passed over like any unknown kind.
const RECORD: u8 = 12;
const PEERS: u8 = 13;
const CALL: u8 = 14;
const MEET: u8 = 15;
const CHALLENGE: u8 = 16;
const ANSWER: u8 = 17;

/// What is wrong with a message, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message: {what} (byte {at})")]
pub struct WireError {
    /// Byte offset.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The binary form of `message` about `swarm`.
pub fn encode(swarm: &SwarmKey, message: &Message) -> Bytes {
    let mut out = Writer(Vec::with_capacity(128));
    out.0.extend_from_slice(&[VERSION, kind_of(message)]);
    out.0.extend_from_slice(&swarm.0);
    match message {
        Message::Hello { ports, answer, appears } => {
            out.u8(u8::from(*answer));
            out.u8(ports.len().min(PeerRecord::ADDRS_MAX) as u8);
            for (scheme, port) in ports.iter().take(PeerRecord::ADDRS_MAX) {
                out.u8(scheme.code());
                out.u16(*port);
            }
            out.u8(u8::from(appears.is_some()));
            if let Some(addr) = appears {
                addr.put(&mut out.0);
            }
        }
        Message::Have { status, segments } => {
            out.u32(status.origin_rate);
            out.u32(status.peer_rate);
            out.u8(u8::from(status.complete));
            out.u16(segments.len().min(HAVE_SEGMENTS_MAX) as u16);
            for have in segments.iter().take(HAVE_SEGMENTS_MAX) {
                out.u64(have.segment.0);
                out.layout(&have.layout);
                out.0.extend_from_slice(have.bitmap.as_bytes());
            }
        }
        Message::Claim { segment, first, count, within_ms } => {
            out.u64(segment.0);
            out.u32(*first);
            out.u32(*count);
            out.u32(*within_ms);
        }
        Message::Witness(statement) => {
            out.u64(statement.segment.0);
            out.layout(&statement.layout);
            out.0.extend_from_slice(statement.pieces.as_bytes());
            statement.digests.iter().for_each(|d| out.0.extend_from_slice(&d.0));
            out.0.extend_from_slice(&statement.witness.0);
            out.0.extend_from_slice(&statement.signature);
        }
        Message::AskWitness(segment) => out.u64(segment.0),
        Message::Record(record) => record.encode_to(&mut out.0),
        Message::Peers { hungry, added, dropped } => {
            out.u8(u8::from(*hungry));
            out.u8(added.len().min(PEERS_MAX) as u8);
            added.iter().take(PEERS_MAX).for_each(|record| record.encode_to(&mut out.0));
            out.u8(dropped.len().min(PEERS_MAX) as u8);
            dropped.iter().take(PEERS_MAX).for_each(|peer| out.0.extend_from_slice(&peer.0));
        }
        Message::AskManifest { at } => out.u32(*at),
        Message::ManifestPart { at, total, bytes } => {
            out.u32(*at);
            out.u32(*total);
            out.0.extend_from_slice(&bytes[..bytes.len().min(MANIFEST_PART_BYTES)]);
        }
        Message::Slice(note) => {
            out.u64(note.segment.0);
            out.layout(&note.layout);
            out.u8(u8::from(note.before.is_some()) | u8::from(note.discontinuity) << 1);
            out.u64(note.before.unwrap_or(SegmentId(0)).0);
            out.u32(note.duration_ms);
            out.u32(note.offset_ms);
            out.0.extend_from_slice(&note.setup[..note.setup.len().min(SETUP_BYTES_MAX)]);
        }
        Message::Receipt(receipt) => out.0.extend_from_slice(&receipt.encode()),
        Message::Call { wanted } => out.0.extend_from_slice(&wanted.0),
        Message::Meet { peer, token, in_ms, at } => {
            out.0.extend_from_slice(&peer.0);
            out.0.extend_from_slice(token);
            out.u16(*in_ms);
            at.put(&mut out.0);
        }
        Message::Challenge { nonce, segment, piece } => {
            out.0.extend_from_slice(nonce);
            out.u64(segment.0);
            out.u32(*piece);
        }
        Message::Answer { nonce, shown } => {
            out.0.extend_from_slice(nonce);
            out.u8(u8::from(shown.is_some()));
            shown.iter().for_each(|digest| out.0.extend_from_slice(&digest.0));
        }
        Message::Bye => {}
    }
    debug_assert!(out.0.len() <= MESSAGE_BYTES_MAX);
    out.0.into()
}

/// Reads a message. Never panics, and allocates no more than the input is long.
///
/// # Errors
/// If it is too short or against the format; a peer that sends such bytes breaks the protocol.
pub fn decode(bytes: &Bytes) -> Result<Envelope, WireError> {
    let mut from = Reader { bytes, at: 0 };
    let version = from.u8()?;
    let kind = from.u8()?;
    let swarm = SwarmKey(from.array()?);
    if version != VERSION {
        return Ok(Envelope { swarm, message: None });
    }
    let message = match kind {
        HELLO => {
            let answer = from.u8()? != 0;
            let count = from.count(PeerRecord::ADDRS_MAX)?;
            let ports = (0..count).map(|_| Ok((from.scheme()?, from.u16()?))).collect::<Result<_, _>>()?;
            Message::Hello { ports, answer, appears: from.appears()? }
        }
        HAVE => from.have()?,
        CLAIM => Message::Claim {
            segment: SegmentId(from.u64()?),
            first: from.u32()?,
            count: from.u32()?,
            within_ms: from.u32()?,
        },
        WITNESS => Message::Witness(from.statement(swarm)?),
        ASK_WITNESS => Message::AskWitness(SegmentId(from.u64()?)),
        RECORD => Message::Record(from.record()?),
        PEERS => from.peers()?,
        ASK_MANIFEST => Message::AskManifest { at: from.u32()? },
        MANIFEST_PART => {
            let (at, total) = (from.u32()?, from.u32()?);
            let rest = bytes.slice(from.at..);
            if rest.len() > MANIFEST_PART_BYTES {
                return Err(from.bad("a manifest part above 48 KiB"));
            }
            Message::ManifestPart { at, total, bytes: rest }
        }
        SLICE => {
            let (segment, layout) = (SegmentId(from.u64()?), from.layout()?);
            let (flags, before) = (from.u8()?, SegmentId(from.u64()?));
            let (duration_ms, offset_ms) = (from.u32()?, from.u32()?);
            let setup = bytes.slice(from.at..);
            if setup.len() > SETUP_BYTES_MAX {
                return Err(from.bad("a slice's setup above 8 KiB"));
            }
            let before = (flags & 1 != 0).then_some(before);
            let discontinuity = flags & 2 != 0;
            Message::Slice(SliceNote {
                segment,
                layout,
                before,
                duration_ms,
                offset_ms,
                discontinuity,
                setup,
            })
        }
        RECEIPT => {
            let form = from.slice(Receipt::BYTES)?;
            Message::Receipt(
                Receipt::decode(form).ok_or_else(|| from.bad("a receipt with sums that cannot be"))?,
            )
        }
        CALL => Message::Call { wanted: PeerId(from.array()?) },
        MEET => Message::Meet {
            peer: PeerId(from.array()?),
            token: from.array()?,
            in_ms: from.u16()?,
            at: from.addr()?,
        },
        CHALLENGE => {
            Message::Challenge { nonce: from.array()?, segment: SegmentId(from.u64()?), piece: from.u32()? }
        }
        ANSWER => {
            let (nonce, some) = (from.array()?, from.u8()? != 0);
            Message::Answer { nonce, shown: some.then(|| from.array().map(Digest)).transpose()? }
        }
        BYE => Message::Bye,
        _ => return Ok(Envelope { swarm, message: None }),
    };
    Ok(Envelope { swarm, message: Some(message) })
}

fn kind_of(message: &Message) -> u8 {
    match message {
        Message::Hello { .. } => HELLO,
        Message::Have { .. } => HAVE,
        Message::Claim { .. } => CLAIM,
        Message::Witness(_) => WITNESS,
        Message::AskWitness(_) => ASK_WITNESS,
        Message::Record(_) => RECORD,
        Message::Peers { .. } => PEERS,
        Message::AskManifest { .. } => ASK_MANIFEST,
        Message::ManifestPart { .. } => MANIFEST_PART,
        Message::Slice(_) => SLICE,
        Message::Receipt(_) => RECEIPT,
        Message::Call { .. } => CALL,
        Message::Meet { .. } => MEET,
        Message::Challenge { .. } => CHALLENGE,
        Message::Answer { .. } => ANSWER,
        Message::Bye => BYE,
    }
}

#[cfg(test)]
mod tests;
