//! What messages are made of, read and written.

use super::super::{HAVE_BYTES_MAX, HAVE_SEGMENTS_MAX, HaveSegment, Message, PEERS_MAX, Status};
use super::WireError;
use crate::bitmap::Bitmap;
use crate::id::{Digest, PeerId, SwarmKey};
use crate::layout::{Layout, SegmentId};
use crate::peer::{PeerAddr, Scheme, SignedRecord};
use crate::verify::witness::Statement;

/// Writes numbers, big endian.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    pub(super) fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    pub(super) fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    pub(super) fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    pub(super) fn layout(&mut self, layout: &Layout) {
        self.u64(layout.len());
        self.u8(layout.piece_log2());
    }
}

/// Reads what somebody else wrote; nothing is believed, not even that it goes on.
pub(super) struct Reader<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn bad(&self, what: &'static str) -> WireError {
        WireError { at: self.at, what }
    }
    pub(super) fn slice(&mut self, len: usize) -> Result<&'b [u8], WireError> {
        let end = self.at.checked_add(len).ok_or_else(|| self.bad("length overflow"))?;
        let slice = self.bytes.get(self.at..end).ok_or_else(|| self.bad("cut short"))?;
        self.at = end;
        Ok(slice)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }
    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    pub(super) fn count(&mut self, max: usize) -> Result<usize, WireError> {
        let count = self.u8()? as usize;
        if count > max { Err(self.bad("more entries than allowed")) } else { Ok(count) }
    }
    pub(super) fn scheme(&mut self) -> Result<Scheme, WireError> {
        Ok(Scheme::of_code(self.u8()?))
    }
    pub(super) fn layout(&mut self) -> Result<Layout, WireError> {
        let (len, log2) = (self.u64()?, self.u8()?);
        Layout::new(len, log2).map_err(|_| self.bad("a segment that cannot be cut so"))
    }
    pub(super) fn bitmap(&mut self, layout: &Layout) -> Result<Bitmap, WireError> {
        let bytes = self.slice(layout.pieces().div_ceil(8) as usize)?;
        Bitmap::from_bytes(bytes, layout.pieces()).ok_or_else(|| self.bad("spare bits set in a bitmap"))
    }
    pub(super) fn have(&mut self) -> Result<Message, WireError> {
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
    pub(super) fn statement(&mut self, swarm: SwarmKey) -> Result<Statement, WireError> {
        let segment = SegmentId(self.u64()?);
        let layout = self.layout()?;
        let pieces = self.bitmap(&layout)?;
        let digests = (0..pieces.count()).map(|_| Ok(Digest(self.array()?))).collect::<Result<_, _>>()?;
        let witness = PeerId(self.array()?);
        let signature = self.array()?;
        Ok(Statement { swarm, segment, layout, pieces, digests, witness, signature })
    }
    pub(super) fn appears(&mut self) -> Result<Option<PeerAddr>, WireError> {
        // Hellos were shorter once.
        if self.at == self.bytes.len() || self.u8()? != 1 {
            return Ok(None);
        }
        self.addr().map(Some)
    }
    pub(super) fn addr(&mut self) -> Result<PeerAddr, WireError> {
        let read = PeerAddr::get(&self.bytes[self.at..]).ok_or_else(|| self.bad("half an address"))?;
        self.at += read.1;
        Ok(read.0)
    }
    pub(super) fn record(&mut self) -> Result<SignedRecord, WireError> {
        let (record, len) =
            SignedRecord::decode(&self.bytes[self.at..]).map_err(|error| self.bad(error.0))?;
        self.at += len;
        Ok(record)
    }
    pub(super) fn peers(&mut self) -> Result<Message, WireError> {
        let hungry = self.u8()? & 1 != 0;
        let count = self.count(PEERS_MAX)?;
        let added = (0..count).map(|_| self.record()).collect::<Result<_, _>>()?;
        let count = self.count(PEERS_MAX)?;
        let dropped = (0..count).map(|_| Ok(PeerId(self.array()?))).collect::<Result<_, _>>()?;
        Ok(Message::Peers { hungry, added, dropped })
    }
}
