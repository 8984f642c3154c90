//! The stream behind a `Fetching`: steps from a task, a time limit, and a cancel when it is dropped early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use pcdn_core::transport::{Chunk, FetchError, Fetching};
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// What a task tells a fetch.
#[derive(Debug)]
pub(crate) enum Step {
    Chunk(Chunk),
    Whole,
    Failed(FetchError),
}

/// A stream for a fetch that may take `within`, and where its steps are to be sent. The channel is unbounded; the sender
/// sees to it that no byte of a piece goes in twice.
pub(crate) fn stream(within: Duration) -> (mpsc::UnboundedSender<Step>, Steps) {
    let (sender, steps) = mpsc::unbounded_channel();
    (sender, Steps { steps, late: Box::pin(tokio::time::sleep(within)), over: false, cancel: None })
}

pub(crate) struct Steps {
    steps: mpsc::UnboundedReceiver<Step>,
    late: Pin<Box<Sleep>>,
    over: bool,
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl Steps {
    /// As the seam wants it; `cancel` is called if it is dropped, or late, before it is over.
    pub(crate) fn into_fetching(mut self, cancel: impl FnOnce() + Send + 'static) -> Fetching {
        self.cancel = Some(Box::new(cancel));
        Fetching::new(Box::pin(self))
    }

    fn cancel(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

impl Stream for Steps {
    type Item = Result<Chunk, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(step) = self.steps.poll_recv(cx) {
            if let Some(Step::Chunk(chunk)) = step {
                return Poll::Ready(Some(Ok(chunk)));
            }
            self.over = true;
            self.cancel = None;
            return Poll::Ready(match step {
                Some(Step::Failed(why)) => Some(Err(why)),
                None => Some(Err(FetchError::Closed)),
                Some(Step::Whole | Step::Chunk(_)) => None,
            });
        }
        ready!(self.late.as_mut().poll(cx));
        self.over = true;
        self.cancel();
        Poll::Ready(Some(Err(FetchError::Timeout)))
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.cancel();
    }
}
