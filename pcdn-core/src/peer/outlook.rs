//! How a node appears to others: found out by a transport, told by everybody else.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::{Nat, PeerAddr};

/// What is known of it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// From where others see this node, best first; empty as long as nobody has said.
    pub addrs: Vec<PeerAddr>,
    /// What stands between.
    pub nat: Nat,
}

/// A place where one part of a node writes what it found out, and others look. Looking is cheap: at every tick.
#[derive(Debug, Default)]
pub struct Outlook(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    edition: u64,
    appearance: Appearance,
    /// One of each task that waits: they are as many as swarms at most.
    waiting: Vec<Waker>,
}

impl Outlook {
    /// Addresses at most: two families, mapped and seen.
    pub const ADDRS_MAX: usize = 4;

    /// Writes what is known now.
    pub fn set(&self, mut appearance: Appearance) {
        appearance.addrs.truncate(Self::ADDRS_MAX);
        let mut held = self.held();
        if held.appearance != appearance {
            held.appearance = appearance;
            held.edition += 1;
            held.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// What is known now.
    pub fn get(&self) -> Appearance {
        self.held().appearance.clone()
    }

    /// A number that rises with every change; 0 as long as nothing was written.
    pub fn edition(&self) -> u64 {
        self.held().edition
    }

    /// Waits until the edition is another than `known`. Cancel-safe.
    pub async fn changed(&self, known: u64) -> u64 {
        poll_fn(|context| {
            let mut held = self.held();
            if held.edition != known {
                return Poll::Ready(held.edition);
            }
            if !held.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                held.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake};

    use super::*;

    #[test]
    fn only_what_is_new_makes_a_new_edition_and_wakes_who_waits() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::new(Count(0.into()));
        let waker = Waker::from(count.clone());
        let outlook = Outlook::default();
        assert_eq!((outlook.get(), outlook.edition()), (Appearance::default(), 0));
        let mut waiting = std::pin::pin!(outlook.changed(0));
        for _ in 0..2 {
            assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let appearance = Appearance {
            addrs: vec!["udp://198.51.100.1:4000".parse().unwrap()],
            nat: crate::peer::Nat::Cone,
        };
        outlook.set(appearance.clone());
        outlook.set(appearance.clone());
        assert_eq!((outlook.get(), outlook.edition()), (appearance, 1));
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(waiting.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(1));
    }
}
