use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use pcdn_core::conformance::store::{self as suite, piece_of};
use pcdn_core::verify::list;
use tempfile::TempDir;

use super::record::RECORD_BYTES;
use super::*;

mod crash;
mod room;

const SWARM: SwarmKey = SwarmKey([0xab; 32]);

fn open(dir: &TempDir) -> Disk {
    Disk::open(dir.path(), DiskConfig::default()).unwrap()
}

/// Four pieces of 16 KiB.
fn layout() -> Layout {
    Layout::new(4 << 14, 14).unwrap()
}

fn key(layout: &Layout, segment: u64, index: u32) -> PieceKey {
    PieceKey { segment: SegmentId(segment), piece: layout.piece(index).unwrap() }
}

fn put(disk: &Disk, segment: u64, index: u32) -> Result<(), StoreError> {
    let (layout, key) = (layout(), key(&layout(), segment, index));
    disk.put(&SWARM, &key, &layout, &piece_of(&layout, key, 0))
}

fn get(disk: &Disk, segment: u64, index: u32) -> Option<Bytes> {
    disk.get(&SWARM, &key(&layout(), segment, index)).unwrap()
}

fn numbers(disk: &Disk) -> Vec<(u64, u32)> {
    let held = disk.held(&SWARM).unwrap();
    held.iter().map(|held| (held.key.segment.0, held.key.piece.get())).collect()
}

/// What a reader accepts: pieces that are what their digest says.
fn sound(disk: &Disk, swarm: &SwarmKey) -> BTreeMap<PieceKey, (Held, Bytes)> {
    let held = disk.held(swarm).unwrap().into_iter();
    let read = held.filter_map(|held| Some((held, disk.get(swarm, &held.key).unwrap()?)));
    let sound = read.filter(|(held, bytes)| list::digest(&held.layout, held.key.piece, bytes) == held.digest);
    sound.map(|(held, bytes)| (held.key, (held, bytes))).collect()
}

fn log_of(dir: &TempDir, swarm: &SwarmKey) -> PathBuf {
    let name = swarm.to_string();
    dir.path().join("v1").join(&name[..2]).join(name).join("have.log")
}

fn data_of(dir: &TempDir, swarm: &SwarmKey, segment: u64) -> PathBuf {
    log_of(dir, swarm).with_file_name(format!("{segment:016x}.d"))
}

#[test]
fn it_keeps_the_contract() {
    let dirs = std::cell::RefCell::new(Vec::new());
    suite::store(|| {
        let dir = TempDir::new().unwrap();
        let quota = ByteSize::mib(32);
        let disk = Disk::open(dir.path(), DiskConfig { quota, ..DiskConfig::default() }).unwrap();
        dirs.borrow_mut().push(dir);
        disk
    });
}

#[test]
fn a_second_opener_is_told_to_take_another_directory() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    let refused = Disk::open(dir.path(), DiskConfig::default()).unwrap_err();
    assert!(matches!(refused, StoreError::Locked(_)), "{refused}");
    assert!(refused.to_string().contains("--data-dir"));
    drop(disk);
    open(&dir);
}

