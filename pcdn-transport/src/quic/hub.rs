//! What all sessions of a node share, and which there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pcdn_core::id::PeerId;
use pcdn_core::transport::{Provider, Session};
use quinn::{Connection, VarInt};
use tokio::sync::oneshot;

use super::config::QuicConfig;
use super::counters::Tally;
use super::hello::Talk;
use super::resume::Resume;
use super::session::QuicSession;
use super::uplink::Uplink;
use super::watch::{self, Ways};
use super::{serve, talk, tuning};
use crate::limit::Limits;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: QuicConfig,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) uplink: Uplink,
    pub(super) tally: Tally,
    pub(super) resume: Resume,
    /// How sessions that lost their way find it again, if somebody meets peers by the socket.
    pub(super) ways: OnceLock<Ways>,
    open: Mutex<BTreeMap<usize, Connection>>,
}

/// Which end of a session this node is.
#[derive(Debug)]
pub(super) enum End {
    Dialler,
    Dialled(Option<Serving>),
}

/// The serving of one connection, which is held to what may be early until it is let go.
#[derive(Debug)]
pub(super) struct Serving(oneshot::Sender<()>);

impl Hub {
    pub(super) fn new(
        config: QuicConfig,
        provider: Arc<dyn Provider>,
        limits: Limits,
        resume: Resume,
    ) -> Arc<Self> {
        let (uplink, tally) = (Uplink::new(limits), Tally::default());
        let (ways, open) = (OnceLock::new(), Mutex::default());
        Arc::new(Self { config, provider, uplink, tally, resume, ways, open })
    }

    pub(super) fn sessions(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Serves early fetches of `peer`, until the connection ends or the session [begins](Self::begin).
    pub(super) fn serve(self: &Arc<Self>, connection: &Connection, peer: PeerId) -> Serving {
        let (proven, when) = oneshot::channel();
        self.change(|open| _ = open.insert(connection.stable_id(), connection.clone()));
        let (hub, served) = (Arc::clone(self), connection.clone());
        tokio::spawn(async move {
            let id = served.stable_id();
            serve::serve(served, peer, Arc::clone(&hub), when).await;
            hub.change(|open| _ = open.remove(&id));
        });
        Serving(proven)
    }

    /// A session is open: both ends are proven. It is served until it ends. Who was dialled may have been served before.
    pub(super) fn begin(
        self: &Arc<Self>,
        connection: Connection,
        peer: PeerId,
        proven: Talk,
        end: End,
    ) -> Arc<dyn Session> {
        let (dialled, served) = match end {
            End::Dialler => (true, None),
            End::Dialled(served) => (false, served),
        };
        let (outbox, to_send) = tokio::sync::mpsc::channel(talk::MESSAGES_MAX);
        let (arrived, inbox) = tokio::sync::mpsc::channel(talk::MESSAGES_MAX);
        let Serving(all) = served.unwrap_or_else(|| self.serve(&connection, peer));
        // It may have ended meanwhile, which the session is told of as ever.
        let _ = all.send(());
        tokio::spawn(talk::talk(connection.clone(), proven, to_send, arrived, Arc::clone(self)));
        let fetches = Arc::default();
        if let Some(ways) = self.ways.get() {
            let fetches = Arc::clone(&fetches);
            let (hub, ways) = (Arc::clone(self), ways.clone());
            tokio::spawn(watch::watch(connection.clone(), peer, hub, ways, dialled, fetches));
        }
        Arc::new(QuicSession::new(connection, peer, outbox, inbox, fetches))
    }

    /// Sends something that says nothing new and is acknowledged: one byte more may come, and then one less.
    pub(super) fn nudge(&self, connection: &Connection) {
        let sessions = self.sessions();
        let window = tuning::window(self.config.receive_buffer.0, sessions);
        connection.set_receive_window(VarInt::from_u64(window.into_inner() + 1).unwrap_or(window));
        connection.set_receive_window(window);
    }

    /// Sessions come and go, and the receive buffer is shared anew.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<usize, Connection>)) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |sessions| tuning::window(self.config.receive_buffer.0, sessions);
        let before = part(open.len());
        change(&mut open);
        let now = part(open.len());
        if now != before {
            open.values().for_each(|connection| connection.set_receive_window(now));
        }
    }
}
