//! What a client sends.

use pcdn_core::id::{PeerId, SwarmKey};

use super::field::{self, Reader, exact, put, put_ports, read_fields, read_ports};
use super::{
    ANNOUNCE, Action, Announce, CONNECT, Event, FIND, Find, Head, MAGIC, Ports, Progress, REQUEST_PADDED,
    Request, VERSION, WireError,
};
use crate::tracker::secret::{Secret, Tag};

const HEAD_BYTES: usize = 16;

/// A request for a connection id, 16 bytes.
pub fn encode_connect(txn: u32) -> Vec<u8> {
    head(MAGIC, CONNECT, txn)
}

/// A native request, padded to [`REQUEST_PADDED`] bytes.
pub fn encode_request(connection: u64, txn: u32, request: &Request, secret: Option<&Secret>) -> Vec<u8> {
    let mut out = match request {
        Request::Announce(_) => head(connection, ANNOUNCE, txn),
        Request::Find(_) => head(connection, FIND, txn),
    };
    out.push(VERSION);
    match request {
        Request::Announce(announce) => put_announce(&mut out, announce),
        Request::Find(find) => put_find(&mut out, find),
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
}

fn put_find(out: &mut Vec<u8>, find: &Find) {
    put(out, field::SWARM, &find.swarm.0);
    if let Some(asker) = find.asker {
        put(out, field::PEER, &asker.0);
    }
    put(out, field::FLAGS, &[u8::from(find.seed)]);
    put(out, field::WANT, &find.want.to_be_bytes());
}

/// Reads what every request begins with. The connection id is yet to be checked.
pub fn decode_head(datagram: &[u8]) -> Result<Head, WireError> {
    let mut reader = Reader(datagram);
    let (connection, action, txn) = (reader.u64("head")?, reader.u32("head")?, reader.u32("head")?);
    let action = match action {
        CONNECT if connection == MAGIC => Action::Connect,
        ANNOUNCE => Action::Announce,
        FIND => Action::Find,
        other => return Err(WireError::Action(other)),
    };
    Ok(Head { connection, action, txn })
}

/// Reads a native request; `datagram` is the whole of it. With a `secret`, its tag must be right.
pub fn decode_request(datagram: &[u8], secret: Option<&Secret>) -> Result<Request, WireError> {
    let action = decode_head(datagram)?.action;
    let mut fields = Fields::default();
    let proof = secret.map(|secret| (secret, Secret::tag_request as fn(&Secret, &[u8]) -> Tag));
    read_fields(datagram, HEAD_BYTES, proof, |kind, value| fields.read(kind, value))?;
    let swarm = fields.swarm.ok_or(WireError::Missing("swarm"))?;
    match action {
        Action::Connect => Err(WireError::Action(CONNECT)),
        Action::Find => {
            Ok(Request::Find(Find { swarm, asker: fields.peer, seed: fields.seed, want: fields.want }))
        }
        Action::Announce => Ok(Request::Announce(Announce {
            swarm,
            peer: fields.peer.ok_or(WireError::Missing("peer"))?,
            ports: fields.ports.ok_or(WireError::Missing("ports"))?,
            seed: fields.seed || fields.progress.is_some_and(|progress| progress.left == 0),
            event: fields.event,
            progress: fields.progress,
            want: fields.want,
        })),
    }
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
}

impl Fields {
    fn read(&mut self, kind: u8, value: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader(value);
        match kind {
            field::SWARM => self.swarm = Some(SwarmKey(exact(value, "swarm")?)),
            field::PEER => self.peer = Some(PeerId(exact(value, "peer")?)),
            field::PORTS if value.len().is_multiple_of(3) => {
                self.ports = Some(read_ports(&mut reader, value.len() / 3)?);
            }
            field::PORTS => return Err(WireError::Field("ports")),
            field::FLAGS => self.seed = reader.u8("flags")? & 1 != 0,
            field::EVENT => {
                self.event = match reader.u8("event")? {
                    1 => Event::Started,
                    2 => Event::Stopped,
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
