//! The same by the binary: a push node, peers and a tracker as processes, orders by the command line.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use pcdn::demo::DemoOrigin;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};

use super::world::{CDN, FILM, PATIENCE, films, films_of};

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
    let ends = Command::new(env!("CARGO_BIN_EXE_pcdn")).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, ends).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&said).unwrap_or_else(|e| {
        panic!("{arguments:?} says {said:?}: {e}; {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code(), json)
}

/// A film that is soon there.
const SHORT: usize = 4_000_000;

/// What every node here is started with; `ORIGIN` is allowed.
fn node(origin: &str) -> Vec<&str> {
    vec!["--listen", "127.0.0.1:0", "--admin", "off", "--manifest", "sidecar", "--origin", origin]
}

const BRISK: [&str; 4] = ["--ask-every", "200ms", "--report-every", "200ms"];

/// A peer that holds for the push node at `push`, and its id.
async fn peer(push: &str, tracker: &str, node: &[&str]) -> (Process, String) {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let id = pcdn::identity::load_or_create(&key).unwrap().peer_id().to_string();
    let key = key.display().to_string();
    let peer = ["peer", "--seed-only", "--tracker", tracker, "--push", push, "--policy", "cost"];
    (Process::start(&[&peer[..], &["--identity", &key], node].concat()).await, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_command_line_peers_hold_show_and_drop() {
    let origin = DemoOrigin::start(films(&["film"]), CDN).await.unwrap();
    let (film, allowed) = (origin.url("film"), origin.addr().to_string());
    let tracker = Process::start(&["tracker", "--listen", "127.0.0.1:0"]).await;
    let (at, node) = (tracker.addr("tracker"), node(&allowed));
    let push = Process::start(&[&["push", "--api", "127.0.0.1:0"][..], &BRISK, &node].concat()).await;
    let place = format!("http://{}", push.addr("push"));
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(peer(&place, &at, &node).await.0);
    }
    // It ends when all copies are proven.
    let told = ["push", "--node", &place, "--json"];
    let (code, jobs) = pcdn(&[&told[..], &["--copies", "2", &film]].concat()).await;
    assert_eq!((code, &jobs[0]["regions"][0]["proven"]), (Some(0), &Value::from(2)), "{jobs}");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("film").display().to_string();
    let get = ["get", &film, "--json", "--tracker", &at, "--policy", "cost", "--out", &out];
    let (code, report) = pcdn(&[&get[..], &node].concat()).await;
    assert_eq!((code, &report["bytes"]), (Some(0), &Value::from(FILM)));
    // How much it is in time of its own: `paused`.
    assert!(report["p2p_ratio"].as_f64().unwrap() >= 0.5, "{report}");
    let (_, cancelled) = pcdn(&[&told[..], &["--cancel", &film]].concat()).await;
    assert_eq!(cancelled[0]["cancelled"], true, "{cancelled}");
    for process in peers.into_iter().chain([push, tracker]) {
        process.stop().await;
    }
    let silent = Command::new(env!("CARGO_BIN_EXE_pcdn")).args(told).arg("--status").output().await.unwrap();
    assert_eq!(silent.status.code(), Some(5), "nobody answers any more");
}

/// A home's router: whoever calls `at` is seen to call `to` from `from`.
fn router(at: TcpListener, from: IpAddr, to: SocketAddr) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = at.accept().await {
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                let mut outside = socket.connect(to).await?;
                tokio::io::copy_bidirectional(&mut inside, &mut outside).await
            });
        }
    })
}

/// A listener, on a port below those that the system gives to anybody: one it gives may be somebody's at another address.
async fn home() -> TcpListener {
    for port in 20_000 + (std::process::id() % 10_000) as u16..32_768 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
    }
    panic!("thousands of ports are taken")
}

