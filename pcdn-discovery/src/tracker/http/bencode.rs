//! `/announce` and `/scrape` as BitTorrent clients ask over HTTP: BEP 3, compact lists of BEP 7 and 23, BEP 48.

use std::borrow::Cow;
use std::net::SocketAddr;

use pcdn_core::id::SwarmKey;

use crate::tracker::service::Announced;
use crate::tracker::store::Size;
use crate::tracker::wire::bep15::{Plain, SCRAPE_MAX, WANT_DEFAULT, plain_id};
use crate::tracker::wire::{Event, InfoHash};

/// What a client asks with an announce, beside the announce itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) announce: Plain,
    /// Whether 6 or 18 bytes a peer are enough. Clients that say nothing get them: all read them, and they are short.
    pub(super) compact: bool,
    pub(super) token: Option<Vec<u8>>,
}

/// Reads the query of an announce; the error is for the client's user.
pub(super) fn read_announce(query: &str) -> Result<Asked, &'static str> {
    let (mut hash, mut id, mut port, mut token) = (None, None, None, None);
    let (mut left, mut downloaded, mut event, mut want, mut compact) = (1, 0, Event::None, None, true);
    for (name, value) in pairs(query) {
        let number = || std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok());
        match name {
            "info_hash" => hash = value[..].try_into().ok().map(InfoHash),
            "peer_id" => id = value[..].try_into().ok(),
            "port" => port = number().and_then(|port| u16::try_from(port).ok()),
            "left" => left = number().unwrap_or(1),
            "downloaded" => downloaded = number().unwrap_or(0),
            "numwant" => want = number().map(|want| want.min(u64::from(u16::MAX)) as u16),
            "compact" => compact = value[..] != *b"0",
            "token" => token = Some(value.into_owned()),
            "event" => {
                event = match &value[..] {
                    b"started" => Event::Started,
                    b"stopped" => Event::Stopped,
                    b"completed" => Event::Completed,
                    _ => Event::None,
                }
            }
            _ => {}
        }
    }
    let hash = hash.ok_or("info_hash must be 20 bytes")?;
    let port = port.ok_or("port must be a number from 1024 to 65535")?;
    let peer = plain_id(id.ok_or("peer_id must be 20 bytes")?, port);
    let want = want.unwrap_or(WANT_DEFAULT);
    Ok(Asked { announce: Plain { hash, peer, downloaded, left, event, want, port }, compact, token })
}

/// The swarms a scrape asks about, at most [`SCRAPE_MAX`].
pub(super) fn read_scrape(query: &str) -> Vec<InfoHash> {
    let hashes = pairs(query).filter(|(name, _)| *name == "info_hash");
    hashes.filter_map(|(_, value)| value[..].try_into().ok().map(InfoHash)).take(SCRAPE_MAX).collect()
}

/// Name and value of each part of a query. Values are bytes, not text: hashes are.
fn pairs(query: &str) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
    query.split('&').filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some((name, percent_encoding::percent_decode_str(value).into()))
    })
}

/// The answer to an announce, addresses as on BEP 15's wire.
pub(super) fn compact(it: &Announced, v6: bool, peers: &[u8]) -> Vec<u8> {
    let mut out = begin(it);
    string(&mut out, b"peers");
    // Some clients want the older list, be it empty.
    string(&mut out, if v6 { b"" } else { peers });
    if v6 {
        string(&mut out, b"peers6");
        string(&mut out, peers);
    }
    out.push(b'e');
    out
}

/// The answer to an announce as BEP 3 had it: a dictionary a peer.
pub(super) fn named(it: &Announced, peers: &[(SocketAddr, [u8; 20])]) -> Vec<u8> {
    let mut out = begin(it);
    string(&mut out, b"peers");
    out.push(b'l');
    for (at, name) in peers {
        out.push(b'd');
        string(&mut out, b"ip");
        string(&mut out, at.ip().to_string().as_bytes());
        string(&mut out, b"peer id");
        string(&mut out, name);
        string(&mut out, b"port");
        number(&mut out, at.port().into());
        out.push(b'e');
    }
    out.extend(b"ee");
    out
}

fn begin(it: &Announced) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (name, value) in [
        ("complete", it.seeds),
        ("incomplete", it.others),
        ("interval", it.interval_s),
        ("min interval", it.interval_s / 2),
    ] {
        string(&mut out, name.as_bytes());
        number(&mut out, value);
    }
    out
}

