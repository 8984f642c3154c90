//! One end of a link inside the process.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{
    Chunk, Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, PathStats, Refuse, Session, TransportError,
};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::Instant;

use super::Node;
use crate::fetching::{self, Step};
use crate::want;

/// Messages sent and not yet read, at most: 4 MiB.
const MESSAGES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct MemorySession {
    here: Arc<Node>,
    there: Arc<Node>,
    out: mpsc::Sender<(Instant, Bytes)>,
    inbox: Mutex<Inbox>,
    /// Shared by both ends; has no permits, closed with the session.
    open: Arc<Semaphore>,
}

#[derive(Debug)]
struct Inbox {
    messages: mpsc::Receiver<(Instant, Bytes)>,
    /// The next, still under way.
    next: Option<(Instant, Bytes)>,
}

impl MemorySession {
    pub(super) fn pair(a: &Arc<Node>, b: &Arc<Node>) -> (Arc<dyn Session>, Arc<dyn Session>) {
        let open = Arc::new(Semaphore::new(0));
        a.keep(&open);
        b.keep(&open);
        let (to_b, from_a) = mpsc::channel(MESSAGES_MAX);
        let (to_a, from_b) = mpsc::channel(MESSAGES_MAX);
        let end = |here: &Arc<Node>, there: &Arc<Node>, out, messages| -> Arc<dyn Session> {
            let inbox = Mutex::new(Inbox { messages, next: None });
            Arc::new(Self { here: here.clone(), there: there.clone(), out, inbox, open: open.clone() })
        };
        (end(a, b, to_b, from_b), end(b, a, to_a, from_a))
    }
}

#[async_trait]
impl Session for MemorySession {
    fn peer(&self) -> PeerId {
        self.there.id
    }

    fn path(&self) -> PathStats {
        let rtt = self.here.link.latency * 2;
        PathStats { rtt, rtt_min: rtt, ..PathStats::default() }
    }

    fn fetch(&self, want: Fetch) -> Fetching {
        if self.open.is_closed() {
            return Fetching::scripted(vec![Err(FetchError::Closed)]);
        }
        // Never more than the piece.
        let (steps, stream) = fetching::stream(want.within);
        let (server, asker, open) = (Arc::clone(&self.there), self.here.id, Arc::clone(&self.open));
        let silent = self.here.is_silent() || server.is_silent();
        let task = tokio::spawn(async move {
            let end = tokio::select! {
                end = serve(&server, &asker, &want, &steps), if !silent => end,
                _ = open.acquire() => Step::Failed(FetchError::Closed),
            };
            let _ = steps.send(end);
        });
        let abort = task.abort_handle();
        stream.into_fetching(move || abort.abort())
    }

    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLong(message.len()));
        }
        if self.open.is_closed() {
            return Err(TransportError::Closed);
        }
        if self.here.is_silent() || self.there.is_silent() {
            // Whoever sends into a void does not know it.
            return Ok(());
        }
        let at = Instant::now() + self.here.link.latency;
        tokio::select! {
            sent = self.out.send((at, message)) => sent.map_err(|_| TransportError::Closed),
            _ = self.open.acquire() => Err(TransportError::Closed),
        }
    }

    async fn recv(&self) -> Result<Bytes, TransportError> {
        let mut inbox = self.inbox.lock().await;
        if inbox.next.is_none() {
            inbox.next = tokio::select! {
                biased;
                message = inbox.messages.recv() => message,
                _ = self.open.acquire() => None,
            };
        }
        let at = inbox.next.as_ref().ok_or(TransportError::Closed)?.0;
        tokio::time::sleep_until(at).await;
        inbox.next.take().map(|(_, message)| message).ok_or(TransportError::Closed)
    }

    fn close(&self) {
        self.open.close();
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the server does with a request, and how it ends.
async fn serve(server: &Node, asker: &PeerId, want: &Fetch, steps: &mpsc::UnboundedSender<Step>) -> Step {
    tokio::time::sleep(server.link.latency).await;
    let grant = match server.provider.open(asker, want).await {
        Ok(grant) if grant.bytes().len() == want.len as usize => grant,
        Ok(_) => return Step::Failed(FetchError::Refused(Refuse::Bad)),
        Err(why) => return Step::Failed(FetchError::Refused(why)),
    };
    let mut latency = server.link.latency;
    for range in want::chunks(&want.want, want.len) {
        server.upload(u64::from(range.end - range.start)).await;
        // The first chunk takes the way back; the others follow behind it.
        tokio::time::sleep(std::mem::take(&mut latency)).await;
        let bytes = grant.bytes().slice(range.start as usize..range.end as usize);
        if steps.send(Step::Chunk(Chunk { offset: range.start, bytes })).is_err() {
            break;
        }
    }
    Step::Whole
}
