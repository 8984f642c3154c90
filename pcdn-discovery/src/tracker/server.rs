//! The tracker's sockets: UDP for nodes, HTTP on the TCP port of the same number for people.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pcdn_core::dice::Dice;
use pcdn_core::id::Identity;
use pcdn_core::superpeer::Rules;
use pcdn_core::unit::Time;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::http::{self, From};
use super::secret::Secret;
use super::service::{Counters, Service};
use super::standing::Standings;
use super::standing::http::{self as standing, wall_clock};
use super::table::{Limits, Table};

/// How often expired entries are dropped: 3 % of their life.
const SWEEP: Duration = Duration::from_secs(5);
/// HTTP connections at once. People, scrapers and some nodes; each costs about 20 KiB.
const HTTP_CONNECTIONS_MAX: usize = 512;
/// How long one HTTP connection may last, and its request's head may take.
const HTTP_LIFE: Duration = Duration::from_secs(60);
const HTTP_HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a shutdown waits for HTTP answers under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// Pause after an error of a listening socket (out of file handles, mostly), so that it does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// Tries to find a number that is free for UDP and TCP when port 0 is asked for.
const BIND_TRIES: usize = 16;
/// Longest datagram read; longer ones are cut, and then no request.
const RECEIVE_BYTES: usize = 2048;

/// How a tracker is set up.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Where it listens, UDP and TCP. Port 0 takes any that is free for both. Default `0.0.0.0:7070`.
    pub listen: SocketAddr,
    /// Makes it private. Default none.
    pub secret: Option<Secret>,
    /// Its bounds and times.
    pub limits: Limits,
    /// Tasks that read the UDP socket. Default: the number of cores, at most 4; one core answers tens of thousands of
    /// requests a second.
    pub workers: usize,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self {
            listen: SocketAddr::new(IpAddr::from(Ipv4Addr::UNSPECIFIED), 7070),
            secret: None,
            limits: Limits::default(),
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
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl TrackerServer {
    /// Binds both sockets and serves. When this returns, the tracker answers.
    pub async fn bind(config: TrackerConfig) -> io::Result<Self> {
        let (udp, tcp) = bind_both(config.listen).await?;
        let local = udp.local_addr()?;
        let (udp, start) = (Arc::new(udp), Watch(Instant::now()));
        let service = Arc::new(Service::new(config.limits, draw()?, config.secret));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut dice = Dice::new(u64::from_be_bytes(draw()?));
        for worker in 0..config.workers.max(1) {
            tasks.spawn(serve_udp(udp.clone(), service.clone(), start, dice.fork(&format!("udp {worker}"))));
        }
        let epoch = wall_clock();
        let key = Identity::from_secret(draw()?);
        let standings = Arc::new(Standings::new(epoch, key, Rules::default()));
        service.tell(standings.clone(), epoch);
        tasks.spawn(standing::run(standings.clone(), wall_clock, dice.fork("standing")));
        let router = http::router(service.clone(), start, dice.fork("http"), &standings);
        tasks.spawn(serve_http(tcp, router, stopped));
        tasks.spawn(sweep(service.clone(), start));
        tracing::info!(%local, "tracker listens");
        Ok(Self { local, service, standings, stop, tasks })
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
        // The HTTP task ends by itself; the others are only ever between two datagrams.
        let _ = self.stop.send(true);
        let http = async {
            while !self.stop.is_closed() {
                self.stop.closed().await;
            }
        };
        let _ = timeout(SHUTDOWN_MAX, http).await;
        self.tasks.shutdown().await;
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

async fn serve_udp(socket: Arc<UdpSocket>, service: Arc<Service>, watch: Watch, mut dice: Dice) {
    let mut datagram = vec![0; RECEIVE_BYTES];
    let mut answer = Vec::new();
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((len, from)) => {
                service.datagram(watch.now(), &mut dice, from, &datagram[..len], &mut answer);
                if !answer.is_empty() {
                    // A lost answer: the client asks again.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "tracker's UDP socket");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn sweep(service: Arc<Service>, watch: Watch) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        service.table().expire(watch.now());
    }
}

async fn serve_http(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, from, place)) => {
                let (router, stopped) = (router.clone(), stopped.clone());
                connections.spawn(async move {
                    serve_connection(stream, from, router, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "tracker's TCP socket");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it. Until then the system's backlog holds the callers.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, place))
}

async fn serve_connection(
    stream: TcpStream,
    from: SocketAddr,
    router: axum::Router,
    mut stopped: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router.layer(axum::Extension(From(from))));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HTTP_HEAD_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = sleep(HTTP_LIFE) => None,
        _ = stopped.wait_for(|stop| *stop) => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        // Whether it ended well is its client's affair.
        let _ = timeout(SHUTDOWN_MAX, connection).await;
    }
}

/// One number for both protocols.
async fn bind_both(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if listen.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = UdpSocket::bind(listen).await?;
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
