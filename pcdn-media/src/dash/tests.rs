mod expand;
mod live;
mod property;
mod rewrite;
mod suite;

use pcdn_core::Bytes;
use pcdn_core::fragment::{Cut, FragmentError, Fragmenter, Listing, Need, Part, Slicing};
use pcdn_core::id::Rid;
use pcdn_core::resource::{Resource, Url};
use pcdn_core::unit::Time;

use super::Dash;

pub(super) const HOME: &str = "https://cdn.test/a/m.mpd";

pub(super) fn url(text: &str) -> Url {
    text.parse().unwrap()
}

pub(super) fn resource(home: &str) -> Resource {
    Resource { url: url(home), rid: Rid([7; 32]), head: None }
}

pub(super) fn open(dash: Dash) -> Box<dyn Slicing> {
    dash.open(&resource(HOME)).unwrap()
}

pub(super) fn give(slicing: &mut dyn Slicing, at: Time, text: &str) -> Result<Vec<Cut>, FragmentError> {
    slicing.supply(at, Part::Document(url(HOME), Bytes::copy_from_slice(text.as_bytes())))?;
    Ok(drain(slicing))
}

pub(super) fn drain(slicing: &mut dyn Slicing) -> Vec<Cut> {
    std::iter::from_fn(|| slicing.cut()).collect()
}

/// What a manifest lists at once, without a clock.
pub(super) fn cuts(text: &str) -> Vec<Cut> {
    give(&mut *open(Dash::default()), Time::ZERO, text).unwrap()
}

pub(super) fn listings(cuts: &[Cut]) -> Vec<Listing> {
    cuts.iter().filter_map(|cut| if let Cut::Listed(it) = cut { Some(it.clone()) } else { None }).collect()
}

/// A listing in short: path and query below `/a/` or whole URL, `@range`, `=start+duration` in ms, marks.
pub(super) fn short(it: &Listing) -> String {
    let text = it.url.as_str();
    let mut short = text.strip_prefix("https://cdn.test/a/").unwrap_or(text).to_owned();
    if let Some(range) = it.range {
        short += &format!("@{}-{}", range.start(), range.end());
    }
    if let (Some(start), Some(duration)) = (it.start, it.duration) {
        short += &format!("={}+{}", start.as_millis(), duration.as_millis());
    }
    if it.init {
        short += " init";
    }
    if it.discontinuity {
        short += " break";
    }
    short
}

pub(super) fn shorts(cuts: &[Cut]) -> Vec<String> {
    listings(cuts).iter().map(short).collect()
}

/// A static manifest of 8 s with one set `inside` one period.
pub(super) fn film(inside: &str) -> String {
    format!(
        "<MPD mediaPresentationDuration=\"PT8S\"><Period><AdaptationSet>{inside}</AdaptationSet></Period></MPD>"
    )
}

pub(super) fn document_need(slicing: &dyn Slicing) -> Option<(Url, Time)> {
    match slicing.need() {
        Need::Document { url, at } => Some((url, at)),
        _ => None,
    }
}
