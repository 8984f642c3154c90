//! One connection of HTTP/3, and the answers on it.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::Code;
use h3_quinn::{BidiStream, OpenStreams};
use pcdn_core::origin::OriginError;
use quinn::VarInt;
use tokio::time::{Instant, interval, sleep, timeout};

use super::{Memory, unreachable};

/// How often a silent connection is pinged, so that a dead path is told from a slow server.
pub(super) const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Not one datagram for so long, two pings and their repetitions included, is a dead path: with a tenth of all datagrams lost, one
/// in thousands is taken for dead wrongly, and costs a new request.
const DEAD_AFTER: Duration = Duration::from_millis(1500);
/// The first sign of life of a request is its acknowledgement, after a round trip and what the server may put it off (25 ms).
const SIGN_AFTER: (u32, Duration) = (4, Duration::from_millis(200));
/// A timer that fires so much too late tells of a machine that was busy or asleep, not of a path; timers are good for a millisecond.
const LATE: Duration = Duration::from_millis(10);
/// Largest response head.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Interim answers (1xx) before the real one.
const INTERIM_MAX: usize = 8;
/// A connection nobody uses is closed after this long at the latest: it costs its pings.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// An open connection. Closed when the last handle is dropped.
pub(in crate::origin) struct Connection {
    quic: quinn::Connection,
    sender: SendRequest<OpenStreams, Bytes>,
    memory: Arc<Memory>,
    origin: String,
    started: Instant,
    /// When it was last asked something, milliseconds since it began.
    used: AtomicU64,
}

impl Connection {
    /// Speaks HTTP/3 over `quic`, until nobody used it for `idle`.
    pub(super) async fn open(
        quic: quinn::Connection,
        memory: Arc<Memory>,
        origin: String,
        idle: Duration,
    ) -> Result<Arc<Self>, OriginError> {
        let mut builder = h3::client::builder();
        builder.max_field_section_size(HEAD_BYTES_MAX).send_grease(false);
        let over = h3_quinn::Connection::new(quic.clone());
        let (driver, sender) = builder.build(over).await.map_err(|error| unreachable(&error))?;
        let used = AtomicU64::new(0);
        let open = Arc::new(Self { quic, sender, memory, origin, started: Instant::now(), used });
        tokio::spawn(drive(driver, Arc::downgrade(&open), idle.min(IDLE_MAX)));
        Ok(open)
    }

    pub(super) fn is_open(&self) -> bool {
        self.quic.close_reason().is_none()
    }

    /// The head of the answer to `request`, and its body to be read.
    pub(in crate::origin) async fn ask(
        self: &Arc<Self>,
        request: http::Request<()>,
    ) -> Result<(http::Response<()>, Transfer), OriginError> {
        self.used.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        let asked = self.sender.clone().send_request(request).await.map_err(|error| unreachable(&error))?;
        let mut transfer = Transfer { stream: asked, connection: self.clone() };
        transfer.stream.finish().await.map_err(|error| unreachable(&error))?;
        for _ in 0..INTERIM_MAX {
            let head = transfer.stream.recv_response().await.map_err(|error| unreachable(&error))?;
            if !head.status().is_informational() {
                return Ok((head, transfer));
            }
        }
        Err(OriginError::Malformed { what: "interim answers without end".into() })
    }

    /// Waits until this path looks dead, or `longest`.
    pub(in crate::origin) async fn quiet(&self, longest: Duration) {
        let begun = Instant::now();
        let mut heard = self.heard();
        let mut patience = (self.quic.rtt() * SIGN_AFTER.0).max(SIGN_AFTER.1);
        while begun.elapsed() < longest {
            let wait = patience.min(longest.saturating_sub(begun.elapsed()));
            let waiting = Instant::now();
            sleep(wait).await;
            let now = self.heard();
            if now == heard && waiting.elapsed() < wait + LATE {
                return;
            }
            if now == heard {
                // What came meanwhile is yet to be read.
                continue;
            }
            // From its acknowledgement on, a server that thinks is heard by its answers to pings only.
            (heard, patience) = (now, DEAD_AFTER);
        }
    }

    /// Datagrams that ever came.
    fn heard(&self) -> u64 {
        self.quic.stats().udp_rx.datagrams
    }

    fn idle_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Keeps a connection going until it ends, nobody holds it, or nobody has used it for `idle`.
async fn drive(
    mut driver: h3::client::Connection<h3_quinn::Connection, Bytes>,
    connection: Weak<Connection>,
    idle: Duration,
) {
    let mut tick = interval((idle / 2).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            _ = poll_fn(|context| driver.poll_close(context)) => return,
            _ = tick.tick() => {
                let Some(connection) = connection.upgrade() else { continue };
                // The pool's handle and this one: no answer is under way.
                if Arc::strong_count(&connection) <= 2 && connection.idle_for() >= idle {
                    connection.quic.close(VarInt::from_u32(Code::H3_NO_ERROR.value() as u32), b"");
                }
            }
        }
    }
}

/// A body on its way. Dropping it before its end stops the stream (with error code 0, which RFC 9114 section 8.1 has servers take
/// for no error: the library cannot name another while a read is under way).
pub(in crate::origin) struct Transfer {
    stream: RequestStream<BidiStream<Bytes>, Bytes>,
    connection: Arc<Connection>,
}

impl Transfer {
    /// The next bytes; `None` after the last.
    pub(in crate::origin) async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        let mut heard = self.connection.heard();
        loop {
            let next = poll_fn(|context| self.stream.poll_recv_data(context));
            match timeout(DEAD_AFTER, next).await {
                // An empty frame is no sign of a body that goes on.
                Ok(Ok(Some(bytes))) if !bytes.has_remaining() => {}
                Ok(Ok(Some(mut bytes))) => return Ok(Some(bytes.copy_to_bytes(bytes.remaining()))),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(self.broken(&error)),
                Err(_) if self.connection.heard() == heard => {
                    return Err(self.broken(&"nothing comes over UDP any more"));
                }
                Err(_) => heard = self.connection.heard(),
            }
        }
    }

    /// A body broke: whatever it was, TCP is next.
    fn broken(&mut self, why: &dyn fmt::Display) -> OriginError {
        let Connection { memory, origin, .. } = &*self.connection;
        memory.failed(origin, &why.to_string());
        unreachable(why)
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("connection", &self.connection).finish_non_exhaustive()
    }
}
