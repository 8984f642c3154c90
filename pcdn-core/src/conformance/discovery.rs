//! What every [`Discovery`] must do.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use crate::discovery::Discovery;
use crate::id::{PeerId, SwarmKey};
use crate::peer::{PeerAddr, PeerRecord};
use crate::testing::within;

/// Nobody else uses this key, so what is found under it was announced by the suite.
const KEY: SwarmKey = SwarmKey([0x3c; 32]);
const OTHER: SwarmKey = SwarmKey([0xc3; 32]);

/// Asserts what holds for one discovery alone, whomever it finds.
///
/// # Panics
/// With the clause that is broken.
pub async fn discovery<D: Discovery>(one: &D) {
    discovery_as(one, &peer(1)).await;
}

/// As [`discovery`], for one that announces nobody but `me`, such as a DHT node.
///
/// # Panics
/// With the clause that is broken.
pub async fn discovery_as<D: Discovery>(one: &D, me: &PeerRecord) {
    let lease = within("announce must end", one.announce(&OTHER, me)).await;
    let lease = lease.unwrap_or_else(|error| panic!("announce must succeed: {error}"));
    assert!(lease.renew_in > Duration::ZERO, "a lease must hold for a while");
    again_is_the_same(one, me).await;
    for want in [0, 1, 50] {
        let found = find(one, &OTHER, want).await;
        let ids: BTreeSet<PeerId> = found.iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), found.len(), "a peer must be found once, with all its addresses");
        for record in &found {
            assert!(
                record.addrs.len() <= PeerRecord::ADDRS_MAX,
                "a record must not have more addresses than allowed"
            );
        }
    }
    // A search dropped half-way must not disturb the next.
    drop(one.find(&OTHER, 10));
    find(one, &OTHER, 10).await;
    for id in [me.id, PeerId([9; 32])] {
        let left = within("withdraw must end", one.withdraw(&OTHER, &id)).await;
        left.unwrap_or_else(|error| panic!("withdraw must succeed, also for who never announced: {error}"));
    }
}

async fn again_is_the_same<D: Discovery>(one: &D, me: &PeerRecord) {
    let again = within("announce must end", one.announce(&OTHER, me)).await;
    assert!(again.is_ok(), "announcing again is how a lease is renewed");
}

/// Asserts that two discoveries of one world (two clients of one tracker) find each other's announcements, and nobody else's.
/// What they announce are UDP addresses on loopback.
///
/// # Panics
/// With the clause that is broken.
pub async fn meeting<A: Discovery, B: Discovery>(a: &A, b: &B) {
    meeting_as(a, &peer(1), b, &peer(2)).await;
}

/// As [`meeting`], for two that announce nobody but `alice` and nobody but `bob`.
///
/// # Panics
/// With the clause that is broken.
pub async fn meeting_as<A: Discovery, B: Discovery>(a: &A, alice: &PeerRecord, b: &B, bob: &PeerRecord) {
    for (who, discovery) in [(alice, a as &dyn Discovery), (bob, b as &dyn Discovery)] {
        let lease = within("announce must end", discovery.announce(&KEY, who)).await;
        lease.unwrap_or_else(|error| panic!("announce must succeed: {error}"));
    }
    meets(b, alice).await;
    meets(a, bob).await;
    assert!(find(b, &SwarmKey([0x77; 32]), 10).await.is_empty(), "another swarm has other peers");
    let left = within("withdraw must end", b.withdraw(&KEY, &bob.id)).await;
    left.unwrap_or_else(|error| panic!("withdraw must succeed: {error}"));
    meets(b, alice).await;
}

async fn meets<D: Discovery>(who: &D, other: &PeerRecord) {
    let found = find(who, &KEY, 10).await;
    let record = found.iter().find(|record| record.id == other.id);
    let record = record.unwrap_or_else(|| panic!("who announced must be found; found {found:?}"));
    let ports: BTreeSet<u16> = record.addrs.iter().map(|addr| addr.addr.port()).collect();
    let told = other.addrs[0].addr.port();
    assert!(ports.contains(&told), "who is found must be reachable where it listens: {told}, not {ports:?}");
}

async fn find<D: Discovery>(one: &D, key: &SwarmKey, want: usize) -> Vec<PeerRecord> {
    let mut stream = one.find(key, want);
    let all = async {
        let mut found = Vec::new();
        while let Some(next) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            found.push(next.unwrap_or_else(|error| panic!("find must not fail here: {error}")));
        }
        found
    };
    within("a search must end", all).await
}

fn peer(n: u8) -> PeerRecord {
    let addr: PeerAddr = format!("udp://127.0.0.1:{}", 4_000 + u16::from(n)).parse().expect("an address");
    PeerRecord { id: PeerId([n; 32]), addrs: vec![addr], seed: false }
}
