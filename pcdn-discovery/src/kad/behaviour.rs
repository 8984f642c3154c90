//! The libp2p side: transport, protocols and their settings.

use std::time::Duration;

use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::{Boxed, Transport as _, global_only};
use libp2p_swarm::{NetworkBehaviour, StreamProtocol, Swarm};
use pcdn_core::discovery::DiscoveryError;
use pcdn_core::id::Identity;
use {
    libp2p_connection_limits as connection_limits, libp2p_identify as identify, libp2p_identity as identity,
    libp2p_kad as kad, libp2p_quic as quic, libp2p_swarm as swarm,
};

use super::store::{Shelf, TTL};

/// How long a query may take. At 40 ms round trip one takes 0.3 s; what takes longer waits for nodes that are gone.
pub(super) const QUERY_MAX: Duration = Duration::from_secs(8);
/// How long one node may take to answer within a query.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long a connection may take to stand: one lost datagram (1 s) and two round trips across the world. A look-up waits so
/// long for a node that is gone.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// Connections are kept so long unused: a warm announcement takes 14 ms on loopback, a cold one 88.
const IDLE: Duration = Duration::from_secs(30);
/// The routing table is refreshed so often.
const REFRESH: Duration = Duration::from_secs(300);

/// Connections in all, about 60 KiB each: 30 MB when full. A look-up opens 20 to 40.
const CONNECTIONS_MAX: u32 = 512;
/// Of those, opened by others: they must not keep this node's own look-ups out.
const INBOUND_MAX: u32 = 384;
/// Handshakes under way, each way: beyond, a flood of them waits for nothing.
const HANDSHAKES_MAX: u32 = 64;
/// One each way, a dial back each way.
const PER_PEER_MAX: u32 = 4;
/// Requests of one connection at a time; libp2p's Kademlia allows 32 as well.
const STREAMS_MAX: usize = 32;

/// What a node does on its connections.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    pub(super) kad: kad::Behaviour<Shelf>,
}

/// What nodes of `network` tell each other on a connection, to part from strangers at once.
pub(super) fn protocol(network: &str) -> String {
    format!("/pcdn/{network}")
}

/// A swarm of the network that listens nowhere yet.
pub(super) fn swarm(
    identity: &Identity,
    network: &str,
    private: bool,
    shelf: Shelf,
) -> Result<Swarm<Behaviour>, DiscoveryError> {
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !(1..=32).contains(&network.len()) || !network.bytes().all(known) {
        let node = network.chars().take(80).collect();
        return Err(DiscoveryError::Address {
            node,
            why: "a DHT's name is 1 to 32 of a-z, 0-9 and -".into(),
        });
    }
    let key = identity::Keypair::ed25519_from_bytes(identity.secret()).map_err(other)?;
    let name = key.public().to_peer_id();
    let name_of_kad =
        StreamProtocol::try_from_owned(format!("{}/kad/1", protocol(network))).map_err(other)?;
    let identify = identify::Config::new(protocol(network), key.public())
        .with_agent_version(concat!("pcdn/", env!("CARGO_PKG_VERSION")).into())
        // Interfaces of this machine are nobody's business, and nobody needs them: see `reach`.
        .with_hide_listen_addrs(true)
        .with_cache_size(0);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits()),
        identify: identify::Behaviour::new(identify),
        kad: kad::Behaviour::with_config(name, shelf, kademlia(name_of_kad)),
    };
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(STREAMS_MAX);
    Ok(Swarm::new(transport(&key, private), behaviour, name, config))
}

fn limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(HANDSHAKES_MAX))
        .with_max_pending_outgoing(Some(HANDSHAKES_MAX))
        .with_max_established_incoming(Some(INBOUND_MAX))
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_established_per_peer(Some(PER_PEER_MAX))
}

fn kademlia(name: StreamProtocol) -> kad::Config {
    let mut config = kad::Config::new(name);
    config
        .set_query_timeout(QUERY_MAX)
        .set_substreams_timeout(ANSWER_MAX)
        .set_periodic_bootstrap_interval(Some(REFRESH))
        .set_provider_record_ttl(Some(TTL))
        // Leases are renewed by who announces: see `Shelf::provided`.
        .set_provider_publication_interval(None)
        // Records pass through this node's own checks.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        // Only nodes that were dialled with success and say that they serve are listed: `introduced` does that. By itself
        // libp2p lists whoever asks something before it has said who it is.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        .set_record_ttl(None)
        .set_replication_interval(None)
        .set_publication_interval(None);
    config
}

fn transport(key: &identity::Keypair, private: bool) -> Boxed<(libp2p_identity::PeerId, StreamMuxerBox)> {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = HANDSHAKE_MAX;
    let quic = quic::tokio::Transport::new(config);
    if private {
        quic.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
    } else {
        // Other nodes' routing tables are hearsay: nobody inside this node's own network is dialled for them.
        let quic = global_only::Transport::new(quic);
        quic.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
    }
}

/// An error of libp2p.
pub(super) fn other(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DiscoveryError {
    DiscoveryError::Other { by: "kad", source: source.into() }
}
