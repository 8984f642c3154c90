//! Synthetic programmes, and the ways servers hand them to a viewer who joins.

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::fragment::{Fragmenter, Part, Slice};
use pcdn_core::resource::{Resource, ResourceHead};
use pcdn_core::unit::Time;

use super::super::class::{Class, classify};
use super::super::slicer::AUDIO_ONLY_MS;
use super::super::tag::{self, Kind};
use super::super::{AUDIO_MIN_MS, Flv, Gather, KEYFRAMES_MAX_MS, MIN_MS, put_together};

/// A tag of a programme, in the programme's own time.
#[derive(Clone, Debug)]
pub(in crate::flv) struct Moment {
    pub(in crate::flv) kind: Kind,
    pub(in crate::flv) at: i64,
    pub(in crate::flv) body: Vec<u8>,
}

pub(in crate::flv) type Programme = Vec<Moment>;

#[derive(Clone, Copy, Debug)]
pub(in crate::flv) enum Shape {
    /// Keyframes so many milliseconds apart.
    Gop(i64),
    /// Keyframes 0.4 to 5.8 s apart.
    Irregular,
    /// Keyframes so far apart, of few different contents.
    Slate(i64),
    /// One keyframe, then none: intra refresh.
    Refresh,
    /// No pictures.
    Sound,
    /// HEVC with extended headers, keyframes so far apart.
    Enhanced(i64),
}

impl Shape {
    pub(in crate::flv) const ALL: [Shape; 9] = [
        Shape::Gop(480),
        Shape::Gop(1000),
        Shape::Gop(2000),
        Shape::Gop(40),
        Shape::Irregular,
        Shape::Slate(400),
        Shape::Refresh,
        Shape::Sound,
        Shape::Enhanced(700),
    ];

    /// How long after it joins a viewer is given a first mark at the latest, and how far apart boundaries are at least.
    pub(in crate::flv) fn first_mark(self) -> (i64, i64) {
        match self {
            Shape::Gop(gop) | Shape::Slate(gop) | Shape::Enhanced(gop) => (gop, MIN_MS),
            Shape::Irregular => (5_800, MIN_MS),
            Shape::Refresh => (KEYFRAMES_MAX_MS + 40, MIN_MS),
            Shape::Sound => (AUDIO_ONLY_MS + 23, AUDIO_MIN_MS),
        }
    }

    fn is_key(self, dice: &mut Dice, since: i64) -> bool {
        match self {
            Shape::Gop(gop) | Shape::Slate(gop) | Shape::Enhanced(gop) => since >= gop,
            Shape::Irregular => since >= 400 && dice.chance(0.02) || since >= 5800,
            Shape::Refresh | Shape::Sound => false,
        }
    }

    fn picture(self, dice: &mut Dice, key: bool) -> Vec<u8> {
        let mut body = match (self, key) {
            (Shape::Enhanced(_), true) => b"\x91hvc1\0\0\0".to_vec(),
            (Shape::Enhanced(_), false) => b"\xa3hvc1".to_vec(),
            (_, true) => vec![0x17, 1, 0, 0, 0],
            (_, false) => vec![0x27, 1, 0, 0, 0],
        };
        if let (Shape::Slate(_), true) = (self, key) {
            body.extend([dice.below(24) as u8; 300]);
        } else {
            noise(dice, &mut body, if key { 300 } else { 60 });
        }
        body
    }
}

fn noise(dice: &mut Dice, into: &mut Vec<u8>, about: u64) {
    for _ in 0..=dice.below(about / 8) {
        into.extend(dice.next_u64().to_be_bytes());
    }
}

pub(in crate::flv) fn video_config(shape: Shape, salt: u8) -> Vec<u8> {
    match shape {
        Shape::Enhanced(_) => [b"\x90hvc1\x01".as_slice(), &[salt; 30]].concat(),
        _ => [[0x17, 0, 0, 0, 0, 1].as_slice(), &[salt; 30]].concat(),
    }
}

pub(in crate::flv) fn audio_config(salt: u8) -> Vec<u8> {
    vec![0xaf, 0, 0x12, salt]
}

