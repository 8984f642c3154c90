//! `pcdn get`: one download.

mod output;
mod progress;
mod report;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::resource::Url;

use super::compose::{Composed, Keep, admin, compose, room};
use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::{Config, Loaded};
use crate::gateway::range::parse_plain;
use crate::node::{Asset, OpenError, Reader, SwarmReport};

use output::{Output, Target};
use report::Report;

/// A download to which not a byte was added for so long is given up. Longer than any origin retry and than the time peers
/// need to be found anew.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often the progress line is rewritten.
const TICK: Duration = Duration::from_millis(250);

/// A download that is done goes on giving for this long while its neighbours still take. Whoever is done first would otherwise
/// take a part of the swarm's uplink away from those who gave it theirs (8 homes: the first left 9 s before the last).
const COURTESY: Duration = Duration::from_secs(4);

/// How long a download that ends early waits for its last figures: the swarm's task answers between two pieces.
const LAST_FIGURES: Duration = Duration::from_millis(500);

/// What was downloaded.
struct Got {
    asset: Option<Asset>,
    bytes: u64,
    sha256: String,
    report: SwarmReport,
}

/// How far a download came, for the report of one that ends early.
#[derive(Default)]
struct Reached {
    asset: OnceLock<Asset>,
    /// Bytes of what no fragmenter can cut.
    plain: AtomicU64,
    /// The disk has no room for the file and its pieces.
    no_room: AtomicBool,
}

/// Runs the verb.
pub(crate) async fn run(url: &str, loaded: &Loaded) -> Result<Exit, Failure> {
    let config = &loaded.config;
    let url: Url = url
        .parse()
        .map_err(|e| Failure::new(Exit::Usage, format!("{url}: {e}; write http://… or https://…")))?;
    let target = Target::of(&url, config)?;
    let mut stop = Stop::catch()?;
    if let Some(exit) = attempt(&url, &target, config, &mut stop).await? {
        return Ok(exit);
    }
    let target = target.without_store();
    Ok(attempt(&url, &target, config, &mut stop).await?.unwrap_or(Exit::Disk))
}

/// Downloads; `None` if the disk has no room for the pieces beside the file, which then are to be kept elsewhere.
async fn attempt(
    url: &Url,
    target: &Target,
    config: &Config,
    stop: &mut Stop,
) -> Result<Option<Exit>, Failure> {
    let (started, goes_on) = (Instant::now(), target.has_store());
    let keep = target.store_beside().map_or(Keep::Memory, Keep::Beside);
    let composed = compose(config, keep).await?;
    let admin = admin(config, &composed, None).await?;
    let (me, reached) = (composed.node.peer_id(), Reached::default());
    let outcome = tokio::select! {
        outcome = download(&composed, url, target, config, &reached) => outcome,
        () = stop.asked() => Err(Failure::new(Exit::Interrupted, "interrupted; the same command goes on from here")),
    };
    let exit = match outcome {
        Ok(Got { asset, bytes, sha256, report }) => {
            let done = (bytes, Some(sha256));
            let report = Report::new(url, asset.as_ref(), done, report, started.elapsed(), me)
                .carried(&composed.origin.traffic());
            let told = report.tell(target, config.json);
            if config.get.seed && told.is_ok() {
                let places: Vec<_> =
                    composed.node.record().addrs.iter().map(|a| ("peer", tell::place(a))).collect();
                tell::ready(&places);
                stop.asked().await;
            } else if let Some(asset) = asset {
                tokio::select! {
                    () = asset.serve_out(COURTESY) => {}
                    () = stop.asked() => {}
                }
            }
            told
        }
        Err(failure) if reached.no_room.load(Ordering::Relaxed) => Err(failure),
        Err(failure) => {
            progress::end();
            // People get the one line of the failure; who scripts wants to know what was reached, and who was banned.
            if config.json {
                let swarm = reached.figures().await;
                let so_far = (swarm.from_origin + swarm.from_peers + swarm.from_cache, None);
                Report::new(url, reached.asset.get(), so_far, swarm, started.elapsed(), me)
                    .carried(&composed.origin.traffic())
                    .tell(target, true)?;
            }
            Err(failure)
        }
    };
    if let Some(admin) = admin {
        admin.shutdown().await;
    }
    composed.shutdown(stop.grace()).await;
    drop(composed);
    let no_room = reached.no_room.load(Ordering::Relaxed);
    // Of a run that came to nothing there is nothing to go on from.
    if exit.is_ok() || no_room || (!goes_on && reached.is_nothing()) {
        target.forget_store().await;
    }
    if no_room { Ok(None) } else { exit.map(Some) }
}

impl Reached {
    fn is_nothing(&self) -> bool {
        self.asset.get().is_none()
    }

    async fn figures(&self) -> SwarmReport {
        let Some(asset) = self.asset.get() else {
            let bytes = self.plain.load(Ordering::Relaxed);
            return of_origin(bytes);
        };
        // A swarm that does not answer any more has no figures; that is not worth the time a stop may take.
        tokio::time::timeout(LAST_FIGURES, asset.report()).await.unwrap_or_default()
    }
}

/// The figures of what came from the origin alone.
fn of_origin(bytes: u64) -> SwarmReport {
    SwarmReport { bytes, from_origin: bytes, integrity: "origin".into(), ..SwarmReport::default() }
}

