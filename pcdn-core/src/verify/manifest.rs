//! The publisher's manifest: what every segment of a resource hashes to, signed.
//!
//! Binary form, big endian, `PSM1`:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `PSM1` |
//! | 1 | algorithm: 1 = BLAKE3 + Ed25519 |
//! | 1 | log2 of the piece length; with flag 1 the smallest, and each segment is laid out as [a stream's](Layout::of_stream) |
//! | 2 | flags: 1 = segments are named one by one (streams), else they count up from the first (files) |
//! | 8 | rule id of the cut |
//! | 32 | RID, or zeros if the manifest is bound to its content by lying beside it only |
//! | 8 | sequence number, strictly rising for a live stream |
//! | 8 | first segment's number |
//! | 4 | number of segments n |
//! | 8 | issued, milliseconds since 1970 |
//! | 4 | lifetime in seconds, 0 = for ever |
//! | 32 | signer's public key |
//! | n × 40 | length (8) and BLAKE3 root (32) of each segment; with flag 1 its number (8) stands before them |
//! | 64 | signature over `pcdn-psm-1\0` and all before |
//! | … | optionally the piece lists of all segments, in order, 32 bytes a piece |
//!
//! The lists are outside the signature because they check themselves against the roots.

use std::collections::BTreeMap;

use crate::id::{Digest, Identity, PeerId, Rid, RuleId};
use crate::layout::{Layout, SegmentId};
use crate::verify::PieceList;

const MAGIC: &[u8; 4] = b"PSM1";
const DOMAIN: &[u8] = b"pcdn-psm-1\0";
const HEAD_BYTES: usize = 4 + 1 + 1 + 2 + 8 + 32 + 8 + 8 + 4 + 8 + 4 + 32;
const ENTRY_BYTES: usize = 40;
const NAME_BYTES: usize = 8;
const FLAG_NAMED: u8 = 1;
/// Largest manifest read, 64 MiB: the piece lists of a 128 GiB file in 64 KiB pieces.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// What every segment hashes to, as its publisher says. The signature was checked when it was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// How the content was cut.
    pub rule: RuleId,
    /// Of which content; `None` if it is bound to it only by lying beside it on the origin.
    pub rid: Option<Rid>,
    /// Rises with every manifest of a live stream.
    pub seq: u64,
    /// Number of the first segment.
    pub first: SegmentId,
    /// When it was made, in milliseconds since 1970.
    pub issued_ms: u64,
    /// How long it holds, in seconds; 0 is for ever.
    pub ttl_s: u32,
    /// Who signed it.
    pub signer: PeerId,
    piece_log2: u8,
    segments: Vec<(Layout, Digest)>,
    lists: Vec<PieceList>,
    /// Where each segment stands, if they are named one by one.
    names: Option<BTreeMap<SegmentId, usize>>,
}

/// What a publisher says, before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// How the content was cut.
    pub rule: RuleId,
    /// Of which content, if its URL is known.
    pub rid: Option<Rid>,
    /// Rises with every manifest of a live stream.
    pub seq: u64,
    /// Number of the first segment.
    pub first: SegmentId,
    /// Now, in milliseconds since 1970.
    pub issued_ms: u64,
    /// How long it holds, in seconds; 0 is for ever.
    pub ttl_s: u32,
    /// log2 of the piece length.
    pub piece_log2: u8,
    /// The piece list of each segment, in order.
    pub lists: Vec<PieceList>,
    /// The number of each segment, where they do not count up from [`first`](Self::first): one for each list, or none at all.
    pub names: Vec<SegmentId>,
}

