//! Who reads the origin, and for how long.

use super::*;

fn backing(peers: &[PeerId], backers: &[PeerId]) -> Backing {
    Backing {
        of: vec![backers.to_vec(); VOUCHED],
        unproven: 0,
        unwitnessed: 0,
        reach: None,
        peers: peers.to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_feed_as_witnesses_are_wanted_and_the_rest_leave_once_others_vouch() {
    let all: Vec<PeerId> = (0..6).map(|i| PeerId([i; 32])).collect();
    let mut feeding = 0;
    for me in &all {
        let mut role = Role::new(*me, Rid([1; 32]), 2);
        let others: Vec<PeerId> = all.iter().filter(|peer| *peer != me).copied().collect();
        (0..3).for_each(|i| role.cut(SegmentId(i), true, false, None));
        tokio::time::advance(STAY * 2).await;
        let nobody = role.decide(&backing(&others, &[]), Want::default(), false, true);
        assert_eq!(nobody, Step::Stay, "nobody vouches");
        let all = role.decide(&backing(&others, &others), Want::default(), false, true);
        feeding += usize::from(all == Step::Stay);
    }
    assert_eq!(feeding, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_starves_reads_the_origin_again() {
    let me = PeerId([9; 32]);
    let peers: Vec<PeerId> = (0..9).map(|i| PeerId([i; 32])).collect();
    let mut role = Role::new(me, Rid([2; 32]), 1);
    role.witnesses = 0;
    let there = backing(&peers, &[]);
    let late = |overdue| Want { overdue, low: false };
    assert_eq!(role.decide(&there, late(STARVING), false, false), Step::Stay);
    let unproven = Backing { unproven: 1, ..there.clone() };
    assert_eq!(role.clone().decide(&unproven, Want::default(), false, false), Step::Connect);
    assert_eq!(role.clone().decide(&there, late(STARVING * 2), false, false), Step::Connect);
    let low = Want { low: true, ..Want::default() };
    assert_eq!(role.decide(&there, low, false, false), Step::Connect);
}

#[tokio::test(start_paused = true)]
async fn who_runs_low_again_and_again_stays_longer_each_time() {
    let others: Vec<PeerId> = (0..6).map(|i| PeerId([i; 32])).collect();
    let mut role = Role::new(PeerId([9; 32]), Rid([2; 32]), 1);
    role.witnesses = 0;
    let (low, there) = (Want { low: true, ..Want::default() }, backing(&others, &others));
    let mut stays = Vec::new();
    for _ in 0..4 {
        assert_eq!(role.decide(&there, low, false, false), Step::Connect);
        stays.push(role.stay);
        role.left = Instant::now();
        tokio::time::advance(PAUSE).await;
    }
    assert_eq!(stays, [STAY_LOW, STAY_LOW * 2, STAY_LOW * 4, STAY_LOW * 8]);
    tokio::time::advance(STEADY).await;
    let gone = Backing { unwitnessed: 1, ..there.clone() };
    assert_eq!((role.decide(&there, low, false, false), role.stay), (Step::Connect, STAY_LOW), "long ago");
    tokio::time::advance(PAUSE).await;
    assert_eq!((role.decide(&gone, low, false, false), role.stay), (Step::Connect, STAY), "a feeder is gone");
}

/// Followers once lost slices: the old feeders had left for new ones that nobody had vetted yet.
#[tokio::test(start_paused = true)]
async fn a_feeder_stays_until_those_before_it_vouch_not_just_anybody() {
    let all: Vec<PeerId> = (0..6).map(|i| PeerId([i; 32])).collect();
    for me in &all {
        let mut role = Role::new(*me, Rid([1; 32]), 2);
        let others: Vec<PeerId> = all.iter().filter(|peer| *peer != me).copied().collect();
        let mine = role.weight(me);
        let (before, behind): (Vec<PeerId>, Vec<PeerId>) =
            others.iter().partition(|peer| role.weight(peer) < mine);
        (0..3).for_each(|i| role.cut(SegmentId(i), true, false, None));
        tokio::time::advance(STAY * 2).await;
        let mut step =
            |backers: &[PeerId]| role.decide(&backing(&others, backers), Want::default(), false, true);
        assert_eq!(step(&behind), Step::Stay);
        assert_eq!(step(&before[..before.len().min(1)]), Step::Stay, "one of two is not enough");
        assert_eq!(step(&before) == Step::Disconnect, before.len() >= 2);
    }
}
