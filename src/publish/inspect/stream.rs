//! Playlists and manifests: their renditions, what each lists, and how long that is.
//!
//! Of a master playlist the renditions are told; the segments of one of them if it is asked for, for each has a playlist of
//! its own. A DASH manifest lists the segments of all renditions at once; told are those of the one asked for, else of the
//! first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::fragment::{Fragmenter, Listing, Part};
use pcdn_core::id::{Rid, RuleId, SwarmKey};
use pcdn_core::mapping::Mapper;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::{Resource, ResourceHint, Url};
use pcdn_core::unit::Time;
use pcdn_media::hls;
use tokio::time::Instant;

use super::{Inspection, Rendition, SegmentReport, Source, report};
use crate::publish::PublishError;
use crate::publish::outline::{INDEXES_MAX, Outline, surest};

/// Lengths, or segments, asked for at once.
const ASKED_AT_ONCE: usize = 8;
/// Pause after a reload that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Inspects playlists and manifests.
#[derive(Debug)]
pub struct Inspector {
    source: Source,
    fragmenter: Arc<dyn Fragmenter>,
    mapper: Option<Arc<dyn Mapper>>,
    hash: bool,
    began: Instant,
}

/// A document that was loaded, and perhaps will be again.
#[derive(Debug)]
struct Loaded {
    url: Url,
    rid: Option<Rid>,
    outline: Outline,
    listings: Vec<Listing>,
    /// What it defines for the playlists it names.
    variables: hls::Variables,
    /// What the playlist that names it defines for it.
    imports: hls::Variables,
}

/// What an inspection is about: a document, and one rendition of it.
struct Chosen {
    document: Loaded,
    renditions: Vec<Rendition>,
    /// Which of the document's renditions; `None`: it is a master playlist, and has no segments.
    rendition: Option<u32>,
    swarm: Option<SwarmKey>,
}

/// What the playlist at `url` lists now, cut by the surest of `kinds`, and whether that is all.
///
/// # Errors
/// If the origin does not give it or an index it needs, or it is malformed or none.
pub(crate) async fn list_as_viewers_do(
    source: &Source,
    kinds: &[Arc<dyn Fragmenter>],
    url: &Url,
) -> Result<(RuleId, Vec<Listing>, bool), PublishError> {
    let (at, text) = source.document(url).await?;
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: text.to_vec() };
    let fragmenter = surest(kinds, &hint);
    let resource = Resource { url: url.clone(), rid: Rid([0; 32]), head: None };
    let mut outline = Outline::open(fragmenter.as_ref(), &resource)?;
    let mut part = Part::Document(at, text);
    for _ in 0..INDEXES_MAX {
        let Some((url, range)) = outline.supply(Time::ZERO, part)? else { break };
        part = Part::Range(url.clone(), range, source.part(&url, range).await?);
    }
    Ok((fragmenter.rule(), outline.take(), outline.ended))
}

impl Inspector {
    /// An inspector of documents that `fragmenter` cuts; its clock, if it has one, is set to [`Time::ZERO`] now. Without a
    /// `mapper` nothing has a name: for files whose URL is not known.
    pub fn new(
        source: Source,
        fragmenter: Arc<dyn Fragmenter>,
        mapper: Option<Arc<dyn Mapper>>,
        hash: bool,
    ) -> Self {
        Self { source, fragmenter, mapper, hash, began: Instant::now() }
    }

    /// What the document at `url` lists.
    ///
    /// # Errors
    /// If the origin does not give a document, an index or a length, the document is malformed, or there is no such rendition.
    pub async fn inspect(&self, url: &Url, rendition: Option<u32>) -> Result<Inspection, PublishError> {
        let Chosen { document, renditions, rendition, swarm } = self.choose(url, rendition, false).await?;
        let listings: Vec<_> = document
            .listings
            .iter()
            .filter(|listing| Some(listing.rendition) == rendition)
            .cloned()
            .collect();
        let segments = self.reports(listings).await?;
        Ok(Inspection {
            url: document.url.to_string(),
            kind: self.fragmenter.name().to_owned(),
            live: !document.outline.ended,
            rid: document.rid,
            rule: self.fragmenter.rule(),
            swarm,
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            renditions,
            segments,
        })
    }

