//! Which answer of a session goes on, one at a time.
//!
//! quinn is handed little at once ([`Room`](super::room::Room)) and sends what it has taken in its own order. What it is given next is
//! decided here, so that urgent answers go first and background ones are not starved.

use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::transport::Class;
use tokio::sync::oneshot;

use super::line::{Line, Waiting};

/// The turns of one session.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    line: Line<oneshot::Sender<Turn>>,
}

impl Waiting for oneshot::Sender<Turn> {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Turns {
    /// Waits for a turn. Dropping the future leaves the line.
    pub(super) async fn take(self: &Arc<Self>, class: Class) -> Turn {
        let called = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.taken {
                state.taken = true;
                return Turn(Arc::clone(self));
            }
            let (call, called) = oneshot::channel();
            state.line.push(class, call);
            called
        };
        match called.await {
            Ok(turn) => turn,
            // The line is never dropped while somebody holds the turns.
            Err(_) => Turn(Arc::clone(self)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            let next = state.line.next();
            state.taken = next.is_some();
            next
        };
        if let Some(next) = next {
            // Who leaves just now drops the turn it is given, and the next is called.
            let _ = next.send(Turn(Arc::clone(&self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_the_pressing_first_and_those_who_leave_stop_nobody() {
        let turns = Arc::<Turns>::default();
        let order = Arc::<Mutex<Vec<Class>>>::default();
        let held = turns.take(Class::Normal).await;
        let mut tasks = Vec::new();
        for class in [Class::Background, Class::Urgent, Class::Normal, Class::Urgent] {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _turn = turns.take(class).await;
                order.lock().unwrap().push(class);
            }));
            tokio::task::yield_now().await;
        }
        tasks.remove(1).abort();
        tokio::task::yield_now().await;
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [Class::Urgent, Class::Normal, Class::Background]);
        turns.take(Class::Background).await;
    }
}
