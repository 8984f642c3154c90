//! What every [`Store`] must do.

use bytes::Bytes;

use crate::id::SwarmKey;
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::store::{Held, Kept, Store, StoreError};
use crate::verify::{Verified, list};

const SWARM: SwarmKey = SwarmKey([0x5a; 32]);
const OTHER: SwarmKey = SwarmKey([0xa5; 32]);
/// Threads of the concurrency clause.
const THREADS: u64 = 4;

/// Asserts the contract. `make` gives an empty store with room for 16 to 40 MiB, a new one at every call.
///
/// # Panics
/// With the clause that is broken.
pub fn store<S: Store>(make: impl Fn() -> S) {
    an_empty_store_holds_nothing(&make());
    what_was_put_comes_back(&make());
    a_piece_put_again_is_replaced(&make());
    another_layout_forgets_the_segment(&make());
    forgetting_is_exact(&make());
    a_piece_that_does_not_fit_is_refused(&make());
    protected_swarms_stay(&make());
    threads_do_not_disturb_each_other(&make());
}

/// A piece of its right length, with content that depends on where it is and on `version`.
pub fn piece_of(layout: &Layout, key: PieceKey, version: u8) -> Kept {
    let seed = key.segment.0.wrapping_mul(31) ^ u64::from(key.piece.get()) ^ u64::from(version) << 7;
    let bytes: Vec<u8> =
        (0..layout.piece_len(key.piece)).map(|at| ((u64::from(at) * 7) ^ seed) as u8).collect();
    let digest = list::digest(layout, key.piece, &bytes);
    Kept { bytes: Verified::checked(Bytes::from(bytes)), digest, own: version.is_multiple_of(2) }
}

fn an_empty_store_holds_nothing<S: Store>(store: &S) {
    let (_, key) = place(0, 0);
    assert_eq!(held(store, &SWARM), [], "an empty store must hold nothing");
    assert_eq!(get(store, &SWARM, key), None, "an empty store must give nothing");
    ok(store.forget(&SWARM, None), "forgetting an unknown swarm must succeed");
    ok(store.forget(&SWARM, Some(SegmentId(3))), "forgetting an unknown segment must succeed");
    ok(store.flush(), "flushing an empty store must succeed");
}

fn what_was_put_comes_back<S: Store>(store: &S) {
    let mut want = Vec::new();
    // Out of order, with the short last piece of the segment and a number that needs all 64 bits.
    for (segment, index) in [(7, 2), (0, 3), (0, 0), (u64::MAX, 1)] {
        want.push(put(store, &SWARM, segment, index, index as u8));
    }
    ok(store.flush(), "flush must succeed");
    for (held, bytes) in &want {
        assert_eq!(get(store, &SWARM, held.key).as_ref(), Some(bytes), "what was put must come back");
        assert_eq!(get(store, &OTHER, held.key), None, "swarms must not see each other's pieces");
    }
    let mut want: Vec<Held> = want.into_iter().map(|(held, _)| held).collect();
    want.sort_unstable_by_key(|held| held.key);
    assert_eq!(held(store, &SWARM), want, "held() must list every piece with its layout, digest and origin");
    assert_eq!(held(store, &OTHER), [], "swarms must not list each other's pieces");
}

fn a_piece_put_again_is_replaced<S: Store>(store: &S) {
    put(store, &SWARM, 1, 1, 0);
    let (new, bytes) = put(store, &SWARM, 1, 1, 1);
    assert_eq!(held(store, &SWARM), [new], "a piece put again must be listed once, as put last");
    assert_eq!(get(store, &SWARM, new.key), Some(bytes), "a piece put again must come back as put last");
}

fn another_layout_forgets_the_segment<S: Store>(store: &S) {
    let (old, _) = put(store, &SWARM, 1, 3, 0);
    let (beside, _) = put(store, &SWARM, 2, 0, 0);
    let layout = Layout::new(100_000, 15).expect("a valid layout");
    let key = PieceKey { segment: SegmentId(1), piece: layout.piece(0).expect("piece 0") };
    let kept = piece_of(&layout, key, 0);
    ok(store.put(&SWARM, &key, &layout, &kept), "put under another layout must succeed");
    let new = Held { key, layout, digest: kept.digest, own: kept.own };
    assert_eq!(
        held(store, &SWARM),
        [new, beside],
        "another layout must forget the segment's old pieces, only those"
    );
    assert_eq!(get(store, &SWARM, old.key), None, "a piece of the old layout must be gone");
}

