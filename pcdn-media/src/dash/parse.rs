//! From text to [`Mpd`]: what is read is put where it belongs, and counted.

mod read;

use std::sync::Arc;

use pcdn_core::fragment::FragmentError;

use super::mpd::{AdaptationSet, Base, Entry, Mpd, Period, Representation, Segments, UrlRange, Way};
use super::tag::Tag;
use super::xml::{Element, Step, Walker};
use super::{ENTRIES_MAX, PERIODS_MAX, REPRESENTATIONS_MAX, too_much};

/// Base URLs, locations and time sources of a manifest at most: a representation has one or two.
const URLS_MAX: usize = 50_000;

impl Mpd {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is no manifest, or is larger than the bounds of this module.
    pub fn parse(text: &[u8]) -> Result<Self, FragmentError> {
        let mut walker = Walker::new(text)?;
        let mut parser = Parser::default();
        while let Some(step) = walker.step()? {
            match step {
                Step::Open(element) => parser.open(&element)?,
                Step::Close { tag, text, .. } => parser.close(tag, text),
            }
        }
        Ok(parser.mpd)
    }
}

/// The manifest so far, and what is being read: elements are added when they begin, and filled.
#[derive(Default)]
struct Parser {
    mpd: Mpd,
    base: Base,
    segments: Option<Segments>,
    timeline: Vec<Entry>,
    urls: Vec<UrlRange>,
    representations: usize,
    entries: usize,
    references: usize,
    /// In which level we are: that of the innermost period, set or representation that began and did not end.
    level: Option<Tag>,
}

impl Parser {
    fn open(&mut self, element: &Element<'_>) -> Result<(), FragmentError> {
        if matches!(element.tag, Tag::Mpd | Tag::Period | Tag::Set | Tag::Representation) {
            self.level = Some(element.tag);
        }
        match element.tag {
            Tag::Mpd => self.mpd = read::presentation(element)?,
            Tag::Period => self.period(read::period(element)?)?,
            Tag::Set => self.set(read::set(element)?)?,
            Tag::Representation => self.representation(read::representation(element)?)?,
            Tag::BaseUrl | Tag::Location | Tag::UtcTiming => {
                bound(&mut self.references, URLS_MAX, "URLs")?;
                match element.tag {
                    Tag::BaseUrl => self.base = read::base(element)?,
                    Tag::UtcTiming => self.mpd.utc_timing.push(read::utc_timing(element)?),
                    _ => {}
                }
            }
            Tag::SegmentBase => self.segments = Some(read::segments(element, Way::Base)?),
            Tag::SegmentList => self.segments = Some(read::segments(element, Way::List)?),
            Tag::SegmentTemplate => self.segments = Some(read::segments(element, Way::Template)?),
            Tag::Initialization => {
                let init = read::place(element, "sourceURL", "range")?;
                if let Some(segments) = &mut self.segments {
                    segments.init = Some(init);
                }
            }
            Tag::S => {
                bound(&mut self.entries, ENTRIES_MAX, "segments")?;
                self.timeline.push(read::entry(element)?);
            }
            Tag::SegmentUrl => {
                bound(&mut self.entries, ENTRIES_MAX, "segments")?;
                self.urls.push(read::place(element, "media", "mediaRange")?);
            }
            Tag::Timeline | Tag::Aside | Tag::PatchLocation | Tag::Steering | Tag::Other => {}
        }
        Ok(())
    }

    fn close(&mut self, tag: Tag, text: String) {
        match tag {
            Tag::BaseUrl => {
                let base = Base { url: text.trim().to_owned(), ..std::mem::take(&mut self.base) };
                if let Some(level) = self.level() {
                    level.0.push(base);
                }
            }
            Tag::Location => self.mpd.locations.push(text.trim().to_owned()),
            Tag::SegmentBase | Tag::SegmentList | Tag::SegmentTemplate => self.segments_end(),
            Tag::Timeline => {
                let timeline: Arc<[Entry]> = std::mem::take(&mut self.timeline).into();
                if let Some(segments) = &mut self.segments {
                    segments.timeline = Some(timeline);
                }
            }
            Tag::Representation => self.level = Some(Tag::Set),
            Tag::Set => self.level = Some(Tag::Period),
            Tag::Period => self.level = Some(Tag::Mpd),
            _ => {}
        }
    }

    /// Where base URLs and segments of the current level go.
    fn level(&mut self) -> Option<(&mut Vec<Base>, Option<&mut Option<Segments>>)> {
        match self.level? {
            Tag::Mpd => Some((&mut self.mpd.bases, None)),
            Tag::Period => self.mpd.periods.last_mut().map(|it| (&mut it.bases, Some(&mut it.segments))),
            Tag::Set => {
                let set = self.mpd.periods.last_mut()?.sets.last_mut()?;
                Some((&mut set.bases, Some(&mut set.segments)))
            }
            Tag::Representation => {
                let it = self.mpd.periods.last_mut()?.sets.last_mut()?.representations.last_mut()?;
                Some((&mut it.bases, Some(&mut it.segments)))
            }
            _ => None,
        }
    }

    fn period(&mut self, period: Period) -> Result<(), FragmentError> {
        limit(self.mpd.periods.len(), PERIODS_MAX, "periods")?;
        if period.remote {
            let number = self.mpd.periods.len() + 1;
            self.mpd.notes.push(format!("period {number} is in another document and left out"));
        }
        self.mpd.periods.push(period);
        Ok(())
    }

    fn set(&mut self, set: AdaptationSet) -> Result<(), FragmentError> {
        bound(&mut self.representations, REPRESENTATIONS_MAX, "adaptation sets and representations")?;
        if let Some(period) = self.mpd.periods.last_mut() {
            period.sets.push(set);
        }
        Ok(())
    }

    fn representation(&mut self, it: Representation) -> Result<(), FragmentError> {
        bound(&mut self.representations, REPRESENTATIONS_MAX, "adaptation sets and representations")?;
        if let Some(set) = self.mpd.periods.last_mut().and_then(|period| period.sets.last_mut()) {
            set.representations.push(it);
        }
        Ok(())
    }

    fn segments_end(&mut self) {
        let urls = std::mem::take(&mut self.urls);
        let Some(mut segments) = self.segments.take() else { return };
        if !urls.is_empty() {
            segments.urls = Some(urls.into());
        }
        if let Some((_, Some(slot))) = self.level() {
            *slot = Some(segments);
        }
    }
}

fn limit(count: usize, max: usize, what: &'static str) -> Result<(), FragmentError> {
    if count < max { Ok(()) } else { Err(too_much(max, what)) }
}

fn bound(count: &mut usize, max: usize, what: &'static str) -> Result<(), FragmentError> {
    limit(*count, max, what)?;
    *count += 1;
    Ok(())
}
