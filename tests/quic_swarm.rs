//! QUIC in real nodes: a demo of its own, and one swarm whose nodes speak UDP, QUIC or both.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::Duration;

use pcdn::core::fragment::Fragmenter as _;
use pcdn::core::id::Identity;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::{Demo, DemoOptions, DemoOrigin, DemoTransport};
use pcdn::discovery::{TrackerConfig, TrackerServer};
use pcdn::media::File;
use pcdn::testing::{content, manifest_of};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Two segments of a file's usual cut.
const LEN: usize = 8 << 20;
/// Slow enough that whoever can takes it from peers.
const ORIGIN: Rate = Rate(2_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

const UDP: &str = "udp://127.0.0.1:0";
const QUIC: &str = "quic://127.0.0.1:0";

struct World {
    origin: DemoOrigin,
    tracker: TrackerServer,
}

impl World {
    async fn new() -> Self {
        let film = content(LEN, 1);
        let key = Identity::from_secret([9; 32]);
        let manifest = manifest_of(&film, File::default().rule(), 4 << 20, 16, &key);
        let files = vec![("film".to_owned(), film), ("film.pcdn".to_owned(), manifest)];
        let origin = DemoOrigin::start(files, ORIGIN).await.unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let tracker =
            TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await.unwrap();
        Self { origin, tracker }
    }

    fn pcdn(&self, verb: &str, speaks: &[&str], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcdn"));
        command.arg(verb);
        speaks.iter().for_each(|at| _ = command.args(["--listen", at]));
        command
            .args(["--origin", &self.origin.addr().to_string(), "--manifest", "sidecar"])
            .args(["--tracker", &self.tracker.local_addr().to_string()])
            .args(["--admin", "off", "--policy", "cost", "--log-level", "info"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// A peer that holds the film whole, and where it says it listens.
    async fn seeder(&self, speaks: &[&str]) -> (Child, String) {
        let url = self.origin.url("film");
        let mut child = self.pcdn("peer", speaks, &["--seed-only", "--seed", &url]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut places = String::new();
        let told = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it says when it is ready");
                if let Some(ready) = line.strip_prefix("ready ") {
                    places = ready.to_owned();
                }
                if line.contains("held whole") {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
        // What it logs from now on is read by nobody, and must not stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (child, places)
    }

    /// Downloads the film; gives the report.
    async fn get(&self, speaks: &[&str]) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let mut command = self.pcdn("get", speaks, &[&self.origin.url("film"), "--json", "--out"]);
        let running = command.arg(dir.path().join("film")).output();
        let output = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_speaks_both_and_who_speaks_one_is_served_too() {
    let world = World::new().await;
    let (_first, places) = world.seeder(&[UDP]).await;
    assert!(places.starts_with("peer=127.0.0.1:"), "{places}");
    // Takes the film by UDP from the first …
    let (_second, places) = world.seeder(&[UDP, QUIC]).await;
    let place =
        |start: &str| places.split(' ').find_map(|place| place.strip_prefix(start)).unwrap().to_owned();
    assert_eq!(place("peer=127.0.0.1:"), place("peer=quic://127.0.0.1:"), "one socket for both: {places}");
    let given = world.origin.given();
    // … and gives it on in either.
    let (quic, udp, both) = tokio::join!(world.get(&[QUIC]), world.get(&[UDP]), world.get(&[QUIC, UDP]));
    for report in [&quic, &udp, &both] {
        assert_eq!(report["bytes"], LEN, "{report}");
        assert_eq!(report["sha256"], quic["sha256"]);
        assert!(report["p2p_ratio"].as_f64().unwrap() > 0.5, "{report}");
    }
    assert!(world.origin.given() < given + 2 * LEN as u64, "three copies cost the origin less than two");
    world.tracker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_runs_on_quic_alone() {
    let options = DemoOptions {
        peers: 4,
        size: ByteSize::mib(8),
        origin_rate: ORIGIN,
        transport: DemoTransport::Quic,
        ..DemoOptions::default()
    };
    let demo = Demo::start(options).await.unwrap();
    assert!(demo.nodes().iter().all(|node| node.record().addrs[0].to_string().starts_with("quic://")));
    let report = demo.run().await.unwrap();
    demo.stop().await;
    assert!(report.all_bytes_correct);
    assert!(report.p2p_ratio > 0.4, "{}", report.p2p_ratio);
}
