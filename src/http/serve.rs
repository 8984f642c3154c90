//! The accept loop and the limits of each connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Body;
use super::stall::Stalling;

/// A request head arrives within this or the connection closes; also how long an idle connection is kept. Browsers and
/// players reconnect at once, so short costs them nothing and slow senders of heads (slowloris) get little.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Largest request head. A URL has 8 KiB at most, which leaves as much for headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request; browsers send about 20.
const HEADERS_MAX: usize = 100;
/// After a failed accept (no file descriptors left): long enough not to spin, short enough not to be noticed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long open connections may go on once the server is told to stop.
const LINGER: Duration = Duration::from_secs(1);
/// Tries to find a number that is free at both addresses when port 0 is asked for: even with half of all taken, one in 65,536 starts
/// fails.
const BIND_TRIES: usize = 16;

/// Limits of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; further ones wait in the system's queue.
    pub(crate) connections_max: usize,
    /// A client that takes no byte for so long is dropped.
    pub(crate) write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 256, write_stall: Duration::from_secs(30) }
    }
}

/// The address a request came from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) SocketAddr);

/// A server that runs until it is shut down or dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    addrs: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Listening {
    /// Where it listens.
    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Takes no new connection, ends the idle ones, gives the others a second, and closes.
    pub(crate) async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        while self.accepting.join_next().await.is_some() {}
    }
}

/// Listeners at `addr`. `127.0.0.1` is `[::1]` too, with the same port: browsers try `localhost` as `::1` first. A machine
/// without IPv6 has the first alone. Port 0 takes any that is free at both.
pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Vec<TcpListener>> {
    // Those that were not free are kept meanwhile, so that each try is another number.
    let mut taken = Vec::new();
    loop {
        let first = TcpListener::bind(addr).await?;
        match bind_twin(&first).await {
            Ok(second) => return Ok([Some(first), second].into_iter().flatten().collect()),
            Err(error) if addr.port() != 0 || taken.len() + 1 == BIND_TRIES => return Err(error),
            Err(_) => taken.push(first),
        }
    }
}

/// The listener beside `first` in IPv6, where there is such a thing.
async fn bind_twin(first: &TcpListener) -> io::Result<Option<TcpListener>> {
    let addr = first.local_addr()?;
    let twin: Option<IpAddr> = match addr.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(Ipv6Addr::LOCALHOST.into()),
        _ => None,
    };
    let Some(twin) = twin else { return Ok(None) };
    match TcpListener::bind((twin, addr.port())).await {
        Ok(second) => Ok(Some(second)),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(e),
        Err(_) => Ok(None),
    }
}

/// Serves `handler` on `listeners`. The handler also gets the address the client connected to.
pub(crate) fn serve<H, F>(listeners: Vec<TcpListener>, limits: Limits, handler: H) -> Listening
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let addrs = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, slots.clone(), limits, handler.clone(), stopped.clone()));
    }
    Listening { addrs, stop, accepting }
}

async fn accept<H, F>(
    listener: TcpListener,
    slots: Arc<Semaphore>,
    limits: Limits,
    handler: H,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            (slot, accepted) = next => match accepted {
                Ok((stream, _)) => {
                    let connection = converse(stream, limits, handler.clone(), stopped.clone());
                    open.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }
    drop(listener);
    let finish = async { while open.join_next().await.is_some() {} };
    // Those still open after the grace are closed as the set is dropped.
    let _ = tokio::time::timeout(LINGER, finish).await;
}

async fn converse<H, F>(stream: TcpStream, limits: Limits, handler: H, mut stopped: watch::Receiver<bool>)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    // Heads and playlists are small writes that somebody waits for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Remote(remote));
        let answer = handler(request, local);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Stalling::new(stream, limits.write_stall)), service);
    tokio::pin!(connection);
    tokio::select! {
        // An error here is the client's: it hung up, stalled, or sent no HTTP. Nothing to do but to close.
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start with port 0 failed where the number drawn in IPv4 was in use in IPv6, which any connection to `::1` may do.
    #[tokio::test]
    async fn any_port_is_one_that_is_free_at_both_addresses() {
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
        let taken = other.local_addr().unwrap().port();
        let fixed = SocketAddr::from((Ipv4Addr::LOCALHOST, taken));
        match bind(fixed).await {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
            Ok(both) => panic!("half of {both:?} is somebody else's"),
        }
        for _ in 0..200 {
            let both = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
            let ports: Vec<u16> = both.iter().map(|at| at.local_addr().unwrap().port()).collect();
            assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0] != taken, "{ports:?}");
        }
    }
}
