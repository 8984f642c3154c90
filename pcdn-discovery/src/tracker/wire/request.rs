//! What a client sends.

use pcdn_core::id::{PeerId, SwarmKey};

use super::bep15::{self, InfoHash};
use super::field::{self, Reader, exact, put, put_ports, read_fields};
use super::report::{Entry, Report, put_report, read_entries, read_ports_field};
use super::{
    ANNOUNCE, Action, Announce, CONNECT, Event, FIND, Find, Head, MAGIC, Ports, Progress, REPORT,
    REQUEST_PADDED, Request, Traits, VERSION, WireError,
};
use crate::tracker::secret::{Secret, Tag};

const HEAD_BYTES: usize = 16;

/// A request for a connection id, 16 bytes.
pub fn encode_connect(txn: u32) -> Vec<u8> {
    head(MAGIC, CONNECT, txn)
}

/// A native request, padded to [`REQUEST_PADDED`] bytes.
pub fn encode_request(connection: u64, txn: u32, request: &Request, secret: Option<&Secret>) -> Vec<u8> {
    encode_with_token(connection, txn, request, None, secret)
}

/// The same with a token, for trackers that want one.
pub fn encode_with_token(
    connection: u64,
    txn: u32,
    request: &Request,
    token: Option<&str>,
    secret: Option<&Secret>,
) -> Vec<u8> {
    let mut out = match request {
        Request::Announce(_) => head(connection, ANNOUNCE, txn),
        Request::Find(_) => head(connection, FIND, txn),
        Request::Report(_) => head(connection, REPORT, txn),
    };
    out.push(VERSION);
    match request {
        Request::Announce(announce) => put_announce(&mut out, announce),
        Request::Find(find) => put_find(&mut out, find),
        Request::Report(report) => put_report(&mut out, report),
    }
    if let Some(token) = token {
        put(&mut out, field::TOKEN, token.as_bytes());
    }
    if let Some(secret) = secret {
        let tag = secret.tag_request(&out);
        put(&mut out, field::TAG, &tag);
    }
    out.resize(out.len().max(REQUEST_PADDED), field::END);
    out
}

fn head(connection: u64, action: u32, txn: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(REQUEST_PADDED);
    out.extend(connection.to_be_bytes());
    out.extend(action.to_be_bytes());
    out.extend(txn.to_be_bytes());
    out
}

fn put_announce(out: &mut Vec<u8>, announce: &Announce) {
    put(out, field::SWARM, &announce.swarm.0);
    put(out, field::PEER, &announce.peer.0);
    let mut ports = Vec::new();
    put_ports(&mut ports, &announce.ports);
    put(out, field::PORTS, &ports);
    put(out, field::FLAGS, &[u8::from(announce.seed)]);
    put(out, field::EVENT, &[announce.event as u8]);
    if let Some(progress) = announce.progress {
        let value = [progress.downloaded.to_be_bytes(), progress.left.to_be_bytes()].concat();
        put(out, field::PROGRESS, &value);
    }
    put(out, field::WANT, &announce.want.to_be_bytes());
    put_traits(out, &announce.traits);
}

fn put_traits(out: &mut Vec<u8>, traits: &Traits) {
    let value = traits.encode();
    if !value.is_empty() {
        put(out, field::TRAITS, &value);
    }
}

fn put_find(out: &mut Vec<u8>, find: &Find) {
    put(out, field::SWARM, &find.swarm.0);
    if let Some(asker) = find.asker {
        put(out, field::PEER, &asker.0);
    }
    put(out, field::FLAGS, &[u8::from(find.seed)]);
    put(out, field::WANT, &find.want.to_be_bytes());
    put_traits(out, &find.traits);
    if find.rich {
        put(out, field::RICH, &[]);
    }
}

