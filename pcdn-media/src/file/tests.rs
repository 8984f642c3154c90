use pcdn_core::Bytes;
use pcdn_core::conformance::fragmenter::{self as suite, Sample};
use pcdn_core::id::Rid;
use proptest::prelude::*;

use super::*;

fn sample(len: u64) -> Sample {
    let url: Url = "http://origin.test/film.mp4".parse().unwrap();
    Sample {
        resource: Resource { url, rid: Rid([1; 32]), head: None },
        head: ResourceHead { len: Some(len), ranges: true, ..ResourceHead::default() },
        documents: Vec::new(),
        body: Bytes::new(),
        tiles: true,
    }
}

#[test]
fn it_keeps_the_contract_at_every_edge_of_the_grid() {
    let edges = [0, 1, SEGMENT_BYTES, 3 * SEGMENT_BYTES].into_iter();
    for len in edges.flat_map(|len: u64| [len.saturating_sub(1), len, len + 1]) {
        suite::fragmenter(File::default, &sample(len));
    }
}

#[test]
fn one_byte_is_one_segment_of_one_piece_and_no_byte_is_no_segment() {
    let file = File::default();
    assert_eq!(file.grid(0).unwrap().segments(), 0);
    assert_eq!(file.grid(0).unwrap().locate(0), None);
    assert_eq!(file.grid(1).unwrap().layout(SegmentId(0)).unwrap().pieces(), 1);
    assert_eq!(file.grid(SEGMENT_BYTES).unwrap().segments(), 1);
    assert_eq!(file.grid(SEGMENT_BYTES + 1).unwrap().segments(), 2);
    assert_eq!(
        file.grid(SEGMENT_BYTES + 1).unwrap().segment(SegmentId(1)),
        Some(SEGMENT_BYTES..SEGMENT_BYTES + 1)
    );
}

#[test]
fn a_resource_without_length_is_refused_at_once_or_when_its_head_comes() {
    let mut resource = sample(1).resource;
    let headless = ResourceHead::default();
    let mut slicing = File::default().open(&resource).unwrap();
    assert_eq!(slicing.need(), Need::Head(resource.url.clone()));
    assert_eq!(slicing.cut(), None);
    let refused = slicing.supply(Time::ZERO, Part::Head(resource.url.clone(), headless.clone()));
    assert!(matches!(refused, Err(FragmentError::LengthUnknown)));
    resource.head = Some(headless);
    assert!(matches!(File::default().open(&resource), Err(FragmentError::LengthUnknown)));
}

#[test]
fn parameters_are_checked_and_name_the_rule() {
    assert!(File::with(1 << 20, 14).is_ok());
    for (segment_bytes, piece_log2) in
        [(0, 16), ((1 << 16) + 1, 16), (1 << 15, 16), (1 << 20, 13), (1 << 40, 14)]
    {
        assert!(File::with(segment_bytes, piece_log2).is_err(), "{segment_bytes} 2^{piece_log2}");
    }
    assert_eq!(File::with(SEGMENT_BYTES, PIECE_LOG2).unwrap().rule(), File::default().rule());
    assert_ne!(File::with(2 * SEGMENT_BYTES, PIECE_LOG2).unwrap().rule(), File::default().rule());
}

/// The swarm key follows from this value: a change of it parts all nodes from older ones and must be meant.
#[test]
fn the_rule_of_the_default_grid_stays() {
    assert_eq!(File::default().rule().to_string(), "a98393109f232781");
}

#[test]
fn pieces_grow_with_huge_files_so_that_segments_stay_few() {
    let file = File::default();
    let grid = |len| file.grid(len).unwrap();
    let most = SEGMENTS_MAX * SEGMENT_BYTES;
    assert_eq!((grid(most).piece_log2(), grid(most).segment_bytes()), (16, SEGMENT_BYTES));
    assert_eq!((grid(most + 1).piece_log2(), grid(most + 1).segment_bytes()), (17, 2 * SEGMENT_BYTES));
    let tebi = grid(1 << 40);
    assert_eq!((tebi.piece_log2(), tebi.segments()), (20, SEGMENTS_MAX));
    assert!(file.grid(u64::MAX).is_err(), "larger than any segment grid");
}

proptest! {
    #[test]
    fn segments_tile_files_of_any_length(len in 0u64..1 << 48, at: prop::sample::Index) {
        let grid = File::default().grid(len).unwrap();
        prop_assert!(grid.segments() <= SEGMENTS_MAX);
        let number = SegmentId(at.index(grid.segments().max(1) as usize) as u64);
        let Some(bytes) = grid.segment(number) else {
            prop_assert_eq!(len, 0);
            return Ok(());
        };
        prop_assert_eq!(grid.layout(number).unwrap().len(), bytes.end - bytes.start);
        prop_assert_eq!(grid.locate(bytes.start), Some(number));
        prop_assert_eq!(grid.locate(bytes.end - 1), Some(number));
        let next = grid.segment(SegmentId(number.0 + 1)).map(|bytes| bytes.start);
        prop_assert_eq!(next, (bytes.end < len).then_some(bytes.end));
    }

    #[test]
    fn two_openings_agree_and_tile(len in 0u64..40 << 20, shift in 0u8..4, log2 in 14u8..=20) {
        let file = File::with(1 << (log2 + shift), log2).unwrap();
        suite::fragmenter(|| file, &sample(len));
    }

    #[test]
    fn the_pieces_of_a_range_cover_it_and_no_more(len in 1u64..30 << 20, from: prop::sample::Index, to: prop::sample::Index) {
        let grid = File::with(1 << 18, 15).unwrap().grid(len).unwrap();
        let (from, to) = (from.index(len as usize) as u64, to.index(len as usize) as u64);
        let range = ByteRange::new(from.min(to), from.max(to) + 1).unwrap();
        let mut at = None;
        for key in grid.pieces(range) {
            let segment = grid.segment(key.segment).unwrap();
            let bytes = grid.layout(key.segment).unwrap().bytes_of(key.piece);
            let bytes = ByteRange::new(segment.start + bytes.start, segment.start + bytes.end).unwrap();
            prop_assert!(bytes.intersect(&range).is_some(), "a piece the range does not touch");
            prop_assert!(at.is_none_or(|at| at == bytes.start()), "a gap");
            prop_assert!(at.is_some() || bytes.contains(range.start()));
            at = Some(bytes.end());
        }
        prop_assert!(at.is_some_and(|at| at >= range.end()));
    }
}

#[test]
fn a_range_beyond_the_end_needs_no_piece() {
    let grid = File::default().grid(10).unwrap();
    assert_eq!(grid.pieces(ByteRange::new(10, 20).unwrap()).count(), 0);
    assert_eq!(grid.pieces(ByteRange::new(5, u64::MAX).unwrap()).count(), 1);
}
