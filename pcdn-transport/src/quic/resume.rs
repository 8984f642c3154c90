//! Resuming: which tickets this node takes and uses, and what TLS is told for each call because of it.
//!
//! A ticket is worth what the session proved in which it was given. TLS gives it as soon as both keys are proven; the swarm
//! secret is shown after that ([`hello`](super::hello)). So each call has a store of its own, from which what it gave or got goes
//! to the tickets of the node once *its* secret was proven, and is forgotten if it never is. Whoever resumes therefore
//! had the secret, and both know each other as they did then: a ticket's own key is known to the two ends of that session alone,
//! both must have it, and the keys of both were proven in it.
//!
//! The tickets of the serving side are in this table and nowhere else (RFC 8446, section 8.1), and leave it when somebody shows
//! them: of two copies of a first flight at most one is resumed and has its early data read; the other finds a handshake like
//! any other, in which early data is not even decrypted. They are gone with the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pcdn_core::id::{Identity, PeerId};
use quinn::{ClientConfig, ServerConfig, TransportConfig};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;
use rustls::{Error, NamedGroup};
use tokio::time::Instant;

use super::tickets::Tickets;
use super::tls::{self, Keys};

/// Tickets given in a session: one for the next, and one for a second address that is called beside the first.
pub(super) const TICKETS_GIVEN: usize = 2;

/// The tickets of a node, and the settings of its calls.
#[derive(Debug)]
pub(super) struct Resume {
    keys: Keys,
    settings: Arc<TransportConfig>,
    answers: ServerConfig,
    got: Table<Got>,
    given: Table<Given>,
}

type Table<T> = Arc<Mutex<Tickets<T>>>;

/// What a called peer gave.
pub(super) struct Got(Tls13ClientSessionValue);

/// What was given to a caller: the name by which it is shown, and what TLS wants back for it.
#[derive(Debug)]
pub(super) struct Given(Vec<u8>, Vec<u8>);

impl Resume {
    pub(super) fn new(me: &Identity, settings: Arc<TransportConfig>) -> Result<Self, Error> {
        let keys = Keys::new(me)?;
        let mut answers = ServerConfig::with_crypto(Arc::new(keys.server(None)?));
        answers.transport_config(Arc::clone(&settings));
        Ok(Self { keys, settings, answers, got: Table::default(), given: Table::default() })
    }

    /// How callers are answered who are not let in.
    pub(super) fn endpoint(&self) -> ServerConfig {
        self.answers.clone()
    }

    /// What one call is made with; its tickets are the node's once it is proven.
    pub(super) fn call(&self) -> Result<(ClientConfig, Arc<Fresh<Got>>), Error> {
        let fresh = Fresh::over(&self.got);
        let mut client = ClientConfig::new(Arc::new(self.keys.client(Arc::clone(&fresh) as _)?));
        client.transport_config(Arc::clone(&self.settings));
        Ok((client, fresh))
    }

    /// What one caller is answered with, likewise.
    pub(super) fn answer(&self) -> Result<(Arc<ServerConfig>, Arc<Fresh<Given>>), Error> {
        let fresh = Fresh::over(&self.given);
        let mut server = self.answers.clone();
        server.crypto = Arc::new(self.keys.server(Some(Arc::clone(&fresh) as _))?);
        Ok((Arc::new(server), fresh))
    }

    /// Whether there is a ticket for a call to `peer`.
    pub(super) fn may_call(&self, peer: &PeerId) -> bool {
        locked(&self.got).has(Instant::now(), peer)
    }
}

/// The tickets of one call: those of the node may be used, those that come wait for the proof.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    all: Table<T>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Unproven(Vec<T>),
    Proven(PeerId),
}

impl<T> Fresh<T> {
    fn over(all: &Table<T>) -> Arc<Self> {
        Arc::new(Self { all: Arc::clone(all), state: Mutex::new(State::Unproven(Vec::new())) })
    }

    /// The other end is `peer`, and has the swarm secret.
    pub(super) fn prove(&self, peer: PeerId) {
        let before = std::mem::replace(&mut *locked(&self.state), State::Proven(peer));
        if let State::Unproven(waiting) = before {
            waiting.into_iter().for_each(|ticket| locked(&self.all).put(Instant::now(), peer, ticket));
        }
    }

    /// Says whether it is kept.
    fn add(&self, ticket: T) -> bool {
        match &mut *locked(&self.state) {
            State::Proven(peer) => locked(&self.all).put(Instant::now(), *peer, ticket),
            State::Unproven(waiting) if waiting.len() < TICKETS_GIVEN => waiting.push(ticket),
            State::Unproven(_) => return false,
        }
        true
    }
}

impl ClientSessionStore for Fresh<Got> {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.add(Got(ticket));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let peer = tls::peer_of_name(name)?;
        locked(&self.all).take(Instant::now(), |known, _| *known == peer).map(|Got(ticket)| ticket)
    }

    // There is one group of keys, and no TLS before 1.3.
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

impl StoresServerSessions for Fresh<Given> {
    fn put(&self, name: Vec<u8>, value: Vec<u8>) -> bool {
        self.add(Given(name, value))
    }

    /// For sessions that may be resumed more than once: none may.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        // Names are 32 random bytes, which nobody tries out one after the other: the comparison may take its time.
        let taken = locked(&self.all).take(Instant::now(), |_, Given(known, _)| known == name);
        taken.map(|Given(_, value)| value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Got(..)")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
