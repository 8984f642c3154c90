//! Bytes between a swarm's engine and its links and origins.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::resource::ResourceHead;
use pcdn_core::transport::FetchError;
use tokio::sync::mpsc;

use super::ToSwarm;
use crate::node::Throttle;

/// Sends a neighbour's messages in order until either side is gone.
pub(super) async fn send_all(
    session: Arc<dyn pcdn_core::transport::Session>,
    mut queue: mpsc::Receiver<Bytes>,
) {
    while let Some(message) = queue.recv().await {
        if session.send(message).await.is_err() {
            return;
        }
    }
}

/// Puts the chunks of a piece together: one copy, none if it comes in one.
pub(super) async fn assemble(
    fetching: &mut pcdn_core::transport::Fetching,
    len: usize,
) -> Result<Bytes, FetchError> {
    let mut buffer = BytesMut::new();
    let mut filled = 0;
    while let Some(chunk) = fetching.next().await {
        let chunk = chunk?;
        if chunk.offset == 0 && chunk.bytes.len() == len {
            return Ok(chunk.bytes);
        }
        let start = chunk.offset as usize;
        let end = start + chunk.bytes.len();
        if end > len {
            return Err(FetchError::Violation("bytes beyond the piece".to_owned()));
        }
        if buffer.is_empty() {
            buffer.resize(len, 0);
        }
        buffer[start..end].copy_from_slice(&chunk.bytes);
        filled += chunk.bytes.len();
    }
    if filled == len { Ok(buffer.freeze()) } else { Err(FetchError::Closed) }
}

/// Bytes of an origin run handed to the engine at once, and how long the first of them may wait for the rest: at 100 Mbit/s
/// they come in packets, and waking the swarm for each costs more than hashing them.
const GULP: usize = 32 << 10;
const GULP_WAIT: Duration = Duration::from_millis(5);
/// The first bytes of a run do not wait: a player may be waiting for the first piece, and with it for 5 ms (a start of 35 ms from an
/// origin 25 ms away).
const AT_ONCE: usize = 128 << 10;

pub(super) async fn stream(
    origin: &dyn Origin,
    want: &OriginGet,
    opened: impl FnOnce(&ResourceHead),
    own: &mpsc::Sender<ToSwarm>,
    run: u64,
    (throttles, who): (&[Arc<Throttle>; 3], u64),
) -> Result<(), OriginError> {
    let body = origin.get(want).await?;
    opened(&body.head);
    // Fused: it is asked again after its end.
    let mut body = body.bytes.fuse();
    let mut come = 0;
    while let Some(bytes) = body.next().await {
        let mut gulp = bytes?;
        let mut after = Ok(());
        if gulp.len() < GULP && come >= AT_ONCE {
            let mut more = BytesMut::from(gulp);
            let until = tokio::time::Instant::now() + GULP_WAIT;
            while more.len() < GULP {
                match tokio::time::timeout_at(until, body.next()).await {
                    Ok(Some(Ok(bytes))) => more.extend_from_slice(&bytes),
                    Ok(Some(Err(error))) => {
                        after = Err(error);
                        break;
                    }
                    Ok(None) | Err(_) => break,
                }
            }
            gulp = more.freeze();
        }
        while !gulp.is_empty() {
            // Of what comes at once the first is handed on before the rest is hashed.
            let part = gulp.split_to(if come < AT_ONCE { gulp.len().min(GULP) } else { gulp.len() });
            come += part.len();
            for throttle in throttles {
                throttle.take(who, part.len()).await;
            }
            if own.send(ToSwarm::OriginBytes { run, bytes: part }).await.is_err() {
                return Ok(());
            }
        }
        after?;
    }
    Ok(())
}
