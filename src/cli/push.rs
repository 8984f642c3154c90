//! `pcdn push`: a push node, or a call to one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pcdn_core::resource::Url;
use pcdn_core::warmup::Pace;

use super::compose::{Keep, admin, compose};
use super::stop::Stop;
use super::{Exit, Failure, exit, tell};
use crate::config::{Config, PushConfig};
use crate::push::api::{BudgetBody, PushBody, PushedBody, RegionBody, StatusBody, TargetBody};
use crate::push::{Call, CallError, PushNode, PushNodeConfig, PushNodeError, Regions};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the verb.
pub(crate) async fn run(urls: &[String], config: &Config) -> Result<Exit, Failure> {
    let push = &config.push;
    let urls = urls.iter().map(|text| parse(text)).collect::<Result<Vec<Url>, _>>()?;
    let token = push.token.as_deref().map(token).transpose()?;
    if push.status || push.cancel || push.node.is_some() {
        let call = Call::new(place(push)?, token).map_err(failed)?;
        return match (push.status, push.cancel) {
            (_, true) => cancel(&call, &urls, config.json).await,
            (true, _) => status(&call, &urls, config.json).await,
            _ => order(&call, &urls, config).await,
        };
    }
    serve(urls, config, token).await
}

fn parse(text: &str) -> Result<Url, Failure> {
    let usage =
        |why: String| Failure::new(Exit::Usage, format!("{text}: {why}; write http://… or https://…"));
    let url: Url = text.parse().map_err(|e: url::ParseError| usage(e.to_string()))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(usage("cannot be pushed".into())) }
}

fn token(file: &str) -> Result<String, Failure> {
    let fault = |why: String| Failure::new(Exit::Config, format!("--push-token {file}: {why}"));
    let text = std::fs::read_to_string(file).map_err(|e| fault(e.to_string()))?;
    let token = text.trim().to_owned();
    let plain = (16..=1024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(token) } else { Err(fault("a token is one word of 16 to 1024 characters".into())) }
}

/// Where the running push node is.
fn place(push: &PushConfig) -> Result<Url, Failure> {
    match &push.node {
        Some(url) => Ok(url.clone()),
        None => format!("http://{}", push.api).parse().map_err(Failure::other),
    }
}

/// Names of regions where copies shall be; those with addresses only say where a region is.
fn wanted(push: &PushConfig) -> Vec<String> {
    push.region.iter().filter(|line| !line.contains('=')).cloned().collect()
}

/// Which renditions of playlists.
fn renditions(push: &PushConfig) -> Result<Vec<u32>, Failure> {
    let number = |text: &String| {
        let wrong = |_| {
            Failure::new(Exit::Usage, format!("--rendition {text}: write a number, as pcdn inspect shows"))
        };
        text.parse().map_err(wrong)
    };
    push.rendition.iter().map(number).collect()
}

fn body(urls: &[Url], push: &PushConfig) -> Result<PushBody, Failure> {
    Ok(PushBody {
        urls: urls.to_vec(),
        renditions: renditions(push)?,
        target: TargetBody::Copies(push.copies),
        regions: wanted(push),
        by_s: push.deadline.0.as_secs(),
        hold_s: push.hold.0.as_secs(),
        budget: BudgetBody {
            cdn_bytes: push.cdn_budget,
            peer_rate: (!push.peer_rate.is_unlimited()).then_some(push.peer_rate),
        },
        forecast: 0,
    })
}

/// Is a push node until it is stopped.
async fn serve(urls: Vec<Url>, config: &Config, token: Option<String>) -> Result<Exit, Failure> {
    let push = &config.push;
    let mut stop = Stop::catch()?;
    let tables = push.region.iter().map(String::as_str).filter(|line| line.contains('='));
    let regions = Regions::parse(tables).map_err(|e| Failure::new(Exit::Config, format!("--region {e}")))?;
    let composed = compose(config, Keep::Memory).await?;
    let setup = PushNodeConfig {
        listen: push.api,
        token,
        hosts: push.hosts.clone(),
        regions,
        trackers: config.node.tracker.clone(),
        pace: Pace { ask: push.ask_every.0, report: push.report_every.0 },
    };
    let dice = crate::dice().map_err(Failure::other)?;
    let node = PushNode::start(composed.node.clone(), setup, dice).await.map_err(refused)?;
    if !urls.is_empty() {
        let id = node.push(&body(&urls, push)?).await.map_err(refused)?;
        tell::line(&format!("pcdn push: job {} begins", id.0));
    }
    let admin = admin(config, &composed, None).await?;
    let mut places: Vec<(&str, SocketAddr)> = node.local_addrs().iter().map(|addr| ("push", *addr)).collect();
    places.extend(admin.iter().flat_map(|admin| admin.local_addrs()).map(|addr| ("admin", *addr)));
    tell::ready(&places);
    stop.asked().await;
    node.shutdown().await;
    if let Some(admin) = admin {
        admin.shutdown().await;
    }
    composed.node.shutdown(stop.grace()).await;
    Ok(Exit::Done)
}

