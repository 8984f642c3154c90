//! Fields {type 1, length 2, value}, and the few primitives under them.

use super::{PORTS_MAX, Ports, VERSION, WireError};
use crate::tracker::secret::{Secret, Tag, same};

pub(super) const END: u8 = 0x00;
pub(super) const SWARM: u8 = 0x01;
pub(super) const PEER: u8 = 0x02;
pub(super) const PORTS: u8 = 0x03;
pub(super) const FLAGS: u8 = 0x04;
pub(super) const EVENT: u8 = 0x05;
pub(super) const PROGRESS: u8 = 0x06;
pub(super) const WANT: u8 = 0x07;
pub(super) const TRAITS: u8 = 0x08;
pub(super) const ENTRIES: u8 = 0x09;
pub(super) const RICH: u8 = 0x0a;
pub(super) const TOKEN: u8 = 0x0b;
pub(super) const TAG: u8 = 0x0f;
pub(super) const INTERVAL: u8 = 0x21;
pub(super) const OBSERVED: u8 = 0x22;
pub(super) const COUNTS: u8 = 0x23;
pub(super) const PEERS: u8 = 0x24;
pub(super) const PEER_TRAITS: u8 = 0x25;
pub(super) const STANDING: u8 = 0x26;

/// Type and length.
pub(super) const FIELD_HEAD: usize = 3;
/// A tag with its field head.
pub(super) const TAG_BYTES: usize = FIELD_HEAD + 16;

/// Bytes yet to be read. Every read checks; nothing is allocated by a length that was claimed.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(WireError::Short(what))?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn slice(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(WireError::Short(what))?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(self.take::<1>(what)?[0])
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.take(what)?))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.take(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.take(what)?))
    }
}

/// The whole value of a field, of fixed length.
pub(super) fn exact<const N: usize>(value: &[u8], what: &'static str) -> Result<[u8; N], WireError> {
    value.try_into().map_err(|_| WireError::Field(what))
}

/// A secret, and which of its tags is wanted.
pub(super) type Proof<'s> = (&'s Secret, fn(&Secret, &[u8]) -> Tag);

/// Reads the version and then calls `each` for the fields of `datagram`, which starts at `at`. With a `proof`, fails unless
/// the fields end with the tag it makes of everything before; `each` may have been called by then.
pub(super) fn read_fields<'a>(
    datagram: &'a [u8],
    at: usize,
    proof: Option<Proof<'_>>,
    mut each: impl FnMut(u8, &'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut reader = Reader(datagram.get(at..).ok_or(WireError::Short("head"))?);
    let version = reader.u8("version")?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    loop {
        let before = datagram.len() - reader.0.len();
        let kind = if reader.0.is_empty() { END } else { reader.u8("field")? };
        if kind == END {
            return if proof.is_some() { Err(WireError::Tag) } else { Ok(()) };
        }
        let len = reader.u16("field")?;
        let value = reader.slice(len.into(), "field")?;
        match (kind, proof) {
            (TAG, None) => return Ok(()),
            (TAG, Some((secret, tag))) if same(&tag(secret, &datagram[..before]), value) => return Ok(()),
            (TAG, Some(_)) => return Err(WireError::Tag),
            _ => each(kind, value)?,
        }
    }
}

pub(super) fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    debug_assert!(value.len() <= usize::from(u16::MAX), "our own fields are short");
    out.push(kind);
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
}

pub(super) fn put_ports(out: &mut Vec<u8>, ports: &Ports) {
    for (code, port) in ports.codes() {
        out.push(code);
        out.extend(port.to_be_bytes());
    }
}

/// Reads `count` ports. Unknown transports and low ports are left out, so that a newer client can still announce.
pub(super) fn read_ports(reader: &mut Reader<'_>, count: usize) -> Result<Ports, WireError> {
    if count > PORTS_MAX {
        return Err(WireError::Field("port count"));
    }
    let mut ports = Ports::default();
    for _ in 0..count {
        let (code, port) = (reader.u8("ports")?, reader.u16("ports")?);
        if super::scheme_of(code).is_some() {
            ports.push_code(code, port);
        }
    }
    Ok(ports)
}
