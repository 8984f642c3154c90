//! `pcdn cache`: the store, while no node uses it.

use pcdn_core::id::SwarmKey;
use serde_json::json;

use super::compose::pieces_dir;
use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::store::{Disk, DiskConfig, Store as _};

/// Runs the verb.
pub(crate) async fn run(action: &str, swarm: Option<&String>, config: &Config) -> Result<Exit, Failure> {
    let dir = config
        .node
        .data_dir
        .as_deref()
        .ok_or_else(|| Failure::new(Exit::Usage, "which store? give --data-dir DIR"))?;
    let parse = |text: &String| {
        text.parse::<SwarmKey>()
            .map_err(|e| Failure::new(Exit::Usage, format!("{text}: {e}; pcdn cache ls prints swarms")))
    };
    let swarm = swarm.map(parse).transpose()?;
    let pieces = pieces_dir(dir);
    if !pieces.is_dir() {
        return Err(Failure::new(
            Exit::Disk,
            format!("{dir} holds no pieces; give the --data-dir of a node"),
        ));
    }
    let (action, quota, json) = (action.to_owned(), config.node.cache_size, config.json);
    let work = move || -> Result<Exit, Failure> {
        let disk = Disk::open(pieces, DiskConfig { quota, ..DiskConfig::default() })?;
        let exit = act(&disk, &action, swarm, json)?;
        disk.flush()?;
        Ok(exit)
    };
    tokio::task::spawn_blocking(work).await.map_err(Failure::other)?
}

fn act(disk: &Disk, action: &str, swarm: Option<SwarmKey>, json: bool) -> Result<Exit, Failure> {
    match action {
        "ls" => {
            let (stats, swarms) = (disk.stats(), disk.list());
            if json {
                return tell::json(&json!({ "stats": stats, "swarms": swarms }));
            }
            for swarm in swarms {
                tell::out(&format!(
                    "{} {:>8} pieces {:>14} bytes",
                    swarm.swarm, swarm.pieces, swarm.bytes.0
                ))?;
            }
            tell::line(&format!("{} of {} used", stats.used, stats.quota));
            Ok(Exit::Done)
        }
        "rm" => {
            let swarm =
                swarm.ok_or_else(|| Failure::new(Exit::Usage, "which swarm? pcdn cache ls prints them"))?;
            disk.forget(&swarm, None)?;
            Ok(Exit::Done)
        }
        "gc" => {
            let freed = disk.gc()?;
            if json { tell::json(&json!({ "freed": freed.0 })) } else { tell::out(&format!("{freed} freed")) }
        }
        _ => {
            let checked = disk.verify(swarm.as_ref())?;
            let damaged = checked.damaged.len();
            if json {
                tell::json(&checked)?;
            } else {
                tell::out(&format!("{} pieces read, {damaged} damaged and dropped", checked.pieces))?;
            }
            Ok(if damaged == 0 { Exit::Done } else { Exit::Integrity })
        }
    }
}
