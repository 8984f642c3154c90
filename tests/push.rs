//! Warming up before a release, on real sockets: the first viewer finds the film among peers, peers keep their owners' limits,
//! and what is cancelled leaves. `PCDN_TEST_PUSH_FULL=1` warms 8 of 30 peers instead of 3 of 8.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use pcdn::core::id::Identity;
use pcdn::core::resource::Url;
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::core::warmup::Pace;
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, P2p, Settings};
use pcdn::push::api::{BudgetBody, PushBody, StatusBody, TargetBody};
use pcdn::push::{Call, CallError, Holder, HolderConfig, PushNode, PushNodeConfig, PushNodeError, Regions};
use pcdn::testing::content;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, mapping, media, publish, store};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const FILM: usize = 24_000_000;
/// What the CDN gives a viewer.
const CDN: Rate = Rate(4_000_000);
/// Longest any of this may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    origin: DemoOrigin,
    tracker: TrackerServer,
    push: PushNode,
    at: Url,
    call: Call,
    peers: Vec<(Holder, Node)>,
    manifest: ManifestFrom,
}

impl World {
    async fn new(films: &[&str]) -> Self {
        let origin = origin(films).await;
        let loopback = TrackerConfig { listen: ([127, 0, 0, 1], 0).into(), ..TrackerConfig::default() };
        let tracker = TrackerServer::bind(loopback).await.unwrap();
        let brisk = Pace { ask: Duration::from_millis(200), report: Duration::from_millis(200) };
        let regions = Regions::parse(["here=127.0.0.0/8", "there=192.0.2.0/24"]).unwrap();
        let config = PushNodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            pace: brisk,
            regions,
            ..PushNodeConfig::default()
        };
        let reader = node(&origin, None, P2p::Off, ManifestFrom::Off).await;
        let push = PushNode::start(reader, config, pcdn::dice().unwrap()).await.unwrap();
        let at: Url = format!("http://{}", push.local_addrs()[0]).parse().unwrap();
        let call = Call::new(at.clone(), None).unwrap();
        Self { origin, tracker, push, at, call, peers: Vec::new(), manifest: ManifestFrom::Sidecar }
    }

    async fn peer(&mut self, change: impl FnOnce(&mut HolderConfig)) -> Node {
        let node = node(&self.origin, Some(&self.tracker), P2p::On, self.manifest.clone()).await;
        let mut lends =
            HolderConfig { at: vec![self.at.clone()], rate: Rate::UNLIMITED, ..HolderConfig::default() };
        change(&mut lends);
        self.peers.push((Holder::start(node.clone(), lends).unwrap(), node.clone()));
        node
    }

    fn url(&self, film: &str) -> Url {
        self.origin.url(film).parse().unwrap()
    }

    fn order(&self, film: &str, copies: u32) -> PushBody {
        PushBody {
            urls: vec![self.url(film)],
            target: TargetBody::Copies(copies),
            regions: Vec::new(),
            by_s: 120,
            hold_s: 120,
            budget: BudgetBody::default(),
            forecast: 0,
        }
    }

    async fn status(&self, job: u64) -> StatusBody {
        self.call.get(&format!("/v1/pushes/{job}")).await.unwrap()
    }

    /// Waits until the job is as it should be.
    async fn wait(&self, job: u64, done: impl Fn(&StatusBody) -> bool) -> StatusBody {
        let begun = Instant::now();
        loop {
            let status = self.status(job).await;
            if done(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        for (holder, node) in self.peers {
            holder.shutdown().await;
            node.shutdown(Duration::from_secs(1)).await;
        }
        self.push.shutdown().await;
        self.tracker.shutdown().await;
    }
}

fn proven(status: &StatusBody) -> u32 {
    status.regions.iter().map(|region| region.proven).sum()
}

/// An origin with films, their manifests beside them.
async fn origin(films: &[&str]) -> DemoOrigin {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (seed, name) in films.iter().enumerate() {
        let film = content(FILM, seed as u64 + 1);
        let path = dir.path().join(name);
        std::fs::write(&path, &film).unwrap();
        let key = Identity::from_secret([9; 32]);
        let manifest = publish::sign_file(&path, &media::File::default(), &key, None).unwrap();
        files.push(((*name).to_owned(), film));
        files.push((format!("{name}.pcdn"), manifest.into()));
    }
    DemoOrigin::start(files, CDN).await.unwrap()
}

async fn node(
    origin: &DemoOrigin,
    tracker: Option<&TrackerServer>,
    p2p: P2p,
    manifest: ManifestFrom,
) -> Node {
    let me = identity::ephemeral().unwrap();
    let settings = Settings { manifest, policy: Policy::Cost, p2p, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind(([127, 0, 0, 1], 0).into(), &me, builder.provider(), UdpConfig::default());
    let http =
        HttpConfig { allow: vec![origin.addr().to_string().parse().unwrap()], ..HttpConfig::default() };
    let mut builder = builder
        .transport(udp.await.unwrap())
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(32)))
        .origin(Http::new(http, pcdn::dice().unwrap()).unwrap());
    if let Some(tracker) = tracker {
        builder = builder.discovery(Tracker::at(&tracker.local_addr().to_string()));
    }
    builder.build().unwrap()
}

