//! A session over any ordered, reliable byte stream: a Unix socket, a pipe, TLS, a serial line.
//!
//! Whoever writes a transport for such a link needs only to connect, to learn who is at the other end, and to hand the
//! stream over:
//!
//! ```
//! # use std::sync::Arc;
//! # use pcdn_core::{id::PeerId, transport::{Provider, Session}};
//! use pcdn_transport::channel::StreamSession;
//!
//! # async fn example(peer: PeerId, ours: Arc<dyn Provider>) {
//! let (here, there) = tokio::io::duplex(64 * 1024);
//! let session = StreamSession::new(peer, here, ours);
//! session.send("hello".into()).await.ok();
//! # drop(there); }
//! ```
//!
//! The stream is trusted to reach `peer` and nobody else: this adaptor neither proves nor encrypts. Fetches and messages
//! share it; a piece goes in chunks of 16 KiB, so a message waits for one chunk at most.

mod io;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{
    Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, PathStats, Provider, Refuse, Session, TransportError,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

use crate::fetching::{self, Step};
use crate::want;
use wire::Frame;

/// Fetches under way at most, in each direction.
const FETCHES_MAX: usize = 256;
/// Messages sent and not yet read, at most: 1 MiB.
const MESSAGES_MAX: usize = 16;
/// Chunks waiting to be written, at most; beyond, serving waits for the stream.
const CHUNKS_MAX: usize = 8;

/// A session over a byte stream. Ends with the stream, or when dropped.
#[derive(Debug)]
pub struct StreamSession {
    peer: PeerId,
    shared: Arc<Shared>,
    inbox: AsyncMutex<mpsc::Receiver<Bytes>>,
    next_id: AtomicU32,
}

/// What the handle and the two tasks share.
#[derive(Debug)]
struct Shared {
    /// Requests, cancels, answers without content: few and short, for fetches are bounded. Chunks and messages have their
    /// own bounded queue.
    control: mpsc::UnboundedSender<Frame>,
    bulk: mpsc::Sender<Frame>,
    fetches: Mutex<HashMap<u32, Pending>>,
    /// Room for messages; closed with the session.
    room: Semaphore,
    /// Has no permits; closed with the session.
    over: Semaphore,
}

/// A fetch of ours: what is still to come, in order, and who waits.
#[derive(Debug)]
struct Pending {
    left: VecDeque<Range<u32>>,
    steps: mpsc::UnboundedSender<Step>,
}

impl StreamSession {
    /// A session with `peer` over `stream`, serving from `provider`. Starts two tasks on the current runtime.
    pub fn new<S>(peer: PeerId, stream: S, provider: Arc<dyn Provider>) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (control, controls) = mpsc::unbounded_channel();
        let (bulk, bulks) = mpsc::channel(CHUNKS_MAX);
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        let (fetches, room, over) = (Mutex::default(), Semaphore::new(MESSAGES_MAX), Semaphore::new(0));
        let shared = Arc::new(Shared { control, bulk, fetches, room, over });
        let (reader, writer) = tokio::io::split(stream);
        tokio::spawn(io::write(writer, controls, bulks, Arc::clone(&shared)));
        tokio::spawn(io::read(reader, peer, provider, messages, Arc::clone(&shared)));
        Arc::new(Self { peer, shared, inbox: AsyncMutex::new(inbox), next_id: AtomicU32::new(0) })
    }
}

#[async_trait]
impl Session for StreamSession {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn path(&self) -> PathStats {
        PathStats::default()
    }

    fn fetch(&self, want: Fetch) -> Fetching {
        let fail = |why| Fetching::scripted(vec![Err(why)]);
        let left = VecDeque::from(want::ranges(&want.want, want.len));
        if left.is_empty() {
            return Fetching::scripted(Vec::new());
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (steps, stream) = fetching::stream(want.within);
        {
            let mut fetches = self.shared.fetches();
            if self.shared.over.is_closed() {
                return fail(FetchError::Closed);
            }
            if fetches.len() >= FETCHES_MAX {
                return fail(FetchError::Refused(Refuse::Busy(Duration::from_millis(100))));
            }
            fetches.insert(id, Pending { left, steps });
        }
        // Should the session end now, the table is emptied and the stream ends.
        let _ = self.shared.control.send(Frame::Fetch { id, want });
        let shared = Arc::clone(&self.shared);
        stream.into_fetching(move || {
            if shared.fetches().remove(&id).is_some() {
                let _ = shared.control.send(Frame::Cancel { id });
            }
        })
    }

    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLong(message.len()));
        }
        let room = self.shared.room.acquire().await.map_err(|_| TransportError::Closed)?;
        self.shared.bulk.send(Frame::Message(message)).await.map_err(|_| TransportError::Closed)?;
        // The place is free again once the peer has read.
        room.forget();
        Ok(())
    }

    async fn recv(&self) -> Result<Bytes, TransportError> {
        let message = self.inbox.lock().await.recv().await.ok_or(TransportError::Closed)?;
        let _ = self.shared.control.send(Frame::Read);
        Ok(message)
    }

    fn close(&self) {
        let _ = self.shared.control.send(Frame::Close);
        self.shared.end();
    }
}

impl Drop for StreamSession {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// No invariant of ours spans a panic.
    fn fetches(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Pending>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session is over: whoever waits learns it.
    fn end(&self) {
        self.room.close();
        let mut fetches = self.fetches();
        self.over.close();
        fetches.drain().for_each(|(_, pending)| _ = pending.steps.send(Step::Failed(FetchError::Closed)));
    }
}

#[cfg(test)]
mod tests;
