//! What an ordered URL is: a resource, or a presentation, of which each rendition is a content of its own.
//!
//! A rendition's content is its segments, one after another in the order of listing: see [`crate::node::Whole`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use pcdn_core::dice::Dice;
use pcdn_core::fragment::Listing;
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::OriginGet;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, ResourceHint, Url};
use pcdn_core::warmup::{Content, Sample};
use pcdn_media::probe::{self, Kind};

use super::node::PushNodeError;
use crate::node::{Node, OpenError, Stream, head_of};

/// Bytes a copy is audited by: a piece.
const SAMPLE_BYTES: u64 = 64 << 10;
/// URLs looked at at once.
const LOOKS_AT_ONCE: usize = 8;

/// A content, and where its bytes are.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) content: Content,
    /// Of a rendition.
    listed: Option<Arc<Listed>>,
}

/// The segments of a rendition.
#[derive(Debug)]
struct Listed {
    swarm: SwarmKey,
    segments: Vec<Listing>,
    /// Where each segment ends in the content.
    ends: Vec<u64>,
}

/// What `urls` are, with all segments of `renditions` (all, if none is named) of those that are playlists.
pub(super) async fn find(node: &Node, urls: &[Url], renditions: &[u32]) -> Result<Vec<Part>, PushNodeError> {
    let look = |url: Url| async move { look(node, &url, renditions).await };
    let looks = futures_util::stream::iter(urls.to_vec()).map(look);
    let found: Vec<Vec<Part>> = looks.buffered(LOOKS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn look(node: &Node, url: &Url, renditions: &[u32]) -> Result<Vec<Part>, PushNodeError> {
    let failed = |source: OpenError| PushNodeError::Content { url: url.clone(), source: source.into() };
    if is_playlist(url, None) {
        return presentation(node, url, renditions).await;
    }
    let head = head_of(node.origin().as_ref(), url).await.map_err(|e| failed(e.into()))?;
    if is_playlist(url, head.content_type.clone()) {
        return presentation(node, url, renditions).await;
    }
    node.swarm_of(url, &head).await.map_err(failed)?;
    let content = Content { url: url.clone(), rendition: None, len: head.len.unwrap_or_default() };
    Ok(vec![Part { content, listed: None }])
}

fn is_playlist(url: &Url, content_type: Option<String>) -> bool {
    let hint = ResourceHint { url: url.clone(), content_type, first_bytes: Vec::new() };
    matches!(probe::kind(&hint), Kind::Hls | Kind::Dash)
}

/// The chosen renditions of the playlist at `url`. A master playlist's have playlists of their own, and are named by those.
async fn presentation(node: &Node, url: &Url, chosen: &[u32]) -> Result<Vec<Part>, PushNodeError> {
    let failed = |source: OpenError| PushNodeError::Content { url: url.clone(), source: source.into() };
    let stream = node.playlist(url).await.map_err(failed)?;
    let named = stream.renditions();
    let count = named.len().max(1);
    if let Some(asked) = chosen.iter().find(|asked| **asked as usize >= count) {
        return Err(PushNodeError::Rendition { url: url.clone(), asked: *asked, count });
    }
    if named.is_empty() {
        return Ok(vec![rendition(&stream, 0).await?]);
    }
    let mut parts = Vec::new();
    for rendition_of in named.iter().filter(|it| chosen.is_empty() || chosen.contains(&it.index)) {
        match &rendition_of.url {
            Some(own) => {
                let failed =
                    |source: OpenError| PushNodeError::Content { url: own.clone(), source: source.into() };
                let stream = node.playlist(own).await.map_err(failed)?;
                parts.push(rendition(&stream, 0).await?);
            }
            None => parts.push(rendition(&stream, rendition_of.index).await?),
        }
    }
    // Several renditions of a master playlist may have one playlist: it is held once.
    parts.sort_by(|a, b| a.content.cmp(&b.content));
    parts.dedup_by(|a, b| a.content == b.content);
    Ok(parts)
}

async fn rendition(stream: &Stream, rendition: u32) -> Result<Part, PushNodeError> {
    let url = stream.url();
    let failed = |source: OpenError| PushNodeError::Content { url: url.clone(), source: source.into() };
    if !stream.is_ended() {
        return Err(PushNodeError::Live(url.clone()));
    }
    let segments = stream.listed(rendition).map_err(failed)?;
    let lengths = stream.lengths(&segments).await.map_err(failed)?;
    let ends = lengths.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    let ends: Vec<u64> = ends.collect();
    let len = ends.last().copied().unwrap_or_default();
    let content = Content { url: url.clone(), rendition: Some(rendition), len };
    let swarm = stream.swarm_of(rendition);
    Ok(Part { content, listed: Some(Arc::new(Listed { swarm, segments, ends })) })
}

impl Part {
    /// Reads a random part of it from the origin.
    pub(super) async fn sample(&self, node: &Node, dice: &mut Dice) -> Result<Sample, OpenError> {
        let url = &self.content.url;
        match &self.listed {
            None => {
                let range = random(0..self.content.len, dice).ok_or_else(empty)?;
                let (head, bytes) = read(node, url, range).await?;
                Ok(Sample { swarm: node.swarm_of(url, &head).await?, range, bytes })
            }
            Some(listed) => {
                let (segment, range, at) = listed.choose(dice).ok_or_else(empty)?;
                let (_, bytes) = read(node, &segment.url, at).await?;
                Ok(Sample { swarm: listed.swarm, range, bytes })
            }
        }
    }
}

impl Listed {
    /// A random part of a random segment: the longer it is, the likelier. Which bytes that are in the content, and at its URL.
    fn choose(&self, dice: &mut Dice) -> Option<(&Listing, ByteRange, ByteRange)> {
        let byte = dice.below(*self.ends.last()?);
        let at = self.ends.partition_point(|end| *end <= byte);
        let (segment, end) = (self.segments.get(at)?, *self.ends.get(at)?);
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let range = random(start..end, dice)?;
        let base = segment.range.map_or(0, |range| range.start());
        let there = ByteRange::new(base + range.start() - start, base + range.end() - start)?;
        Some((segment, range, there))
    }
}

fn empty() -> OpenError {
    OpenError::Url("it is empty".to_owned())
}

/// A piece's worth of `within`, anywhere in it.
fn random(within: Range<u64>, dice: &mut Dice) -> Option<ByteRange> {
    let all = within.end - within.start;
    let len = SAMPLE_BYTES.min(all);
    let start = within.start + dice.below(all - len + 1);
    ByteRange::new(start, start + len)
}

async fn read(node: &Node, url: &Url, range: ByteRange) -> Result<(ResourceHead, Bytes), OpenError> {
    let want = OriginGet { range: Some(range), ..OriginGet::whole(url.clone()) };
    let mut body = node.origin().get(&want).await?;
    let mut bytes = Vec::with_capacity(range.len().min(SAMPLE_BYTES) as usize);
    while let Some(chunk) = body.bytes.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 >= range.len() {
            break;
        }
    }
    bytes.truncate(range.len() as usize);
    Ok((body.head, bytes.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pcdn_core::layout::SegmentId;
    use proptest::prelude::*;

    use super::*;

    fn listed(lens: &[u64]) -> Listed {
        let segment = |n: usize| Listing {
            id: SegmentId(n as u64),
            rendition: 0,
            url: format!("http://cdn.example/{n}.ts").parse().unwrap(),
            // Every other one is a part of a file.
            range: (n % 2 == 1).then(|| ByteRange::new(1_000, 1_000 + lens[n])).flatten(),
            start: None,
            duration: Some(Duration::from_secs(4)),
            init: false,
            discontinuity: false,
        };
        let segments = (0..lens.len()).map(segment).collect();
        let ends = lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        Listed { swarm: SwarmKey([0; 32]), segments, ends: ends.collect() }
    }

    proptest! {
        /// What is asked of a holder lies in one segment, and is what the origin has there.
        #[test]
        fn a_sample_lies_in_one_segment(lens in proptest::collection::vec(1u64..200_000, 1..20), seed: u64) {
            let listed = listed(&lens);
            let (segment, range, there) = listed.choose(&mut Dice::new(seed)).unwrap();
            let at = segment.id.0 as usize;
            let start: u64 = lens[..at].iter().sum();
            let base = segment.range.map_or(0, |range| range.start());
            prop_assert!(range.start() >= start && range.end() <= start + lens[at]);
            prop_assert_eq!(there.start() - base, range.start() - start);
            prop_assert!(there.len() == range.len() && there.end() <= base + lens[at]);
        }
    }

    #[test]
    fn an_empty_content_has_no_sample() {
        assert!(listed(&[]).choose(&mut Dice::new(1)).is_none());
        assert!(random(0..0, &mut Dice::new(1)).is_none());
    }
}