/// Tells a running push node, and waits until all copies are proven.
async fn order(call: &Call, urls: &[Url], config: &Config) -> Result<Exit, Failure> {
    if urls.is_empty() {
        return Err(Failure::new(Exit::Usage, "name at least one URL, or --status or --cancel"));
    }
    let mut stop = Stop::catch()?;
    let begun = Instant::now();
    let PushedBody { id } = call.post("/v1/pushes", &body(urls, &config.push)?).await.map_err(failed)?;
    let watched = tell::is_watched() && !config.json;
    let outcome = loop {
        let status: StatusBody = call.get(&format!("/v1/pushes/{id}")).await.map_err(failed)?;
        if watched {
            tell::status(&line(&status));
        }
        if status.regions.iter().all(|region| region.proven >= region.planned) || status.over {
            break (status.clone(), if status.cancelled { Exit::Other } else { Exit::Done });
        }
        if begun.elapsed() >= config.push.deadline.0 {
            break (status, Exit::TimedOut);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.asked() => break (status, Exit::Interrupted),
        }
    };
    if watched {
        tell::status("");
    }
    show(&[outcome.0], config.json)?;
    Ok(outcome.1)
}

/// The jobs that name one of `urls`, or all.
async fn jobs(call: &Call, urls: &[Url]) -> Result<Vec<StatusBody>, Failure> {
    let all: Vec<StatusBody> = call.get("/v1/pushes").await.map_err(failed)?;
    let named = |job: &StatusBody| urls.is_empty() || job.urls.iter().any(|url| urls.contains(url));
    Ok(all.into_iter().filter(named).collect())
}

async fn status(call: &Call, urls: &[Url], json: bool) -> Result<Exit, Failure> {
    show(&jobs(call, urls).await?, json)
}

async fn cancel(call: &Call, urls: &[Url], json: bool) -> Result<Exit, Failure> {
    let mut cancelled = Vec::new();
    for job in jobs(call, urls).await?.iter().filter(|job| !job.over) {
        cancelled.push(call.delete::<StatusBody>(&format!("/v1/pushes/{}", job.id)).await.map_err(failed)?);
    }
    show(&cancelled, json)
}

fn show(jobs: &[StatusBody], json: bool) -> Result<Exit, Failure> {
    if json {
        return tell::json(&jobs);
    }
    let mut text = String::new();
    for job in jobs {
        text += &format!("{}\n", line(job));
        for holder in &job.holders {
            let url = exit::shown(&holder.url);
            let rendition = holder.rendition.map_or(String::new(), |n| format!(" rendition {n}"));
            let (peer, stage) = (holder.peer.short(), &holder.stage);
            text += &format!("  {peer} {stage:8} {:>12} bytes  {url}{rendition}\n", holder.held);
        }
    }
    tell::out(if text.is_empty() { "no jobs" } else { text.trim_end() })
}

/// A job in one line.
fn line(job: &StatusBody) -> String {
    let region = |r: &RegionBody| {
        let name = r.region.as_deref().map_or(String::new(), |name| format!("{name}: "));
        format!("{name}{}/{} proven, {} placed", r.proven, r.planned, r.placed)
    };
    let regions: Vec<String> = job.regions.iter().map(region).collect();
    let state = match (job.cancelled, job.over) {
        (true, _) => ", cancelled",
        (_, true) => ", over",
        _ => "",
    };
    let (id, wave, cdn, peers) = (job.id, job.wave, job.from_cdn, job.from_peers);
    format!(
        "job {id}: {}; wave {wave}; {cdn} bytes from the CDN, {peers} from peers{state}",
        regions.join("; ")
    )
}

fn failed(error: CallError) -> Failure {
    let exit = match &error {
        CallError::Silent { .. } => Exit::Unreachable,
        _ => Exit::Other,
    };
    Failure::new(exit, error)
}

fn refused(error: PushNodeError) -> Failure {
    match &error {
        PushNodeError::Content { url, source } => Failure::of_open(url, source),
        PushNodeError::Order(_)
        | PushNodeError::Region(_)
        | PushNodeError::Live(_)
        | PushNodeError::Rendition { .. } => Failure::new(Exit::Usage, error),
        _ => Failure::other(error),
    }
}
