//! One request being served.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::layout::{Layout, PIECE_LOG2_MAX, PIECE_LOG2_MIN, PIECES_MAX, PieceKey, SegmentId};
use pcdn_core::transport::{Fetch, Grant};
use pcdn_core::unit::Time;

use crate::udp::frame::Req;
use crate::udp::subs::{SUB_BYTES_MAX, SUB_BYTES_MIN, SubSet};

#[derive(Debug)]
pub(super) struct Job {
    pub(super) req: Req,
    pub(super) until: Time,
    pub(super) bytes: Option<Bytes>,
    /// Sub-pieces sent since the piece was cut as it is now.
    pub(super) sent: u16,
    /// Held for its slot.
    pub(super) grant: Option<Grant>,
}

impl Job {
    pub(super) fn new(now: Time, req: Req, bytes: Option<Bytes>) -> Self {
        let until = now + Duration::from_millis(req.within_ms.into());
        Self { req, until, bytes, sent: 0, grant: None }
    }

    /// Whether `req` is about the same piece.
    pub(super) fn is_for(&self, req: &Req) -> bool {
        let key = |req: &Req| (req.swarm, req.segment, req.piece, req.len);
        key(&self.req) == key(req)
    }

    pub(super) fn span(&self, sub: u16) -> std::ops::Range<usize> {
        let start = usize::from(sub) * usize::from(self.req.sub_bytes);
        start..(start + usize::from(self.req.sub_bytes)).min(self.req.len as usize)
    }
}

/// What the provider is asked, if the request makes sense.
pub(super) fn fetch_of(req: &Req) -> Option<Fetch> {
    let fits = (SUB_BYTES_MIN..=SUB_BYTES_MAX).contains(&req.sub_bytes)
        && (1..=1 << PIECE_LOG2_MAX).contains(&req.len)
        && req.subs.last()? < req.len.div_ceil(u32::from(req.sub_bytes)) as u16;
    if !fits {
        return None;
    }
    // The server's own layout decides whether the piece exists; here it must only be a number that some layout has.
    let any = Layout::new(u64::from(PIECES_MAX) << PIECE_LOG2_MIN, PIECE_LOG2_MIN).ok()?;
    Some(Fetch {
        swarm: req.swarm,
        piece: PieceKey { segment: SegmentId(req.segment), piece: any.piece(req.piece)? },
        len: req.len,
        want: wanted(&req.subs, req.sub_bytes, req.len),
        class: req.class,
        within: Duration::from_millis(req.within_ms.into()),
    })
}

/// The set as byte ranges; empty if it is the whole piece.
fn wanted(subs: &SubSet, sub_bytes: u16, len: u32) -> Vec<std::ops::Range<u32>> {
    let mut ranges: Vec<std::ops::Range<u32>> = Vec::new();
    for sub in subs.iter() {
        let start = u32::from(sub) * u32::from(sub_bytes);
        let end = (start + u32::from(sub_bytes)).min(len);
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    if subs.len() == len.div_ceil(u32::from(sub_bytes)) as u16 { Vec::new() } else { ranges }
}
