//! Whose DATA goes next: strict by class with a floor, and round robin by bytes over the peers of a class.

use std::collections::VecDeque;

use pcdn_core::transport::Class;

/// One burst in so many begins its search at the lowest class, so that background gets a tenth even of a busy uplink.
const FLOOR_EVERY: u32 = 10;

const BY_RANK: [Class; 3] = [Class::Urgent, Class::Normal, Class::Background];

/// The sessions that have DATA to send, by class. A session is in the ring of a class at most once.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    rings: [VecDeque<u32>; 3],
    bursts: u32,
}

impl Turns {
    /// Session `id` has DATA of `class`.
    pub(crate) fn enter(&mut self, class: Class, id: u32) {
        let ring = &mut self.rings[class as usize];
        if !ring.contains(&id) {
            ring.push_back(id);
        }
    }

    /// Session `id` is over.
    pub(crate) fn leave(&mut self, id: u32) {
        self.rings.iter_mut().for_each(|ring| ring.retain(|other| *other != id));
    }

    /// Sessions that have something to send; one with two classes comes twice.
    pub(crate) fn senders(&self) -> impl Iterator<Item = u32> + '_ {
        self.rings.iter().flatten().copied()
    }

    /// Goes through the sessions in order of preference until `visit` has sent something.
    pub(crate) fn go(&mut self, mut visit: impl FnMut(Class, u32) -> Visit) -> bool {
        let floor = self.bursts % FLOOR_EVERY == FLOOR_EVERY - 1;
        for rank in 0..BY_RANK.len() {
            let class = BY_RANK[if floor { BY_RANK.len() - 1 - rank } else { rank }];
            if self.go_round(class, &mut visit) {
                self.bursts = self.bursts.wrapping_add(1);
                return true;
            }
        }
        false
    }

    fn go_round(&mut self, class: Class, visit: &mut impl FnMut(Class, u32) -> Visit) -> bool {
        let ring = &mut self.rings[class as usize];
        for _ in 0..ring.len() {
            let Some(id) = ring.pop_front() else { return false };
            match visit(class, id) {
                Visit::Empty => {}
                Visit::Blocked => ring.push_back(id),
                Visit::Sent { turn_over: true } => {
                    ring.push_back(id);
                    return true;
                }
                Visit::Sent { turn_over: false } => {
                    ring.push_front(id);
                    return true;
                }
            }
        }
        false
    }
}

/// What a visit to a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// It has nothing of this class.
    Empty,
    /// It may not send now.
    Blocked,
    /// It sent a burst.
    Sent {
        /// Whether it has used up its share of this round.
        turn_over: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_goes_first_and_background_gets_its_tenth() {
        let mut turns = Turns::default();
        turns.enter(Class::Urgent, 1);
        turns.enter(Class::Background, 2);
        let mut bursts = [0; 3];
        for _ in 0..1000 {
            turns.go(|_, id| {
                bursts[id as usize] += 1;
                Visit::Sent { turn_over: true }
            });
        }
        assert_eq!(bursts, [0, 900, 100]);
    }

    #[test]
    fn peers_take_turns_and_the_blocked_are_passed_over() {
        let mut turns = Turns::default();
        (0..3).for_each(|id| turns.enter(Class::Normal, id));
        turns.enter(Class::Normal, 0);
        let mut order = Vec::new();
        for _ in 0..6 {
            turns.go(|_, id| {
                if id == 1 {
                    return Visit::Blocked;
                }
                order.push(id);
                Visit::Sent { turn_over: true }
            });
        }
        assert_eq!(order, [0, 2, 0, 2, 0, 2]);
        assert!(!turns.go(|_, _| Visit::Empty));
        assert_eq!(turns.senders().count(), 0);
    }
}
