//! One representation in one period: its URLs resolved, its addressing with all that it inherits.

use std::time::Duration;

use pcdn_core::fragment::FragmentError;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::malformed;
use super::mpd::{Ahead, Base, Mpd, Segments, Span, UrlRange, Way};
use super::template::{Fixed, Template};
use crate::relative::join;

/// Where a representation stands in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub period: usize,
    pub set: usize,
    pub representation: usize,
}

/// A URL with a range.
pub(super) type Place = (Url, Option<ByteRange>);

#[derive(Clone, Debug)]
pub(super) struct Track {
    /// What relative references are relative to.
    base: Url,
    /// The base URL is the manifest's own: no file of segments.
    is_manifest: bool,
    /// `None` if the base URL is the one segment there is.
    pub segments: Option<Segments>,
    media: Option<Template>,
    pub init: Option<Place>,
    /// When its period is.
    pub start: Duration,
    pub duration: Option<Duration>,
    /// Whether its period follows another.
    pub follows: bool,
    /// How much earlier than by the rule its segments are whole; [`Duration::MAX`] for at once.
    pub ahead: Duration,
}

impl Mpd {
    /// All representations, in the order of the document. Remote periods have none.
    pub(super) fn spots(&self) -> Vec<Spot> {
        let mut spots = Vec::new();
        for (period, it) in self.periods.iter().enumerate().filter(|(_, it)| !it.remote) {
            for (set, it) in it.sets.iter().enumerate() {
                let all = 0..it.representations.len();
                spots.extend(all.map(|representation| Spot { period, set, representation }));
            }
        }
        spots
    }
}

impl Track {
    /// The track at `spot`, which is one of `mpd`'s. `None` if its period has no start yet or its URLs lead nowhere.
    ///
    /// # Errors
    /// If a template is too long.
    pub(super) fn of(
        mpd: &Mpd,
        spans: &[Span],
        spot: Spot,
        document: &Url,
    ) -> Result<Option<Self>, FragmentError> {
        let period = &mpd.periods[spot.period];
        let set = &period.sets[spot.set];
        let it = &set.representations[spot.representation];
        let span = spans[spot.period];
        let levels: [&[Base]; 4] = [&mpd.bases, &period.bases, &set.bases, &it.bases];
        let (Some(start), Some(base)) = (span.start, chain(document, levels)) else { return Ok(None) };

        let segments = inherit([&period.segments, &set.segments, &it.segments]);
        let fixed = Fixed { id: &it.id, bandwidth: it.bandwidth.unwrap_or(0) };
        let read = |text: &Option<String>| {
            let template = text.as_deref().map(|text| Template::read(text, fixed));
            template.map(|read| read.ok_or_else(|| malformed("a template that is too long", 0))).transpose()
        };
        let (mut media, mut init, mut ahead) = (None, None, levels.map(first_ahead).to_vec());
        if let Some(segments) = &segments {
            ahead.push(segments.ahead);
            if segments.way == Way::Template {
                media = read(&segments.media)?;
                init = read(&segments.initialization)?.and_then(|it| {
                    let mut text = String::new();
                    it.fill(&mut text, 0, 0);
                    Some((resolve(&base, &text)?, None))
                });
            }
            init = init.or_else(|| place(&base, base == *document, segments.init.as_ref()?));
        }
        let (follows, is_manifest) = (spot.period > 0, base == *document);
        let ahead = sum(&ahead);
        Ok(Some(Self {
            base,
            is_manifest,
            segments,
            media,
            init,
            start,
            duration: span.duration,
            follows,
            ahead,
        }))
    }

    /// Where segment number `index` is, whose media time is `time`. The index counts from 0; `text` is room for a reference.
    pub(super) fn segment(&self, index: u64, time: i128, text: &mut String) -> Option<Place> {
        let file = || (!self.is_manifest).then(|| (self.base.clone(), None));
        let Some(segments) = &self.segments else { return file() };
        match segments.way {
            Way::Base => file(),
            Way::List => {
                let at = segments.urls.as_ref()?.get(usize::try_from(index).ok()?)?;
                place(&self.base, self.is_manifest, at)
            }
            Way::Template => {
                let number = segments.start_number.unwrap_or(1).saturating_add(index);
                let time = u64::try_from(time.max(0)).unwrap_or(u64::MAX);
                self.media.as_ref()?.fill(text, number, time);
                Some((resolve(&self.base, text)?, None))
            }
        }
    }

    /// Whether the URL of any of its segments may have a query.
    pub(super) fn may_have_queries(&self) -> bool {
        let has_query = |place: &Option<Place>| place.as_ref().is_some_and(|(url, _)| url.query().is_some());
        let list = self.segments.as_ref().filter(|it| it.way == Way::List).and_then(|it| it.urls.as_ref());
        let media = match list {
            // As written, for to resolve them all takes long.
            Some(urls) => {
                let inherits = self.base.query().is_some();
                urls.iter().any(|it| match it.url.as_deref().map(str::trim) {
                    Some(url) => url.contains('?') || inherits && (url.is_empty() || url.starts_with('#')),
                    None => inherits && !self.is_manifest,
                })
            }
            // All of a template are alike.
            None => has_query(&self.segment(0, 0, &mut String::new())),
        };
        media || has_query(&self.init)
    }
}

/// The base URL of a representation: of every level the first, each relative to the one before.
fn chain(document: &Url, levels: [&[Base]; 4]) -> Option<Url> {
    let mut base = document.clone();
    for level in levels {
        if let Some(first) = level.first() {
            base = resolve(&base, &first.url)?;
        }
    }
    Some(base)
}

/// The innermost addressing, with what outer levels of the same way say.
fn inherit(levels: [&Option<Segments>; 3]) -> Option<Segments> {
    let mut so_far: Option<Segments> = None;
    for level in levels.into_iter().flatten() {
        so_far = Some(level.clone().within(so_far.as_ref()));
    }
    so_far
}

/// `reference` against `base`. `None` if that is no URL, or leads out of the web: a manifest that came by HTTP must not make
/// a node read files.
pub(super) fn resolve(base: &Url, reference: &str) -> Option<Url> {
    let mut url = join(base, reference.trim()).ok()?;
    if url.scheme() != base.scheme() && !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    if url.fragment().is_some() {
        url.set_fragment(None);
    }
    Some(url)
}

/// Where `at` is. Without a URL it is the base URL's own file, unless that is the manifest.
fn place(base: &Url, is_manifest: bool, at: &UrlRange) -> Option<Place> {
    let url = match &at.url {
        Some(url) => resolve(base, url)?,
        None => Some(base.clone()).filter(|_| !is_manifest)?,
    };
    Some((url, at.range))
}

fn first_ahead(level: &[Base]) -> Ahead {
    level.first().map(|base| base.ahead).unwrap_or_default()
}

/// Offsets of all levels add up; if one says the segments are not whole by then, they count for nothing.
fn sum(levels: &[Ahead]) -> Duration {
    match levels.iter().all(|level| level.complete) {
        true => levels.iter().fold(Duration::ZERO, |sum, level| sum.saturating_add(level.offset)),
        false => Duration::ZERO,
    }
}
