//! The binary as a process, and where it says that it listens.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

pub(crate) struct Process {
    child: Child,
    ready: String,
}

impl Process {
    /// Runs the binary until this is dropped; returns when it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        // Another build's, to compare with.
        let other = std::env::var_os("PCDN_BENCH_BIN");
        let own = option_env!("CARGO_BIN_EXE_pcdn").unwrap_or("target/release/pcdn");
        let mut command = Command::new(other.unwrap_or_else(|| own.into()));
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready "));
        let ready = ready.unwrap_or_else(|| panic!("{arguments:?} ended"));
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Self { child, ready }
    }

    /// Where its `what` is.
    pub(crate) fn addr(&self, what: &str) -> String {
        let place = self.ready.split(' ').find_map(|word| word.strip_prefix(&format!("{what}=")));
        place.unwrap_or_else(|| panic!("no {what} in {}", self.ready)).to_owned()
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.addr("gateway").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
