//! One HLS resource being cut: loads its playlist, again while it grows, and says what it lists.

use std::collections::VecDeque;
use std::time::Duration;

use pcdn_core::fragment::{Cut, FragmentError, Need, Part, Rendition, Seek, Slicing};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;

use super::model::{Alternative, Master, Media, Playlist, Variant};
use super::window::{Change, Window};

/// Reloads are at least so far apart, whatever target duration a playlist claims.
const RELOAD_MIN: Duration = Duration::from_millis(500);
/// And at most so far: a stream whose target is longer would be noticed too late when it changes.
const RELOAD_MAX: Duration = Duration::from_secs(60);
/// Between reloads if the playlist tells no target duration.
const TARGET_DEFAULT: Duration = Duration::from_secs(6);
/// Reloads in a row that may be no playlist (an error page of one edge) before the resource counts as broken.
const BAD_RELOADS_MAX: u32 = 3;

/// A slicing of one playlist.
#[derive(Debug)]
pub(super) struct HlsSlicing {
    url: Url,
    cuts: VecDeque<Cut>,
    window: Window,
    /// When to load next; `None` after the end.
    next: Option<Time>,
    loaded: bool,
    bad_reloads: u32,
    reload_after: Duration,
}

impl HlsSlicing {
    pub(super) fn new(url: Url) -> Self {
        Self {
            url,
            cuts: VecDeque::new(),
            window: Window::default(),
            next: Some(Time::ZERO),
            loaded: false,
            bad_reloads: 0,
            reload_after: TARGET_DEFAULT,
        }
    }

    fn end(&mut self) {
        self.cuts.push_back(Cut::End);
        self.next = None;
    }

    fn load(&mut self, now: Time, base: &Url, text: &[u8]) -> Result<(), FragmentError> {
        match Playlist::parse(text, base) {
            Ok(Playlist::Media(media)) => self.media(now, media),
            Ok(Playlist::Master(master)) if !self.loaded => {
                let renditions = renditions(&master).map(Cut::Rendition);
                self.cuts.extend(renditions);
                self.end();
            }
            Err(error) if !self.loaded || self.bad_reloads == BAD_RELOADS_MAX => return Err(error),
            Ok(Playlist::Master(_)) | Err(_) => {
                self.bad_reloads += 1;
                self.next = Some(later(now, self.reload_after / 2));
            }
        }
        Ok(())
    }

    fn media(&mut self, now: Time, media: Media) {
        self.bad_reloads = 0;
        let ended = !media.is_growing() && media.skipped == 0;
        let target = Some(media.target_duration).filter(|target| !target.is_zero()).unwrap_or(TARGET_DEFAULT);
        // A delta update leaves segments out, so it is no window. The next load brings a whole one.
        let change = if media.skipped > 0 { Change::Same } else { self.window.update(media, &mut self.cuts) };
        // RFC 8216 6.3.4: after the target duration if something changed, else after half of it.
        self.reload_after = target;
        let wait = if change == Change::Changed || !self.loaded { target } else { target / 2 };
        self.next = Some(later(now, wait));
        self.loaded = true;
        if ended {
            self.end();
        }
    }
}

impl Slicing for HlsSlicing {
    fn need(&self) -> Need {
        match self.next {
            Some(at) => Need::Document { url: self.url.clone(), at },
            None => Need::Nothing,
        }
    }

    /// Takes the playlist at any time, also when a gateway loaded it for a player and not because it was needed. The URL is
    /// where it was found in the end, after redirects.
    fn supply(&mut self, now: Time, part: Part) -> Result<(), FragmentError> {
        match (self.next, part) {
            (None, _) => {}
            (Some(_), Part::Document(base, text)) => self.load(now, &base, &text)?,
            (Some(_), Part::End) => self.end(),
            (Some(_), Part::Head(..) | Part::Range(..) | Part::Bytes(_)) => {}
        }
        Ok(())
    }

    fn cut(&mut self) -> Option<Cut> {
        self.cuts.pop_front()
    }

    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        match seek {
            Seek::Byte(_) => None,
            Seek::Media(at) => self.window.at(*at),
            Seek::Live { behind } => self.window.behind(*behind),
        }
    }
}

fn later(now: Time, wait: Duration) -> Time {
    Time(now.0.saturating_add(wait.clamp(RELOAD_MIN, RELOAD_MAX).as_micros() as u64))
}

/// Every distinct rendition once, numbered in order of appearance: variants, then alternatives with a playlist of their own.
/// Keyframe-only streams are not offered: they are byte ranges of the others or rarely asked for.
fn renditions(master: &Master) -> impl Iterator<Item = Rendition> {
    let mut variants: Vec<&Variant> = Vec::new();
    for variant in &master.variants {
        if !variants.iter().any(|other| is_copy(variant, other)) {
            variants.push(variant);
        }
    }
    let mut alternatives: Vec<&Alternative> = Vec::new();
    for one in master.alternatives.iter().filter(|one| one.url.is_some()) {
        let taken = alternatives.iter().any(|other| is_same_alternative(one, other));
        let in_variants = variants.iter().any(|variant| Some(&variant.url) == one.url.as_ref());
        if !taken && !in_variants {
            alternatives.push(one);
        }
    }
    let variants: Vec<_> =
        variants.into_iter().map(of_variant).chain(alternatives.into_iter().map(of_alternative)).collect();
    (0..).zip(variants).map(|(index, rendition)| Rendition { index, ..rendition })
}

/// Whether two variants are one content: one playlist (with other audio groups), or equal attributes and another host or
/// pathway, which RFC 8216 calls redundant.
fn is_copy(one: &Variant, other: &Variant) -> bool {
    if one.url == other.url {
        return true;
    }
    let elsewhere = one.pathway != other.pathway || one.url.host() != other.url.host();
    let attributes = |variant: &Variant| Variant {
        url: one.url.clone(),
        pathway: None,
        // Each pathway has its own groups.
        audio: None,
        video: None,
        subtitles: None,
        ..variant.clone()
    };
    elsewhere && attributes(one) == attributes(other)
}

/// Whether two alternatives are one content: one playlist, or alike on another host.
fn is_same_alternative(one: &Alternative, other: &Alternative) -> bool {
    let (Some(here), Some(there)) = (&one.url, &other.url) else { return false };
    let alike = (&one.kind, &one.name, &one.language) == (&other.kind, &other.name, &other.language);
    here == there || (alike && here.host() != there.host() && here.path() == there.path())
}

fn of_variant(variant: &Variant) -> Rendition {
    let size = variant.resolution.map(|(_, height)| format!("{height}p"));
    let name = variant.name.clone().or(size).unwrap_or_else(|| format!("{} bit/s", variant.bandwidth));
    Rendition {
        index: 0,
        name,
        url: Some(variant.url.clone()),
        bandwidth: Some(variant.bandwidth).filter(|bandwidth| *bandwidth > 0),
        codecs: variant.codecs.clone(),
        resolution: variant.resolution,
    }
}

fn of_alternative(alternative: &Alternative) -> Rendition {
    let kind = alternative.kind.to_ascii_lowercase();
    let name = format!("{kind} {}", alternative.name);
    Rendition { name, url: alternative.url.clone(), ..Rendition::default() }
}
