//! Half a stream that is never taken for whole when it is not.

use bytes::Bytes;
use quinn::{SendStream, StoppedError, VarInt};

use super::code;

/// What is sent on a stream. quinn ends a stream that is dropped as if all had been said; this resets it, unless it was
/// finished.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream,
    whole: bool,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, whole: false }
    }

    pub(super) fn set_priority(&self, priority: i32) {
        // Only a stream that is gone has none; writing to it says so, too.
        let _ = self.stream.set_priority(priority);
    }

    /// Hands `bytes` over without copying them; waits for room. `None` once the other end does not want them.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Option<()> {
        self.stream.write_chunk(bytes).await.ok()
    }

    /// Ends once the other end wants no more, or all has arrived after [`finish`](Self::finish).
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + use<> {
        self.stream.stopped()
    }

    /// All is said, and arrives even if this is dropped.
    pub(super) fn finish(&mut self) {
        self.whole = true;
        let _ = self.stream.finish();
    }

    /// All is said; waits until it has arrived or is not wanted. Dropped before, it is given up.
    pub(super) async fn arrive(&mut self) {
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
        self.whole = true;
    }

    /// Gives up what was not delivered, and says why.
    pub(super) fn reset(&mut self, why: VarInt) {
        self.whole = true;
        // It may have been stopped meanwhile.
        let _ = self.stream.reset(why);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.whole {
            self.reset(code::GIVEN_UP);
        }
    }
}