impl Draft {
    /// The signed binary form, with the piece lists.
    pub fn sign(&self, key: &Identity) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.lists.len() * (ENTRY_BYTES + 64 * 32));
        out.extend_from_slice(MAGIC);
        let named = self.names.len() == self.lists.len() && !self.names.is_empty();
        out.extend_from_slice(&[1, self.piece_log2, 0, if named { FLAG_NAMED } else { 0 }]);
        out.extend_from_slice(&self.rule.0);
        out.extend_from_slice(&self.rid.unwrap_or(Rid([0; 32])).0);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.first.0.to_be_bytes());
        out.extend_from_slice(&(self.lists.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.issued_ms.to_be_bytes());
        out.extend_from_slice(&self.ttl_s.to_be_bytes());
        out.extend_from_slice(&key.peer_id().0);
        for (i, list) in self.lists.iter().enumerate() {
            if named {
                out.extend_from_slice(&self.names[i].0.to_be_bytes());
            }
            out.extend_from_slice(&list.layout().len().to_be_bytes());
            out.extend_from_slice(&list.root().0);
        }
        let signature = key.sign(&[DOMAIN, &out].concat());
        out.extend_from_slice(&signature);
        for list in &self.lists {
            list.values().iter().for_each(|value| out.extend_from_slice(&value.0));
        }
        out
    }
}

impl Manifest {
    /// Reads and checks the binary form: structure, signature, and that every piece list merges to its root.
    ///
    /// # Errors
    /// Says what is wrong and at which byte. Nothing is allocated by a length the input claims.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let bad = |at: usize, what: &'static str| ManifestError { at, what };
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(bad(MANIFEST_BYTES_MAX, "longer than 64 MiB"));
        }
        let mut at = Reader { bytes, at: 0 };
        if at.take::<4>()? != *MAGIC {
            return Err(bad(0, "not a manifest: it must start with PSM1"));
        }
        let [algorithm, piece_log2, flag_a, flag_b] = at.take::<4>()?;
        if algorithm != 1 || flag_a != 0 || flag_b & !FLAG_NAMED != 0 {
            return Err(bad(4, "made for a newer pcdn (unknown algorithm or flags)"));
        }
        let rule = RuleId(at.take()?);
        let rid = Some(Rid(at.take()?)).filter(|rid| rid.0 != [0; 32]);
        let seq = u64::from_be_bytes(at.take()?);
        let first = SegmentId(u64::from_be_bytes(at.take()?));
        let count = u32::from_be_bytes(at.take()?) as usize;
        let issued_ms = u64::from_be_bytes(at.take()?);
        let ttl_s = u32::from_be_bytes(at.take()?);
        let signer = PeerId(at.take()?);
        let named = flag_b & FLAG_NAMED != 0;
        let entry_bytes = ENTRY_BYTES + if named { NAME_BYTES } else { 0 };
        if count > (bytes.len() - at.at) / entry_bytes {
            return Err(bad(at.at, "cut short: fewer segments than it claims"));
        }
        let mut segments = Vec::with_capacity(count);
        let mut names = BTreeMap::new();
        for i in 0..count {
            if named && names.insert(SegmentId(u64::from_be_bytes(at.take()?)), i).is_some() {
                return Err(bad(at.at, "a segment named twice"));
            }
            let len = u64::from_be_bytes(at.take()?);
            let layout = if named { Layout::of_stream(len) } else { Layout::new(len, piece_log2) };
            let layout = layout.map_err(|_| bad(at.at, "a segment length that cannot be cut"))?;
            segments.push((layout, Digest(at.take()?)));
        }
        let signed = at.at;
        let signature: [u8; 64] = at.take()?;
        if !signer.verify(&[DOMAIN, &bytes[..signed]].concat(), &signature) {
            return Err(bad(signed, "the signature does not fit"));
        }
        let mut lists = Vec::new();
        if at.at < bytes.len() {
            for (layout, root) in &segments {
                let start = at.at;
                let mut values = Vec::new();
                for _ in 0..layout.pieces() {
                    values.push(Digest(at.take()?));
                }
                lists.push(
                    PieceList::checked(*layout, values, root)
                        .ok_or(bad(start, "a piece list that does not fit"))?,
                );
            }
            if at.at != bytes.len() {
                return Err(bad(at.at, "bytes after the end"));
            }
        }
        let names = named.then_some(names);
        Ok(Self { rule, rid, seq, first, issued_ms, ttl_s, signer, piece_log2, segments, lists, names })
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether it names no segment.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// log2 of the piece length.
    pub fn piece_log2(&self) -> u8 {
        self.piece_log2
    }

    /// Length of all segments together.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|(layout, _)| layout.len()).sum()
    }

    /// What `segment` must be: its layout and root.
    pub fn segment(&self, segment: SegmentId) -> Option<(Layout, Digest)> {
        self.segments.get(self.position(segment)?).copied()
    }

    /// The piece list of `segment`, if the manifest came with lists.
    pub fn list(&self, segment: SegmentId) -> Option<&PieceList> {
        self.lists.get(self.position(segment)?)
    }

    /// The number of each segment, in order.
    pub fn ids(&self) -> Vec<SegmentId> {
        match &self.names {
            Some(names) => {
                let mut ids = vec![SegmentId(0); names.len()];
                names.iter().for_each(|(id, at)| ids[*at] = *id);
                ids
            }
            None => {
                (0..self.segments.len() as u64).map(|i| SegmentId(self.first.0.saturating_add(i))).collect()
            }
        }
    }

    fn position(&self, segment: SegmentId) -> Option<usize> {
        if let Some(names) = &self.names {
            return names.get(&segment).copied();
        }
        usize::try_from(segment.0.checked_sub(self.first.0)?).ok()
    }
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest: {what} (byte {at})")]
pub struct ManifestError {
    /// Byte offset.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ManifestError> {
        let end = self.at + N;
        let field = self.bytes.get(self.at..end).and_then(|slice| slice.try_into().ok());
        let field = field.ok_or(ManifestError { at: self.at, what: "cut short" })?;
        self.at = end;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> (Vec<u8>, Identity) {
        let key = Identity::from_secret([9; 32]);
        let lists = [100_000u64, 40_000]
            .map(|len| PieceList::of(&Layout::new(len, 14).unwrap(), &vec![3; len as usize]))
            .to_vec();
        let draft = Draft {
            rule: RuleId([1; 8]),
            rid: None,
            seq: 4,
            first: SegmentId(10),
            issued_ms: 5,
            ttl_s: 0,
            piece_log2: 14,
            lists,
            names: Vec::new(),
        };
        (draft.sign(&key), key)
    }

