//! What a tag is for: configuration, coded media, end of sequence.
//!
//! Knows the legacy layouts and the enhanced ones (Enhanced RTMP v2: extended video and audio headers, ModEx, multitrack).
//! Codecs are not looked into: only the few leading bytes that say what follows.

use super::tag::Kind;

/// Which of several tracks of a kind. Streams without multitrack have [`Track::MAIN`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track {
    /// Its kind.
    pub kind: Kind,
    /// Its number, 0 to 255; [`Track::MANY`] for tags that hold several tracks.
    pub number: u16,
}

impl Track {
    /// The number of the only track, or the first.
    pub const MAIN: u16 = 0;
    /// Number given to tags that carry several tracks at once.
    pub const MANY: u16 = 256;
}

/// What a tag is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the decoder of a track needs first. `slot` tells apart the kinds of it a track may have at once.
    Config {
        /// Whose.
        track: Track,
        /// 0: codec, 1: channel map.
        slot: u8,
    },
    /// Coded media.
    Coded {
        /// Whose.
        track: Track,
        /// A picture that needs none before it.
        key: bool,
    },
    /// The sender says that its sequence ended.
    End,
    /// Anything else: commands, metadata, empty and unknown tags.
    Other,
}

/// Classifies a tag by the first bytes of its body.
pub fn classify(kind: Kind, body: &[u8]) -> Class {
    let class = match kind {
        Kind::Video => video(body),
        Kind::Audio => audio(body),
    };
    class.unwrap_or(Class::Other)
}

const COMMAND_FRAME: u8 = 5;

fn video(body: &[u8]) -> Option<Class> {
    let track = Track { kind: Kind::Video, number: Track::MAIN };
    let first = *body.first()?;
    if first & 0x80 != 0 {
        let frame = first >> 4 & 7;
        let (packet, track) = extended(track, first & 15, &body[1..], 6)?;
        return Some(match packet {
            _ if frame == COMMAND_FRAME => Class::Other,
            0 | 5 => Class::Config { track, slot: 0 },
            1 | 3 => Class::Coded { track, key: frame == 1 },
            2 if track.number == Track::MAIN => Class::End,
            _ => Class::Other,
        });
    }
    let (frame, codec) = (first >> 4, first & 15);
    if frame == COMMAND_FRAME {
        return Some(Class::Other);
    }
    let coded = Class::Coded { track, key: frame == 1 };
    // AVC, and HEVC and AV1 as some senders number them: the only legacy codecs with configuration.
    if !matches!(codec, 7 | 12 | 13) {
        return Some(coded);
    }
    Some(match body.get(1)? {
        0 => Class::Config { track, slot: 0 },
        1 => coded,
        2 => Class::End,
        _ => Class::Other,
    })
}

fn audio(body: &[u8]) -> Option<Class> {
    const EXTENDED: u8 = 9;
    const AAC: u8 = 10;
    let track = Track { kind: Kind::Audio, number: Track::MAIN };
    let first = *body.first()?;
    Some(match first >> 4 {
        EXTENDED => {
            let (packet, track) = extended(track, first & 15, &body[1..], 5)?;
            match packet {
                0 => Class::Config { track, slot: 0 },
                1 => Class::Coded { track, key: true },
                2 if track.number == Track::MAIN => Class::End,
                4 => Class::Config { track, slot: 1 },
                _ => Class::Other,
            }
        }
        AAC if *body.get(1)? == 0 => Class::Config { track, slot: 0 },
        _ => Class::Coded { track, key: true },
    })
}

/// Unwraps ModEx and multitrack: the packet type that counts, and the track. `multitrack` is the packet type of that name,
/// which video and audio number differently.
fn extended(mut track: Track, mut packet: u8, mut rest: &[u8], multitrack: u8) -> Option<(u8, Track)> {
    const MOD_EX: u8 = 7;
    while packet == MOD_EX {
        let mut len = usize::from(*rest.first()?) + 1;
        rest = &rest[1..];
        if len == 256 {
            len = usize::from(u16::from_be_bytes(*rest.first_chunk()?)) + 1;
            rest = &rest[2..];
        }
        packet = rest.get(len)? & 15;
        rest = &rest[len + 1..];
    }
    if packet == multitrack {
        const ONE_TRACK: u8 = 0;
        const FOUR_CC: usize = 4;
        let first = *rest.first()?;
        packet = first & 15;
        track.number = match first >> 4 {
            ONE_TRACK => u16::from(*rest.get(1 + FOUR_CC)?),
            _ => Track::MANY,
        };
        // Neither may be inside a multitrack tag.
        if packet == multitrack || packet == MOD_EX {
            return None;
        }
    }
    Some((packet, track))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart_by_their_first_bytes() {
        let v = |number| Track { kind: Kind::Video, number };
        let a = |number| Track { kind: Kind::Audio, number };
        let (key, inter) =
            (Class::Coded { track: v(0), key: true }, Class::Coded { track: v(0), key: false });
        let one_frame = |track| Class::Coded { track, key: true };
        let config = |track| Class::Config { track, slot: 0 };
        let cases: &[(Kind, &[u8], Class)] = &[
            (Kind::Video, &[], Class::Other),
            (Kind::Video, &[0x17, 0], config(v(0))),
            (Kind::Video, &[0x17, 1], key),
            (Kind::Video, &[0x27, 1], inter),
            (Kind::Video, &[0x17, 2], Class::End),
            (Kind::Video, &[0x17], Class::Other),
            (Kind::Video, &[0x57, 1], Class::Other),
            (Kind::Video, &[0x1c, 0], config(v(0))),
            (Kind::Video, &[0x12], key),
            (Kind::Video, b"\x90hvc1", config(v(0))),
            (Kind::Video, b"\x91hvc1", key),
            (Kind::Video, b"\xa3av01", inter),
            (Kind::Video, b"\x92hvc1", Class::End),
            (Kind::Video, b"\x94hvc1", Class::Other),
            (Kind::Video, b"\x97\x02abc\x01hvc1", key),
            (Kind::Video, b"\x97\xff\x00\x00z\x01hvc1", key),
            (Kind::Video, b"\x97\xff\x00", Class::Other),
            (Kind::Video, b"\x96\x01hvc1\x03", one_frame(v(3))),
            (Kind::Video, b"\x96\x00hvc1\x03", config(v(3))),
            (Kind::Video, b"\x96\x21", one_frame(v(Track::MANY))),
            (Kind::Video, b"\x96\x06hvc1\x03", Class::Other),
            (Kind::Audio, &[0xaf, 0], config(a(0))),
            (Kind::Audio, &[0xaf, 1], one_frame(a(0))),
            (Kind::Audio, &[0xaf], Class::Other),
            (Kind::Audio, &[0x2f], one_frame(a(0))),
            (Kind::Audio, b"\x90Opus", config(a(0))),
            (Kind::Audio, b"\x91Opus", one_frame(a(0))),
            (Kind::Audio, b"\x92Opus", Class::End),
            (Kind::Audio, b"\x94Opus", Class::Config { track: a(0), slot: 1 }),
            (Kind::Audio, b"\x95\x01Opus\x07", one_frame(a(7))),
            (Kind::Audio, b"\x97", Class::Other),
        ];
        for (kind, body, want) in cases {
            assert_eq!(classify(*kind, body), *want, "{kind:?} {body:02x?}");
        }
    }
}
