//! The manifest of a playlist: what every segment it lists hashes to, by the names that viewers give them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use pcdn_core::fragment::Listing;
use pcdn_core::id::{Digest, Identity, Rid, RuleId};
use pcdn_core::layout::{PIECE_LOG2_MIN, SegmentId};
use pcdn_core::range::ByteRange;
use pcdn_core::verify::manifest::{Draft, MANIFEST_BYTES_MAX};
use pcdn_core::verify::{Manifest, PieceList};

use super::PublishError;
use super::hashes::Hashes;
use super::local::Document;

/// Segments that left a live playlist stay in its manifest so long, for viewers who are behind. No longer: every viewer fetches
/// all of it with every segment, a KiB for each that is 0.5 MB, and with two minutes of them that was 8 % of the media (measured).
const LEFT_KEPT_MS: u64 = 20_000;
/// The manifest of a live stream is fetched anew with every segment, so its oldest segments are left out beyond this.
const LIVE_BYTES_MAX: usize = 8 << 20;
/// Bytes of a manifest for each segment, and for each of its pieces.
const SEGMENT_BYTES: usize = 48;
const PIECE_BYTES: usize = 32;

/// A playlist that is signed, perhaps again and again.
#[derive(Debug)]
pub(super) struct Playlist {
    document: Document,
    rid: Option<Rid>,
    hashes: Hashes,
    left: Vec<Left>,
    /// What was signed last.
    last: Option<Said>,
    seq: u64,
}

/// A segment as it was signed last.
#[derive(Debug)]
struct Left {
    id: SegmentId,
    list: PieceList,
    /// When it was listed last.
    at_ms: u64,
}

/// Rule, and name and hash of each segment.
type Said = (RuleId, Vec<(SegmentId, Digest)>);

/// What came of signing it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The manifest; `None` if there is nothing to be signed, or nothing new.
    pub(super) manifest: Option<Vec<u8>>,
    /// Files that are its segments.
    pub(super) files: HashSet<PathBuf>,
    /// Segments in the manifest, and bytes of those.
    pub(super) segments: usize,
    pub(super) bytes: u64,
    /// Segments that are listed and not (or not whole) on this machine.
    pub(super) missing: usize,
    /// More will be listed.
    pub(super) live: bool,
}

impl Playlist {
    /// Goes on from its `manifest` of an earlier run, so that numbers rise over restarts.
    pub(super) fn new(document: Document, manifest: &Path, rid: Option<Rid>) -> Self {
        let before = std::fs::read(manifest).ok();
        let before = before.and_then(|bytes| Manifest::parse(&bytes).ok());
        let seq = before.map_or(0, |manifest| manifest.seq);
        Self { document, rid, hashes: Hashes::default(), left: Vec::new(), last: None, seq }
    }

    pub(super) fn path(&self) -> &Path {
        &self.document.path
    }

    /// Reads the playlist, hashes what is new, and signs if anything is. `now_ms` is the time of day.
    pub(super) fn sign(&mut self, now_ms: u64, key: &Identity) -> Result<Outcome, PublishError> {
        let listed = self.document.list(now_ms)?;
        let places = self.places(&listed.listings);
        let mut entries = Vec::with_capacity(places.len());
        for (id, place) in &places {
            let failed = |source| PublishError::Io { doing: "reading", path: place.path.clone(), source };
            let list = self.hashes.of(&place.path, place.range).map_err(failed)?;
            entries.extend(list.map(|list| (*id, list)));
        }
        let ids: HashSet<SegmentId> = listed.listings.iter().map(|listing| listing.id).collect();
        let missing = ids.len() - entries.len();
        self.hashes.sweep();
        let live = !listed.ended;
        // A file of which segments are parts may be asked for as a whole, too, and then needs a manifest of its own.
        let whole = places.into_iter().filter(|(_, place)| place.range.is_none());
        let files = whole.map(|(_, place)| place.path).collect();
        let entries = if live { self.with_left(entries, now_ms) } else { entries };
        let (segments, bytes) = (entries.len(), entries.iter().map(|(_, list)| list.layout().len()).sum());
        let manifest =
            self.draft(listed.rule, entries, now_ms).map(|draft| encode(&draft, key)).transpose()?;
        Ok(Outcome { manifest, files, segments, bytes, missing, live })
    }

