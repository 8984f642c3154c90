//! BitTorrent clients: announce and scrape of BEP 15, over UDP or HTTP.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use pcdn_core::dice::Dice;
use pcdn_core::unit::Time;

use super::{Refusal, Service};
use crate::tracker::store::{Size, Told};
use crate::tracker::table::whole_seconds;
use crate::tracker::token::{Capability, TokenError};
use crate::tracker::wire::{Head, InfoHash, bep15};

/// What a BitTorrent client's announce comes to, beside the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Seconds until the next one.
    pub interval_s: u32,
    /// Peers that hold everything.
    pub seeds: u32,
    /// Peers that download.
    pub others: u32,
}

impl Service {
    #[expect(clippy::too_many_arguments, reason = "a datagram and where it came from")]
    pub(super) fn plain(
        &self,
        now: Time,
        dice: &mut Dice,
        from: SocketAddr,
        head: &Head,
        datagram: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) {
        let begin = bep15::begin_announced(head.txn, 0, 0, 0);
        out.extend(begin);
        let served = bep15::decode_announce(datagram).map_err(Refusal::from).and_then(|mut it| {
            let entry = if from.ip().to_canonical().is_ipv4() { 6 } else { 18 };
            it.want = it.want.min(((limit.saturating_sub(begin.len())) / entry) as u16);
            let url = self.tokens.as_ref().and_then(|_| bep15::announce_url(datagram));
            let token = url.as_deref().and_then(token_in);
            self.announce_plain(now, dice, from.ip(), &it, token, &mut Told::Addresses(out))
        });
        match served {
            Ok(Announced { interval_s, seeds, others }) => {
                let begin = bep15::begin_announced(head.txn, interval_s, seeds, others);
                out[..begin.len()].copy_from_slice(&begin);
            }
            Err(why) => self.refuse(head, &why.to_string(), limit, out),
        }
    }

    /// An announce of a BitTorrent client, over UDP or HTTP.
    pub fn announce_plain(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &bep15::Plain,
        token: Option<&[u8]>,
        told: &mut Told<'_>,
    ) -> Result<Announced, Refusal> {
        self.allows(now, token, None, &[it.hash], Capability::Announce)?;
        let served = self.open_to_all().and_then(|()| self.table.plain(now, dice, from, it, told));
        match &served {
            Ok(_) => _ = self.counters.announces.fetch_add(1, Ordering::Relaxed),
            Err(why) => self.counters.count(Err(*why)),
        }
        let (interval, counts) = served?;
        Ok(Announced { interval_s: whole_seconds(interval), seeds: counts.seeds, others: counts.others })
    }

    pub(super) fn scrape(
        &self,
        now: Time,
        from: IpAddr,
        head: &Head,
        datagram: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) {
        let sizes = self.sizes(now, from, bep15::decode_scrape(datagram));
        match sizes {
            Ok(sizes) => {
                bep15::begin_scraped(head.txn, out);
                for (_, size) in sizes {
                    for word in [size.counts.seeds, size.completed, size.counts.others] {
                        out.extend(word.to_be_bytes());
                    }
                }
            }
            Err(why) => self.refuse(head, &why.to_string(), limit, out),
        }
    }

    /// How large swarms are, for a scrape over UDP or HTTP.
    pub fn sizes(
        &self,
        now: Time,
        from: IpAddr,
        swarms: impl ExactSizeIterator<Item = InfoHash>,
    ) -> Result<impl Iterator<Item = (InfoHash, Size)>, Refusal> {
        // No scrape has room for a token.
        let open = if self.tokens.is_none() { self.open_to_all() } else { Err(TokenError::Missing.into()) };
        let sizes = open.and_then(|()| self.table.scrape(now, from, swarms));
        match &sizes {
            Ok(_) => _ = self.counters.scrapes.fetch_add(1, Ordering::Relaxed),
            Err(why) => self.counters.count(Err(*why)),
        }
        sizes
    }

    /// BitTorrent clients cannot prove that they know a secret.
    fn open_to_all(&self) -> Result<(), Refusal> {
        if self.secret.is_none() { Ok(()) } else { Err(Refusal::Secret) }
    }
}

/// The token in a URL's query.
fn token_in(url: &[u8]) -> Option<&[u8]> {
    let query = url.splitn(2, |byte| *byte == b'?').nth(1)?;
    query.split(|byte| *byte == b'&').find_map(|part| part.strip_prefix(b"token="))
}
