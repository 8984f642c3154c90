//! Learn: unit-test your own module against mocks of the framework's seams: no network, no node, no waiting.
//!
//! The module under test tells how many viewers already watch a film, so that a page can show it.
//!
//! Run: `cargo run --example mock_unit_test`, and its tests: `cargo test --example mock_unit_test`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use futures_util::StreamExt;
use pcdn::core::discovery::Discovery;
use pcdn::core::id::{PeerId, RuleId, SwarmKey};
use pcdn::core::mapping::Mapper;
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;
use pcdn::{discovery, mapping};

/// Nobody needs to know whether it is more than this.
const COUNTED_MAX: usize = 50;

/// Viewers of the film at `url`, up to [`COUNTED_MAX`]; `None` if the film is not known. Peers that cannot be reached by
/// anybody's transport are passed over, and a discovery that fails is as good as one that finds nobody.
async fn audience(mapper: &dyn Mapper, discovery: &dyn Discovery, rule: RuleId, url: &Url) -> Option<usize> {
    let mapping = mapper.map(url).await.ok()?;
    let found = discovery.find(&SwarmKey::of(&mapping.rid, &rule), COUNTED_MAX);
    let reachable = found.filter_map(async |found| found.ok().filter(|peer| !peer.addrs.is_empty()));
    Some(reachable.count().await)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let peer = PeerRecord { id: PeerId([1; 32]), addrs: vec!["udp://192.0.2.1:4000".parse()?], seed: false };
    let neighbours = discovery::Fixed::new(vec![peer]);
    let url = "https://cdn.example/film.mp4?token=mine".parse()?;
    let rule = RuleId::of("file", 1, "an example");
    let viewers = audience(&mapping::UrlHash::default(), &neighbours, rule, &url).await;
    println!("viewers now: {}", viewers.unwrap_or(0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn::core::discovery::DiscoveryError;
    use pcdn::core::id::Rid;
    use pcdn::core::mapping::MapError;
    use pcdn::core::resource::Mapping;
    use pcdn::mock::{MockDiscovery, MockMapper};

    const RULE: RuleId = RuleId([1; 8]);

    fn url() -> Url {
        "http://h.example/film".parse().unwrap()
    }

    fn peer(n: u8, reachable: bool) -> PeerRecord {
        let addr = "udp://192.0.2.1:4000".parse().unwrap();
        PeerRecord { id: PeerId([n; 32]), addrs: if reachable { vec![addr] } else { vec![] }, seed: false }
    }

    #[tokio::test]
    async fn it_asks_for_the_swarm_of_content_and_rule_and_counts_who_can_be_reached() {
        let mut mapper = MockMapper::new();
        mapper.expect_map().times(1).returning(|_| Ok(Mapping::to(Rid([7; 32]), "mock")));
        let mut discovery = MockDiscovery::new();
        let key = SwarmKey::of(&Rid([7; 32]), &RULE);
        discovery
            .expect_find()
            .withf(move |asked, want| *asked == key && *want == COUNTED_MAX)
            .times(1)
            .returning(|_, _| {
                let silent = DiscoveryError::Silent { node: "tracker".to_owned() };
                let found = vec![Ok(peer(1, true)), Err(silent), Ok(peer(2, false)), Ok(peer(3, true))];
                Box::pin(futures_util::stream::iter(found))
            });
        assert_eq!(audience(&mapper, &discovery, RULE, &url()).await, Some(2));
    }

    #[tokio::test]
    async fn an_unknown_film_has_no_audience_and_nobody_is_asked() {
        let mut mapper = MockMapper::new();
        mapper.expect_map().returning(|_| Err(MapError::Unknown));
        // No expectation: any call would fail the test.
        assert_eq!(audience(&mapper, &MockDiscovery::new(), RULE, &url()).await, None);
    }
}
