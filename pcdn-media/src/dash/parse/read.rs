//! One element's attributes.

use std::time::Duration;

use pcdn_core::fragment::FragmentError;

use crate::dash::malformed;
use crate::dash::mpd::{
    AdaptationSet, Ahead, Base, Common, Entry, Mpd, Period, Representation, Segments, UrlRange, Way,
};
use crate::dash::value::{date, duration, positive, range, seconds};
use crate::dash::xml::{Attribute, Element};

pub(super) fn presentation(element: &Element<'_>) -> Result<Mpd, FragmentError> {
    let mut mpd = Mpd::default();
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "type" => mpd.dynamic = a.value()? == "dynamic",
            "availabilityStartTime" => mpd.availability_start = Some(a.read(date)?),
            "publishTime" => mpd.publish_time = Some(a.read(date)?),
            "minimumUpdatePeriod" => mpd.minimum_update_period = Some(a.read(duration)?),
            "timeShiftBufferDepth" => mpd.time_shift_buffer_depth = Some(a.read(duration)?),
            "mediaPresentationDuration" => mpd.duration = Some(a.read(duration)?),
            "suggestedPresentationDelay" => mpd.suggested_presentation_delay = Some(a.read(duration)?),
            "maxSegmentDuration" => mpd.max_segment_duration = Some(a.read(duration)?),
            _ => {}
        }
    }
    Ok(mpd)
}

pub(super) fn period(element: &Element<'_>) -> Result<Period, FragmentError> {
    let mut period = Period::default();
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "start" => period.start = Some(a.read(duration)?),
            "duration" => period.duration = Some(a.read(duration)?),
            "xlink:href" => period.remote = true,
            _ => {}
        }
    }
    Ok(period)
}

pub(super) fn set(element: &Element<'_>) -> Result<AdaptationSet, FragmentError> {
    let mut set = AdaptationSet::default();
    for attribute in element.attributes() {
        common(&mut set.common, &attribute?)?;
    }
    Ok(set)
}

pub(super) fn representation(element: &Element<'_>) -> Result<Representation, FragmentError> {
    let mut it = Representation::default();
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "id" => it.id = a.value()?.into_owned(),
            "bandwidth" => it.bandwidth = Some(a.read(number)?),
            _ => common(&mut it.common, &a)?,
        }
    }
    Ok(it)
}

fn common(common: &mut Common, a: &Attribute<'_>) -> Result<(), FragmentError> {
    match a.name {
        "mimeType" => common.mime = Some(a.value()?.into_owned()),
        "codecs" => common.codecs = Some(a.value()?.into_owned()),
        "width" => common.width = Some(a.read(number)?),
        "height" => common.height = Some(a.read(number)?),
        _ => {}
    }
    Ok(())
}

pub(super) fn base(element: &Element<'_>) -> Result<Base, FragmentError> {
    let mut base = Base::default();
    for attribute in element.attributes() {
        ahead(&mut base.ahead, &attribute?)?;
    }
    Ok(base)
}

pub(super) fn utc_timing(element: &Element<'_>) -> Result<(String, String), FragmentError> {
    let (mut scheme, mut value) = (String::new(), String::new());
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "schemeIdUri" => scheme = a.value()?.into_owned(),
            "value" => value = a.value()?.into_owned(),
            _ => {}
        }
    }
    Ok((scheme, value))
}

pub(super) fn segments(element: &Element<'_>, way: Way) -> Result<Segments, FragmentError> {
    let mut it = Segments::new(way);
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "timescale" => it.timescale = Some(a.read(positive)?),
            "presentationTimeOffset" => it.presentation_time_offset = Some(a.read(number)?),
            "duration" => it.duration = Some(a.read(number)?).filter(|ticks| *ticks > 0),
            "startNumber" => it.start_number = Some(a.read(number)?),
            "endNumber" => it.end_number = Some(a.read(number)?),
            "media" => it.media = Some(a.value()?.into_owned()),
            "initialization" => it.initialization = Some(a.value()?.into_owned()),
            "indexRange" => it.index_range = Some(a.read(range)?),
            _ => ahead(&mut it.ahead, &a)?,
        }
    }
    Ok(it)
}

fn ahead(ahead: &mut Ahead, a: &Attribute<'_>) -> Result<(), FragmentError> {
    match a.name {
        "availabilityTimeOffset" => {
            ahead.offset = a.read(|text| if text == "INF" { Some(Duration::MAX) } else { seconds(text) })?;
        }
        "availabilityTimeComplete" => ahead.complete = a.value()? != "false",
        _ => {}
    }
    Ok(())
}

/// A URL in attribute `url` and a range in attribute `within`.
pub(super) fn place(element: &Element<'_>, url: &str, within: &str) -> Result<UrlRange, FragmentError> {
    let mut place = UrlRange::default();
    for attribute in element.attributes() {
        let a = attribute?;
        if a.name == url {
            place.url = Some(a.value()?.into_owned());
        } else if a.name == within {
            place.range = Some(a.read(range)?);
        }
    }
    Ok(place)
}

pub(super) fn entry(element: &Element<'_>) -> Result<Entry, FragmentError> {
    let (mut t, mut d, mut r) = (None, None, 0);
    for attribute in element.attributes() {
        let a = attribute?;
        match a.name {
            "t" => t = Some(a.read(number)?),
            "d" => d = Some(a.read(positive)?),
            "r" => r = a.read(number)?,
            _ => {}
        }
    }
    let d = d.ok_or_else(|| malformed("an S without @d", element.span.start))?;
    Ok(Entry { t, d, r })
}

fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}
