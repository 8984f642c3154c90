//! `pcdn get` that is told to stop: it says what was reached, ends within the time the contract gives, and its status says
//! whether it was done.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use pcdn::core::unit::Rate;
use pcdn::demo::DemoOrigin;
use pcdn::testing::content;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// From the signal to the exit, by the contract.
const STOP: Duration = Duration::from_secs(5);

const LEN: u64 = 8 << 20;

/// `pcdn get` of a film whose origin gives `rate`.
async fn get(rate: Rate, dir: &std::path::Path, more: &[&str]) -> (Child, DemoOrigin) {
    let film = content(LEN as usize, 1);
    let origin = DemoOrigin::start(vec![("film".to_owned(), film)], rate).await.unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_pcdn"))
        .args(["get", &origin.url("film"), "--json", "--listen", "127.0.0.1:0", "--out"])
        .arg(dir.join("film"))
        .args(["--origin", &origin.addr().to_string()])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    (child, origin)
}

/// Sends a signal; gives the exit status and the report.
async fn stopped(mut child: Child, signal: &str) -> (Option<i32>, Value) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    let began = Instant::now();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    let status = child.wait().await.unwrap();
    assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
    assert_eq!(out.lines().count(), 1, "one report: {out}");
    (status.code(), serde_json::from_str(&out).unwrap())
}

#[tokio::test]
async fn one_that_is_not_done_reports_what_it_reached() {
    for (signal, more) in [("-TERM", &["--seed"][..]), ("-INT", &[])] {
        let dir = tempfile::tempdir().unwrap();
        // A minute's work.
        let (child, origin) = get(Rate(LEN / 60), dir.path(), more).await;
        while origin.given() < 100_000 {
            tokio::task::yield_now().await;
        }
        let (code, report) = stopped(child, signal).await;
        assert_eq!(code, Some(130), "{report}");
        assert_eq!(report["sha256"], Value::Null);
        let bytes = report["bytes"].as_u64().unwrap();
        assert!(bytes < LEN && report["from_origin"] == bytes, "{report}");
        assert_eq!(report["peer"].as_str().unwrap().len(), 64);
        assert_eq!(report["swarm"].as_str().unwrap().len(), 64);
        assert!(!dir.path().join("film").exists(), "a part has not the name of the whole");
    }
}

#[tokio::test]
async fn one_that_is_stopped_before_the_origin_answers_reports_nothing_reached() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_pcdn"))
        .args(["get", &format!("http://{addr}/film"), "--json", "--listen", "127.0.0.1:0", "--origin", &addr])
        .arg("--out")
        .arg(dir.path().join("film"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // It has asked, and is never answered.
    let _asked = listener.accept().await.unwrap();
    let (code, report) = stopped(child, "-TERM").await;
    assert_eq!(code, Some(130));
    assert_eq!(
        (&report["bytes"], &report["rid"], &report["sha256"]),
        (&Value::from(0), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn one_that_seeds_has_reported_and_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _origin) = get(Rate::UNLIMITED, dir.path(), &["--seed"]).await;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it says when it is ready").starts_with("ready ") {}
    let (code, report) = stopped(child, "-TERM").await;
    assert_eq!((code, &report["bytes"]), (Some(0), &Value::from(LEN)));
    assert_eq!(report["sha256"].as_str().unwrap().len(), 64);
    assert!(dir.path().join("film").exists());
}
