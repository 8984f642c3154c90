//! What nodes and trackers say to one another so that two nodes behind NATs can meet.
//!
//! All of it goes over the socket that carries sessions, for the mapping of that socket is what is wanted. A first byte below
//! 0x40 and seven bytes of text tell these datagrams from sessions, QUIC, STUN and a tracker's requests.
//!
//! | byte 0 | word | from, to | after that and `pcdnmt1` (big endian) | bytes |
//! |---|---|---|---|---|
//! | 0x24 | WHERE | node, tracker | txid 12, answer from 1 (0 here, 1 another port, 2 another address), ticket 8, peer id 32, private addresses, round trip 2 | 104 |
//! | 0x25 | HERE | tracker, node | txid 12, ticket 8, flags 1 (1 registered), address of the asker, the tracker's other port, its other address | 86 |
//! | 0x2c | CALL | node, tracker | txid 12, ticket 8, own id 32, wanted id 32, the wanted one's address, private addresses, round trip 2 | 160 |
//! | 0x27 | MEET | tracker, both nodes | txid 12, the receiver's ticket 8, status 1, token 8, begin in ms 2, the other's id 32, its addresses | 152 at most |
//! | 0x23 | PUNCH | node, node | token 8 | 16 |
//!
//! An address is family 1 (0 none, 4, 6), IP 16, port 2, with IP and port XORed by the txid: some NATs rewrite what looks like
//! an address of theirs. A list is its length 1 and so many addresses; what follows is zeros. A *round trip*, of the asker to this
//! tracker in milliseconds, is in the last two bytes; 0 is not known, and what nodes of before say. By it the tracker makes both
//! nodes of a MEET begin at one moment, whatever their distance: a punch that comes before the other side's has gone out can
//! take the mapping that this would get (a router that answers for itself tracks it as its own).
//!
//! The *ticket* is what a tracker gives to whoever it answers: who shows it has received at its address. Only then is it
//! registered, called and may call, so nobody can be made to send or get anything under a false source address; and a MEET is
//! believed only with the ticket of its receiver. No answer is longer than its question. PUNCH is never answered: it opens the
//! sender's NAT, and where it comes through it proves that a hello will, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::PeerId;

/// Private addresses of a node that are told at most.
pub const PRIVATE_MAX: usize = 2;
/// Addresses of a MEET at most: the one seen, and private ones.
pub const MEET_ADDRS_MAX: usize = 1 + PRIVATE_MAX;
/// Bytes of a WHERE.
pub const WHERE_LEN: usize = 104;
/// Bytes of a CALL.
pub const CALL_LEN: usize = 160;
/// Longest word.
pub const WORD_MAX: usize = CALL_LEN;

/// Names one question.
pub type Txid = [u8; 12];
/// Proof that an address receives.
pub type Ticket = [u8; 8];
/// Shared by the two that meet.
pub type Token = [u8; 8];

const MARK: &[u8; 7] = b"pcdnmt1";
const PUNCH: u8 = 0x23;
const WHERE: u8 = 0x24;
const HERE: u8 = 0x25;
const CALL: u8 = 0x2c;
const MEET: u8 = 0x27;
const REGISTERED: u8 = 1;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// From where am I seen? And: call me there.
    Where(Where),
    /// From there.
    Here(Here),
    /// I want to meet that one.
    Call(Call),
    /// Meet: both are told at once.
    Meet(Meet),
    /// Opens the way for the other.
    Punch(Token),
}

/// See [`Word::Where`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// Names the question.
    pub txid: Txid,
    /// From where the answer shall come.
    pub answer_from: AnswerFrom,
    /// The last one got; zeros at first.
    pub ticket: Ticket,
    /// Who asks.
    pub id: PeerId,
    /// For those in the same private network, at most [`PRIVATE_MAX`].
    pub private: Vec<SocketAddr>,
    /// Round trip to this tracker, in milliseconds; 0 is not known.
    pub rtt_ms: u16,
}

/// From where a tracker answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AnswerFrom {
    /// From where it was asked.
    #[default]
    Here,
    /// From another port.
    OtherPort,
    /// From another address.
    OtherAddress,
}

/// See [`Word::Here`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Of the question.
    pub txid: Txid,
    /// To be shown next time.
    pub ticket: Ticket,
    /// Whether the asker can be called.
    pub registered: bool,
    /// Where the question came from.
    pub seen: SocketAddr,
    /// Another port of the tracker's, to ask at.
    pub other_port: Option<SocketAddr>,
    /// Another address of the tracker's, to ask at.
    pub other_address: Option<SocketAddr>,
}

/// See [`Word::Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the question.
    pub txid: Txid,
    /// The last one got.
    pub ticket: Ticket,
    /// Who calls.
    pub id: PeerId,
    /// Who is called.
    pub wanted: PeerId,
    /// Where it was said to be.
    pub at: SocketAddr,
    /// As in [`Where`].
    pub private: Vec<SocketAddr>,
    /// As in [`Where`].
    pub rtt_ms: u16,
}

