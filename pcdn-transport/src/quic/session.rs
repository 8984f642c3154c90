//! The handle of one session.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, Scheme};
use pcdn_core::transport::{Fetch, Fetching, MESSAGE_BYTES_MAX, PathStats, Session, TransportError};
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gauge::Gauge;
use super::{code, fetch};

/// A session over QUIC. Ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct QuicSession {
    connection: Connection,
    peer: PeerId,
    outbox: mpsc::Sender<Bytes>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    fetches: Arc<AtomicUsize>,
    gauge: Mutex<Gauge>,
}

impl QuicSession {
    pub(super) fn new(
        connection: Connection,
        peer: PeerId,
        outbox: mpsc::Sender<Bytes>,
        inbox: mpsc::Receiver<Bytes>,
        fetches: Arc<AtomicUsize>,
    ) -> Self {
        let (inbox, gauge) = (tokio::sync::Mutex::new(inbox), Mutex::new(Gauge::new(Instant::now())));
        Self { connection, peer, outbox, inbox, fetches, gauge }
    }
}

#[async_trait]
impl Session for QuicSession {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn path(&self) -> PathStats {
        let stats = self.connection.stats();
        let mut gauge = self.gauge.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = stats.path.lost_packets.saturating_mul(1_000) / stats.path.sent_packets.max(1);
        PathStats {
            rtt: stats.path.rtt,
            rtt_min: stats.path.min_rtt,
            rate: gauge.look(Instant::now(), stats.udp_rx.bytes),
            loss_permille: lost.min(1_000) as u16,
            remote: Some(PeerAddr { scheme: Scheme::Quic, addr: self.connection.remote_address() }),
        }
    }

    fn fetch(&self, want: Fetch) -> Fetching {
        fetch::start(&self.connection, &self.fetches, &want)
    }

    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLong(message.len()));
        }
        if self.connection.close_reason().is_some() {
            return Err(TransportError::Closed);
        }
        self.outbox.send(message).await.map_err(|_| TransportError::Closed)
    }

    async fn recv(&self) -> Result<Bytes, TransportError> {
        self.inbox.lock().await.recv().await.ok_or(TransportError::Closed)
    }

    fn close(&self) {
        self.connection.close(code::DONE, b"");
    }
}

impl Drop for QuicSession {
    fn drop(&mut self) {
        self.close();
    }
}