    #[test]
    fn segments_may_have_names_of_their_own() {
        let key = Identity::from_secret([9; 32]);
        let list = |byte: u8| PieceList::of(&Layout::of_stream(20_000).unwrap(), &[byte; 20_000]);
        let names = vec![SegmentId(77), SegmentId(5)];
        let draft = Draft {
            rule: RuleId([1; 8]),
            rid: None,
            seq: 1,
            first: SegmentId(0),
            issued_ms: 0,
            ttl_s: 0,
            piece_log2: 14,
            lists: vec![list(1), list(2)],
            names: names.clone(),
        };
        let manifest = Manifest::parse(&draft.sign(&key)).unwrap();
        assert_eq!(manifest.ids(), names);
        assert_eq!(manifest.list(SegmentId(5)), Some(&list(2)));
        assert_eq!(manifest.list(SegmentId(0)), None);
        let twice = Draft { names: vec![SegmentId(7); 2], ..draft };
        assert_eq!(Manifest::parse(&twice.sign(&key)).unwrap_err().what, "a segment named twice");
    }

    #[test]
    fn a_signed_manifest_reads_back() {
        let (bytes, key) = sample();
        let manifest = Manifest::parse(&bytes).unwrap();
        assert_eq!(manifest.signer, key.peer_id());
        assert_eq!(manifest.len(), 2);
        assert_eq!(manifest.bytes(), 140_000);
        assert_eq!(manifest.segment(SegmentId(11)).unwrap().0.len(), 40_000);
        assert_eq!(manifest.list(SegmentId(10)).unwrap().values().len(), 7);
        assert!(manifest.segment(SegmentId(9)).is_none());
        assert!(manifest.segment(SegmentId(12)).is_none());
    }

    #[test]
    fn every_single_changed_byte_is_noticed() {
        let (bytes, _) = sample();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(Manifest::parse(&changed).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_in_peace(mut junk in proptest::collection::vec(any::<u8>(), 0..400), magic: bool) {
            if magic && junk.len() >= 6 {
                junk[..6].copy_from_slice(b"PSM1\x01\x10");
            }
            prop_assert!(Manifest::parse(&junk).is_err());
        }
    }
}
