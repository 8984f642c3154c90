//! The collector's side: which receipts count, and for how much.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::{Account, Earned, WINDOW};
use super::{NetworkId, Receipt, Subnet, Tally};
use crate::id::{PeerId, SwarmKey};

/// Receipts older than this are refused, in minutes: a peer reports within minutes, and after a day offline at the latest.
/// Sessions are remembered as long, so nothing can be replayed.
const AGE_MAX: u32 = 24 * 60;
/// How far a downloader's clock may be ahead, in minutes.
const AHEAD_MAX: u32 = 5;
/// Sessions remembered: a day of 200,000 links, about 40 MB.
const SESSIONS_MAX: usize = 200_000;
/// Uploaders with an account.
const ACCOUNTS_MAX: usize = 50_000;
/// Downloaders' appetites remembered, one for each swarm they are in.
const EATEN_MAX: usize = 200_000;
/// A downloader may sign for a tenth more than it could have consumed: pieces that came twice, and players that seek back.
const CONSUMED_TENTHS: u64 = 11;

/// How well a downloader's key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Nobody vouches for it: anyone makes a thousand of them.
    Key,
    /// An application's token was shown with it.
    Token,
}

/// What the collector itself knows of a downloader; nothing of it is taken from the receipt.
#[derive(Clone, Copy, Debug)]
pub struct Downloader {
    /// Where its announces come from.
    pub subnet: Subnet,
    /// Whose network that is.
    pub network: NetworkId,
    /// Bytes of the swarm it could have consumed, from its token and its announces.
    pub could: u64,
    /// How well its key is known.
    pub proof: Proof,
}

/// A receipt that counts, as a step beyond the one before. Only a [`Book`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    up: PeerId,
    down: PeerId,
    bucket: u32,
    step: Tally,
}

impl Counted {
    /// Who gave.
    pub fn up(&self) -> PeerId {
        self.up
    }

    /// Who signed.
    pub fn down(&self) -> PeerId {
        self.down
    }

    /// When it was signed, in minutes since 1970.
    pub fn bucket(&self) -> u32 {
        self.bucket
    }

    /// What is new in it and possible.
    pub fn step(&self) -> Tally {
        self.step
    }
}

/// Why a receipt does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The signature is not the downloader's.
    #[error("the signature does not fit")]
    Forged,
    /// Uploader and downloader are one.
    #[error("nobody signs for itself")]
    Own,
    /// It says nothing that was not said before.
    #[error("nothing new in it")]
    Replayed,
    /// Its session belongs to another pair or swarm.
    #[error("the session belongs to others")]
    Reused,
    /// Signed too long ago.
    #[error("older than a day")]
    Old,
    /// Signed in the future.
    #[error("signed in the future: check the downloader's clock")]
    Early,
    /// Sums that cannot be.
    #[error("sums that cannot be")]
    Absurd,
    /// A table is full.
    #[error("no room for it")]
    Full,
}

