//! A call under way: hellos to all known addresses, the nearest kind of them first, until one answers or the time is over.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::{Identity, PeerId};
use pcdn_core::peer::PeerRecord;
use pcdn_core::unit::Time;

use crate::nat::order::Way;
use crate::udp::cipher::Cipher;
use crate::udp::noise::{Calling, Keyed, Secrets};

/// The first repetition; it also opens holes in NATs while the other side calls back.
const REPEAT_FIRST: Duration = Duration::from_millis(200);
/// The first repetition where the way is known to be open: a lost hello is all there is to wait for.
const REPEAT_OPEN: Duration = Duration::from_millis(100);
/// The pause grows by half each time, up to this.
const REPEAT_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Dial {
    pub(super) peer: PeerId,
    addrs: Vec<SocketAddr>,
    calling: Calling,
    /// The address whose turn it is in this repetition.
    at: usize,
    repeat_at: Time,
    pause: Duration,
    repetitions: u32,
    /// Somebody answered, and it did not open.
    strange: bool,
    /// The highest version of one that speaks none of ours.
    version: Option<u8>,
    sent: Sent,
    own: Option<IpAddr>,
    until: Time,
}

/// When hellos went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Never,
    At(Time),
    /// More than once: an answer does not say to which of them it is one.
    Often,
}

impl Dial {
    /// `None` if there is no address or the id is no key. `own` is this node's public address, if it is known.
    pub(super) fn new(
        now: Time,
        (me, psk, cipher): (&Identity, &[u8; 32], Cipher),
        peer: PeerId,
        (addrs, own): (&[SocketAddr], Option<IpAddr>),
        index: u32,
        timeout: Duration,
        secrets: &mut Secrets,
    ) -> Option<Self> {
        let mut addrs: Vec<_> = addrs.iter().copied().take(PeerRecord::ADDRS_MAX).collect();
        addrs.sort_by_key(|addr| Way::to(*addr, own));
        if addrs.is_empty() {
            return None;
        }
        let calling = Calling::new(me, &peer, index, psk, cipher, secrets)?;
        // Where nothing but the way around is known, the local network is asked for by way of a tracker meanwhile.
        let around = Way::to(addrs[0], own) == Way::Around;
        let first = if around { now + Way::Around.head_start() } else { now };
        Some(Self {
            peer,
            addrs,
            calling,
            at: 0,
            repeat_at: first,
            pause: REPEAT_FIRST,
            repetitions: 0,
            strange: false,
            version: None,
            sent: Sent::Never,
            own,
            until: now + timeout,
        })
    }

    /// The next hello that is due.
    pub(super) fn next_hello(&mut self, now: Time) -> Option<(SocketAddr, &[u8])> {
        if now < self.repeat_at {
            return None;
        }
        let to = self.addrs[self.at];
        self.sent = match self.sent {
            Sent::Never => Sent::At(now),
            Sent::At(at) if at == now => Sent::At(at),
            _ => Sent::Often,
        };
        self.at += 1;
        match self.addrs.get(self.at) {
            None => {
                self.at = 0;
                self.repetitions += 1;
                self.repeat_at = now + self.pause;
                self.pause = (self.pause * 3 / 2).min(REPEAT_MAX);
            }
            Some(next) if self.repetitions == 0 => {
                let (way, next) = (Way::to(to, self.own), Way::to(*next, self.own));
                if way != next {
                    self.repeat_at = now + next.head_start();
                }
            }
            Some(_) => {}
        }
        Some((to, self.calling.hello()))
    }

    /// There is a way through to the peer at `at`: hello goes there at once.
    pub(super) fn also(&mut self, now: Time, at: SocketAddr) {
        if self.addrs.first() == Some(&at) && self.pause == REPEAT_OPEN {
            return;
        }
        self.addrs.retain(|addr| *addr != at);
        self.addrs.insert(0, at);
        self.addrs.truncate(PeerRecord::ADDRS_MAX);
        self.at = 0;
        self.repeat_at = now;
        self.pause = REPEAT_OPEN;
    }

    /// A cookie was demanded: the hello goes again at once.
    pub(super) fn cookie(&mut self, now: Time, mac: &[u8; 16], cookie: &[u8; 16]) -> bool {
        let taken = self.calling.take_cookie(mac, cookie);
        if taken {
            self.repeat_at = now;
        }
        taken
    }

    /// The keys, if this answer is from the peer, and the round trip, if it is clear which hello was answered.
    pub(super) fn finish(&mut self, now: Time, noise: &[u8]) -> Option<(Keyed, Option<Duration>)> {
        let keyed = self.calling.finish(noise);
        self.strange |= keyed.is_none();
        let keyed = keyed?;
        let clear = match self.sent {
            Sent::At(at) => Some(now.since(at)),
            _ => None,
        };
        Some((keyed, clear))
    }

    /// Whether it was answered by somebody who is not the peer or does not have our swarm's secret.
    pub(super) fn met_a_stranger(&self) -> bool {
        self.strange
    }

    /// The called node says it speaks versions up to `highest`, and ours not. Whoever sees our hello can say so: the call goes on.
    pub(super) fn foreign(&mut self, mac: &[u8; 16], highest: u8) -> bool {
        let ours = self.calling.is_mac(mac);
        if ours {
            self.version = Some(highest);
        }
        ours
    }

    /// The highest version the called node speaks, if it said that it does not speak ours.
    pub(super) fn version(&self) -> Option<u8> {
        self.version
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.until
    }

    pub(super) fn next_wake(&self) -> Time {
        self.repeat_at.min(self.until)
    }
}
