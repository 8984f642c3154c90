//! Who is at the other end: the node's own Ed25519 key in TLS 1.3, as a raw public key (RFC 7250), on both sides.
//!
//! There is no certificate and so nothing to parse but 44 bytes: what is compared is the key itself. The dialler says whom it
//! expects as the name of the server, which never leaves the machine (no SNI). A resumed session shows the keys that were proven
//! in the one its ticket came from, and a ticket is used for the name it came from only: [`resume`](super::resume).

use std::sync::Arc;

use pcdn_core::id::{Identity, PeerId};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ClientSessionStore, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};

use super::resume::TICKETS_GIVEN;

/// What is spoken inside: this version of it.
const ALPN: &[u8] = b"pcdn/1";
/// An Ed25519 public key in DER begins so (RFC 8410, section 4); the 32 bytes of the key follow.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// An Ed25519 secret key in PKCS #8 begins so (RFC 8410, section 7); the 32 bytes of the key follow.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Both sides of TLS for one node.
#[derive(Debug)]
pub(super) struct Keys {
    client: rustls::ClientConfig,
    server: rustls::ServerConfig,
}

impl Keys {
    /// For the node `me`, without tickets.
    pub(super) fn new(me: &Identity) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let key = Arc::new(key(me)?);
        let verifier = Arc::new(Verifier { algorithms: provider.signature_verification_algorithms });
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&key))));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        Ok(Self { client, server })
    }

    /// For a call that uses and keeps `tickets`.
    pub(super) fn client(&self, tickets: Arc<dyn ClientSessionStore>) -> Result<QuicClientConfig, Error> {
        let mut client = self.client.clone();
        client.resumption = Resumption::store(tickets);
        client.enable_early_data = true;
        QuicClientConfig::try_from(client).map_err(no_suite)
    }

    /// For callers who get `tickets`, or none.
    pub(super) fn server(
        &self,
        tickets: Option<Arc<dyn StoresServerSessions>>,
    ) -> Result<QuicServerConfig, Error> {
        let mut server = self.server.clone();
        if let Some(tickets) = tickets {
            server.session_storage = tickets;
            server.send_tls13_tickets = TICKETS_GIVEN;
            // All or nothing in QUIC (RFC 9001, section 4.6.1); flow control and the door bound it.
            server.max_early_data_size = u32::MAX;
        }
        QuicServerConfig::try_from(server).map_err(no_suite)
    }
}

fn no_suite(error: quinn::crypto::rustls::NoInitialCipherSuite) -> Error {
    Error::General(error.to_string())
}

/// The name under which TLS is told whom to expect: the id in two labels, as one may have 63 digits at most.
pub(super) fn name_of(peer: &PeerId) -> String {
    let digits = peer.to_string();
    let (head, tail) = digits.split_at(32);
    format!("{head}.{tail}.invalid")
}

/// Who proved to be at the other end, as TLS shows it.
pub(super) fn peer_of(connection: &quinn::Connection) -> Option<PeerId> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    peer_of_key(shown.first()?)
}

/// Who is expected under a [`name_of`] somebody.
pub(super) fn peer_of_name(name: &ServerName<'_>) -> Option<PeerId> {
    let ServerName::DnsName(name) = name else { return None };
    let digits = name.as_ref().strip_suffix(".invalid")?.replacen('.', "", 1);
    digits.parse().ok()
}

fn peer_of_key(spki: &[u8]) -> Option<PeerId> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(PeerId)
}

fn key(me: &Identity) -> Result<CertifiedKey, Error> {
    let secret = [&PKCS8_PREFIX[..], &me.secret()].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret))?;
    let public = [&SPKI_PREFIX[..], me.peer_id().as_bytes()].concat();
    Ok(CertifiedKey::new(vec![CertificateDer::from(public)], key))
}

/// X25519 and the two cheap ciphers, the cheapest first: AES-128 at 1.3 to 2 GB/s, ChaCha20 for machines without AES.
fn provider() -> CryptoProvider {
    let suites = [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256];
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
    provider.cipher_suites.sort_by_key(|suite| suites.iter().position(|known| *known == suite.suite()));
    provider.kx_groups = vec![ring::kx_group::X25519];
    provider
}

/// Takes any Ed25519 key from a caller, and from the called only the one that was called.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = peer_of_key(key).ok_or(CertificateError::BadEncoding)?;
        if peer_of_name(name) != Some(shown) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        peer_of_key(key).ok_or(CertificateError::BadEncoding)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_a_name_and_a_key_that_say_who_it_is() {
        let me = Identity::from_secret([9; 32]);
        let name = ServerName::try_from(name_of(&me.peer_id())).unwrap();
        assert_eq!(peer_of_name(&name), Some(me.peer_id()));
        let key = key(&me).unwrap();
        assert_eq!(peer_of_key(&key.cert[0]), Some(me.peer_id()));
        assert_eq!(
            key.key.public_key().as_deref(),
            Some(key.cert[0].as_ref()),
            "it is the key of the secret"
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_keys_and_names_never_panic(key: Vec<u8>, name in "[a-f0-9.]{1,80}") {
            peer_of_key(&key);
            if let Ok(name) = ServerName::try_from(name) {
                peer_of_name(&name);
            }
        }
    }
}
