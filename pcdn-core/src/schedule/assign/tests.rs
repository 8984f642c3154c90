use super::*;
use crate::id::PeerId;
use crate::schedule::buffer::Zones;
use crate::schedule::{OriginView, Policy};
use crate::unit::Rate;

const PIECE: u32 = 64 << 10;
const NOW: Time = Time(10_000_000);

fn neighbour(n: u8, rate: u64, superpeer: bool) -> Neighbour {
    let mut holds = SlotSet::default();
    (0..4).for_each(|slot| _ = holds.set(slot, true));
    Neighbour {
        handle: Handle(n.into()),
        peer: PeerId([n; 32]),
        holds,
        rtt: Duration::from_millis(20),
        rate,
        service: (Duration::from_millis(30), Duration::ZERO),
        pending: 0,
        flights: 0,
        failures: 0,
        quiet_until: Time::ZERO,
        complete: true,
        origin_rate: 0,
        superpeer,
    }
}

/// Whom two pieces of a stream are asked of.
fn asked(neighbours: &[Neighbour]) -> [Option<Handle>; 2] {
    let due = NOW + Duration::from_secs(8);
    let piece = |slot: u64| Piece {
        len: PIECE,
        at: slot * u64::from(PIECE),
        due,
        holders: 2,
        provable: true,
        ..Piece::empty()
    };
    let pieces: Vec<Piece> = (0..2).map(piece).collect();
    let origin = OriginView::default();
    let view = view(&pieces, neighbours, &origin);
    let mut plan = Plan::default();
    let buffer = Zones::new(1);
    EarliestArrival::default().assign(&view, Phase::Assist, &buffer, &mut Dice::new(1), &mut plan);
    [0, 1].map(|slot| super::asked(&plan, Slot(slot)))
}

/// A player's node that lacks all of `pieces`, without a bound of its own.
fn view<'v>(pieces: &'v [Piece], neighbours: &'v [Neighbour], origin: &'v OriginView) -> View<'v> {
    let len = pieces.iter().map(|piece| u64::from(piece.len)).sum();
    View {
        now: NOW,
        me: PeerId([1; 32]),
        policy: Policy::Balanced,
        pieces,
        neighbours,
        flights: &[],
        origin,
        first_missing: Slot(0),
        whole: false,
        paced: true,
        awaits_company: false,
        copies: 1,
        len,
        missing_bytes: len,
        peer_rate: 0,
        limit: Rate::UNLIMITED,
        line: Rate::UNLIMITED,
        budget: u64::MAX,
        queued: Duration::ZERO,
    }
}

#[test]
fn a_superpeer_is_asked_before_its_equals_and_not_before_who_is_much_faster() {
    let at = |n: u32| [Some(Handle(n)); 2];
    let mbyte = 1_000_000;
    assert_eq!(
        asked(&[neighbour(1, mbyte, false), neighbour(2, mbyte, false)]),
        at(1),
        "the first of equals"
    );
    assert_eq!(asked(&[neighbour(1, mbyte, false), neighbour(2, mbyte, true)]), at(2));
    assert_eq!(asked(&[neighbour(1, 9 * mbyte, false), neighbour(2, mbyte, true)]), at(2), "60 ms are none");
    assert_eq!(asked(&[neighbour(1, 9 * mbyte, false), neighbour(2, mbyte / 4, true)]), at(1));
}

/// Under the node's own bound the soonest neighbour chose first, and what only another had waited though a player did.
#[test]
fn under_a_bound_the_most_pressing_piece_goes_first_whoever_has_it() {
    let piece = |slot: u64| Piece {
        len: PIECE,
        at: slot * u64::from(PIECE),
        due: NOW + Duration::from_secs(1 + slot),
        holders: 1,
        provable: true,
        ..Piece::empty()
    };
    let pieces: Vec<Piece> = (0..4).map(piece).collect();
    let (mut fast, mut slow) = (neighbour(1, 9_000_000, false), neighbour(2, 1_000_000, false));
    fast.holds.set(0, false);
    (1..4).for_each(|slot| _ = slow.holds.set(slot, false));
    let (neighbours, origin) = ([fast, slow], OriginView::default());
    let bound = View { limit: Rate(250_000), budget: 100_000, ..view(&pieces, &neighbours, &origin) };
    let mut plan = Plan::default();
    EarliestArrival::default().assign(&bound, Phase::Together, &Zones::new(1), &mut Dice::new(1), &mut plan);
    let asked = [0, 1, 2, 3].map(|slot| super::asked(&plan, Slot(slot)));
    assert_eq!(asked, [Some(Handle(2)), Some(Handle(1)), None, None], "two pieces pass the bound soon");
}