/// See [`Word::Meet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meet {
    /// Of the call.
    pub txid: Txid,
    /// The receiver's.
    pub ticket: Ticket,
    /// `None` if the wanted one cannot be called, and then nothing below counts.
    pub token: Option<Token>,
    /// Begin in this many milliseconds.
    pub in_ms: u16,
    /// The other.
    pub peer: PeerId,
    /// Where it may be, the nearest first; at most [`MEET_ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
}

/// Whether a datagram is one of these, whatever it says.
pub fn is_word(datagram: &[u8]) -> bool {
    matches!(datagram, [PUNCH | WHERE | HERE | CALL | MEET, rest @ ..] if rest.starts_with(MARK))
}

/// Reads a datagram; `None` for anything that is no word. Never panics, and allocates for a handful of addresses at most.
pub fn decode(datagram: &[u8]) -> Option<Word> {
    if !is_word(datagram) || datagram.len() > WORD_MAX {
        return None;
    }
    let (kind, mut body) = (datagram[0], Reader(&datagram[1 + MARK.len()..]));
    let txid: Txid = if kind == PUNCH { [0; 12] } else { body.take()? };
    Some(match kind {
        WHERE if datagram.len() == WHERE_LEN => Word::Where(Where {
            txid,
            answer_from: match body.take::<1>()? {
                [1] => AnswerFrom::OtherPort,
                [2] => AnswerFrom::OtherAddress,
                _ => AnswerFrom::Here,
            },
            ticket: body.take()?,
            id: PeerId(body.take()?),
            private: body.addrs(&txid, PRIVATE_MAX)?,
            rtt_ms: rtt(datagram)?,
        }),
        HERE => Word::Here(Here {
            txid,
            ticket: body.take()?,
            registered: body.take::<1>()?[0] & REGISTERED != 0,
            seen: body.addr(&txid)??,
            other_port: body.addr(&txid)?,
            other_address: body.addr(&txid)?,
        }),
        CALL if datagram.len() == CALL_LEN => Word::Call(Call {
            txid,
            ticket: body.take()?,
            id: PeerId(body.take()?),
            wanted: PeerId(body.take()?),
            at: body.addr(&txid)??,
            private: body.addrs(&txid, PRIVATE_MAX)?,
            rtt_ms: rtt(datagram)?,
        }),
        MEET => {
            let (ticket, [status], token) = (body.take()?, body.take()?, body.take()?);
            Word::Meet(Meet {
                txid,
                ticket,
                token: (status == 0).then_some(token),
                in_ms: u16::from_be_bytes(body.take()?),
                peer: PeerId(body.take()?),
                addrs: body.addrs(&txid, MEET_ADDRS_MAX)?,
            })
        }
        PUNCH => Word::Punch(body.take()?),
        _ => return None,
    })
}

fn rtt(datagram: &[u8]) -> Option<u16> {
    datagram.last_chunk().copied().map(u16::from_be_bytes)
}

/// Writes a word.
pub fn encode(word: &Word) -> Vec<u8> {
    let mut out = Vec::with_capacity(WORD_MAX);
    let begin = |out: &mut Vec<u8>, kind: u8, txid: &[u8]| {
        out.push(kind);
        out.extend_from_slice(MARK);
        out.extend_from_slice(txid);
    };
    match word {
        Word::Where(it) => {
            begin(&mut out, WHERE, &it.txid);
            out.push(it.answer_from as u8);
            out.extend_from_slice(&it.ticket);
            out.extend_from_slice(&it.id.0);
            put_addrs(&mut out, &it.private, PRIVATE_MAX, &it.txid);
            out.resize(WHERE_LEN - 2, 0);
            out.extend_from_slice(&it.rtt_ms.to_be_bytes());
        }
        Word::Here(it) => {
            begin(&mut out, HERE, &it.txid);
            out.extend_from_slice(&it.ticket);
            out.push(if it.registered { REGISTERED } else { 0 });
            [Some(it.seen), it.other_port, it.other_address]
                .into_iter()
                .for_each(|addr| put_addr(&mut out, addr, &it.txid));
        }
        Word::Call(it) => {
            begin(&mut out, CALL, &it.txid);
            out.extend_from_slice(&it.ticket);
            out.extend_from_slice(&it.id.0);
            out.extend_from_slice(&it.wanted.0);
            put_addr(&mut out, Some(it.at), &it.txid);
            put_addrs(&mut out, &it.private, PRIVATE_MAX, &it.txid);
            out.resize(CALL_LEN - 2, 0);
            out.extend_from_slice(&it.rtt_ms.to_be_bytes());
        }
        Word::Meet(it) => {
            begin(&mut out, MEET, &it.txid);
            out.extend_from_slice(&it.ticket);
            out.push(u8::from(it.token.is_none()));
            out.extend_from_slice(&it.token.unwrap_or_default());
            out.extend_from_slice(&it.in_ms.to_be_bytes());
            out.extend_from_slice(&it.peer.0);
            put_addrs(&mut out, &it.addrs, MEET_ADDRS_MAX, &it.txid);
        }
        Word::Punch(token) => {
            begin(&mut out, PUNCH, &[]);
            out.extend_from_slice(token);
        }
    }
    out
}

