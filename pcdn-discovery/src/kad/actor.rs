//! The one task that owns the libp2p node: takes what it tells, and what is asked of it, one at a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_identify as identify;
use libp2p_kad::{self as kad, K_VALUE, Mode, QueryId, RecordKey};
use libp2p_swarm::behaviour::{ExternalAddrConfirmed, ExternalAddrExpired};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{ConnectionId, FromSwarm, NetworkBehaviour as _, Swarm, SwarmEvent};
use pcdn_core::dice::Dice;
use pcdn_core::discovery::{DiscoveryError, Lease};
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::peer::{PeerAddr, PeerRecord};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::contact::Contact;
use super::providers::Key;
use super::reach::Reach;
use super::remembered::Remembered;
use super::search::Search;
use super::store::Shelf;
use super::{KadConfig, KadStatus, Serve, place, refused, silent};

mod queries;
mod upkeep;

/// How long the first calls wait until one node is listed. Four round trips across the world, and a dead bootstrap node.
pub(super) const JOIN_MAX: Duration = Duration::from_secs(5);
/// Look-ups and announcements under way, each. Each costs up to 40 requests.
const QUERIES_MAX: usize = 256;
/// A network is small below as many nodes as store each record.
const SMALL: usize = 20;
/// Pauses between attempts to join, and between a newcomer's attempts to know more nodes; doubling.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The clock of [`upkeep`].
const TICK: Duration = Duration::from_secs(1);
/// How often a node that does not serve is dialled back though there is no room for it.
const TELL_CHANCE: f64 = 0.25;
/// Addresses this node tells of its own.
const OWN_ADDRS_MAX: usize = PeerRecord::ADDRS_MAX;

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    Announce { key: Key, addrs: Vec<PeerAddr>, reply: oneshot::Sender<Result<Lease, DiscoveryError>> },
    Withdraw { key: Key, reply: oneshot::Sender<()> },
    Find { key: Key, want: usize, found: mpsc::Sender<Result<PeerRecord, DiscoveryError>> },
    Leave(oneshot::Sender<()>),
}

/// A look-up, and who waits for it.
struct Looking {
    search: Search,
    found: mpsc::Sender<Result<PeerRecord, DiscoveryError>>,
}

/// The task.
pub(super) struct Actor {
    swarm: Swarm<Behaviour>,
    config: KadConfig,
    me: PeerId,
    /// How nodes of this network introduce themselves.
    protocol: String,
    inbox: mpsc::Receiver<Command>,
    status: watch::Sender<KadStatus>,
    announcing: HashMap<QueryId, oneshot::Sender<Result<Lease, DiscoveryError>>>,
    looking: HashMap<QueryId, Looking>,
    reach: Reach,
    listening: Vec<SocketAddr>,
    /// This node's transports, as it was last told.
    transports: Vec<PeerAddr>,
    remembered: Remembered,
    unsaved: bool,
    /// Names of bootstrap nodes being looked up.
    lookups: JoinSet<Vec<(SocketAddr, Option<PeerId>)>>,
    begun: Instant,
    joined: bool,
    /// Whether this node may be the first, so that being alone is no failure.
    starts: bool,
    /// The next attempt to join, and the pause after it.
    retry: (Instant, Duration),
    /// The next attempt to know more nodes, and the pause after it.
    widen: (Instant, Duration),
    /// The next remembered node to dial.
    next_remembered: usize,
    dice: Dice,
}

