//! quinn alone as a contender: a connection a peer, a bidirectional stream a piece, unordered reads, AES-128 like ours.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TransportConfig};

use crate::contender::{Puller, SIZES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Congestion {
    Cubic,
    Bbr,
}

/// As our own socket asks for; the kernel's default would drop bursts.
const SOCKET_BYTES: usize = 4 << 20;

fn settings(congestion: Congestion) -> Arc<TransportConfig> {
    let mut settings = TransportConfig::default();
    match congestion {
        Congestion::Cubic => settings.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Congestion::Bbr => settings.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    settings.max_concurrent_bidi_streams(256u32.into());
    settings.keep_alive_interval(Some(Duration::from_secs(5)));
    Arc::new(settings)
}

fn endpoint(ip: IpAddr, server: Option<ServerConfig>) -> Endpoint {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_recv_buffer_size(SOCKET_BYTES).unwrap();
    socket.set_send_buffer_size(SOCKET_BYTES).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(EndpointConfig::default(), server, socket.into(), runtime).unwrap()
}

/// TLS with AES-128 only, as our own packets are sealed.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: suites,
        ..rustls::crypto::ring::default_provider()
    })
}

pub(crate) fn serve(peers: usize, ip: IpAddr, congestion: Congestion) -> (Vec<SocketAddr>, Box<dyn Send>) {
    let signed = rcgen::generate_simple_self_signed(vec!["peer".into()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key.into())
        .unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(settings(congestion));
    let pieces: [Bytes; SIZES.len()] = SIZES.map(|size| vec![7; size].into());
    let endpoints: Vec<Endpoint> = (0..peers).map(|_| endpoint(ip, Some(config.clone()))).collect();
    for endpoint in &endpoints {
        let (endpoint, pieces) = (endpoint.clone(), pieces.clone());
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let pieces = pieces.clone();
                tokio::spawn(async move { serve_one(incoming.await.unwrap(), pieces).await });
            }
        });
    }
    let addrs = endpoints.iter().map(|endpoint| endpoint.local_addr().unwrap()).collect();
    (addrs, Box::new(Served(endpoints)))
}

struct Served(Vec<Endpoint>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.iter().for_each(|endpoint| endpoint.close(0u32.into(), b""));
    }
}

async fn serve_one(connection: Connection, pieces: [Bytes; SIZES.len()]) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let pieces = pieces.clone();
        tokio::spawn(async move {
            let Ok(request) = receive.read_to_end(64).await else { return };
            let size = u32::from_be_bytes(request[..4].try_into().unwrap()) as usize;
            let piece = pieces.iter().find(|piece| piece.len() == size).unwrap();
            if send.write_chunk(piece.clone()).await.is_ok() {
                let _ = send.finish();
            }
        });
    }
}

pub(crate) async fn connect(peers: &[SocketAddr], congestion: Congestion) -> Vec<Arc<dyn Puller>> {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(settings(congestion));
    let endpoint = endpoint(Ipv4Addr::UNSPECIFIED.into(), None);
    let calls = peers.iter().map(|addr| {
        let connecting = endpoint.connect_with(config.clone(), *addr, "peer").unwrap();
        async move { Arc::new(Quinn(connecting.await.unwrap())) as Arc<dyn Puller> }
    });
    futures_util::future::join_all(calls).await
}

struct Quinn(Connection);

#[async_trait]
impl Puller for Quinn {
    async fn pull(&self, size: usize, bytes: &AtomicU64) {
        let (mut send, mut receive) = self.0.open_bi().await.unwrap();
        // As long as our own request.
        let mut request = [0; 18];
        request[..4].copy_from_slice(&(size as u32).to_be_bytes());
        send.write_all(&request).await.unwrap();
        send.finish().unwrap();
        while let Some(chunk) = receive.read_chunk(usize::MAX, false).await.unwrap() {
            bytes.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Who the peer is does not matter here.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &rustls::crypto::ring::default_provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
