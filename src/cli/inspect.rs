//! `pcdn inspect`: how a resource is cut.

use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use pcdn_core::fragment::{Fit, Fragmenter};
use pcdn_core::mapping::Mapper as _;
use pcdn_core::origin::{Origin as _, OriginGet};
use pcdn_core::resource::{Resource, ResourceHint, Url};
use tokio_util::io::StreamReader;

use super::compose::{mapper, origin};
use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::node::OpenError;
use crate::publish::{Inspection, inspect, inspect_file};

/// Runs the verb.
pub(crate) async fn run(what: &str, config: &Config) -> Result<Exit, Failure> {
    let is_url = what.starts_with("http://") || what.starts_with("https://");
    let report = if is_url { of_url(what, config).await? } else { of_file(what, config).await? };
    if config.json { tell::json(&report) } else { tell::out(table(&report).trim_end()) }
}

async fn of_url(text: &str, config: &Config) -> Result<Inspection, Failure> {
    let url: Url = text.parse().map_err(|e| Failure::new(Exit::Usage, format!("{text}: {e}")))?;
    let failed = |error| Failure::of_open(&url, &OpenError::Origin(error));
    let origin = origin(&config.node)?;
    let head = origin.head(&url).await.map_err(failed)?;
    let fragmenter = choose(config.inspect.kind.as_deref(), &url, head.content_type.clone())?;
    let mapping =
        mapper(&config.node)?.map(&url).await.map_err(|e| Failure::other(format!("{text}: {e}")))?;
    let resource = Resource { url: url.clone(), rid: mapping.rid, head: Some(head) };
    if !config.inspect.hash {
        return Ok(inspect(&*fragmenter, &resource, true, None::<&mut tokio::io::Empty>).await?);
    }
    let body = origin.get(&OriginGet::whole(url.clone())).await.map_err(failed)?;
    let mut body = StreamReader::new(body.bytes.map_err(std::io::Error::other));
    Ok(inspect(&*fragmenter, &resource, true, Some(&mut body)).await?)
}

async fn of_file(text: &str, config: &Config) -> Result<Inspection, Failure> {
    let path = std::path::absolute(text).map_err(|e| Failure::disk(text, &e))?;
    let own =
        || Url::from_file_path(&path).map_err(|()| Failure::new(Exit::Usage, format!("{text} is no path")));
    let url = config.inspect.base_url.clone().map_or_else(own, Ok)?;
    let rid = match &config.inspect.base_url {
        Some(url) => mapper(&config.node)?.map(url).await.ok().map(|mapping| mapping.rid),
        None => None,
    };
    let fragmenter = choose(config.inspect.kind.as_deref(), &url, None)?;
    Ok(inspect_file(Path::new(text), &*fragmenter, url, rid, config.inspect.hash).await?)
}

/// The fragmenter of that name, else the one that a node would take.
fn choose(
    kind: Option<&str>,
    url: &Url,
    content_type: Option<String>,
) -> Result<Arc<dyn Fragmenter>, Failure> {
    let all = pcdn_media::standard();
    if let Some(kind) = kind {
        let names: Vec<_> = all.iter().map(|f| f.name()).collect();
        let found = all.iter().find(|f| f.name() == kind).cloned();
        return found.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("--as {kind}: known kinds are {}", names.join(", ")))
        });
    }
    let hint = ResourceHint { url: url.clone(), content_type, first_bytes: Vec::new() };
    let with = |fit: Fit| all.iter().find(|f| f.fit(&hint) == fit).cloned();
    with(Fit::Sure)
        .or_else(|| with(Fit::Maybe))
        .ok_or_else(|| Failure::other("no fragmenter knows this kind; give --as KIND"))
}

fn table(report: &Inspection) -> String {
    let id = |id: Option<String>| id.unwrap_or_else(|| "none without a URL (--base-url)".into());
    let mut text = format!(
        "url    {}\nkind   {}\nrid    {}\nrule   {}\nswarm  {}\nbytes  {}\n\n{:>8} {:>12} {:>8} {:>11}  range\n",
        report.url,
        report.kind,
        id(report.rid.map(|rid| rid.to_string())),
        report.rule,
        id(report.swarm.map(|swarm| swarm.to_string())),
        report.bytes,
        "segment",
        "bytes",
        "pieces",
        "piece bytes",
    );
    for segment in &report.segments {
        let range =
            segment.range.map_or_else(String::new, |range| format!("{}..{}", range.start(), range.end()));
        let hash = segment.blake3.map_or_else(String::new, |hash| format!("  {hash}"));
        text += &format!(
            "{:>8} {:>12} {:>8} {:>11}  {range}{hash}\n",
            segment.id, segment.bytes, segment.pieces, segment.piece_bytes
        );
    }
    text
}
