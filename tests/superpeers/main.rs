//! Superpeers in service, on real sockets and with short times: a tracker, a push node that audits, witnesses that dial, viewers
//! that sign, a ledger that knows stakes. Two peers give the same, and one has a stake that makes it a superpeer.
//! What it then gives more than its equal is in `share`.
#![cfg(target_os = "linux")] // All of 127.0.0.0/8 is here, so every node has a subnet of its own.
#![allow(clippy::unwrap_used)]

mod panel;
mod share;
mod world;

use std::time::Instant;

use pcdn::Node;
use pcdn::core::id::Identity;
use pcdn::core::superpeer::Gate;
use pcdn::core::unit::Rate;
use pcdn::discovery::Tracker;
use pcdn::discovery::tracker::standing::http::{SuperpeersBody, wall_clock};
use pcdn::push::api::{BudgetBody, PushBody, TargetBody};
use pcdn::push::{Call, Holder, HolderConfig};
use world::{BRISK, FILMS, PATIENCE, VIEWERS, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_in_service_promotes_who_qualifies_and_demotes_who_does_not_any_more() {
    let mut world = World::new().await;
    let mut givers = Vec::new();
    for n in [2, 3] {
        let giver = world.giver(n).await;
        let at = vec![format!("http://{}", world.push.local_addrs()[0]).parse().unwrap()];
        let lends = HolderConfig { at, rate: Rate::UNLIMITED, ..HolderConfig::default() };
        world.holders.push(Holder::start(giver.clone(), lends).unwrap());
        givers.push(giver);
    }
    let [staked, equal] = [0, 1].map(|n: usize| givers[n].peer_id());
    for giver in [staked, equal] {
        world.stake(giver, 99);
    }
    let order = PushBody {
        urls: FILMS.into_iter().map(|film| world.url(film)).collect(),
        renditions: Vec::new(),
        target: TargetBody::Copies(2),
        regions: Vec::new(),
        by_s: 300,
        hold_s: 300,
        budget: BudgetBody::default(),
        forecast: 0,
    };
    world.push.push(&order).await.unwrap();
    // What the two hold is proven before anybody takes it.
    let begun = Instant::now();
    for giver in [staked, equal] {
        while world.standing(giver).await.is_none_or(|told| told.facts.audits.1 < FILMS.len() as u32) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", world.standing(giver).await);
            tokio::time::sleep(BRISK).await;
        }
    }
    // They give nothing, so all that peers give is the two's.
    let mut viewers = Vec::new();
    for n in 0..VIEWERS {
        viewers.push(world.viewer(10 + n).await);
    }
    // Downloads take from both, and sign; all dial both.
    for film in FILMS {
        let whole = |viewer: Node| {
            let url = world.url(film);
            async move { viewer.open(&url).await.unwrap().complete().await.unwrap() }
        };
        futures_util::future::join_all(viewers.iter().cloned().map(whole)).await;
    }
    world.stake(staked, 100);
    world.wait(&[staked], staked).await;
    let rose = world.standing(staked).await.unwrap();
    println!("promoted after {:?}, score {:.2}", begun.elapsed(), rose.judgement.score);
    // They give the same, and not at the same moments.
    while world.standing(equal).await.unwrap().judgement.shut != [Gate::Stake] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", world.standing(equal).await);
        tokio::time::sleep(BRISK).await;
    }
    // What is told may be a moment behind what is seen, and a stake that is lost by then is all that is told.
    let ledger = || std::fs::read_to_string(world.dir.path().join("ledger.jsonl")).unwrap();
    while !ledger().contains("\"superpeer\":true") {
        assert!(begun.elapsed() < PATIENCE, "{}", ledger());
        tokio::time::sleep(BRISK).await;
    }

    world.stake(staked, 0);
    world.wait(&[], staked).await;
    let fell = world.standing(staked).await.unwrap();
    assert!(fell.judgement.shut.contains(&Gate::Stake), "{fell:?}");
    let told = ledger();
    assert!(told.contains("\"superpeer\":true") && told.contains(&staked.to_string()), "{told}");
    world.stop().await;
}

/// What `pcdn ARGUMENTS` writes to stdout, if it ends well.
async fn said(arguments: &[&str]) -> String {
    let output =
        tokio::process::Command::new(env!("CARGO_BIN_EXE_pcdn")).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Starts `pcdn tracker` in `dir`; its process and where it listens.
async fn tracker_in(dir: &std::path::Path) -> (tokio::process::Child, String) {
    use tokio::io::AsyncBufReadExt as _;
    let (data, books) = (dir.join("data"), dir.join("ledger.jsonl"));
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_pcdn"))
        .args(["tracker", "--listen", "127.0.0.1:0", "--stake", "1"])
        .args([std::ffi::OsStr::new("--data-dir"), data.as_os_str()])
        .args([std::ffi::OsStr::new("--ledger"), books.as_os_str()])
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it says where it listens");
        if let Some(at) = line.split("tracker=").nth(1) {
            return (child, at.split(' ').next().unwrap().to_owned());
        }
    }
}

async fn stopped(mut child: tokio::process::Child) {
    let pid = child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trackers_key_books_and_standings_survive_a_restart() {
    use pcdn::core::receipt::{Receipt, Tally};
    use pcdn::discovery::tracker::standing::http::{ReceiptsBody, TakenBody, hex};
    let dir = tempfile::tempdir().unwrap();
    let (child, at) = tracker_in(dir.path()).await;
    let call = |at: &str| Call::new(format!("http://{at}").parse().unwrap(), None).unwrap();
    let signer: SuperpeersBody = call(&at).get("/v1/superpeers").await.unwrap();
    let (up, down) = (Identity::from_secret([1; 32]).peer_id(), Identity::from_secret([2; 32]));
    let known = pcdn::core::id::SwarmKey([9; 32]);
    let tracker = Tracker::at(&at);
    let me = pcdn::core::peer::PeerRecord {
        id: down.peer_id(),
        addrs: vec!["udp://127.0.0.1:4000".parse().unwrap()],
        seed: false,
    };
    pcdn::core::discovery::Discovery::announce(&tracker, &known, &me).await.unwrap();
    let minute = (wall_clock().0 / 60_000_000) as u32;
    let tally = Tally { bytes: 1 << 20, pieces: 16, bad: 0 };
    let receipts = vec![hex(&Receipt::sign(&down, [3; 16], up, known, minute, tally).encode())];
    let body = ReceiptsBody { receipts };
    let taken: TakenBody = call(&at).post("/v1/receipts", &body).await.unwrap();
    assert_eq!((taken.taken, taken.refused.len()), (1, 0));
    stopped(child).await;

    let (child, at) = tracker_in(dir.path()).await;
    let again: SuperpeersBody = call(&at).get("/v1/superpeers").await.unwrap();
    assert_eq!(again.tracker, signer.tracker, "the key is kept");
    let taken: TakenBody = call(&at).post("/v1/receipts", &body).await.unwrap();
    assert_eq!((taken.taken, taken.refused), (0, vec!["nothing new in it".to_owned()]));
    let shown = said(&["tracker", "--earned", "--json", "--listen", &at]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown[0]["peer"], &shown[0]["bytes"]), (&up.to_string().into(), &(1 << 20).into()));
    stopped(child).await;
    let told = std::fs::read_to_string(dir.path().join("ledger.jsonl")).unwrap();
    assert_eq!(told.matches(&up.to_string()).count(), 1, "told once, as nothing changed: {told}");
}
