//! The task that owns socket and endpoint: it waits for one of datagram, command and timer, and drains what follows.

mod appearance;
mod peers;
mod wants;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{Outlook, Scheme};
use pcdn_core::transport::{Fetch, Grant, Provider, Refuse, Session};
use pcdn_core::unit::{Rate, Time};
use pcdn_core::wire::meet::Token;
use tokio::sync::{mpsc, oneshot};

use super::endpoint::{Counters, DialId, Endpoint, Event, SessionId, Transmit};
use super::socket::Socket;
use crate::fetching::Step;
use crate::limit::Limits;
use crate::nat::survey::Found;
use appearance::appearance;
use peers::Peers;
use wants::{EARS_MAX, WANTS_MAX, Wants};

/// Batches read before anything is sent: about 4 MiB, then others get a turn.
const READS_MAX: usize = 8;
/// Trains sent before the socket is read again.
const WRITES_MAX: usize = 64;
/// What handles show of paths and counters is renewed this often.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// What handles ask of the task.
#[derive(Debug)]
pub(super) enum Command {
    Connect {
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        reply: oneshot::Sender<Option<Arc<dyn Session>>>,
    },
    Fetch {
        session: SessionId,
        token: u64,
        want: Fetch,
        steps: mpsc::UnboundedSender<Step>,
    },
    Cancel {
        session: SessionId,
        token: u64,
    },
    Message {
        session: SessionId,
        message: Bytes,
    },
    Read {
        session: SessionId,
        bytes: usize,
    },
    Close(SessionId),
    Answer {
        session: SessionId,
        fetch: u32,
        answer: Result<Grant, Refuse>,
    },
    UploadLimit(Rate),
    MeetAt {
        trackers: Vec<SocketAddr>,
        private: Vec<SocketAddr>,
    },
    /// A neighbour of both calls this node and a peer together.
    Introduced {
        peer: PeerId,
        token: Token,
        begin_in: Duration,
        at: SocketAddr,
    },
    /// Another protocol on the socket dials a peer, or has lost it, until nobody hears any more where it is reached.
    Want {
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        lost: bool,
        reached: mpsc::Sender<SocketAddr>,
    },
    /// A session of another protocol wants to know where its peer comes through, until it hears no more.
    Hear {
        peer: PeerId,
        reached: mpsc::Sender<SocketAddr>,
    },
    /// The port that the router has opened.
    Mapped(Option<u16>),
    Shutdown(Option<oneshot::Sender<()>>),
}

/// What the transport's handles show. Cheap to clone; clones show the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) counters: Arc<Mutex<Counters>>,
    pub(super) outlook: Arc<Outlook>,
    /// What is spoken on the socket.
    pub(super) schemes: &'static [Scheme],
}

#[derive(Debug)]
pub(super) struct Driver {
    socket: Socket,
    endpoint: Endpoint,
    peers: Peers,
    dials: HashMap<DialId, oneshot::Sender<Option<Arc<dyn Session>>>>,
    /// What other protocols on the socket dial.
    wants: Wants,
    ears: Wants,
    /// Who shares upload limits shares a clock.
    clock: Limits,
    shown_at: Time,
    shown: Shown,
    found: Found,
    mapped: Option<u16>,
    /// A train the socket had no room for.
    unsent: Option<Transmit>,
    train: Vec<u8>,
    more_to_read: bool,
}

impl Driver {
    pub(super) fn new(
        socket: Socket,
        endpoint: Endpoint,
        clock: Limits,
        provider: Arc<dyn Provider>,
        commands: mpsc::WeakUnboundedSender<Command>,
        accepts: mpsc::Sender<Arc<dyn Session>>,
        shown: Shown,
    ) -> Self {
        Self {
            socket,
            endpoint,
            peers: Peers::new(provider, commands, accepts),
            dials: HashMap::new(),
            wants: Wants::new(WANTS_MAX),
            ears: Wants::new(EARS_MAX),
            clock,
            shown_at: Time::ZERO,
            shown,
            found: Found::default(),
            mapped: None,
            unsent: None,
            train: Vec::with_capacity(1 << 16),
            more_to_read: false,
        }
    }

