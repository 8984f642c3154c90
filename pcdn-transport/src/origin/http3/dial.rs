//! From a route to a connection: addresses judged, a socket of the right family, the handshake.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcdn_core::error::BoxError;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::time::timeout;

use super::Route;
use super::connection::KEEP_ALIVE;
use crate::origin::config::{HttpConfig, HttpConfigError};
use crate::origin::guard::{Checked, Lookup};

/// Unread bytes of one body held for a slow reader: 160 Mbit/s over 100 ms.
const STREAM_WINDOW: u32 = 2 << 20;
/// Unread bytes of one connection: three bodies' worth.
const WINDOW: u32 = 6 << 20;
/// A connection that hears nothing for so long is over, whatever it is used for.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried; each costs a share of the time.
const ADDRESSES_MAX: usize = 3;

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    config: ClientConfig,
    bind: Option<IpAddr>,
    lookup: Arc<dyn Lookup>,
    patience: Duration,
    /// One socket for IPv4, one for IPv6, made when first wanted.
    sockets: Mutex<[Option<Endpoint>; 2]>,
}

impl Dialer {
    pub(super) fn new(config: &HttpConfig, lookup: Arc<dyn Lookup>) -> Result<Self, HttpConfigError> {
        let mut quic = ClientConfig::new(Arc::new(tls(config)?));
        quic.transport_config(Arc::new(transport()));
        let patience = config.connect_timeout.0;
        Ok(Self { config: quic, bind: config.bind, lookup, patience, sockets: Mutex::default() })
    }

    /// Connects to `route`, by the first of its addresses that answers.
    pub(super) async fn dial(&self, route: &Route) -> Result<quinn::Connection, BoxError> {
        timeout(self.patience, self.try_all(route)).await.map_err(|_| "no answer in time")?
    }

    async fn try_all(&self, route: &Route) -> Result<quinn::Connection, BoxError> {
        let addresses = self.addresses(route).await?;
        let each = self.patience / addresses.len().max(1) as u32;
        let mut last: BoxError = "no address that may be connected to".into();
        for address in addresses {
            match timeout(each, self.try_one(route, address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = "no answer in time".into(),
            }
        }
        Err(last)
    }

    async fn addresses(&self, route: &Route) -> Result<Vec<IpAddr>, BoxError> {
        let host = route.place.host.trim_matches(['[', ']']);
        let mut all = match host.parse() {
            // The guard has judged it with the URL.
            Ok(address) => vec![address],
            Err(_) => Checked { lookup: self.lookup.clone(), lane: route.lane }.addresses(host).await?,
        };
        all.retain(|address| self.bind.is_none_or(|own| own.is_ipv4() == address.is_ipv4()));
        all.truncate(ADDRESSES_MAX);
        Ok(all)
    }

    async fn try_one(&self, route: &Route, address: IpAddr) -> Result<quinn::Connection, BoxError> {
        let socket = self.socket(address)?;
        let to = SocketAddr::new(address, route.place.port);
        Ok(socket.connect_with(self.config.clone(), to, &route.name)?.await?)
    }

    fn socket(&self, to: IpAddr) -> Result<Endpoint, BoxError> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut sockets[usize::from(to.is_ipv6())];
        if let Some(socket) = slot {
            return Ok(socket.clone());
        }
        let any = if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let made = Endpoint::client(SocketAddr::new(self.bind.unwrap_or(any), 0))?;
        Ok(slot.insert(made).clone())
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(SILENT_MAX).expect("ten seconds fit into it")))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        // HTTP/3 servers open none (RFC 9114 section 6.1).
        .max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport
}

/// Trust as over TCP: the authorities of `--origin-ca` alone, else the system's.
fn tls(config: &HttpConfig) -> Result<QuicClientConfig, HttpConfigError> {
    let client = |why: String| HttpConfigError::Client { why };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| client(error.to_string()))?;
    let builder = match &config.ca {
        Some(path) => {
            let bad = |why: String| HttpConfigError::Ca { path: path.clone(), why };
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("no certificate in it".into()));
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|error| client(error.to_string()))?,
    };
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    QuicClientConfig::try_from(tls).map_err(|error| client(error.to_string()))
}
