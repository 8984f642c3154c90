//! Bytes a peer: what a process grows by when a million announce.

use std::process::Command;

use crate::pure::Rig;
use crate::world::{PEERS, memory_of};

const WANTED: f64 = 160.0;

pub(crate) fn run() {
    for kind in ["plain", "native", "report"] {
        // In a process of its own, so that nothing is left over from before.
        let out = Command::new(std::env::current_exe().unwrap()).args(["fill", kind]).output().unwrap();
        print!("{}", String::from_utf8_lossy(&out.stdout));
    }
}

pub(crate) fn fill(kind: &str) {
    let mut rig = Rig::new();
    let before = memory_of(std::process::id());
    match kind {
        "report" => (0..PEERS / 20).for_each(|n| {
            let datagram = rig.report(n, 20);
            rig.send(n, &datagram);
        }),
        _ => (0..PEERS).for_each(|n| {
            let datagram = if kind == "plain" { rig.plain(n) } else { rig.native(n) };
            rig.send(n, &datagram);
        }),
    }
    let grown = memory_of(std::process::id()) - before;
    let (entries, swarms) = (rig.service.table().entries(), rig.service.table().swarms());
    let each = grown as f64 / entries as f64;
    println!(
        "memory, {kind:6}: {each:.0} bytes a peer ({entries} entries, {swarms} swarms; wanted: {WANTED:.0})"
    );
}
