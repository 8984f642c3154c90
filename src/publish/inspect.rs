//! `pcdn inspect`: how a resource is cut, for people and for scripts.

use std::path::Path;

use pcdn_core::fragment::{Cut, Fragmenter, Need, Segment};
use pcdn_core::id::{Digest, Rid, RuleId, SwarmKey};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHead, Url};
use pcdn_core::verify::{PieceList, list};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::PublishError;

/// The report, in the shape of `inspect --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The resource.
    pub url: String,
    /// The name of the fragmenter that cut it.
    pub kind: String,
    /// Whether it has no end yet.
    pub live: bool,
    /// Its name, where its URL is known.
    pub rid: Option<Rid>,
    /// How it is cut.
    pub rule: RuleId,
    /// Where its peers meet, where its name is known.
    pub swarm: Option<SwarmKey>,
    /// Length of all segments.
    pub bytes: u64,
    /// Its renditions; empty for what has but one.
    pub renditions: Vec<Rendition>,
    /// Its segments, in order.
    pub segments: Vec<SegmentReport>,
}

/// One rendition of a resource that has several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub url: String,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    /// As in the playlist.
    pub codecs: Option<String>,
    /// `WIDTHxHEIGHT`.
    pub resolution: Option<String>,
    /// Where its peers meet.
    pub swarm: Option<SwarmKey>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// Its number.
    pub id: u64,
    /// Where its bytes are.
    pub url: String,
    /// Which of them, end exclusive; `null` is all.
    pub range: Option<ByteRange>,
    /// Its length.
    pub bytes: u64,
    /// Start in media time.
    pub start_s: Option<f64>,
    /// Duration in media time.
    pub duration_s: Option<f64>,
    /// Number of its pieces.
    pub pieces: u32,
    /// Length of each, but perhaps the last.
    pub piece_bytes: u64,
    /// Headers every player needs.
    pub init: bool,
    /// Starts with a keyframe.
    pub key: bool,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
    /// Its ordinary BLAKE3 hash, if hashing was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake3: Option<Digest>,
}

/// Inspects a resource whose head is known. With a `body`, the resource's bytes from its first one, every segment is hashed;
/// without, nothing is read. `named` says whether `resource.rid` is its name or a stand-in.
///
/// Only for kinds that follow from the head alone, as plain files do.
///
/// # Errors
/// If it cannot be cut, or the body is not as long as the head says.
pub async fn inspect<F, R>(
    fragmenter: &F,
    resource: &Resource,
    named: bool,
    body: Option<&mut R>,
) -> Result<Inspection, PublishError>
where
    F: Fragmenter + ?Sized,
    R: AsyncRead + Unpin + ?Sized,
{
    let segments = cut_all(fragmenter, resource)?;
    let bytes = segments.iter().map(|segment| segment.layout.len()).sum();
    let mut hashes = match body {
        Some(body) => hash_all(&segments, bytes, body).await?,
        None => Vec::new(),
    }
    .into_iter();
    let rule = fragmenter.rule();
    let rid = named.then_some(resource.rid);
    Ok(Inspection {
        url: resource.url.to_string(),
        kind: fragmenter.name().to_owned(),
        live: false,
        rid,
        rule,
        swarm: rid.map(|rid| SwarmKey::of(&rid, &rule)),
        bytes,
        renditions: Vec::new(),
        segments: segments.iter().map(|segment| report(segment, hashes.next())).collect(),
    })
}

/// Inspects a file on this machine, as if it lay at `url`. Without a name the report has neither RID nor swarm.
///
/// # Errors
/// As [`inspect`], and if the file cannot be read.
pub async fn inspect_file(
    path: &Path,
    fragmenter: &(impl Fragmenter + ?Sized),
    url: Url,
    rid: Option<Rid>,
    hash: bool,
) -> Result<Inspection, PublishError> {
    let failed = |source| PublishError::Io { doing: "reading", path: path.to_owned(), source };
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    let len = file.metadata().await.map_err(failed)?.len();
    let head = ResourceHead { len: Some(len), ranges: true, ..Default::default() };
    let resource = Resource { url, rid: rid.unwrap_or(Rid([0; 32])), head: Some(head) };
    inspect(fragmenter, &resource, rid.is_some(), hash.then_some(&mut file)).await
}

fn cut_all<F: Fragmenter + ?Sized>(
    fragmenter: &F,
    resource: &Resource,
) -> Result<Vec<Segment>, PublishError> {
    let mut slicing = fragmenter.open(resource)?;
    let mut segments = Vec::new();
    while let Some(cut) = slicing.cut() {
        match cut {
            Cut::Segment(segment) => segments.push(segment),
            Cut::Listed(_) | Cut::Sliced(_) | Cut::Rendition(_) | Cut::Retired(_) => {}
            Cut::End => return Ok(segments),
        }
    }
    match slicing.need() {
        Need::Nothing => Ok(segments),
        _ => Err(PublishError::NeedsMore(fragmenter.name())),
    }
}

/// Hashes segments that follow one another, a piece in memory at a time.
async fn hash_all<R: AsyncRead + Unpin + ?Sized>(
    segments: &[Segment],
    said: u64,
    body: &mut R,
) -> Result<Vec<Digest>, PublishError> {
    let changed_or = |at: u64| {
        move |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => PublishError::Changed { said, at },
            _ => PublishError::Body { at, source },
        }
    };
    let mut buffer = Vec::new();
    let mut hashes = Vec::with_capacity(segments.len());
    for segment in segments {
        let layout = segment.layout;
        let mut values = Vec::with_capacity(layout.pieces() as usize);
        for piece in layout.iter() {
            buffer.resize(layout.piece_len(piece) as usize, 0);
            let at = segment.offset + layout.bytes_of(piece).start;
            body.read_exact(&mut buffer).await.map_err(changed_or(at))?;
            values.push(list::digest(&layout, piece, &buffer));
        }
        hashes.push(PieceList::of_digests(layout, values).expect("one value for each piece").root());
    }
    match body.read(&mut [0]).await.map_err(changed_or(said))? {
        0 => Ok(hashes),
        _ => Err(PublishError::Changed { said, at: said }),
    }
}

fn report(segment: &Segment, blake3: Option<Digest>) -> SegmentReport {
    SegmentReport {
        id: segment.id.0,
        url: segment.url.to_string(),
        range: segment.range,
        bytes: segment.layout.len(),
        start_s: segment.start.map(|span| span.as_secs_f64()),
        duration_s: segment.duration.map(|span| span.as_secs_f64()),
        pieces: segment.layout.pieces(),
        piece_bytes: segment.layout.piece_bytes(),
        init: segment.init,
        key: segment.key,
        discontinuity: segment.discontinuity,
        blake3,
    }
}
