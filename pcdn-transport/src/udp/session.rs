//! The handle of one session, and the stream of one fetch.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{
    Chunk, Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, PathStats, Refuse, Session, TransportError,
};
use tokio::sync::{Semaphore, mpsc};

use super::driver::Command;
use super::endpoint::SessionId;
use super::pull::FETCHES_MAX;
use crate::fetching::Step;

/// Message bytes sent and not yet arrived, at most: four of the largest.
const UNDELIVERED_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// What the task and the handle of a session share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: Mutex<PathStats>,
    /// Room for messages, in bytes; closed with the session.
    pub(super) room: Semaphore,
}

impl Shared {
    pub(super) fn new(path: PathStats) -> Arc<Self> {
        Arc::new(Self { path: Mutex::new(path), room: Semaphore::new(UNDELIVERED_MAX) })
    }
}

/// A session over UDP. Ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct UdpSession {
    id: SessionId,
    peer: PeerId,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    messages: tokio::sync::Mutex<mpsc::UnboundedReceiver<Bytes>>,
    fetches: Arc<AtomicUsize>,
    next_token: AtomicU64,
}

impl UdpSession {
    pub(super) fn handle(
        id: SessionId,
        peer: PeerId,
        shared: Arc<Shared>,
        commands: mpsc::UnboundedSender<Command>,
        messages: mpsc::UnboundedReceiver<Bytes>,
    ) -> Arc<dyn Session> {
        let messages = tokio::sync::Mutex::new(messages);
        let (fetches, next_token) = (Arc::default(), AtomicU64::new(0));
        Arc::new(Self { id, peer, shared, commands, messages, fetches, next_token })
    }
}

/// Bytes of room a message takes; an empty one takes a little, too.
pub(super) fn weight(message: &Bytes) -> usize {
    message.len().max(1)
}

#[async_trait]
impl Session for UdpSession {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn path(&self) -> PathStats {
        *self.shared.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, want: Fetch) -> Fetching {
        let fail = |why| Fetching::scripted(vec![Err(why)]);
        if self.fetches.fetch_add(1, Ordering::Relaxed) >= FETCHES_MAX {
            self.fetches.fetch_sub(1, Ordering::Relaxed);
            return fail(FetchError::Refused(Refuse::Busy(Duration::from_millis(100))));
        }
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        // Unbounded, but never more than the piece: the core hands out each byte once.
        let (steps, from_task) = mpsc::unbounded_channel();
        let stream = FetchStream {
            steps: from_task,
            over: false,
            session: self.id,
            token,
            commands: self.commands.clone(),
            fetches: Arc::clone(&self.fetches),
        };
        match self.commands.send(Command::Fetch { session: self.id, token, want, steps }) {
            Ok(()) => Fetching::new(Box::pin(stream)),
            Err(_) => fail(FetchError::Closed),
        }
    }

    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLong(message.len()));
        }
        let room = self.shared.room.acquire_many(weight(&message) as u32).await;
        room.map_err(|_| TransportError::Closed)?.forget();
        let command = Command::Message { session: self.id, message };
        self.commands.send(command).map_err(|_| TransportError::Closed)
    }

    async fn recv(&self) -> Result<Bytes, TransportError> {
        let message = self.messages.lock().await.recv().await.ok_or(TransportError::Closed)?;
        // Should the session be over by now, nobody needs to know.
        let _ = self.commands.send(Command::Read { session: self.id, bytes: message.len() });
        Ok(message)
    }

    fn close(&self) {
        let _ = self.commands.send(Command::Close(self.id));
    }
}

impl Drop for UdpSession {
    fn drop(&mut self) {
        self.close();
    }
}

/// The chunks of one fetch; dropping it cancels.
struct FetchStream {
    steps: mpsc::UnboundedReceiver<Step>,
    over: bool,
    session: SessionId,
    token: u64,
    commands: mpsc::UnboundedSender<Command>,
    fetches: Arc<AtomicUsize>,
}

impl Stream for FetchStream {
    type Item = Result<Chunk, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let step = std::task::ready!(self.steps.poll_recv(cx));
        self.over = !matches!(step, Some(Step::Chunk(_)));
        Poll::Ready(match step {
            Some(Step::Chunk(chunk)) => Some(Ok(chunk)),
            Some(Step::Whole) => None,
            Some(Step::Failed(why)) => Some(Err(why)),
            None => Some(Err(FetchError::Closed)),
        })
    }
}

impl Drop for FetchStream {
    fn drop(&mut self) {
        self.fetches.fetch_sub(1, Ordering::Relaxed);
        if !self.over {
            let _ = self.commands.send(Command::Cancel { session: self.session, token: self.token });
        }
    }
}
