//! Whatever happens to the process or to the log, what is found later is a part of what was put.

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// What was put: by swarm and key.
type Model = BTreeMap<(SwarmKey, PieceKey), (Held, Bytes)>;

#[derive(Clone, Debug)]
enum Op {
    Put {
        swarm: u8,
        segment: u64,
        layout: usize,
        index: u32,
        version: u8,
    },
    Get {
        swarm: u8,
        segment: u64,
    },
    Forget {
        swarm: u8,
        segment: Option<u64>,
    },
    /// The process dies and starts again.
    Die,
    /// The process stops and starts again.
    Stop,
    /// As `gc`, which rewrites logs.
    Tidy,
}

fn op() -> impl Strategy<Value = Op> {
    let swarm = 0u8..2;
    let put = (swarm.clone(), 0u64..4, 0usize..3, 0u32..4, any::<u8>()).prop_map(
        |(swarm, segment, layout, index, version)| Op::Put { swarm, segment, layout, index, version },
    );
    prop_oneof![
        12 => put,
        3 => (swarm.clone(), 0u64..4).prop_map(|(swarm, segment)| Op::Get { swarm, segment }),
        2 => (swarm.clone(), 0u64..4).prop_map(|(swarm, segment)| Op::Forget { swarm, segment: Some(segment) }),
        1 => swarm.prop_map(|swarm| Op::Forget { swarm, segment: None }),
        3 => Just(Op::Die),
        1 => Just(Op::Stop),
        1 => Just(Op::Tidy),
    ]
}

fn layouts() -> [Layout; 3] {
    [(60_000, 14), (60_000, 15), (1, 14)].map(|(len, log2)| Layout::new(len, log2).unwrap())
}

fn apply(disk: &mut Option<Disk>, dir: &TempDir, model: &mut Model, op: &Op) {
    let store = disk.as_ref().unwrap();
    match *op {
        Op::Put { swarm, segment, layout, index, version } => {
            let (swarm, layout) = (SwarmKey([swarm; 32]), layouts()[layout]);
            let key = key(&layout, segment, index % layout.pieces());
            let kept = piece_of(&layout, key, version);
            store.put(&swarm, &key, &layout, &kept).unwrap();
            model.retain(|(of, at), (held, _)| {
                (*of, at.segment) != (swarm, key.segment) || held.layout == layout
            });
            let held = Held { key, layout, digest: kept.digest, own: kept.own };
            model.insert((swarm, key), (held, kept.bytes.into_inner()));
        }
        Op::Get { swarm, segment } => {
            let (swarm, key) = (SwarmKey([swarm; 32]), key(&layouts()[0], segment, 0));
            let want = model.get(&(swarm, key)).map(|(_, bytes)| bytes.clone());
            assert_eq!(store.get(&swarm, &key).unwrap(), want);
        }
        Op::Forget { swarm, segment } => {
            let (swarm, segment) = (SwarmKey([swarm; 32]), segment.map(SegmentId));
            store.forget(&swarm, segment).unwrap();
            model
                .retain(|(of, key), _| *of != swarm || segment.is_some_and(|segment| key.segment != segment));
        }
        Op::Tidy => drop(store.gc().unwrap()),
        Op::Die | Op::Stop => {
            if matches!(op, Op::Stop) {
                store.flush().unwrap();
            }
            *disk = None;
            *disk = Some(open(dir));
        }
    }
}

fn all(disk: &Disk) -> Model {
    let swarms = [0, 1].map(|swarm| SwarmKey([swarm; 32]));
    let pieces =
        swarms.map(|swarm| sound(disk, &swarm).into_iter().map(move |(key, found)| ((swarm, key), found)));
    pieces.into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_does_what_a_map_does_whenever_the_process_dies(ops in prop::collection::vec(op(), 1..60)) {
        let dir = TempDir::new().unwrap();
        let (mut disk, mut model) = (Some(open(&dir)), Model::new());
        for op in &ops {
            apply(&mut disk, &dir, &mut model, op);
        }
        prop_assert_eq!(&all(disk.as_ref().unwrap()), &model);
        let listed: u64 = disk.as_ref().unwrap().list().iter().map(|size| size.pieces).sum();
        prop_assert_eq!(listed, model.len() as u64, "what is listed is there");
        drop(disk);
        prop_assert_eq!(&all(&open(&dir)), &model);
    }

    #[test]
    fn damaged_logs_lose_pieces_and_invent_none(
        ops in prop::collection::vec(op(), 1..40),
        damage in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        let dir = TempDir::new().unwrap();
        let (mut disk, mut model, mut ever) = (Some(open(&dir)), Model::new(), Vec::new());
        for op in &ops {
            apply(&mut disk, &dir, &mut model, op);
            ever.extend(model.values().cloned());
        }
        drop(disk);
        for (second, at, flip) in damage {
            let log = log_of(&dir, &SwarmKey([u8::from(second); 32]));
            let Ok(mut bytes) = fs::read(&log) else { continue };
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                fs::write(&log, bytes).unwrap();
            }
        }
        let disk = open(&dir);
        for (_, found) in all(&disk) {
            // An older state of the log may be found, never something that was not put.
            prop_assert!(ever.contains(&found));
        }
        let before = all(&disk);
        drop(disk);
        prop_assert_eq!(all(&open(&dir)), before, "the second opening finds what the first left");
    }

    #[test]
    fn any_bytes_for_a_log_are_read_in_peace(junk in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = TempDir::new().unwrap();
        let log = log_of(&dir, &SWARM);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, junk).unwrap();
        fs::write(data_of(&dir, &SWARM, 0), [1; 100]).unwrap();
        prop_assert_eq!(open(&dir).held(&SWARM).unwrap(), []);
    }
}

