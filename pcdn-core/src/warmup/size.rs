//! How many copies a release needs.

use crate::unit::Rate;

/// Copies of a region at least: two may leave and one is busy.
const REPLICAS_MIN: u32 = 3;

/// What a region's viewers will ask in the first minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Viewers that come within 60 s of the release.
    pub arrivals: u32,
    /// What each of them plays.
    pub bitrate: Rate,
    /// The part that shall come from peers; 0.7 leaves the CDN what it is paid for.
    pub from_peers: f64,
}

/// Copies that carry `demand`, each giving `spare` with probability `availability`: `⌈B / (spare · availability)⌉`, and three
/// at least.
pub fn replicas(demand: &Demand, spare: Rate, availability: f64) -> u32 {
    let wanted = demand.from_peers.clamp(0.0, 1.0) * demand.bitrate.0 as f64 * f64::from(demand.arrivals);
    let each = (spare.0 as f64 * availability.clamp(0.0, 1.0)).max(1.0);
    // A float above u32 saturates.
    ((wanted / each).ceil() as u32).max(REPLICAS_MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_thousand_viewers_of_4_mbit_need_140_peers_of_25_mbit_that_are_mostly_there() {
        let demand = Demand { arrivals: 1_000, bitrate: Rate::from_mbit(4), from_peers: 0.7 };
        assert_eq!(replicas(&demand, Rate::from_mbit(25), 0.8), 140);
        assert_eq!(replicas(&Demand { arrivals: 1, ..demand }, Rate::from_mbit(25), 0.8), 3);
    }

    proptest! {
        #[test]
        fn more_viewers_never_need_fewer(arrivals in 0u32..1_000_000, more in 0u32..1_000, mbit in 0u64..200, a in 0.0f64..1.0) {
            let demand = Demand { arrivals, bitrate: Rate::from_mbit(3), from_peers: 0.7 };
            let grown = Demand { arrivals: arrivals + more, ..demand };
            let spare = Rate::from_mbit(mbit);
            prop_assert!(replicas(&grown, spare, a) >= replicas(&demand, spare, a));
        }
    }
}
