//! What the demo's origin publishes.

use bytes::Bytes;
use pcdn_core::id::Identity;
use pcdn_core::unit::{ByteSize, Rate};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::channel::Channel;
use super::film::{FPS, Film, GOP};
use super::packager::{self, Packager};
use super::{DemoError, DemoMedia, DemoOptions, DemoOrigin, failed, hex};

/// Seconds of a film on demand.
const FILM_S: u64 = 30;
/// Seconds a live stream is watched.
pub(super) const WATCHED_S: u64 = 24;
const FILE: &str = "film.bin";
const LIVE_FLV: &str = "film.flv";

/// What is published, and where.
#[derive(Debug)]
pub(super) struct Site {
    origin: DemoOrigin,
    media: DemoMedia,
    film: Film,
    /// What the file hashes to.
    sha256: String,
    /// What else must live as long as it is served.
    _files: Option<TempDir>,
    _packager: Option<Packager>,
}

impl Site {
    /// Makes it, and serves it.
    pub(super) async fn publish(options: &DemoOptions) -> Result<Self, DemoError> {
        let rate = options.origin_rate;
        let film = Film::of(film_rate(options));
        let key = crate::identity::ephemeral().map_err(failed("the publisher's key"))?;
        let (mut sha256, mut files, mut packager) = (String::new(), None, None);
        let origin = match options.media {
            DemoMedia::File => {
                let size = options.size;
                let made = tokio::task::spawn_blocking(move || file(size, &key)).await;
                let (content, manifest) = made.map_err(failed("the content"))??;
                sha256 = hex(&Sha256::digest(&content));
                let files = vec![(FILE.to_owned(), content), (format!("{FILE}.pcdn"), manifest)];
                DemoOrigin::start(files, rate).await
            }
            DemoMedia::Hls | DemoMedia::Dash => {
                let dir = tempfile::tempdir().map_err(failed("a temporary directory"))?;
                let path = dir.path().to_owned();
                let segments = FILM_S * FPS / GOP;
                let made = move || packager::on_demand(&path, &film, segments, &key);
                tokio::task::spawn_blocking(made).await.map_err(failed("the film"))??;
                DemoOrigin::directory(files.insert(dir).path().to_owned(), rate).await
            }
            DemoMedia::HlsLive => {
                let dir = tempfile::tempdir().map_err(failed("a temporary directory"))?;
                let path = files.insert(dir).path().to_owned();
                packager = Some(Packager::start(path.clone(), film, key).await?);
                DemoOrigin::directory(path, rate).await
            }
            DemoMedia::FlvLive => DemoOrigin::channel(LIVE_FLV, Channel::begin(film), rate).await,
        };
        let origin = origin.map_err(failed("the origin"))?;
        Ok(Self { origin, media: options.media, film, sha256, _files: files, _packager: packager })
    }

    pub(super) fn origin(&self) -> &DemoOrigin {
        &self.origin
    }

    pub(super) fn media(&self) -> DemoMedia {
        self.media
    }

    pub(super) fn film(&self) -> Film {
        self.film
    }

    /// What the whole file hashes to.
    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The content's URL.
    pub(super) fn url(&self) -> String {
        self.origin.url(match self.media {
            DemoMedia::File => FILE,
            DemoMedia::Hls | DemoMedia::HlsLive => packager::HLS,
            DemoMedia::Dash => packager::DASH,
            DemoMedia::FlvLive => LIVE_FLV,
        })
    }

    /// The URL that viewer `number` is given: to the mapping node's rule all mean the same.
    pub(super) fn url_for(&self, number: usize) -> String {
        format!("{}?viewer={number}", self.url())
    }
}

/// Bytes a second of a film that the size asked for allows, and that all viewers can be given while it plays.
fn film_rate(options: &DemoOptions) -> u64 {
    let of = |rate: Rate, part: u64| if rate.is_unlimited() { u64::MAX } else { rate.0 / part };
    (options.size.0 / FILM_S).min(of(options.origin_rate, 4)).min(of(options.peer_up, 2))
}

/// A file of bytes that compress to nothing and repeat on every run, and its manifest.
fn file(size: ByteSize, key: &Identity) -> Result<(Bytes, Bytes), DemoError> {
    let mut dice = pcdn_core::dice::Dice::new(size.0);
    let mut content = vec![0; size.0 as usize];
    for chunk in content.chunks_mut(8) {
        let bytes = dice.next_u64().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    let dir = tempfile::tempdir().map_err(failed("a temporary directory"))?;
    let path = dir.path().join(FILE);
    std::fs::write(&path, &content).map_err(failed("a temporary file"))?;
    let signed = crate::publish::sign_file(&path, &crate::media::File::default(), key, None);
    Ok((content.into(), signed.map_err(failed("signing"))?.into()))
}
