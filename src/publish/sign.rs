//! `pcdn sign`: the manifest of a file, or of each file in a directory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::{Identity, Rid};
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::verify::manifest::{Draft, MANIFEST_BYTES_MAX};
use pcdn_core::verify::{PieceList, list};
use pcdn_media::file::{self, Grid};

use super::PublishError;

/// What a manifest's name has more than its file's: `film.mp4.pcdn`.
pub const MANIFEST_EXTENSION: &str = "pcdn";
/// Directories inside one another, at most: above it there is a loop.
const DEPTH_MAX: usize = 32;

/// Where the manifest of the file at `path` lies: beside it, as `film.mp4.pcdn`.
pub fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(MANIFEST_EXTENSION);
    PathBuf::from(name)
}

/// The signed manifest of a file, with all piece lists, ready to lie beside it. `rid` binds it to a URL; without, it holds for
/// whatever content it lies beside. It never expires. Reads the file once, a piece at a time; hashing
/// takes 0.35 s per GB of one core, so the disk decides.
///
/// # Errors
/// If the file cannot be read or changes meanwhile, or is so long that its manifest could not be read (above some TB).
pub fn sign_file(
    path: &Path,
    rule: &file::File,
    key: &Identity,
    rid: Option<Rid>,
) -> Result<Vec<u8>, PublishError> {
    let failed = |doing| move |source| PublishError::Io { doing, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed("opening"))?;
    let said = file.metadata().map_err(failed("reading"))?.len();
    let grid = rule.grid(said)?;
    // The lists, 32 bytes a piece; what else a manifest has is less than 48 bytes a segment and a KiB.
    let bytes = said.div_ceil(1 << grid.piece_log2()) * 32 + grid.segments() * 48 + 1024;
    if bytes > MANIFEST_BYTES_MAX as u64 {
        return Err(PublishError::TooLong { bytes, limit: MANIFEST_BYTES_MAX as u64 });
    }
    let lists = lists(&grid, &mut file).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            PublishError::Changed { said, at: file.metadata().map_or(0, |meta| meta.len()) }
        }
        _ => failed("reading")(error),
    })?;
    if file.read(&mut [0]).map_err(failed("reading"))? != 0 {
        return Err(PublishError::Changed { said, at: said });
    }
    let draft = Draft {
        rule: rule.rule(),
        rid,
        seq: 0,
        first: SegmentId(0),
        issued_ms: now_ms(),
        ttl_s: 0,
        piece_log2: grid.piece_log2(),
        lists,
        names: Vec::new(),
    };
    Ok(draft.sign(key))
}

/// A file that was signed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Signed {
    /// The file.
    pub file: PathBuf,
    /// Its manifest, written now.
    pub manifest: PathBuf,
    /// Length of the file.
    pub bytes: u64,
}

/// Signs every file in `dir` and below, and writes each manifest beside its file, whole or not at all. Manifests, names that
/// begin with a dot and symbolic links are passed over. `rid` names each file by its path below `dir`.
///
/// # Errors
/// At the first file that fails; manifests written before it stay.
pub fn sign_dir(
    dir: &Path,
    rule: &file::File,
    key: &Identity,
    rid: impl Fn(&Path) -> Option<Rid>,
) -> Result<Vec<Signed>, PublishError> {
    let mut files = Vec::new();
    collect(dir, 0, &mut files)?;
    // Directories list in no order; reports have one.
    files.sort_unstable();
    let mut signed = Vec::new();
    for file in files {
        let below = file.strip_prefix(dir).unwrap_or(&file);
        let manifest = manifest_path(&file);
        let bytes = sign_file(&file, rule, key, rid(below))?;
        write_manifest(&manifest, &bytes)?;
        let len = fs::metadata(&file).map_or(0, |meta| meta.len());
        signed.push(Signed { file, manifest, bytes: len });
    }
    Ok(signed)
}

/// The piece list of every segment, read in order.
fn lists(grid: &Grid, body: &mut impl Read) -> io::Result<Vec<PieceList>> {
    let mut buffer = vec![0; 1 << grid.piece_log2()];
    let mut list_of = |layout: Layout| -> io::Result<PieceList> {
        let mut values = Vec::with_capacity(layout.pieces() as usize);
        for piece in layout.iter() {
            let bytes = &mut buffer[..layout.piece_len(piece) as usize];
            body.read_exact(bytes)?;
            values.push(list::digest(&layout, piece, bytes));
        }
        Ok(PieceList::of_digests(layout, values).expect("one value for each piece"))
    };
    (0..grid.segments())
        .map(|number| list_of(grid.layout(SegmentId(number)).expect("a segment of the grid")))
        .collect()
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), PublishError> {
    if depth > DEPTH_MAX {
        return Err(PublishError::TooDeep { path: dir.to_owned(), limit: DEPTH_MAX });
    }
    let failed = |source| PublishError::Io { doing: "listing", path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = path.extension() == Some(OsStr::new(MANIFEST_EXTENSION));
        if kind.is_dir() && !hidden {
            collect(&path, depth + 1, files)?;
        } else if kind.is_file() && !hidden && !manifest {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes a manifest whole or not at all, over an older one: a server never sends half of it. Everybody may read it.
///
/// # Errors
/// If the file system says no.
pub fn write_manifest(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    // Hidden, so that neither servers nor the next run take it for content if it is left behind.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // Half a file helps nobody; that it could not be removed either would only hide why.
        let _ = fs::remove_file(&beside);
        PublishError::Io { doing: "writing", path: path.to_owned(), source }
    })
}

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}
