//! Who calls: how many at a time, how many a second, and whether they may come in.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::transport::Session;
use quinn::{Endpoint, Incoming};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::counters::Tally;
use super::hub::{End, Hub};
use super::{code, hello, tls};

/// Callers between their first packet and their proof, at most: half a second of round trips at 128 callers a second.
const CALLERS_MAX: usize = 64;

/// Lets callers in until the endpoint is closed.
pub(super) async fn open(endpoint: Endpoint, hub: Arc<Hub>, accepts: mpsc::Sender<Arc<dyn Session>>) {
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    let mut pace = Pace::new(Instant::now(), hub.config.handshakes_per_second);
    while let Some(caller) = endpoint.accept().await {
        let place = Arc::clone(&places).try_acquire_owned();
        let (Ok(place), true) = (place, hub.sessions() < hub.config.sessions_max) else {
            Tally::one(&hub.tally.refused);
            caller.refuse();
            continue;
        };
        if !caller.remote_address_validated() && caller.may_retry() && !pace.allows(Instant::now()) {
            // It comes back with the token that only its true address got.
            let _ = caller.retry();
            continue;
        }
        let (hub, accepts) = (Arc::clone(&hub), accepts.clone());
        tokio::spawn(async move {
            let called = tokio::time::timeout(hub.config.handshake_timeout, admit(caller, &hub)).await;
            if let Ok(Some(session)) = called
                && accepts.try_send(session).is_err()
            {
                // The dropped handle closes the session.
                Tally::one(&hub.tally.refused);
            }
            drop(place);
        });
    }
}

/// Lets one in. Who resumes may be served before it has come in: what arrives before the handshake is over is early data, of the
/// peer of the ticket, and TLS gives none to others.
async fn admit(caller: Incoming, hub: &Arc<Hub>) -> Option<Arc<dyn Session>> {
    let (answer, tickets) = hub.resume.answer().ok()?;
    let (connection, mut over) = caller.accept_with(answer).ok()?.into_0rtt().ok()?;
    let (mut first, mut early) = (None, None);
    tokio::select! {
        biased;
        _ = &mut over => {}
        // The first stream is that of messages, on which nothing is read yet.
        streams = connection.accept_bi() => {
            let streams = streams.ok()?;
            let known = tls::peer_of(&connection).filter(|_| streams.1.is_0rtt());
            early = known.map(|peer| (peer, hub.serve(&connection, peer)));
            first = Some(streams);
            over.await;
        }
    }
    if connection.close_reason().is_some() {
        return None;
    }
    let peer = tls::peer_of(&connection)?;
    let serving = match early {
        Some((known, _)) if known != peer => return None,
        early => early.map(|(_, serving)| serving),
    };
    let streams = match first {
        Some(streams) => streams,
        None => connection.accept_bi().await.ok()?,
    };
    let Some(talk) = hello::answered(&connection, streams, hub.config.secret.as_ref()).await else {
        Tally::one(&hub.tally.strangers);
        connection.close(code::STRANGER, b"");
        return None;
    };
    tickets.prove(peer);
    Some(hub.begin(connection, peer, talk, End::Dialled(serving)))
}

/// How many a second are answered without proof of their address.
#[derive(Debug)]
struct Pace {
    second: Instant,
    left: u32,
    most: u32,
}

impl Pace {
    fn new(now: Instant, most: u32) -> Self {
        Self { second: now, left: most, most }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.left) = (now, self.most);
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_a_second_are_answered_unproven() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun, 3);
        let allowed =
            |pace: &mut Pace, ms| (0..10).filter(|_| pace.allows(begun + Duration::from_millis(ms))).count();
        assert_eq!([0, 500, 1_000, 1_900, 2_000].map(|ms| allowed(&mut pace, ms)), [3, 0, 3, 0, 3]);
    }
}