    /// Tells every segment of a rendition (the first, if none is asked for) when it is listed, first those that are listed
    /// now, until the stream ends or `tell` gives `false`. Segments that the origin does not give are left out.
    ///
    /// # Errors
    /// As of [`inspect`](Self::inspect) at first. Later loads that fail are tried again.
    pub async fn follow(
        &self,
        url: &Url,
        rendition: Option<u32>,
        mut tell: impl FnMut(SegmentReport) -> bool,
    ) -> Result<(), PublishError> {
        let Chosen { mut document, rendition, .. } = self.choose(url, rendition, true).await?;
        loop {
            let new = std::mem::take(&mut document.listings);
            let new = new.into_iter().filter(|listing| Some(listing.rendition) == rendition).collect();
            for report in self.reports(new).await? {
                if !tell(report) {
                    return Ok(());
                }
            }
            let Some((url, at)) = document.outline.reload() else { return Ok(()) };
            tokio::time::sleep_until(self.began + at.since(Time::ZERO)).await;
            while let Err(error) = self.load(&mut document, &url).await {
                if let PublishError::Fragment(_) = error {
                    return Err(error);
                }
                tracing::info!(%error, "loading again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn choose(&self, url: &Url, rendition: Option<u32>, must: bool) -> Result<Chosen, PublishError> {
        let mut document = self.open(url, hls::Variables::default()).await?;
        let found = document.outline.renditions.clone();
        let own_playlist = |index| found.iter().find(|it| it.index == index).and_then(|it| it.url.clone());
        let is_master = found.iter().any(|rendition| rendition.url.is_some());
        let rule = self.fragmenter.rule();
        let mut renditions = Vec::with_capacity(found.len());
        for it in &found {
            let rid = match &it.url {
                Some(url) => self.map(url).await,
                None => document.rid.map(|rid| rid.rendition(&it.name)),
            };
            renditions.push(Rendition {
                id: it.index.into(),
                url: it.url.as_ref().unwrap_or(&document.url).to_string(),
                bandwidth: it.bandwidth,
                codecs: it.codecs.clone(),
                resolution: it.resolution.map(|(width, height)| format!("{width}x{height}")),
                swarm: rid.map(|rid| SwarmKey::of(&rid, &rule)),
            });
        }
        let first = found.first().map_or(0, |rendition| rendition.index);
        let asked = rendition.or((must || !is_master).then_some(first));
        let Some(index) = asked else {
            return Ok(Chosen { document, renditions, rendition: None, swarm: None });
        };
        let known = renditions.iter().find(|it| it.id == u64::from(index));
        if known.is_none() && (!renditions.is_empty() || index != 0) {
            return Err(PublishError::NoRendition { asked: index, count: renditions.len() });
        }
        let own = document.rid.map(|rid| SwarmKey::of(&rid, &rule));
        let swarm = known.map_or(own, |known| known.swarm);
        let mut rendition = index;
        if let Some(url) = own_playlist(index) {
            document = self.open(&url, document.variables).await?;
            rendition = 0;
        }
        Ok(Chosen { document, renditions, rendition: Some(rendition), swarm })
    }

    async fn open(&self, url: &Url, imports: hls::Variables) -> Result<Loaded, PublishError> {
        let rid = self.map(url).await;
        let resource = Resource { url: url.clone(), rid: rid.unwrap_or(Rid([0; 32])), head: None };
        let outline = Outline::open(self.fragmenter.as_ref(), &resource)?;
        let mut loaded = Loaded {
            url: url.clone(),
            rid,
            outline,
            listings: Vec::new(),
            variables: hls::Variables::default(),
            imports,
        };
        self.load(&mut loaded, url).await?;
        Ok(loaded)
    }

    async fn load(&self, document: &mut Loaded, url: &Url) -> Result<(), PublishError> {
        let (at, mut text) = self.source.document(url).await?;
        if !document.imports.is_empty() {
            text = hls::import(&text, &document.imports).map_or(text, Bytes::from);
        }
        if let Ok(hls::Playlist::Master(master)) = hls::Playlist::parse(&text, &at) {
            document.variables = master.variables;
        }
        let mut part = Part::Document(at, text);
        for _ in 0..INDEXES_MAX {
            let Some((url, range)) = document.outline.supply(self.now(), part)? else { break };
            part = Part::Range(url.clone(), range, self.source.part(&url, range).await?);
        }
        document.listings.extend(document.outline.take());
        Ok(())
    }

    async fn map(&self, url: &Url) -> Option<Rid> {
        self.mapper.as_ref()?.map(url).await.ok().map(|mapping| mapping.rid)
    }

    fn now(&self) -> Time {
        Time(self.began.elapsed().as_micros() as u64)
    }

    /// The reports of listed segments, in order. A segment that is listed and not there is left out: some manifests promise
    /// more than was made.
    async fn reports(&self, listings: Vec<Listing>) -> Result<Vec<SegmentReport>, PublishError> {
        let sized = futures_util::stream::iter(listings).map(|listing| async move {
            let (len, hash) = match (self.hash, listing.range) {
                (true, range) => {
                    let (len, hash) = self.source.hash(&listing.url, range).await?;
                    (len, Some(hash))
                }
                (false, Some(range)) => (range.len(), None),
                (false, None) => (self.source.len(&listing.url).await?, None),
            };
            let segment = listing.sized(len, 0).map_err(|error| PublishError::Fragment(error.into()))?;
            Ok(report(&segment, hash))
        });
        let mut sized = sized.buffered(ASKED_AT_ONCE);
        let mut reports = Vec::new();
        while let Some(report) = sized.next().await {
            match report {
                Ok(report) => reports.push(report),
                Err(PublishError::Origin { url, source: OriginError::Status { status: 404 | 410, .. } }) => {
                    tracing::warn!(%url, "listed, and not there");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(reports)
    }
}
