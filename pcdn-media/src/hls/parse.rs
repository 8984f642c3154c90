//! Text to model. Forgiving where players are (unknown tags, blanks, missing commas, `EXTINF` without sense), strict where a
//! guess would fetch wrong bytes (byte ranges, URIs, variables).

use std::time::Duration;

use pcdn_core::fragment::FragmentError;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::define::Scope;
use super::lines::{Attribute, Kind, Line, attributes, lines};
use super::model::{Key, Media, Playlist};
use super::{Variables, malformed};

mod date;
mod master;
mod media;

/// Reads `text`, found at `base`.
pub(super) fn parse(text: &[u8], base: &Url, imports: &Variables) -> Result<Playlist, FragmentError> {
    let mut scope = Scope::new(base, imports);
    Ok(match is_master(text)? {
        true => Playlist::Master(master::read(lines(text)?, &mut scope)?),
        false => {
            let media = media::read(lines(text)?, &mut scope)?;
            Playlist::Media(Media { path: base.path().to_owned(), ..media })
        }
    })
}

/// By the first tag that only one of the two kinds has; mostly among the first lines. An empty one is a media playlist whose
/// stream has not begun.
fn is_master(text: &[u8]) -> Result<bool, FragmentError> {
    for line in lines(text)? {
        match line?.kind() {
            Kind::Tag("EXTINF" | "EXT-X-TARGETDURATION" | "EXT-X-MEDIA-SEQUENCE" | "EXT-X-BYTERANGE", _) => {
                break;
            }
            Kind::Tag("EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF", _)
            | Kind::Tag("EXT-X-SESSION-KEY" | "EXT-X-SESSION-DATA" | "EXT-X-CONTENT-STEERING", _) => {
                return Ok(true);
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Attributes of one tag, with variables substituted.
struct Tag<'s> {
    list: &'s str,
    at: usize,
}

impl Tag<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        attributes(self.list)
            .find(|attribute: &Attribute<'_>| attribute.name == name)
            .map(|found| found.value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.get(name)?.trim().parse().ok()
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        seconds(self.get(name)?)
    }

    fn yes(&self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }

    /// The URL in attribute `URI` or the like, if there is one.
    fn url(&self, name: &str, scope: &mut Scope<'_>) -> Result<Option<Url>, FragmentError> {
        self.get(name).map(|uri| scope.absolute(uri, self.at)).transpose()
    }

    /// The byte range in attribute `BYTERANGE`; without an offset it begins at `default`.
    fn range(&self, default: u64) -> Result<Option<ByteRange>, FragmentError> {
        let Some(text) = self.get("BYTERANGE") else { return Ok(None) };
        byte_range(text, self.at)?.resolve(default, self.at).map(Some)
    }

    /// A key, unless the method is `NONE`. A key whose URI is no URL has none; it is the player's to judge.
    fn key(&self, scope: &mut Scope<'_>) -> Option<Key> {
        let method = self.text("METHOD").filter(|method| method != "NONE")?;
        let url = self.url("URI", scope).ok().flatten();
        let format = self.text("KEYFORMAT").unwrap_or_else(|| "identity".to_owned());
        Some(Key { method, url, format, iv: self.text("IV") })
    }
}

/// Looks at the attributes of a tag whose variables are substituted first.
fn with_tag<T>(
    list: &str,
    line: &Line<'_>,
    scope: &mut Scope<'_>,
    look: impl FnOnce(&Tag<'_>, &mut Scope<'_>) -> Result<T, FragmentError>,
) -> Result<T, FragmentError> {
    let list = scope.substitute(list, line.at)?;
    look(&Tag { list: &list, at: line.at }, scope)
}

/// `n[@o]` as written.
#[derive(Clone, Copy)]
struct RawRange {
    len: u64,
    offset: Option<u64>,
}

impl RawRange {
    fn resolve(self, default: u64, at: usize) -> Result<ByteRange, FragmentError> {
        let start = self.offset.unwrap_or(default);
        let range = start.checked_add(self.len).and_then(|end| ByteRange::new(start, end));
        range.ok_or_else(|| malformed("an impossible byte range", at))
    }
}

/// An offset left empty (`5@`) is one left out.
fn byte_range(text: &str, at: usize) -> Result<RawRange, FragmentError> {
    let number = |text: &str| text.trim().parse().map_err(|_| malformed("a byte range without numbers", at));
    let (len, offset) = text.split_once('@').map_or((text, None), |(len, offset)| (len, Some(offset)));
    let offset = offset.filter(|offset| !offset.trim().is_empty());
    Ok(RawRange { len: number(len)?, offset: offset.map(number).transpose()? })
}

/// A duration in decimal seconds; `None` if it is no number, negative, infinite or above the age of the universe.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// Duration and title of an `EXTINF`. The comma may be missing, and rubbish may follow the number.
pub(super) fn extinf(value: &str) -> Option<(Duration, &str)> {
    let (duration, title) = value.split_once(',').unwrap_or((value, ""));
    let duration = duration.trim_start();
    let number = duration.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(duration.len());
    Some((seconds(&duration[..number])?, title.trim()))
}
