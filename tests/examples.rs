//! The examples are the manual: each runs as its header says, and ends as it should.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Runs an example as a reader would, and checks its last line.
fn check(name: &str, arguments: &[&str], last: impl Fn(&str) -> bool) {
    let run = [&["run", "--offline", "--quiet", "--example", name, "--"][..], arguments].concat();
    let output =
        Command::new(env!("CARGO")).args(run).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed:\n{out}{err}");
    let line = out.lines().last().unwrap_or_default();
    assert!(last(line), "{name} ends with {line:?}:\n{out}{err}");
}

#[test]
fn every_example_is_run_here() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let run = format!("check(\"{name}\", ");
        assert!(include_str!("examples.rs").contains(&run), "{name} is not run");
    }
}

#[test]
fn custom_fragmenter() {
    check("custom_fragmenter", &[], |line| line == "3 records, cut alike by both: true");
}

#[test]
fn custom_mapper() {
    check("custom_mapper", &[], |line| line == "the viewers meet: true");
}

#[test]
fn custom_scheduler() {
    check("custom_scheduler", &["6"], |line| line.starts_with("hybrid") && line.ends_with("right: true"));
}

#[test]
fn custom_transport() {
    check("custom_transport", &[], |line| takes_most(line, "through the socket came "));
}

#[test]
fn embed_in_app() {
    check("embed_in_app", &[], |line| line == "frames shown: [0, 1, 2, 498, 499, 1]");
}

#[test]
fn hello_node() {
    check("hello_node", &[], |line| takes_most(line, "the second node took "));
}

#[test]
fn layer_app() {
    let last = "image of 40000 bytes, film of 3 segments, live edge of 300000 bytes";
    check("layer_app", &[], |line| line == last);
}

#[test]
fn layer_pcdn() {
    check("layer_pcdn", &[], |line| takes_most(line, "the second peer took "));
}

#[test]
fn layer_storage() {
    check("layer_storage", &[], |line| line == "what came back is what was put: true");
}

#[test]
fn mapping_node() {
    check("mapping_node", &[], |line| {
        takes_most(line, "the second viewer took ") && line.ends_with("proof: signed")
    });
}

#[test]
fn mock_unit_test() {
    check("mock_unit_test", &[], |line| line == "viewers now: 1");
}

#[test]
fn push_warmup() {
    check("push_warmup", &[], |line| takes_most(line, "the first viewer took "));
}

#[test]
fn simulate() {
    let small = ["crowd8", "--peers", "4", "--size", "6MB"];
    check("simulate", &small, |line| line.starts_with("trace ") && line.contains(" events in "));
}

#[test]
fn tracker_to_dht() {
    let told = "a newcomer's first peer took the DHT ";
    check("tracker_to_dht", &[], |line| {
        line.starts_with(told) && line.ends_with(" times as long as the tracker")
    });
}

/// Whether the line is `begin`, then a share above one half in percent.
fn takes_most(line: &str, begin: &str) -> bool {
    let share = line.strip_prefix(begin).and_then(|rest| rest.split(' ').next());
    share.and_then(|percent| percent.parse::<u32>().ok()).is_some_and(|percent| percent > 50)
}
