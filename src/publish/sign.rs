//! The manifest of a file, and of everything in a directory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pcdn_core::fragment::{Fragmenter, Segment};
use pcdn_core::id::{Identity, Rid, RuleId};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Resource, ResourceHead, ResourceHint, Url};
use pcdn_core::verify::PieceList;
use pcdn_core::verify::manifest::{Draft, MANIFEST_BYTES_MAX};

use super::PublishError;
use super::disk::{canonical, files_below, manifest_path, now_ms, write_manifest};
use super::hashes::list_of;
use super::local::{Document, is_playlist, url_below};
use super::outline::{cut_all, surest};
use super::playlist::Playlist;

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Signed {
    /// The file, or the playlist.
    pub file: PathBuf,
    /// Its manifest, written now.
    pub manifest: PathBuf,
    /// Length of all segments in the manifest.
    pub bytes: u64,
    /// Number of segments in the manifest.
    pub segments: usize,
    /// Segments that a playlist lists and that were not found whole on this machine: viewers have no proof of those.
    pub missing: usize,
}

/// Who cuts the file called `name`, as a node that knows no more than its URL decides.
pub fn fragmenter_of(name: &Path) -> Arc<dyn Fragmenter> {
    let url = url_below(&nowhere(), Path::new(name.file_name().unwrap_or_default()));
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    let found = surest(&pcdn_media::standard(), &hint);
    // A playlist by name only is bytes like any other.
    match cut_all(found.as_ref(), &resource(url, 0)) {
        Ok(_) => found,
        Err(_) => Arc::new(pcdn_media::File::default()),
    }
}

/// The signed manifest of a file, with all piece lists, ready to lie beside it. `rid` binds it to a URL; without, it holds for
/// whatever content it lies beside. It never expires. Reads the file once, a piece at a time; hashing
/// takes 0.35 s per GB of one core, so the disk decides.
///
/// # Errors
/// If the file cannot be read or changes meanwhile, or is so long that its manifest could not be read (above some TB), or
/// `rule` cuts playlists.
pub fn sign_file<F: Fragmenter + ?Sized>(
    path: &Path,
    rule: &F,
    key: &Identity,
    rid: Option<Rid>,
) -> Result<Vec<u8>, PublishError> {
    let failed = |doing| move |source| PublishError::Io { doing, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed("opening"))?;
    let said = file.metadata().map_err(failed("reading"))?.len();
    let segments = cut_all(rule, &resource(nowhere(), said))?;
    room_for(&segments)?;
    let lists: io::Result<Vec<PieceList>> =
        segments.iter().map(|segment: &Segment| list_of(segment.layout, &mut file)).collect();
    let lists = lists.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            PublishError::Changed { said, at: file.metadata().map_or(0, |meta| meta.len()) }
        }
        _ => failed("reading")(error),
    })?;
    if file.read(&mut [0]).map_err(failed("reading"))? != 0 {
        return Err(PublishError::Changed { said, at: said });
    }
    Ok(draft_of(rule.rule(), rid, lists).sign(key))
}

/// Whether a manifest of these segments can be read by anybody.
pub(super) fn room_for(segments: &[Segment]) -> Result<(), PublishError> {
    // The lists, 32 bytes a piece; what else a manifest has is less than 48 bytes a segment and a KiB.
    let pieces: u64 = segments.iter().map(|segment| u64::from(segment.layout.pieces())).sum();
    let (bytes, limit) = (pieces * 32 + segments.len() as u64 * 48 + 1024, MANIFEST_BYTES_MAX as u64);
    if bytes > limit { Err(PublishError::TooLong { bytes, limit }) } else { Ok(()) }
}

/// The manifest of a file with these piece lists, which never expires.
pub(super) fn draft_of(rule: RuleId, rid: Option<Rid>, lists: Vec<PieceList>) -> Draft {
    Draft {
        rule,
        rid,
        seq: 0,
        first: SegmentId(0),
        issued_ms: now_ms(),
        ttl_s: 0,
        piece_log2: lists.first().map_or(pcdn_media::file::PIECE_LOG2, |list| list.layout().piece_log2()),
        lists,
        names: Vec::new(),
    }
}

/// Signs one file, and writes its manifest to `manifest`: of a playlist or DASH manifest what it lists, of anything else its
/// bytes. `url` is where a playlist will be served; it only matters if segments are named by absolute paths. Gives `None`
/// for a playlist without segments of its own: a master playlist, or a stream that has not begun.
///
/// # Errors
/// If it, or a segment, cannot be read, or the manifest cannot be written.
pub fn sign_one(
    path: &Path,
    manifest: &Path,
    url: Option<&Url>,
    key: &Identity,
) -> Result<Option<Signed>, PublishError> {
    let failed = |source| PublishError::Io { doing: "opening", path: path.to_owned(), source };
    if is_playlist(path).map_err(failed)? {
        let mut playlist = Playlist::new(document_of(path, url)?, manifest, None);
        return Ok(sign_playlist(&mut playlist, manifest, key)?.0);
    }
    sign_plain(path, manifest, key, None).map(Some)
}

