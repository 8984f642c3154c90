//! The two tasks of a session: one reads the stream, one writes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pcdn_core::id::PeerId;
use pcdn_core::transport::{Chunk, Fetch, FetchError, Provider, Refuse};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::wire::{FRAME_MAX, Frame};
use super::{FETCHES_MAX, Shared};
use crate::fetching::Step;
use crate::want;

/// Writes frames until the session ends.
pub(super) async fn write(
    mut stream: impl AsyncWrite + Unpin,
    mut controls: mpsc::UnboundedReceiver<Frame>,
    mut bulks: mpsc::Receiver<Frame>,
    shared: Arc<Shared>,
) {
    let mut out = BytesMut::new();
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = controls.recv() => frame,
            Some(frame) = bulks.recv() => frame,
            else => break,
        };
        out.clear();
        frame.encode(&mut out);
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() || frame == Frame::Close {
            break;
        }
    }
    shared.end();
    // The other side sees the end of the stream; an error now changes nothing.
    let _ = stream.shutdown().await;
}

/// Reads frames until the stream or the session ends.
pub(super) async fn read(
    stream: impl AsyncRead + Unpin,
    peer: PeerId,
    provider: Arc<dyn Provider>,
    messages: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
) {
    let mut reading =
        Reading { peer, provider, messages, shared: Arc::clone(&shared), serving: HashMap::new() };
    tokio::select! {
        () = reading.run(stream) => {}
        _ = shared.over.acquire() => {}
    }
    // Lets the writer say goodbye and end.
    let _ = shared.control.send(Frame::Close);
    shared.end();
}

struct Reading {
    peer: PeerId,
    provider: Arc<dyn Provider>,
    messages: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    serving: HashMap<u32, Serving>,
}

/// A provider call and what follows; aborted when dropped.
struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reading {
    async fn run(&mut self, mut stream: impl AsyncRead + Unpin) {
        while let Some(frame) = next_frame(&mut stream).await {
            if !self.frame(frame) {
                tracing::debug!(peer = %self.peer.short(), "goodbye, or a breach of the protocol");
                return;
            }
        }
    }

    /// `false` ends the session.
    fn frame(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Fetch { id, want } => self.serve(id, want),
            Frame::Cancel { id } => _ = self.serving.remove(&id),
            Frame::Chunk { id, chunk } => return self.chunk(id, chunk),
            Frame::Whole { id } => {
                let all = self.shared.fetches().get(&id).is_none_or(|pending| pending.left.is_empty());
                let early = || FetchError::Violation("a fetch ended before its last byte".into());
                self.finish(id, if all { Step::Whole } else { Step::Failed(early()) });
                return all;
            }
            Frame::Refused { id, why } => self.finish(id, Step::Failed(FetchError::Refused(why))),
            // The peer keeps count; one more than it may is a breach.
            Frame::Message(message) => return self.messages.try_send(message).is_ok(),
            Frame::Read => self.shared.room.add_permits(1),
            Frame::Close => return false,
        }
        true
    }

    /// Chunks come in order and none twice; `false` if not.
    fn chunk(&self, id: u32, chunk: Chunk) -> bool {
        let mut fetches = self.shared.fetches();
        // Cancelled, and the cancel is still on its way.
        let Some(pending) = fetches.get_mut(&id) else { return true };
        let end = chunk.bytes.len() as u64 + u64::from(chunk.offset);
        match pending.left.front_mut() {
            Some(next) if next.start == chunk.offset && end <= u64::from(next.end) => next.start = end as u32,
            _ => return false,
        }
        if pending.left.front().is_some_and(|next| next.is_empty()) {
            pending.left.pop_front();
        }
        let _ = pending.steps.send(Step::Chunk(chunk));
        true
    }

    fn finish(&self, id: u32, step: Step) {
        if let Some(pending) = self.shared.fetches().remove(&id) {
            let _ = pending.steps.send(step);
        }
    }

    fn serve(&mut self, id: u32, want: Fetch) {
        self.serving.retain(|_, serving| !serving.0.is_finished());
        if self.serving.len() >= FETCHES_MAX {
            let why = Refuse::Busy(Duration::from_millis(100));
            let _ = self.shared.control.send(Frame::Refused { id, why });
            return;
        }
        let (peer, provider, shared) = (self.peer, Arc::clone(&self.provider), Arc::clone(&self.shared));
        let task = tokio::spawn(async move {
            let within = want.within;
            let answer = tokio::time::timeout(within, answer(&*provider, &peer, &want, &shared, id));
            if let Ok(Err(why)) = answer.await {
                let _ = shared.control.send(Frame::Refused { id, why });
            }
        });
        self.serving.insert(id, Serving(task.abort_handle()));
    }
}

async fn answer(
    provider: &dyn Provider,
    peer: &PeerId,
    want: &Fetch,
    shared: &Shared,
    id: u32,
) -> Result<(), Refuse> {
    let grant = provider.open(peer, want).await?;
    if grant.bytes().len() != want.len as usize {
        return Err(Refuse::Bad);
    }
    for range in want::chunks(&want.want, want.len) {
        let bytes = grant.bytes().slice(range.start as usize..range.end as usize);
        let chunk = Chunk { offset: range.start, bytes };
        if shared.bulk.send(Frame::Chunk { id, chunk }).await.is_err() {
            return Ok(());
        }
    }
    // Behind the chunks, in the same queue.
    let _ = shared.bulk.send(Frame::Whole { id }).await;
    Ok(())
}

async fn next_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let len = stream.read_u32().await.ok()? as usize;
    if len > FRAME_MAX {
        return None;
    }
    let mut body = BytesMut::zeroed(len);
    stream.read_exact(&mut body).await.ok()?;
    Frame::decode(body.freeze())
}
