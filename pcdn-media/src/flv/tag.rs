//! FLV tags: out of a stream in any chunking, and back.
//!
//! An FLV stream is a header of 9 bytes and then, alternating, the length of the tag before and a tag: 11 bytes of type,
//! length, time and stream number, and a body. [`Reader`] goes by lengths alone: `PreviousTagSize` and stream number are
//! often wrong in the field, carry nothing, and are written anew by [`write()`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pcdn_core::fragment::FragmentError;

/// Header of a stream without the tag length that follows it.
const SIGNATURE_LEN: usize = 9;
/// Header of a tag.
pub const HEADER_LEN: usize = 11;
/// `PreviousTagSize`, which stands before each tag and after the last.
pub const TRAILER_LEN: usize = 4;
/// What a stream puts around a tag's body.
pub const OVERHEAD: usize = HEADER_LEN + TRAILER_LEN;
/// Longest body: the length has 24 bits.
pub const BODY_MAX: usize = (1 << 24) - 1;
/// Largest `DataOffset`: every known writer says 9; beyond this it is no FLV.
const DATA_OFFSET_MAX: u32 = 64 << 10;
/// Tags of unknown type in a row before the stream is held for noise. Real streams have none.
const UNKNOWN_MAX: u32 = 16;
/// Room made at once for a tag whose body has not come yet: the length it claims is not believed beyond this.
const ROOM: usize = 256 << 10;

/// What a tag carries. Script tags are skipped by the [`Reader`]: servers rewrite them for each viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Tag type 9.
    Video,
    /// Tag type 8.
    Audio,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Audio => 8,
            Kind::Video => 9,
        }
    }
}

/// One audio or video tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: Kind,
    /// Its time in milliseconds, as sent: 32 bits that wrap after 49.7 days.
    pub timestamp: u32,
    /// Its body: codec byte and payload. A part of the chunk it came in, where it came in one.
    pub body: Bytes,
}

/// Reads tags as their bytes arrive. Holds at most one tag (16 MiB), and only as much of it as has come.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The start of a unit (stream header, or length and tag) whose end is in a later chunk.
    partial: BytesMut,
    unknown: u32,
    /// Bytes consumed, for errors.
    at: u64,
    /// The header says that there are pictures.
    pictures: bool,
}

#[derive(Debug)]
enum State {
    Signature,
    Skip(u64),
    Tag,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Signature, partial: BytesMut::new(), unknown: 0, at: 0, pictures: true }
    }
}

impl Reader {
    /// The next tag, taken from the front of `chunk`. `None` once `chunk` is used up: call again with the next one.
    ///
    /// # Errors
    /// If the stream is no FLV; it is of no use any more then.
    pub fn read(&mut self, chunk: &mut Bytes) -> Result<Option<Tag>, FragmentError> {
        loop {
            match self.state {
                State::Signature => {
                    let Some(header) = self.gather(SIGNATURE_LEN, chunk) else { return Ok(None) };
                    self.state = State::Skip(self.after_signature(&header)?);
                }
                State::Skip(left) => {
                    let now = left.min(chunk.len() as u64);
                    chunk.advance(now as usize);
                    self.at += now;
                    if now < left {
                        self.state = State::Skip(left - now);
                        return Ok(None);
                    }
                    self.state = State::Tag;
                }
                State::Tag => {
                    let Some(header) = self.peek(chunk) else { return Ok(None) };
                    let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
                    let Some(kind) = Kind::from_byte(header[0]) else {
                        self.skip(header[0], len, chunk)?;
                        continue;
                    };
                    let Some(mut unit) = self.gather(OVERHEAD + len, chunk) else { return Ok(None) };
                    unit.advance(OVERHEAD);
                    self.unknown = 0;
                    return Ok(Some(Tag { kind, timestamp: timestamp(&header), body: unit }));
                }
            }
        }
    }

    /// Whether the stream's header announces pictures; true before it came. Many servers announce some that never come, few forget to.
    pub fn announces_pictures(&self) -> bool {
        self.pictures
    }

