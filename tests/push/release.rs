//! The first viewer at the release: what it takes from peers, and when it starts. `PCDN_TEST_PUSH_FULL=1` warms 8 of 30 peers
//! instead of 3 of 8.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use pcdn::core::origin::{Origin as _, OriginGet};
use pcdn::core::schedule::Policy;
use pcdn::node::{ManifestFrom, P2p};

use super::world::{FILM, World, proven};

/// What a viewer's player saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: Duration,
    whole: Duration,
    from_peers: f64,
}

async fn view(world: &World, film: &str, p2p: P2p) -> Seen {
    let viewer = world.viewer(p2p).await;
    let begun = Instant::now();
    let asset = viewer.open_to_play(&world.url(film)).await.unwrap();
    let mut player = asset.read(0..asset.len());
    let (mut start, mut bytes) = (None, 0);
    while let Some(chunk) = player.next().await {
        bytes += chunk.unwrap().len();
        start.get_or_insert_with(|| begun.elapsed());
    }
    assert_eq!(bytes, FILM);
    let (start, whole) = (start.unwrap(), begun.elapsed());
    let from_peers = asset.report().await.p2p_ratio;
    viewer.shutdown(Duration::from_secs(1)).await;
    Seen { start, whole, from_peers }
}

/// When a viewer has the first [`START`] bytes.
async fn start(world: &World, film: &str, p2p: P2p) -> Duration {
    let viewer = world.viewer_of(p2p, Policy::Balanced).await;
    let begun = Instant::now();
    let asset = viewer.open_to_play(&world.url(film)).await.unwrap();
    let mut player = asset.read(0..asset.len());
    let mut bytes = 0;
    while bytes < START {
        bytes += player.next().await.unwrap().unwrap().len();
    }
    let start = begun.elapsed();
    viewer.shutdown(Duration::from_secs(1)).await;
    start
}

/// When a player that asks the CDN itself has them.
async fn start_without_a_node(world: &World, film: &str) -> Duration {
    let cdn = world.cdn();
    let begun = Instant::now();
    let mut body = cdn.get(&OriginGet::whole(world.url(film))).await.unwrap();
    let mut bytes = 0;
    while bytes < START {
        bytes += body.bytes.next().await.unwrap().unwrap().len();
    }
    begun.elapsed()
}

/// What a player needs to begin: a piece.
const START: usize = 64 << 10;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_viewer_at_the_release_finds_the_film_among_peers() {
    let full = std::env::var_os("PCDN_TEST_PUSH_FULL").is_some();
    let (peers, copies) = if full { (30, 8) } else { (8, 3) };
    let mut world = World::new(&["pushed", "other"]).await;
    for _ in 0..peers {
        world.peer(|_| {}).await;
    }
    let job = world.push.push(&world.order("pushed", copies)).await.unwrap();
    let begun = Instant::now();
    let status = world.wait(job, |status| proven(status) == copies).await;
    let warmed = begun.elapsed();
    assert_eq!(status.holders.len(), copies as usize);
    assert!(status.from_cdn <= FILM as u64 * 5 / 2, "{} bytes from the CDN", status.from_cdn);
    assert!(status.from_cdn + status.from_peers >= u64::from(copies) * FILM as u64);
    let holding = world.peers.iter().filter(|(holder, _)| !holder.held().is_empty()).count();
    assert_eq!(holding, copies as usize, "nobody holds what it was not asked to");
    let cdn = view(&world, "other", P2p::Off).await;
    let pushed = view(&world, "pushed", P2p::On).await;
    // The same peers, the same CDN, and nobody was asked to hold this one.
    let cold = view(&world, "other", P2p::On).await;
    println!(
        "{copies} of {peers} warmed in {warmed:?}, {} bytes from the CDN, {} among peers",
        status.from_cdn, status.from_peers
    );
    for (name, seen) in [("pushed", pushed), ("CDN alone", cdn), ("without push", cold)] {
        println!(
            "{name}: start {:?}, whole {:?}, {:.0} % from peers",
            seen.start,
            seen.whole,
            seen.from_peers * 100.0
        );
    }
    assert!(pushed.from_peers >= 0.9, "{pushed:?}");
    assert_eq!(cold.from_peers, 0.0, "{cold:?}");
    // From one at no distance, which no CDN is, and from one that is near.
    for (away, noise) in [(Duration::ZERO, NOISE_HERE), (NEAR, NOISE)] {
        let Starts { pushed, alone, plain } = starts(&world, away).await;
        println!(
            "CDN {away:?} away: start {pushed:?} pushed, {alone:?} by a node from the CDN, {plain:?} without a node"
        );
        assert!(
            pushed <= alone.min(plain) + noise,
            "{pushed:?} pushed, {alone:?} and {plain:?} from the CDN"
        );
    }
    world.stop().await;
}

/// Starts are compared so often, in turn, so that what else the machine does meets all of them.
const ROUNDS: usize = 9;
/// A CDN that is near.
const NEAR: Duration = Duration::from_millis(25);
/// What a start may differ by without a difference in what was done: viewers, holders, CDN and tracker share the cores here, and
/// a viewer's handshakes with three holders are computed at both of their ends. It shows most where the CDN is no way off.
const NOISE: Duration = Duration::from_millis(8);
const NOISE_HERE: Duration = Duration::from_millis(25);

/// The CDN is unloaded when a viewer comes: it owes nobody anything any more.
const REST: Duration = Duration::from_millis(50);

/// Medians of when viewers start.
struct Starts {
    pushed: Duration,
    /// With peers turned off.
    alone: Duration,
    plain: Duration,
}

async fn starts(world: &World, away: Duration) -> Starts {
    world.move_cdn(away);
    let (mut pushed, mut alone, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(REST).await;
        pushed.push(start(world, "pushed", P2p::On).await);
        tokio::time::sleep(REST).await;
        alone.push(start(world, "other", P2p::Off).await);
        tokio::time::sleep(REST).await;
        plain.push(start_without_a_node(world, "other").await);
    }
    Starts { pushed: median(pushed), alone: median(alone), plain: median(plain) }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manifest_two_witnesses_of_each_piece_are_enough_for_all_copies() {
    let mut world = World::new(&["pushed"]).await;
    world.manifest = ManifestFrom::Off;
    for _ in 0..6 {
        world.peer(|_| {}).await;
    }
    // Three begin, two follow: those take from peers what others vouch for.
    let job = world.push.push(&world.order("pushed", 5)).await.unwrap();
    let status = world.wait(job, |status| proven(status) == 5).await;
    println!("{} bytes from the CDN, {} among peers", status.from_cdn, status.from_peers);
    assert!(status.from_cdn <= FILM as u64 * 5 / 2, "{} bytes from the CDN", status.from_cdn);
    assert!(status.from_peers >= FILM as u64 * 2, "{status:?}");
    world.stop().await;
}