/// Reads what every request begins with. The connection id is yet to be checked.
pub fn decode_head(datagram: &[u8]) -> Result<Head, WireError> {
    let mut reader = Reader(datagram);
    let (connection, action, txn) = (reader.u64("head")?, reader.u32("head")?, reader.u32("head")?);
    let action = match action {
        ANNOUNCE => Action::Announce,
        FIND => Action::Find,
        REPORT => Action::Report,
        other => bep15::action(connection, other).ok_or(WireError::Action(other))?,
    };
    Ok(Head { connection, action, txn })
}

/// Reads a native request; `datagram` is the whole of it. With a `secret`, its tag must be right.
pub fn decode_request(datagram: &[u8], secret: Option<&Secret>) -> Result<Request, WireError> {
    let action = decode_head(datagram)?.action;
    let mut fields = Fields::default();
    let proof = secret.map(|secret| (secret, Secret::tag_request as fn(&Secret, &[u8]) -> Tag));
    read_fields(datagram, HEAD_BYTES, proof, |kind, value| fields.read(kind, value))?;
    let swarm = fields.swarm.ok_or(WireError::Missing("swarm"));
    let peer = fields.peer.ok_or(WireError::Missing("peer"));
    let ports = fields.ports.ok_or(WireError::Missing("ports"));
    let Fields { seed, event, progress, want, traits, rich, .. } = fields;
    match action {
        Action::Find => {
            Ok(Request::Find(Find { swarm: swarm?, asker: fields.peer, seed, want, traits, rich }))
        }
        Action::Announce => {
            let seed = seed || progress.is_some_and(|progress| progress.left == 0);
            let (swarm, peer, ports) = (swarm?, peer?, ports?);
            Ok(Request::Announce(Announce { swarm, peer, ports, seed, event, progress, want, traits }))
        }
        Action::Report => {
            let (peer, ports, entries) = (peer?, ports?, fields.entries);
            Ok(Request::Report(Report { peer, ports, traits, entries }))
        }
        Action::Connect | Action::PlainAnnounce | Action::Scrape => Err(WireError::Action(CONNECT)),
    }
}

/// The token in a native request, if it carries one.
pub fn token_of(datagram: &[u8]) -> Option<&[u8]> {
    value_of(datagram, field::TOKEN)
}

/// The swarm of a native request, if it names one.
pub(crate) fn swarm_of(datagram: &[u8]) -> Option<InfoHash> {
    let key = value_of(datagram, field::SWARM)?.first_chunk()?;
    Some(InfoHash::of(&SwarmKey(*key)))
}

fn value_of(datagram: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut found = None;
    let read = read_fields(datagram, HEAD_BYTES, None, |kind, value| {
        if kind == wanted {
            found = Some(value);
        }
        Ok(())
    });
    read.ok().and(found)
}

#[derive(Default)]
struct Fields {
    swarm: Option<SwarmKey>,
    peer: Option<PeerId>,
    ports: Option<Ports>,
    seed: bool,
    event: Event,
    progress: Option<Progress>,
    want: u16,
    traits: Traits,
    entries: Vec<Entry>,
    rich: bool,
}

impl Fields {
    fn read(&mut self, kind: u8, value: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader(value);
        match kind {
            field::SWARM => self.swarm = Some(SwarmKey(exact(value, "swarm")?)),
            field::PEER => self.peer = Some(PeerId(exact(value, "peer")?)),
            field::PORTS => self.ports = Some(read_ports_field(value)?),
            field::TRAITS => self.traits = Traits::decode(value),
            field::ENTRIES => self.entries = read_entries(value)?,
            field::RICH => self.rich = true,
            field::FLAGS => self.seed = reader.u8("flags")? & 1 != 0,
            field::EVENT => {
                self.event = match reader.u8("event")? {
                    1 => Event::Started,
                    2 => Event::Stopped,
                    3 => Event::Completed,
                    _ => Event::None,
                }
            }
            field::PROGRESS => {
                let (downloaded, left) = (reader.u64("progress")?, reader.u64("progress")?);
                self.progress = Some(Progress { downloaded, left });
            }
            field::WANT => self.want = u16::from_be_bytes(exact(value, "want")?),
            _ => {}
        }
        Ok(())
    }
}
