//! The demo's player: what hls.js or mpegts.js do, without a screen. It asks its viewer's gateway, as any player does, checks every
//! byte against the film, and tells how long it waited.

mod head;

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Listing, Part, Slicing};
use pcdn_core::id::Rid;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHint, Url};
use pcdn_core::unit::Time;
use pcdn_media::flv::tag::Reader;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::film::{FPS, Film, flv};
use super::{DemoError, failed, hex, packager};
use head::PlayHead;

/// Media that a player holds ahead of what it shows; browsers' players hold 10 to 30 s.
const AHEAD: Duration = Duration::from_secs(10);
/// Segments behind the edge where a player of a live playlist begins (RFC 8216, 6.3.3).
const LIVE_BEHIND: usize = 3;
/// How often the list of a live stream is loaded again: half a segment (RFC 8216, 6.3.4).
const RELOAD: Duration = Duration::from_secs(1);
/// A player begins once it has so much: a segment, or a second of a continuous stream.
const CUSHION: Duration = Duration::from_secs(1);

/// What a player saw.
#[derive(Debug)]
pub(super) struct Watched {
    /// Bytes of media it got.
    pub(super) bytes: u64,
    /// What they hash to, in the order it got them.
    pub(super) sha256: String,
    /// Whether each byte is the film's, and nothing was left out.
    pub(super) right: bool,
    /// How it played.
    pub(super) head: PlayHead,
}

/// A player of one film.
#[derive(Debug)]
pub(super) struct Player {
    client: reqwest::Client,
    film: Film,
    begun: Instant,
    hasher: Sha256,
    bytes: u64,
    right: bool,
    head: PlayHead,
}

impl Player {
    /// Pressed play now.
    pub(super) fn new(film: Film) -> Result<Self, DemoError> {
        // Process-wide and only once; a program that installed its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().map_err(failed("the player"))?;
        let head = PlayHead::new(CUSHION);
        Ok(Self { client, film, begun: Instant::now(), hasher: Sha256::new(), bytes: 0, right: true, head })
    }

    /// Plays `length` of what the playlist or manifest at `url` lists, or until it ends.
    pub(super) async fn playlist(mut self, url: &Url, length: Duration) -> Result<Watched, DemoError> {
        let mut list = open(url)?;
        let mut position = None;
        loop {
            let document = self.get(url, None).await?;
            let supplied = list.supply(Time::ZERO, Part::Document(url.clone(), document));
            supplied.map_err(failed("the playlist"))?;
            let (mut listed, ended) = drain(list.as_mut());
            if position.is_none() && !ended {
                leave_out_what_is_old(&mut listed);
            }
            for one in listed {
                position = self.segment(&one, position).await?;
                if self.head.media() >= length {
                    return Ok(self.watched());
                }
            }
            if ended {
                return Ok(self.watched());
            }
            tokio::time::sleep(RELOAD).await;
        }
    }

    /// Plays one segment, the one after `before`.
    async fn segment(&mut self, one: &Listing, before: Option<u64>) -> Result<Option<u64>, DemoError> {
        let bytes = self.get(&one.url, one.range).await?;
        let name = one.url.path_segments().and_then(Iterator::last).unwrap_or_default();
        self.right &= packager::segment(&self.film, name).is_some_and(|right| right == bytes);
        self.take(&bytes);
        if one.init {
            return Ok(before);
        }
        let number = name.trim_start_matches("film-").trim_end_matches(".m4s").parse().ok();
        self.right &= before.is_none_or(|before| number == Some(before + 1));
        self.head.arrived(self.begun.elapsed(), one.duration.unwrap_or_default());
        tokio::time::sleep(self.head.beyond(self.begun.elapsed(), AHEAD)).await;
        Ok(number)
    }

    /// Plays `length` of the continuous stream at `url`.
    pub(super) async fn broadcast(mut self, url: &Url, length: Duration) -> Result<Watched, DemoError> {
        let answer = self.client.get(url.clone()).send().await.map_err(failed("the stream"))?;
        let mut answer = answer.error_for_status().map_err(failed("the stream"))?;
        let (mut reader, mut position) = (Reader::default(), None);
        while let Some(mut chunk) = answer.chunk().await.map_err(failed("the stream"))? {
            self.take(&chunk);
            while let Some(tag) = reader.read(&mut chunk).map_err(failed("the stream"))? {
                let Some(number) = flv::is_right(&self.film, &tag.body) else { continue };
                self.right &= match (position, number) {
                    (Some(before), Some(number)) => number == before + 1,
                    (None, number) => number.is_some(),
                    (Some(_), None) => false,
                };
                position = number.or(position);
                self.head.arrived(self.begun.elapsed(), Duration::from_secs(1) / FPS as u32);
            }
            if self.head.media() >= length {
                return Ok(self.watched());
            }
        }
        // It has no end of its own.
        self.right = false;
        Ok(self.watched())
    }

    async fn get(&self, url: &Url, range: Option<ByteRange>) -> Result<Bytes, DemoError> {
        let mut request = self.client.get(url.clone());
        if let Some(range) = range {
            request =
                request.header(http::header::RANGE, format!("bytes={}-{}", range.start(), range.end() - 1));
        }
        let answer = request.send().await.map_err(failed("asking the gateway"))?;
        let answer = answer.error_for_status().map_err(failed("asking the gateway"))?;
        answer.bytes().await.map_err(failed("the gateway's answer"))
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn watched(self) -> Watched {
        let right = self.right && self.head.media() > Duration::ZERO;
        Watched { bytes: self.bytes, sha256: hex(&self.hasher.finalize()), right, head: self.head }
    }
}

/// Who reads the list at `url`.
fn open(url: &Url) -> Result<Box<dyn Slicing>, DemoError> {
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    let kind = pcdn_media::standard().into_iter().max_by_key(|kind| kind.fit(&hint));
    let kind = kind.ok_or("nothing reads it").map_err(failed("the playlist"))?;
    let resource = Resource { url: url.clone(), rid: Rid([0; 32]), head: None };
    kind.open(&resource).map_err(failed("the playlist"))
}

/// A player of a live list begins near its edge.
fn leave_out_what_is_old(listed: &mut Vec<Listing>) {
    let media = listed.iter().filter(|one| !one.init).count();
    let mut old = media.saturating_sub(LIVE_BEHIND);
    listed.retain(|one| {
        let keep = one.init || old == 0;
        old -= usize::from(!keep);
        keep
    });
}

/// What is listed anew, and whether the list has ended.
fn drain(list: &mut dyn Slicing) -> (Vec<Listing>, bool) {
    let (mut listed, mut ended) = (Vec::new(), false);
    while let Some(cut) = list.cut() {
        match cut {
            Cut::Listed(one) => listed.push(one),
            Cut::End => ended = true,
            _ => {}
        }
    }
    (listed, ended)
}
