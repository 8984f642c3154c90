//! What players are given.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::fragment::Slice;
use proptest::prelude::*;

use super::super::class::{Class, classify};
use super::super::join::{Output, SliceView};
use super::super::tag::{HEADER_LEN, Kind, Reader, Tag};
use super::super::*;
use super::stream::*;

fn view(slice: &Slice) -> SliceView<'_> {
    SliceView {
        bytes: &slice.bytes,
        setup: &slice.setup,
        offset: slice.offset,
        start: slice.segment.start,
        duration: slice.segment.duration,
    }
}

fn play(slices: &[Slice], base: Duration) -> Vec<u8> {
    let mut output = Output::beginning_at(Kinds::of(&slices[0].bytes), base);
    let mut out = output.head(&slices[0].setup).to_vec();
    slices.iter().for_each(|slice| out.extend(output.push(&view(slice))));
    out
}

/// Reads a stream back, and asserts what every player relies on.
fn parse(stream: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::default();
    let mut chunk = Bytes::copy_from_slice(stream);
    let tags: Vec<Tag> = std::iter::from_fn(|| reader.read(&mut chunk).unwrap()).collect();
    let mut at = 13;
    for tag in &tags {
        at += HEADER_LEN + tag.body.len();
        let told = u32::from_be_bytes(stream[at..at + 4].try_into().unwrap());
        assert_eq!(told as usize, HEADER_LEN + tag.body.len(), "PreviousTagSize");
        at += 4;
    }
    assert_eq!(at, stream.len(), "nothing but whole tags");
    for kind in [Kind::Video, Kind::Audio] {
        let times: Vec<u32> = tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp).collect();
        let rises = times.windows(2).all(|pair| (pair[1].wrapping_sub(pair[0]) as i32) >= 0);
        assert!(rises, "{kind:?} falls");
    }
    tags
}

fn coded(tags: &[Tag]) -> Vec<&Bytes> {
    let is_coded = |tag: &&Tag| matches!(classify(tag.kind, &tag.body), Class::Coded { .. });
    tags.iter().filter(is_coded).map(|tag| &tag.body).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_played_stream_is_the_programme_with_rising_times(
        seed in any::<u64>(), shape in 0..Shape::ALL.len(), base in prop_oneof![Just(0u64), Just((1 << 32) - 9_000)],
    ) {
        let programme = programme(seed, Shape::ALL[shape], 60_000);
        let slices = parts(serve(&programme, 0, Server::Absolute, 0));
        let tags = parse(&play(&slices, Duration::from_millis(base)));
        let played = coded(&tags);
        let sent: Vec<&Vec<u8>> = programme.iter().map(|moment| &moment.body).collect();
        let from = sent.iter().position(|body| **body == *played[0]).unwrap();
        prop_assert_eq!(&sent[from..from + played.len()], &played[..], "in order, none lost, none twice");
        let configs = tags.len() - played.len();
        prop_assert!((1..=2).contains(&configs), "each configuration once: {configs}");
        prop_assert!(tags[0].timestamp.wrapping_sub(base as u32) < 100);
    }

    #[test]
    fn two_viewers_are_given_the_same_bytes_but_for_their_base(seed in any::<u64>(), join in 5_000i64..20_000) {
        let programme = programme(seed, Shape::Gop(480), 60_000);
        let settled = |from, server| -> Vec<Slice> {
            parts(serve(&programme, from, server, 1 << 31)).into_iter().filter(|s| !provisional(s)).collect()
        };
        let (mine, theirs) = (settled(join, Server::Rebased), settled(0, Server::Absolute));
        let theirs = &theirs[theirs.len() - mine.len()..];
        prop_assert_eq!(play(&mine, Duration::ZERO), play(theirs, Duration::ZERO));
        let (low, high) = (parse(&play(&mine, Duration::ZERO)), parse(&play(theirs, Duration::from_secs(7))));
        let shift = |tag: &Tag| tag.timestamp + 7_000;
        // The first tags may lie before their slice's first picture: they are held at the base by both.
        prop_assert!(low.iter().zip(&high).all(|(low, high)| shift(low) == high.timestamp && low.body == high.body));
    }

    #[test]
    fn damaged_slices_give_whole_tags_or_nothing(
        noise in prop::collection::vec(any::<u8>(), 0..400), cut in any::<prop::sample::Index>(), seed in 0u64..9,
    ) {
        let good = parts(serve(&programme(seed, Shape::Gop(480), 6_000), 0, Server::Absolute, 0)).remove(0);
        let mut bytes = good.bytes[..cut.index(good.bytes.len())].to_vec();
        bytes.extend(&noise);
        let mut output = Output::new(Kinds { audio: true, video: true });
        let mut out = output.head(&noise).to_vec();
        out.extend(output.push(&SliceView { bytes: &bytes, setup: &noise, ..view(&good) }));
        parse(&out);
    }
}

#[test]
fn gaps_are_kept_up_to_a_bound_and_restarts_follow_at_once() {
    let slices = whole(&parts(serve(&programme(1, Shape::Gop(2000), 60_000), 0, Server::Absolute, 0)));
    let mut output = Output::new(Kinds { audio: true, video: true });
    output.head(&slices[0].setup);
    let mut position = |slice: &SliceView<'_>| {
        output.push(slice);
        output.position().as_millis()
    };
    assert_eq!(position(&view(&slices[0])), 2_000);
    assert_eq!(position(&view(&slices[3])), 8_000, "two are lost");
    assert_eq!(position(&view(&slices[20])), 20_000, "more is lost than a player waits for");
    assert_eq!(position(&view(&slices[2])), 22_000, "another timeline");
    let placeless = SliceView { start: None, ..view(&slices[9]) };
    assert_eq!(position(&placeless), 24_000);
    assert_eq!(position(&view(&slices[15])), 26_000);
}

#[test]
fn configuration_is_repeated_only_when_it_changed() {
    let shape = Shape::Gop(2000);
    let mut programme = programme(2, shape, 40_000);
    let index = programme.iter().position(|moment| moment.at == 20_000).unwrap();
    programme.insert(index, Moment { kind: Kind::Video, at: 20_000, body: video_config(shape, 9) });
    let slices = parts(serve(&programme, 0, Server::Absolute, 0));
    let changed = slices.iter().position(|slice| slice.setup != slices[0].setup).unwrap();
    let tags = parse(&play(&slices, Duration::ZERO));
    assert_eq!(tags.len() - coded(&tags).len(), 3, "the first of both, and the one that changed");
    // One that joins behind the change, and one that is sent back before it.
    let tags = parse(&play(&[&slices[changed..], &slices[..1], &slices[changed..]].concat(), Duration::ZERO));
    assert_eq!(tags.len() - coded(&tags).len(), 4);
}
