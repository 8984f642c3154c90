//! The demo's film as files: what a packager writes for a publisher, on demand or as time goes on, with the publisher's manifests.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use pcdn_core::id::Identity;
use pcdn_core::resource::Url;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

use super::film::{FPS, Film, GOP, fmp4};
use super::{DemoError, failed};
use crate::publish::{self, Follow};

/// Seconds of a segment: one keyframe's pictures.
const SEGMENT_S: u64 = GOP / FPS;
/// Segments that a live playlist lists.
const WINDOW: u64 = 8;
/// Segments that are kept after they left it, for who plays behind.
const KEPT: u64 = 8;
/// Segments there are when a live stream begins to be served: players begin three behind the edge.
const BEGUN: u64 = 4;
/// The initialisation segment.
const INIT: &str = "init.mp4";

/// The HLS playlist's name, on demand or live.
pub(super) const HLS: &str = "film.m3u8";
/// The DASH manifest's name.
pub(super) const DASH: &str = "film.mpd";

/// The bytes that a segment called `name` has; `None` if there is none of that name.
pub(super) fn segment(film: &Film, name: &str) -> Option<Vec<u8>> {
    if name == INIT {
        return Some(fmp4::init(film));
    }
    let number = name.strip_prefix("film-")?.strip_suffix(".m4s")?.parse().ok()?;
    Some(fmp4::fragment(film, number))
}

/// Writes a film of `segments` segments into `dir`, listed by HLS and DASH, and signs it. Blocks.
pub(super) fn on_demand(dir: &Path, film: &Film, segments: u64, key: &Identity) -> Result<(), DemoError> {
    let written = || -> io::Result<()> {
        std::fs::write(dir.join(INIT), fmp4::init(film))?;
        for number in 0..segments {
            std::fs::write(dir.join(name_of(number)), fmp4::fragment(film, number))?;
        }
        std::fs::write(dir.join(HLS), format!("{}#EXT-X-ENDLIST\n", playlist(0, segments)))?;
        std::fs::write(dir.join(DASH), mpd(film, segments))
    };
    written().map_err(failed("the film's files"))?;
    let anywhere = Url::parse("http://localhost/").map_err(failed("the film's place"))?;
    publish::sign_dir(dir, &anywhere, key, |_| None).map_err(failed("signing"))?;
    Ok(())
}

/// A live packager with its signer; ends when dropped.
#[derive(Debug)]
pub(super) struct Packager(JoinHandle<()>);

impl Packager {
    /// Begins to write a live stream into `dir`. When this returns, there is enough of it to play.
    pub(super) async fn start(dir: PathBuf, film: Film, key: Identity) -> Result<Self, DemoError> {
        let mut writer = Writer { dir, film, key, follow: None, next: 0 };
        writer = tokio::task::spawn_blocking(move || writer.begin().map(|()| writer))
            .await
            .map_err(failed("the packager"))?
            .map_err(failed("the packager"))?;
        Ok(Self(tokio::spawn(go_on(writer))))
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn go_on(mut writer: Writer) {
    let every = std::time::Duration::from_secs(SEGMENT_S);
    let mut due = interval_at(Instant::now() + every, every);
    loop {
        due.tick().await;
        let written = tokio::task::spawn_blocking(move || writer.add().map(|()| writer)).await;
        match written {
            Ok(Ok(same)) => writer = same,
            Ok(Err(error)) => return tracing::error!(%error, "the packager stopped"),
            // The demo ends.
            Err(_) => return,
        }
    }
}

/// What a packager has written so far.
struct Writer {
    dir: PathBuf,
    film: Film,
    key: Identity,
    follow: Option<Follow>,
    next: u64,
}

impl Writer {
    fn begin(&mut self) -> io::Result<()> {
        std::fs::write(self.dir.join(INIT), fmp4::init(&self.film))?;
        for number in 0..BEGUN - 1 {
            std::fs::write(self.dir.join(name_of(number)), fmp4::fragment(&self.film, number))?;
        }
        self.next = BEGUN - 1;
        self.add()
    }

    /// One more segment, then the list with it, then its proof.
    fn add(&mut self) -> io::Result<()> {
        let number = self.next;
        std::fs::write(self.dir.join(name_of(number)), fmp4::fragment(&self.film, number))?;
        let first = (number + 1).saturating_sub(WINDOW);
        let (list, draft) = (self.dir.join(HLS), self.dir.join(".draft"));
        std::fs::write(&draft, playlist(first, number + 1))?;
        std::fs::rename(draft, &list)?;
        if let Some(old) = number.checked_sub(WINDOW + KEPT) {
            std::fs::remove_file(self.dir.join(name_of(old)))?;
        }
        self.next += 1;
        let follow = match &mut self.follow {
            Some(follow) => follow,
            none => none.insert(Follow::new(&list, None, None, self.key.clone()).map_err(io::Error::other)?),
        };
        follow.look().into_iter().try_for_each(|signed| signed.map(drop)).map_err(io::Error::other)
    }
}

fn name_of(number: u64) -> String {
    format!("film-{number}.m4s")
}

/// Segments `first..end` as HLS.
fn playlist(first: u64, end: u64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{SEGMENT_S}\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{INIT}\"\n"
    );
    for number in first..end {
        let _ = writeln!(text, "#EXTINF:{SEGMENT_S}.0,\n{}", name_of(number));
    }
    text
}

/// All segments as DASH.
fn mpd(film: &Film, segments: u64) -> String {
    let (width, height) = film.pixels();
    let seconds = segments * SEGMENT_S;
    let bandwidth = fmp4::fragment(film, 1).len() as u64 * 8 / SEGMENT_S;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT{seconds}S\" minBufferTime=\"PT{SEGMENT_S}S\">\n\
         <Period start=\"PT0S\"><AdaptationSet mimeType=\"video/mp4\" contentType=\"video\" segmentAlignment=\"true\" startWithSAP=\"1\">\n\
         <SegmentTemplate timescale=\"1\" duration=\"{SEGMENT_S}\" startNumber=\"0\" initialization=\"{INIT}\" media=\"film-$Number$.m4s\"/>\n\
         <Representation id=\"video\" codecs=\"avc1.42C028\" width=\"{width}\" height=\"{height}\" frameRate=\"{FPS}\" bandwidth=\"{bandwidth}\"/>\n\
         </AdaptationSet></Period></MPD>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_window_slides_and_is_signed_at_each_step() {
        let dir = tempfile::tempdir().unwrap();
        let key = Identity::from_secret([7; 32]);
        let (path, film) = (dir.path().to_owned(), Film::of(20_000));
        let mut writer = Writer { dir: path.clone(), film, key, follow: None, next: 0 };
        writer.begin().unwrap();
        let signed = || {
            pcdn_core::verify::Manifest::parse(&std::fs::read(path.join("film.m3u8.pcdn")).unwrap()).unwrap()
        };
        assert_eq!(signed().len() as u64, BEGUN + 1, "with the initialisation segment");
        (0..2 * WINDOW + KEPT).for_each(|_| writer.add().unwrap());
        let list = std::fs::read_to_string(path.join(HLS)).unwrap();
        assert_eq!(list.matches("#EXTINF").count() as u64, WINDOW);
        let newest = name_of(writer.next - 1);
        assert!(
            list.contains(&newest)
                && segment(&film, &newest).unwrap() == std::fs::read(path.join(&newest)).unwrap()
        );
        let kept = std::fs::read_dir(&path).unwrap().count() as u64;
        assert_eq!(kept, WINDOW + KEPT + 3, "segments, initialisation, list and manifest");
    }
}
