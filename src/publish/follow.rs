//! Beside a packager: playlists are looked at again and again, and their manifests follow them.
//!
//! Looking costs a `stat` of each playlist; nothing is read unless one changed. A segment counts once its playlist lists it,
//! for then it is whole.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pcdn_core::id::Identity;
use pcdn_core::resource::Url;

use super::disk::{canonical, files_below, now_ms, write_live};
use super::local::{Document, Stamp, is_playlist, url_below};
use super::playlist::Playlist;
use super::sign::{document_of, warn_of_nothing};
use super::{PublishError, Signed, manifest_path};

/// How often playlists are to be looked at: a manifest is then out before a viewer who loads the playlist misses it.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the directory is looked through for new playlists.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// After a change, segments that are not whole yet are looked for so long; a playlist should only list what is.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// A playlist that must be read often takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// Names of files that may be playlists.
const EXTENSIONS: [&str; 3] = ["m3u8", "m3u", "mpd"];

/// Signs a playlist, or all in a directory, whenever they change.
#[derive(Debug)]
pub struct Follow {
    key: Identity,
    what: What,
    playlists: BTreeMap<PathBuf, Watched>,
    scan_at: Option<Instant>,
}

#[derive(Debug)]
enum What {
    /// The directory, and where it is served.
    Directory(PathBuf, Url),
    /// The playlist, where it is served, and where its manifest goes.
    File(PathBuf, Option<Url>, Option<PathBuf>),
}

#[derive(Debug)]
struct Watched {
    playlist: Playlist,
    manifest: PathBuf,
    stamp: Option<Stamp>,
    changed: Instant,
    /// To be read again then, though it has not changed.
    again: Option<Instant>,
}

impl Follow {
    /// Follows `what`, a playlist or a directory, from now on. `url` is where it is served; it only matters to playlists
    /// that name segments by absolute paths. `out` is where the manifest of a playlist goes; without, beside it. The file
    /// need not exist yet.
    ///
    /// # Errors
    /// If a directory cannot be opened.
    pub fn new(
        what: &Path,
        url: Option<Url>,
        out: Option<PathBuf>,
        key: Identity,
    ) -> Result<Self, PublishError> {
        let what = match what.is_dir() {
            true => What::Directory(canonical(what)?, url.unwrap_or_else(super::sign::nowhere)),
            false => What::File(what.to_owned(), url, out),
        };
        Ok(Self { key, what, playlists: BTreeMap::new(), scan_at: None })
    }

    /// Looks at everything once, and writes the manifests of what changed; to be called every [`LOOK_EVERY`]. Gives what was
    /// signed and what failed; a playlist that fails is tried again when it changes.
    pub fn look(&mut self) -> Vec<Result<Signed, PublishError>> {
        let now = Instant::now();
        if self.scan_at.is_none_or(|at| now >= at) {
            self.scan_at = Some(now + SCAN_EVERY);
            if let Err(error) = self.scan() {
                return vec![Err(error)];
            }
        }
        let key = &self.key;
        self.playlists.values_mut().filter_map(|watched| watched.look(key).transpose()).collect()
    }

    /// Finds new playlists and forgets those that are gone.
    fn scan(&mut self) -> Result<(), PublishError> {
        self.playlists.retain(|path, _| path.exists());
        match &self.what {
            What::Directory(root, base) => {
                for path in files_below(root)?.into_iter().filter(|path| is_candidate(path)) {
                    let new = !self.playlists.contains_key(&path);
                    // What cannot be read, or is empty, may be a playlist a second later.
                    if new && is_playlist(&path).unwrap_or(false) {
                        let url = url_below(base, path.strip_prefix(root).unwrap_or(&path));
                        let document = Document::new(path.clone(), root.clone(), url);
                        let watched = Watched::new(document, manifest_path(&path));
                        self.playlists.insert(path, watched);
                    }
                }
            }
            What::File(path, url, out) => {
                if self.playlists.is_empty() && is_playlist(path).unwrap_or(false) {
                    let manifest = out.clone().unwrap_or_else(|| manifest_path(path));
                    let watched = Watched::new(document_of(path, url.as_ref())?, manifest);
                    self.playlists.insert(path.clone(), watched);
                }
            }
        }
        Ok(())
    }
}

impl Watched {
    fn new(document: Document, manifest: PathBuf) -> Self {
        let playlist = Playlist::new(document, &manifest, None);
        Self { playlist, manifest, stamp: None, changed: Instant::now(), again: None }
    }

    fn look(&mut self, key: &Identity) -> Result<Option<Signed>, PublishError> {
        let now = Instant::now();
        let Some(stamp) = Stamp::of(self.playlist.path()) else { return Ok(None) };
        let changed = self.stamp != Some(stamp);
        if !changed && self.again.is_none_or(|at| now < at) {
            return Ok(None);
        }
        if changed {
            (self.stamp, self.changed) = (Some(stamp), now);
        }
        self.again = None;
        let outcome = self.playlist.sign(now_ms(), key)?;
        // Some MPDs list by the clock alone, and a packager may list a segment a moment before it is whole.
        let by_clock = outcome.live && self.playlist.path().extension() == Some(OsStr::new("mpd"));
        let waits = outcome.missing > 0 && now.duration_since(self.changed) < MISSING_FOR;
        if by_clock || waits {
            self.again = Some(now + LOOK_EVERY.max(now.elapsed() * SHARE));
        }
        let Some(bytes) = outcome.manifest else {
            if changed && outcome.segments == 0 {
                warn_of_nothing(self.playlist.path(), outcome.missing);
            }
            return Ok(None);
        };
        write_live(&self.manifest, &bytes)?;
        Ok(Some(Signed {
            file: self.playlist.path().to_owned(),
            manifest: self.manifest.clone(),
            bytes: outcome.bytes,
            segments: outcome.segments,
            missing: outcome.missing,
        }))
    }
}

fn is_candidate(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}
