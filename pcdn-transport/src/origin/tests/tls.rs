//! TLS and HTTP/2: what real CDNs speak.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A right server of `film` over TLS, for the name `localhost`.
struct Secure {
    address: SocketAddr,
    /// Its certificate, for `--origin-ca`.
    ca: tempfile::NamedTempFile,
    connections: Arc<AtomicUsize>,
    versions: Arc<Mutex<Vec<http::Version>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Secure {
    async fn start(film: Vec<u8>, protocols: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key.into())
            .unwrap();
        tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(tls));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, versions) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, log, film) = (connections.clone(), versions.clone(), Bytes::from(film));
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, log, film) = (acceptor.clone(), log.clone(), film.clone());
                all.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        log.lock().unwrap().push(request.version());
                        let answer = serve(&request, &film);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca, connections, versions, task }
    }

    fn want(&self, range: Option<ByteRange>) -> OriginGet {
        let url = format!("https://localhost:{}/film.flv", self.address.port());
        OriginGet { range, ..OriginGet::whole(url.parse().unwrap()) }
    }

    fn config(&self) -> HttpConfig {
        let ca = Some(self.ca.path().to_owned());
        HttpConfig { allow: vec!["localhost".parse().unwrap()], ca, ..config() }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn serve(request: &http::Request<hyper::body::Incoming>, film: &Bytes) -> http::Response<Full<Bytes>> {
    let asked = request
        .headers()
        .get("range")
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = asked else { return http::Response::new(Full::new(film.clone())) };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let answer = http::Response::builder().status(206);
    let answer = answer.header("content-range", format!("bytes {first}-{last}/{}", film.len()));
    answer.body(Full::new(film.slice(first..=last))).unwrap()
}

#[tokio::test]
async fn http_2_is_chosen_and_shares_one_connection() {
    let film = content(500_000);
    let server = Secure::start(film.clone(), &["h2", "http/1.1"]).await;
    let origin = http(server.config());
    assert!(read_all(&origin, &server.want(None)).await == film);
    let wants: Vec<_> = (0..5).map(|n| server.want(range(n * 100_000, (n + 1) * 100_000))).collect();
    let parts = futures_util::future::join_all(wants.iter().map(|want| read_all(&origin, want))).await;
    assert!(parts.concat() == film);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "five ranges at once, no new handshake");
    assert_eq!(*server.versions.lock().unwrap(), [http::Version::HTTP_2; 6]);
}

#[tokio::test]
async fn http_1_over_tls_works_too() {
    let server = Secure::start(b"0123456789".to_vec(), &["http/1.1"]).await;
    let origin = http(server.config());
    assert_eq!(read_all(&origin, &server.want(range(2, 5))).await, b"234");
    assert_eq!(read_all(&origin, &server.want(range(5, 7))).await, b"56");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_unknown_certificate_is_not_trusted() {
    let server = Secure::start(b"0123456789".to_vec(), &["http/1.1"]).await;
    let other = Secure::start(Vec::new(), &["http/1.1"]).await;
    let error = http(other.config()).get(&server.want(None)).await.unwrap_err();
    assert!(matches!(&error, OriginError::Unreachable { why } if why.contains("certificate")), "{error:?}");
    assert!(server.versions.lock().unwrap().is_empty());
}

#[test]
fn a_certificate_file_that_is_none_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = HttpConfig { ca: Some(file.path().to_owned()), ..config() };
    let error = Http::new(config, Dice::new(1)).unwrap_err().to_string();
    assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
}
