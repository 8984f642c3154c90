//! The manifest a gateway hands to a player: every URL that would lead past the gateway leads through it, and every other
//! byte is as it was.
//!
//! A gateway mirrors the paths of origins, so relative references find their way by themselves and stay. Absolute ones and
//! those that begin with a slash are replaced. The text is walked once to find them ([`Site`]), then they are resolved, for
//! base URLs may stand behind what is relative to them.

use std::ops::Range;
use std::sync::Arc;

use pcdn_core::fragment::FragmentError;
use pcdn_core::resource::Url;
use quick_xml::escape::escape;

use super::tag::Tag;
use super::track::resolve;
use super::value::write_duration;
use super::xml::{Element, Step, Walker};
use super::{PERIODS_MAX, REPRESENTATIONS_MAX, too_much};

mod live;
mod remote;

pub use remote::{Remotes, remotes, rewrite_remote};

/// How a manifest is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteOptions {
    /// The manifest was redirected: it did not come from where the player believes, so relative references must be given a
    /// base. Default: no.
    pub moved: bool,
    /// So many segments behind the live edge the player of a dynamic manifest is told to start
    /// (`@suggestedPresentationDelay`). Default: what the manifest says.
    pub live_start: Option<u32>,
}

/// Rewrites the manifest `text`, which came from `base` (after redirects). `to` gives the gateway's URL for one of the
/// origin's; where a URL is a template it is asked only for the directory before the first `$`, so it must map a prefix to
/// a prefix.
///
/// Replaced: absolute and root-relative `BaseURL`, `@media`, `@initialization`, `@index`, `@sourceURL`,
/// `@bitstreamSwitching`, `Location`, `ContentSteering`, `@xlink:href`. Removed: `PatchLocation`. Left as they are: time sources, protection,
/// events, comments, everything of other namespaces, and URLs that are not of the web.
///
/// # Errors
/// If it is no manifest, or larger than the bounds of this module.
pub fn rewrite(
    text: &[u8],
    base: &Url,
    to: &mut dyn FnMut(&Url) -> String,
    options: &RewriteOptions,
) -> Result<Vec<u8>, FragmentError> {
    let found = Sites::of(Walker::new(text)?)?;
    let mut edits = found.edits(base, to, options);
    if let Some(delay) = options.live_start.map(|behind| live::delay(text, behind)).transpose()?.flatten() {
        edits.push(found.delay_edit(&write_duration(delay)));
    }
    Ok(splice(text, edits))
}

/// A piece of text and what to put there.
type Edit = (Range<usize>, String);

