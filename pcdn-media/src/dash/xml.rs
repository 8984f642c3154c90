//! The manifest as XML: which elements mean something, where they stand in the text, and nothing else.
//!
//! Parser and rewriter walk with the same [`Walker`], so that they agree on what a `BaseURL` is: an element of the manifest's
//! own namespace in the place where the standard has it. Everything else is [`Tag::Other`], and so is all inside it.
//! No document type is read and no entity expanded but the five of XML and character references.

use std::borrow::Cow;
use std::ops::Range;

use pcdn_core::fragment::FragmentError;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::tag::Tag;
use super::{malformed, too_much};

/// Bytes of a manifest at most. A day of 2 s segments, listed one by one with signed URLs, has 13 MB.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Elements inside each other at most: the standard has 7 levels, protection systems add some.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a URL, template or other value that is read at most: what servers take as a request line (RFC 9112 section 3
/// asks for 8,000). Values that are passed over, such as protection data, may be longer.
pub const VALUE_BYTES_MAX: usize = 8 << 10;

/// What the walker meets.
#[derive(Debug)]
pub(super) enum Step<'t> {
    Open(Element<'t>),
    /// An element ends; with its text, if it is of those that have some, and where its content and the whole of it stand.
    Close {
        tag: Tag,
        text: String,
        inner: Range<usize>,
        outer: Range<usize>,
    },
}

/// The start of an element.
#[derive(Debug)]
pub(super) struct Element<'t> {
    pub tag: Tag,
    /// The start tag, `<` to `>`.
    pub span: Range<usize>,
    /// Name and attributes, and where they stand.
    raw: &'t str,
    at: usize,
}

impl<'t> Element<'t> {
    /// The name with its prefix, as written.
    pub(super) fn name(&self) -> &'t str {
        let end = self.raw.find(|c: char| c.is_ascii_whitespace() || c == '/').unwrap_or(self.raw.len());
        &self.raw[..end]
    }

    /// Whether it ends where it begins: `<MPD/>`.
    pub(super) fn is_empty(&self) -> bool {
        self.raw.ends_with('/')
    }

    pub(super) fn attributes(&self) -> Attributes<'t> {
        let name = self.name().len();
        Attributes { rest: &self.raw[name..], at: self.at + name }
    }
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Attribute<'t> {
    pub name: &'t str,
    /// As written, between the quotes.
    pub raw: &'t str,
    /// Where that stands.
    pub span: Range<usize>,
}

impl<'t> Attribute<'t> {
    /// The value, with the entities of XML put in.
    pub(super) fn value(&self) -> Result<Cow<'t, str>, FragmentError> {
        if self.raw.len() > VALUE_BYTES_MAX {
            return Err(too_much(VALUE_BYTES_MAX, "bytes of a value"));
        }
        unescape(self.raw).map_err(|error| malformed(error, self.span.start))
    }

    /// The value read by `read`; malformed if that gives nothing.
    pub(super) fn read<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<T, FragmentError> {
        let value = self.value()?;
        read(value.trim()).ok_or_else(|| {
            let shown: String = value.chars().take(40).collect();
            malformed(format!("{} is {shown:?}", self.name), self.span.start)
        })
    }
}

/// The attributes of a start tag, each with its place. (The XML reader tells no places.)
#[derive(Debug)]
pub(super) struct Attributes<'t> {
    rest: &'t str,
    at: usize,
}

impl<'t> Iterator for Attributes<'t> {
    type Item = Result<Attribute<'t>, FragmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        self.at += self.rest.len() - text.len();
        self.rest = "";
        if text.is_empty() {
            return None;
        }
        let split = || {
            let (name, after) = text.split_once('=')?;
            let quoted = after.trim_ascii_start();
            let quote = quoted.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (raw, rest) = quoted[1..].split_once(quote)?;
            Some((name.trim_ascii_end(), raw, rest))
        };
        let Some((name, raw, rest)) = split() else {
            return Some(Err(malformed("an attribute without a value", self.at)));
        };
        let end = self.at + text.len() - rest.len();
        self.at = end;
        self.rest = rest;
        Some(Ok(Attribute { name, raw, span: end - 1 - raw.len()..end - 1 }))
    }
}

/// Walks a manifest element by element.
pub(super) struct Walker<'t> {
    reader: Reader<&'t [u8]>,
    text: &'t str,
    /// Length of the byte order mark, which the reader is not shown.
    mark: usize,
    open: Vec<Open<'t>>,
    root: Option<Root<'t>>,
    /// It is no manifest, but what one has elsewhere.
    remote: bool,
}

struct Open<'t> {
    tag: Tag,
    span: Range<usize>,
    text: Cow<'t, str>,
}

/// The root's prefix and namespace: both are the manifest's own.
#[derive(Clone, Copy)]
struct Root<'t> {
    prefix: Option<&'t str>,
    namespace: Option<&'t str>,
}

