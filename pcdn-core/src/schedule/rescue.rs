//! The rescue point: from which piece on the origin must be asked so that the player never waits.
//!
//! For a gap of missing pieces, fetching it from the origin takes T = first byte + bytes ÷ rate, on the pessimistic side of
//! what was measured. The origin is asked once the gap's first piece is due within 1.5·T + 0.5 s and no neighbour is expected
//! to deliver it in time. This is what makes "never worse than the origin alone" true.

use std::time::Duration;

use super::{Slot, View};
use crate::unit::Time;

/// Margin beside the estimate: a tick, a scheduling delay, a little jitter.
const MARGIN: Duration = Duration::from_millis(500);
/// Shortest rescue: below it the request costs more than the bytes.
const RUN_BYTES_MIN: u64 = 256 << 10;
/// Longest rescue in one request, so that it can be cut short when peers catch up.
const RUN_BYTES_MAX: u64 = 2 << 20;

/// The run the origin must be asked for now, if any: first slot and pieces.
pub fn due_run(view: &View<'_>) -> Option<(Slot, u32)> {
    let first = first_at_risk(view)?;
    let mut count = 0;
    let mut bytes = 0;
    for piece in &view.pieces[first.0 as usize..] {
        let safe = piece.held || piece.fetching || (bytes >= RUN_BYTES_MIN && piece.under_way());
        if safe || piece.due == Time::NEVER || bytes >= RUN_BYTES_MAX {
            break;
        }
        if bytes >= RUN_BYTES_MIN && piece.due > view.now + threshold(view, bytes) + MARGIN {
            break;
        }
        count += 1;
        bytes += u64::from(piece.len);
    }
    (count > 0).then_some((first, count))
}

/// How long before it is due a gap of `bytes` must be asked for.
pub fn threshold(view: &View<'_>, bytes: u64) -> Duration {
    let transfer = Duration::from_secs_f64(bytes as f64 / view.origin.rate.max(1) as f64);
    (view.origin.first_byte + transfer).mul_f64(1.5) + MARGIN
}

/// The first piece that is due soon and that no neighbour will bring in time.
fn first_at_risk(view: &View<'_>) -> Option<Slot> {
    let limit = view.now + threshold(view, RUN_BYTES_MIN);
    view.pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| !piece.held && !piece.fetching && piece.due <= limit)
        .map(|(at, piece)| (Slot(at as u32), piece.due))
        .find(|(slot, due)| !arrives_by(view, *slot, *due))
        .map(|(slot, _)| slot)
}

/// Whether a request under way will bring the piece before it is due, with room for a tick.
fn arrives_by(view: &View<'_>, slot: Slot, due: Time) -> bool {
    let piece = view.piece(slot);
    if piece.flights == 0 {
        return false;
    }
    view.flights.iter().filter(|flight| flight.slot == slot).any(|flight| {
        let late = view.now > flight.expected + Duration::from_millis(200);
        !late && flight.expected + Duration::from_millis(100) <= due
    })
}
