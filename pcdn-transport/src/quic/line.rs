//! Who waits, by class.

use std::collections::VecDeque;

use pcdn_core::transport::Class;

/// Every tenth turn is the least pressing class's, so that nobody waits for ever.
const FLOOR: u32 = 10;

/// Somebody who may leave the line without saying so.
pub(super) trait Waiting {
    /// It has left.
    fn is_gone(&self) -> bool;
}

/// Who waits, the most pressing class first, each class in the order of coming.
#[derive(Debug)]
pub(super) struct Line<W> {
    waiting: [VecDeque<W>; 3],
    turns: u32,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { waiting: Default::default(), turns: 0 }
    }
}

impl<W: Waiting> Line<W> {
    pub(super) fn push(&mut self, class: Class, who: W) {
        self.waiting[class as usize].push_back(who);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// The next who is still there.
    pub(super) fn next(&mut self) -> Option<W> {
        self.next_where(|_| true)
    }

    /// The next who is still there and `may` go; others keep their places.
    pub(super) fn next_where(&mut self, mut may: impl FnMut(&W) -> bool) -> Option<W> {
        self.turns = self.turns.wrapping_add(1);
        let upwards = self.turns.is_multiple_of(FLOOR);
        for n in 0..self.waiting.len() {
            let class = if upwards { n } else { self.waiting.len() - 1 - n };
            let waiting = &mut self.waiting[class];
            waiting.retain(|who| !who.is_gone());
            if let Some(at) = waiting.iter().position(&mut may) {
                return waiting.remove(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Person(Class, bool);

    impl Waiting for Person {
        fn is_gone(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn the_pressing_go_first_and_nobody_waits_for_ever() {
        let mut line = Line::default();
        for class in [Class::Background, Class::Normal, Class::Urgent].into_iter().cycle().take(90) {
            line.push(class, Person(class, false));
        }
        let order: Vec<Class> = std::iter::from_fn(|| line.next()).map(|who| who.0).collect();
        assert_eq!(order.len(), 90);
        let first = [Class::Background, Class::Normal, Class::Urgent]
            .map(|class| order[..30].iter().filter(|c| **c == class).count());
        assert_eq!(first, [3, 0, 27]);
    }

    #[test]
    fn who_left_the_line_is_passed_over() {
        let mut line = Line::default();
        line.push(Class::Urgent, Person(Class::Urgent, true));
        line.push(Class::Background, Person(Class::Background, false));
        assert_eq!(line.next().map(|who| who.0), Some(Class::Background));
        assert!(line.next().is_none() && line.is_empty());
    }
}