fn forgetting_is_exact<S: Store>(store: &S) {
    let (first, _) = put(store, &SWARM, 1, 0, 0);
    let (second, _) = put(store, &SWARM, 2, 0, 0);
    let (foreign, _) = put(store, &OTHER, 1, 0, 0);
    ok(store.forget(&SWARM, Some(SegmentId(1))), "forget(segment) must succeed");
    assert_eq!(held(store, &SWARM), [second], "forget(segment) must drop that segment only");
    assert_eq!(get(store, &SWARM, first.key), None, "a forgotten piece must be gone");
    ok(store.forget(&SWARM, None), "forget(swarm) must succeed");
    assert_eq!(held(store, &SWARM), [], "forget(swarm) must drop the whole swarm");
    assert_eq!(held(store, &OTHER), [foreign], "forget(swarm) must not touch another swarm");
    let (again, bytes) = put(store, &SWARM, 1, 0, 1);
    assert_eq!(get(store, &SWARM, again.key), Some(bytes), "a forgotten swarm can be filled again");
}

fn a_piece_that_does_not_fit_is_refused<S: Store>(store: &S) {
    let (layout, key) = place(1, 0);
    let short = Kept { bytes: Verified::checked(Bytes::from_static(b"short")), ..piece_of(&layout, key, 0) };
    let refused = store.put(&SWARM, &key, &layout, &short);
    assert!(refused.is_err(), "bytes that are not as long as their piece must be refused");
    let shorter = Layout::new(10, 14).expect("a valid layout");
    let (_, beyond) = place(1, 3);
    let refused = store.put(&SWARM, &beyond, &shorter, &piece_of(&layout, beyond, 0));
    assert!(refused.is_err(), "a piece the layout does not have must be refused");
    assert_eq!(held(store, &SWARM), [], "a refused piece must not be listed");
}

fn protected_swarms_stay<S: Store>(store: &S) {
    let (kept, bytes) = put(store, &SWARM, 1, 0, 0);
    ok(store.protect(&SWARM, true), "protecting must succeed");
    ok(store.protect(&OTHER, true), "protecting a swarm that is not kept must succeed");
    ok(store.protect(&OTHER, false), "and so must taking it back");
    // Thrice as much as there is room for.
    for segment in 0..1_000 {
        put(store, &OTHER, segment, 0, 0);
        put(store, &OTHER, segment, 1, 0);
        put(store, &OTHER, segment, 2, 0);
    }
    assert_eq!(
        get(store, &SWARM, kept.key),
        Some(bytes),
        "a protected piece must not leave for want of room"
    );
    assert!(held(store, &OTHER).len() < 3_000, "the others must");
    ok(store.forget(&SWARM, None), "forgetting a protected swarm must succeed");
    assert_eq!(held(store, &SWARM), [], "a protected swarm leaves when it is forgotten");
}

fn threads_do_not_disturb_each_other<S: Store>(store: &S) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for round in 0..8 {
                    // Half of the segments are shared by all threads, with equal content.
                    let segment = if round % 2 == 0 { round } else { 100 * (thread + 1) + round };
                    for index in 0..4 {
                        let (held, bytes) = put(store, &SWARM, segment, index, 0);
                        assert_eq!(
                            get(store, &SWARM, held.key),
                            Some(bytes),
                            "threads must not disturb each other"
                        );
                    }
                }
            });
        }
    });
    let want = 4 * 4 + THREADS as usize * 4 * 4;
    assert_eq!(held(store, &SWARM).len(), want, "nothing that threads put may be lost");
}

/// A segment of three whole pieces and a short one.
fn place(segment: u64, index: u32) -> (Layout, PieceKey) {
    let layout = Layout::new(3 * (1 << 14) + 1000, 14).expect("a valid layout");
    (
        layout,
        PieceKey { segment: SegmentId(segment), piece: layout.piece(index).expect("one of four pieces") },
    )
}

fn put<S: Store>(store: &S, swarm: &SwarmKey, segment: u64, index: u32, version: u8) -> (Held, Bytes) {
    let (layout, key) = place(segment, index);
    let kept = piece_of(&layout, key, version);
    ok(store.put(swarm, &key, &layout, &kept), "put must succeed while there is room");
    (Held { key, layout, digest: kept.digest, own: kept.own }, kept.bytes.into_inner())
}

fn get<S: Store>(store: &S, swarm: &SwarmKey, key: PieceKey) -> Option<Bytes> {
    ok(store.get(swarm, &key), "get must succeed")
}

fn held<S: Store>(store: &S, swarm: &SwarmKey) -> Vec<Held> {
    let mut held = ok(store.held(swarm), "held must succeed");
    held.sort_unstable_by_key(|held| held.key);
    held
}

fn ok<T>(result: Result<T, StoreError>, clause: &str) -> T {
    result.unwrap_or_else(|error| panic!("{clause}: {error}"))
}
