//! Messages: one stream for the whole session. Length 4, then the message.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pcdn_core::transport::MESSAGE_BYTES_MAX;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;

use super::counters::Tally;
use super::hello::{self, Talk};
use super::{code, hub::Hub};

/// Messages sent and not yet on the wire, and messages arrived and not yet read, at most: 512 KiB each.
pub(super) const MESSAGES_MAX: usize = 8;

/// Carries messages in both directions until the session ends, and ends it if the other end breaks the rules.
pub(super) async fn talk(
    connection: Connection,
    Talk { send, recv, owed }: Talk,
    outbox: mpsc::Receiver<Bytes>,
    inbox: mpsc::Sender<Bytes>,
    hub: Arc<Hub>,
) {
    let end = tokio::select! {
        end = read(recv, owed, inbox) => end,
        () = write(send, outbox) => End::Done,
        _ = connection.closed() => End::Done,
    };
    let code = match end {
        End::Done => code::DONE,
        End::Violation => {
            Tally::one(&hub.tally.malformed);
            code::VIOLATION
        }
        End::Stranger => {
            Tally::one(&hub.tally.strangers);
            code::STRANGER
        }
    };
    connection.close(code, b"");
}

enum End {
    Done,
    Violation,
    Stranger,
}

async fn write(mut send: SendStream, mut outbox: mpsc::Receiver<Bytes>) {
    while let Some(message) = outbox.recv().await {
        let len = (message.len() as u32).to_be_bytes();
        let mut parts = [Bytes::copy_from_slice(&len), message];
        if send.write_all_chunks(&mut parts).await.is_err() {
            return;
        }
    }
}

async fn read(mut recv: RecvStream, owed: Option<blake3::Hash>, inbox: mpsc::Sender<Bytes>) -> End {
    if let Some(owed) = owed
        && hello::check(&mut recv, &owed).await.is_none()
    {
        return End::Stranger;
    }
    loop {
        let mut len = [0; 4];
        if recv.read_exact(&mut len).await.is_err() {
            return End::Done;
        }
        let len = u32::from_be_bytes(len) as usize;
        if len > MESSAGE_BYTES_MAX {
            return End::Violation;
        }
        let Some(message) = body(&mut recv, len).await else { return End::Done };
        // Waiting for the reader is what holds the other end back.
        if inbox.send(message).await.is_err() {
            return End::Done;
        }
    }
}

/// The next `len` bytes; memory is taken as they come.
async fn body(recv: &mut RecvStream, len: usize) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while body.len() < len {
        let chunk = recv.read_chunk(len - body.len(), true).await.ok()??;
        if chunk.bytes.len() == len {
            return Some(chunk.bytes);
        }
        body.extend_from_slice(&chunk.bytes);
    }
    Some(body.freeze())
}
