//! An origin in memory that fails as its script says.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

use crate::origin::{Origin, OriginBody, OriginError, OriginGet};
use crate::range::ByteRange;
use crate::resource::{ResourceHead, Url};

/// Bytes of one chunk of a body: small enough that a piece comes in several.
const CHUNK_BYTES: usize = 16 * 1024;

/// Serves bytes from memory with an ETag and ranges, and does wrong what it was told to do wrong.
///
/// Faults queued with [`then`](Self::then) are used up by one transfer each, in order; after that
/// [`always`](Self::always) holds. Cheap to clone; clones are one origin.
///
/// ```
/// use pcdn_core::testing::{Fault, ScriptedOrigin, content};
/// let url = "http://cdn.example/film".parse()?;
/// let origin = ScriptedOrigin::new().with(&url, content(1_000_000, 7)).then(Fault::Status(503)).then(Fault::CutAfter(70_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedOrigin {
    shared: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    contents: BTreeMap<Url, Bytes>,
    next: VecDeque<Fault>,
    always: Option<Fault>,
    poisoned: Vec<Url>,
    headers: Vec<(String, String)>,
    counts: Counts,
}

/// One way in which a transfer goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: this transfer is right.
    None,
    /// It is answered with this HTTP status.
    Status(u16),
    /// No connection.
    Unreachable,
    /// The connection breaks after so many bytes of the body.
    CutAfter(u64),
    /// Nothing comes after so many bytes, for ever.
    StallAfter(u64),
    /// Every byte is wrong (all bits flipped).
    Wrong,
    /// Right but slow: chunks of so many bytes, and everybody else gets a turn between them.
    Drip(usize),
}

/// What an origin was asked for and gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Heads asked for.
    pub heads: u64,
    /// Times it was asked whether a content is still the same.
    pub confirms: u64,
    /// Transfers begun.
    pub gets: u64,
    /// Bytes of bodies given.
    pub bytes: u64,
}

impl ScriptedOrigin {
    /// An origin without content: everything is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `bytes` at `url`.
    pub fn with(self, url: &Url, bytes: Bytes) -> Self {
        self.script().contents.insert(url.clone(), bytes);
        self
    }

    /// From now on every head has the header `name` (lower case).
    pub fn saying(self, name: &str, value: &str) -> Self {
        let mut script = self.script();
        script.headers.retain(|(own, _)| own != name);
        script.headers.push((name.to_owned(), value.to_owned()));
        drop(script);
        self
    }

    /// The next transfer that no earlier call speaks for goes wrong like this.
    pub fn then(self, fault: Fault) -> Self {
        self.script().next.push_back(fault);
        self
    }

    /// From now on every transfer that [`then`](Self::then) does not speak for goes like this. [`confirm`](Origin::confirm) obeys
    /// it, too: a stall is an answer that never comes.
    pub fn always(self, fault: Fault) -> Self {
        self.script().always = Some(fault);
        self
    }

    /// All bytes of `url` are wrong for whoever asks: a poisoned cache between this origin and its callers. `head` is right.
    pub fn poison(&self, url: &Url) {
        self.script().poisoned.push(url.clone());
    }

    /// What it was asked for and gave so far.
    pub fn counts(&self) -> Counts {
        self.script().counts
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn content(&self, url: &Url) -> Result<Bytes, OriginError> {
        self.contents.get(url).cloned().ok_or(OriginError::Status { status: 404, retry_after: None })
    }

    fn head_of(&self, content: &[u8]) -> ResourceHead {
        ResourceHead {
            len: Some(content.len() as u64),
            content_type: Some("application/octet-stream".to_owned()),
            validator: Some(format!("\"{}\"", blake3::hash(content).to_hex())),
            ranges: true,
            headers: self.headers.clone(),
        }
    }

    fn fault(&mut self, url: &Url) -> Fault {
        if self.poisoned.contains(url) {
            return Fault::Wrong;
        }
        self.next.pop_front().or(self.always).unwrap_or(Fault::None)
    }
}

#[async_trait]
impl Origin for ScriptedOrigin {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        let mut script = self.script();
        script.counts.heads += 1;
        match script.always {
            Some(Fault::Status(status)) => Err(OriginError::Status { status, retry_after: None }),
            Some(Fault::Unreachable) => Err(unreachable()),
            _ => Ok(script.head_of(&script.content(url)?)),
        }
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        let (always, head) = {
            let mut script = self.script();
            script.counts.confirms += 1;
            (script.always, script.content(url).map(|content| script.head_of(&content)))
        };
        match always {
            Some(Fault::Status(status)) => return Err(OriginError::Status { status, retry_after: None }),
            Some(Fault::Unreachable) => return Err(unreachable()),
            Some(Fault::StallAfter(_)) => std::future::pending().await,
            _ => {}
        }
        let head = head?;
        match known.differs_from(&head) {
            Some(what) => Err(OriginError::Changed { what }),
            None => Ok(head),
        }
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let mut script = self.script();
        script.counts.gets += 1;
        let fault = script.fault(&want.url);
        match fault {
            Fault::Status(status) => return Err(OriginError::Status { status, retry_after: None }),
            Fault::Unreachable => return Err(unreachable()),
            _ => {}
        }
        let content = script.content(&want.url)?;
        let head = script.head_of(&content);
        check(want, &head)?;
        let whole = ByteRange::new(0, content.len() as u64);
        let range = match want.range {
            None => whole,
            Some(range) => Some(
                whole
                    .and_then(|whole| whole.intersect(&range))
                    .ok_or(OriginError::Status { status: 416, retry_after: None })?,
            ),
        };
        let mut bytes =
            range.map_or(Bytes::new(), |range| content.slice(range.start() as usize..range.end() as usize));
        if fault == Fault::Wrong {
            bytes = bytes.iter().map(|byte| !byte).collect::<Vec<u8>>().into();
        }
        let body = Body { origin: self.clone(), bytes, fault, given: 0, rest: false };
        Ok(OriginBody { head, bytes: Box::pin(body) })
    }
}

fn unreachable() -> OriginError {
    OriginError::Unreachable { why: "connection refused, says the script".to_owned() }
}

fn check(want: &OriginGet, head: &ResourceHead) -> Result<(), OriginError> {
    if want.validator.is_some() && want.validator != head.validator {
        return Err(OriginError::Changed { what: "the ETag".to_owned() });
    }
    if want.len.is_some() && want.len != head.len {
        return Err(OriginError::Changed { what: "the length".to_owned() });
    }
    Ok(())
}

struct Body {
    origin: ScriptedOrigin,
    bytes: Bytes,
    fault: Fault,
    given: u64,
    /// It is the others' turn before the next chunk.
    rest: bool,
}

impl Stream for Body {
    type Item = Result<Bytes, OriginError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let room = match self.fault {
            Fault::CutAfter(limit) if self.given >= limit => {
                self.bytes.clear();
                self.fault = Fault::None;
                let why = "the connection broke, says the script".to_owned();
                return Poll::Ready(Some(Err(OriginError::Unreachable { why })));
            }
            Fault::StallAfter(limit) if self.given >= limit => return Poll::Pending,
            Fault::CutAfter(limit) | Fault::StallAfter(limit) => (limit - self.given).min(CHUNK_BYTES as u64),
            Fault::Drip(bytes) => bytes.max(1) as u64,
            _ => CHUNK_BYTES as u64,
        };
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = self.bytes.len().min(room as usize);
        let chunk = self.bytes.split_to(len);
        self.given += chunk.len() as u64;
        self.rest = matches!(self.fault, Fault::Drip(_));
        self.origin.script().counts.bytes += chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }
}
