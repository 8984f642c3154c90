//! What of the machine itself matters.

use std::io::Write as _;
use std::path::Path;

use pcdn_core::unit::ByteSize;

use super::check::Check;
use crate::config::NodeConfig;

/// Written and removed to see whether the disk takes something.
const PROBE: usize = 1 << 20;
/// What the transport asks of the system for a socket, both ways.
const BUFFER_BYTES: u64 = 4 << 20;

/// Whether pieces can be kept, and how many.
pub(super) async fn disk(node: &NodeConfig) -> Check {
    let Some(dir) = node.data_dir.clone() else {
        return Check::skipped("disk", "pieces are kept in memory; --data-dir keeps them");
    };
    let (dir_there, size) = (dir.clone(), node.cache_size);
    let looked = tokio::task::spawn_blocking(move || look_at(Path::new(&dir_there), size)).await;
    looked.unwrap_or_else(|error| Check::bad("disk", format!("{dir}: {error}"), "give another --data-dir"))
}

fn look_at(dir: &Path, cache_size: ByteSize) -> Check {
    let shown = dir.display();
    let probe = || {
        let mut file = tempfile::Builder::new().prefix(".doctor").tempfile_in(dir)?;
        file.write_all(&vec![0; PROBE])?;
        file.as_file().sync_all()
    };
    if !dir.is_dir() {
        let parent = dir.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        return Check::warn(
            "disk",
            format!("{shown} is not there yet"),
            format!("nothing, if {} may be written to; else make it", parent.display()),
        );
    }
    if let Err(error) = probe() {
        return Check::bad(
            "disk",
            format!("{shown}: {error}"),
            "make room, or let this user write there; or give another --data-dir",
        );
    }
    match free(dir) {
        Some(free) if free.0 < cache_size.0 / 10 => Check::warn(
            "disk",
            format!("{shown} has {free} left, and --cache-size is {cache_size}"),
            "make room, or give a smaller --cache-size; pieces kept already count to it",
        ),
        Some(free) => Check::ok("disk", format!("{shown} has {free} left")),
        None => Check::ok("disk", format!("{shown} can be written to")),
    }
}

/// Room left on the disk of `dir`, where the system tells.
#[cfg(unix)]
pub(crate) fn free(dir: &Path) -> Option<ByteSize> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(ByteSize(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(not(unix))]
pub(crate) fn free(_: &Path) -> Option<ByteSize> {
    None
}

/// Whether the system gives sockets the room that bursts need.
pub(super) fn buffers() -> Check {
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok()
    };
    match (read("rmem_max"), read("wmem_max")) {
        (Some(receive), Some(send)) if receive.min(send) < BUFFER_BYTES => Check::warn(
            "buffers",
            format!(
                "sockets get {} of the {} asked for",
                ByteSize(receive.min(send)),
                ByteSize(BUFFER_BYTES)
            ),
            format!("sysctl -w net.core.rmem_max={BUFFER_BYTES} net.core.wmem_max={BUFFER_BYTES}"),
        ),
        (Some(_), Some(_)) => Check::ok("buffers", "sockets get what is asked for"),
        _ => Check::skipped("buffers", "this system does not say"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    #[test]
    fn a_disk_is_looked_at_by_writing_to_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look_at(dir.path(), ByteSize(1)).state, State::Ok);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left there");
        assert_eq!(look_at(dir.path(), ByteSize(u64::MAX)).state, State::Warn);
        assert_eq!(look_at(&dir.path().join("none"), ByteSize(1)).state, State::Warn);
    }
}
