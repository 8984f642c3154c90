//! Where a new connection goes on behind what is here already.
//!
//! A server gives a client that joins the group of pictures under way, and neighbours may have brought some of it. Where the
//! connection cuts the same parts as they, their numbers tell. With keyframes nearer than a slice is long it mostly does not,
//! at first: then the pictures themselves tell where to go on, so that a player sees none twice and misses none.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::layout::Layout;
use pcdn_core::verify::PieceList;

use super::live::id_of;
use super::tag::{self, Kind, OVERHEAD, Placed};

/// What is to be done with a part of a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All of it is here already. The next part is to be passed, too.
    Before,
    /// So much of it is not, as a part of its own that nobody else has. The parts after it are to be taken as they are.
    Across(Box<Slice>),
    /// It begins behind what is here, or has nothing to do with it: it and all after it are to be taken as they are.
    Behind,
}

/// The end of what is here.
#[derive(Clone, Debug)]
pub struct Seam {
    /// What is compared: pictures, where there are any.
    kind: Kind,
    /// The prints of all of that kind.
    known: Vec<u64>,
    /// Those of the other kind behind the last of them.
    trailing: Vec<u64>,
    /// Where in `known` the connection may be.
    places: Option<Vec<usize>>,
}

impl Seam {
    /// Behind `parts`, in their order: at least what a group of pictures lasts.
    pub fn behind(parts: &[Bytes]) -> Self {
        let tags = || parts.iter().flat_map(|part| tag::tags(part));
        let kind = if tags().any(|tag| tag.kind == Kind::Video) { Kind::Video } else { Kind::Audio };
        let (mut known, mut trailing) = (Vec::new(), Vec::new());
        for tag in tags() {
            if tag.kind == kind {
                known.push(print(&tag));
                trailing.clear();
            } else {
                trailing.push(print(&tag));
            }
        }
        Self { kind, known, trailing, places: None }
    }

    /// What to do with the connection's next part.
    pub fn pass(&mut self, part: &Slice) -> Passed {
        let tags = || tag::tags(&part.bytes);
        let prints: Vec<u64> = tags().filter(|tag| tag.kind == self.kind).map(|tag| print(&tag)).collect();
        let Some(first) = prints.first() else { return Passed::Before };
        let known = &self.known;
        let mut places = self.places.take().unwrap_or_else(|| places_of(*first, known));
        places.retain(|at| known[*at..].iter().zip(&prints).all(|(one, other)| one == other));
        let Some(latest) = places.last() else { return Passed::Behind };
        let here = known.len() - latest;
        if here > prints.len() {
            self.places = Some(places.iter().map(|at| at + prints.len()).collect());
            return Passed::Before;
        }
        let (mut seen, mut skip) = (0, 0);
        for tag in tags() {
            let is_known = if tag.kind == self.kind {
                seen += 1;
                seen <= here
            } else {
                seen < here || self.trailing.contains(&print(&tag))
            };
            if !is_known {
                break;
            }
            skip += OVERHEAD + tag.body.len();
        }
        match skip {
            0 => Passed::Behind,
            // Its last picture is the last that is here.
            all if all == part.bytes.len() => {
                self.places = Some(vec![known.len()]);
                Passed::Before
            }
            _ => rest(part, skip).map_or(Passed::Behind, |rest| Passed::Across(Box::new(rest))),
        }
    }
}

fn places_of(print: u64, known: &[u64]) -> Vec<usize> {
    (0..known.len()).filter(|at| known[*at] == print).collect()
}

fn print(tag: &Placed<'_>) -> u64 {
    u64::from_be_bytes(*blake3::hash(tag.body).as_bytes().first_chunk().expect("32 bytes hold 8"))
}

/// What is left of a part behind its first `skip` bytes.
fn rest(part: &Slice, skip: usize) -> Option<Slice> {
    let bytes = part.bytes.slice(skip..);
    let first = tag::tags(&bytes).next()?;
    let at = Duration::from_millis(u64::try_from(first.timestamp as i32).unwrap_or(0)).max(part.offset);
    let gone = at - part.offset;
    let layout = Layout::of_stream(bytes.len() as u64).ok()?;
    let segment = Segment {
        id: id_of(&part.setup, at, &PieceList::of(&layout, &bytes).root()),
        layout,
        start: part.segment.start.map(|start| start + gone),
        duration: part.segment.duration.map(|lasts| lasts.saturating_sub(gone)),
        key: false,
        discontinuity: true,
        ..part.segment.clone()
    };
    Some(Slice { segment, bytes, setup: part.setup.clone(), offset: at, before: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::stream::{Server, Shape, parts, programme, serve};
    use super::*;

    fn bodies(parts: &[Bytes]) -> Vec<Vec<u8>> {
        parts.iter().flat_map(|part| tag::tags(part)).map(|tag| tag.body.to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_new_connection_goes_on_where_what_is_here_ends(
            seed in any::<u64>(), shape in prop_oneof![Just(Shape::Gop(480)), Just(Shape::Gop(2000)), Just(Shape::Sound)],
            here in 15usize..30, join in 0.0..1.0f64,
        ) {
            let programme = programme(seed, shape, 20_000);
            let theirs = parts(serve(&programme, 0, Server::Absolute, 0));
            // It begins with a keyframe that is here.
            let end = theirs[here].segment.start.unwrap().as_millis() as f64;
            let join = (join * (end - 1.0)) as i64;
            let here: Vec<Bytes> = theirs[..here].iter().map(|part| part.bytes.clone()).collect();
            let mut seam = Some(Seam::behind(&here));
            let mut given = here.clone();
            let mine = parts(serve(&programme, join, Server::Rebased, 0));
            for part in &mine {
                match seam.as_mut().map(|seam| seam.pass(part)) {
                    None => given.push(part.bytes.clone()),
                    Some(Passed::Before) => {}
                    Some(Passed::Across(rest)) => {
                        seam = None;
                        prop_assert!(rest.offset >= part.offset && rest.segment.duration <= part.segment.duration);
                        given.push(rest.bytes);
                    }
                    Some(Passed::Behind) => {
                        seam = None;
                        given.push(part.bytes.clone());
                    }
                }
            }
            let (given, sent) = (bodies(&given), bodies(&theirs.iter().map(|part| part.bytes.clone()).collect::<Vec<_>>()));
            let end = given.len().min(sent.len());
            prop_assert!(end > 500);
            let other = given.iter().zip(&sent).position(|(one, other)| one != other);
            prop_assert_eq!(other, None, "no tag twice, none lost");
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_it_is_taken_as_it_is() {
        let of = |seed| parts(serve(&programme(seed, Shape::Gop(480), 5_000), 0, Server::Absolute, 0));
        let here: Vec<Bytes> = of(1).iter().map(|part| part.bytes.clone()).collect();
        assert_eq!(Seam::behind(&here).pass(&of(2)[0]), Passed::Behind);
        assert_eq!(Seam::behind(&[]).pass(&of(2)[0]), Passed::Behind);
    }
}
