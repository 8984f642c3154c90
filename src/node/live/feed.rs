//! This node's own connection to the origin, cut into slices.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::discovery::BoxStream;
use pcdn_core::fragment::{Cut, Fragmenter, Part, Slice};
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::resource::Resource;
use pcdn_core::unit::Time;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::node::Shared;

/// Slices cut and not yet looked at: the burst of a connection's start.
const QUEUE: usize = 32;

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum Fed {
    Slice(Box<Slice>),
    /// It ended, and why if it was not asked to.
    Ended(String),
}

/// What the connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Off,
    /// It has given no slice yet: some servers take seconds to begin.
    Silent,
    /// It gives slices.
    Gives,
}

/// The connection, if there is one.
#[derive(Debug)]
pub(super) struct Feed {
    origin: Arc<dyn Origin>,
    fragmenter: Arc<dyn Fragmenter>,
    resource: Resource,
    tasks: TaskTracker,
    on: Option<(mpsc::Receiver<Fed>, AbortHandle)>,
    gave: bool,
}

/// The bytes of an endless answer.
type Body = BoxStream<Result<Bytes, OriginError>>;

impl Feed {
    /// The connection whose answer is `body`.
    pub(super) fn of(
        body: Body,
        shared: &Shared,
        fragmenter: Arc<dyn Fragmenter>,
        resource: Resource,
    ) -> Self {
        let (origin, tasks) = (shared.origin.clone(), shared.tasks.clone());
        let mut feed = Self { origin, fragmenter, resource, tasks, on: None, gave: false };
        feed.begin(Some(body));
        feed
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.is_some()
    }

    pub(super) fn state(&self) -> State {
        match (&self.on, self.gave) {
            (None, _) => State::Off,
            (Some(_), false) => State::Silent,
            (Some(_), true) => State::Gives,
        }
    }

    /// Connects, if it is not.
    pub(super) fn connect(&mut self) {
        if self.on.is_none() {
            self.begin(None);
        }
    }

    fn begin(&mut self, body: Option<Body>) {
        let (to, fed) = mpsc::channel(QUEUE);
        let (origin, fragmenter) = (self.origin.clone(), self.fragmenter.clone());
        let resource = self.resource.clone();
        let task = self.tasks.spawn(async move {
            let body = match body {
                Some(body) => Ok(body),
                None => origin.get(&OriginGet::whole(resource.url.clone())).await.map(|answer| answer.bytes),
            };
            let why = match body {
                Ok(body) => read(body, fragmenter.as_ref(), &resource, &to).await,
                Err(error) => error.to_string(),
            };
            // Nobody listens once it was disconnected.
            let _ = to.send(Fed::Ended(why)).await;
        });
        self.on = Some((fed, task.abort_handle()));
        self.gave = false;
    }

    pub(super) fn disconnect(&mut self) {
        if let Some((_, task)) = self.on.take() {
            task.abort();
        }
    }

    /// What comes next; never, without a connection. Cancel-safe.
    pub(super) async fn next(&mut self) -> Fed {
        let Some((fed, _)) = &mut self.on else { return std::future::pending().await };
        let next = fed.recv().await.unwrap_or_else(|| Fed::Ended("its task ended".to_owned()));
        match next {
            Fed::Slice(_) => self.gave = true,
            Fed::Ended(_) => self.on = None,
        }
        next
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.disconnect();
    }
}

async fn read(
    mut body: Body,
    fragmenter: &dyn Fragmenter,
    resource: &Resource,
    to: &mpsc::Sender<Fed>,
) -> String {
    let mut slicing = match fragmenter.open(resource) {
        Ok(slicing) => slicing,
        Err(error) => return error.to_string(),
    };
    loop {
        let (part, end) = match body.next().await {
            Some(Ok(bytes)) => (Part::Bytes(bytes), None),
            Some(Err(error)) => (Part::End, Some(error.to_string())),
            None => (Part::End, Some("it ended".to_owned())),
        };
        if let Err(error) = slicing.supply(Time::ZERO, part) {
            return error.to_string();
        }
        while let Some(cut) = slicing.cut() {
            if let Cut::Sliced(slice) = cut
                && to.send(Fed::Slice(Box::new(slice))).await.is_err()
            {
                return "nobody listens".to_owned();
            }
        }
        if let Some(why) = end {
            return why;
        }
    }
}
