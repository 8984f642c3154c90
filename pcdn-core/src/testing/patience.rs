//! Waiting without a runtime: suites run under whatever runtime their caller has.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long anything on one machine may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future`, and panics with `clause` if it does not end within half a minute: a broken contract must not hang a
/// test. A thread keeps the time, so it works under any runtime and is not fooled by a paused clock.
///
/// # Panics
/// If it takes longer.
pub async fn within<F: Future>(clause: &str, future: F) -> F::Output {
    let late = Signal::default();
    let (done, over) = mpsc::channel::<()>();
    let ring = late.clone();
    std::thread::spawn(move || {
        if over.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            ring.give();
        }
    });
    let mut future = pin!(future);
    let mut alarm = pin!(late.wait());
    let output = poll_fn(|cx| match (future.as_mut().poll(cx), alarm.as_mut().poll(cx)) {
        (Poll::Ready(output), _) => Poll::Ready(Some(output)),
        (Poll::Pending, Poll::Ready(())) => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await;
    drop(done);
    output.unwrap_or_else(|| panic!("{clause}: nothing happened for {PATIENCE:?}"))
}

/// Runs two futures side by side to their ends.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(|cx| {
        if left.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            left = Some(output);
        }
        if right.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            right = Some(output);
        }
        match left.is_some() && right.is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    (left.expect("both are ready"), right.expect("both are ready"))
}

/// Something that happens once and can be waited for. Cheap to clone; clones are one signal.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    shared: Arc<(AtomicBool, Mutex<Vec<Waker>>)>,
}

impl Signal {
    /// Lets it happen.
    pub fn give(&self) {
        self.shared.0.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.shared.1.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it has happened.
    pub fn given(&self) -> bool {
        self.shared.0.load(Ordering::Acquire)
    }

    /// Waits until it has happened.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut waiting = self.shared.1.lock().unwrap_or_else(PoisonError::into_inner);
            if self.given() {
                return Poll::Ready(());
            }
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Runs a future to its end on this thread, for tests without a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
