//! Joins neighbouring sub-pieces into larger chunks.

use bytes::BytesMut;
use pcdn_core::transport::Chunk;

/// A chunk is handed out once it has this many bytes: few enough chunks to be cheap, small enough to show progress.
const RUN_BYTES: usize = 16 * 1024;

/// Bytes that came one after the other.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: u32,
    bytes: BytesMut,
}

impl Run {
    /// Adds `content` at `offset`; gives what cannot grow any more.
    pub(super) fn push(&mut self, offset: u32, content: &[u8], give: &mut impl FnMut(Chunk)) {
        if offset != self.start.wrapping_add(self.bytes.len() as u32) || self.bytes.len() + content.len() > RUN_BYTES {
            self.flush().into_iter().for_each(&mut *give);
        }
        if self.bytes.is_empty() {
            self.start = offset;
            self.bytes.reserve(RUN_BYTES);
        }
        self.bytes.extend_from_slice(content);
    }

    /// What there is.
    pub(super) fn flush(&mut self) -> Option<Chunk> {
        let bytes = self.bytes.split().freeze();
        (!bytes.is_empty()).then_some(Chunk { offset: self.start, bytes })
    }
}
