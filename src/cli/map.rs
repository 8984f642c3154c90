//! `pcdn map`: what a URL's content is called, and why.

use pcdn_core::id::{PeerId, Rid};
use pcdn_core::mapping::Mapper as _;
use pcdn_core::resource::Generations;
use serde::Serialize;

use super::compose::mapper;
use super::{Exit, Failure, tell};
use crate::config::Config;

#[derive(Serialize)]
struct Report {
    url: String,
    rid: Rid,
    by: String,
    dropped: Vec<String>,
    /// What tells one generation of the content from the next; those have names of their own.
    generations: Generations,
    manifest: Option<String>,
    /// Whose signature is on that manifest.
    signer: Option<PeerId>,
    mirrors: Vec<String>,
    valid_for_s: u64,
}

/// Runs the verb.
pub(crate) async fn run(url: &str, config: &Config) -> Result<Exit, Failure> {
    let parsed = url
        .parse()
        .map_err(|e| Failure::new(Exit::Usage, format!("{url}: {e}; write http://… or https://…")))?;
    let mapping =
        mapper(&config.node)?.map(&parsed).await.map_err(|e| Failure::other(format!("{url}: {e}")))?;
    let report = Report {
        url: url.to_owned(),
        rid: mapping.rid,
        by: mapping.by,
        dropped: mapping.dropped,
        generations: mapping.generations,
        manifest: mapping.manifest.map(String::from),
        signer: mapping.signer,
        valid_for_s: mapping.valid_for.as_secs(),
        mirrors: mapping.mirrors.into_iter().map(String::from).collect(),
    };
    if config.json {
        return tell::json(&report);
    }
    let dropped = if report.dropped.is_empty() { "nothing".to_owned() } else { report.dropped.join(", ") };
    let mut lines = vec![
        format!("rid      {}", report.rid),
        format!("by       {}", report.by),
        format!("dropped  {dropped}"),
    ];
    match report.generations {
        Generations::One => {}
        Generations::ByLength => lines.push("changes  are told by the length".to_owned()),
        Generations::ByTag => lines.push("changes  are told by length and ETag".to_owned()),
    }
    lines.extend(report.manifest.map(|manifest| format!("manifest {manifest}")));
    lines.extend(report.signer.map(|signer| format!("signer   {signer}")));
    lines.extend(report.mirrors.iter().map(|mirror| format!("mirror   {mirror}")));
    tell::out(&lines.join("\n"))
}
