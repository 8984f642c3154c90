//! Of which kind a resource is, from what is known before it is opened.
//!
//! What the bytes say counts most, then the media type, then the name: servers send playlists as `text/plain` and films as
//! `application/octet-stream`, but a body rarely lies about its own first bytes.

use pcdn_core::resource::ResourceHint;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An HLS playlist, master or media (RFC 8216).
    Hls,
    /// A DASH manifest, MPD (ISO/IEC 23009-1).
    Dash,
    /// An FLV stream or file.
    Flv,
    /// Everything else: bytes.
    File,
}

/// Bytes looked at: a byte order mark, an XML declaration and a licence comment fit in.
pub const FIRST_BYTES_MAX: usize = 1024;

/// The kind of what `hint` describes; [`Kind::File`] if nothing says otherwise.
pub fn kind(hint: &ResourceHint) -> Kind {
    by_first_bytes(&hint.first_bytes)
        .or_else(|| by_mime(hint.content_type.as_deref()?))
        .or_else(|| by_extension(hint.url.path()))
        .unwrap_or(Kind::File)
}

/// `None` if there are no bytes or they are undecided; [`Kind::File`] if they are known to be plain media.
fn by_first_bytes(bytes: &[u8]) -> Option<Kind> {
    let bytes = &bytes[..bytes.len().min(FIRST_BYTES_MAX)];
    // The signature and version 1 of the FLV header.
    if bytes.starts_with(b"FLV\x01") {
        return Some(Kind::Flv);
    }
    // Segments are often reached without extension or type: an MP4 box or two aligned MPEG-TS packets are plain bytes.
    let mp4 =
        bytes.get(4..8).is_some_and(|name| matches!(name, b"ftyp" | b"styp" | b"moof" | b"sidx" | b"moov"));
    let ts = bytes.first() == Some(&0x47) && bytes.get(188) == Some(&0x47);
    if mp4 || ts {
        return Some(Kind::File);
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if text.starts_with(b"#EXTM3U") {
        return Some(Kind::Hls);
    }
    let xml = text.starts_with(b"<");
    let mpd =
        text.windows(5).any(|tag| tag[..4] == *b"<MPD" && (tag[4].is_ascii_whitespace() || tag[4] == b'>'));
    (xml && mpd).then_some(Kind::Dash)
}

fn by_mime(content_type: &str) -> Option<Kind> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/vnd.apple.mpegurl" | "application/x-mpegurl" | "audio/mpegurl" | "audio/x-mpegurl" => {
            Some(Kind::Hls)
        }
        "application/dash+xml" => Some(Kind::Dash),
        "video/x-flv" | "video/flv" => Some(Kind::Flv),
        _ => None,
    }
}

fn by_extension(path: &str) -> Option<Kind> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "m3u8" | "m3u" => Some(Kind::Hls),
        "mpd" => Some(Kind::Dash),
        "flv" => Some(Kind::Flv),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, content_type: &str, first_bytes: &[u8], want: Kind) {
        let hint = ResourceHint {
            url: url.parse().unwrap(),
            content_type: Some(content_type.to_owned()).filter(|text| !text.is_empty()),
            first_bytes: first_bytes.to_vec(),
        };
        assert_eq!(kind(&hint), want, "{url} {content_type} {first_bytes:?}");
    }

    #[test]
    fn every_sign_is_enough_and_the_strongest_wins() {
        check("http://a/film.mp4", "", b"", Kind::File);
        check("http://a/", "", b"", Kind::File);
        check("http://a/live/index.M3U8?token=a.flv", "", b"", Kind::Hls);
        check("http://a/x", "Application/vnd.Apple.mpegURL; charset=utf-8", b"", Kind::Hls);
        check("http://a/x.ts", "video/mp2t", b"\xef\xbb\xbf#EXTM3U\n", Kind::Hls);
        check("http://a/manifest.mpd", "text/xml", b"", Kind::Dash);
        check(
            "http://a/x",
            "text/xml",
            b"<?xml version=\"1.0\"?>\n<!-- c -->\n<MPD xmlns=\"u\">",
            Kind::Dash,
        );
        check("http://a/x", "text/xml", b"<?xml version=\"1.0\"?><MPDX/>", Kind::File);
        check("http://a/live/stream", "", b"FLV\x01\x05\0\0\0\x09", Kind::Flv);
        check("http://a/stream.flv", "application/octet-stream", b"", Kind::Flv);
        check("http://a/odd.m3u8", "", b"\0\0\0\x18ftypmp42", Kind::File);
        check("http://a/.m3u8/x", "", b"", Kind::File);
    }
}