#[test]
fn a_log_torn_at_any_byte_of_its_last_record_loses_that_record_only() {
    for torn in 1..RECORD_BYTES as u64 {
        let dir = TempDir::new().unwrap();
        let disk = open(&dir);
        (0..3).for_each(|index| put(&disk, 1, index).unwrap());
        drop(disk);
        let log = File::options().write(true).open(log_of(&dir, &SWARM)).unwrap();
        log.set_len(3 * RECORD_BYTES as u64 - torn).unwrap();
        let disk = open(&dir);
        assert_eq!(numbers(&disk), [(1, 0), (1, 1)], "{torn} bytes torn");
        assert_eq!(disk.stats().torn_logs, 1);
        // What is appended next is found again: the torn record does not stand in its way.
        put(&disk, 1, 3).unwrap();
        drop(disk);
        assert_eq!(numbers(&open(&dir)), [(1, 0), (1, 1), (1, 3)], "{torn} bytes torn");
    }
}

#[test]
fn records_behind_a_bad_one_do_not_come_back_to_life() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    (0..4).for_each(|index| put(&disk, 1, index).unwrap());
    drop(disk);
    let mut log = fs::read(log_of(&dir, &SWARM)).unwrap();
    log[RECORD_BYTES + 30] ^= 0x10;
    fs::write(log_of(&dir, &SWARM), log).unwrap();
    let disk = open(&dir);
    assert_eq!(numbers(&disk), [(1, 0)]);
    put(&disk, 1, 1).unwrap();
    drop(disk);
    assert_eq!(numbers(&open(&dir)), [(1, 0), (1, 1)]);
}

#[test]
fn the_lock_tells_a_dead_process_from_a_dead_machine() {
    let dir = TempDir::new().unwrap();
    let lock = || fs::read_to_string(dir.path().join("LOCK")).unwrap();
    let disk = open(&dir);
    assert!(disk.trusted(), "an empty store");
    put(&disk, 1, 0).unwrap();
    assert!(lock().contains("dirty"));
    drop(disk);
    let disk = open(&dir);
    assert_eq!(disk.trusted(), cfg!(target_os = "linux"), "the kernel lived and has the pages");
    drop(disk);
    fs::write(dir.path().join("LOCK"), "pcdn-store 1 dirty 00000000-0000\n").unwrap();
    let disk = open(&dir);
    assert!(!disk.trusted(), "the machine restarted");
    assert_eq!(numbers(&disk), [(1, 0)], "its pieces are listed all the same; readers hash them");
    put(&disk, 1, 1).unwrap();
    disk.flush().unwrap();
    assert!(lock().contains("dirty"), "syncing does not bring back what the machine lost");
    disk.verify(None).unwrap();
    assert!(disk.trusted());
    disk.flush().unwrap();
    assert!(lock().contains("clean"));
    drop(disk);
    assert!(open(&dir).trusted());
}

/// Set for the child that is to die.
const CHILD: &str = "PCDN_TEST_STORE_DIES_IN";

#[test]
fn a_process_killed_in_mid_download_loses_nothing_it_had_put() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let disk = Disk::open(dir, DiskConfig::default()).unwrap();
        for segment in 0..8 {
            (0..4).for_each(|index| put(&disk, segment, index).unwrap());
        }
        // No destructor runs, nothing is flushed.
        std::process::abort();
    }
    let dir = TempDir::new().unwrap();
    let name = "store::disk::tests::crash::a_process_killed_in_mid_download_loses_nothing_it_had_put";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let died = child.args([name, "--exact"]).env(CHILD, dir.path()).output().unwrap();
    assert!(!died.status.success());
    assert_eq!(sound(&open(&dir), &SWARM).len(), 32);
}
