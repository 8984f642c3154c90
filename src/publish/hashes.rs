//! Piece lists of segments on this machine: each segment is hashed once, however often it is listed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pcdn_core::layout::Layout;
use pcdn_core::range::ByteRange;
use pcdn_core::verify::{PieceList, list};

use super::local::Stamp;

/// The lists made so far, for as long as somebody asks for them.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: HashMap<(PathBuf, Option<ByteRange>), Known>,
    round: u64,
    hashed: u64,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    list: PieceList,
    round: u64,
}

impl Hashes {
    /// The list of the file at `path` or of a part of it; `None` if it is not there, not whole, changing, or longer than a
    /// segment of a stream may be.
    pub(super) fn of(&mut self, path: &Path, range: Option<ByteRange>) -> io::Result<Option<PieceList>> {
        let Some(stamp) = Stamp::of(path) else { return Ok(None) };
        let key = (path.to_owned(), range);
        if let Some(known) = self.known.get_mut(&key)
            && known.is_of(&stamp, range)
        {
            known.round = self.round;
            return Ok(Some(known.list.clone()));
        }
        let part = range.map_or((0, stamp.len), |range| (range.start(), range.end()));
        let layout = match Layout::of_stream(part.1 - part.0) {
            Ok(layout) if part.1 <= stamp.len => layout,
            _ => return Ok(None),
        };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(part.0))?;
        let list = match list_of(layout, &mut file) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            list => list?,
        };
        let after = Stamp::of(path);
        let known = Known { stamp, list, round: self.round };
        if !after.is_some_and(|after| known.is_of(&after, range)) {
            return Ok(None);
        }
        self.hashed += 1;
        let list = known.list.clone();
        self.known.insert(key, known);
        Ok(Some(list))
    }

    /// Forgets what nobody asked for since the last time.
    pub(super) fn sweep(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        self.round += 1;
    }

    /// How many segments were read so far.
    #[cfg(test)]
    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }
}

impl Known {
    /// A part of a file stays what it was while the file grows.
    fn is_of(&self, stamp: &Stamp, range: Option<ByteRange>) -> bool {
        let grown = range.is_some() && stamp.file == self.stamp.file && stamp.len > self.stamp.len;
        grown || *stamp == self.stamp
    }
}

/// The piece list of the next bytes of `body`, a piece in memory at a time.
pub(super) fn list_of(layout: Layout, body: &mut impl Read) -> io::Result<PieceList> {
    let mut buffer = vec![0; layout.piece_bytes().min(layout.len()) as usize];
    let mut values = Vec::with_capacity(layout.pieces() as usize);
    for piece in layout.iter() {
        let bytes = &mut buffer[..layout.piece_len(piece) as usize];
        body.read_exact(bytes)?;
        values.push(list::digest(&layout, piece, bytes));
    }
    Ok(PieceList::of_digests(layout, values).expect("one value for each piece"))
}
