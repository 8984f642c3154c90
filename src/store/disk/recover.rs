//! What a store finds when it is opened: logs that may end in half a record, files that nobody speaks of, pieces that the
//! log promises and the file is too short for. Whatever it finds, the result is a part of what was kept.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::time::SystemTime;

use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::store::StoreError;

use super::files;
use super::keeper::Keeper;
use super::record::{RECORD_BYTES, Record};

/// When a segment was last written, for the order in which segments leave.
type Ages = Vec<(SystemTime, SwarmKey, SegmentId)>;

/// Reads the logs of all swarms into the keeper's index.
///
/// # Errors
/// If the store's directory itself cannot be read. A swarm that cannot be read is dropped: it is a cache.
pub(super) fn all(keeper: &mut Keeper) -> Result<(), StoreError> {
    let root = keeper.root().to_owned();
    let trash = keeper.trash_dir();
    files::delete(names(&trash)?.into_iter().map(|name| trash.join(name)).collect());
    let mut ages = Ages::new();
    for shelf in names(&root)?.into_iter().filter(|name| name.len() == 2) {
        let shelf = root.join(shelf);
        for name in names(&shelf)? {
            // Other names are not ours; they stay and are not looked at.
            let Some(swarm) =
                name.parse::<SwarmKey>().ok().filter(|swarm| shelf.join(&name) == keeper.swarm_dir(swarm))
            else {
                continue;
            };
            if let Err(error) = one(keeper, &swarm, &mut ages) {
                tracing::warn!(swarm = %swarm.short(), %error, "a swarm of the piece store cannot be read; it is dropped");
                let _ = keeper.doom_swarm(&swarm);
                fs::remove_dir_all(shelf.join(&name))
                    .or_else(files::gone_is_fine)
                    .map_err(|source| files::failed("dropping", &shelf.join(&name), source))?;
            }
        }
    }
    ages.sort_unstable();
    ages.iter().for_each(|(_, swarm, segment)| keeper.index.touch(swarm, *segment, None));
    Ok(())
}

/// Reads one swarm.
fn one(keeper: &mut Keeper, swarm: &SwarmKey, ages: &mut Ages) -> Result<(), StoreError> {
    let dir = keeper.swarm_dir(swarm);
    keeper.index.swarms.entry(*swarm).or_default();
    replay(keeper, swarm)?;
    let mut data = data_files(&dir)?;
    let kept = &keeper.index.swarms[swarm].segments;
    let segments: Vec<SegmentId> = kept.keys().copied().collect();
    for segment in segments {
        let meta = data.remove(&segment);
        lose_what_is_missing(keeper, swarm, segment, meta.as_ref());
        let doomed = keeper.abandon(swarm, segment);
        files::delete(doomed);
        if let Some(meta) = meta.filter(|_| keeper.index.slot(swarm, segment).is_some()) {
            keeper.charge(swarm, segment, files::allocated(&meta));
            keeper.inherit(swarm, segment);
            ages.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), *swarm, segment));
        }
    }
    // Data without a record: written by a process that died before it could say so, or forgotten and not yet deleted.
    files::delete(data.into_keys().map(|segment| keeper.data_path(swarm, segment)).collect());
    let empty = keeper.index.swarms.get(swarm).is_some_and(|kept| kept.segments.is_empty());
    files::delete(if empty { keeper.doom_swarm(swarm) } else { Vec::new() });
    Ok(())
}

/// Believes the log up to its first bad record, and cuts it there: what follows must not come back to life later.
fn replay(keeper: &mut Keeper, swarm: &SwarmKey) -> Result<(), StoreError> {
    let path = keeper.log_path(swarm);
    let failed = |source| files::failed("reading", &path, source);
    let file = match files::open(&path, false) {
        Ok(file) => file,
        Err(error) => return files::gone_is_fine(error).map_err(failed),
    };
    let len = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::with_capacity(64 << 10, &file);
    let mut bytes = [0; RECORD_BYTES];
    let mut good = 0;
    loop {
        match reader.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(failed(error)),
        }
        let Some(record) = Record::decode(swarm, &bytes) else { break };
        keeper.index.replay(swarm, record);
        good += 1;
    }
    keeper.set_log_records(swarm, good);
    if len != good * RECORD_BYTES as u64 {
        keeper.torn += 1;
        file.set_len(good * RECORD_BYTES as u64).map_err(failed)?;
    }
    Ok(())
}

fn lose_what_is_missing(keeper: &mut Keeper, swarm: &SwarmKey, segment: SegmentId, meta: Option<&Metadata>) {
    let Some(slot) = keeper.index.slot(swarm, segment) else { return };
    let len = meta.map_or(0, Metadata::len);
    let beyond = slot.pieces.keys().filter(|piece| slot.layout.bytes_of(**piece).end > len);
    let lost: Vec<PieceKey> = beyond.map(|piece| PieceKey { segment, piece: *piece }).collect();
    lost.iter().for_each(|key| keeper.lose(swarm, key));
}

fn data_files(dir: &Path) -> Result<BTreeMap<SegmentId, Metadata>, StoreError> {
    let mut found = BTreeMap::new();
    for name in names(dir)? {
        let number = name.strip_suffix(".d").filter(|digits| digits.len() == 16);
        let Some(number) = number.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { continue };
        if let Ok(meta) = fs::metadata(dir.join(&name)) {
            found.insert(SegmentId(number), meta);
        }
    }
    Ok(found)
}

/// Names in a directory; those that are no text cannot be ours.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let listed: io::Result<Vec<String>> = fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().into_string().ok())).filter_map(Result::transpose).collect()
    });
    match listed {
        // Not a directory: somebody's file beside ours.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        listed => listed.map_err(|source| files::failed("listing", dir, source)),
    }
}