fn splice(text: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut at = 0;
    for (range, new) in edits {
        // None overlap: they are attributes and contents of different elements, and what is removed has neither.
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

/// A reference in the text.
#[derive(Debug)]
struct Site {
    span: Range<usize>,
    value: String,
    what: What,
    /// The level it is resolved in.
    level: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Base,
    /// May be a template.
    Segment,
    /// Resolved against the manifest itself.
    Document,
    /// The same, of a server that tells a player where to go.
    Steering,
    /// Resolved against the manifest's own base URL.
    Remote,
}

/// The MPD, a period, a set or a representation, by its base URL.
#[derive(Debug)]
struct Level {
    outer: Option<usize>,
    base: Option<String>,
}

/// All references of a manifest.
#[derive(Debug, Default)]
struct Sites {
    sites: Vec<Site>,
    levels: Vec<Level>,
    open: Vec<usize>,
    removed: Vec<Range<usize>>,
    /// The MPD's start tag, whether anything can stand in it, its prefix, and where its `@suggestedPresentationDelay` stands.
    root: Range<usize>,
    root_is_empty: bool,
    prefix: String,
    delay: Option<Range<usize>>,
}

impl Sites {
    fn of(mut walker: Walker<'_>) -> Result<Self, FragmentError> {
        let mut found = Self::default();
        while let Some(step) = walker.step()? {
            found.step(step)?;
        }
        Ok(found)
    }

    fn step(&mut self, step: Step<'_>) -> Result<(), FragmentError> {
        match step {
            Step::Open(element) => {
                if is_level(element.tag) {
                    if self.levels.len() > PERIODS_MAX + REPRESENTATIONS_MAX {
                        return Err(too_much(PERIODS_MAX + REPRESENTATIONS_MAX, "levels of base URLs"));
                    }
                    self.levels.push(Level { outer: self.open.last().copied(), base: None });
                    self.open.push(self.levels.len() - 1);
                }
                self.attributes(&element)?;
            }
            Step::Close { tag, text, inner, outer } => match tag {
                Tag::BaseUrl => self.base(text, inner),
                Tag::Location => self.site(inner, text, What::Document),
                Tag::Steering => self.site(inner, text, What::Steering),
                Tag::PatchLocation => self.removed.push(outer),
                tag if is_level(tag) => drop(self.open.pop()),
                _ => {}
            },
        }
        Ok(())
    }

    fn attributes(&mut self, element: &Element<'_>) -> Result<(), FragmentError> {
        if element.tag == Tag::Mpd {
            self.root = element.span.clone();
            self.root_is_empty = element.is_empty();
            self.prefix = element.name().strip_suffix("MPD").unwrap_or_default().to_owned();
        }
        if matches!(element.tag, Tag::Other | Tag::S | Tag::UtcTiming) {
            return Ok(());
        }
        for attribute in element.attributes() {
            let a = attribute?;
            let what = match (element.tag, a.name) {
                (Tag::Mpd, "suggestedPresentationDelay") => {
                    self.delay = Some(a.span.clone());
                    continue;
                }
                (Tag::SegmentTemplate, "media" | "initialization" | "index" | "bitstreamSwitching")
                | (Tag::SegmentUrl, "media" | "index")
                | (Tag::Initialization | Tag::Aside, "sourceURL") => What::Segment,
                (_, "xlink:href") => What::Remote,
                _ => continue,
            };
            self.site(a.span.clone(), a.value()?.into_owned(), what);
        }
        Ok(())
    }

    fn base(&mut self, text: String, inner: Range<usize>) {
        let level = self.open.last().and_then(|level| self.levels.get_mut(*level));
        if let Some(level) = level.filter(|level| level.base.is_none()) {
            level.base = Some(text.clone());
        }
        self.site(inner, text, What::Base);
    }

    fn site(&mut self, span: Range<usize>, value: String, what: What) {
        let level = self.open.last().copied().unwrap_or_default();
        self.sites.push(Site { span, value: value.trim().to_owned(), what, level });
    }

    fn edits(
        &self,
        document: &Url,
        to: &mut dyn FnMut(&Url) -> String,
        options: &RewriteOptions,
    ) -> Vec<Edit> {
        let document = Arc::new(document.clone());
        // What each level's references are relative to; outer levels come first.
        let mut within: Vec<Arc<Url>> = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let outer = level.outer.and_then(|outer| within.get(outer)).unwrap_or(&document);
            let own = level.base.as_ref().and_then(|base| resolve(outer, base.trim()));
            within.push(own.map_or_else(|| outer.clone(), Arc::new));
        }
        let mut edits: Vec<Edit> = self.removed.iter().map(|range| (range.clone(), String::new())).collect();
        for site in &self.sites {
            let level = self.levels.get(site.level);
            let outer = level.and_then(|level| level.outer).and_then(|outer| within.get(outer));
            let new = match site.what {
                What::Base => {
                    // At the top, relative ones are relative to the manifest's URL, which the player has wrong if it moved.
                    let must = options.moved && outer.is_none();
                    replaced(&site.value, outer.unwrap_or(&document), must, to)
                }
                What::Segment => templated(&site.value, within.get(site.level).unwrap_or(&document), to),
                What::Document | What::Steering => replaced(&site.value, &document, options.moved, to),
                What::Remote => replaced(&site.value, within.first().unwrap_or(&document), options.moved, to),
            };
            edits.extend(new.map(|new| (site.span.clone(), escape(new).into_owned())));
        }
        let baseless = !self.root_is_empty && self.levels.first().is_some_and(|root| root.base.is_none());
        if options.moved && baseless {
            let prefix = &self.prefix;
            let mut directory = document.join(".").unwrap_or_else(|_| (*document).clone());
            directory.set_query(None);
            let url = to(&directory);
            let element = format!("<{prefix}BaseURL>{}</{prefix}BaseURL>", escape(url));
            edits.push((self.root.end..self.root.end, element));
        }
        edits
    }

    fn delay_edit(&self, value: &str) -> Edit {
        let name_end = self.root.start + 1 + self.prefix.len() + "MPD".len();
        match &self.delay {
            Some(span) => (span.clone(), value.to_owned()),
            None => (name_end..name_end, format!(" suggestedPresentationDelay=\"{value}\"")),
        }
    }
}

fn is_level(tag: Tag) -> bool {
    matches!(tag, Tag::Mpd | Tag::Period | Tag::Set | Tag::Representation)
}

/// Whether a reference would lead past the gateway: it has a scheme, begins with a slash, or climbs above the root, where at
/// the gateway there is more.
fn leads_away(reference: &str, base: &Url) -> bool {
    // What URL parsers pass over.
    let reference = reference.trim_start_matches(|c: char| c <= ' ');
    let scheme = reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '\t' | '\r' | '\n'))
    });
    scheme || reference.starts_with(['/', '\\']) || climbs(reference, base)
}

fn climbs(reference: &str, base: &Url) -> bool {
    // Dots may be written `%2e`.
    if !reference.contains("..") && !reference.contains('%') {
        return false;
    }
    let mut deeper = base.clone();
    deeper.set_path(&format!("/up{}", base.path()));
    let ends = resolve(base, reference).zip(resolve(&deeper, reference));
    ends.is_some_and(|(here, there)| there.path().strip_prefix("/up") != Some(here.path()))
}

fn replaced(reference: &str, base: &Url, must: bool, to: &mut dyn FnMut(&Url) -> String) -> Option<String> {
    if !must && !leads_away(reference, base) {
        return None;
    }
    let url = resolve(base, reference).filter(is_http)?;
    Some(to(&url))
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Replaces a reference that may be a template. Dollars, and widths such as `%05d`, would not survive in a [`Url`], so
/// only the directory before the first `$` is mapped.
fn templated(reference: &str, base: &Url, to: &mut dyn FnMut(&Url) -> String) -> Option<String> {
    let Some(dollar) = reference.find('$').filter(|_| leads_away(reference, base)) else {
        return replaced(reference, base, false, to);
    };
    let query = reference.find(['?', '#']).unwrap_or(reference.len());
    let slash = reference[..dollar.min(query)].rfind(['/', '\\'])?;
    let (directory, rest) = reference.split_at(slash + 1);
    // A host that is itself a template is left alone: nobody can say which one it will be.
    if directory.ends_with("//") {
        return None;
    }
    let mut mapped = replaced(directory, base, true, to)?;
    mapped += rest;
    Some(mapped)
}
