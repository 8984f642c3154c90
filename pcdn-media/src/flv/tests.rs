mod agree;
mod joined;
pub(super) mod stream;

use pcdn_core::Bytes;
use pcdn_core::conformance::fragmenter::{self as suite, Sample};
use pcdn_core::id::Rid;
use pcdn_core::layout::Layout;
use proptest::prelude::*;

use super::tag::{Kind as TagKind, Reader, Tag};
use super::*;
use stream::{Server, Shape, parts, programme, serve, whole};

fn sample(head: ResourceHead, body: Bytes) -> Sample {
    let url = "http://origin.test/live/one.flv".parse().unwrap();
    let tiles = head.len.is_some();
    Sample {
        resource: Resource { url, rid: Rid([1; 32]), head: None },
        head,
        documents: Vec::new(),
        body,
        tiles,
    }
}

#[test]
fn it_keeps_the_contract_for_files_and_for_live_streams() {
    for len in [0, 1, 9 << 20] {
        let head = ResourceHead { len: Some(len), ranges: true, ..ResourceHead::default() };
        suite::fragmenter(Flv::default, &sample(head, Bytes::new()));
    }
    for shape in Shape::ALL {
        let body = serve(&programme(1, shape, 30_000), 2_000, Server::Rebased, 0);
        suite::fragmenter(Flv::default, &sample(ResourceHead::default(), body));
    }
}

#[test]
fn a_file_is_cut_as_any_file_and_a_length_without_ranges_is_live() {
    let ranged = ResourceHead { len: Some(9 << 20), ranges: true, ..ResourceHead::default() };
    let rangeless = ResourceHead { ranges: false, ..ranged.clone() };
    let vod = sample(ranged, Bytes::new());
    let resource = Resource { head: Some(vod.head.clone()), ..vod.resource.clone() };
    let cut = |chunk| suite::run(&File::default(), &resource, &vod, chunk);
    assert_eq!(suite::run(&Flv::default(), &resource, &vod, 1), cut(1));
    let live = Flv::default().open(&Resource { head: Some(rangeless), ..resource.clone() }).unwrap();
    assert_eq!(live.need(), Need::Stream(resource.url.clone()));
    assert_ne!(Flv::default().rule(), File::default().rule());
    assert_ne!(Flv::default().rule(), Flv::with(File::with(1 << 20, 14).unwrap()).rule());
}

/// The swarm key follows from this value: a change of it parts all nodes from older ones and must be meant.
#[test]
fn the_rule_stays() {
    assert_eq!(Flv::default().rule().to_string(), "82acd603433c9d90");
}

/// So do the numbers of parts and slices: these are of a programme made above, and change only with it or with the rule.
#[test]
fn names_of_parts_and_slices_stay() {
    let all = parts(serve(&programme(1, Shape::Gop(480), 20_000), 0, Server::Absolute, 0));
    let last = |of: &[pcdn_core::fragment::Slice]| format!("{:016x}", of.last().unwrap().segment.id.0);
    assert_eq!([last(&all), last(&whole(&all))], ["001f43927c81635d", "001b4d89054bc8b3"]);
}

/// An encoder that began anew took the last 0.4 s before it with it: pictures that the server had sent.
#[test]
fn what_came_before_a_break_is_given_to_its_end() {
    let end = [0x17, 2, 0, 0, 0];
    for ended in [false, true] {
        let before = serve(&programme(1, Shape::Gop(2000), 21_000), 0, Server::Absolute, 500_000);
        let after = serve(&programme(2, Shape::Gop(2000), 9_000), 0, Server::Absolute, 0);
        let mut stream = before.to_vec();
        if ended {
            tag::write(&mut stream, TagKind::Video, 521_000, &end);
        }
        // Its own header of 9 bytes is that of a new connection.
        stream.extend(&after[13..]);
        let sent = |stream: &[u8]| {
            let (mut reader, mut chunk) = (Reader::default(), Bytes::copy_from_slice(stream));
            let all: Vec<Tag> = std::iter::from_fn(|| reader.read(&mut chunk).unwrap()).collect();
            all.into_iter().map(|tag| tag.body).filter(|body| body[1] == 1).collect::<Vec<_>>()
        };
        let all = parts(stream.into());
        let got: Vec<Bytes> = all
            .iter()
            .flat_map(|part| {
                tag::tags(&part.bytes).map(|tag| Bytes::copy_from_slice(tag.body)).collect::<Vec<_>>()
            })
            .filter(|body| body[1] == 1)
            .collect();
        let (before, after) = (sent(&before), sent(&after));
        assert_eq!(got[..before.len()], before);
        assert_eq!(got[before.len()..before.len() + 300], after[..300]);
        let ends = all.windows(2).filter(|pair| {
            pair[0].segment.start.zip(pair[0].segment.duration).map(|(s, d)| s + d) != pair[1].segment.start
        });
        assert_eq!(ends.count(), 1, "times go on behind the last picture");
    }
}

/// A player of sound alone began 3 s later than at the server.
#[test]
fn sound_alone_waits_half_a_second_unless_pictures_are_announced() {
    let announced = serve(&programme(1, Shape::Sound, 2_000), 0, Server::Absolute, 0);
    let begun = |stream: Vec<u8>| parts(stream.into()).first().map(|part| part.segment.duration.unwrap());
    assert_eq!(begun(announced.to_vec()), None, "its header says that there are pictures");
    let alone = [&tag::stream_header(true, false)[..], &announced[13..]].concat();
    assert!(begun(alone.clone()).unwrap() <= std::time::Duration::from_millis(530));
    let mut configured = alone[..13].to_vec();
    tag::write(&mut configured, TagKind::Video, 0, &stream::video_config(Shape::Gop(40), 1));
    configured.extend(&alone[13..]);
    assert_eq!(begun(configured), None);
}

