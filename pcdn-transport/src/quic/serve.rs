//! Serving: a task for each request. It asks the provider, sends the wanted bytes as the uplink has room, and is dropped with
//! the provider's future as soon as the asker stops the stream or its time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{Fetch, Grant, Provider, Refuse};
use quinn::{Connection, ReadToEndError, RecvStream};
use tokio::task::JoinSet;

use super::code;
use super::counters::Tally;
use super::hub::Hub;
use super::outgoing::Outgoing;
use super::uplink::Uplink;
use crate::{request, want};

/// Takes requests until the session ends, and then gives up what is not answered.
pub(super) async fn serve(connection: Connection, peer: PeerId, hub: Arc<Hub>) {
    // Never more than the streams a peer may have open.
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, recv)) = stream else { return };
                serving.spawn(answer(connection.clone(), peer, Outgoing::new(send), recv, Arc::clone(&hub)));
            }
            Some(_) = serving.join_next(), if !serving.is_empty() => {}
        }
    }
}

async fn answer(
    connection: Connection,
    peer: PeerId,
    mut answer: Outgoing,
    mut recv: RecvStream,
    hub: Arc<Hub>,
) {
    let want = match recv.read_to_end(request::FETCH_BYTES_MAX).await {
        Ok(body) => request::get_fetch(&mut Bytes::from(body)),
        Err(ReadToEndError::TooLong) => None,
        // It was given up before it was whole.
        Err(ReadToEndError::Read(_)) => return,
    };
    let Some(want) = want else {
        Tally::one(&hub.tally.malformed);
        return connection.close(code::VIOLATION, b"request");
    };
    answer.set_priority(code::priority(want.class));
    let stopped = answer.stopped();
    let give = give(&mut answer, &peer, &want, &*hub.provider, &hub.uplink, &hub.tally);
    tokio::select! {
        grant = tokio::time::timeout(want.within, give) => {
            let Ok(Some(_slot)) = grant else { return };
            // The slot is free again when the last byte has arrived, is not wanted any more, or is too late.
            let _ = tokio::time::timeout(want.within, answer.arrive()).await;
        }
        _ = stopped => {}
    }
}

/// Sends what is wanted, or why not.
async fn give(
    answer: &mut Outgoing,
    peer: &PeerId,
    want: &Fetch,
    provider: &dyn Provider,
    uplink: &Uplink,
    tally: &Tally,
) -> Option<Grant> {
    let grant = match provider.open(peer, want).await {
        Ok(grant) if grant.bytes().len() == want.len as usize => grant,
        other => {
            answer.reset(code::of_refusal(other.err().unwrap_or(Refuse::Bad)));
            return None;
        }
    };
    for range in want::chunks(&want.want, want.len) {
        let mut chunk = grant.bytes().slice(range.start as usize..range.end as usize);
        while !chunk.is_empty() {
            let room = uplink.take(want.class, chunk.len()).await;
            let now = chunk.split_to(room.min(chunk.len()));
            let sent = now.len() as u64;
            answer.write(now).await?;
            tally.content_sent.fetch_add(sent, Ordering::Relaxed);
        }
    }
    Some(grant)
}