    /// Runs until shut down, or until nobody has a handle any more.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let command = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
                () = self.something_to_do() => None,
            };
            if let Some(Command::Shutdown(done)) = command.and_then(|command| self.command(command)) {
                self.goodbye(done);
                return;
            }
            while let Ok(command) = commands.try_recv() {
                if let Some(Command::Shutdown(done)) = self.command(command) {
                    self.goodbye(done);
                    return;
                }
            }
            self.read();
            self.wake();
            self.react();
            self.write();
            self.show();
        }
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    async fn something_to_do(&self) {
        if self.more_to_read {
            // Others on this thread get their turn, too.
            return tokio::task::yield_now().await;
        }
        let next = self.endpoint.next_wake();
        let timer = async {
            match next {
                Time::NEVER => std::future::pending().await,
                at => tokio::time::sleep_until(self.clock.instant(at)).await,
            }
        };
        // Errors of readiness show up again when reading.
        tokio::select! {
            _ = self.socket.readable() => {}
            _ = self.socket.writable(), if self.unsent.is_some() => {}
            () = timer => {}
        }
    }

    /// Does what a handle asks; gives a shutdown back.
    fn command(&mut self, command: Command) -> Option<Command> {
        let now = self.now();
        match command {
            Command::Connect { peer, addrs, reply } => {
                let dial = self.endpoint.connect(now, peer, &addrs);
                self.dials.insert(dial, reply);
            }
            Command::Fetch { session, token, want, steps } => match self.endpoint.fetch(now, session, want) {
                Some(fetch) => self.peers.fetch_begun(session, fetch, token, steps),
                // The session is over: the dropped sender says so.
                None => drop(steps),
            },
            Command::Cancel { session, token } => {
                if let Some(fetch) = self.peers.fetch_cancelled(session, token) {
                    self.endpoint.cancel(now, session, fetch);
                }
            }
            Command::Message { session, message } => {
                self.peers.message_sent(session, &message);
                self.endpoint.send(now, session, &message);
            }
            Command::Read { session, bytes } => self.endpoint.message_read(now, session, bytes),
            Command::Close(session) => self.endpoint.close(now, session),
            Command::Answer { session, fetch, answer } => {
                self.peers.answered(session, fetch);
                match answer {
                    Ok(grant) => self.endpoint.granted(now, session, fetch, grant),
                    Err(why) => self.endpoint.refused(now, session, fetch, why),
                }
            }
            Command::MeetAt { trackers, private } => self.endpoint.meet_at(now, &trackers, &private),
            Command::Introduced { peer, token, begin_in, at } => {
                // What ends a want ends its meetings, but not this one.
                self.forget_wants();
                self.endpoint.introduced(now, peer, token, begin_in, at);
            }
            Command::Want { peer, addrs, lost, reached } => {
                self.forget_wants();
                match addrs.first().filter(|_| lost) {
                    _ if !self.wants.add(peer, reached) => {}
                    Some(at) => self.endpoint.miss(now, peer, *at),
                    None => self.endpoint.want(now, peer, &addrs),
                }
            }
            Command::Hear { peer, reached } => {
                self.ears.ended();
                self.ears.add(peer, reached);
            }
            Command::Mapped(port) => {
                self.mapped = port;
                self.look();
            }
            Command::UploadLimit(limit) => self.endpoint.set_upload_limit(limit),
            shutdown @ Command::Shutdown(_) => return Some(shutdown),
        }
        self.react();
        None
    }

    fn read(&mut self) {
        let endpoint = &mut self.endpoint;
        let clock = &self.clock;
        self.more_to_read = false;
        for _ in 0..READS_MAX {
            let now = clock.now();
            if !self.socket.receive(|from, datagram| endpoint.handle(now, from, datagram)) {
                return;
            }
        }
        self.more_to_read = true;
    }

    fn wake(&mut self) {
        let now = self.now();
        if now >= self.endpoint.next_wake() {
            self.endpoint.wake(now);
            let endpoint = &mut self.endpoint;
            // Calls whose caller has gone are not made any longer.
            self.dials.retain(|dial, reply| {
                if reply.is_closed() {
                    endpoint.hang_up(*dial);
                }
                !reply.is_closed()
            });
            self.forget_wants();
        }
    }

    fn forget_wants(&mut self) {
        let ended = self.wants.ended();
        ended.iter().for_each(|peer| self.endpoint.unwant(peer));
    }

    fn react(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected { dial, session, peer } => {
                    let path = self.endpoint.path(self.now(), session).unwrap_or_default();
                    let handle = self.peers.opened(session, peer, path);
                    let reply = self.dials.remove(&dial);
                    // If nobody waits any more, dropping the handle closes the session.
                    if let (Some(reply), Some(handle)) = (reply, handle) {
                        let _ = reply.send(Some(handle));
                    }
                }
                Event::Unreachable { dial, peer, stranger, version } => {
                    if let Some(version) = version {
                        tracing::debug!(peer = %peer.short(), version, "not reached: it speaks other versions");
                    }
                    if stranger {
                        tracing::debug!(
                            peer = %peer.short(),
                            "not reached: who answered is not this peer, or has another swarm secret"
                        );
                    }
                    if let Some(reply) = self.dials.remove(&dial) {
                        let _ = reply.send(None);
                    }
                }
                Event::Accepted { session, peer } => {
                    let path = self.endpoint.path(self.now(), session).unwrap_or_default();
                    self.peers.accepted(session, peer, path);
                }
                Event::Reached { peer, at } => {
                    [&self.wants, &self.ears].iter().for_each(|ears| ears.reached(&peer, at))
                }
                Event::Appears(found) => {
                    self.found = found;
                    self.look();
                }
                other => self.peers.event(other),
            }
        }
    }

    fn write(&mut self) {
        for _ in 0..WRITES_MAX {
            let transmit = match self.unsent.take() {
                Some(transmit) => transmit,
                None => {
                    self.train.clear();
                    let (now, segments) = (self.now(), self.socket.segments_max());
                    match self.endpoint.poll_transmit(now, segments, &mut self.train) {
                        Some(transmit) => transmit,
                        None => return,
                    }
                }
            };
            if !self.socket.send(transmit.to, &self.train, transmit.segment) {
                self.unsent = Some(transmit);
                return;
            }
        }
        // There is more; come back at once after a look at the socket.
        self.more_to_read = true;
    }

    fn show(&mut self) {
        let now = self.now();
        if now.since(self.shown_at) >= SHOW_EVERY {
            self.shown_at = now;
            let endpoint = &self.endpoint;
            self.peers.show(|session| endpoint.path(now, session));
            *self.shown.counters.lock().unwrap_or_else(PoisonError::into_inner) = endpoint.counters();
        }
    }

    fn look(&self) {
        self.shown.outlook.set(appearance(&self.found, self.mapped, self.shown.schemes));
    }

    fn goodbye(&mut self, done: Option<oneshot::Sender<()>>) {
        let now = self.now();
        self.endpoint.close_all(now);
        self.react();
        self.write();
        self.shown_at = Time::ZERO;
        self.show();
        if let Some(done) = done {
            let _ = done.send(());
        }
    }
}
