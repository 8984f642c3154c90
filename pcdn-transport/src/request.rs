//! A fetch as bytes, for transports that ask on a byte stream.
//!
//! Swarm 32, segment 8, piece 4, length 4, class 1, within 4 (milliseconds), then the wanted ranges, each start 4 and end 4;
//! all integers big-endian.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PIECE_LOG2_MAX, PIECE_LOG2_MIN, PIECES_MAX, PieceKey, SegmentId};
use pcdn_core::transport::{Class, Fetch};

/// Ranges of one fetch at most: more would mean a piece in crumbs.
const RANGES_MAX: usize = 1024;
/// Bytes of a fetch at most.
pub(crate) const FETCH_BYTES_MAX: usize = 32 + 8 + 4 + 4 + 1 + 4 + RANGES_MAX * 8;

pub(crate) fn put_fetch(want: &Fetch, out: &mut BytesMut) {
    out.put_slice(&want.swarm.0);
    out.put_u64(want.piece.segment.0);
    out.put_u32(want.piece.piece.get());
    out.put_u32(want.len);
    out.put_u8(want.class as u8);
    out.put_u32(u32::try_from(want.within.as_millis()).unwrap_or(u32::MAX));
    for range in asked(want) {
        out.put_u32(range.start);
        out.put_u32(range.end);
    }
}

/// The ranges that go on the wire. What is beyond the bound is not asked for; asking for all instead keeps the promise.
pub(crate) fn asked(want: &Fetch) -> &[Range<u32>] {
    if want.want.len() > RANGES_MAX { &[] } else { &want.want }
}

/// Reads what [`put_fetch`] wrote; `None` if it makes no sense.
pub(crate) fn get_fetch(body: &mut Bytes) -> Option<Fetch> {
    let mut swarm = [0; 32];
    body.try_copy_to_slice(&mut swarm).ok()?;
    let segment = SegmentId(body.try_get_u64().ok()?);
    // The server's own layout decides whether the piece exists; here it must only be a number that some layout has.
    let any = Layout::new(u64::from(PIECES_MAX) << PIECE_LOG2_MIN, PIECE_LOG2_MIN).ok()?;
    let piece = any.piece(body.try_get_u32().ok()?)?;
    let len = body.try_get_u32().ok().filter(|len| (1..=1 << PIECE_LOG2_MAX).contains(len))?;
    let class = match body.try_get_u8().ok()? {
        0 => Class::Background,
        1 => Class::Normal,
        2 => Class::Urgent,
        _ => return None,
    };
    let within = Duration::from_millis(body.try_get_u32().ok()?.into());
    if !body.len().is_multiple_of(8) || body.len() / 8 > RANGES_MAX {
        return None;
    }
    let want = std::iter::from_fn(|| Some(body.try_get_u32().ok()?..body.try_get_u32().ok()?)).collect();
    Some(Fetch { swarm: SwarmKey(swarm), piece: PieceKey { segment, piece }, len, want, class, within })
}
