//! A playlist's text with URIs that lead through a gateway. Lines that need no change stay as they are, byte by byte.

use pcdn_core::fragment::FragmentError;
use pcdn_core::resource::Url;

use super::Variables;
use super::define::Scope;
use super::lines::{Attribute, Kind, Line, attributes, lines};

mod live;

/// How a playlist is rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteOptions {
    /// Keys are fetched through the gateway, which passes them on from the origin and neither keeps nor shares them. This is
    /// the default: a page that plays through the gateway often may not ask the origin (CORS). `false` gives players the
    /// origin's own URL.
    pub keys_through_gateway: bool,
    /// Segments behind the live edge where players shall start; `None` leaves it to them, which is 3. More holds the newest
    /// segments back while at least 3 stay; fewer writes an `EXT-X-START`. Low-latency playlists, growing events and
    /// finished ones stay as they are.
    pub live_start: Option<u32>,
    /// Variables of the master playlist this one was found in, for `EXT-X-DEFINE:IMPORT`.
    pub imports: Variables,
}

impl Default for RewriteOptions {
    fn default() -> Self {
        Self { keys_through_gateway: true, live_start: None, imports: Variables::default() }
    }
}

/// The playlist `text`, found at `base` after redirects, with every HTTP URI replaced by what `to` makes of its absolute URL.
///
/// Variables are substituted, and definitions that depend on where the player got the playlist (`QUERYPARAM`, `IMPORT`)
/// become plain ones. Delta updates are no longer offered, because the gateway needs whole playlists. URIs of other schemes
/// (`data:`, `skd:`, `urn:`) and those that cannot be resolved stay.
///
/// ```
/// use pcdn_media::hls::{RewriteOptions, rewrite};
/// let base = "http://cdn.example/live/index.m3u8".parse()?;
/// let text = b"#EXTM3U\r\n#EXTINF:4\r\na.ts\r\n";
/// let out = rewrite(text, &base, &mut |url| format!("/http/cdn.example{}", url.path()), &RewriteOptions::default())?;
/// assert_eq!(out, b"#EXTM3U\r\n#EXTINF:4\r\n/http/cdn.example/live/a.ts\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If it is no playlist, a variable is unknown, or a bound is met.
pub fn rewrite(
    text: &[u8],
    base: &Url,
    to: &mut dyn FnMut(&Url) -> String,
    options: &RewriteOptions,
) -> Result<Vec<u8>, FragmentError> {
    let start = live::start(text, options.live_start)?;
    let mut writer = Writer {
        scope: Scope::new(base, &options.imports),
        to,
        keys_through_gateway: options.keys_through_gateway,
        out: Vec::with_capacity(text.len() * 2),
    };
    for line in lines(text)? {
        let line = line?;
        if start.keeps(&line) {
            writer.line(&line)?;
        }
        start.insert_after(&line, &mut writer.out);
    }
    Ok(writer.out)
}

/// `url` without the request for a delta update (`_HLS_skip`). What makes a reload wait (`_HLS_msn`, `_HLS_part`) stays.
///
/// ```
/// # use pcdn_media::hls::strip_skip;
/// let url = "http://a/x.m3u8?t=%41&_HLS_msn=7&_HLS_skip=YES&_HLS_part=1".parse()?;
/// assert_eq!(strip_skip(&url).as_str(), "http://a/x.m3u8?t=%41&_HLS_msn=7&_HLS_part=1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn strip_skip(url: &Url) -> Url {
    let is_skip = |pair: &&str| pair.split('=').next() == Some("_HLS_skip");
    let mut url = url.clone();
    let Some(query) = url.query().filter(|query| query.split('&').any(|pair| is_skip(&pair))) else {
        return url;
    };
    let kept: Vec<_> = query.split('&').filter(|pair| !is_skip(pair)).collect();
    let kept = Some(kept.join("&")).filter(|query| !query.is_empty());
    url.set_query(kept.as_deref());
    url
}

/// The media playlist `text` with the variables it takes from its master playlist (`EXT-X-DEFINE:IMPORT`) defined by themselves:
/// from then on it stands alone. What `imports` does not have stays as it is.
///
/// ```
/// use pcdn_media::hls::{Playlist, import};
/// let master = b"#EXTM3U\n#EXT-X-DEFINE:NAME=\"host\",VALUE=\"a.example\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
/// let Playlist::Master(master) = Playlist::parse(master, &"http://cdn.example/m.m3u8".parse()?)? else { unreachable!() };
/// let alone = import(b"#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"host\"\n", &master.variables)?;
/// assert_eq!(alone, b"#EXTM3U\n#EXT-X-DEFINE:NAME=\"host\",VALUE=\"a.example\"\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If it is no playlist, or a bound is met.
pub fn import(text: &[u8], imports: &Variables) -> Result<Vec<u8>, FragmentError> {
    let mut out = Vec::with_capacity(text.len());
    for line in lines(text)? {
        let line = line?;
        let Kind::Tag("EXT-X-DEFINE", list) = line.kind() else {
            out.extend_from_slice(line.raw);
            continue;
        };
        let name = attributes(list).find(|found| found.name == "IMPORT").map(|found| found.value);
        let plain =
            name.zip(name.and_then(|name| imports.get(name))).and_then(|(name, value)| plain(name, value));
        match plain {
            Some(plain) => {
                out.extend_from_slice(plain.as_bytes());
                out.extend_from_slice(line.end());
            }
            None => out.extend_from_slice(line.raw),
        }
    }
    Ok(out)
}

