//! The bytes of a [`Message`].

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::{
    Envelope, HAVE_BYTES_MAX, HAVE_SEGMENTS_MAX, HaveSegment, MANIFEST_PART_BYTES, Message, PEERS_MAX,
    SETUP_BYTES_MAX, SliceNote, Status,
};
use crate::bitmap::Bitmap;
use crate::id::{Digest, PeerId, SwarmKey};
use crate::layout::{Layout, SegmentId};
use crate::peer::{PeerAddr, PeerRecord, Scheme};
use crate::receipt::Receipt;
use crate::transport::MESSAGE_BYTES_MAX;
use crate::verify::witness::Statement;

const VERSION: u8 = 1;
const HELLO: u8 = 1;
const HAVE: u8 = 2;
const CLAIM: u8 = 3;
const WITNESS: u8 = 4;
const ASK_WITNESS: u8 = 5;
const PEERS: u8 = 6;
const ASK_MANIFEST: u8 = 7;
const MANIFEST_PART: u8 = 8;
const BYE: u8 = 9;
const SLICE: u8 = 10;
const RECEIPT: u8 = 11;

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
        Message::Hello { ports, answer } => {
            out.u8(u8::from(*answer));
            out.u8(ports.len().min(PeerRecord::ADDRS_MAX) as u8);
            for (scheme, port) in ports.iter().take(PeerRecord::ADDRS_MAX) {
                out.u8(scheme_code(*scheme));
                out.u16(*port);
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
        Message::Peers(records) => {
            out.u8(records.len().min(PEERS_MAX) as u8);
            records.iter().take(PEERS_MAX).for_each(|record| out.record(record));
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
            out.0.extend_from_slice(&note.setup[..note.setup.len().min(SETUP_BYTES_MAX)]);
        }
        Message::Receipt(receipt) => out.0.extend_from_slice(&receipt.encode()),
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
            Message::Hello { ports, answer }
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
        PEERS => {
            let count = from.count(PEERS_MAX)?;
            Message::Peers((0..count).map(|_| from.record()).collect::<Result<_, _>>()?)
        }
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
            let (flags, before, duration_ms) = (from.u8()?, SegmentId(from.u64()?), from.u32()?);
            let setup = bytes.slice(from.at..);
            if setup.len() > SETUP_BYTES_MAX {
                return Err(from.bad("a slice's setup above 8 KiB"));
            }
            let before = (flags & 1 != 0).then_some(before);
            let discontinuity = flags & 2 != 0;
            Message::Slice(SliceNote { segment, layout, before, duration_ms, discontinuity, setup })
        }
        RECEIPT => {
            let form = from.slice(Receipt::BYTES)?;
            Message::Receipt(
                Receipt::decode(form).ok_or_else(|| from.bad("a receipt with sums that cannot be"))?,
            )
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
        Message::Peers(_) => PEERS,
        Message::AskManifest { .. } => ASK_MANIFEST,
        Message::ManifestPart { .. } => MANIFEST_PART,
        Message::Slice(_) => SLICE,
        Message::Receipt(_) => RECEIPT,
        Message::Bye => BYE,
    }
}

fn scheme_code(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::Udp => 1,
        Scheme::Quic => 2,
        Scheme::Mem => 3,
        Scheme::Other => 255,
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
    fn record(&mut self, record: &PeerRecord) {
        self.0.extend_from_slice(&record.id.0);
        self.u8(u8::from(record.seed));
        self.u8(record.addrs.len().min(PeerRecord::ADDRS_MAX) as u8);
        for addr in record.addrs.iter().take(PeerRecord::ADDRS_MAX) {
            self.u8(scheme_code(addr.scheme));
            match addr.addr.ip() {
                IpAddr::V4(ip) => {
                    self.u8(4);
                    self.0.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    self.u8(6);
                    self.0.extend_from_slice(&ip.octets());
                }
            }
            self.u16(addr.addr.port());
        }
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
        Ok(match self.u8()? {
            1 => Scheme::Udp,
            2 => Scheme::Quic,
            3 => Scheme::Mem,
            _ => Scheme::Other,
        })
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
    fn record(&mut self) -> Result<PeerRecord, WireError> {
        let id = PeerId(self.array()?);
        let seed = self.u8()? != 0;
        let count = self.count(PeerRecord::ADDRS_MAX)?;
        let mut addrs = Vec::new();
        for _ in 0..count {
            let scheme = self.scheme()?;
            let ip: IpAddr = match self.u8()? {
                4 => self.array::<4>()?.into(),
                6 => self.array::<16>()?.into(),
                _ => return Err(self.bad("an unknown address family")),
            };
            addrs.push(PeerAddr { scheme, addr: SocketAddr::new(ip, self.u16()?) });
        }
        Ok(PeerRecord { id, addrs, seed })
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
        let record = PeerRecord {
            id: PeerId([3; 32]),
            addrs: vec!["udp://192.0.2.1:4".parse().unwrap(), "quic://[2001:db8::1]:5".parse().unwrap()],
            seed: true,
        };
        vec![
            Message::Hello { ports: vec![(Scheme::Udp, 9)], answer: true },
            Message::Have {
                status: Status { origin_rate: 1, peer_rate: 2, complete: true },
                segments: vec![HaveSegment { segment: SegmentId(3), layout, bitmap }],
            },
            Message::Claim { segment: SegmentId(1), first: 2, count: 3, within_ms: 4 },
            Message::Witness(statement),
            Message::AskWitness(SegmentId(9)),
            Message::Peers(vec![record]),
            Message::AskManifest { at: 5 },
            Message::ManifestPart { at: 5, total: 9, bytes: Bytes::from_static(b"abcd") },
            Message::Slice(SliceNote {
                segment: SegmentId(8),
                layout,
                before: Some(SegmentId(7)),
                duration_ms: 1_040,
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
    fn an_unknown_kind_or_version_is_no_error() {
        let mut bytes = vec![VERSION, 200];
        bytes.extend([0; 40]);
        assert_eq!(decode(&bytes.clone().into()).unwrap().message, None);
        bytes[0] = 9;
        assert_eq!(decode(&bytes.into()).unwrap().message, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_peace(mut junk in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..13) {
            if junk.len() > 2 {
                junk[0] = VERSION;
                junk[1] = kind;
            }
            let _ = decode(&junk.into());
        }
    }
}
