//! One swarm: a set of columns for each address family.

use std::net::IpAddr;

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;

use super::super::{Ask, Member, Size, Told};
use super::columns::{Choice, Columns, Gone, V4, V6};
use crate::tracker::networks::Networks;
use crate::tracker::wire::Counts;
#[cfg(feature = "redis")]
use crate::tracker::wire::{InfoHash, Listed};

/// Most swarms have members in IPv4, whose columns lie beside the rest, so that one look at memory finds both. IPv6 costs a pointer
/// until somebody has it.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    v4: Columns<V4>,
    v6: Option<Box<Columns<V6>>>,
    seeds: u32,
    completed: u32,
    tail: [u8; 12],
    /// No entry expires before this.
    quiet_until: Time,
}

/// Does the same with the columns of `$ip`'s family.
macro_rules! family {
    ($self:ident, $ip:expr, $columns:ident => $do:expr, $none:expr) => {
        match $ip {
            IpAddr::V4(_) => {
                let $columns = &$self.v4;
                $do
            }
            IpAddr::V6(_) => $self.v6.as_deref().map_or($none, |$columns| $do),
        }
    };
    (mut $self:ident, $ip:expr, $columns:ident => $do:expr, $none:expr) => {
        match $ip {
            IpAddr::V4(_) => {
                let $columns = &mut $self.v4;
                $do
            }
            IpAddr::V6(_) => $self.v6.as_deref_mut().map_or($none, |$columns| $do),
        }
    };
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |columns| columns.len())
    }

    /// Looks at what a request looks at first, for its sake alone.
    pub(super) fn touch(&self) -> u8 {
        self.v4.touch() ^ self.v6.as_ref().map_or(0, |columns| columns.touch())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { seeds: self.seeds, others: self.len() as u32 - self.seeds }
    }

    pub(super) fn size(&self) -> Size {
        Size { counts: self.counts(), completed: self.completed }
    }

    /// The bytes of its key that the info hash leaves out.
    pub(super) fn tail(&self) -> [u8; 12] {
        self.tail
    }

    pub(super) fn completed(&mut self) {
        self.completed = self.completed.saturating_add(1);
    }

    /// Where an entry is in the columns of its family, if it is there.
    pub(super) fn slot(&self, member: &Member) -> Option<usize> {
        family!(self, member.ip, columns => columns.slot_of(member), None)
    }

    /// Renews the entry at `slot`, or adds one; where it is now.
    pub(super) fn put(&mut self, member: &Member, slot: Option<usize>) -> usize {
        let first = self.is_empty();
        if member.tail != [0; 12] {
            self.tail = member.tail;
        }
        let (slot, was_seed) = match member.ip {
            IpAddr::V4(_) => self.v4.put(member, slot),
            IpAddr::V6(_) => self.v6.get_or_insert_default().put(member, slot),
        };
        self.seeds = self.seeds + u32::from(member.seed) - u32::from(was_seed);
        self.quiet_until = if first { member.expires } else { self.quiet_until.min(member.expires) };
        slot
    }

    pub(super) fn renew(&mut self, id: &PeerId, ip: IpAddr, expires: Time, superpeer: bool) -> bool {
        family!(mut self, ip, columns => columns.renew(id, ip, expires, superpeer), false)
    }

    #[cfg(feature = "redis")]
    pub(super) fn member(&self, swarm: InfoHash, id: &PeerId, ip: IpAddr) -> Option<Member> {
        let listed = family!(self, ip, columns => columns.slot(id, ip).map(|at| columns.entry(at)), None)?;
        let (Listed { id, ip, ports, seed, traits }, plain, network) = listed;
        let (tail, expires) = (self.tail, Time::ZERO);
        Some(Member { swarm, tail, id, ip, ports, seed, plain, traits, network, expires })
    }

    pub(super) fn remove(&mut self, id: &PeerId, ip: IpAddr) -> bool {
        let gone =
            family!(mut self, ip, columns => columns.slot(id, ip).map(|at| columns.remove_at(at)), None);
        self.count_gone(gone).is_some()
    }

    pub(super) fn remove_random(&mut self, dice: &mut Dice) -> Option<(PeerId, IpAddr)> {
        let at = dice.below(self.len() as u64) as usize;
        let gone = match at.checked_sub(self.v4.len()) {
            None => Some(self.v4.remove_at(at)),
            Some(at) => {
                self.v6.as_mut().filter(|columns| at < columns.len()).map(|columns| columns.remove_at(at))
            }
        };
        self.count_gone(gone)
    }

    fn count_gone(&mut self, gone: Option<Gone>) -> Option<(PeerId, IpAddr)> {
        let gone = gone?;
        self.seeds -= u32::from(gone.seed);
        Some((gone.id, gone.ip))
    }

    /// Moves what has expired to `gone`. A look at one number when nothing has.
    pub(super) fn expire(&mut self, now: Time, gone: &mut Vec<(PeerId, IpAddr)>) {
        if now < self.quiet_until {
            return;
        }
        let mut expired = Vec::new();
        let v4 = self.v4.expire(now, &mut expired);
        let v6 = self.v6.as_deref_mut().and_then(|columns| columns.expire(now, &mut expired));
        self.quiet_until = v4.into_iter().chain(v6).min().unwrap_or(Time::NEVER);
        self.v6.take_if(|columns| columns.len() == 0);
        for one in expired {
            gone.extend(self.count_gone(Some(one)));
        }
    }

    /// Whom to tell `ask` of: of its own family first, for that one it surely speaks. `own` is where it is itself, if it takes
    /// part.
    pub(super) fn choose(
        &self,
        now: Time,
        dice: &mut Dice,
        networks: &Networks,
        ask: &Ask,
        own: Option<usize>,
        told: &mut Told<'_>,
    ) {
        let mut choice = Choice { now, networks, ask, own, want: ask.want };
        let first = family!(self, ask.ip, columns => columns.choose(&choice, dice, told), 0);
        choice.own = None;
        choice.want -= first;
        if choice.want > 0 && matches!(told, Told::Records(_)) {
            match ask.ip {
                IpAddr::V4(_) => self.v6.as_deref().map_or(0, |columns| columns.choose(&choice, dice, told)),
                IpAddr::V6(_) => self.v4.choose(&choice, dice, told),
            };
        }
    }
}
