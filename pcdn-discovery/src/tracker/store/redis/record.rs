//! An entry in the database. Others write there too: nothing read is believed further than a stranger's announce.
//!
//! Value, big endian: version 1 = 1, expires 8 (seconds since 1970), flags 1 (bit 0 seed, bit 1 BEP 15 only, bit 2 has a position,
//! bit 3 metered, bit 4 relays), NAT 1, log₂ kbit/s up 1, spare slots 1, share held 1, position 4, rest of the swarm's key 12,
//! n × {transport 1, port 2} with n from 1 to 4.

use std::net::IpAddr;

use pcdn_core::id::PeerId;
use pcdn_core::peer::Scheme;
use pcdn_core::unit::Time;

use crate::tracker::networks::NetworkId;
use crate::tracker::store::Member;
use crate::tracker::wire::{InfoHash, Nat, Ports, Traits};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 30;

/// What names an entry within its swarm.
pub fn field(id: &PeerId, ip: IpAddr) -> Vec<u8> {
    let mut field = id.0.to_vec();
    match ip {
        IpAddr::V4(ip) => field.extend(ip.octets()),
        IpAddr::V6(ip) => field.extend(ip.octets()),
    }
    field
}

/// The value of an entry that lasts until second `until` since 1970. Its network is looked up anew by who reads it, and whether it
/// is a superpeer is every tracker's own affair.
pub fn encode(member: &Member, until: u64) -> Vec<u8> {
    let Traits { nat, metered, relay, class, spare, have, position, .. } = member.traits;
    let flags = [member.seed, member.plain, position.is_some(), metered, relay];
    let flags = flags.iter().rev().fold(0, |all, flag| all << 1 | u8::from(*flag));
    let mut out = vec![VERSION];
    out.extend(until.to_be_bytes());
    out.extend([flags, nat.code(), class, spare, have]);
    out.extend(position.unwrap_or_default().to_be_bytes());
    out.extend(member.tail);
    for (scheme, port) in member.ports.iter() {
        out.push(if scheme == Scheme::Quic { 2 } else { 1 });
        out.extend(port.to_be_bytes());
    }
    out
}

/// Reads an entry and until when it lasts. `None` if it is of another version or damaged.
pub fn decode(swarm: InfoHash, field: &[u8], value: &[u8]) -> Option<(Member, u64)> {
    let (id, ip) = field.split_first_chunk::<32>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?).to_canonical(),
        _ => return None,
    };
    let (head, list) = value.split_first_chunk::<HEAD_BYTES>()?;
    let (version, head) = head.split_first()?;
    let (until, head) = head.split_first_chunk()?;
    let ([flags, nat, class, spare, have], head) = head.split_first_chunk()?;
    let (position, tail) = head.split_first_chunk()?;
    let mut ports = Ports::default();
    for [code, a, b] in list.as_chunks().0 {
        let scheme = if *code == 2 { Scheme::Quic } else { Scheme::Udp };
        ports.push(scheme, u16::from_be_bytes([*a, *b]));
    }
    if *version != VERSION || ports.is_empty() {
        return None;
    }
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let position = flag(2).then_some(u32::from_be_bytes(*position));
    let (nat, metered, relay) = (Nat::of(*nat), flag(3), flag(4));
    let traits =
        Traits { nat, superpeer: false, metered, relay, class: *class, spare: *spare, have: *have, position };
    let member = Member {
        swarm,
        tail: tail.try_into().ok()?,
        id: PeerId(*id),
        ip,
        ports,
        seed: flag(0),
        plain: flag(1),
        traits,
        network: NetworkId::default(),
        expires: Time::ZERO,
    };
    Some((member, u64::from_be_bytes(*until)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(ip: &str) -> Member {
        let mut ports = Ports::default();
        ports.push(Scheme::Udp, 4000);
        ports.push(Scheme::Quic, 4001);
        let traits =
            Traits { nat: Nat::Cone, class: 9, have: 7, position: Some(5), relay: true, ..Traits::default() };
        Member {
            swarm: InfoHash([1; 20]),
            tail: [2; 12],
            id: PeerId([3; 32]),
            ip: ip.parse().unwrap(),
            ports,
            seed: true,
            plain: false,
            traits,
            network: NetworkId::default(),
            expires: Time::ZERO,
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let member = member(ip);
            let (field, value) = (field(&member.id, member.ip), encode(&member, 1_700_000_000));
            assert_eq!(decode(member.swarm, &field, &value), Some((member, 1_700_000_000)));
        }
    }

    proptest! {
        #[test]
        fn what_others_wrote_never_panics(
            field in proptest::collection::vec(any::<u8>(), 0..60), value in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            if let Some((member, _)) = decode(InfoHash([1; 20]), &field, &value) {
                prop_assert!(!member.ports.is_empty());
            }
        }
    }
}