/// A definition that holds wherever the playlist is found; `None` if it cannot be written so.
fn plain(name: &str, value: &str) -> Option<String> {
    let writable = ![name, value].iter().any(|text| text.contains(['"', '\r', '\n']));
    writable.then(|| format!("#EXT-X-DEFINE:NAME=\"{name}\",VALUE=\"{value}\""))
}

struct Writer<'d> {
    scope: Scope<'d>,
    to: &'d mut dyn FnMut(&Url) -> String,
    keys_through_gateway: bool,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), FragmentError> {
        let changed = match line.kind() {
            Kind::Idle => None,
            Kind::Uri(uri) => {
                let text = self.scope.substitute(uri, line.at)?;
                self.mirrored(&text).or_else(|| (text != uri).then(|| text.into_owned()))
            }
            Kind::Tag("EXT-X-DEFINE", list) => self.define(list, line)?,
            Kind::Tag("EXT-X-SERVER-CONTROL", list) => without_skip(list),
            Kind::Tag(name, list) => self.tag(name, list, line)?,
        };
        match changed {
            Some(text) if text.is_empty() => {}
            Some(text) => {
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(line.end());
            }
            None => self.out.extend_from_slice(line.raw),
        }
        Ok(())
    }

    /// The URI that leads to `text` through the gateway, if a gateway can lead there.
    fn mirrored(&mut self, text: &str) -> Option<String> {
        let url = self.scope.join(text).filter(is_http)?;
        Some(in_a_line((self.to)(&url)))
    }

    /// A tag with URIs in its attributes, if they change.
    fn tag(&mut self, name: &str, list: &str, line: &Line<'_>) -> Result<Option<String>, FragmentError> {
        if !has_attributes(name) {
            return Ok(None);
        }
        let substituted = self.scope.substitute(list, line.at)?;
        let is_key = matches!(name, "EXT-X-KEY" | "EXT-X-SESSION-KEY");
        let mut out = String::new();
        let mut copied = 0;
        for Attribute { span, value, .. } in attributes(&substituted).filter(|found| is_uri(name, found.name))
        {
            let url = match is_key && !self.keys_through_gateway {
                true => self.scope.join(value).filter(is_http).map(String::from),
                false => self.mirrored(value),
            };
            let Some(url) = url else { continue };
            out += &substituted[copied..span.start];
            out += &url;
            copied = span.end;
        }
        out += &substituted[copied..];
        Ok((out != list).then(|| format!("#{name}:{out}")))
    }

    /// A definition that holds wherever the player got the playlist.
    fn define(&mut self, list: &str, line: &Line<'_>) -> Result<Option<String>, FragmentError> {
        let (name, value) = self.scope.define(list, line.at)?;
        let depends = attributes(list).any(|found| matches!(found.name, "IMPORT" | "QUERYPARAM"));
        Ok(if depends || list.contains("{$") { plain(&name, &value) } else { None })
    }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// A gateway's word that cannot break out of its line or its quotation marks, and is no variable.
fn in_a_line(text: String) -> String {
    match text.contains(['"', '\r', '\n', '{']) {
        true => text.replace('"', "%22").replace(['\r', '\n'], "").replace("{$", "%7B$"),
        false => text,
    }
}

/// Tags whose value is a list of attributes in which variables count.
fn has_attributes(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "MEDIA",
        "STREAM-INF",
        "I-FRAME-STREAM-INF",
        "SESSION-DATA",
        "SESSION-KEY",
        "CONTENT-STEERING",
        "KEY",
        "MAP",
        "DATERANGE",
        "PART",
        "PART-INF",
        "PRELOAD-HINT",
        "RENDITION-REPORT",
        "SKIP",
        "START",
        "SERVER-CONTROL",
    ];
    name.strip_prefix("EXT-X-").is_some_and(|name| NAMES.contains(&name))
}

fn is_uri(tag: &str, attribute: &str) -> bool {
    match attribute {
        "URI" => true,
        "SERVER-URI" => tag == "EXT-X-CONTENT-STEERING",
        "X-ASSET-URI" | "X-ASSET-LIST" => tag == "EXT-X-DATERANGE",
        _ => false,
    }
}

/// `EXT-X-SERVER-CONTROL` without the offer of delta updates, if there is one; empty if nothing else is offered.
fn without_skip(list: &str) -> Option<String> {
    let is_skip = |found: &Attribute<'_>| matches!(found.name, "CAN-SKIP-UNTIL" | "CAN-SKIP-DATERANGES");
    if !attributes(list).any(|found| is_skip(&found)) {
        return None;
    }
    let kept: String =
        attributes(list).filter(|found| !is_skip(found)).map(|found| &list[found.whole]).collect();
    let kept = kept.trim_end_matches(',');
    Some(if kept.is_empty() { String::new() } else { format!("#EXT-X-SERVER-CONTROL:{kept}") })
}
