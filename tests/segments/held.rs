//! One node and what it holds.

use std::time::Duration;

use pcdn::core::origin::OriginError;
use pcdn::testing::{Fault, ScriptedOrigin, content};
use pcdn::{Node, OpenError};
use tokio::time::{Instant, advance};

use crate::world::*;

/// As long as an hour: playing itself turns virtual time by seconds at most.
const HOUR: Duration = Duration::from_secs(3_600);

/// A node that holds all segments; the origin says `control` of them.
async fn holding(control: Option<&str>, by: Naming) -> (ScriptedOrigin, Node) {
    let origin = origin();
    let origin = match control {
        Some(control) => origin.saying("cache-control", control),
        None => origin,
    };
    let node = node(Named { origin: origin.clone(), by }, &shelf());
    load(&node, true).await;
    for number in 0..SEGMENTS {
        assert!(!is_new(&node, number).await);
    }
    (origin, node)
}

/// Half of a segment was finished with bytes of the one that had taken its place: what was kept of it had no version.
#[tokio::test(start_paused = true)]
async fn a_segment_that_was_half_here_when_it_was_replaced_is_all_of_one_content() {
    for by in [Naming::Tag, Naming::Date, Naming::Weak, Naming::Nothing] {
        let (kept, origin) = (shelf(), origin().always(Fault::StallAfter(150_000)));
        let first = node(Named { origin: origin.clone(), by }, &kept);
        load(&first, true).await;
        let half = read(&ask(&first, 1).await.unwrap(), 100_000).await.unwrap();
        assert!(half == content(LEN, 1)[..100_000]);
        is_kept(&kept, 90_000).await;
        stop(first).await;
        replace(&origin, 1);
        let _ = origin.clone().always(Fault::None);
        let second = node(Named { origin, by }, &kept);
        load(&second, true).await;
        assert!(is_new(&second, 1).await, "{by:?}");
        stop(second).await;
    }
}