#[test]
fn a_directory_that_locks_for_somebody_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("LOCK"), "1234\n").unwrap();
    assert!(matches!(Disk::open(dir.path(), DiskConfig::default()), Err(StoreError::Io { .. })));
    assert_eq!(fs::read(dir.path().join("LOCK")).unwrap(), b"1234\n");
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look_inside() {
    use std::os::unix::fs::PermissionsExt;
    let outer = TempDir::new().unwrap();
    let dir = outer.path().join("deep/store");
    let disk = Disk::open(&dir, DiskConfig::default()).unwrap();
    put(&disk, 1, 0).unwrap();
    let mut todo = vec![dir];
    while let Some(path) = todo.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_file_that_vanished_or_shrank_behind_our_back_loses_its_pieces_only() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    for segment in 0..3 {
        (0..4).for_each(|index| put(&disk, segment, index).unwrap());
    }
    let shrink = |segment, len| {
        let file = File::options().write(true).open(data_of(&dir, &SWARM, segment)).unwrap();
        file.set_len(len).unwrap();
    };
    shrink(1, 2 << 14);
    assert!(get(&disk, 1, 3).is_none(), "lost at the first read");
    assert!(get(&disk, 1, 1).is_some());
    drop(disk);
    fs::remove_file(data_of(&dir, &SWARM, 0)).unwrap();
    shrink(1, 100);
    fs::write(data_of(&dir, &SWARM, 77), b"no record speaks of me").unwrap();
    let disk = open(&dir);
    assert_eq!(numbers(&disk), [(2, 0), (2, 1), (2, 2), (2, 3)]);
    assert!(!data_of(&dir, &SWARM, 77).exists());
    // The log must not remember what was lost when the segment comes back.
    put(&disk, 0, 1).unwrap();
    drop(disk);
    assert_eq!(numbers(&open(&dir))[0], (0, 1));
}

#[test]
fn damaged_data_comes_back_as_it_is_and_verify_drops_it() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    (0..4).for_each(|index| put(&disk, 5, index).unwrap());
    let mut data = fs::read(data_of(&dir, &SWARM, 5)).unwrap();
    data[20_000] ^= 1;
    fs::write(data_of(&dir, &SWARM, 5), data).unwrap();
    assert!(get(&disk, 5, 1).is_some());
    assert_eq!(sound(&disk, &SWARM).len(), 3, "its reader notices");
    let checked = disk.verify(None).unwrap();
    assert_eq!((checked.pieces, checked.damaged), (4, vec![Damaged { swarm: SWARM, segment: 5, piece: 1 }]));
    assert_eq!(disk.verify(Some(&SWARM)).unwrap().damaged, []);
    drop(disk);
    assert_eq!(numbers(&open(&dir)), [(5, 0), (5, 2), (5, 3)]);
}

#[test]
fn a_log_does_not_grow_with_what_is_written_again() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    let layout = Layout::new(1, 14).unwrap();
    let key = key(&layout, 1, 0);
    for version in 0..3_000u32 {
        disk.put(&SWARM, &key, &layout, &piece_of(&layout, key, version as u8)).unwrap();
    }
    let records = fs::metadata(log_of(&dir, &SWARM)).unwrap().len() / RECORD_BYTES as u64;
    assert!(records <= 1025, "{records}");
    assert!(disk.gc().unwrap().0 > 0);
    assert_eq!(fs::metadata(log_of(&dir, &SWARM)).unwrap().len(), RECORD_BYTES as u64);
    let before = sound(&disk, &SWARM);
    drop(disk);
    assert_eq!(sound(&open(&dir), &SWARM), before);
}

#[test]
fn gc_clears_what_other_versions_left_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    put(&disk, 1, 0).unwrap();
    for name in ["v0", "v27/ab", "video", "v1/zz", "v1/trash/x"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    disk.gc().unwrap();
    let exists = |name: &str| dir.path().join(name).exists();
    assert!(!exists("v0") && !exists("v27") && !exists("v1/trash/x"));
    assert!(exists("video") && exists("v1/zz"));
    assert_eq!(numbers(&disk), [(1, 0)]);
}

#[test]
fn an_empty_swarm_leaves_nothing_on_the_disk() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    put(&disk, 1, 0).unwrap();
    put(&disk, 2, 0).unwrap();
    assert_eq!(disk.list().len(), 1);
    assert_eq!(disk.list()[0].bytes, ByteSize::kib(32));
    disk.forget(&SWARM, Some(SegmentId(1))).unwrap();
    assert!(!data_of(&dir, &SWARM, 1).exists());
    disk.forget(&SWARM, Some(SegmentId(2))).unwrap();
    assert!(!log_of(&dir, &SWARM).parent().unwrap().exists());
    assert_eq!((disk.stats().used, disk.stats().swarms), (ByteSize(0), 0));
}
