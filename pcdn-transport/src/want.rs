//! Which bytes of a piece a fetch wants, in normal form.

use std::ops::Range;

/// Bytes of a chunk at most: few enough chunks to be cheap, small enough to show progress.
pub(crate) const CHUNK_BYTES: u32 = 16 * 1024;

/// The wanted ranges sorted, merged and inside the piece; all of it if none is named.
pub(crate) fn ranges(want: &[Range<u32>], len: u32) -> Vec<Range<u32>> {
    let whole = std::iter::once(0..len).filter(|_| want.is_empty());
    let mut ranges: Vec<_> = want
        .iter()
        .cloned()
        .chain(whole)
        .map(|r| r.start..r.end.min(len))
        .filter(|r| r.start < r.end)
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The same, cut into pieces of at most [`CHUNK_BYTES`].
pub(crate) fn chunks(want: &[Range<u32>], len: u32) -> impl Iterator<Item = Range<u32>> + use<> {
    ranges(want, len).into_iter().flat_map(|range| {
        let end = range.end;
        range
            .step_by(CHUNK_BYTES as usize)
            .map(move |start| start..end.min(start.saturating_add(CHUNK_BYTES)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_merged_and_clipped() {
        let spans =
            |ranges: Vec<Range<u32>>| ranges.into_iter().map(|r| (r.start, r.end)).collect::<Vec<_>>();
        assert_eq!(spans(ranges(&[], 10)), [(0, 10)]);
        assert_eq!(spans(ranges(&[5..7, 6..99, 1..2, 4..4], 10)), [(1, 2), (5, 10)]);
        let cut = chunks(&[1..9, 20..40_000], 50_000).collect();
        assert_eq!(spans(cut), [(1, 9), (20, 16_404), (16_404, 32_788), (32_788, 40_000)]);
    }
}