    /// How many bytes follow the signature before the first length of a tag.
    fn after_signature(&mut self, header: &[u8]) -> Result<u64, FragmentError> {
        if !header.starts_with(b"FLV\x01") {
            return Err(self.malformed("the stream does not begin with an FLV header of version 1"));
        }
        self.pictures = header[4] & 1 != 0;
        let offset = (&header[5..]).get_u32();
        if !(SIGNATURE_LEN as u32..=DATA_OFFSET_MAX).contains(&offset) {
            return Err(self.malformed("the header's length is absurd"));
        }
        Ok(u64::from(offset) - SIGNATURE_LEN as u64)
    }

    fn skip(&mut self, kind: u8, len: usize, chunk: &mut Bytes) -> Result<(), FragmentError> {
        const SCRIPT: u8 = 18;
        self.unknown = if kind == SCRIPT { 0 } else { self.unknown + 1 };
        if self.unknown > UNKNOWN_MAX {
            return Err(self.malformed("too many tags of unknown type"));
        }
        self.gather(OVERHEAD, chunk).expect("its header was just seen");
        self.state = State::Skip(len as u64);
        Ok(())
    }

    /// The header of the tag that comes next, left where it is.
    fn peek(&mut self, chunk: &mut Bytes) -> Option<[u8; HEADER_LEN]> {
        if !self.partial.is_empty() || chunk.len() < OVERHEAD {
            self.fill(OVERHEAD, chunk);
        }
        let front: &[u8] = if self.partial.is_empty() { chunk } else { &self.partial };
        front.get(TRAILER_LEN..OVERHEAD)?.try_into().ok()
    }

    /// The next `len` bytes in one piece: a part of `chunk` if they lie in it, else a copy.
    fn gather(&mut self, len: usize, chunk: &mut Bytes) -> Option<Bytes> {
        let unit = if self.partial.is_empty() && chunk.len() >= len {
            chunk.split_to(len)
        } else {
            self.fill(len, chunk);
            if self.partial.len() < len {
                return None;
            }
            self.partial.split_to(len).freeze()
        };
        self.at += len as u64;
        Some(unit)
    }

    fn fill(&mut self, len: usize, chunk: &mut Bytes) {
        let missing = len.saturating_sub(self.partial.len()).min(chunk.len());
        if missing > 0 {
            self.partial.reserve((len - self.partial.len()).min(ROOM).max(missing));
            self.partial.extend_from_slice(&chunk.split_to(missing));
        }
    }

    fn malformed(&self, what: &str) -> FragmentError {
        FragmentError::Malformed { kind: super::NAME, what: what.to_owned(), at: self.at }
    }
}

/// The header of a stream, with the zero length of the tag before the first.
pub fn stream_header(audio: bool, video: bool) -> [u8; SIGNATURE_LEN + TRAILER_LEN] {
    let flags = u8::from(audio) << 2 | u8::from(video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, SIGNATURE_LEN as u8, 0, 0, 0, 0]
}

/// Appends a whole tag and its length: stream number 0, `body` at most [`BODY_MAX`] bytes.
pub fn write(into: &mut impl BufMut, kind: Kind, timestamp: u32, body: &[u8]) {
    debug_assert!(body.len() <= BODY_MAX);
    let mut header = [0; HEADER_LEN];
    header[0] = kind.byte();
    header[1..4].copy_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    set_timestamp(&mut header, timestamp);
    into.put_slice(&header);
    into.put_slice(body);
    into.put_u32((HEADER_LEN + body.len()) as u32);
}

/// The 24 + 8 bits of a tag header.
fn timestamp(header: &[u8; HEADER_LEN]) -> u32 {
    u32::from_be_bytes([header[7], header[4], header[5], header[6]])
}

fn set_timestamp(header: &mut [u8; HEADER_LEN], timestamp: u32) {
    let [high, low @ ..] = timestamp.to_be_bytes();
    header[4..7].copy_from_slice(&low);
    header[7] = high;
}

/// A tag inside a run of whole tags with their lengths (a slice, a setup), as [`write`] made it.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) kind: Kind,
    pub(super) timestamp: u32,
    pub(super) body: &'a [u8],
}

/// The tags of such a run; it ends where the bytes are no audio or video tag.
pub(super) fn tags(mut run: &[u8]) -> impl Iterator<Item = Placed<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER_LEN] = run.first_chunk()?;
        let kind = Kind::from_byte(header[0])?;
        let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let body = run.get(HEADER_LEN..HEADER_LEN + len)?;
        let placed = Placed { kind, timestamp: timestamp(header), body };
        run = run.get(OVERHEAD + len..)?;
        Some(placed)
    })
}