/// What a viewer's player saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    start: Duration,
    whole: Duration,
    from_peers: f64,
}

async fn view(world: &World, film: &str, p2p: P2p) -> Seen {
    let viewer = node(&world.origin, Some(&world.tracker), p2p, world.manifest.clone()).await;
    let begun = Instant::now();
    let asset = viewer.open(&world.url(film)).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn the_first_viewer_at_the_release_finds_the_film_among_peers() {
    let full = std::env::var_os("PCDN_TEST_PUSH_FULL").is_some();
    let (peers, copies) = if full { (30, 8) } else { (8, 3) };
    let mut world = World::new(&["pushed", "other"]).await;
    for _ in 0..peers {
        world.peer(|_| {}).await;
    }
    let job = world.push.push(&world.order("pushed", copies)).await.unwrap().0;
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
    // Tasks of forty nodes share two cores here: what a start may differ by without a difference in what was done.
    assert!(pushed.start <= cdn.start + Duration::from_millis(250), "{pushed:?} {cdn:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manifest_two_witnesses_of_each_piece_are_enough_for_all_copies() {
    let mut world = World::new(&["pushed"]).await;
    world.manifest = ManifestFrom::Off;
    for _ in 0..6 {
        world.peer(|_| {}).await;
    }
    // Three begin, two follow: those take from peers what others vouch for.
    let job = world.push.push(&world.order("pushed", 5)).await.unwrap().0;
    let status = world.wait(job, |status| proven(status) == 5).await;
    println!("{} bytes from the CDN, {} among peers", status.from_cdn, status.from_peers);
    assert!(status.from_cdn <= FILM as u64 * 5 / 2, "{} bytes from the CDN", status.from_cdn);
    assert!(status.from_peers >= FILM as u64 * 2, "{status:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_lend_no_more_room_and_no_more_of_their_line_than_they_say() {
    let mut world = World::new(&["one", "two", "three"]).await;
    // Room for one film and a half; a quarter of a film a second.
    let rate = Rate(FILM as u64 / 4);
    world.peer(|lends| (lends.disk, lends.rate) = (ByteSize(FILM as u64 * 3 / 2), rate)).await;
    world.peer(|lends| lends.disk = ByteSize(FILM as u64 - 1)).await;
    let begun = Instant::now();
    let jobs = ["one", "two"].map(|film| world.order(film, 2));
    let one = world.push.push(&jobs[0]).await.unwrap().0;
    let two = world.push.push(&jobs[1]).await.unwrap().0;
    world.wait(one, |status| proven(status) == 1).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(3_500),
        "a film took {:?} at four seconds' rate",
        begun.elapsed()
    );
    assert_eq!(world.status(two).await.holders.len(), 0, "there is no room for a second");
    let held: Vec<usize> = world.peers.iter().map(|(holder, _)| holder.held().len()).collect();
    assert_eq!(held, [1, 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_watched_fetches_at_a_tenth() {
    let mut world = World::new(&["watched", "pushed"]).await;
    let node = world.peer(|lends| lends.rate = Rate(FILM as u64)).await;
    let asset = node.open(&world.url("watched")).await.unwrap();
    let mut player = asset.read(0..asset.len());
    player.next().await.unwrap().unwrap();
    // The holder looks once a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let begun = Instant::now();
    let job = world.push.push(&world.order("pushed", 1)).await.unwrap().0;
    world.wait(job, |status| status.holders.iter().any(|holder| holder.held > FILM as u64 / 4)).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "a quarter of a film within {:?}", begun.elapsed());
    let whole: usize = {
        let mut sum = 0;
        while let Some(chunk) = player.next().await {
            sum += chunk.unwrap().len();
        }
        sum
    };
    assert!(whole > FILM / 2, "the player goes on");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_is_dropped_unless_its_owner_wants_it() {
    let mut world = World::new(&["pushed"]).await;
    let owner = world.peer(|_| {}).await;
    let other = world.peer(|_| {}).await;
    let asset = owner.open(&world.url("pushed")).await.unwrap();
    let job = world.push.push(&world.order("pushed", 2)).await.unwrap().0;
    world.wait(job, |status| proven(status) == 2).await;
    let cancelled: StatusBody = world.call.delete(&format!("/v1/pushes/{job}")).await.unwrap();
    assert!(cancelled.cancelled && cancelled.over);
    world.wait(job, |status| status.holders.is_empty()).await;
    let begun = Instant::now();
    while world.peers.iter().any(|(holder, _)| !holder.held().is_empty()) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(other.swarms().await.is_empty(), "nobody else wanted it");
    assert_eq!(owner.swarms().await.len(), 1, "its owner had opened it before");
    assert_eq!(asset.report().await.pieces.0, asset.report().await.pieces.1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_calls_against_the_rules_are_refused() {
    let mut world = World::new(&["pushed"]).await;
    let mars = PushBody { regions: vec!["mars".into()], ..world.order("pushed", 1) };
    assert!(matches!(world.push.push(&mars).await, Err(PushNodeError::Region(_))));
    let missing = world.push.push(&world.order("missing", 1)).await;
    assert!(matches!(missing, Err(PushNodeError::Content { .. })), "{missing:?}");
    let there = PushBody { regions: vec!["there".into()], ..world.order("pushed", 1) };
    let there = world.push.push(&there).await.unwrap().0;
    world.peer(|_| {}).await;
    let here = PushBody { regions: vec!["here".into()], ..world.order("pushed", 1) };
    let here = world.push.push(&here).await.unwrap().0;
    let status = world.wait(here, |status| proven(status) == 1).await;
    assert_eq!(status.regions[0].region.as_deref(), Some("here"));
    assert!(world.status(there).await.holders.is_empty(), "nobody is there");

    let offer = serde_json::json!({ "node": Identity::from_secret([1; 32]).peer_id(), "time": 0, "free": 1, "spare": 1, "idle": true, "busy": false });
    let unsigned = world.call.post::<Value>("/v1/leases", &offer).await;
    assert!(matches!(unsigned, Err(CallError::Refused { status: 401, .. })), "{unsigned:?}");
    let unknown = world.call.get::<Value>("/v1/pushes/99").await;
    assert!(matches!(unknown, Err(CallError::Refused { status: 404, .. })));
    let wrong = world.call.post::<Value>("/v1/pushes", &serde_json::json!({ "urls": [] })).await;
    assert!(matches!(wrong, Err(CallError::Refused { status: 400, .. })));
    let page = reqwest::Client::builder().no_proxy().build().unwrap();
    let rebound = page.get(world.at.clone()).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 421);
    let foreign = page.post(format!("{}v1/pushes", world.at)).header("Origin", "http://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let document: Value = world.call.get("/v1/openapi.json").await.unwrap();
    assert!(
        ["/v1/pushes", "/v1/pushes/{id}", "/v1/leases", "/v1/leases/{id}"]
            .iter()
            .all(|path| document["paths"][path].is_object())
    );
    world.stop().await;
}

/// A process of the binary, and where it says that it listens.
struct Process {
    child: Child,
    ready: String,
}

impl Process {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pcdn"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = loop {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("{arguments:?} ended"));
            if line.starts_with("ready ") {
                break line;
            }
        };
        // What it says later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, ready }
    }

    fn addr(&self, what: &str) -> String {
        let place = self.ready.split(' ').find_map(|word| word.strip_prefix(&format!("{what}=")));
        place.unwrap_or_else(|| panic!("no {what} in {}", self.ready)).to_owned()
    }

    /// SIGTERM; it must end well.
    async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        assert!(self.child.wait().await.unwrap().success(), "{}", self.ready);
    }
}

async fn pcdn(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_pcdn")).args(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&said).unwrap_or_else(|e| {
        panic!("{arguments:?} says {said:?}: {e}; {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code(), json)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_command_line_peers_hold_show_and_drop() {
    let origin = origin(&["film"]).await;
    let (film, allowed) = (origin.url("film"), origin.addr().to_string());
    let tracker = Process::start(&["tracker", "--listen", "127.0.0.1:0"]).await;
    let at = tracker.addr("tracker");
    let node = ["--listen", "127.0.0.1:0", "--admin", "off", "--manifest", "sidecar", "--origin", &allowed];
    let brisk = ["--api", "127.0.0.1:0", "--ask-every", "200ms", "--report-every", "200ms", "--copies", "2"];
    let push = Process::start(&[&["push", &film][..], &node, &brisk].concat()).await;
    let place = format!("http://{}", push.addr("push"));
    let peer = ["peer", "--seed-only", "--tracker", &at, "--push", &place, "--policy", "cost"];
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Process::start(&[&peer[..], &node].concat()).await);
    }
    let told = ["push", "--node", &place, "--json"];
    let begun = Instant::now();
    loop {
        let (code, jobs) = pcdn(&[&told[..], &["--status"]].concat()).await;
        assert_eq!(code, Some(0));
        if jobs[0]["regions"][0]["proven"] == 2 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{jobs}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("film").display().to_string();
    let get = ["get", &film, "--json", "--tracker", &at, "--policy", "cost", "--out", &out];
    let (code, report) = pcdn(&[&get[..], &node].concat()).await;
    assert_eq!((code, &report["bytes"]), (Some(0), &Value::from(FILM)));
    assert!(report["p2p_ratio"].as_f64().unwrap() >= 0.9, "{report}");
    let (_, cancelled) = pcdn(&[&told[..], &["--cancel", &film]].concat()).await;
    assert_eq!(cancelled[0]["cancelled"], true, "{cancelled}");
    for process in peers.into_iter().chain([push, tracker]) {
        process.stop().await;
    }
    let (code, _) = {
        let silent =
            Command::new(env!("CARGO_BIN_EXE_pcdn")).args(told).arg("--status").output().await.unwrap();
        (silent.status.code(), silent)
    };
    assert_eq!(code, Some(5), "nobody answers any more");
}
