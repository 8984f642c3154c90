//! Joins neighbouring sub-pieces into larger chunks.

use bytes::BytesMut;
use pcdn_core::transport::Chunk;

use crate::want::CHUNK_BYTES;

/// Bytes that came one after the other.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: u32,
    bytes: BytesMut,
}

impl Run {
    /// Adds `content` at `offset`; gives what cannot grow any more.
    pub(super) fn push(&mut self, offset: u32, content: &[u8], give: &mut impl FnMut(Chunk)) {
        if offset != self.start.wrapping_add(self.bytes.len() as u32)
            || self.bytes.len() + content.len() > CHUNK_BYTES as usize
        {
            self.flush().into_iter().for_each(&mut *give);
        }
        if self.bytes.is_empty() {
            self.start = offset;
            self.bytes.reserve(CHUNK_BYTES as usize);
        }
        self.bytes.extend_from_slice(content);
    }

    /// What there is.
    pub(super) fn flush(&mut self) -> Option<Chunk> {
        let bytes = self.bytes.split().freeze();
        (!bytes.is_empty()).then_some(Chunk { offset: self.start, bytes })
    }
}