/// Signs everything in `dir` and below, and writes each manifest beside its file, whole or not at all. A playlist gets a
/// manifest of what it lists, so segments get none of their own; files that no playlist lists get one each. Manifests, names
/// that begin with a dot and symbolic links are passed over. `base` is where `dir` will be served; it only matters to
/// playlists that name segments by absolute paths. `rid` names each file by its path below `dir`.
///
/// # Errors
/// At the first file that fails; manifests written before it stay.
pub fn sign_dir(
    dir: &Path,
    base: &Url,
    key: &Identity,
    rid: impl Fn(&Path) -> Option<Rid>,
) -> Result<Vec<Signed>, PublishError> {
    let root = canonical(dir)?;
    let (mut playlists, mut plain) = (Vec::new(), Vec::new());
    for file in files_below(&root)? {
        let failed = |source| PublishError::Io { doing: "opening", path: file.clone(), source };
        let kind = if is_playlist(&file).map_err(failed)? { &mut playlists } else { &mut plain };
        kind.push(file);
    }
    let below = |file: &Path| file.strip_prefix(&root).unwrap_or(file).to_owned();
    let (mut signed, mut listed) = (Vec::new(), HashSet::new());
    for file in playlists {
        let rid = rid(&below(&file));
        let manifest = manifest_path(&file);
        let url = url_below(base, &below(&file));
        let mut playlist = Playlist::new(Document::new(file, root.clone(), url), &manifest, rid);
        let (one, files) = sign_playlist(&mut playlist, &manifest, key)?;
        signed.extend(one);
        listed.extend(files);
    }
    for file in plain.into_iter().filter(|file| !listed.contains(file)) {
        signed.push(sign_plain(&file, &manifest_path(&file), key, rid(&below(&file)))?);
    }
    for one in &mut signed {
        // As the caller calls them.
        (one.file, one.manifest) = (dir.join(below(&one.file)), dir.join(below(&one.manifest)));
    }
    signed.sort_unstable_by(|one, other| one.file.cmp(&other.file));
    Ok(signed)
}

fn sign_playlist(
    playlist: &mut Playlist,
    manifest: &Path,
    key: &Identity,
) -> Result<(Option<Signed>, HashSet<PathBuf>), PublishError> {
    let outcome = playlist.sign(now_ms(), key)?;
    let Some(bytes) = outcome.manifest else {
        warn_of_nothing(playlist.path(), outcome.missing);
        return Ok((None, outcome.files));
    };
    write_manifest(manifest, &bytes)?;
    let signed = Signed {
        file: playlist.path().to_owned(),
        manifest: manifest.to_owned(),
        bytes: outcome.bytes,
        segments: outcome.segments,
        missing: outcome.missing,
    };
    Ok((Some(signed), outcome.files))
}

/// Says so if a playlist lists segments of which none was found.
pub(super) fn warn_of_nothing(playlist: &Path, missing: usize) {
    if missing > 0 {
        let playlist = playlist.display();
        tracing::warn!(
            "{playlist}: none of the {missing} segments it lists was found; where is it served (--base-url)?"
        );
    }
}

fn sign_plain(
    path: &Path,
    manifest: &Path,
    key: &Identity,
    rid: Option<Rid>,
) -> Result<Signed, PublishError> {
    let bytes = sign_file(path, fragmenter_of(path).as_ref(), key, rid)?;
    write_manifest(manifest, &bytes)?;
    let said = pcdn_core::verify::Manifest::parse(&bytes).expect("made just now");
    let (file, manifest) = (path.to_owned(), manifest.to_owned());
    Ok(Signed { file, manifest, bytes: said.bytes(), segments: said.len(), missing: 0 })
}

/// The playlist at `path` alone: its segments may be anywhere, as it says.
pub(super) fn document_of(path: &Path, url: Option<&Url>) -> Result<Document, PublishError> {
    let path = canonical(path)?;
    let url = url.cloned().unwrap_or_else(|| url_below(&nowhere(), path.strip_prefix("/").unwrap_or(&path)));
    Ok(Document::new(path, PathBuf::from("/"), url))
}

fn resource(url: Url, len: u64) -> Resource {
    let head = ResourceHead { len: Some(len), ranges: true, ..ResourceHead::default() };
    Resource { url, rid: Rid([0; 32]), head: Some(head) }
}

/// Stands in for a URL where only names matter.
pub(super) fn nowhere() -> Url {
    Url::parse("http://localhost/").expect("a URL")
}