#[test]
fn only_flv_is_taken() {
    let hint = |url: &str, first: &[u8]| ResourceHint {
        url: url.parse().unwrap(),
        content_type: None,
        first_bytes: first.to_vec(),
    };
    assert_eq!(Flv::default().fit(&hint("http://a/x", b"FLV\x01")), Fit::Sure);
    assert_eq!(Flv::default().fit(&hint("http://a/x.mp4", b"")), Fit::No);
}

#[test]
fn the_window_slides_and_is_searched() {
    let stream = serve(&programme(2, Shape::Gop(2000), 200_000), 0, Server::Absolute, 0);
    let resource = sample(ResourceHead::default(), Bytes::new()).resource;
    let mut slicing = live::Live::new(resource.url);
    assert_eq!(slicing.locate(&Seek::Live { behind: 1 }), None);
    slicing.supply(Time::ZERO, Part::Bytes(stream)).unwrap();
    let (mut alive, mut retired) = (Vec::new(), 0);
    while let Some(cut) = slicing.cut() {
        match cut {
            Cut::Sliced(slice) => alive.push(slice),
            Cut::Retired(id) => {
                assert_eq!(alive.remove(0).segment.id, id, "the oldest retires");
                retired += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((alive.len(), retired), (150, 349), "a minute of parts of 0.4 s, the last being open");
    let begins = |at: usize| {
        assert!(alive[at].offset.is_zero());
        Some(alive[at].segment.id)
    };
    assert_eq!(
        slicing.locate(&Seek::Live { behind: 1 }),
        begins(146),
        "the newest slice has four parts so far"
    );
    assert_eq!(slicing.locate(&Seek::Live { behind: 3 }), begins(136));
    assert_eq!(slicing.locate(&Seek::Live { behind: 999 }), begins(1));
    let inside = alive[9].segment.start.unwrap() + std::time::Duration::from_millis(399);
    assert_eq!(slicing.locate(&Seek::Media(inside)), begins(6), "players begin with a slice");
    assert_eq!(slicing.locate(&Seek::Media(std::time::Duration::from_secs(300))), None);
    slicing.supply(Time::ZERO, Part::End).unwrap();
    assert_eq!((slicing.cut(), slicing.cut(), slicing.need()), (Some(Cut::End), None, Need::Nothing));
}

#[test]
fn what_is_no_flv_is_refused_and_nothing_is_taken_after() {
    let refused = |stream: &[u8]| {
        let mut slicing = live::Live::new("http://a/".parse().unwrap());
        let refused = slicing.supply(Time::ZERO, Part::Bytes(Bytes::copy_from_slice(stream))).is_err();
        assert_eq!(slicing.need() == Need::Nothing, refused);
        refused
    };
    assert!(refused(b"<html>no stream here"));
    assert!(refused(b"FLV\x02\x05\0\0\0\x09"));
    assert!(refused(b"FLV\x01\x05\xff\xff\xff\xff"));
    assert!(refused(&[b"FLV\x01\x05\0\0\0\x09".as_slice(), &[0; 15 * 20]].concat()), "noise");
    assert!(
        !refused(b"FLV\x01\x05\0\0\0\x0bxx\0\0\0\0\x12\xff\xff\xff\0\0\0\0\0\0\0"),
        "a long header, a long script"
    );
}

fn read(stream: &[u8], chunk: usize) -> Vec<Tag> {
    let mut reader = Reader::default();
    let mut tags = Vec::new();
    for part in stream.chunks(chunk) {
        let mut part = Bytes::copy_from_slice(part);
        while let Some(tag) = reader.read(&mut part).unwrap() {
            tags.push(tag);
        }
        assert!(part.is_empty());
    }
    tags
}

proptest! {
    #[test]
    fn tags_read_back_as_written_in_any_chunks(
        tags in prop::collection::vec(
            (any::<bool>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..20),
        chunk in 1usize..300,
    ) {
        let tags: Vec<Tag> = tags
            .into_iter()
            .map(|(video, timestamp, body)| {
                let kind = if video { TagKind::Video } else { TagKind::Audio };
                Tag { kind, timestamp, body: body.into() }
            })
            .collect();
        let mut stream = tag::stream_header(true, true).to_vec();
        tags.iter().for_each(|tag| tag::write(&mut stream, tag.kind, tag.timestamp, &tag.body));
        prop_assert_eq!(read(&stream, chunk), tags);
    }

    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..2000), keep in 0usize..400, chunk in 1usize..500,
        flips in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut stream = serve(&programme(1, Shape::Gop(40), 4_000), 0, Server::Absolute, 0).to_vec();
        for flip in flips {
            let at = flip.index(stream.len());
            stream[at] ^= noise.get(at % noise.len().max(1)).copied().unwrap_or(1);
        }
        stream.truncate(stream.len().min(keep * 97));
        stream.extend(noise);
        let mut slicing = live::Live::new("http://a/".parse().unwrap());
        for part in stream.chunks(chunk) {
            if slicing.supply(Time::ZERO, Part::Bytes(Bytes::copy_from_slice(part))).is_err() {
                break;
            }
            while let Some(cut) = slicing.cut() {
                if let Cut::Sliced(slice) = cut {
                    prop_assert_eq!(Layout::new(slice.bytes.len() as u64, PIECE_LOG2).unwrap(), slice.segment.layout);
                }
            }
        }
    }
}
