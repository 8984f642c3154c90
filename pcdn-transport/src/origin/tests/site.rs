//! A site that does what a test tells it to, over any version of HTTP, with TLS.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Version};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pcdn_core::testing::within;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{HttpConfig, config};

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) version: Version,
    pub(super) from: IpAddr,
    /// Of all requests, from 0.
    pub(super) nth: usize,
}

impl Ask {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One step of a body.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Bytes),
    Pause(Duration),
    /// Says no more until the client leaves.
    Hang,
    /// Breaks off: a reset of the stream, or of the connection of HTTP/1.1.
    Cut,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) steps: Vec<Step>,
}

impl Reply {
    /// `body` with its length announced.
    pub(super) fn whole(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Self {
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        all.push(("content-length", body.len().to_string()));
        let steps = body.chunks(32 << 10).map(|part| Step::Send(Bytes::copy_from_slice(part)));
        Self { status, headers: all, steps: steps.collect() }
    }

    /// What a right server of `film` with `etag` says; ranges may be single ones of any form.
    pub(super) fn right(ask: &Ask, film: &[u8], etag: &str) -> Self {
        let named = [("etag", etag), ("accept-ranges", "bytes"), ("content-type", "video/x-flv")];
        let len = film.len();
        let fresh = ask.header("if-range").is_none_or(|asked| asked == etag);
        let asked = ask.header("range").filter(|_| fresh).and_then(|range| range.strip_prefix("bytes="));
        let mut reply = match asked.and_then(|range| range.split_once('-')) {
            Some((first, last)) => {
                let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
                    (Ok(first), last) => (first, last.unwrap_or(len - 1).min(len - 1)),
                    (Err(_), suffix) => (len - suffix.unwrap().min(len), len - 1),
                };
                if first >= len {
                    Self::whole(416, &[("content-range", &format!("bytes */{len}"))], b"")
                } else {
                    let range = format!("bytes {first}-{last}/{len}");
                    let headers = [&named[..], &[("content-range", &*range)]].concat();
                    Self::whole(206, &headers, &film[first..=last])
                }
            }
            None => Self::whole(200, &named, film),
        };
        if ask.method == "HEAD" {
            reply.steps.clear();
        }
        reply
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn head(&self) -> http::response::Builder {
        let head = http::Response::builder().status(self.status);
        self.headers.iter().fold(head, |head, (name, value)| head.header(*name, value))
    }
}

type Script = Arc<dyn Fn(&Ask) -> Reply + Send + Sync>;

/// A site for the name `localhost`; it stops when it is dropped.
pub(super) struct Site {
    pub(super) port: u16,
    /// Its certificate, for `--origin-ca`.
    pub(super) ca: tempfile::NamedTempFile,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    script: Script,
    seen: Mutex<Vec<Ask>>,
    tcp: AtomicUsize,
    quic: AtomicUsize,
    left: Semaphore,
}

impl Site {
    /// HTTP/1.1 and HTTP/2 on a TCP port, HTTP/3 on the UDP port of the same number; `tcp` and `udp` switch them off.
    pub(super) async fn start(
        tcp: bool,
        udp: bool,
        script: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), made.cert.pem()).unwrap();
        let tls = |protocols: &[&str]| {
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
            let tls = rustls::ServerConfig::builder().with_no_client_auth();
            let mut tls = tls.with_single_cert(chain, key.into()).unwrap();
            tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            tls
        };
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            seen: Mutex::default(),
            tcp: AtomicUsize::new(0),
            quic: AtomicUsize::new(0),
            left: Semaphore::new(0),
        });
        // A number that is free for both.
        let (listener, quic, at) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls(&["h3"])).unwrap();
            let quic = quinn::ServerConfig::with_crypto(Arc::new(quic));
            match udp.then(|| quinn::Endpoint::server(quic, at)).transpose() {
                Ok(quic) => break (listener, quic, at),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
        };
        let mut tasks = Vec::new();
        tasks.extend(quic.map(|endpoint| tokio::spawn(accept_quic(endpoint, shared.clone()))));
        if tcp {
            let acceptor = TlsAcceptor::from(Arc::new(tls(&["h2", "http/1.1"])));
            tasks.push(tokio::spawn(accept_tcp(listener, acceptor, shared.clone())));
        }
        Self { port: at.port(), ca, shared, tasks }
    }

    pub(super) fn url(&self, path: &str) -> pcdn_core::resource::Url {
        format!("https://localhost:{}{path}", self.port).parse().unwrap()
    }

    pub(super) fn config(&self) -> HttpConfig {
        let ca = Some(self.ca.path().to_owned());
        HttpConfig { allow: vec!["localhost".parse().unwrap()], ca, ..config() }
    }

    pub(super) fn seen(&self) -> Vec<Ask> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Versions of the requests, in order.
    pub(super) fn versions(&self) -> Vec<Version> {
        self.seen().iter().map(|ask| ask.version).collect()
    }

    /// Connections over TCP and over QUIC.
    pub(super) fn connections(&self) -> (usize, usize) {
        (self.shared.tcp.load(Ordering::SeqCst), self.shared.quic.load(Ordering::SeqCst))
    }

    /// Waits until a client has left a body before its end.
    pub(super) async fn one_left(&self) {
        let left = within("a body is left", self.shared.left.acquire()).await;
        left.expect("the semaphore is never closed").forget();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn reply(&self, parts: &http::request::Parts, version: Version, from: IpAddr) -> Reply {
        let mut seen = self.seen.lock().unwrap();
        let ask = Ask {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers.clone(),
            version,
            from,
            nth: seen.len(),
        };
        seen.push(ask.clone());
        (self.script)(&ask)
    }
}

