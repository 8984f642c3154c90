//! `pcdn inspect` of live streams: a glance, or for a while.

use std::time::Duration;

use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::Origin;
use pcdn_core::resource::Resource;
use pcdn_media::flv;

use super::{Subject, failure, table};
use crate::cli::stop::Stop;
use crate::cli::{Exit, Failure, tell};
use crate::config::Config;
use crate::publish::{Inspection, PublishError, SegmentReport, read_slices, report_slice};

/// How long a continuous stream is read to see how it is cut, and how many slices are enough.
const GLANCE: Duration = Duration::from_secs(15);
const GLANCE_SLICES: usize = 3;

/// Prints each segment as it is cut, for `span` or until the stream ends.
pub(super) async fn run(subject: Subject, span: Duration, config: &Config) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    let mut broken = None;
    let mut tell = |segment: SegmentReport| {
        let told =
            if config.json { tell::json(&segment) } else { tell::out(table::line(&segment).trim_end()) };
        broken = told.err();
        broken.is_none()
    };
    let following = async {
        match subject {
            Subject::Document(inspector, url) => inspector.follow(&url, config.inspect.rendition, tell).await,
            Subject::Stream(http, fragmenter, resource) => {
                let hash = config.inspect.hash;
                slices(&http, &*fragmenter, &resource, &mut tell, hash).await
            }
            Subject::Whole(..) | Subject::File(..) => Err(PublishError::NotLive),
        }
    };
    let followed = tokio::select! {
        followed = tokio::time::timeout(span, following) => followed,
        () = stop.asked() => return Ok(Exit::Done),
    };
    match (followed, broken) {
        (_, Some(broken)) => Err(broken),
        (Ok(Err(error)), None) => Err(failure(error)),
        // Its end, or the end of the time.
        (Ok(Ok(())) | Err(_), None) => Ok(Exit::Done),
    }
}

/// The first slices of a continuous stream that every viewer cuts alike.
pub(super) async fn glance(
    origin: &dyn Origin,
    fragmenter: &dyn Fragmenter,
    resource: &Resource,
    hash: bool,
) -> Result<Inspection, Failure> {
    let mut segments = Vec::new();
    let reading = slices(
        origin,
        fragmenter,
        resource,
        |segment| {
            segments.push(segment);
            segments.len() < GLANCE_SLICES
        },
        hash,
    );
    if let Ok(Err(error)) = tokio::time::timeout(GLANCE, reading).await {
        return Err(failure(error));
    }
    let rule = fragmenter.rule();
    Ok(Inspection {
        url: resource.url.to_string(),
        kind: fragmenter.name().to_owned(),
        live: true,
        rid: Some(resource.rid),
        rule,
        swarm: Some(SwarmKey::of(&resource.rid, &rule)),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        renditions: Vec::new(),
        segments,
    })
}

/// Tells every slice but provisional ones: those depend on when the stream was joined.
async fn slices(
    origin: &dyn Origin,
    fragmenter: &dyn Fragmenter,
    resource: &Resource,
    mut tell: impl FnMut(SegmentReport) -> bool,
    hash: bool,
) -> Result<(), PublishError> {
    let mut gather = flv::Gather::default();
    let mut failed = None;
    read_slices(origin, fragmenter, &resource.url, |part| {
        let whole = if flv::provisional(&part) { None } else { gather.push(part) };
        let Some(parts) = whole else { return true };
        match report_slice(&parts, hash) {
            Ok(report) => report.is_none_or(&mut tell),
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    })
    .await?;
    failed.map_or(Ok(()), |error| Err(PublishError::Fragment(error.into())))
}
