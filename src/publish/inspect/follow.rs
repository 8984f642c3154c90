//! Continuous live streams (HTTP-FLV): slices as they are cut.

use std::time::Duration;

use futures_util::StreamExt as _;
use pcdn_core::fragment::{Cut, FragmentError, Fragmenter, Need, Part, Slice, Slicing};
use pcdn_core::id::{Digest, Rid};
use pcdn_core::layout::LayoutError;
use pcdn_core::origin::{Origin, OriginBody, OriginGet};
use pcdn_core::resource::{Resource, Url};
use pcdn_core::unit::Time;
use pcdn_media::flv;

use super::source::failed;
use super::{SegmentReport, report};
use crate::publish::PublishError;

/// Pause before a stream that broke off is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads the stream at `url` for ever and gives every slice (of HTTP-FLV: every part of one), until `each` gives `false`. After a break it is read anew; then
/// slices may come twice.
///
/// # Errors
/// If it cannot be opened at first, or is no live stream.
pub async fn read_slices(
    origin: &dyn Origin,
    fragmenter: &dyn Fragmenter,
    url: &Url,
    mut each: impl FnMut(Slice) -> bool,
) -> Result<(), PublishError> {
    let want = OriginGet::whole(url.clone());
    let mut body = origin.get(&want).await.map_err(failed(url))?;
    loop {
        let resource = Resource { url: url.clone(), rid: Rid([0; 32]), head: Some(body.head.clone()) };
        let mut slicing = fragmenter.open(&resource)?;
        if !matches!(slicing.need(), Need::Stream(_)) {
            return Err(PublishError::NotLive);
        }
        match read(&mut body, slicing.as_mut(), &mut each).await {
            Ok(false) => return Ok(()),
            Ok(true) => tracing::info!("the stream ended; reading it again"),
            Err(error) => tracing::warn!(%error, "reading the stream again"),
        }
        body = loop {
            tokio::time::sleep(AGAIN).await;
            match origin.get(&want).await {
                Ok(body) => break body,
                Err(error) => tracing::warn!(%error, "the stream cannot be opened"),
            }
        };
    }
}

/// Reads to the end; whether more is wanted.
async fn read(
    body: &mut OriginBody,
    slicing: &mut dyn Slicing,
    each: &mut impl FnMut(Slice) -> bool,
) -> Result<bool, FragmentError> {
    while let Some(chunk) = body.bytes.next().await {
        let Ok(chunk) = chunk.inspect_err(|error| tracing::info!(%error, "the stream broke off")) else {
            break;
        };
        slicing.supply(Time::ZERO, Part::Bytes(chunk))?;
        while let Some(cut) = slicing.cut() {
            if let Cut::Sliced(slice) = cut
                && !each(slice)
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The report of a slice and its parts; `None` without parts.
///
/// # Errors
/// If they are longer together than a slice may be.
pub fn report_slice(parts: &[Slice], hash: bool) -> Result<Option<SegmentReport>, LayoutError> {
    let one = |slice: &Slice| {
        let hash = hash.then(|| Digest(*blake3::hash(&slice.bytes).as_bytes()));
        report(&slice.segment, hash)
    };
    let Some(whole) = flv::put_together(parts)? else { return Ok(None) };
    let mut report = one(&whole);
    report.parts = parts.iter().map(one).collect();
    // Each part has pieces of its own.
    report.pieces = report.parts.iter().map(|part| part.pieces).sum();
    Ok(Some(report))
}
