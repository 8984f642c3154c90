//! A module that uses two seams, and is tested with their mocks.

use std::time::Duration;

use pcdn::core::discovery::Discovery;
use pcdn::core::id::{RuleId, SwarmKey};
use pcdn::core::mapping::Mapper;
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;

/// Takes a seat before the film begins: announces `me` for it, and says when to renew. `None` if that cannot be done now.
pub async fn take_seat(
    mapper: &dyn Mapper,
    discovery: &dyn Discovery,
    rule: RuleId,
    film: &Url,
    me: &PeerRecord,
) -> Option<Duration> {
    let mapping = mapper.map(film).await.ok()?;
    let lease = discovery.announce(&SwarmKey::of(&mapping.rid, &rule), me).await.ok()?;
    Some(lease.renew_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn::core::discovery::{DiscoveryError, Lease};
    use pcdn::core::id::{PeerId, Rid};
    use pcdn::core::resource::Mapping;
    use pcdn::mock::{MockDiscovery, MockMapper};
    use pcdn::testing::block_on;

    const RULE: RuleId = RuleId([3; 8]);

    fn seat(discovery: &MockDiscovery) -> Option<Duration> {
        let mut mapper = MockMapper::new();
        mapper.expect_map().times(1).returning(|_| Ok(Mapping::to(Rid([9; 32]), "mock")));
        let me = PeerRecord { id: PeerId([1; 32]), addrs: Vec::new(), seed: false };
        block_on(take_seat(&mapper, discovery, RULE, &"http://h.example/film".parse().unwrap(), &me))
    }

    #[test]
    fn a_seat_is_taken_in_the_swarm_of_content_and_rule() {
        let mut discovery = MockDiscovery::new();
        let swarm = SwarmKey::of(&Rid([9; 32]), &RULE);
        let lease = Lease { renew_in: Duration::from_secs(60) };
        discovery
            .expect_announce()
            .withf(move |key, _| *key == swarm)
            .times(1)
            .returning(move |_, _| Ok(lease));
        assert_eq!(seat(&discovery), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_silent_tracker_is_no_seat() {
        let mut discovery = MockDiscovery::new();
        discovery
            .expect_announce()
            .returning(|_, _| Err(DiscoveryError::Silent { node: "tracker".to_owned() }));
        assert_eq!(seat(&discovery), None);
    }
}
