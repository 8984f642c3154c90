//! Boxes of ISO base media files (ISO/IEC 14496-12): enough to find a segment index in an MP4 file.
//!
//! Nothing here trusts a length: a box is what of it is there, and an index counts only the entries its bytes hold.
//!
//! ```
//! use pcdn_media::isobmff::boxes;
//! let file = b"\0\0\0\x10ftypiso6\0\0\0\0\0\0\0\x08free";
//! let names: Vec<_> = boxes(file).map(|found| found.name).collect();
//! assert_eq!(names, [*b"ftyp", *b"free"]);
//! ```

/// The boxes at the top of `bytes`, in order. Ends at the first that is no box; the last may be cut off.
pub fn boxes(bytes: &[u8]) -> Boxes<'_> {
    Boxes { bytes, at: 0 }
}

/// Whether a movie header box stands at the top of `bytes`: they can initialise a decoder.
pub fn has_moov(bytes: &[u8]) -> bool {
    boxes(bytes).any(|found| found.name == *b"moov")
}

/// A box found at the top of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'b> {
    /// Its four-letter name.
    pub name: [u8; 4],
    /// Where it begins.
    pub start: u64,
    /// Where it says it ends; may lie beyond the bytes at hand.
    pub end: u64,
    /// What of its content is at hand, without the header.
    pub payload: &'b [u8],
}

impl Found<'_> {
    /// Whether the whole box is at hand, `len` being how many bytes were walked.
    pub fn is_whole(&self, len: usize) -> bool {
        self.end <= len as u64
    }
}

/// Iterator of [`boxes`]. Each step advances by 8 bytes at least.
#[derive(Clone, Debug)]
pub struct Boxes<'b> {
    bytes: &'b [u8],
    at: u64,
}

impl<'b> Iterator for Boxes<'b> {
    type Item = Found<'b>;

    fn next(&mut self) -> Option<Found<'b>> {
        let start = self.at;
        let rest = self.bytes.get(usize::try_from(start).ok()?..)?;
        let name = *rest.get(4..)?.first_chunk()?;
        let (header, size) = match u32::from_be_bytes(*rest.first_chunk()?) {
            // To the end of the file; what of it is here is all that is known.
            0 => (8, rest.len() as u64),
            1 => (16, u64::from_be_bytes(*rest.get(8..)?.first_chunk()?)),
            size => (8, u64::from(size)),
        };
        if size < header {
            self.at = u64::MAX;
            return None;
        }
        let end = start.saturating_add(size);
        self.at = end;
        let here = rest.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        Some(Found { name, start, end, payload: &rest[header as usize..here.max(header as usize)] })
    }
}

/// A segment index box (`sidx`, ISO/IEC 14496-12 section 8.16.3), versions 0 and 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidx {
    /// Ticks per second, never 0.
    pub timescale: u32,
    /// Media time of the first subsegment, in ticks.
    pub earliest: u64,
    /// From the end of this box to the first subsegment, in bytes.
    pub first_offset: u64,
    /// What follows from there, without gaps.
    pub references: Vec<Reference>,
}

/// One entry of a segment index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// It leads to another index, not to media.
    pub index: bool,
    /// Length in bytes.
    pub bytes: u32,
    /// Duration in ticks.
    pub duration: u32,
}

impl Sidx {
    /// Bytes of one entry.
    const ENTRY: usize = 12;