    /// The draft, if it says anything new.
    fn draft(&mut self, rule: RuleId, entries: Vec<(SegmentId, PieceList)>, now_ms: u64) -> Option<Draft> {
        let said = (rule, entries.iter().map(|(id, list)| (*id, list.root())).collect());
        if entries.is_empty() || self.last.as_ref() == Some(&said) {
            return None;
        }
        self.last = Some(said);
        self.seq = now_ms.max(self.seq.saturating_add(1));
        let (names, lists) = entries.into_iter().unzip();
        Some(Draft {
            rule,
            rid: self.rid,
            seq: self.seq,
            first: SegmentId(0),
            issued_ms: now_ms,
            ttl_s: 0,
            piece_log2: PIECE_LOG2_MIN,
            lists,
            names,
        })
    }

    /// What left lately, then what is listed, as much of the newest as there is room for.
    fn with_left(&mut self, listed: Vec<(SegmentId, PieceList)>, now_ms: u64) -> Vec<(SegmentId, PieceList)> {
        let now: HashSet<SegmentId> = listed.iter().map(|(id, _)| *id).collect();
        self.left.retain(|left| now_ms.saturating_sub(left.at_ms) < LEFT_KEPT_MS && !now.contains(&left.id));
        let mut all: Vec<_> = self.left.iter().map(|left| (left.id, left.list.clone())).collect();
        all.extend(listed);
        let mut room = LIVE_BYTES_MAX;
        let fits = |(_, list): &&(SegmentId, PieceList)| {
            let bytes = SEGMENT_BYTES + list.values().len() * PIECE_BYTES;
            room.checked_sub(bytes).inspect(|rest| room = *rest).is_some()
        };
        let kept = all.iter().rev().take_while(fits).count();
        let all = all.split_off(all.len() - kept);
        let ages: HashMap<SegmentId, u64> = self.left.iter().map(|left| (left.id, left.at_ms)).collect();
        let aged = |(id, list): &(SegmentId, PieceList)| Left {
            id: *id,
            list: list.clone(),
            at_ms: ages.get(id).copied().unwrap_or(now_ms),
        };
        self.left = all.iter().map(aged).collect();
        all
    }

    /// The files of its segments, each segment once, in order of listing.
    fn places(&self, listings: &[Listing]) -> Vec<(SegmentId, Place)> {
        let mut claims: BTreeMap<(PathBuf, Option<ByteRange>), Vec<&Listing>> = BTreeMap::new();
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for listing in listings {
            let Some(path) = self.document.path_of(&listing.url) else { continue };
            claims.entry((path.clone(), listing.range)).or_default().push(listing);
            if seen.insert(listing.id) {
                order.push((listing, Place { path, range: listing.range }));
            }
        }
        let is_sure = |listing: &Listing, place: &Place| {
            let claims = &claims[&(place.path.clone(), place.range)];
            // One file cannot be what several different URLs mean: a query chooses, or another host has another file.
            claims.iter().all(|other| without_fragment(other) == without_fragment(listing))
                || (listing.url.query().is_none()
                    && !self.document.is_elsewhere(&listing.url)
                    && claims.iter().all(|other| other.url.query().is_none()))
        };
        order.retain(|(listing, place)| is_sure(listing, place));
        order.into_iter().map(|(listing, place)| (listing.id, place)).collect()
    }

    #[cfg(test)]
    pub(super) fn hashed(&self) -> u64 {
        self.hashes.hashed()
    }
}

/// Where a segment is on this machine.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    range: Option<ByteRange>,
}

fn without_fragment(listing: &Listing) -> &str {
    &listing.url[..url::Position::AfterQuery]
}

/// The signed form. If it would be longer than anybody reads, without the piece lists, which are the bulk of it and stand
/// outside of the signature: viewers then have them from one another, checked against the signed hashes.
fn encode(draft: &Draft, key: &Identity) -> Result<Vec<u8>, PublishError> {
    let mut bytes = draft.sign(key);
    if bytes.len() > MANIFEST_BYTES_MAX {
        let pieces: usize = draft.lists.iter().map(|list| list.values().len()).sum();
        bytes.truncate(bytes.len() - pieces * PIECE_BYTES);
    }
    match bytes.len() {
        len if len > MANIFEST_BYTES_MAX => {
            Err(PublishError::TooLong { bytes: len as u64, limit: MANIFEST_BYTES_MAX as u64 })
        }
        _ => Ok(bytes),
    }
}
