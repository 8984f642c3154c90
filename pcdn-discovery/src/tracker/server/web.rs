//! The tracker's TCP port: connections for the routes of [`http`](crate::tracker::http).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{ERROR_PAUSE, SHUTDOWN_MAX};
use crate::tracker::http::From;

/// HTTP connections at once. People, scrapers and some nodes; each costs about 20 KiB.
const HTTP_CONNECTIONS_MAX: usize = 512;
/// How long one HTTP connection may last, and its request's head may take.
const HTTP_LIFE: Duration = Duration::from_secs(60);
const HTTP_HEAD_MAX: Duration = Duration::from_secs(10);

/// Serves `listener` until `stopped` says so, and lets answers under way finish.
pub(super) async fn serve(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) {
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
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
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
