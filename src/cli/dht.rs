//! The node's part of the DHT, as the options of `get`, `peer` and `play` say.

use std::sync::Arc;

use pcdn_core::discovery::Discovery;
use pcdn_core::id::Identity;

use super::{Exit, Failure};
use crate::config::NodeConfig;

#[cfg(not(feature = "kad"))]
pub(crate) use absent::{Dht, join};
#[cfg(feature = "kad")]
pub(crate) use present::{Dht, join};

#[cfg(feature = "kad")]
mod present {
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;

    use pcdn_discovery::{Contact, Kad, KadConfig};

    use super::*;

    /// Where remembered nodes are kept within a data directory.
    const REMEMBERED: &str = "dht.peers";
    /// Own addresses told when ready: a machine may have dozens of interfaces, and one contact is enough to join by.
    const CONTACTS_MAX: usize = 4;

    /// A DHT node.
    pub(crate) struct Dht(Kad);

    impl Dht {
        pub(crate) fn discovery(&self) -> Arc<dyn Discovery> {
            Arc::new(self.0.clone())
        }

        /// Where others can join by it, those on the Internet first.
        pub(crate) fn contacts(&self) -> Vec<String> {
            let mut contacts = self.0.contacts();
            contacts.sort_by_key(|contact| {
                (contact.is_private(), contact.addr().is_some_and(|addr| addr.ip().is_loopback()))
            });
            contacts.iter().take(CONTACTS_MAX).map(Contact::to_string).collect()
        }

        pub(crate) async fn leave(&self) {
            self.0.leave().await;
        }
    }

    /// Joins, or starts, the DHT that `--dht` names; `None` without it.
    pub(crate) async fn join(node: &NodeConfig, me: &Identity) -> Result<Option<Dht>, Failure> {
        if node.dht.is_empty() || node.p2p == crate::node::P2p::Off {
            return Ok(None);
        }
        let fault = |line: String| Failure::new(Exit::Config, line);
        let mut bootstrap: Vec<Contact> = Vec::new();
        for text in node.dht.iter().filter(|text| *text != "none") {
            bootstrap.push(text.parse().map_err(|e| fault(format!("--dht {text}: {e}")))?);
        }
        let listen = listen(node);
        let secret = node.swarm_secret.as_ref().map(std::fs::read).transpose();
        let secret = secret.map_err(|e| fault(format!("--swarm-secret: {e}")))?;
        let config = KadConfig {
            private: is_private(&listen, &bootstrap),
            listen,
            bootstrap,
            remember: node.data_dir.as_ref().map(|dir| Path::new(dir).join(REMEMBERED)),
            secret: secret.map(|bytes| bytes.trim_ascii().to_vec()),
            ..KadConfig::default()
        };
        let kad = Kad::join(me, config).await;
        kad.map(|kad| Some(Dht(kad))).map_err(|e| {
            Failure::other(format!(
                "the DHT cannot be joined: {e}; give another address with --dht-listen IP:PORT"
            ))
        })
    }

    /// The hosts where the node itself listens, one of each family.
    fn listen(node: &NodeConfig) -> Vec<SocketAddr> {
        if let Some(addr) = node.dht_listen {
            return vec![addr];
        }
        let hosts = || node.listen.iter().map(|at| at.addr.ip());
        let families = [hosts().find(IpAddr::is_ipv4), hosts().find(IpAddr::is_ipv6)];
        families.into_iter().flatten().map(|ip| SocketAddr::new(ip, 0)).collect()
    }

    /// A network is private if this node listens, or joins, on private addresses: then it dials and tells such ones.
    fn is_private(listen: &[SocketAddr], bootstrap: &[Contact]) -> bool {
        let own = listen.iter().filter(|addr| !addr.ip().is_unspecified());
        let mut own = own.map(|addr| Contact::new(*addr, pcdn_core::id::PeerId([0; 32])));
        own.any(|contact| contact.is_private()) || bootstrap.iter().any(Contact::is_private)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_dht_listens_where_the_node_does() {
            let mut node = NodeConfig::default();
            assert_eq!(listen(&node), ["0.0.0.0:0".parse().unwrap()]);
            node.listen =
                ["127.0.0.1:4000", "127.0.0.1:4001", "[::1]:4000"].map(|at| at.parse().unwrap()).into();
            assert_eq!(listen(&node), ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
            node.dht_listen = Some("192.0.2.1:4001".parse().unwrap());
            assert_eq!(listen(&node), ["192.0.2.1:4001".parse().unwrap()]);
        }

        #[test]
        fn private_hosts_make_a_private_network() {
            let contact = |text: &str| vec![text.parse::<Contact>().unwrap()];
            let any = ["0.0.0.0:0".parse().unwrap()];
            assert!(!is_private(&any, &[]));
            assert!(!is_private(&any, &contact("/ip4/8.8.8.8/udp/4001/quic-v1")));
            assert!(is_private(&any, &contact("/ip4/192.168.1.5/udp/4001/quic-v1")));
            assert!(is_private(&["127.0.0.1:0".parse().unwrap()], &[]));
        }
    }
}

#[cfg(not(feature = "kad"))]
mod absent {
    use super::*;

    /// Never made.
    pub(crate) enum Dht {}

    impl Dht {
        pub(crate) fn discovery(&self) -> Arc<dyn Discovery> {
            match *self {}
        }

        pub(crate) fn contacts(&self) -> Vec<String> {
            match *self {}
        }

        pub(crate) async fn leave(&self) {
            match *self {}
        }
    }

    /// Refuses `--dht`.
    pub(crate) async fn join(node: &NodeConfig, _: &Identity) -> Result<Option<Dht>, Failure> {
        match node.dht.first() {
            None => Ok(None),
            Some(text) => {
                let line = format!("--dht {text}: this build has no DHT; build it with the feature kad");
                Err(Failure::new(Exit::Config, line))
            }
        }
    }
}