async fn accept_tcp(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut all = JoinSet::new();
    while let Ok((stream, from)) = listener.accept().await {
        shared.tcp.fetch_add(1, Ordering::SeqCst);
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        all.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (parts, _) = request.into_parts();
                let reply = shared.reply(&parts, parts.version, from.ip());
                let body =
                    Left { steps: reply.steps.clone().into_iter(), shared: shared.clone(), over: false };
                let answer =
                    reply.head().body(StreamBody::new(Box::pin(stream::unfold(body, step)))).unwrap();
                async move { Ok::<_, Infallible>(answer) }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A body being sent; says so if it is left before its end.
struct Left {
    steps: std::vec::IntoIter<Step>,
    shared: Arc<Shared>,
    over: bool,
}

impl Drop for Left {
    fn drop(&mut self) {
        if !self.over {
            self.shared.left.add_permits(1);
        }
    }
}

async fn step(mut body: Left) -> Option<(std::io::Result<Frame<Bytes>>, Left)> {
    loop {
        match body.steps.next() {
            Some(Step::Send(bytes)) => return Some((Ok(Frame::data(bytes)), body)),
            Some(Step::Pause(time)) => tokio::time::sleep(time).await,
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Cut) => {
                // What was sent before must arrive.
                tokio::time::sleep(Duration::from_millis(10)).await;
                body.over = true;
                return Some((Err(std::io::Error::other("cut")), body));
            }
            None => {
                body.over = true;
                return None;
            }
        }
    }
}

async fn accept_quic(endpoint: quinn::Endpoint, shared: Arc<Shared>) {
    let mut all = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let shared = shared.clone();
        all.spawn(async move {
            let Ok(connection) = incoming.await else { return };
            shared.quic.fetch_add(1, Ordering::SeqCst);
            let from: SocketAddr = connection.remote_address();
            let connection = h3_quinn::Connection::new(connection);
            let Ok(mut server) = h3::server::Connection::<_, Bytes>::new(connection).await else { return };
            let mut requests = JoinSet::new();
            while let Ok(Some(request)) = server.accept().await {
                let shared = shared.clone();
                requests.spawn(async move {
                    let Ok((request, mut stream)) = request.resolve_request().await else { return };
                    let (parts, ()) = request.into_parts();
                    let reply = shared.reply(&parts, Version::HTTP_3, from.ip());
                    let mut body = Left { steps: reply.steps.clone().into_iter(), shared, over: false };
                    if stream.send_response(reply.head().body(()).unwrap()).await.is_err() {
                        return;
                    }
                    for step in body.steps.by_ref() {
                        match step {
                            Step::Send(bytes) => {
                                if stream.send_data(bytes).await.is_err() {
                                    return;
                                }
                            }
                            Step::Pause(time) => tokio::time::sleep(time).await,
                            // Empty frames: how else would it see that the client leaves?
                            Step::Hang => {
                                while stream.send_data(Bytes::new()).await.is_ok() {
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                }
                                return;
                            }
                            Step::Cut => {
                                tokio::time::sleep(Duration::from_millis(10)).await;
                                body.over = true;
                                return stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
                            }
                        }
                    }
                    body.over = true;
                    let _ = stream.finish().await;
                });
            }
        });
    }
}
