//! Coming, going, coming back; and staying apart.

use pcdn_core::discovery::{Discovery as _, DiscoveryError};
use pcdn_core::id::PeerId;
use pcdn_discovery::{Kad, KadConfig};

use crate::world::{KEY, Node, config, identity, network, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_needs_no_bootstrap_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dht.peers");
    let nodes = network(3).await;
    let remember = |config: KadConfig| KadConfig { remember: Some(file.clone()), ..config };
    let guest = Node::join(10, remember(config(&nodes[0].contacts()))).await;
    guest.until("it knows all three", |status| status.known == 3).await;
    within("leaving", guest.kad.leave()).await;
    assert!(guest.kad.announce(&KEY, &guest.record).await.is_err(), "it has ended");
    // The node it came by is gone for good.
    within("leaving", nodes[0].kad.leave()).await;
    nodes[1].announce().await;
    let back = Node::join(10, remember(config(&[]))).await;
    back.finds(&[nodes[1].record.id].into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_starts_a_network_is_found_by_who_comes() {
    let first = Node::first(1).await;
    assert!(first.kad.status().serves);
    assert!(first.find(9).await.is_empty(), "alone, which is no error");
    first.announce().await;
    let second = Node::join(2, config(&first.contacts())).await;
    second.finds(&[first.record.id].into()).await;
    second.announce().await;
    first.finds(&[second.record.id].into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_swarms_and_other_networks_stay_apart() {
    let nodes = network(2).await;
    let contacts = nodes[0].contacts();
    let secret = |secret: &str| KadConfig { secret: Some(secret.into()), ..config(&contacts) };
    let (alice, bob) = (Node::join(3, secret("one")).await, Node::join(4, secret("one")).await);
    let eve = Node::join(5, secret("two")).await;
    for node in [&alice, &bob, &eve] {
        node.announce().await;
    }
    alice.finds(&[bob.record.id].into()).await;
    assert!(nodes[0].found().await.is_empty(), "who has no secret does not even find the swarm");
    assert!(eve.found().await.is_empty());

    let foreign = Node::join(6, KadConfig { network: "other".into(), ..config(&contacts) }).await;
    let found = foreign.find(9).await;
    assert!(matches!(found[..], [Err(DiscoveryError::Silent { .. })]), "{found:?}");
}

#[tokio::test]
async fn nobody_is_announced_but_the_node_itself() {
    let node = Node::first(1).await;
    let other = pcdn_core::peer::PeerRecord { id: PeerId([1; 32]), ..node.record.clone() };
    assert!(matches!(node.kad.announce(&KEY, &other).await, Err(DiscoveryError::Refused { .. })));
    assert!(node.kad.withdraw(&KEY, &other.id).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_joined_is_said() {
    let bad = |network: &str| KadConfig { network: network.into(), ..config(&[]) };
    for name in ["", "Main", "a/b", &"a".repeat(33)] {
        let joined = Kad::join(&identity(1), bad(name)).await;
        assert!(matches!(joined, Err(DiscoveryError::Address { .. })), "{name}");
    }
    let nowhere = KadConfig { listen: vec!["192.0.2.1:4001".parse().unwrap()], ..config(&[]) };
    assert!(Kad::join(&identity(1), nowhere).await.is_err());
    // Loopback is outside the Internet: it is not dialled unless the network is a private one.
    let first = Node::first(2).await;
    let public = Node::join(3, KadConfig { private: false, ..config(&first.contacts()) }).await;
    let found = public.find(9).await;
    assert!(matches!(found[..], [Err(DiscoveryError::Silent { .. })]), "{found:?}");
}
