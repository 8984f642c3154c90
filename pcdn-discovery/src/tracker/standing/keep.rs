//! What survives a restart: in one file, replaced whole, so that it is whole whenever the machine stops.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pcdn_core::id::PeerId;
use pcdn_core::receipt::Book;
use pcdn_core::superpeer::Candidates;
use serde::{Deserialize, Serialize};

/// The form of the file. Another one is refused, not guessed at.
const FORM: u32 = 1;

/// What standings are made of: candidates, receipts, and which verdicts were heard. Who is there now tells itself again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    pub(super) candidates: Candidates,
    pub(super) book: Book,
    pub(super) verdicts: Vec<(PeerId, [u8; 16], u32)>,
}

#[derive(Serialize, Deserialize)]
struct Page<K> {
    form: u32,
    standings: K,
}

impl Kept {
    /// Reads the file at `path`; nothing is known if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is no such file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let page: Page<Self> = serde_json::from_slice(&text)?;
        if page.form != FORM {
            return Err(io::Error::other(format!("form {} is not known here", page.form)));
        }
        Ok(page.standings)
    }

    /// Writes the file at `path`. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// If it cannot be written; the one before is as it was.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("part");
        let mut file = io::BufWriter::new(File::create(&beside)?);
        serde_json::to_writer(&mut file, &Page { form: FORM, standings: self })?;
        file.flush()?;
        file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&beside, path)
    }
}