/// 25 pictures and 43 sounds a second, sound a little behind in order; configuration first.
pub(in crate::flv) fn programme(seed: u64, shape: Shape, length_ms: i64) -> Programme {
    let mut dice = Dice::new(seed);
    let mut all = Vec::new();
    if !matches!(shape, Shape::Sound) {
        all.push(Moment { kind: Kind::Video, at: 0, body: video_config(shape, 1) });
    }
    all.push(Moment { kind: Kind::Audio, at: 0, body: audio_config(1) });
    let (mut key_at, mut sound_at) = (None, 0);
    for at in (0..length_ms).step_by(40) {
        if !matches!(shape, Shape::Sound) {
            let key = key_at.is_none_or(|key| shape.is_key(&mut dice, at - key));
            key_at = if key { Some(at) } else { key_at };
            all.push(Moment { kind: Kind::Video, at, body: shape.picture(&mut dice, key) });
        }
        while sound_at < at + 10 {
            let mut body = vec![0xaf, 1];
            noise(&mut dice, &mut body, 100);
            all.push(Moment { kind: Kind::Audio, at: sound_at, body });
            sound_at += 23;
        }
    }
    all
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::flv) enum Server {
    /// The publisher's times, and all of the picture group that runs.
    Absolute,
    /// Times from 0, headers at 0.
    Rebased,
    /// Times from 0, the sound's header right before its first sound.
    LateHeader,
    /// The publisher's times, from the middle of a picture group.
    NoCache,
}

impl Server {
    pub(in crate::flv) const ALL: [Server; 4] =
        [Server::Absolute, Server::Rebased, Server::LateHeader, Server::NoCache];
}

/// What a viewer is sent who joins when the programme is at `from`; `epoch` is the publisher's time of its start.
pub(in crate::flv) fn serve(programme: &[Moment], from: i64, server: Server, epoch: i64) -> Bytes {
    let class = |moment: &Moment| classify(moment.kind, &moment.body);
    let now = programme.iter().position(|moment| moment.at >= from).unwrap_or(programme.len());
    let is_key = |m: &Moment| m.kind == Kind::Video && matches!(class(m), Class::Coded { key: true, .. });
    let start = match server {
        Server::NoCache => now,
        _ => programme[..now].iter().rposition(is_key).unwrap_or(now),
    };
    let mut late = None;
    let mut out = tag::stream_header(true, true).to_vec();
    out.extend(script());
    let base = match server {
        Server::Absolute | Server::NoCache => epoch,
        _ => -programme.get(start).map_or(0, |moment| moment.at),
    };
    for kind in [Kind::Audio, Kind::Video] {
        let config = |m: &&Moment| m.kind == kind && matches!(class(m), Class::Config { .. });
        let Some(config) = programme[..start].iter().rfind(config) else { continue };
        if server == Server::LateHeader && kind == Kind::Audio {
            late = Some(config);
        } else {
            tag::write(&mut out, kind, 0, &config.body);
        }
    }
    for moment in &programme[start..] {
        let at = (moment.at + base) as u32;
        if let Some(config) = late.take_if(|_| moment.kind == Kind::Audio) {
            tag::write(&mut out, Kind::Audio, at, &config.body);
        }
        tag::write(&mut out, moment.kind, at, &moment.body);
    }
    out.into()
}

/// A script tag that each server writes in its own way.
fn script() -> Vec<u8> {
    let mut script = Vec::new();
    tag::write(&mut script, Kind::Audio, 0, b"\x02\0\x0aonMetaData");
    script[0] = 18;
    script
}

/// Whole slices of the parts of a connection.
pub(in crate::flv) fn whole(parts: &[Slice]) -> Vec<Slice> {
    let mut gather = Gather::default();
    let whole = parts.iter().filter_map(|part| gather.push(part.clone()));
    whole.filter_map(|parts| put_together(&parts).unwrap()).collect()
}

/// All parts of a connection.
pub(in crate::flv) fn parts(stream: Bytes) -> Vec<Slice> {
    let resource = Resource {
        url: "http://origin.test/live.flv".parse().unwrap(),
        rid: pcdn_core::id::Rid([1; 32]),
        head: Some(ResourceHead::default()),
    };
    let mut slicing = Flv::default().open(&resource).unwrap();
    slicing.supply(Time::ZERO, Part::Bytes(stream)).unwrap();
    slicing.supply(Time::ZERO, Part::End).unwrap();
    let mut parts = Vec::new();
    while let Some(cut) = slicing.cut() {
        if let pcdn_core::fragment::Cut::Sliced(slice) = cut {
            parts.push(slice);
        }
    }
    parts
}
