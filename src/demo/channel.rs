//! The demo's live stream over HTTP-FLV, as an ingest server gives it: to each viewer from the keyframe before it came, with
//! times that begin at 0 for each.

use std::time::Duration;

use axum::body::Bytes;
use tokio::time::Instant;

use super::film::{Film, GOP, flv};

/// A stream that began at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    film: Film,
    began: Instant,
}

impl Channel {
    /// Begins now, some pictures on: who tunes in first gets what there was before, too.
    pub(super) fn begin(film: Film) -> Self {
        let now = Instant::now();
        Self { film, began: now.checked_sub(Duration::from_millis(flv::ms_of(GOP))).unwrap_or(now) }
    }

    /// One viewer's connection.
    pub(super) fn tune_in(&self) -> Tuned {
        let ms = self.began.elapsed().as_millis() as u64;
        let newest = (0..).find(|number| flv::ms_of(number + 1) > ms).unwrap_or_default();
        let first = newest / GOP * GOP;
        Tuned { channel: *self, first, next: first, greeted: false }
    }
}

/// A connection to a [`Channel`].
#[derive(Debug)]
pub(super) struct Tuned {
    channel: Channel,
    first: u64,
    next: u64,
    greeted: bool,
}

impl Tuned {
    /// The next bytes, when it is time for them.
    pub(super) async fn next(&mut self) -> Bytes {
        let film = &self.channel.film;
        if !std::mem::replace(&mut self.greeted, true) {
            return flv::header(film).into();
        }
        let due = Duration::from_millis(flv::ms_of(self.next));
        tokio::time::sleep_until(self.channel.began + due).await;
        let ms = (flv::ms_of(self.next) - flv::ms_of(self.first)) as u32;
        let tag = flv::picture(film, self.next, ms);
        self.next += 1;
        tag.into()
    }
}

#[cfg(test)]
mod tests {
    use pcdn_media::flv::tag::Reader;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_viewer_begins_at_a_keyframe_with_time_0_and_misses_nothing() {
        let film = Film::of(30_000);
        let channel = Channel::begin(film);
        for wait in [0, 700, 3_100] {
            tokio::time::advance(Duration::from_millis(wait)).await;
            let (mut tuned, mut reader, mut seen) = (channel.tune_in(), Reader::default(), Vec::new());
            while seen.len() < 60 {
                let mut bytes = tuned.next().await;
                while let Some(tag) = reader.read(&mut bytes).unwrap() {
                    if let Some(number) = flv::is_right(&film, &tag.body) {
                        seen.push((number.expect("a picture of the film"), tag.timestamp));
                    }
                }
            }
            assert_eq!((seen[0].0 % GOP, seen[0].1), (0, 0));
            assert!(seen.windows(2).all(|two| two[1].0 == two[0].0 + 1 && two[1].1 == two[0].1 + 40));
        }
    }
}
