//! The quota, who leaves, full disks, and many threads at once.

use super::*;

fn small(dir: &TempDir, quota: ByteSize, spare: Duration) -> Disk {
    Disk::open(dir.path(), DiskConfig { quota, spare_read_within: Span(spare) }).unwrap()
}

/// Segments in the store, oldest first as they were put.
fn segments(disk: &Disk) -> Vec<u64> {
    let mut segments: Vec<u64> = numbers(disk).into_iter().map(|(segment, _)| segment).collect();
    segments.dedup();
    segments
}

#[test]
fn whole_segments_leave_least_recently_used_first() {
    let dir = TempDir::new().unwrap();
    // Room for ten segments of 64 KiB; above 95 % they leave down to 85 %.
    let disk = small(&dir, ByteSize::kib(660), Duration::ZERO);
    for segment in 0..9 {
        (0..4).for_each(|index| put(&disk, segment, index).unwrap());
    }
    assert_eq!(segments(&disk).len(), 9);
    assert!(get(&disk, 0, 0).is_some(), "reading makes it young");
    (0..4).for_each(|index| put(&disk, 9, index).unwrap());
    let left = segments(&disk);
    assert!(left.contains(&0) && left.contains(&9) && !left.contains(&1), "{left:?}");
    assert!(numbers(&disk).len().is_multiple_of(4), "whole segments only");
    assert!(disk.stats().used.0 <= 660 << 10);
    assert!(!data_of(&dir, &SWARM, 1).exists());
    drop(disk);
    // A smaller quota takes effect at the next start.
    let disk = small(&dir, ByteSize::kib(200), Duration::ZERO);
    assert!(disk.stats().used.0 <= 200 << 10, "{:?}", disk.stats());
    assert!(!segments(&disk).is_empty());
}

#[test]
fn what_is_being_watched_stays_and_the_newcomer_is_told_so() {
    let dir = TempDir::new().unwrap();
    let disk = small(&dir, ByteSize::kib(200), Duration::from_secs(3600));
    let mut refused = None;
    for segment in 0..20 {
        match put(&disk, segment, 0) {
            Ok(()) => assert!(get(&disk, segment, 0).is_some()),
            Err(error) => {
                refused = Some((segment, error));
                break;
            }
        }
    }
    let (segment, error) = refused.unwrap();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert_eq!(segments(&disk), (0..segment).collect::<Vec<_>>(), "nothing left");
}

/// Every write to this device fails with "no space left".
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_a_twentieth_and_then_says_so() {
    let dir = TempDir::new().unwrap();
    let disk = open(&dir);
    // So many that the first segment's file is no longer open.
    for segment in 0..120 {
        put(&disk, segment, 0).unwrap();
    }
    let victim = data_of(&dir, &SWARM, 0);
    fs::remove_file(&victim).unwrap();
    std::os::unix::fs::symlink("/dev/full", &victim).unwrap();
    let error = put(&disk, 0, 1).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    let left = segments(&disk).len();
    assert!((100..120).contains(&left), "a twentieth left, not more: {left}");
    put(&disk, 500, 0).unwrap();
}

#[test]
fn threads_put_read_and_forget_at_once_within_the_quota() {
    let dir = TempDir::new().unwrap();
    let quota = ByteSize::mib(2);
    let disk = small(&dir, quota, Duration::ZERO);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let disk = &disk;
            scope.spawn(move || {
                for round in 0..120u64 {
                    let (segment, index) = ((round * 7 + thread) % 48, (round % 4) as u32);
                    put(disk, segment, index).unwrap();
                    if let Some(bytes) = get(disk, (segment + 5) % 48, index) {
                        let (layout, key) = (layout(), key(&layout(), (segment + 5) % 48, index));
                        assert_eq!(
                            &bytes,
                            &*piece_of(&layout, key, 0).bytes,
                            "a read must not see other bytes"
                        );
                    }
                    if round % 17 == thread {
                        disk.forget(&SWARM, Some(SegmentId((segment + 9) % 48))).unwrap();
                    }
                    if round == 60 && thread == 0 {
                        disk.flush().unwrap();
                        disk.gc().unwrap();
                    }
                }
            });
        }
    });
    let stats = disk.stats();
    assert!(stats.used <= quota && stats.evicted_segments > 0, "{stats:?}");
    assert_eq!(sound(&disk, &SWARM).len() as u64, stats.pieces, "all that is listed is there");
    let before = sound(&disk, &SWARM);
    drop(disk);
    assert_eq!(sound(&small(&dir, quota, Duration::ZERO), &SWARM), before);
}