/// Regions are where peers call from, by the operator's table. Two peers call from `eu`, two from `us`.
#[cfg(target_os = "linux")] // All of 127.0.0.0/8 is here.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_command_line_regions_deadlines_and_budgets_hold() {
    let origin = DemoOrigin::start(films_of(SHORT, &["one", "two", "three"]), CDN).await.unwrap();
    let allowed = origin.addr().to_string();
    let [one, two, three] = ["one", "two", "three"].map(|film| origin.url(film));
    let tracker = Process::start(&["tracker", "--listen", "127.0.0.1:0"]).await;
    let (at, node) = (tracker.addr("tracker"), node(&allowed));
    let table = ["--region", "eu=127.0.7.0/24", "--region", "us=127.0.0.0/8"];
    // Push nodes are called by their own port only, and nobody else is at that address.
    let home = home().await;
    let api = format!("127.0.0.9:{}", home.local_addr().unwrap().port());
    let push = ["push", "--api", &api];
    let push = Process::start(&[&push[..], &table, &BRISK, &node].concat()).await;
    let to: SocketAddr = push.addr("push").parse().unwrap();
    let (eu, us) = (format!("http://{}", home.local_addr().unwrap()), format!("http://{to}"));
    let router = router(home, [127, 0, 7, 1].into(), to);
    let (mut peers, mut all) = (Vec::new(), Vec::new());
    for place in [&eu, &eu, &us, &us] {
        let (peer, id) = peer(place, &at, &node).await;
        peers.push(peer);
        all.push(id);
    }
    let ids = |which: std::ops::Range<usize>| {
        let mut ids = all[which].to_vec();
        ids.sort();
        ids
    };
    let told = ["push", "--node", &us, "--json"];
    let tell = async |more: &[&str]| pcdn(&[&told[..], more].concat()).await;

    // All copies are where they shall be, and it ends at once.
    let (code, done) = tell(&["--region", "eu", "--copies", "2", &one]).await;
    assert_eq!(code, Some(0), "{done}");
    assert_eq!(
        (&done[0]["regions"][0]["region"], &done[0]["regions"][0]["proven"]),
        (&"eu".into(), &2.into())
    );
    assert_eq!(holders(&done[0]), ids(0..2));

    // Three copies among two peers: the deadline ends the command, and what is there stays.
    let late = ["--region", "us", "--copies", "3", "--deadline", "6s", &two];
    let (code, late) = tell(&late).await;
    assert_eq!(code, Some(7), "{late}");
    let region = &late[0]["regions"][0];
    assert_eq!(
        (&region["region"], &region["planned"], &region["proven"]),
        (&"us".into(), &3.into(), &2.into())
    );
    assert_eq!(holders(&late[0]), ids(2..4));

    // Less than a film from the CDN, and nobody else has it: no copy, no byte beyond the budget.
    let poor = ["--cdn-budget", "1MiB", "--copies", "1", "--deadline", "4s", &three];
    let (code, poor) = tell(&poor).await;
    assert_eq!((code, &poor[0]["regions"][0]["proven"]), (Some(7), &0.into()), "{poor}");
    let (_, jobs) = tell(&["--status", &three]).await;
    let from_cdn = jobs[0]["from_cdn"].as_u64().unwrap();
    assert!((1..=1 << 20).contains(&from_cdn), "{jobs}");

    // What is cancelled is told to drop; the others are left alone.
    let (code, cancelled) = tell(&["--cancel", &one]).await;
    assert_eq!((code, cancelled.as_array().unwrap().len()), (Some(0), 1));
    let (_, jobs) = tell(&["--status"]).await;
    let state =
        |job: &Value| (job["cancelled"].as_bool().unwrap(), job["urls"][0].as_str().unwrap().to_owned());
    let states: Vec<_> = jobs.as_array().unwrap().iter().map(state).collect();
    assert_eq!(states, [(true, one.clone()), (false, two.clone()), (false, three.clone())]);
    let (code, _) = tell_wrong(&told, &["--region", "mars", &one]).await;
    assert_eq!(code, Some(1), "no region is called so");

    for process in peers.into_iter().chain([push, tracker]) {
        process.stop().await;
    }
    router.abort();
}

/// Who holds for a job, in order.
fn holders(job: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        job["holders"].as_array().unwrap().iter().map(|it| it["peer"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn tell_wrong(told: &[&str], more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pcdn")).args(told).args(more).output().await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
