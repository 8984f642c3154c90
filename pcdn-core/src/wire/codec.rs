//! The bytes of a [`Message`].

use bytes::Bytes;

use super::{
    Envelope, HAVE_BYTES_MAX, HAVE_SEGMENTS_MAX, HaveSegment, MANIFEST_PART_BYTES, Message, PEERS_MAX,
    SETUP_BYTES_MAX, SliceNote, Status,
};
use crate::bitmap::Bitmap;
use crate::id::{Digest, PeerId, SwarmKey};
use crate::layout::{Layout, SegmentId};
use crate::peer::{PeerAddr, PeerRecord, Scheme, SignedRecord};
use crate::receipt::Receipt;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::verify::witness::Statement;

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

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn layout(&mut self, layout: &Layout) {
        self.u64(layout.len());
        self.u8(layout.piece_log2());
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn bad(&self, what: &'static str) -> WireError {
        WireError { at: self.at, what }
    }
    fn slice(&mut self, len: usize) -> Result<&'b [u8], WireError> {
        let end = self.at.checked_add(len).ok_or_else(|| self.bad("length overflow"))?;
        let slice = self.bytes.get(self.at..end).ok_or_else(|| self.bad("cut short"))?;
        self.at = end;
        Ok(slice)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }
    fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    fn count(&mut self, max: usize) -> Result<usize, WireError> {
        let count = self.u8()? as usize;
        if count > max { Err(self.bad("more entries than allowed")) } else { Ok(count) }
    }
    fn scheme(&mut self) -> Result<Scheme, WireError> {
        Ok(Scheme::of_code(self.u8()?))
    }
    fn layout(&mut self) -> Result<Layout, WireError> {
        let (len, log2) = (self.u64()?, self.u8()?);
        Layout::new(len, log2).map_err(|_| self.bad("a segment that cannot be cut so"))
    }
    fn bitmap(&mut self, layout: &Layout) -> Result<Bitmap, WireError> {
        let bytes = self.slice(layout.pieces().div_ceil(8) as usize)?;
        Bitmap::from_bytes(bytes, layout.pieces()).ok_or_else(|| self.bad("spare bits set in a bitmap"))
    }
    fn have(&mut self) -> Result<Message, WireError> {
        let status = Status { origin_rate: self.u32()?, peer_rate: self.u32()?, complete: self.u8()? != 0 };
        let count = self.u16()? as usize;
        if count > HAVE_SEGMENTS_MAX {
            return Err(self.bad("more segments than allowed"));
        }
        let mut segments = Vec::new();
        let mut bitmap_bytes = 0;
        for _ in 0..count {
            let segment = SegmentId(self.u64()?);
            let layout = self.layout()?;
            let bitmap = self.bitmap(&layout)?;
            bitmap_bytes += bitmap.as_bytes().len();
            if bitmap_bytes > HAVE_BYTES_MAX {
                return Err(self.bad("more bytes of bitmaps than allowed"));
            }
            segments.push(HaveSegment { segment, layout, bitmap });
        }
        Ok(Message::Have { status, segments })
    }
    fn statement(&mut self, swarm: SwarmKey) -> Result<Statement, WireError> {
        let segment = SegmentId(self.u64()?);
        let layout = self.layout()?;
        let pieces = self.bitmap(&layout)?;
        let digests = (0..pieces.count()).map(|_| Ok(Digest(self.array()?))).collect::<Result<_, _>>()?;
        let witness = PeerId(self.array()?);
        let signature = self.array()?;
        Ok(Statement { swarm, segment, layout, pieces, digests, witness, signature })
    }
    fn appears(&mut self) -> Result<Option<PeerAddr>, WireError> {
        // Hellos were shorter once.
        if self.at == self.bytes.len() || self.u8()? != 1 {
            return Ok(None);
        }
        self.addr().map(Some)
    }
    fn addr(&mut self) -> Result<PeerAddr, WireError> {
        let read = PeerAddr::get(&self.bytes[self.at..]).ok_or_else(|| self.bad("half an address"))?;
        self.at += read.1;
        Ok(read.0)
    }
    fn record(&mut self) -> Result<SignedRecord, WireError> {
        let (record, len) =
            SignedRecord::decode(&self.bytes[self.at..]).map_err(|error| self.bad(error.0))?;
        self.at += len;
        Ok(record)
    }
    fn peers(&mut self) -> Result<Message, WireError> {
        let hungry = self.u8()? & 1 != 0;
        let count = self.count(PEERS_MAX)?;
        let added = (0..count).map(|_| self.record()).collect::<Result<_, _>>()?;
        let count = self.count(PEERS_MAX)?;
        let dropped = (0..count).map(|_| Ok(PeerId(self.array()?))).collect::<Result<_, _>>()?;
        Ok(Message::Peers { hungry, added, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Identity;
    use proptest::prelude::*;

    fn examples() -> Vec<Message> {
        let layout = Layout::new(300_000, 16).unwrap();
        let mut bitmap = Bitmap::new(5);
        bitmap.set(0);
        bitmap.set(4);
        let digests = vec![Digest([1; 32]), Digest([2; 32])];
        let key = Identity::from_secret([1; 32]);
        let statement =
            Statement::sign(&key, SwarmKey([7; 32]), SegmentId(3), layout, bitmap.clone(), digests);
        let tally = crate::receipt::Tally { bytes: 3 << 20, pieces: 48, bad: 1 };
        let facts = crate::peer::Facts {
            id: key.peer_id(),
            seq: 1_700_000_000_000,
            lifetime_s: 1_800,
            flags: 0,
            nat: 0,
            up: 0,
            addrs: vec![
                "udp://192.0.2.1:4000".parse().unwrap(),
                "quic://[2001:db8::1]:4001".parse().unwrap(),
            ],
        };
        let record = facts.sign(&key, &SwarmKey([7; 32])).unwrap();
        vec![
            Message::Hello { ports: vec![(Scheme::Udp, 9)], answer: true, appears: None },
            Message::Hello {
                ports: vec![(Scheme::Udp, 9)],
                answer: true,
                appears: Some("udp://[2001:db8::1]:5".parse().unwrap()),
            },
            Message::Have {
                status: Status { origin_rate: 1, peer_rate: 2, complete: true },
                segments: vec![HaveSegment { segment: SegmentId(3), layout, bitmap }],
            },
            Message::Claim { segment: SegmentId(1), first: 2, count: 3, within_ms: 4 },
            Message::Witness(statement),
            Message::AskWitness(SegmentId(9)),
            Message::Record(record.clone()),
            Message::Peers { hungry: true, added: vec![record], dropped: vec![PeerId([3; 32])] },
            Message::Peers { hungry: false, added: Vec::new(), dropped: Vec::new() },
            Message::AskManifest { at: 5 },
            Message::ManifestPart { at: 5, total: 9, bytes: Bytes::from_static(b"abcd") },
            Message::Slice(SliceNote {
                segment: SegmentId(8),
                layout,
                before: Some(SegmentId(7)),
                duration_ms: 1_040,
                offset_ms: 400,
                discontinuity: true,
                setup: Bytes::from_static(b"avcC"),
            }),
            Message::Receipt(Receipt::sign(
                &key,
                [4; 16],
                PeerId([5; 32]),
                SwarmKey([7; 32]),
                29_000_000,
                tally,
            )),
            Message::Call { wanted: PeerId([6; 32]) },
            Message::Meet {
                peer: PeerId([6; 32]),
                token: [7; 8],
                in_ms: 40,
                at: "udp://192.0.2.1:4000".parse().unwrap(),
            },
            Message::Challenge { nonce: [8; 16], segment: SegmentId(9), piece: 10 },
            Message::Answer { nonce: [8; 16], shown: Some(Digest([11; 32])) },
            Message::Answer { nonce: [8; 16], shown: None },
            Message::Bye,
        ]
    }

    #[test]
    fn every_message_round_trips_and_no_prefix_panics() {
        let swarm = SwarmKey([7; 32]);
        for message in examples() {
            let bytes = encode(&swarm, &message);
            assert_eq!(decode(&bytes).unwrap(), Envelope { swarm, message: Some(message) });
            for cut in 0..bytes.len() {
                let _ = decode(&bytes.slice(..cut));
            }
        }
    }

    #[test]
    fn a_hello_of_before_the_address_is_read() {
        let bytes = encode(
            &SwarmKey([7; 32]),
            &Message::Hello { ports: vec![(Scheme::Udp, 9)], answer: true, appears: None },
        );
        let old = bytes.slice(..bytes.len() - 1);
        assert_eq!(decode(&old).unwrap(), decode(&bytes).unwrap());
    }

    /// Other versions must read these very bytes.
    #[test]
    fn the_frame_of_an_exchange_stands() {
        let dropped = vec![PeerId([3; 32])];
        let bytes = encode(&SwarmKey([7; 32]), &Message::Peers { hungry: true, added: Vec::new(), dropped });
        let mut want = vec![1, 13];
        want.extend([7; 32]);
        want.extend([1, 0, 1]);
        want.extend([3; 32]);
        assert_eq!(bytes, want);
    }

    #[test]
    fn an_unknown_kind_or_version_is_no_error() {
        let mut bytes = vec![VERSION, 200];
        bytes.extend([0; 40]);
        assert_eq!(decode(&bytes.clone().into()).unwrap().message, None);
        bytes[0] = 9;
        assert_eq!(decode(&bytes.into()).unwrap().message, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_peace(mut junk in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..15) {
            if junk.len() > 2 {
                junk[0] = VERSION;
                junk[1] = kind;
            }
            let _ = decode(&junk.into());
        }
    }
}
