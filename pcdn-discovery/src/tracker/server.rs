//! The tracker's sockets: UDP for nodes, HTTP on the TCP port of the same number for people.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::unit::Time;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::http;
use super::networks::Networks;
use super::secret::Secret;
use super::service::{Counters, Service};
use super::standing::http::wall_clock;
use super::standing::{StandingConfig, Standings};
use super::store::{Elsewhere, Memory, PeerStore};
use super::table::{Limits, Table};
use super::token::Tokens;
use meet::{Desk, Meetings};
use udp::Worker;

mod defer;
mod meet;
mod udp;
mod web;

/// How often expired entries are dropped: 3 % of their life.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a shutdown waits for HTTP answers under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// Pause after an error of a listening socket (out of file handles, mostly), so that it does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// Tries to find a number that is free for UDP and TCP when port 0 is asked for.
const BIND_TRIES: usize = 16;

/// How a tracker is set up.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Where it listens, UDP and TCP. Port 0 takes any that is free for both. Default `0.0.0.0:7070`.
    pub listen: SocketAddr,
    /// Makes it private. Default none.
    pub secret: Option<Secret>,
    /// The public key of the application whose tokens it wants. Default none: everyone may use it.
    pub token_key: Option<PeerId>,
    /// Its bounds and times.
    pub limits: Limits,
    /// Who is near to whom. Default: nobody.
    pub networks: Arc<Networks>,
    /// What it makes of how good peers are.
    pub standing: StandingConfig,
    /// Another address of this host from which nodes are answered, so that they learn what their NATs do. Default: one the system
    /// has, if it listens on all.
    pub second_address: Option<IpAddr>,
    /// UDP workers, each a thread with a socket of its own. Default: the number of cores, at most 4; one core answers more than
    /// a hundred thousand requests a second.
    pub workers: usize,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self {
            listen: SocketAddr::new(IpAddr::from(Ipv4Addr::UNSPECIFIED), 7070),
            secret: None,
            token_key: None,
            limits: Limits::default(),
            networks: Arc::default(),
            standing: StandingConfig::default(),
            second_address: None,
            workers: cores.min(4),
        }
    }
}

/// A running tracker. Dropping it stops it at once, [`shutdown`](Self::shutdown) lets HTTP answers finish.
#[derive(Debug)]
pub struct TrackerServer {
    local: SocketAddr,
    service: Arc<Service>,
    standings: Arc<Standings>,
    standing: Box<StandingConfig>,
    stop: watch::Sender<bool>,
    workers: Vec<Worker>,
    desks: Vec<Desk>,
    tasks: JoinSet<()>,
}

impl TrackerServer {
    /// Binds both sockets and serves. When this returns, the tracker answers.
    pub async fn bind(config: TrackerConfig) -> io::Result<Self> {
        let store = Arc::new(Memory::new(config.limits.peers_per_swarm, config.networks.clone()));
        Self::bind_with(config, store, None).await
    }

    /// The same with entries in `store`, of which `elsewhere` is the half that takes time, if it has one.
    pub async fn bind_with(
        config: TrackerConfig,
        store: Arc<dyn PeerStore>,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> io::Result<Self> {
        let epoch = wall_clock();
        let standing = Box::new(config.standing);
        let standings = Arc::new(standing.standings(epoch, Identity::from_secret(draw()?))?);
        let (udp, tcp) = bind_both(config.listen).await?;
        let local = udp.local_addr()?;
        let start = Watch(Instant::now());
        let table = Table::with_store(config.limits, store, config.networks);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let tokens = config.token_key.map(|key| Tokens::new(key, unix));
        let service = Service::with_table(table, draw()?, config.secret).with_tokens(tokens);
        let service = Arc::new(service);
        let mut dice = Dice::new(u64::from_be_bytes(draw()?));
        let mut sockets = vec![udp];
        while sockets.len() < config.workers && cfg!(target_os = "linux") {
            sockets.push(udp::bind_beside(&sockets[0], local)?);
        }
        let meetings = Meetings::bind(local, config.second_address, draw()?, service.clone());
        let desks = meetings.desks(start)?;
        let mut tasks = JoinSet::new();
        let defer = match elsewhere.clone() {
            Some(elsewhere) => {
                let dice = dice.fork("deferred");
                Some(defer::start(
                    &mut tasks,
                    elsewhere,
                    service.clone(),
                    start,
                    sockets[0].try_clone()?,
                    dice,
                ))
            }
            None => None,
        };
        let worker = |(number, socket): (usize, UdpSocket)| {
            let shared = udp::Shared { service: service.clone(), meetings: meetings.clone(), watch: start };
            Worker::start(socket, shared, dice.fork(&format!("udp {number}")), defer.clone())
        };
        let workers = sockets.into_iter().enumerate().map(worker).collect::<io::Result<_>>()?;
        let (stop, stopped) = watch::channel(false);
        service.tell(standings.clone(), wall_clock());
        standing.start(&mut tasks, &standings, service.clone(), dice.fork("standing"));
        let router = http::router(service.clone(), start, dice.fork("http"), elsewhere, &standings);
        tasks.spawn(web::serve(tcp, router, stopped));
        tasks.spawn(sweep(service.clone(), meetings, start));
        tracing::info!(%local, "tracker listens");
        Ok(Self { local, service, standings, standing, stop, workers, desks, tasks })
    }

    /// Where it listens, UDP and TCP.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Who takes part where.
    pub fn table(&self) -> &Table {
        self.service.table()
    }

    /// What is known of how good peers are.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        self.service.counters()
    }

    /// Stops; at most two seconds later every task it started has ended and the port is free.
    pub async fn shutdown(mut self) {
        // The HTTP task ends by itself; the others are only ever between two looks.
        let _ = self.stop.send(true);
        let http = async {
            while !self.stop.is_closed() {
                self.stop.closed().await;
            }
        };
        let _ = timeout(SHUTDOWN_MAX, http).await;
        self.tasks.shutdown().await;
        self.standing.stop(&self.standings).await;
        // Each is woken and then ends between two batches.
        drop(std::mem::take(&mut self.workers));
        drop(std::mem::take(&mut self.desks));
    }
}

/// The time since the tracker's start, which is all its cores know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    pub(crate) fn now(self) -> Time {
        Time(self.0.elapsed().as_micros() as u64)
    }
}

async fn sweep(service: Arc<Service>, meetings: Arc<Meetings>, watch: Watch) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        service.table().expire(watch.now());
        meetings.expire(watch.now());
    }
}

/// One number for both protocols.
async fn bind_both(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if listen.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = udp::bind(listen)?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Random bytes for keys and seeds.
fn draw<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
