//! Tests by subject; what they share.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::resource::Url;

use super::*;

mod cutting;
mod live_start;
mod naming;
mod parsing;
mod random;
mod rewriting;

pub(super) const MASTER: &[u8] = include_bytes!("../../tests/data/hls/master.m3u8");
pub(super) const VOD: &[u8] = include_bytes!("../../tests/data/hls/vod.m3u8");
pub(super) const LOW_LATENCY: &[u8] = include_bytes!("../../tests/data/hls/low_latency.m3u8");
pub(super) const ODD: &[u8] = include_bytes!("../../tests/data/hls/odd.m3u8");

pub(super) fn url(text: &str) -> Url {
    text.parse().unwrap()
}

pub(super) fn base() -> Url {
    url("http://a.example/film/index.m3u8?who=me&x=1")
}

pub(super) fn media(text: &[u8]) -> Media {
    match Playlist::parse(text, &base()).unwrap() {
        Playlist::Media(media) => media,
        Playlist::Master(_) => panic!("a master playlist"),
    }
}

pub(super) fn master(text: &[u8]) -> Master {
    match Playlist::parse(text, &base()).unwrap() {
        Playlist::Master(master) => master,
        Playlist::Media(_) => panic!("a media playlist"),
    }
}

pub(super) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A live playlist of `count` four-second segments from number `first`; `name` gives their URIs.
pub(super) fn live(first: u64, count: u64, name: impl Fn(u64) -> String) -> Bytes {
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for number in first..first + count {
        text += &format!("#EXTINF:4,\n{}\n", name(number));
    }
    text.into()
}
