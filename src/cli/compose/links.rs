//! What links to other nodes go by: the sockets, their limits and the secret of a private swarm.

use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_core::peer::{Outlook, PeerAddr, Scheme};
use pcdn_transport::limit::{Limits, Rates};
use pcdn_transport::quic::QuicConfig;
use pcdn_transport::shared;
use pcdn_transport::udp::{Meetings, SwarmSecret, Udp, UdpConfig};

use super::SWARM_SECRET;
use super::finding::secret;
use crate::cli::{Exit, Failure};
use crate::config::{NodeConfig, OnOff};
use crate::nat::ports::Ports;
use crate::node::Builder;

/// Opens what `--listen` says. Where udp and quic name one place they share its socket.
pub(super) async fn listen(
    mut builder: Builder,
    node: &NodeConfig,
    me: &Identity,
) -> Result<(Builder, Vec<Arc<Outlook>>, Vec<Ports>), Failure> {
    let (mut outlooks, mut ports) = (Vec::new(), Vec::new());
    let mut through = |builder: Builder, meetings: Meetings, outlook: Arc<Outlook>| {
        crate::nat::meet_by(meetings.clone(), node.tracker.clone());
        // Without a tracker nobody sees this node's address, and a port without one is of no use.
        if node.port_mapping == OnOff::On && !node.tracker.is_empty() {
            ports.push(Ports::keep(meetings.clone(), crate::nat::ports::standard()));
        }
        outlooks.push(outlook.clone());
        builder.outlook(outlook).meetings(meetings)
    };
    let secret = link_secret(node)?;
    // One set of limits for all that is listened on.
    let limits = upload_limits(node);
    let both = |at: &PeerAddr| {
        let named = |scheme| node.listen.contains(&PeerAddr { scheme, addr: at.addr });
        named(Scheme::Udp) && named(Scheme::Quic)
    };
    for at in &node.listen {
        let udp = UdpConfig { secret: secret.clone(), ..UdpConfig::default() };
        let quic = QuicConfig { secret: secret.clone(), ..QuicConfig::default() };
        let provider = builder.provider();
        let cannot = |e| {
            Failure::other(format!(
                "cannot listen on {at}: {e}; give another address or port 0 with --listen"
            ))
        };
        builder = match at.scheme {
            Scheme::Udp if both(at) => {
                let (udp, quic) =
                    shared::bind(at.addr, me, provider, udp, quic, limits.clone()).await.map_err(cannot)?;
                through(builder, udp.meetings(), udp.outlook()).transport(udp).transport(quic)
            }
            Scheme::Udp => {
                let udp =
                    Udp::bind_sharing(at.addr, me, provider, udp, limits.clone()).await.map_err(cannot)?;
                through(builder, udp.meetings(), udp.outlook()).transport(udp)
            }
            Scheme::Quic if both(at) => builder,
            Scheme::Quic => {
                let bound = shared::bind_quic(at.addr, me, provider, quic, limits.clone());
                let quic = bound.await.map_err(cannot)?;
                if let (Some(meetings), Some(outlook)) = (quic.meetings(), quic.outlook()) {
                    builder = through(builder, meetings, outlook);
                }
                builder.transport(quic)
            }
            _ => {
                let line = format!("--listen {at}: write udp://IP:PORT or quic://IP:PORT");
                return Err(Failure::new(Exit::Config, line));
            }
        };
    }
    Ok((builder, outlooks, ports))
}

/// What links to other nodes of a private swarm demand: derived from the same file as the tracker's key, and not to be had
/// from that.
pub(crate) fn link_secret(node: &NodeConfig) -> Result<Option<SwarmSecret>, Failure> {
    let Some(file) = &node.swarm_secret else { return Ok(None) };
    // Says what is wrong with the file, if anything is.
    secret(file, SWARM_SECRET)?;
    let bytes =
        std::fs::read(file).map_err(|e| Failure::new(Exit::Config, format!("{SWARM_SECRET} {file}: {e}")))?;
    Ok(SwarmSecret::new(&bytes))
}

fn upload_limits(node: &NodeConfig) -> Limits {
    let (swarm, peer) = (node.upload_limit_swarm, node.upload_limit_peer);
    Limits::new(Rates { node: node.upload_limit, swarm, peer })
}
