//! The demo's film: pictures that are drawn and coded here, so that the demo needs no file and any player can show it.
//!
//! Everything follows from the [`Film`]'s size and the number of a picture, so whoever checks a viewer draws the pictures again.
//!
//! | module | makes |
//! |---|---|
//! | [`h264`] | a picture as H.264, uncompressed |
//! | [`fmp4`] | two seconds of pictures as a fragment of MP4 |
//! | [`flv`] | pictures as FLV tags |

pub(super) mod flv;
pub(super) mod fmp4;
pub(super) mod h264;

use h264::{Coder, Macroblocks};

/// Pictures a second.
pub(super) const FPS: u64 = 25;
/// Pictures from one keyframe to the next: two seconds.
pub(super) const GOP: u64 = 2 * FPS;

/// Widths and heights in macroblocks of 16 × 16, smallest first.
const SIZES: [Macroblocks; 5] =
    [Macroblocks(8, 5), Macroblocks(16, 9), Macroblocks(32, 18), Macroblocks(48, 27), Macroblocks(64, 36)];

/// A film without end, of about so many bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Film {
    size: Macroblocks,
    /// Macroblocks that a picture between keyframes changes.
    changed: u64,
}

impl Film {
    /// A film of about `rate` bytes a second; at least 16 kB, at most 11 MB.
    pub(super) fn of(rate: u64) -> Self {
        let per_gop = rate * GOP / FPS;
        // A keyframe takes a quarter of its two seconds at most, and all pictures changed whole would be more than enough.
        let fits = |size: &&Macroblocks| size.bytes() * 4 <= per_gop;
        let size = *SIZES.iter().rev().find(fits).unwrap_or(&SIZES[0]);
        let rest = per_gop.saturating_sub(size.bytes());
        Self { size, changed: (rest / (GOP - 1) / h264::MACROBLOCK_BYTES).min(size.count()) }
    }

    /// Width and height in pixels.
    pub(super) fn pixels(&self) -> (u16, u16) {
        self.size.pixels()
    }

    /// What a decoder needs before the first picture.
    pub(super) fn coder(&self) -> Coder {
        Coder::of(self.size)
    }

    /// Picture `number`, each of its units behind its length in four bytes.
    pub(super) fn picture(&self, number: u64) -> Vec<u8> {
        let in_gop = number % GOP;
        let all = self.size.count();
        let (first, count) = match in_gop {
            0 => (0, all),
            // A wipe that goes round the picture.
            _ => (in_gop * self.changed % all, self.changed),
        };
        let changes = |index: u64| (index + all - first) % all < count;
        self.coder().picture(number, in_gop, changes, |x, y| pixel(number, x, y))
    }
}

/// A texture that moves; never 0, so that no byte of it needs an escape in the stream.
fn pixel(number: u64, x: u64, y: u64) -> u8 {
    let wave = (x + 3 * number) ^ (y + number);
    (32 + wave % 191) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_has_about_the_bytes_asked_for() {
        for rate in [30_000, 280_000, 1_250_000, 2_800_000] {
            let film = Film::of(rate);
            let bytes: usize = (0..GOP).map(|number| film.picture(number).len()).sum();
            let made = bytes as u64 * FPS / GOP;
            assert!((rate * 7 / 10..=rate * 11 / 10).contains(&made), "{rate}: {made}");
        }
    }

    #[test]
    fn pictures_are_drawn_again_alike_and_differ_from_one_another() {
        let film = Film::of(100_000);
        let pictures: Vec<_> = (0..120).map(|number| film.picture(number)).collect();
        assert_eq!(pictures, (0..120).map(|number| film.picture(number)).collect::<Vec<_>>());
        let distinct: std::collections::BTreeSet<_> = pictures.iter().collect();
        assert_eq!(distinct.len(), 120);
    }
}
