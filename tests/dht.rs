//! The binary without a tracker: what was found goes on, and who comes anew finds the rest by the DHT.
#![cfg(feature = "kad")]
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::Duration;

use pcdn::core::fragment::Fragmenter as _;
use pcdn::core::id::Identity;
use pcdn::core::unit::Rate;
use pcdn::demo::{Demo, DemoDiscovery, DemoOptions, DemoOrigin};
use pcdn::media::File;
use pcdn::push::Call;
use pcdn::testing::{content, manifest_of};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Two segments of a file's usual cut.
const LEN: usize = 8 << 20;
/// Slow enough that whoever can takes it from peers, also on a busy machine.
const ORIGIN: Rate = Rate(1_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

async fn origin() -> DemoOrigin {
    let film = content(LEN, 1);
    let manifest = manifest_of(&film, File::default().rule(), 4 << 20, 16, &Identity::from_secret([9; 32]));
    DemoOrigin::start(vec![("film".to_owned(), film), ("film.pcdn".to_owned(), manifest)], ORIGIN)
        .await
        .unwrap()
}

fn pcdn(verb: &str, origin: &DemoOrigin, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcdn"));
    command
        .args([
            verb,
            "--listen",
            "127.0.0.1:0",
            "--origin",
            &origin.addr().to_string(),
            "--manifest",
            "sidecar",
        ])
        .args(["--policy", "cost", "--log-level", "info"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A peer that holds the film whole, and where others join the DHT by it.
struct Seeder {
    _child: Child,
    contact: String,
}

async fn seeder(origin: &DemoOrigin, more: &[&str]) -> Seeder {
    let url = origin.url("film");
    let mut child =
        pcdn("peer", origin, &[&["--admin", "off", "--seed-only", "--seed", &url], more].concat())
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut contact = None;
    let told = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it says when it is ready");
            if let Some(places) = line.strip_prefix("ready ") {
                contact = places.split(' ').find_map(|place| place.strip_prefix("dht=")).map(str::to_owned);
            }
            if line.contains("held whole") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    // What it logs from now on is read by nobody, and must not stop it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Seeder { _child: child, contact: contact.unwrap_or_default() }
}

/// Downloads the film; gives the report.
async fn get(origin: &DemoOrigin, more: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let mut command = pcdn("get", origin, more);
    let running =
        command.args([&origin.url("film"), "--json", "--out"]).arg(dir.path().join("film")).output();
    let output = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A tracker in a process of its own, and where it listens.
async fn tracker() -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pcdn"))
        .args(["tracker", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let at = place(&mut child, "tracker=").await;
    (child, at)
}

/// Where a process says that it listens.
async fn place(child: &mut Child, what: &str) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it says when it is ready");
            if let Some(places) = line.strip_prefix("ready ") {
                return places.split(' ').find_map(|place| place.strip_prefix(what)).unwrap().to_owned();
            }
        }
    };
    let at = tokio::time::timeout(PATIENCE, ready).await.unwrap();
    // What it says later must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    at
}

/// A node's admin API.
struct Admin {
    call: Call,
    events: TcpStream,
    told: String,
}

impl Admin {
    /// Listens to what the node tells.
    async fn at(at: &str) -> Self {
        let mut events = TcpStream::connect(at).await.unwrap();
        let asked = format!("GET /api/v1/events HTTP/1.1\r\nHost: {at}\r\n\r\n");
        events.write_all(asked.as_bytes()).await.unwrap();
        let call = Call::new(format!("http://{at}").parse().unwrap(), None).unwrap();
        Self { call, events, told: String::new() }
    }

    /// Waits until it has told of such an event.
    async fn hear(&mut self, event: &str) {
        let event = format!(r#""event":"{event}""#);
        let wait = async {
            while !self.told.contains(&event) {
                let mut chunk = [0; 4096];
                let len = self.events.read(&mut chunk).await.unwrap();
                assert!(len > 0, "events go on");
                self.told.push_str(&String::from_utf8_lossy(&chunk[..len]));
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("no {event}: {}", self.told);
        }
    }

    /// Waits until the node has a neighbour. The event of it may have been told before anybody listened.
    async fn has_met_somebody(&self) {
        let wait = async {
            while self.report().await["neighbours"].as_u64().unwrap_or(0) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it meets somebody");
    }

    /// How the one swarm goes.
    async fn report(&self) -> Value {
        let swarms: Value = self.call.get("/api/v1/swarms").await.unwrap();
        swarms[0]["report"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_tracker_transfers_go_on_and_newcomers_find_the_rest() {
    let origin = origin().await;
    let (mut tracker, at) = tracker().await;
    let first = seeder(&origin, &["--tracker", &at, "--dht", "none"]).await;
    assert!(first.contact.starts_with("/ip4/127.0.0.1/udp/"), "{}", first.contact);
    let second = seeder(&origin, &["--tracker", &at, "--dht", &first.contact]).await;

    // It takes four seconds, has met somebody by the tracker alone, and then the tracker is killed.
    let url = origin.url("film");
    let slow = ["--seed-only", "--seed", &url, "--tracker", &at, "--download-limit", "2MB/s"];
    let mut under_way =
        pcdn("peer", &origin, &[&slow[..], &["--admin", "127.0.0.1:0"]].concat()).spawn().unwrap();
    let mut admin = Admin::at(&place(&mut under_way, "admin=").await).await;
    admin.has_met_somebody().await;
    tracker.kill().await.unwrap();
    let pieces = admin.report().await["pieces"].clone();
    assert_ne!(pieces[0], pieces[1], "it is under way");

    let newcomer = get(&origin, &["--tracker", &at, "--dht", &second.contact]).await;
    assert_eq!(newcomer["bytes"], LEN);
    assert!(newcomer["p2p_ratio"].as_f64().unwrap() > 0.5, "{newcomer}");
    admin.hear("complete").await;
    let report = admin.report().await;
    assert!(report["p2p_ratio"].as_f64().unwrap() > 0.5, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_needs_no_tracker() {
    let options = DemoOptions {
        peers: 4,
        size: pcdn::core::unit::ByteSize::mib(8),
        origin_rate: ORIGIN,
        discovery: DemoDiscovery::Dht,
        ..DemoOptions::default()
    };
    let demo = Demo::start(options).await.unwrap();
    let report = demo.run().await.unwrap();
    demo.stop().await;
    assert!(report.all_bytes_correct);
    assert!(report.p2p_ratio > 0.4, "{}", report.p2p_ratio);
}

#[tokio::test]
async fn a_contact_that_is_none_is_refused_with_the_form_to_write() {
    let origin = origin().await;
    let dir = tempfile::tempdir().unwrap();
    for (bad, says) in
        [("192.0.2.1:4001", "--dht none"), ("/ip4/192.0.2.1/udp/4001/quic-v1/p2p/x", "/ip4/IP/udp/PORT")]
    {
        let output = pcdn("get", &origin, &["--dht", bad, &origin.url("film")])
            .current_dir(dir.path())
            .output()
            .await
            .unwrap();
        let line = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains(says), "{line}");
    }
}
