//! How far behind the live edge players are told to play.

use std::time::Duration;

use pcdn_core::fragment::FragmentError;

use crate::dash::mpd::{Mpd, Segments};
use crate::dash::value::span;

/// `behind` times the duration of the longest segment of the last period. `None` for a static manifest, and where none says
/// how long it is.
pub(super) fn delay(text: &[u8], behind: u32) -> Result<Option<Duration>, FragmentError> {
    let mpd = Mpd::parse(text)?;
    if !mpd.dynamic {
        return Ok(None);
    }
    // Each timeline is looked at once, in the level that has it.
    let mut longest = None;
    let mut look = |own: &Option<Segments>, outer: Option<Segments>| -> Option<Segments> {
        let Some(own) = own else { return outer };
        let written = own.timeline.iter().flat_map(|timeline| timeline.iter().map(|entry| entry.d)).max();
        let ticks = written.or(own.duration);
        let whole = own.clone().within(outer.as_ref());
        longest = longest.max(ticks.map(|ticks| span(ticks.into(), whole.timescale.unwrap_or(1))));
        Some(whole)
    };
    if let Some(period) = mpd.periods.iter().rev().find(|period| !period.remote) {
        let of_period = look(&period.segments, None);
        for set in &period.sets {
            let of_set = look(&set.segments, of_period.clone());
            for it in &set.representations {
                look(&it.segments, of_set.clone());
            }
        }
    }
    let each = longest.or(mpd.max_segment_duration);
    Ok(each.map(|each| each.saturating_mul(behind)))
}