impl<'t> Walker<'t> {
    pub(super) fn new(text: &'t [u8]) -> Result<Self, FragmentError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(too_much(DOCUMENT_BYTES_MAX, "bytes"));
        }
        let text = std::str::from_utf8(text).map_err(|error| malformed("no UTF-8", error.valid_up_to()))?;
        let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(bare);
        reader.config_mut().expand_empty_elements = true;
        let mark = text.len() - bare.len();
        Ok(Self { reader, text, mark, open: Vec::new(), root: None, remote: false })
    }

    /// Walks elements that a manifest has elsewhere (`@xlink:href`): one, or several one after another.
    pub(super) fn remote(text: &'t [u8]) -> Result<Self, FragmentError> {
        Ok(Self { remote: true, ..Self::new(text)? })
    }

    /// The next start or end of an element; `None` after the root's end.
    pub(super) fn step(&mut self) -> Result<Option<Step<'t>>, FragmentError> {
        loop {
            let from = self.position();
            let event = self
                .reader
                .read_event()
                .map_err(|error| malformed(error, self.reader.error_position() as usize + self.mark))?;
            match event {
                Event::Start(_) => return self.start(from).map(Some),
                Event::End(_) => return self.end(from).map(Some),
                Event::Text(text) => self.take(from, text.into_inner())?,
                Event::CData(text) => self.take(from, text.into_inner())?,
                Event::GeneralRef(name) => {
                    let character = name.resolve_char_ref().map_err(|error| malformed(error, from))?;
                    let known = character.map(String::from).map(Cow::Owned);
                    let known = known.or_else(|| resolve_xml_entity(&name).map(Cow::Borrowed));
                    self.take(from, known.ok_or_else(|| malformed("an unknown entity", from))?)?;
                }
                Event::Eof if self.open.is_empty() && self.root.is_some() => return Ok(None),
                Event::Eof => return Err(malformed("ends too early", from)),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn position(&self) -> usize {
        self.reader.buffer_position() as usize + self.mark
    }

    fn start(&mut self, from: usize) -> Result<Step<'t>, FragmentError> {
        let span = from..self.position();
        if self.open.len() >= DEPTH_MAX {
            return Err(too_much(DEPTH_MAX, "levels"));
        }
        let raw = self.text.get(span.start + 1..span.end.saturating_sub(1)).unwrap_or_default();
        let parent = self.open.last().map(|open| open.tag);
        let mut element = Element { tag: Tag::Other, raw, at: span.start + 1, span: span.clone() };
        if parent.is_none() {
            self.begin(&element)?;
        }
        let (prefix, local) = split_name(element.name());
        let parent = parent.or_else(|| Tag::around(local).filter(|_| self.remote));
        if parent != Some(Tag::Other) && self.is_ours(prefix, &element)? {
            element.tag = Tag::of(parent, local);
        }
        self.open.push(Open { tag: element.tag, span, text: Cow::Borrowed("") });
        Ok(Step::Open(element))
    }

    /// A root: it alone says which namespace is the manifest's.
    fn begin(&mut self, element: &Element<'t>) -> Result<(), FragmentError> {
        let (prefix, local) = split_name(element.name());
        if !self.remote && (local != "MPD" || self.root.is_some()) {
            return Err(malformed("no MPD", element.span.start));
        }
        self.root = Some(Root { prefix, namespace: namespace_for(prefix, element)? });
        Ok(())
    }

    fn is_ours(&self, prefix: Option<&str>, element: &Element<'t>) -> Result<bool, FragmentError> {
        let Some(root) = self.root else { return Ok(false) };
        if root.prefix != prefix {
            return Ok(false);
        }
        let declared = namespace_for(prefix, element)?;
        Ok(declared.is_none() || declared == root.namespace)
    }

    fn end(&mut self, from: usize) -> Result<Step<'t>, FragmentError> {
        let Some(open) = self.open.pop() else { return Err(malformed("an end without a start", from)) };
        let inner = open.span.end..from.max(open.span.end);
        let outer = open.span.start..self.position();
        Ok(Step::Close { tag: open.tag, text: open.text.into_owned(), inner, outer })
    }

    fn take(&mut self, from: usize, more: Cow<'t, str>) -> Result<(), FragmentError> {
        let Some(open) = self.open.last_mut().filter(|open| open.tag.has_text()) else { return Ok(()) };
        if open.text.len() + more.len() > VALUE_BYTES_MAX {
            return Err(malformed("a URL that is too long", from));
        }
        open.text += more;
        Ok(())
    }
}

fn split_name(name: &str) -> (Option<&str>, &str) {
    name.split_once(':').map_or((None, name), |(prefix, local)| (Some(prefix), local))
}

/// The namespace that a start tag itself binds to `prefix`.
fn namespace_for<'t>(prefix: Option<&str>, element: &Element<'t>) -> Result<Option<&'t str>, FragmentError> {
    if !element.raw.contains("xmlns") {
        return Ok(None);
    }
    for attribute in element.attributes() {
        let attribute = attribute?;
        let bound = attribute.name.strip_prefix("xmlns").map(|rest| rest.strip_prefix(':'));
        if bound == Some(prefix) {
            return Ok(Some(attribute.raw));
        }
    }
    Ok(None)
}
