//! A playlist as lines, and a tag's value as attributes. Shared by the parser and the rewriter, so that both see the same.

use std::borrow::Cow;
use std::ops::Range;

use pcdn_core::fragment::FragmentError;

use super::{DOCUMENT_BYTES_MAX, LINE_BYTES_MAX, at_most, malformed};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// Where it begins in the document.
    pub(super) at: usize,
    /// All of it, with its line end and a byte order mark.
    pub(super) raw: &'t [u8],
    /// Its text without line end and surrounding blanks. Bytes that are no UTF-8 (Latin-1 titles exist) are replaced.
    pub(super) text: Cow<'t, str>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'l> {
    /// Nothing, or a comment.
    Idle,
    /// `#EXT…`: its name without `#`, and what follows the colon.
    Tag(&'l str, &'l str),
    /// A URI.
    Uri(&'l str),
}

impl Line<'_> {
    pub(super) fn kind(&self) -> Kind<'_> {
        match self.text.strip_prefix('#') {
            None if self.text.is_empty() => Kind::Idle,
            None => Kind::Uri(&self.text),
            Some(tag) if tag.starts_with("EXT") => {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                Kind::Tag(name, value)
            }
            Some(_) => Kind::Idle,
        }
    }

    /// The line end, as it is written.
    pub(super) fn end(&self) -> &[u8] {
        let len = match self.raw {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        &self.raw[self.raw.len() - len..]
    }
}

/// The lines of a document that starts with `#EXTM3U` and is not too long. Together their `raw` is the document.
///
/// # Errors
/// Here if the document is no playlist, there if a line is too long.
pub(super) fn lines(
    document: &[u8],
) -> Result<impl Iterator<Item = Result<Line<'_>, FragmentError>>, FragmentError> {
    at_most(DOCUMENT_BYTES_MAX, document.len(), "bytes")?;
    let text = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document).trim_ascii_start();
    if !text.starts_with(b"#EXTM3U") {
        return Err(malformed("no #EXTM3U", 0));
    }
    let mut at = 0;
    Ok(std::iter::from_fn(move || {
        let rest = document.get(at..).filter(|rest| !rest.is_empty())?;
        let len = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let line = line(at, &rest[..len]);
        at += len;
        Some(line)
    }))
}

fn line(at: usize, raw: &[u8]) -> Result<Line<'_>, FragmentError> {
    at_most(LINE_BYTES_MAX, raw.len(), "bytes in a line")?;
    let bytes = if at == 0 { raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw) } else { raw };
    let bytes = bytes.trim_ascii();
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    Ok(Line { at, raw, text })
}

/// One `NAME=value` of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'l> {
    pub(super) name: &'l str,
    /// Without quotation marks.
    pub(super) value: &'l str,
    /// Where the value lies in the list, without quotation marks.
    pub(super) span: Range<usize>,
    /// Where the whole attribute lies in the list, with the comma after it.
    pub(super) whole: Range<usize>,
}

/// The attributes of a list. What is none (`,,`, a name without `=`) is passed over; a quotation mark that is never closed
/// reaches to the end.
pub(super) fn attributes(list: &str) -> impl Iterator<Item = Attribute<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at;
            let rest = list.get(start..).filter(|rest| !rest.is_empty())?;
            let Some(mark) = rest.find(['=', ',']) else {
                at = list.len();
                return None;
            };
            if rest.as_bytes()[mark] == b',' {
                at = start + mark + 1;
                continue;
            }
            let name = rest[..mark].trim();
            let span = value_span(list, start + mark + 1);
            at = list[span.end..].find(',').map_or(list.len(), |comma| span.end + comma + 1);
            return Some(Attribute { name, value: &list[span.clone()], span, whole: start..at });
        }
    })
}

/// Where the value that begins at `from` lies.
fn value_span(list: &str, from: usize) -> Range<usize> {
    let blanks = list[from..].len() - list[from..].trim_start().len();
    let from = from + blanks;
    match list[from..].strip_prefix('"') {
        Some(quoted) => from + 1..from + 1 + quoted.find('"').unwrap_or(quoted.len()),
        None => {
            let value = &list[from..];
            let value = value[..value.find(',').unwrap_or(value.len())].trim_end();
            from..from + value.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, want: &[(&str, &str)]) {
        let got: Vec<_> = attributes(list).map(|found| (found.name, found.value)).collect();
        assert_eq!(got, want, "{list}");
    }

    #[test]
    fn attribute_lists_as_they_are_met() {
        check("", &[]);
        check("A=1", &[("A", "1")]);
        check("A=1,B=\"x,y=z\",C=0x1F", &[("A", "1"), ("B", "x,y=z"), ("C", "0x1F")]);
        check(" A = 1 , B = \" x \" ,C=", &[("A", "1"), ("B", " x "), ("C", "")]);
        check(",,A=1,,word,B=2,", &[("A", "1"), ("B", "2")]);
        check("A=\"never closed,B=2", &[("A", "never closed,B=2")]);
        check("A=\"x\"rubbish,B=2", &[("A", "x"), ("B", "2")]);
        check("word", &[]);
        check("Ä=é,B=\"ü\"", &[("Ä", "é"), ("B", "ü")]);
    }

    #[test]
    fn lines_are_the_document() {
        let document = b"\xef\xbb\xbf#EXTM3U\r\n\n  #EXT-X-A:b \n#note\nx y\xff.ts";
        let lines: Vec<_> = lines(document).unwrap().map(Result::unwrap).collect();
        assert_eq!(lines.iter().flat_map(|line| line.raw).copied().collect::<Vec<_>>(), document);
        let kinds: Vec<_> = lines.iter().map(Line::kind).collect();
        let want = [
            Kind::Tag("EXTM3U", ""),
            Kind::Idle,
            Kind::Tag("EXT-X-A", "b"),
            Kind::Idle,
            Kind::Uri("x y\u{fffd}.ts"),
        ];
        assert_eq!(kinds, want);
        assert_eq!((lines[0].end(), lines[1].end(), lines[4].end()), (&b"\r\n"[..], &b"\n"[..], &b""[..]));
    }
}