/// Bytes of an address.
const ADDR_LEN: usize = 19;

fn put_addrs(out: &mut Vec<u8>, addrs: &[SocketAddr], most: usize, txid: &Txid) {
    let told = &addrs[..addrs.len().min(most)];
    out.push(told.len() as u8);
    told.iter().for_each(|addr| put_addr(out, Some(*addr), txid));
}

fn put_addr(out: &mut Vec<u8>, addr: Option<SocketAddr>, txid: &Txid) {
    let mut bytes = [0; ADDR_LEN];
    if let Some(addr) = addr {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes[0] = 6;
                bytes[1..17].copy_from_slice(&ip.octets());
            }
        }
        bytes[17..].copy_from_slice(&addr.port().to_be_bytes());
        mask(&mut bytes, txid);
    }
    out.extend_from_slice(&bytes);
}

fn mask(bytes: &mut [u8; ADDR_LEN], txid: &Txid) {
    bytes[1..].iter_mut().zip(txid.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

struct Reader<'d>(&'d [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// `None` if it is cut short or of no known family, `Some(None)` if it is left out.
    fn addr(&mut self, txid: &Txid) -> Option<Option<SocketAddr>> {
        let mut bytes: [u8; ADDR_LEN] = self.take()?;
        if bytes[0] == 0 {
            return Some(None);
        }
        mask(&mut bytes, txid);
        let ip = match bytes[0] {
            4 => IpAddr::from(Ipv4Addr::from(*bytes[1..].first_chunk::<4>()?)),
            6 => IpAddr::from(Ipv6Addr::from(*bytes[1..].first_chunk::<16>()?)),
            _ => return None,
        };
        Some(Some(SocketAddr::new(ip, u16::from_be_bytes([bytes[17], bytes[18]]))))
    }

    fn addrs(&mut self, txid: &Txid, most: usize) -> Option<Vec<SocketAddr>> {
        let [count] = self.take()?;
        let count = usize::from(count).min(most);
        (0..count).map(|_| self.addr(txid)?).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn words() -> Vec<Word> {
        let private = vec![addr("192.168.1.2:4000"), addr("[fd00::1]:4000")];
        let txid = *b"twelve bytes";
        let (id, wanted, ticket) = (PeerId([1; 32]), PeerId([2; 32]), [3; 8]);
        let seen = addr("198.51.100.7:4000");
        let meet = Meet {
            txid,
            ticket,
            token: Some([4; 8]),
            in_ms: 50,
            peer: wanted,
            addrs: vec![addr("10.0.0.1:4000"), addr("[2001:db8::1]:1"), seen],
        };
        let at = AnswerFrom::OtherAddress;
        vec![
            Word::Where(Where { txid, answer_from: at, ticket, id, private: private.clone(), rtt_ms: 40 }),
            Word::Here(Here {
                txid,
                ticket,
                registered: true,
                seen,
                other_port: Some(addr("198.51.100.9:7071")),
                other_address: None,
            }),
            Word::Call(Call { txid, ticket, id, wanted, at: seen, private, rtt_ms: 0 }),
            Word::Meet(meet.clone()),
            Word::Meet(Meet { token: None, addrs: Vec::new(), ..meet }),
            Word::Punch([9; 8]),
        ]
    }

    #[test]
    fn words_round_trip_and_no_answer_is_longer_than_its_question() {
        for word in words() {
            let bytes = encode(&word);
            assert_eq!(decode(&bytes), Some(word.clone()));
            let most = match word {
                Word::Here(_) => WHERE_LEN,
                Word::Meet(_) => CALL_LEN,
                _ => WORD_MAX,
            };
            assert!(bytes.len() <= most && is_word(&bytes), "{} bytes of {word:?}", bytes.len());
        }
    }

    #[test]
    fn no_address_stands_there_as_it_is() {
        for word in words() {
            let bytes = encode(&word);
            let plain = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!plain(&[198, 51, 100, 7]) && !plain(&[192, 168, 1, 2]), "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, kind in 0x22u8..0x2e, cut in 0usize..200) {
            decode(&bytes);
            let mut ours = vec![kind];
            ours.extend_from_slice(MARK);
            ours.extend_from_slice(&bytes);
            decode(&ours);
            ours.resize(cut, 7);
            decode(&ours);
        }
    }
}
