//! How long a media file plays, as its first bytes say: with its length that is how fast it plays in the mean.
//!
//! A hint for scheduling and nothing else: what a file says of itself may be wrong.
//!
//! ```
//! use std::time::Duration;
//! let film = [&b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12....script..onMetaData\x08\0\0\0\x01\0\x08duration\0"[..], &60f64.to_be_bytes()].concat();
//! assert_eq!(pcdn_media::duration::of(&film), Some(Duration::from_secs(60)));
//! ```

use std::time::Duration;

use crate::isobmff::{Found, Sidx, boxes};

/// Nothing that plays shorter or longer is believed: a slide, and a week.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long the file plays whose first bytes these are. Knows MP4 whose header or index stands in front, and FLV with a script
/// tag; 64 KiB are mostly enough.
pub fn of(first: &[u8]) -> Option<Duration> {
    let seconds = if first.starts_with(b"FLV") { flv(first) } else { mp4(first) }?;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (SHORTEST..=LONGEST).contains(&duration).then_some(duration)
}

/// A number named `duration` in the script data (Adobe FLV 10.1, E.5): two bytes of length, the name, the marker of a number.
fn flv(first: &[u8]) -> Option<f64> {
    const NAMED: &[u8] = b"\0\x08duration\0";
    let at = first.windows(NAMED.len()).position(|window| window == NAMED)?;
    Some(f64::from_be_bytes(*first.get(at + NAMED.len()..)?.first_chunk()?))
}

/// The movie's length (`mvhd`, ISO/IEC 14496-12 section 8.2.2); of a file in fragments that of all of them (`mehd`, 8.8.2), or
/// what its index lists.
fn mp4(first: &[u8]) -> Option<f64> {
    let moov = child(first, *b"moov");
    let header = moov.and_then(|moov| header(child(moov.payload, *b"mvhd")?.payload));
    if let (Some(moov), Some((timescale, ticks))) = (moov, header) {
        let fragments = || number(child(child(moov.payload, *b"mvex")?.payload, *b"mehd")?.payload, 4);
        let ticks = if ticks > 0 { Some(ticks) } else { fragments().filter(|ticks| *ticks > 0) };
        if let Some(ticks) = ticks {
            return Some(ticks as f64 / timescale as f64);
        }
    }
    let index = Sidx::read(child(first, *b"sidx")?.payload)?;
    let ticks: u64 = index.references.iter().map(|reference| u64::from(reference.duration)).sum();
    Some(ticks as f64 / f64::from(index.timescale))
}

fn child(bytes: &[u8], name: [u8; 4]) -> Option<Found<'_>> {
    boxes(bytes).find(|found| found.name == name)
}

/// Time scale, never 0, and length in ticks, 0 if unknown: after two dates as long as the length is.
fn header(mvhd: &[u8]) -> Option<(u32, u64)> {
    let at = if *mvhd.first()? == 0 { 12 } else { 20 };
    let timescale = u32::from_be_bytes(*mvhd.get(at..)?.first_chunk()?);
    let ticks = number(mvhd, at + 4)?;
    let unknown = if *mvhd.first()? == 0 { u64::from(u32::MAX) } else { u64::MAX };
    (timescale > 0).then_some((timescale, if ticks == unknown { 0 } else { ticks }))
}

/// A number of a full box: 32 bits in version 0, 64 in version 1.
fn number(full_box: &[u8], at: usize) -> Option<u64> {
    let rest = full_box.get(at..)?;
    match *full_box.first()? {
        0 => Some(u64::from(u32::from_be_bytes(*rest.first_chunk()?))),
        _ => Some(u64::from_be_bytes(*rest.first_chunk()?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isobmff::make::{boxed, sidx};

    fn mvhd(timescale: u32, ticks: u32) -> Vec<u8> {
        let payload = [&[0; 12][..], &timescale.to_be_bytes(), &ticks.to_be_bytes(), &[0; 80]].concat();
        boxed(b"mvhd", &payload)
    }

    fn check(file: &[u8], seconds: Option<f64>) {
        assert_eq!(of(file), seconds.map(Duration::from_secs_f64));
    }

    #[test]
    fn a_movie_says_it_in_its_header_though_the_header_be_cut_off() {
        let moov = boxed(b"moov", &[mvhd(1_000, 61_500), boxed(b"trak", &[1; 500])].concat());
        let film = [boxed(b"ftyp", b"isom"), moov, boxed(b"mdat", &[7; 50])].concat();
        check(&film, Some(61.5));
        check(&film[..200], Some(61.5));
        check(&film[..30], None);
    }

    #[test]
    fn large_numbers_are_read_as_such() {
        let payload = [&[1, 0, 0, 0][..], &[0; 16], &90_000u32.to_be_bytes(), &180_000u64.to_be_bytes()];
        check(&boxed(b"moov", &boxed(b"mvhd", &payload.concat())), Some(2.0));
    }

    #[test]
    fn a_movie_in_fragments_says_it_beside_or_in_its_index() {
        let mehd = boxed(b"mehd", &[[0; 4], 5_000u32.to_be_bytes()].concat());
        let beside = boxed(b"moov", &[mvhd(1_000, 0), boxed(b"mvex", &mehd)].concat());
        check(&beside, Some(5.0));
        let plain = boxed(b"moov", &mvhd(600, 0));
        check(&plain, None);
        let index = sidx(0, 0, &[(false, 700, 2_000), (false, 90, 4_500)]);
        check(&[plain, index].concat(), Some(6.5));
        check(&boxed(b"moov", &mvhd(600, u32::MAX)), None);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        check(&boxed(b"moov", &mvhd(0, 5)), None);
        check(&boxed(b"moov", &mvhd(1_000, 20)), None);
        check(&boxed(b"moov", &mvhd(1, 4_000_000_000)), None);
        for bad in [f64::NAN, f64::INFINITY, -5.0, 0.0] {
            check(&[&b"FLV\x01\0\x08duration\0"[..], &bad.to_be_bytes()].concat(), None);
        }
        check(b"FLV\x01\0\x08duration\0\x40", None);
        check(b"", None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
            of(&bytes);
            let mut film = boxed(b"moov", &mvhd(1_000, 61_500));
            film.truncate(at);
            of(&[film, bytes].concat());
        }
    }
}
