//! quinn and nothing else: a stream for each piece, eight bytes of request, the piece, read in order.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    AckFrequencyConfig, ClientConfig, Connection, Endpoint, MtuDiscoveryConfig, ServerConfig,
    TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{PEERS, PIECE, measure, next, piece};

/// What `quic/tuning.rs` sets that bears on the cost of a packet.
fn tuned() -> Arc<TransportConfig> {
    let (mut mtu, mut acks) = (MtuDiscoveryConfig::default(), AckFrequencyConfig::default());
    mtu.upper_bound(1350);
    acks.ack_eliciting_threshold(VarInt::from_u32(10));
    let mut config = TransportConfig::default();
    config.initial_mtu(1350).mtu_discovery_config(Some(mtu)).ack_frequency_config(Some(acks));
    Arc::new(config)
}

fn socket() -> std::net::UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    // The same buffers as the transport's.
    let _ = socket.set_recv_buffer_size(4 << 20);
    let _ = socket.set_send_buffer_size(4 << 20);
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a port");
    socket.into()
}

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(quinn::EndpointConfig::default(), server, socket(), runtime).expect("an endpoint")
}

pub(crate) async fn round(our_settings: bool) -> f64 {
    let made = rcgen::generate_simple_self_signed(vec!["peer.invalid".to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(provider());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a key");
    server.max_early_data_size = 0;
    let server = quinn::crypto::rustls::QuicServerConfig::try_from(server).expect("a suite");
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("a suite")));
    if our_settings {
        server.transport_config(tuned());
        client.transport_config(tuned());
    }
    let asker = endpoint(None);
    let (mut givers, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..PEERS {
        let giver = endpoint(Some(server.clone()));
        let addr = giver.local_addr().expect("its address");
        let serving = giver.clone();
        tokio::spawn(async move {
            let connection = serving.accept().await.expect("a caller").await.expect("a connection");
            serve(connection).await;
        });
        let connecting = asker.connect_with(client.clone(), addr, "peer.invalid").expect("a call");
        connections.push(connecting.await.expect("a connection"));
        givers.push(giver);
    }
    let spent = measure(|peer, taken| {
        let connection = connections[peer].clone();
        async move {
            while let Some(number) = next(&taken) {
                assert_eq!(fetch(&connection, number).await, PIECE);
            }
        }
    })
    .await;
    asker.close(0u32.into(), b"");
    // Their goodbyes are not part of the next round.
    let _ = tokio::time::timeout(Duration::from_secs(1), asker.wait_idle()).await;
    spent
}

async fn fetch(connection: &Connection, number: usize) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(&(number as u64).to_be_bytes()).await.expect("a request");
    send.finish().expect("its end");
    let mut len = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.expect("a chunk") {
        len += chunk.bytes.len();
    }
    len
}

async fn serve(connection: Connection) {
    let piece = piece();
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let piece = piece.clone();
        tokio::spawn(async move {
            recv.read_to_end(8).await.expect("a request");
            send.write_chunk(piece).await.expect("room");
            send.finish().expect("an end");
        });
    }
}

/// AES-128 first, as the transport has it.
fn provider() -> rustls::crypto::CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}
