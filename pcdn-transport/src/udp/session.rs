//! The handle of one session, and the stream of one fetch.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{
    Chunk, Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, PathStats, Refuse, Session, TransportError,
};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::driver::Command;
use super::endpoint::SessionId;
use super::pull::FETCHES_MAX;
use crate::fetching::Step;

/// Message bytes sent and not yet arrived, at most: four of the largest.
const UNDELIVERED_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// What the task and the handle of a session share. Most neighbours are idle most of the time, so it is small: a channel of
/// tokio's would alone take 1.5 KB.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) path: Mutex<PathStats>,
    /// Room for messages, in bytes; closed with the session.
    pub(super) room: Semaphore,
    mail: Mutex<Mail>,
    news: Notify,
    /// Fetches under way.
    fetches: AtomicUsize,
}

/// Messages not yet read. The core bounds them to 128 KiB and one message.
#[derive(Debug, Default)]
struct Mail {
    waiting: VecDeque<Bytes>,
    over: bool,
}

impl Shared {
    pub(super) fn new(path: PathStats) -> Arc<Self> {
        let room = Semaphore::new(UNDELIVERED_MAX);
        Arc::new(Self {
            path: Mutex::new(path),
            room,
            mail: Mutex::default(),
            news: Notify::new(),
            fetches: AtomicUsize::new(0),
        })
    }

    /// A message came.
    pub(super) fn deliver(&self, message: Bytes) {
        self.mail().waiting.push_back(message);
        self.news.notify_one();
    }

    /// The session is over: no more messages go or come.
    pub(super) fn end(&self) {
        self.room.close();
        self.mail().over = true;
        self.news.notify_one();
    }

    /// The next message; `None` once the session is over and all are read. Cancel-safe.
    async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut mail = self.mail();
                let message = mail.waiting.pop_front();
                if message.is_some() || mail.over {
                    // Whoever else waits is to know of the end too, or of what is left.
                    self.news.notify_one();
                    return message;
                }
            }
            self.news.notified().await;
        }
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session over UDP. Ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct UdpSession {
    id: SessionId,
    peer: PeerId,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    next_token: AtomicU64,
}

impl UdpSession {
    pub(super) fn handle(
        id: SessionId,
        peer: PeerId,
        shared: Arc<Shared>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Arc<dyn Session> {
        Arc::new(Self { id, peer, shared, commands, next_token: AtomicU64::new(0) })
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
        if self.shared.fetches.fetch_add(1, Ordering::Relaxed) >= FETCHES_MAX {
            self.shared.fetches.fetch_sub(1, Ordering::Relaxed);
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
            shared: Arc::clone(&self.shared),
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
        let message = self.shared.next().await.ok_or(TransportError::Closed)?;
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
    shared: Arc<Shared>,
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
        self.shared.fetches.fetch_sub(1, Ordering::Relaxed);
        if !self.over {
            let _ = self.commands.send(Command::Cancel { session: self.session, token: self.token });
        }
    }
}