/// In real time, as the store's thread is.
#[tokio::test]
async fn what_was_not_replaced_is_given_from_the_store_after_a_restart() {
    for (by, again) in [(Naming::Tag, 0), (Naming::Date, 0), (Naming::Nothing, LEN as u64)] {
        let (kept, origin) = (shelf(), origin());
        let first = node(Named { origin: origin.clone(), by }, &kept);
        load(&first, true).await;
        assert!(!is_new(&first, 0).await);
        is_kept(&kept, LEN as u64).await;
        stop(first).await;
        let second = node(Named { origin, by }, &kept);
        load(&second, true).await;
        let item = ask(&second, 0).await.unwrap();
        let mut reader = item.read(0..LEN as u64);
        while let Some(bytes) = reader.next().await {
            bytes.unwrap();
        }
        let (cache, from_origin, _) = reader.sources();
        assert_eq!((cache, from_origin), (LEN as u64 - again, again), "{by:?}");
        stop(second).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_origins_word_is_good_nobody_asks() {
    for control in ["max-age=3600", "max-age=86400, immutable", "immutable"] {
        let (origin, node) = holding(Some(control), Naming::Tag).await;
        let before = origin.counts();
        assert_eq!(before.heads, SEGMENTS);
        replace(&origin, 1);
        advance(HOUR / 2).await;
        assert!(!is_new(&node, 1).await, "{control}");
        settle().await;
        assert_eq!(origin.counts(), before, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_time_a_segment_is_given_at_once_and_checked_beside() {
    let (origin, node) = holding(Some("max-age=3600"), Naming::Tag).await;
    replace(&origin, 1);
    advance(HOUR + Duration::from_secs(10)).await;
    let asked = Instant::now();
    let old = ask(&node, 1).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(read(&old, LEN).await.unwrap() == content(LEN, 1), "it is here");
    drop(old);
    settle().await;
    assert!(is_new(&node, 1).await);
    assert!(!is_new(&node, 0).await, "the others are as they were");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_was_not_confirmed_for_long_is_checked_first() {
    for (control, by) in
        [(Some("max-age=3600"), Naming::Tag), (Some("max-age=3600"), Naming::Date), (None, Naming::Weak)]
    {
        let (origin, node) = holding(control, by).await;
        replace(&origin, 1);
        advance(3 * HOUR).await;
        assert!(is_new(&node, 1).await, "{by:?}");
        assert!(!is_new(&node, 0).await, "{by:?}");
    }
}

/// It was given for ever: where nothing names a version, nothing ever said that it is another.
#[tokio::test(start_paused = true)]
async fn without_versions_a_segment_is_fetched_anew_when_its_time_is_over() {
    let (origin, node) = holding(None, Naming::Nothing).await;
    replace(&origin, 1);
    advance(Duration::from_secs(60)).await;
    assert!(is_new(&node, 1).await);
}

#[tokio::test(start_paused = true)]
async fn while_the_origin_fails_what_is_here_is_given() {
    for by in [Naming::Tag, Naming::Nothing] {
        for fault in [Fault::Unreachable, Fault::Status(503), Fault::StallAfter(0)] {
            let (origin, node) = holding(Some("max-age=3600"), by).await;
            let _ = origin.clone().always(fault);
            advance(3 * HOUR).await;
            let asked = Instant::now();
            assert!(!is_new(&node, 1).await, "{by:?} {fault:?}");
            assert!(asked.elapsed() <= Duration::from_millis(1_100), "{fault:?}: {:?}", asked.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_be_confirmed_is_confirmed_before_it_is_given_again() {
    let (origin, node) = holding(Some("no-cache"), Naming::Tag).await;
    assert_eq!(origin.counts().confirms, 0, "it was asked for before it was given first");
    replace(&origin, 1);
    assert!(is_new(&node, 1).await);
    let _ = origin.clone().always(Fault::Unreachable);
    assert!(matches!(ask(&node, 2).await, Err(OpenError::Origin(OriginError::Unreachable { .. }))));
}

/// A live player asks once for what is listed once: nothing more goes to the origin than a head and the bytes, whatever it says.
#[tokio::test(start_paused = true)]
async fn a_live_player_costs_no_check() {
    for control in ["no-cache", "max-age=1", "no-store", "max-age=2, must-revalidate"] {
        let origin = origin().saying("cache-control", control);
        let node = node(origin.clone(), &shelf());
        for number in 0..SEGMENTS {
            load(&node, false).await;
            assert!(!is_new(&node, number).await);
            advance(Duration::from_secs(2)).await;
            settle().await;
            // A second player of the household, a segment behind.
            assert!(!is_new(&node, number).await);
        }
        let counts = origin.counts();
        assert_eq!((counts.heads, counts.confirms), (SEGMENTS, 0), "{control}");
    }
}

/// A live stream's segments are deleted when they have left its window; who pauses finds them here.
#[tokio::test(start_paused = true)]
async fn what_a_live_origin_has_deleted_is_still_given() {
    let origin = origin().saying("cache-control", "max-age=1");
    let node = node(origin.clone(), &shelf());
    load(&node, false).await;
    assert!(!is_new(&node, 0).await);
    let _ = origin.clone().always(Fault::Status(404));
    advance(Duration::from_secs(300)).await;
    assert!(!is_new(&node, 0).await);
}

/// What lies before a player is checked before it gets there: it waits for nothing and gets what is new.
#[tokio::test(start_paused = true)]
async fn a_player_waits_for_the_check_of_its_first_segment_alone() {
    let (origin, node) = holding(Some("max-age=3600"), Naming::Tag).await;
    (1..SEGMENTS).for_each(|number| replace(&origin, number));
    advance(3 * HOUR).await;
    assert!(!is_new(&node, 0).await);
    settle().await;
    advance(Duration::from_millis(300)).await;
    settle().await;
    // From now on the origin does not answer checks.
    let _ = origin.clone().always(Fault::StallAfter(LEN as u64));
    for number in 1..SEGMENTS {
        let asked = Instant::now();
        let item = ask(&node, number).await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO, "segment {number}");
        assert!(read(&item, LEN).await.unwrap() == content(LEN, number + NEW), "segment {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_the_old_segment_reads_it_to_its_end() {
    let (origin, node) = holding(Some("max-age=3600"), Naming::Tag).await;
    let old = ask(&node, 1).await.unwrap();
    let mut reader = old.read(0..LEN as u64);
    let mut all = reader.next().await.unwrap().unwrap().to_vec();
    replace(&origin, 1);
    advance(3 * HOUR).await;
    // Both cannot be here: who comes meanwhile is sent to the origin.
    let sent = ask(&node, 1).await;
    assert!(matches!(sent, Err(OpenError::Origin(OriginError::Changed { .. }))), "{sent:?}");
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    assert!(all == content(LEN, 1));
    drop((reader, old));
    assert!(is_new(&node, 1).await);
}

/// The file's version was asked for once: after a change every part of it that was not here was lost, until the node was started anew.
#[tokio::test(start_paused = true)]
async fn parts_of_a_file_that_was_replaced_are_given_of_the_new_one() {
    let film = playlist().join("film.ts").unwrap();
    let parts: String =
        (0..4).map(|n| format!("#EXTINF:2.0,\n#EXT-X-BYTERANGE:75000@{}\nfilm.ts\n", n * 75_000)).collect();
    let text = format!("#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n{parts}#EXT-X-ENDLIST\n");
    let origin = ScriptedOrigin::new().with(&film, content(LEN, 1)).saying("cache-control", "max-age=3600");
    let node = node(origin.clone(), &shelf());
    let stream = node.stream(&playlist(), None, text.as_bytes()).await.unwrap();
    stream.supply(&playlist(), text.into()).await.unwrap();
    let part = async |number: u64| {
        let range = pcdn::core::range::ByteRange::new(number * 75_000, (number + 1) * 75_000).unwrap();
        let item = node.segment(&film, Some(range)).await.unwrap()?;
        let mut reader = item.read(range.start()..range.end());
        let mut all = Vec::new();
        while let Some(bytes) = reader.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok::<_, OpenError>(all == content(LEN, 2)[range.start() as usize..range.end() as usize])
    };
    let _ = origin.clone().always(Fault::StallAfter(75_000));
    assert!(!part(0).await.unwrap());
    let _ = origin.clone().always(Fault::None).with(&film, content(LEN, 2));
    // What was on its way breaks off, once.
    let _ = part(3).await;
    for number in [3, 2, 1, 0] {
        assert!(part(number).await.unwrap(), "part {number}");
    }
}