async fn download(
    composed: &Composed,
    url: &Url,
    target: &Target,
    config: &Config,
    reached: &Reached,
) -> Result<Got, Failure> {
    let failed = |error: OpenError| Failure::of_open(url, &error);
    let asset = match composed.node.open(url).await {
        Ok(asset) => asset,
        Err(OpenError::Fragment(why)) if config.get.range.is_none() => {
            tracing::info!(%why, "taken from the origin alone");
            return plain(composed, url, target, config, &reached.plain, 0).await;
        }
        Err(error) => return Err(failed(error)),
    };
    if target.lacks_room(asset.len()) {
        reached.no_room.store(true, Ordering::Relaxed);
        return Err(Failure::new(Exit::Disk, "no room for the file and its pieces"));
    }
    let asset = reached.asset.get_or_init(|| asset).clone();
    let range = match config.get.range.as_deref().and_then(parse_plain) {
        None => 0..asset.len(),
        Some((first, last)) if first < asset.len() => {
            first..last.map_or(asset.len(), |last| last.saturating_add(1).min(asset.len()))
        }
        Some((first, _)) => {
            return Err(Failure::other(format!(
                "--range: byte {first} lies outside the {} bytes of {url}",
                asset.len()
            )));
        }
    };
    // A download wants pieces in whatever order serves the swarm. That needs room for all of them; a part, a pipe or a file
    // larger than the cache is read in order.
    let is_part = range.end - range.start < asset.len();
    let room = if target.store_beside().is_some() { u64::MAX } else { room(&config.node).0 };
    let in_order = is_part || target.is_pipe() || asset.len() > room;
    let reader = if in_order { asset.read(range.clone()) } else { asset.follow(range.clone()) };
    let output = Output::create(target)?;
    let watched = progress::watch(&asset, range.end - range.start, STUCK_AFTER, TICK);
    let given = AtomicU64::new(0);
    let copied = tokio::select! {
        copied = copy(reader, output, &given) => copied,
        Err(error) = complete(&asset, in_order) => return Err(failed(error)),
        () = watched => {
            let line = format!("nothing came for {} s; the same command goes on from here", STUCK_AFTER.as_secs());
            return Err(Failure::new(Exit::TimedOut, format!("{}: {line}", super::exit::shown(url))));
        }
    };
    progress::end();
    let output = match copied {
        Err(CopyError::Open(error)) if gives_no_parts(&error) && config.get.range.is_none() => {
            tracing::info!("the origin gives no parts any more: taken from it whole");
            let written = if target.is_pipe() { given.into_inner() } else { 0 };
            return plain(composed, url, target, config, &reached.plain, written).await;
        }
        copied => copied.map_err(|error| error.failure(url))?,
    };
    let bytes = output.bytes;
    let checked = output.finish(target, config.get.sha256.as_deref());
    if checked.as_ref().is_err_and(|failure| failure.exit == Exit::Integrity) {
        // What is kept would only give the same wrong bytes again.
        composed.node.forget(&asset.swarm()).await;
        target.forget_store().await;
    }
    let report = asset.report().await;
    Ok(Got { bytes, sha256: checked?, report, asset: Some(asset) })
}

/// Wants everything, if order does not matter; ends only with an error that no reader is told.
async fn complete(asset: &Asset, in_order: bool) -> Result<(), OpenError> {
    if !in_order
        && let Err(error) = asset.complete().await
        && !gives_no_parts(&error)
    {
        return Err(error);
    }
    std::future::pending().await
}

/// Whether the origin ignores or garbles ranges: the whole is still to be had.
fn gives_no_parts(error: &OpenError) -> bool {
    matches!(error, OpenError::Origin(OriginError::Status { status: 200, .. }))
}

enum CopyError {
    Open(OpenError),
    Output(Failure),
}

impl CopyError {
    fn failure(self, url: &Url) -> Failure {
        match self {
            Self::Open(error) => Failure::of_open(url, &error),
            Self::Output(failure) => failure,
        }
    }
}

/// `given` counts what was written.
async fn copy(
    mut reader: Reader,
    mut output: Output,
    given: &AtomicU64,
) -> Result<output::Written, CopyError> {
    while let Some(bytes) = reader.next().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                // Whoever writes there next comes after what is under way. What that fails with does not matter any more.
                let _ = output.close().await;
                return Err(CopyError::Open(error));
            }
        };
        given.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        output.write(bytes).await.map_err(CopyError::Output)?;
    }
    output.close().await.map_err(CopyError::Output)
}

/// What cannot be cut, from the origin alone. The first `written` bytes are there already.
async fn plain(
    composed: &Composed,
    url: &Url,
    target: &Target,
    config: &Config,
    reached: &AtomicU64,
    written: u64,
) -> Result<Got, Failure> {
    let failed = |error| Failure::of_open(url, &OpenError::Origin(error));
    let mut output = Output::after(target, written)?;
    let mut body = composed.node.origin().get(&OriginGet::whole(url.clone())).await.map_err(failed)?;
    while let Some(bytes) = body.bytes.next().await {
        let bytes = bytes.map_err(failed)?;
        reached.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        output.write(bytes).await?;
    }
    let written = output.close().await?;
    let bytes = written.bytes;
    let sha256 = written.finish(target, config.get.sha256.as_deref())?;
    Ok(Got { asset: None, bytes, sha256, report: of_origin(bytes) })
}
