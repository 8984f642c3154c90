//! `Report`: all that one peer holds, as a difference to what it said before.
//!
//! A peer in fifty swarms would announce fifty times a minute. It reports once: what is new, what it left, and nothing of the
//! rest. The answer says how many swarms the tracker holds for it; if that is another number than the peer's own, one of the
//! two forgot something, and the peer says everything again.

use std::net::SocketAddr;

use pcdn_core::id::PeerId;

use super::bep15::InfoHash;
use super::field::{self, Reader, exact, put, put_ports, read_ports};
use super::traits::Traits;
use super::{Ports, WireError};

/// Entries of one report at most: 1,040 bytes, so that all of it stays below [`DATAGRAM_MAX`](super::DATAGRAM_MAX).
pub const ENTRIES_MAX: usize = 40;
/// Length of one.
pub const ENTRY_BYTES: usize = 26;
/// "No position": a live stream that has run for 136 years.
const NO_POSITION: u32 = u32::MAX;

/// "This is what I hold."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub peer: PeerId,
    /// Where it listens.
    pub ports: Ports,
    /// What it is like; `have` and `position` stand in the entries.
    pub traits: Traits,
    /// What changed since the last report, at most [`ENTRIES_MAX`].
    pub entries: Vec<Entry>,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub hash: InfoHash,
    /// What happened.
    pub change: Change,
    /// Share held, 0 to 255; 255 means all and makes the peer a seed.
    pub have: u8,
    /// Where it is in a live stream, see [`Traits::position`].
    pub position: Option<u32>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It takes part, or what was said of it has changed.
    Hold,
    /// It has left.
    Left,
}

/// The answer to a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Seconds until the next report.
    pub interval_s: u32,
    /// A report may come this soon if something changed, seconds.
    pub soonest_s: u32,
    /// Swarms the tracker holds for this peer.
    pub held: u32,
    /// Where the report came from, as the tracker sees it: the peer's own mapping.
    pub observed: SocketAddr,
    /// What the tracker wants of the peer: bit 0 push work waits, bit 1 please probe others, bit 2 it is a superpeer.
    pub duties: u8,
    /// Version of the operator's list of trackers; 0 if there is none.
    pub list_version: u32,
}

impl Reported {
    /// Push work waits.
    pub const PUSH: u8 = 1;
    /// Please probe others.
    pub const PROBE: u8 = 2;
    /// It is a superpeer.
    pub const SUPERPEER: u8 = 4;
}

pub(super) fn put_report(out: &mut Vec<u8>, report: &Report) {
    put(out, field::PEER, &report.peer.0);
    let mut ports = Vec::new();
    put_ports(&mut ports, &report.ports);
    put(out, field::PORTS, &ports);
    let traits = report.traits.encode();
    if !traits.is_empty() {
        put(out, field::TRAITS, &traits);
    }
    let mut entries = Vec::with_capacity(report.entries.len() * ENTRY_BYTES);
    for entry in &report.entries {
        entries.push(match entry.change {
            Change::Hold => 1,
            Change::Left => 2,
        });
        entries.extend(entry.hash.0);
        entries.push(entry.have);
        entries.extend(entry.position.unwrap_or(NO_POSITION).to_be_bytes());
    }
    put(out, field::ENTRIES, &entries);
}

/// Reads the value of an entries field. Changes of later versions are left out.
pub(super) fn read_entries(value: &[u8]) -> Result<Vec<Entry>, WireError> {
    if !value.len().is_multiple_of(ENTRY_BYTES) || value.len() > ENTRIES_MAX * ENTRY_BYTES {
        return Err(WireError::Field("entries"));
    }
    let mut reader = Reader(value);
    let mut entries = Vec::with_capacity(value.len() / ENTRY_BYTES);
    while !reader.0.is_empty() {
        let code = reader.u8("entry")?;
        let (hash, have) = (InfoHash(reader.take("entry")?), reader.u8("entry")?);
        let position = Some(reader.u32("entry")?).filter(|position| *position != NO_POSITION);
        let change = match code {
            1 => Change::Hold,
            2 => Change::Left,
            _ => continue,
        };
        entries.push(Entry { hash, change, have, position });
    }
    Ok(entries)
}

pub(super) fn put_reported(out: &mut Vec<u8>, it: &Reported) {
    put(out, field::INTERVAL, &it.interval_s.to_be_bytes());
    super::answer::put_observed(out, &it.observed);
    let mut value = Vec::with_capacity(13);
    value.extend(it.soonest_s.to_be_bytes());
    value.extend(it.held.to_be_bytes());
    value.push(it.duties);
    value.extend(it.list_version.to_be_bytes());
    put(out, field::STANDING, &value);
}

/// Reads {soonest, held, duties, list version}.
pub(super) fn read_standing(value: &[u8]) -> Result<(u32, u32, u8, u32), WireError> {
    let bytes: [u8; 13] = exact(value, "standing")?;
    let mut reader = Reader(&bytes);
    Ok((reader.u32("standing")?, reader.u32("standing")?, reader.u8("standing")?, reader.u32("standing")?))
}

/// Reads the ports of a report's or an announce's field.
pub(super) fn read_ports_field(value: &[u8]) -> Result<Ports, WireError> {
    if !value.len().is_multiple_of(3) {
        return Err(WireError::Field("ports"));
    }
    read_ports(&mut Reader(value), value.len() / 3)
}
