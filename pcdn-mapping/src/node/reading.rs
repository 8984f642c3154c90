//! Reading a content once: what its pieces hash to, signed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::discovery::BoxStream;
use pcdn_core::fragment::{FragmentError, Segment};
use pcdn_core::id::{Digest, Rid, RuleId};
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::resource::{Mapping, ResourceHead, Url};
use pcdn_core::unit::Rate;
use pcdn_core::verify::manifest::Draft;
use pcdn_core::verify::{PieceList, list};
use tokio::time::{Instant, sleep_until};

use super::ListError;
use super::entry::{Entry, Generation};
use super::{NodeConfig, Parts};

mod playlist;

/// A stop of the rate limit is not worth a timer below this.
const NAP_MIN: Duration = Duration::from_millis(5);

/// A content as it is now.
pub(super) struct Read {
    pub(super) generation: Generation,
    pub(super) manifest: Vec<u8>,
}

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The origin's fault, or a passing one.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It is of a kind that has none, and stays so.
    #[error("{0}")]
    Never(String),
}

impl From<FragmentError> for ReadError {
    fn from(error: FragmentError) -> Self {
        Self::Never(error.to_string())
    }
}

impl From<ListError> for ReadError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Origin(error) => Self::Origin(error),
            ListError::Never(why) => Self::Never(why),
        }
    }
}

/// Reads all of the content that `head` tells of, once.
pub(super) async fn read(
    parts: &Parts,
    config: &NodeConfig,
    entry: &Entry,
    url: &Url,
    head: &ResourceHead,
    now_ms: u64,
) -> Result<Read, ReadError> {
    let length = head.len.ok_or(FragmentError::LengthUnknown)?;
    if length > config.size_max.0 {
        return Err(ReadError::Never(format!(
            "it has {length} bytes, above this node's limit of {}",
            config.size_max.0
        )));
    }
    let (rule, segments) = match (parts.cut)(url, head) {
        Err(FragmentError::Playlist) => return playlist::read(parts, config, entry, url, head, now_ms).await,
        cut => cut?,
    };
    let whole = OriginGet { range: None, validator: head.validator.clone(), len: head.len, url: url.clone() };
    let lists = hash(parts.origin.as_ref(), &whole, &segments, config.rate).await?;
    let roots: Vec<u8> = lists.iter().flat_map(|list| list.root().0).collect();
    let generation = Generation::new(&entry.rid, head, rule, &roots);
    let manifest = sign(parts, entry, head, rule, &segments, lists, now_ms);
    Ok(Read { generation, manifest })
}

async fn hash(
    origin: &dyn Origin,
    whole: &OriginGet,
    segments: &[Segment],
    rate: Rate,
) -> Result<Vec<PieceList>, OriginError> {
    let mut body = Body::of(origin.get(whole).await?, Instant::now(), rate);
    let mut lists = Vec::with_capacity(segments.len());
    for segment in segments {
        lists.push(body.list(segment.layout).await?);
    }
    match body.is_over().await? {
        true => Ok(lists),
        false => Err(OriginError::Changed { what: "it goes on after its end".into() }),
    }
}

/// A body taken piece by piece, no faster than the rate.
struct Body {
    bytes: BoxStream<Result<Bytes, OriginError>>,
    rest: Bytes,
    paid: Instant,
    rate: Rate,
}

impl Body {
    /// `body` from now on; what was read before is paid for at `paid`.
    fn of(body: OriginBody, paid: Instant, rate: Rate) -> Self {
        Self { bytes: body.bytes, rest: Bytes::new(), paid, rate }
    }

    /// What the next bytes hash to, cut as `layout` says.
    async fn list(&mut self, layout: Layout) -> Result<PieceList, OriginError> {
        let mut values: Vec<Digest> = Vec::with_capacity(layout.pieces() as usize);
        let mut piece = Vec::new();
        for index in layout.iter() {
            self.fill(&mut piece, layout.piece_len(index) as usize).await?;
            values.push(list::digest(&layout, index, &piece));
        }
        Ok(PieceList::of_digests(layout, values).expect("one value for each piece"))
    }

    /// The next `len` bytes.
    async fn fill(&mut self, piece: &mut Vec<u8>, len: usize) -> Result<(), OriginError> {
        piece.clear();
        while piece.len() < len {
            if self.rest.is_empty() && !self.more().await? {
                return Err(OriginError::Changed { what: "it ends early".into() });
            }
            let part = self.rest.split_to(self.rest.len().min(len - piece.len()));
            piece.extend_from_slice(&part);
        }
        Ok(())
    }

    async fn is_over(&mut self) -> Result<bool, OriginError> {
        Ok(self.rest.is_empty() && !self.more().await?)
    }

    async fn more(&mut self) -> Result<bool, OriginError> {
        if !self.rate.is_unlimited() && self.paid > Instant::now() + NAP_MIN {
            sleep_until(self.paid).await;
        }
        while self.rest.is_empty() {
            match self.bytes.next().await {
                Some(bytes) => self.rest = bytes?,
                None => return Ok(false),
            }
        }
        self.paid = self.paid.max(Instant::now()) + self.rate.time_for(self.rest.len() as u64);
        Ok(true)
    }
}

fn sign(
    parts: &Parts,
    entry: &Entry,
    head: &ResourceHead,
    rule: RuleId,
    segments: &[Segment],
    lists: Vec<PieceList>,
    now_ms: u64,
) -> Vec<u8> {
    let named = Mapping { generations: entry.generations, ..Mapping::to(entry.rid, "") };
    let rid: Rid = named.rid_of(head);
    let first = segments.first();
    let draft = Draft {
        rule,
        rid: Some(rid),
        seq: 0,
        first: first.map_or(SegmentId(0), |segment| segment.id),
        issued_ms: now_ms,
        ttl_s: 0,
        piece_log2: first.map_or(pcdn_core::layout::PIECE_LOG2_MIN, |segment| segment.layout.piece_log2()),
        lists,
        names: Vec::new(),
    };
    draft.sign(&parts.key)
}
