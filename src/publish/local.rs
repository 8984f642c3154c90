//! A document on this machine, and the files that its URLs mean.
//!
//! Segments are found by their path as seen from the document, as they are named: so it matters to nobody where the directory
//! will be served. Only documents that name segments by absolute paths (`/vod/1.ts`) or whole URLs need to be told their URL.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use pcdn_core::fragment::{Listing, Part};
use pcdn_core::id::{Rid, RuleId};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHint, Url};
use pcdn_core::unit::Time;
use pcdn_media::probe::FIRST_BYTES_MAX;
use pcdn_media::relative::path_from;

use super::PublishError;
use super::outline::{INDEXES_MAX, Outline, clock_at, is_document, surest};

/// Bytes of a document at most, as its parsers say.
const DOCUMENT_BYTES_MAX: u64 = pcdn_media::hls::DOCUMENT_BYTES_MAX as u64;
/// Bytes of an index inside a media file at most.
const INDEX_BYTES_MAX: u64 = 4 << 20;

/// A playlist or manifest on this machine.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) path: PathBuf,
    /// Files outside of it are nobody's business.
    root: PathBuf,
    /// Where it will be served.
    url: Url,
}

/// What it lists now.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) rule: RuleId,
    pub(super) listings: Vec<Listing>,
    /// Nothing will be added.
    pub(super) ended: bool,
}

/// Which version of a file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    modified: Option<SystemTime>,
    pub(super) file: u64,
}

impl Document {
    /// The document at `path`, absolute, whose segments lie below `root` and which is served at `url`.
    pub(super) fn new(path: PathBuf, root: PathBuf, url: Url) -> Self {
        Self { path, root, url }
    }

    /// What it lists at this time of day.
    pub(super) fn list(&self, now_ms: u64) -> Result<Listed, PublishError> {
        let failed = |source| PublishError::Io { doing: "reading", path: self.path.clone(), source };
        let mut text = Vec::new();
        let file = File::open(&self.path).map_err(failed)?;
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
        let kinds = pcdn_media::standard_at(clock_at(now_ms));
        let first = &text[..text.len().min(FIRST_BYTES_MAX)];
        let hint = ResourceHint { url: self.url.clone(), content_type: None, first_bytes: first.to_vec() };
        let fragmenter = surest(&kinds, &hint);
        let resource = Resource { url: self.url.clone(), rid: Rid([0; 32]), head: None };
        let mut outline = Outline::open(fragmenter.as_ref(), &resource)?;
        let mut part = Part::Document(self.url.clone(), text.into());
        for _ in 0..INDEXES_MAX {
            let Some((url, range)) = outline.supply(Time::ZERO, part)? else { break };
            part = Part::Range(url.clone(), range, self.part(&url, range));
        }
        let listings = outline.take();
        Ok(Listed { rule: fragmenter.rule(), listings, ended: outline.ended })
    }

    /// The bytes of an index; none if the file is not here, which makes it one segment without an index.
    fn part(&self, url: &Url, range: ByteRange) -> Bytes {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.path_of(url).ok_or(io::ErrorKind::NotFound)?)?;
            file.seek(SeekFrom::Start(range.start()))?;
            let mut bytes = Vec::new();
            file.take(range.len().min(INDEX_BYTES_MAX)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().unwrap_or_default().into()
    }

    /// The file that `url` means; `None` if it lies outside of the root.
    pub(super) fn path_of(&self, url: &Url) -> Option<PathBuf> {
        let seen = path_from(self.url.path(), url.path());
        let mut path = self.path.parent()?.to_owned();
        let mut below = &*seen;
        while let Some(rest) = below.strip_prefix("../") {
            below = rest;
            path.pop().then_some(())?;
        }
        for part in below.split('/').filter(|part| !part.is_empty()) {
            let name = percent_encoding::percent_decode_str(part).decode_utf8().ok()?;
            // An encoded slash or dots would lead elsewhere than the server looks.
            let mut parts = Path::new(&*name).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            plain.then(|| path.push(&*name))?;
        }
        path.starts_with(&self.root).then_some(path)
    }

    /// Whether another host than the document's own is named.
    pub(super) fn is_elsewhere(&self, url: &Url) -> bool {
        url.host() != self.url.host() || url.port() != self.url.port()
    }
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&meta);
        #[cfg(not(unix))]
        let file = 0;
        Some(Self { len: meta.len(), modified: meta.modified().ok(), file })
    }
}

/// The URL of the file at `below`, a path below the directory that is served at `base`.
pub(super) fn url_below(base: &Url, below: &Path) -> Url {
    let mut url = base.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        let names = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        parts.pop_if_empty().extend(names);
    }
    url
}

/// Whether the file at `path` is a playlist or a DASH manifest, by its first bytes.
///
/// # Errors
/// If it cannot be read.
pub fn is_playlist(path: &Path) -> io::Result<bool> {
    let mut first = Vec::new();
    File::open(path)?.take(FIRST_BYTES_MAX as u64).read_to_end(&mut first)?;
    let nowhere = Url::parse("http://localhost/").expect("a URL");
    Ok(is_document(&nowhere, &first))
}