impl Actor {
    /// A node that listens and dials whom it knows.
    pub(super) fn new(
        identity: &Identity,
        config: KadConfig,
        inbox: mpsc::Receiver<Command>,
        status: watch::Sender<KadStatus>,
    ) -> Result<Self, DiscoveryError> {
        let me = identity.peer_id();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| behaviour::other(error.to_string()))?;
        let mut dice = Dice::new(u64::from_le_bytes(seed));
        let shelf = Shelf::new(me, dice.fork("shelf"));
        let mut swarm = behaviour::swarm(identity, &config.network, config.private, shelf)?;
        for addr in &config.listen {
            swarm.listen_on(place::quic_v1(*addr)).map_err(behaviour::other)?;
        }
        let remembered = config.remember.as_deref().map(Remembered::load).unwrap_or_default();
        let starts = config.bootstrap.is_empty();
        let serves = config.serve == Serve::Always || config.serve == Serve::WhenReached && starts;
        swarm.behaviour_mut().kad.set_mode(Some(if serves { Mode::Server } else { Mode::Client }));
        let (announcing, looking, reach, listening) = Default::default();
        let (transports, unsaved, joined, next_remembered) = Default::default();
        let (protocol, lookups, begun) =
            (behaviour::protocol(&config.network), JoinSet::new(), Instant::now());
        Ok(Self {
            swarm,
            config,
            me,
            protocol,
            inbox,
            status,
            announcing,
            looking,
            reach,
            listening,
            transports,
            remembered,
            unsaved,
            lookups,
            begun,
            joined,
            starts,
            retry: (begun, AGAIN.0),
            widen: (begun + AGAIN.0, AGAIN.0),
            next_remembered,
            dice,
        })
    }

    /// Runs until nobody holds the handle any more, or it is told to leave.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        let mut count = 0;
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.take(event),
                Some(Ok(addrs)) = self.lookups.join_next(), if !self.lookups.is_empty() => self.dial_all(addrs),
                command = self.inbox.recv(), if self.is_ready() => match command {
                    None => break,
                    Some(Command::Leave(done)) => {
                        self.save().await;
                        // Who asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.act(command),
                },
                _ = ticks.tick() => {
                    self.tick(count).await;
                    count += 1;
                }
            }
        }
        self.save().await;
    }

    fn kad(&mut self) -> &mut kad::Behaviour<Shelf> {
        &mut self.swarm.behaviour_mut().kad
    }

    /// Whether calls make sense: the network is joined, or will not be soon.
    fn is_ready(&self) -> bool {
        let first = self.starts && self.remembered.all().is_empty();
        self.joined || first || self.begun.elapsed() >= JOIN_MAX
    }

    /// Whether nobody is there to ask, though somebody should be.
    fn is_cut_off(&self) -> bool {
        self.reach.len() == 0 && !self.starts
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Announce { key, addrs, reply } => self.announce(key, addrs, reply),
            Command::Withdraw { key, reply } => {
                self.kad().stop_providing(&RecordKey::new(&key));
                // Who asked may have stopped waiting.
                let _ = reply.send(());
            }
            Command::Find { key, want, found } => self.find(key, want, found),
            Command::Leave(_) => {}
        }
    }

    fn announce(
        &mut self,
        key: Key,
        addrs: Vec<PeerAddr>,
        reply: oneshot::Sender<Result<Lease, DiscoveryError>>,
    ) {
        self.set_transports(addrs);
        let begun = match self.announcing.len() {
            QUERIES_MAX.. => Err(refused("too many announcements are under way")),
            _ if self.is_cut_off() => Err(silent()),
            _ => self
                .kad()
                .start_providing(RecordKey::new(&key))
                .map_err(|_| refused("too many swarms are announced")),
        };
        match begun {
            Ok(query) => drop(self.announcing.insert(query, reply)),
            // Who asked may have stopped waiting.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn find(&mut self, key: Key, want: usize, found: mpsc::Sender<Result<PeerRecord, DiscoveryError>>) {
        let refusal = match self.looking.len() {
            QUERIES_MAX.. => Some(refused("too many look-ups are under way")),
            _ if self.is_cut_off() => Some(silent()),
            _ => None,
        };
        if let Some(error) = refusal {
            // The channel is new and has room, unless nobody waits any more.
            let _ = found.try_send(Err(error));
            return;
        }
        let search = Search::new(self.me, want, self.config.private);
        let query = self.kad().get_providers(RecordKey::new(&key));
        self.looking.insert(query, Looking { search, found });
    }

    /// Makes libp2p publish the transports' addresses in place of its own: it takes them for confirmed external ones. No other
    /// protocol hears of them.
    fn set_transports(&mut self, addrs: Vec<PeerAddr>) {
        if self.transports == addrs {
            return;
        }
        for old in self.transports.iter().filter_map(place::to_multiaddr) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr: &old }));
        }
        self.transports = addrs;
        for new in self.transports.iter().take(OWN_ADDRS_MAX).filter_map(place::to_multiaddr) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr: &new }));
        }
        self.refresh_own();
    }

    /// What askers are told directly: the transports, at each host of this node.
    fn refresh_own(&mut self) {
        let told: Vec<Multiaddr> = self.transports.iter().filter_map(place::to_multiaddr).collect();
        let hosts: Vec<_> = self.listening.iter().map(SocketAddr::ip).collect();
        let own = place::as_seen(&told, &hosts, self.config.private, OWN_ADDRS_MAX);
        let own = own.iter().filter_map(place::to_multiaddr).collect();
        self.kad().store_mut().set_own_addrs(own);
    }

    fn take(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => self.listens(&address, true),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listens(&address, false),
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                tracing::warn!(%error, "the DHT's socket is closed");
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, endpoint.get_remote_address(), endpoint.is_dialer());
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.reach.down(&peer_id, connection_id)
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                self.introduced(peer_id, &info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.kademlia(event),
            _ => {}
        }
    }

    fn listens(&mut self, address: &Multiaddr, up: bool) {
        let Some(addr) = place::socket_of(address) else { return };
        self.listening.retain(|known| *known != addr);
        if up {
            self.listening.push(addr);
        }
        self.refresh_own();
        self.tell();
    }

    fn connected(
        &mut self,
        peer: libp2p_identity::PeerId,
        id: ConnectionId,
        remote: &Multiaddr,
        dialled: bool,
    ) {
        let Some(addr) = place::socket_of(remote) else { return };
        if self.reach.up(peer, id, addr, dialled)
            && self.config.serve == Serve::WhenReached
            && self.kad().mode() == Mode::Client
        {
            tracing::info!("this node can be reached, and serves the DHT");
            self.kad().set_mode(Some(Mode::Server));
            self.tell();
        }
        if dialled && let Some(peer) = place::peer_of(&peer) {
            self.unsaved |= self.remembered.reached(Contact::new(addr, peer));
        }
        self.retry.1 = AGAIN.0;
    }

    /// A node has said who it is: on each of its connections, and again when it begins or ceases to serve.
    fn introduced(&mut self, peer: libp2p_identity::PeerId, info: &identify::Info) {
        if info.protocol_version != self.protocol {
            tracing::debug!(%peer, "a node of another network");
            // It may be gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let serves = info.protocols.iter().any(|protocol| self.kad().protocol_names().contains(protocol));
        self.list(&peer, serves);
        // A full bucket would not take it. A node that does not serve yet needs to be told that it could; of the 20 it asks when
        // it joins, five are enough for that.
        let has_room = self.kad().kbucket(peer).is_some_and(|bucket| bucket.num_entries() < K_VALUE.get());
        let wanted = has_room || !serves && self.dice.chance(TELL_CHANCE);
        if wanted && let Some(addr) = self.reach.dial_back(&peer) {
            let back = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![place::quic_v1(addr)]);
            if !self.dial(back.allocate_new_port().build()) {
                self.reach.not_tried(&peer);
            }
        }
    }

    /// Lists who serves and was reached, and nobody else: in a routing table others would be asked, and not answer.
    fn list(&mut self, peer: &libp2p_identity::PeerId, serves: bool) {
        match self.reach.dialled(peer).filter(|_| serves) {
            // A full bucket may refuse it.
            Some(addr) => drop(self.kad().add_address(peer, place::quic_v1(addr))),
            None if !serves => drop(self.kad().remove_peer(peer)),
            None => {}
        }
    }

    /// False if it is refused at once, for instance because too many dials are under way.
    fn dial(&mut self, how: DialOpts) -> bool {
        let refused = self.swarm.dial(how).err();
        if let Some(error) = &refused {
            tracing::debug!(%error, "a DHT node is not dialled");
        }
        refused.is_none()
    }
}
