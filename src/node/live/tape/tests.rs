//! What players are given of what is here.

use super::*;

fn told(id: u64, before: Option<u64>) -> Told {
    Told { id: SegmentId(id), before: before.map(SegmentId), duration: Duration::from_secs(1) }
}

fn kept(byte: u8) -> Kept {
    let bytes = Bytes::from(vec![byte; 4]);
    Kept { bytes, setup: Bytes::new(), duration: Duration::from_secs(1), offset: Duration::ZERO, own: true }
}

fn ids(tape: &Tape, behind: usize) -> Vec<u8> {
    let mut got = Vec::new();
    let mut next = tape.start(behind);
    while let Next::Slice(place, kept) = next {
        got.push(kept.bytes[0]);
        next = tape.after(place, false);
    }
    got
}

/// A part of the slice before.
fn later(byte: u8) -> Kept {
    Kept { offset: Duration::from_secs(1), ..kept(byte) }
}

#[test]
fn a_player_starts_with_a_slice_at_once_and_goes_on_over_what_neighbours_bring() {
    let mut tape = Tape::default();
    assert!(matches!(tape.start(3), Next::Wait));
    tape.own(9, told(1, None), kept(1));
    assert_eq!(ids(&tape, 3), [1], "what is here is given at once");
    tape.own(9, told(2, None), later(2));
    tape.own(9, told(3, Some(2)), kept(3));
    tape.lost(9);
    assert!(tape.told(7, told(4, Some(3)), State::Off));
    assert!(!tape.told(8, told(4, Some(3)), State::Off), "it is on its way");
    assert_eq!(ids(&tape, 3), [1, 2, 3]);
    tape.came(SegmentId(4), later(4));
    assert_eq!(ids(&tape, 2), [1, 2, 3, 4]);
    assert_eq!(ids(&tape, 1), [3, 4], "pictures need the beginning of their slice");
}

#[test]
fn what_nobody_gives_is_passed_over_up_to_the_next_slice() {
    let mut tape = Tape::default();
    (1..=3).for_each(|i| tape.own(9, told(i, Some(i - 1)), kept(i as u8)));
    tape.lost(9);
    assert!((4..=6).all(|id| tape.told(7, told(id, Some(id - 1)), State::Off)));
    tape.came(SegmentId(5), later(5));
    let place = tape.order.find(SegmentId(3)).unwrap();
    assert!(matches!(tape.after(place, true), Next::Wait), "the rest of a slice is of no use");
    tape.came(SegmentId(6), kept(6));
    assert_eq!(ids(&tape, 1), [6], "a newcomer begins behind the gap");
    assert!(matches!(tape.after(place, false), Next::Wait));
    assert!(matches!(tape.after(place, true), Next::Slice(_, kept) if kept.bytes[0] == 6));
    tape.missing(SegmentId(4));
    assert!(matches!(tape.after(place, false), Next::Slice(_, kept) if kept.bytes[0] == 6));
}

/// A node that left the origin was once back after a moment, again and again: neighbours had told of a part that its connection had
/// cut otherwise, and nobody could prove it.
#[tokio::test(start_paused = true)]
async fn what_the_own_connection_went_past_is_waited_for_no_more() {
    let mut tape = Tape::default();
    tape.own(9, told(1, None), kept(1));
    assert!(tape.told(7, told(2, Some(1)), State::Silent));
    tape.own(9, told(3, Some(1)), kept(3));
    tape.own(9, told(4, Some(3)), kept(4));
    assert!(tape.take_over(8, told(5, Some(4))));
    tape.lost(9);
    assert_eq!(tape.wanted_since(Duration::ZERO), [SegmentId(5)]);
}

#[test]
fn a_seam_lies_behind_the_newest_that_is_here() {
    let mut tape = Tape::default();
    assert_eq!(tape.seam(), None);
    (1..=2).for_each(|i| tape.own(9, told(i, Some(i - 1)), kept(i as u8)));
    tape.lost(9);
    assert!((3..=5).all(|id| tape.told(7, told(id, Some(id - 1)), State::Off)));
    tape.came(SegmentId(4), kept(4));
    let (last, parts) = tape.seam().unwrap();
    assert_eq!((last, parts.len()), (SegmentId(4), 1), "behind a gap");
    assert!(tape.knows(SegmentId(5)) && !tape.knows(SegmentId(6)));
}
