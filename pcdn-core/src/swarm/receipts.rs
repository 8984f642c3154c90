//! Receipts over the links of a swarm: a downloader signs for what it got, an uploader waits for that before it gives much more.
//!
//! Both count the same pieces on the same link, so their accounts agree but for what is on its way and what was cancelled. A
//! downloader signs before it owes half of what the uploader tolerates; an uploader that hears nothing says "busy".

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::Event;
use super::{Output, Swarm};
use crate::id::SwarmKey;
use crate::receipt::{EVERY_BYTES, EVERY_SECS, Receipt, Tally};
use crate::schedule::Handle;
use crate::unit::Time;
use crate::wire::Message;

/// What a new neighbour may owe: seconds of a home uplink. It doubles with every receipt up to what receipts are made for.
const CREDIT_FIRST: u64 = 4 << 20;
const CREDIT_MAX: u64 = EVERY_BYTES;
/// A receipt settles twice what it says: requests are cancelled, and what was sent for them nobody signs for. So up to half of
/// what is sent may be lost, and a neighbour that signs for less than half of what it gets is found out.
const SETTLES: u64 = 2;
/// A downloader signs when it owes this part of the credit it knows it has, so that no upload waits for a receipt on its way.
const SIGN_DIVISOR: u64 = 2;

/// Receipts of all links.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    got: BTreeMap<Handle, Got>,
    gave: BTreeMap<Handle, Gave>,
}

/// What came from one neighbour.
#[derive(Debug)]
struct Got {
    session: [u8; 16],
    tally: Tally,
    signed: Tally,
    /// Since when something is unsigned.
    since: Option<Time>,
    credit: u64,
}

/// What went to one neighbour.
#[derive(Debug)]
struct Gave {
    sent: u64,
    owed: u64,
    credit: u64,
    last: Option<([u8; 16], Tally)>,
}

impl Default for Gave {
    fn default() -> Self {
        Self { sent: 0, owed: 0, credit: CREDIT_FIRST, last: None }
    }
}

impl Receipts {
    /// Whether a neighbour may be given more.
    pub(super) fn trusts(&self, link: Handle) -> bool {
        self.gave.get(&link).is_none_or(|gave| gave.owed < gave.credit)
    }

    /// Bytes were handed out to a neighbour.
    pub(super) fn gave(&mut self, link: Handle, len: u64) {
        let gave = self.gave.entry(link).or_default();
        gave.sent += len;
        gave.owed += len;
    }

    /// A piece came from a neighbour that turned out wrong; it was counted when it came.
    pub(super) fn was_bad(&mut self, link: Handle) {
        if let Some(got) = self.got.get_mut(&link) {
            got.tally.bad += 1;
        }
    }

    pub(super) fn drop_link(&mut self, link: Handle) {
        self.got.remove(&link);
        self.gave.remove(&link);
    }

    fn due(&self, now: Time, all: bool) -> Vec<Handle> {
        let every = Duration::from_secs(EVERY_SECS);
        let old = |got: &Got| got.since.is_some_and(|since| all || now.since(since) >= every);
        self.got.iter().filter(|(_, got)| old(got)).map(|(link, _)| *link).collect()
    }
}

impl Swarm {
    /// A piece came, whole, whatever it is worth.
    pub(super) fn got_piece(&mut self, now: Time, link: Handle, len: u64) {
        let Some(up) = self.links.peer_of(link) else { return };
        let fresh = || Got {
            session: session(&self.me.0, &up.0, &self.setup.key, self.setup.epoch_s, now, link),
            tally: Tally::default(),
            signed: Tally::default(),
            since: None,
            credit: CREDIT_FIRST,
        };
        let got = self.receipts.got.entry(link).or_insert_with(fresh);
        got.tally.bytes += len;
        self.report.taken += len;
        got.tally.pieces = got.tally.pieces.saturating_add(1);
        got.since.get_or_insert(now);
        if got.tally.bytes - got.signed.bytes >= got.credit / SIGN_DIVISOR {
            self.sign_for(now, link);
        }
    }

    /// Signs what is unsigned for too long; all of it, once nothing is missing.
    pub(super) fn sign_receipts(&mut self, now: Time) {
        let all = self.board.missing() == 0 && self.flights.all().is_empty();
        self.receipts.due(now, all).into_iter().for_each(|link| self.sign_for(now, link));
    }

    /// Signs everything that is unsigned: this node leaves.
    pub(super) fn settle(&mut self, now: Time) {
        self.receipts.due(now, true).into_iter().for_each(|link| self.sign_for(now, link));
    }

    /// Signs for what came over one link.
    pub(super) fn sign_for(&mut self, now: Time, link: Handle) {
        let Some(up) = self.links.peer_of(link) else { return };
        let Some(got) = self.receipts.got.get_mut(&link).filter(|got| got.since.is_some()) else { return };
        let minutes = (self.setup.epoch_s + now.0 / 1_000_000) / 60;
        let bucket = u32::try_from(minutes).unwrap_or(u32::MAX);
        let receipt = Receipt::sign(&self.setup.identity, got.session, up, self.setup.key, bucket, got.tally);
        self.report.signed += got.tally.bytes - got.signed.bytes;
        got.signed = got.tally;
        got.since = None;
        got.credit = (got.credit * 2).min(CREDIT_MAX);
        self.tell(link, Message::Receipt(receipt));
    }

    /// A neighbour signed for what it got. What is wrong with it hurts only the neighbour: it gets no more.
    pub(super) fn receipt_came(&mut self, now: Time, link: Handle, receipt: Receipt) {
        let Some(gave) = self.receipts.gave.get_mut(&link) else { return };
        let named = receipt.up == self.me
            && receipt.swarm == self.setup.key
            && self.links.peer_of(link) == Some(receipt.down);
        let before = match gave.last {
            Some((session, tally)) if session == receipt.session => tally,
            Some(_) => return,
            None => Tally::default(),
        };
        let Some(step) = receipt.tally.since(&before) else { return };
        // More than was sent is no mistake of counting, and not this node's to profit from.
        if !named || receipt.tally.bytes > gave.sent || !receipt.is_signed() {
            return;
        }
        gave.last = Some((receipt.session, receipt.tally));
        gave.owed = gave.owed.saturating_sub(step.bytes.saturating_mul(SETTLES));
        gave.credit = (gave.credit * 2).min(CREDIT_MAX);
        self.report.receipted += step.bytes;
        self.out.push_back(Output::Note(Event::Receipted(Box::new(receipt))));
        self.serve_next(now);
    }
}

/// Names a link's session: unlike any other of this node, so that an uploader has one sum for each.
fn session(
    me: &[u8; 32],
    up: &[u8; 32],
    swarm: &SwarmKey,
    epoch_s: u64,
    now: Time,
    link: Handle,
) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn receipt session v1");
    hasher.update(me).update(up).update(&swarm.0);
    hasher.update(&epoch_s.to_be_bytes()).update(&now.0.to_be_bytes()).update(&link.0.to_be_bytes());
    let mut session = [0; 16];
    hasher.finalize_xof().fill(&mut session);
    session
}
