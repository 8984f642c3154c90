//! `pcdn map`: what a URL's content is called, and why.

use pcdn_core::id::Rid;
use pcdn_core::mapping::Mapper as _;
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
    manifest: Option<String>,
    mirrors: Vec<String>,
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
        manifest: mapping.manifest.map(String::from),
        mirrors: mapping.mirrors.into_iter().map(String::from).collect(),
    };
    if config.json {
        return tell::json(&report);
    }
    let dropped = if report.dropped.is_empty() { "nothing".to_owned() } else { report.dropped.join(", ") };
    tell::out(&format!("rid      {}\nby       {}\ndropped  {dropped}", report.rid, report.by))
}
