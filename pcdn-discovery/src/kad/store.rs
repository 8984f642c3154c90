//! The table of providers as libp2p wants it, and this node's own records beside it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::iter;
use std::time::{Duration, Instant};

use libp2p_core::Multiaddr;
use libp2p_kad::store::{Error, RecordStore, Result};
use libp2p_kad::{K_VALUE, ProviderRecord, Record, RecordKey};
use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::PeerAddr;
use pcdn_core::unit::Time;

use super::place;
use super::providers::{Key, Limits, Provider, Providers};

/// How long a record holds. Three announcements of 10 min: two may be lost.
pub(super) const TTL: Duration = Duration::from_secs(30 * 60);
/// Keys this node announces itself for. As many as a tracker lets a peer join.
pub(super) const OWN_MAX: usize = 4_096;

/// What `libp2p_kad` stores and looks up. Value records are refused: anyone may write them, and nobody here needs them.
#[derive(Debug)]
pub(super) struct Shelf {
    me: PeerId,
    begun: Instant,
    table: RefCell<Providers>,
    dice: RefCell<Dice>,
    /// What this node provides, and until when.
    own: BTreeMap<Key, Time>,
    /// Where its transports are, as far as it knows.
    own_addrs: Vec<Multiaddr>,
}

impl Shelf {
    pub(super) fn new(me: PeerId, dice: Dice) -> Self {
        let table = RefCell::new(Providers::new(Limits::default()));
        let (own, own_addrs) = Default::default();
        Self { me, begun: Instant::now(), table, dice: RefCell::new(dice), own, own_addrs }
    }

    /// Where askers are told this node's transports are.
    pub(super) fn set_own_addrs(&mut self, addrs: Vec<Multiaddr>) {
        self.own_addrs = addrs;
    }

    /// Takes in a record that another node sent, its addresses checked. False if there is no room for it.
    pub(super) fn keep(
        &mut self,
        key: &RecordKey,
        id: PeerId,
        addrs: Vec<PeerAddr>,
        contact: Option<std::net::SocketAddr>,
    ) -> bool {
        let (now, Some(key)) = (self.now(), key_of(key)) else { return false };
        let provider = Provider { id, addrs, contact, expires: now + TTL };
        self.table.get_mut().add(now, key, provider, self.dice.get_mut())
    }

    /// What is known of a provider of `key` without asking anybody.
    pub(super) fn known(&self, key: &RecordKey, id: &PeerId) -> Vec<PeerAddr> {
        let Some(key) = key_of(key) else { return Vec::new() };
        let (table, now) = (self.table.borrow(), self.now());
        table.get(now, &key, id).map_or_else(Vec::new, |provider| provider.addrs.clone())
    }

    /// Records held for others, and keys they are of.
    pub(super) fn len(&self) -> (usize, usize) {
        self.table.borrow().len()
    }

    /// Drops what has expired.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        self.table.get_mut().sweep(now);
        self.own.retain(|_, expires| *expires > now);
    }

    fn now(&self) -> Time {
        Time(self.begun.elapsed().as_micros() as u64)
    }

    fn own_record(&self, key: &Key) -> ProviderRecord {
        ProviderRecord::new(RecordKey::new(key), place::name_of(&self.me), self.own_addrs.clone())
    }
}

fn key_of(key: &RecordKey) -> Option<Key> {
    key.as_ref().try_into().ok()
}

fn record(key: &RecordKey, provider: &Provider) -> ProviderRecord {
    let transports = provider.addrs.iter().filter_map(place::to_multiaddr);
    let addrs = transports.chain(provider.contact.map(place::quic_v1)).collect();
    ProviderRecord::new(key.clone(), place::name_of(&provider.id), addrs)
}

impl RecordStore for Shelf {
    type RecordsIter<'a> = iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        iter::empty()
    }

    /// Only this node's own records come this way: those of others are checked first, see [`keep`](Self::keep).
    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        let key = key_of(&record.key).ok_or(Error::ValueTooLarge)?;
        let expires = self.now() + TTL;
        if self.own.len() >= OWN_MAX && !self.own.contains_key(&key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.own.insert(key, expires);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let Some(wanted) = key_of(key) else { return Vec::new() };
        let now = self.now();
        let (table, mut dice) = (self.table.borrow(), self.dice.borrow_mut());
        // One more than an answer holds: the asker itself may be among them, and is left out.
        let others =
            table.sample(now, &wanted, K_VALUE.get() + 1, &mut dice).into_iter().map(|one| record(key, one));
        let own = self.own.get(&wanted).filter(|expires| **expires > now).map(|_| self.own_record(&wanted));
        own.into_iter().chain(others).collect()
    }

    /// Nothing is republished by libp2p: who announces renews its lease, and who does not is gone.
    fn provided(&self) -> Self::ProvidedIter<'_> {
        iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, name: &libp2p_identity::PeerId) {
        let (Some(key), Some(id)) = (key_of(key), place::peer_of(name)) else { return };
        if id == self.me {
            self.own.remove(&key);
        } else {
            self.table.get_mut().remove(&key, &id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Shelf {
        let mut shelf = Shelf::new(PeerId([9; 32]), Dice::new(1));
        shelf.set_own_addrs(vec!["/ip4/127.0.0.1/udp/4000/sni/udp.pcdn".parse().unwrap()]);
        shelf
    }

    #[test]
    fn own_and_other_records_are_told_with_addresses() {
        let mut shelf = shelf();
        let key = RecordKey::new(&[1; 32]);
        shelf
            .add_provider(ProviderRecord::new(key.clone(), place::name_of(&PeerId([9; 32])), Vec::new()))
            .unwrap();
        let contact = "127.0.0.1:5000".parse().unwrap();
        assert!(shelf.keep(
            &key,
            PeerId([2; 32]),
            vec!["udp://127.0.0.1:4001".parse().unwrap()],
            Some(contact)
        ));
        let told: Vec<_> = shelf.providers(&key).into_iter().map(|one| one.addresses.len()).collect();
        assert_eq!(told, [1, 2], "its own transport; the other's transport and DHT node");
        shelf.remove_provider(&key, &place::name_of(&PeerId([9; 32])));
        shelf.remove_provider(&key, &place::name_of(&PeerId([2; 32])));
        assert!(shelf.providers(&key).is_empty());
    }

    #[test]
    fn values_and_keys_of_other_lengths_are_refused() {
        let mut shelf = shelf();
        assert!(shelf.put(Record::new(RecordKey::new(&[1; 32]), vec![1])).is_err());
        let short = RecordKey::new(&[1; 20]);
        assert!(!shelf.keep(&short, PeerId([2; 32]), vec!["udp://127.0.0.1:4001".parse().unwrap()], None));
        assert!(
            shelf
                .add_provider(ProviderRecord::new(short, place::name_of(&PeerId([9; 32])), Vec::new()))
                .is_err()
        );
    }

    #[test]
    fn own_keys_are_bounded() {
        let mut shelf = shelf();
        let mut add = |n: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            shelf.add_provider(ProviderRecord::new(
                RecordKey::new(&key),
                place::name_of(&PeerId([9; 32])),
                Vec::new(),
            ))
        };
        assert!((0..OWN_MAX).all(|n| add(n).is_ok()));
        assert!(add(OWN_MAX).is_err());
        assert!(add(0).is_ok(), "renewing is not adding");
    }
}
