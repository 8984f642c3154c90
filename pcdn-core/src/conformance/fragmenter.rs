//! What every [`Fragmenter`] must do, above all: two nodes that never talked cut alike.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::fragment::{Cut, Fit, Fragmenter, Need, Part, Seek, Segment, Slicing};
use crate::resource::{Resource, ResourceHead, ResourceHint, Url};
use crate::unit::Time;

/// Cuts and needs of one run at most: a slicing that goes on for ever is broken.
const STEPS_MAX: usize = 1_000_000;

/// A resource as an origin would give it, for the suite to feed.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The resource.
    pub resource: Resource,
    /// The head of any URL a slicing asks for and that is no document.
    pub head: ResourceHead,
    /// Documents (playlists), by URL. What is asked for and not here ends the stream.
    pub documents: Vec<(Url, Bytes)>,
    /// The resource's own bytes, for slicings that want a stream.
    pub body: Bytes,
    /// Whether the segments, in order of offset, are the whole resource: a plain file.
    pub tiles: bool,
}

/// Asserts the contract on a sample the fragmenter must be able to cut. `make` gives equally configured fragmenters.
///
/// # Panics
/// With the clause that is broken.
pub fn fragmenter<F: Fragmenter>(make: impl Fn() -> F, sample: &Sample) {
    let (one, two) = (make(), make());
    assert!(!one.name().is_empty(), "a fragmenter must have a name");
    assert_eq!(one.rule(), two.rule(), "equal configurations must have equal rules");
    let hint = ResourceHint {
        url: sample.resource.url.clone(),
        content_type: sample.head.content_type.clone(),
        first_bytes: sample.body.iter().take(512).copied().collect(),
    };
    assert_ne!(one.fit(&hint), Fit::No, "a fragmenter must fit its own sample");

    let told = Resource { head: Some(sample.head.clone()), ..sample.resource.clone() };
    let untold = Resource { head: None, ..sample.resource.clone() };
    let whole = run(&one, &told, sample, usize::MAX);
    let again = run(&two, &untold, sample, 1);
    let odd = run(&two, &told, sample, 4093);
    assert_eq!(whole, again, "cuts must not depend on whether the head was known, nor on single bytes");
    assert_eq!(whole, odd, "cuts must not depend on how the bytes were chunked");
    ids_are_unique_and_layouts_are_true(&whole);
    if sample.tiles {
        segments_tile_the_resource(&one, &told, &whole);
    }
}

/// Drives a slicing to its end with a sample, in chunks of `chunk` bytes, and gives all it cut.
///
/// # Panics
/// If it fails, or does not end.
pub fn run<F: Fragmenter>(fragmenter: &F, resource: &Resource, sample: &Sample, chunk: usize) -> Vec<Cut> {
    let mut slicing = open(fragmenter, resource);
    let mut body = sample.body.clone();
    let mut cuts = Vec::new();
    for _ in 0..STEPS_MAX {
        while let Some(cut) = slicing.cut() {
            let end = cut == Cut::End;
            cuts.push(cut);
            assert!(cuts.len() < STEPS_MAX, "a slicing of a finite sample must end");
            if end {
                assert_eq!(slicing.cut(), None, "nothing may be cut after the end");
                return cuts;
            }
        }
        let part = match slicing.need() {
            Need::Nothing => return cuts,
            Need::Head(url) => Part::Head(url, sample.head.clone()),
            Need::Document { url, .. } => match sample.documents.iter().find(|(name, _)| *name == url) {
                Some((_, document)) => Part::Document(url, document.clone()),
                None => Part::End,
            },
            Need::Range { url, range } => match sample.documents.iter().find(|(name, _)| *name == url) {
                Some((_, file)) => {
                    let start = file.len().min(range.start() as usize);
                    let end = file.len().min(range.end() as usize);
                    Part::Range(url, range, file.slice(start..end))
                }
                None => Part::End,
            },
            Need::Stream(_) if body.is_empty() => Part::End,
            Need::Stream(_) => Part::Bytes(body.split_to(chunk.clamp(1, body.len()))),
        };
        slicing
            .supply(Time::ZERO, part)
            .unwrap_or_else(|error| panic!("a good sample must be taken: {error}"));
    }
    panic!("a slicing of a finite sample must end");
}

fn open<F: Fragmenter>(fragmenter: &F, resource: &Resource) -> Box<dyn Slicing> {
    fragmenter.open(resource).unwrap_or_else(|error| panic!("a good sample must open: {error}"))
}

fn segments(cuts: &[Cut]) -> impl Iterator<Item = &Segment> {
    cuts.iter().filter_map(|cut| if let Cut::Segment(segment) = cut { Some(segment) } else { None })
}

fn ids_are_unique_and_layouts_are_true(cuts: &[Cut]) {
    let mut listed = BTreeSet::new();
    for cut in cuts {
        match cut {
            Cut::Listed(listing) => {
                let unique = listed.insert((listing.rendition, listing.id));
                assert!(unique, "segment {} of rendition {} is listed twice", listing.id, listing.rendition);
            }
            Cut::Sliced(slice) => {
                let len = slice.bytes.len() as u64;
                assert_eq!(
                    slice.segment.layout.len(),
                    len,
                    "slice {}: layout and bytes differ",
                    slice.segment.id
                );
            }
            _ => {}
        }
    }
    let mut seen = BTreeSet::new();
    for segment in segments(cuts) {
        assert!(seen.insert(segment.id), "segment {} is cut twice", segment.id);
        if let Some(range) = segment.range {
            assert_eq!(range.len(), segment.layout.len(), "segment {}: layout and range differ", segment.id);
        }
    }
}

fn segments_tile_the_resource<F: Fragmenter>(fragmenter: &F, resource: &Resource, cuts: &[Cut]) {
    let len = resource.head.as_ref().and_then(|head| head.len).expect("a sample that tiles has a length");
    let slicing = open(fragmenter, resource);
    let mut at = 0;
    for segment in segments(cuts) {
        assert_eq!(segment.offset, at, "segment {} must start where the one before ended", segment.id);
        assert!(!segment.layout.is_empty(), "segment {} must not be empty", segment.id);
        at += segment.layout.len();
        for byte in [segment.offset, at - 1] {
            assert_eq!(slicing.locate(&Seek::Byte(byte)), Some(segment.id), "locate must find byte {byte}");
        }
    }
    assert_eq!(at, len, "the segments must cover the resource");
    assert_eq!(slicing.locate(&Seek::Byte(len)), None, "there is no byte {len}");
    assert_eq!(cuts.last(), Some(&Cut::End), "a file must end");
}
