//! Where players start in a live playlist: by default three segments before its end. So the end is moved, or a start written.

use std::time::Duration;

use pcdn_core::fragment::FragmentError;

use crate::hls::lines::{Kind, Line, lines};
use crate::hls::parse::extinf;

/// Segments before the end where players start by themselves (RFC 8216 6.3.3), and what a live playlist must keep.
const PLAYERS_START: u32 = 3;

/// What to do to a playlist so that players start where they shall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    AsIs,
    /// Leave out the segments whose lines begin here or after.
    Hold { from: usize },
    /// Tell them to start so long before the end.
    Tell { before_end: Duration },
}

/// What is to be done so that players of the playlist `text` start `behind` segments behind its end.
pub(super) fn start(text: &[u8], behind: Option<u32>) -> Result<Start, FragmentError> {
    let Some(behind) = behind.filter(|behind| *behind != PLAYERS_START) else { return Ok(Start::AsIs) };
    // Durations of the segments, and where the line after each begins.
    let mut segments: Vec<(Duration, usize)> = Vec::new();
    let mut duration = None;
    for line in lines(text)? {
        let line = line?;
        match line.kind() {
            Kind::Tag("EXTINF", value) => duration = extinf(value).map(|(duration, _)| duration),
            Kind::Uri(_) => {
                segments.extend(duration.take().map(|duration| (duration, line.at + line.raw.len())));
            }
            Kind::Tag("EXT-X-ENDLIST" | "EXT-X-PLAYLIST-TYPE" | "EXT-X-PART-INF" | "EXT-X-PART", _) => {
                return Ok(Start::AsIs);
            }
            _ => {}
        }
    }
    let newest = segments.iter().rev();
    if behind < PLAYERS_START {
        let durations = newest.take(behind.max(1) as usize).map(|(duration, _)| *duration);
        let before_end = durations.fold(Duration::ZERO, Duration::saturating_add);
        return Ok(if before_end.is_zero() { Start::AsIs } else { Start::Tell { before_end } });
    }
    let spare = segments.len().saturating_sub(PLAYERS_START as usize);
    let held = spare.min((behind - PLAYERS_START) as usize);
    let last_kept = segments.len().checked_sub(held + 1).filter(|_| held > 0);
    Ok(last_kept.map_or(Start::AsIs, |index| Start::Hold { from: segments[index].1 }))
}

impl Start {
    /// Whether the line stays.
    pub(super) fn keeps(&self, line: &Line<'_>) -> bool {
        match (self, line.kind()) {
            (Start::AsIs, _) => true,
            (Start::Hold { from }, kind) => line.at < *from || is_of_playlist(kind),
            (Start::Tell { .. }, kind) => !matches!(kind, Kind::Tag("EXT-X-START", _)),
        }
    }

    /// Writes what comes after the line.
    pub(super) fn insert_after(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        if let (Start::Tell { before_end }, Kind::Tag("EXTM3U", _)) = (self, line.kind()) {
            let end = line.end();
            out.extend_from_slice(
                format!("#EXT-X-START:TIME-OFFSET=-{:.3}", before_end.as_secs_f64()).as_bytes(),
            );
            out.extend_from_slice(end);
        }
    }
}

/// Tags of the whole playlist, which may stand anywhere. All others belong to the segment that follows them.
fn is_of_playlist(kind: Kind<'_>) -> bool {
    let Kind::Tag(name, _) = kind else { return false };
    let rest = name.strip_prefix("EXT-X-").unwrap_or_default();
    matches!(rest, "VERSION" | "TARGETDURATION" | "MEDIA-SEQUENCE" | "DISCONTINUITY-SEQUENCE" | "START")
        || matches!(
            rest,
            "INDEPENDENT-SEGMENTS" | "SERVER-CONTROL" | "DEFINE" | "DATERANGE" | "I-FRAMES-ONLY"
        )
}