/// All receipts that count. Give it the minute and one receipt; ask it what was earned.
///
/// Memory is bounded: at most about 40 MB of sessions, 20 MB of appetites, and 0.5 MB for each busy uploader.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Book {
    #[serde(with = "pairs")]
    sessions: BTreeMap<(PeerId, [u8; 16]), Session>,
    #[serde(with = "pairs")]
    eaten: BTreeMap<(PeerId, SwarmKey), Eaten>,
    accounts: BTreeMap<PeerId, Account>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Session {
    up: PeerId,
    swarm: SwarmKey,
    tally: Tally,
    bucket: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Eaten {
    bytes: u64,
    bucket: u32,
}

impl Book {
    /// Enters a receipt, `minute` minutes after 1970.
    ///
    /// # Errors
    /// Why it does not count; the book is unchanged then.
    pub fn take(&mut self, minute: u32, receipt: &Receipt, down: &Downloader) -> Result<Counted, Refused> {
        if receipt.up == receipt.down {
            return Err(Refused::Own);
        }
        if receipt.bucket > minute.saturating_add(AHEAD_MAX) {
            return Err(Refused::Early);
        }
        if receipt.bucket.saturating_add(AGE_MAX) < minute {
            return Err(Refused::Old);
        }
        if !receipt.tally.is_plausible() {
            return Err(Refused::Absurd);
        }
        let step = self.step(receipt)?;
        self.has_room(receipt)?;
        // Last, because it is the one check that costs anything.
        if !receipt.is_signed() {
            return Err(Refused::Forged);
        }
        Ok(self.enter(receipt, step, down))
    }

    /// What was earned in the week of `minute` by everyone with anything.
    pub fn earned(&self, minute: u32) -> impl Iterator<Item = (PeerId, Earned)> + '_ {
        let week = minute / WINDOW;
        self.accounts.iter().filter_map(move |(peer, account)| Some((*peer, account.earned(week)?)))
    }

    /// What `peer` earned in the week of `minute`.
    pub fn earned_by(&self, minute: u32, peer: &PeerId) -> Earned {
        self.accounts.get(peer).and_then(|account| account.earned(minute / WINDOW)).unwrap_or_default()
    }

    /// Forgets what can no longer be added to. To be called every few minutes.
    pub fn expire(&mut self, minute: u32) {
        self.sessions.retain(|_, session| session.bucket.saturating_add(AGE_MAX) >= minute);
        self.eaten.retain(|_, eaten| eaten.bucket.saturating_add(WINDOW) >= minute);
        let week = minute / WINDOW;
        self.accounts.retain(|_, account| account.week().saturating_add(1) >= week);
    }

    fn step(&self, receipt: &Receipt) -> Result<Tally, Refused> {
        let Some(last) = self.sessions.get(&(receipt.down, receipt.session)) else {
            return receipt.tally.since(&Tally::default()).ok_or(Refused::Replayed);
        };
        if last.up != receipt.up || last.swarm != receipt.swarm {
            return Err(Refused::Reused);
        }
        receipt.tally.since(&last.tally).ok_or(Refused::Replayed)
    }

    fn has_room(&self, receipt: &Receipt) -> Result<(), Refused> {
        let full = |known: bool, len: usize, max: usize| !known && len >= max;
        let session = self.sessions.contains_key(&(receipt.down, receipt.session));
        let eaten = self.eaten.contains_key(&(receipt.down, receipt.swarm));
        let account = self.accounts.get(&receipt.up);
        let week = receipt.bucket / WINDOW;
        if full(session, self.sessions.len(), SESSIONS_MAX)
            || full(eaten, self.eaten.len(), EATEN_MAX)
            || full(account.is_some(), self.accounts.len(), ACCOUNTS_MAX)
            || account.is_some_and(|account| !account.takes(week, &receipt.down))
        {
            return Err(Refused::Full);
        }
        Ok(())
    }

    fn enter(&mut self, receipt: &Receipt, step: Tally, down: &Downloader) -> Counted {
        let Receipt { up, swarm, bucket, tally, .. } = *receipt;
        self.sessions.insert((receipt.down, receipt.session), Session { up, swarm, tally, bucket });
        let eaten = self.eaten.entry((receipt.down, swarm)).or_insert(Eaten { bytes: 0, bucket });
        let most = down.could.saturating_mul(CONSUMED_TENTHS) / 10;
        let bytes = step.bytes.min(most.saturating_sub(eaten.bytes));
        eaten.bytes = eaten.bytes.saturating_add(bytes);
        eaten.bucket = eaten.bucket.max(bucket);
        let step = Tally { bytes, ..step };
        let account = self.accounts.entry(up).or_default();
        account.add(bucket / WINDOW, receipt.down, step, (down.subnet, down.network), down.proof);
        Counted { up, down: receipt.down, bucket, step }
    }
}

/// Maps whose keys have several parts are kept as lists: text forms know no such keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}
