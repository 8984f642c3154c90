//! Two network namespaces, *home* and *far*, joined by the link emulator of the end-to-end tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) const HOME: &str = "10.77.1.2";
pub(crate) const FAR: &str = "10.77.2.2";

/// Removes everything when dropped.
pub(crate) struct Rig {
    prefix: String,
    emulator: Part,
}

/// A process of the rig; killed when dropped.
pub(crate) struct Part {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Rig {
    /// Builds it with the given settings of the home's link, in both directions unless they say `up.` or `down.`.
    pub(crate) fn new(link: &str) -> Self {
        // Kernels allow 15 letters in an interface's name, namespaces have no such limit.
        let prefix = format!("udp-bench-{}-", std::process::id());
        let program = std::env::temp_dir().join(format!("{prefix}linkem"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/linkem.rs");
        let built = Command::new("rustc")
            .args(["-O", "--edition", "2021", "-o"])
            .args([program.as_os_str(), source.as_ref()])
            .status();
        assert!(built.unwrap().success(), "the link emulator does not build");
        let specs = [("home", HOME), ("far", FAR)].map(|(node, addr)| {
            ip(&["netns", "add", &format!("{prefix}{node}")]);
            format!("{node}={prefix}{node}:wan:{addr}/24")
        });
        // Before all others on the processor: a line does not slow down when the computers at its ends are busy.
        let mut command = Command::new("nice");
        command.args(["-n", "-10"]).arg(&program).args(&specs);
        let mut emulator = Part::start(command);
        assert_eq!(emulator.line(), "ready");
        std::fs::remove_file(&program).unwrap();
        let mut rig = Self { prefix, emulator };
        rig.set("far", "queue=1000");
        rig.set("home", link);
        for (node, addr) in [("home", HOME), ("far", FAR)] {
            let space = format!("{}{node}", rig.prefix);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
            ip(&["-n", &space, "addr", "add", &format!("{addr}/24"), "dev", "wan"]);
            ip(&["-n", &space, "link", "set", "wan", "txqueuelen", "2000", "up"]);
            ip(&["-n", &space, "route", "add", "default", "dev", "wan"]);
        }
        rig
    }

    pub(crate) fn set(&mut self, node: &str, settings: &str) {
        assert_eq!(self.emulator.ask(&format!("set {node} {settings}")), "ok");
    }

    /// Starts a part of this program in a namespace.
    pub(crate) fn start(&self, node: &str, words: &[&str]) -> Part {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{node}", self.prefix)]);
        command.arg(std::env::current_exe().unwrap()).arg("child").args(words);
        Part::start(command)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.emulator.child.kill();
        let _ = self.emulator.child.wait();
        for node in ["home", "far"] {
            ip(&["netns", "del", &format!("{}{node}", self.prefix)]);
        }
    }
}

impl Part {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The numbers in the next line it prints.
    pub(crate) fn numbers(&mut self) -> Vec<f64> {
        self.line().split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Processor seconds it has used so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    /// Waits until it ends by itself; it is told by the end of its input.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of a process so far, user and system, in clock ticks of 10 ms.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// A part of this program outside all namespaces.
pub(crate) fn child(words: &[&str]) -> Part {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("child").args(words);
    Part::start(command)
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}
