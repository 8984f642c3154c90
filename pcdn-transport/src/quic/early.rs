//! A session that can be used before anybody has answered: fetches go in early data (0-RTT), all else waits.
//!
//! A fetch may be early because it changes nothing at the other end, is for the eyes of the peer that the ticket was given to and no
//! others, and is not answered twice ([`resume`](super::resume)). What can be had by recording and repeating a
//! first flight is therefore nothing; by spoiling it, a fetch asked again. The answer is bounded by QUIC as that of any
//! unproven address: three times what came (RFC 9000, section 8.1).
//!
//! Where the other end does not know the ticket any more, or is not at that address, nothing of the early fetches has been
//! seen; they are asked again on the session that comes to stand, and who fetches does not notice.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{FutureExt, stream};
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{
    Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, PathStats, Session, TransportError,
};
use quinn::{Connection, Endpoint};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::dial::{self, Call, STAGGER};
use super::hub::Hub;
use super::{code, fetch};
use crate::udp::Meetings;

/// Early fetches of a session at most, here and by whoever is served: a dozen pieces are more than the first round trips
/// bring, and requests of 8 KiB at most make 128 KiB that anybody may send unasked.
pub(super) const EARLY_MAX: usize = 16;

/// What comes of the call: nothing yet, a session or none.
type Outcome = Option<Option<Arc<dyn Session>>>;

/// Begins a session with a peer of whom there is a ticket.
pub(super) fn resume(
    endpoint: &Endpoint,
    hub: &Arc<Hub>,
    meetings: Option<&Meetings>,
    peer: &PeerRecord,
) -> Option<Arc<dyn Session>> {
    let first = *dial::addrs_of(peer).first().filter(|_| hub.resume.may_call(&peer.id))?;
    let call = Call::begin(endpoint, hub, peer, first).ok()?;
    let (connection, over) = call.calling.into_0rtt().ok()?;
    // The stream of messages is the first; only its number goes out with the others.
    let talk = connection.open_bi().now_or_never()?.ok()?;
    let (tell, outcome) = watch::channel(None);
    let (hub, endpoint, early) = (Arc::clone(hub), endpoint.clone(), connection.clone());
    let (meetings, record, patience) = (meetings.cloned(), peer.clone(), hub.config.handshake_timeout);
    let opening = tokio::spawn(async move {
        let direct = async {
            let resumed = over.await;
            let session = call.rest.end(early.clone(), resumed, Some(talk)).await.ok()?;
            Some((session, true))
        };
        let around = async {
            tokio::time::sleep(STAGGER).await;
            let session = dial::dial(&endpoint, &hub, meetings.as_ref(), &record).await.ok()?;
            Some((session, false))
        };
        let met = tokio::time::timeout(patience, either(direct, around)).await.ok().flatten();
        if !matches!(met, Some((_, true))) {
            early.close(code::DONE, b"");
        }
        let _ = tell.send(Some(met.map(|(session, _)| session)));
    });
    let (fetches, begun, opening) = (Arc::default(), AtomicUsize::new(0), opening.abort_handle());
    Some(Arc::new(Early { connection, peer: peer.id, fetches, begun, outcome, opening }))
}

/// The first of two that gives something.
async fn either<T>(a: impl Future<Output = Option<T>>, b: impl Future<Output = Option<T>>) -> Option<T> {
    match select(pin!(a), pin!(b)).await {
        Either::Left((Some(first), _)) | Either::Right((Some(first), _)) => Some(first),
        Either::Left((None, b)) => b.await,
        Either::Right((None, a)) => a.await,
    }
}

/// The session: what is early of it, and the one that comes to stand.
#[derive(Debug)]
struct Early {
    connection: Connection,
    peer: PeerId,
    /// Under way on `connection`.
    fetches: Arc<AtomicUsize>,
    /// Early ones so far.
    begun: AtomicUsize,
    outcome: watch::Receiver<Outcome>,
    opening: AbortHandle,
}

impl Early {
    /// The session, if it stands already.
    fn open(&self) -> Option<Arc<dyn Session>> {
        self.outcome.borrow().clone().flatten()
    }
}

/// The session, when it stands. `None` if it never will.
async fn opened(mut outcome: watch::Receiver<Outcome>) -> Option<Arc<dyn Session>> {
    // An opening that was given up tells nobody anything.
    let outcome = outcome.wait_for(Option::is_some).await.ok()?;
    outcome.clone().flatten()
}

#[async_trait]
impl Session for Early {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn path(&self) -> PathStats {
        let addr = PeerAddr { scheme: Scheme::Quic, addr: self.connection.remote_address() };
        let nothing_yet = || PathStats { remote: Some(addr), ..PathStats::default() };
        self.open().map_or_else(nothing_yet, |session| session.path())
    }

    fn fetch(&self, want: Fetch) -> Fetching {
        if let Some(session) = self.open() {
            return session.fetch(want);
        }
        let is_early = self.begun.fetch_add(1, Ordering::Relaxed) < EARLY_MAX;
        let first = if is_early {
            fetch::start(&self.connection, &self.fetches, &want)
        } else {
            Fetching::scripted(vec![Err(FetchError::Closed)])
        };
        asked_again(first, want, self.outcome.clone())
    }

    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLong(message.len()));
        }
        opened(self.outcome.clone()).await.ok_or(TransportError::Closed)?.send(message).await
    }

    async fn recv(&self) -> Result<Bytes, TransportError> {
        opened(self.outcome.clone()).await.ok_or(TransportError::Closed)?.recv().await
    }

    fn close(&self) {
        self.opening.abort();
        self.connection.close(code::DONE, b"");
        if let Some(session) = self.open() {
            session.close();
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.close();
    }
}

/// Passes `first` on; if it was not seen by anybody, the same from the session that comes to stand, within what is left of its time.
fn asked_again(first: Fetching, want: Fetch, outcome: watch::Receiver<Outcome>) -> Fetching {
    let late = Instant::now() + want.within;
    let second = async move {
        let session = timeout_at(late, opened(outcome)).await.map_err(|_| FetchError::Timeout)?;
        let within = late.saturating_duration_since(Instant::now());
        Ok(session.ok_or(FetchError::Closed)?.fetch(Fetch { within, ..want }))
    };
    let begin = (first, Some(second));
    Fetching::new(Box::pin(stream::unfold(begin, |(mut fetching, mut second)| async move {
        loop {
            match (fetching.next().await?, second.take()) {
                // With the first byte it is an answer, and how it ends is how the fetch ends.
                (Err(FetchError::Closed), Some(again)) => match again.await {
                    Ok(again) => fetching = again,
                    Err(error) => return Some((Err(error), (Fetching::scripted(Vec::new()), None))),
                },
                (step, _) => return Some((step, (fetching, None))),
            }
        }
    })))
}