    /// Reads the payload of a `sidx` box. `None` if it is cut off, of an unknown version, or has no time scale.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (version, rest) = (*payload.first()?, payload.get(8..)?);
        let timescale = u32::from_be_bytes(*rest.first_chunk()?);
        let rest = &rest[4..];
        let (earliest, first_offset, rest) = match version {
            0 => (u64::from(be32(rest, 0)?), u64::from(be32(rest, 4)?), rest.get(8..)?),
            1 => (be64(rest, 0)?, be64(rest, 8)?, rest.get(16..)?),
            _ => return None,
        };
        let count = usize::from(u16::from_be_bytes(*rest.get(2..)?.first_chunk()?));
        let entries = rest.get(4..)?.get(..count * Self::ENTRY)?;
        let references = entries.chunks_exact(Self::ENTRY).map(|entry| {
            let size = be32(entry, 0)?;
            Some(Reference {
                index: size >> 31 == 1,
                bytes: size & (u32::MAX >> 1),
                duration: be32(entry, 4)?,
            })
        });
        let references = references.collect::<Option<_>>()?;
        (timescale > 0).then_some(Self { timescale, earliest, first_offset, references })
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Boxes for tests: an index of `references` (is an index, bytes, ticks) at 1,000 ticks per second.
#[cfg(test)]
pub(crate) mod make {
    pub(crate) fn boxed(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32 + 8).to_be_bytes(), &name[..], payload].concat()
    }

    pub(crate) fn sidx(earliest: u64, first_offset: u64, references: &[(bool, u32, u32)]) -> Vec<u8> {
        let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 1];
        payload.extend(1000u32.to_be_bytes());
        payload.extend(earliest.to_be_bytes());
        payload.extend(first_offset.to_be_bytes());
        payload.extend((references.len() as u32).to_be_bytes());
        for (index, bytes, ticks) in references {
            payload.extend((u32::from(*index) << 31 | bytes).to_be_bytes());
            payload.extend(ticks.to_be_bytes());
            payload.extend([0x90, 0, 0, 0]);
        }
        boxed(b"sidx", &payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boxes_are_walked_and_the_last_may_be_cut_off() {
        let file = [make::boxed(b"ftyp", b"isom"), make::boxed(b"moov", &[0; 100])].concat();
        let found: Vec<_> = boxes(&file).map(|b| (b.name, b.start, b.end, b.payload.len())).collect();
        assert_eq!(found, [(*b"ftyp", 0, 12, 4), (*b"moov", 12, 120, 100)]);
        let cut = boxes(&file[..50]).last().unwrap();
        assert_eq!((cut.end, cut.payload.len(), cut.is_whole(50)), (120, 30, false));
        assert!(has_moov(&file) && !has_moov(&file[..12]));
    }

    #[test]
    fn sizes_of_0_and_1_have_their_meaning_and_sizes_of_7_end_the_walk() {
        let to_end = [&0u32.to_be_bytes()[..], b"mdat", &[7; 20]].concat();
        assert_eq!(boxes(&to_end).map(|b| (b.start, b.end)).collect::<Vec<_>>(), [(0, 28)]);
        let large = [&1u32.to_be_bytes()[..], b"mdat", &20u64.to_be_bytes(), b"abcd", &to_end].concat();
        let found: Vec<_> = boxes(&large).map(|b| (b.end, b.payload.len())).collect();
        assert_eq!(found, [(20, 4), (48, 20)]);
        assert_eq!(boxes(b"\0\0\0\x07free").count(), 0);
        assert_eq!(boxes(&[&1u32.to_be_bytes()[..], b"mdat", &[0xff; 8]].concat()).count(), 1);
    }

    #[test]
    fn an_index_is_read_in_both_versions() {
        let one = make::sidx(5000, 16, &[(false, 700, 2000), (true, 90, 4000)]);
        let read = Sidx::read(boxes(&one).next().unwrap().payload).unwrap();
        assert_eq!((read.timescale, read.earliest, read.first_offset), (1000, 5000, 16));
        assert_eq!(read.references[1], Reference { index: true, bytes: 90, duration: 4000 });
        let zero = [&[0u8; 8][..], &[0, 0, 0, 9], &[0, 0, 0, 3], &[0, 0, 0, 2], &[0, 0, 0, 0]].concat();
        let read = Sidx::read(&zero).unwrap();
        assert_eq!((read.timescale, read.earliest, read.first_offset, read.references.len()), (9, 3, 2, 0));
    }

    #[test]
    fn an_index_that_promises_more_than_it_holds_is_refused() {
        let mut file = make::sidx(0, 0, &[(false, 1, 1)]);
        let at = file.len() - 13;
        file[at] = 200;
        assert_eq!(Sidx::read(boxes(&file).next().unwrap().payload), None);
        assert_eq!(Sidx::read(&[2; 64]), None, "an unknown version");
        assert_eq!(Sidx::read(&[0; 64]), None, "no time scale");
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut at = 0;
            for found in boxes(&bytes) {
                prop_assert!(found.start == at && found.end >= at + 8);
                at = found.end;
                Sidx::read(found.payload);
            }
            Sidx::read(&bytes);
        }
    }
}
