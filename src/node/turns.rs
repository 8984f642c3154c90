//! One at a time for each name, and any number of names side by side.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whose turn it is for each name. Costs memory only for names that somebody holds or waits for.
#[derive(Debug)]
pub(super) struct Turns<K: Eq + Hash>(DashMap<K, Arc<Mutex<()>>>);

/// A turn; it is over when dropped.
#[derive(Debug)]
pub(super) struct Turn<'t, K: Eq + Hash> {
    turns: &'t Turns<K>,
    name: K,
    held: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash> Default for Turns<K> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits until nobody else has this name's turn. Who gives up waiting leaves nothing behind.
    pub(super) async fn take(&self, name: &K) -> Turn<'_, K> {
        let mut turn = Turn { turns: self, name: name.clone(), held: None };
        let mutex = Arc::clone(&self.0.entry(name.clone()).or_default());
        turn.held = Some(mutex.lock_owned().await);
        turn
    }
}

impl<K: Eq + Hash> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        self.held = None;
        // Whoever else waits or holds has a handle of its own.
        self.turns.0.remove_if(&self.name, |_, mutex| Arc::strong_count(mutex) == 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn names_wait_for_themselves_only_and_are_forgotten() {
        let turns = Turns::default();
        let one = turns.take(&"one").await;
        let other = turns.take(&"other").await;
        assert!(turns.take(&"one").now_or_never().is_none());
        assert_eq!(turns.0.len(), 2);
        drop((one, other));
        assert!(turns.0.is_empty(), "also of who gave up");
        let (first, second) = (turns.take(&"one").await, turns.take(&"one"));
        let mut second = Box::pin(second);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second.await);
        assert!(turns.0.is_empty());
    }
}