/// The answer to a scrape. Keys of a dictionary are in order.
pub(super) fn scraped(sizes: impl Iterator<Item = (InfoHash, Size)>) -> Vec<u8> {
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_by_key(|(hash, _)| *hash);
    sizes.dedup_by_key(|(hash, _)| *hash);
    let mut out = b"d5:filesd".to_vec();
    for (hash, Size { counts, completed }) in sizes {
        string(&mut out, &hash.0);
        out.push(b'd');
        for (name, value) in
            [("complete", counts.seeds), ("downloaded", completed), ("incomplete", counts.others)]
        {
            string(&mut out, name.as_bytes());
            number(&mut out, value);
        }
        out.push(b'e');
    }
    out.extend(b"ee");
    out
}

/// An answer that is no success: BitTorrent clients read only this, with status 200.
pub(super) fn failure(why: &str) -> Vec<u8> {
    let mut out = b"d14:failure reason".to_vec();
    string(&mut out, why.as_bytes());
    out.push(b'e');
    out
}

fn string(out: &mut Vec<u8>, value: &[u8]) {
    out.extend(value.len().to_string().as_bytes());
    out.push(b':');
    out.extend(value);
}

fn number(out: &mut Vec<u8>, value: u32) {
    out.extend(format!("i{value}e").as_bytes());
}

/// The key of a swarm by its text: 64 hex digits, or the 40 of an info hash.
pub(super) fn swarm_key(text: &str) -> Result<SwarmKey, pcdn_core::id::HexError> {
    text.parse().or_else(|_| text.parse().map(|hash: InfoHash| hash.key([0; 12])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IT: Announced = Announced { interval_s: 60, seeds: 1, others: 2 };

    #[test]
    fn an_announce_is_read_byte_for_byte() {
        let query = "info_hash=%00%01%7e~abcdefghijklmnop&peer_id=-TR4000-abcdefghijkl&port=6881&uploaded=0\
                     &downloaded=7&left=0&numwant=80&compact=1&event=started&ip=192.0.2.66";
        let asked = read_announce(query).unwrap();
        let name = *b"-TR4000-abcdefghijkl";
        assert_eq!(
            asked.announce,
            Plain {
                hash: InfoHash(*b"\x00\x01~~abcdefghijklmnop"),
                peer: plain_id(name, 6881),
                downloaded: 7,
                left: 0,
                event: Event::Started,
                want: 80,
                port: 6881
            }
        );
        assert!(asked.compact && asked.token.is_none());
        for bad in ["", "info_hash=short&peer_id=-TR4000-abcdefghijkl&port=1", "port=70000", "&&&=%zz"] {
            assert!(read_announce(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_bencoded_with_their_keys_in_order() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let head = "d8:completei1e10:incompletei2e8:intervali60e12:min intervali30e";
        assert_eq!(text(compact(&IT, false, b"abcdef")), format!("{head}5:peers6:abcdefe"));
        let v6 = b"abcdefghijklmnopqr";
        assert_eq!(text(compact(&IT, true, v6)), format!("{head}5:peers0:6:peers618:abcdefghijklmnopqre"));
        let peers = [("192.0.2.7:6881".parse().unwrap(), *b"-TR4000-abcdefghijkl")];
        assert_eq!(
            text(named(&IT, &peers)),
            format!("{head}5:peersld2:ip9:192.0.2.77:peer id20:-TR4000-abcdefghijkl4:porti6881eeee")
        );
        let size = Size { completed: 3, ..Size::default() };
        let both = [(InfoHash(*b"bbbbbbbbbbbbbbbbbbbb"), size), (InfoHash(*b"aaaaaaaaaaaaaaaaaaaa"), size)];
        let one = "d8:completei0e10:downloadedi3e10:incompletei0ee";
        assert_eq!(
            text(scraped(both.into_iter())),
            format!("d5:filesd20:aaaaaaaaaaaaaaaaaaaa{one}20:bbbbbbbbbbbbbbbbbbbb{one}ee")
        );
        assert_eq!(text(failure("no")), "d14:failure reason2:noe");
    }

    #[test]
    fn a_scrape_is_bounded() {
        let one = format!("info_hash={}&", "a".repeat(20));
        assert_eq!(read_scrape(&one.repeat(100)).len(), SCRAPE_MAX);
        assert!(read_scrape("info_hash=short").is_empty());
    }
}
