//! Serving: a task for each request. It asks the provider, sends the wanted bytes as the uplink has room, and is dropped with
//! the provider's future as soon as the asker stops the stream or its time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pcdn_core::id::PeerId;
use pcdn_core::transport::{Fetch, Refuse};
use quinn::{Connection, ReadToEndError, RecvStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::counters::Tally;
use super::early::EARLY_MAX;
use super::hub::Hub;
use super::outgoing::Outgoing;
use super::room::Room;
use super::turns::Turns;
use super::uplink::Parcel;
use super::{code, tuning};
use crate::{request, want};

/// Bytes handed to quinn in one turn: what may be under way, between a chunk as others are told of progress by, and a piece of
/// a file.
const CHUNK_MIN: usize = 16 * 1024;
const CHUNK_MAX: usize = 64 * 1024;
/// A turn at most.
const TURN: Duration = Duration::from_millis(500);

/// Takes requests until the session ends, and then gives up what is not answered. Before it is `proven`, no more than may be
/// early.
pub(super) async fn serve(
    connection: Connection,
    peer: PeerId,
    hub: Arc<Hub>,
    mut proven: oneshot::Receiver<()>,
) {
    // Never more than the streams a peer may have open.
    let (mut serving, turns) = (JoinSet::new(), Arc::<Turns>::default());
    let mut early = Some(EARLY_MAX);
    loop {
        tokio::select! {
            biased;
            shown = &mut proven, if early.is_some() => match shown {
                Ok(()) => early = None,
                // It never will be.
                Err(_) => return,
            },
            stream = connection.accept_bi(), if early != Some(0) => {
                let Ok((send, recv)) = stream else { return };
                if let Some(left) = &mut early {
                    *left -= 1;
                    Tally::one(&hub.tally.early);
                }
                let session = (connection.clone(), Arc::clone(&turns));
                serving.spawn(answer(session, peer, Outgoing::new(send), recv, Arc::clone(&hub)));
            }
            Some(_) = serving.join_next(), if !serving.is_empty() => {}
        }
    }
}

async fn answer(
    (connection, turns): (Connection, Arc<Turns>),
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
    let all = async {
        if give(&connection, &turns, &mut answer, &peer, &want, &hub).await {
            answer.arrive().await;
        }
    };
    tokio::select! {
        // What is not there in time, or not wanted any more, is given up.
        _ = tokio::time::timeout(want.within, all) => {}
        _ = stopped => {}
    }
}

/// Sends what is wanted, and says whether that is all; or sends why not. The slot is free again when the last bytes are under
/// way or next to be: waiting for them to arrive would leave the uplink empty for a round trip.
async fn give(
    connection: &Connection,
    turns: &Arc<Turns>,
    answer: &mut Outgoing,
    peer: &PeerId,
    want: &Fetch,
    hub: &Hub,
) -> bool {
    let grant = match hub.provider.open(peer, want).await {
        Ok(grant) if grant.bytes().len() == want.len as usize => grant,
        other => {
            answer.reset(code::of_refusal(other.err().unwrap_or(Refuse::Bad)));
            return false;
        }
    };
    let parcel = Parcel { class: want.class, swarm: want.swarm, peer: *peer };
    for range in want::ranges(&want.want, want.len) {
        let mut left = grant.bytes().slice(range.start as usize..range.end as usize);
        while !left.is_empty() {
            let cwnd = connection.stats().path.cwnd;
            let most = left.len().min((cwnd as usize).clamp(CHUNK_MIN, CHUNK_MAX));
            let room = hub.uplink.take(parcel, most).await;
            let mut chunk = left.split_to(room.min(most));
            let sent = chunk.len() as u64;
            while !chunk.is_empty() {
                let _turn = turns.take(want.class).await;
                connection.set_send_window(tuning::send_window(cwnd));
                let room = Room::of(connection);
                let writing = async {
                    while !chunk.is_empty() {
                        let fits = match &room {
                            Some(room) => room.take(chunk.len()).await,
                            None => chunk.len(),
                        };
                        // Off the chunk goes only what quinn has: the turn may end at any await.
                        let mut part = chunk.slice(..fits);
                        while !part.is_empty() {
                            let before = part.len();
                            answer.write_some(&mut part).await?;
                            chunk.advance(before - part.len());
                        }
                    }
                    Some(())
                };
                // All is written; or the asker does not read, and others shall not wait for that.
                if let Ok(None) = tokio::time::timeout(TURN, writing).await {
                    return false;
                }
            }
            hub.tally.content_sent.fetch_add(sent, Ordering::Relaxed);
        }
    }
    true
}
