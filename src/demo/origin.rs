//! The demo's own origin: an ordinary HTTP server with a cap on what it gives to all together.

mod content;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::routing::get;
use futures_util::stream::unfold;
use pcdn_core::unit::Rate;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::channel::Channel;
use content::{Content, Site};

/// Bytes given in one go: small enough that transfers share the cap evenly.
const CHUNK: usize = 16 << 10;

/// A running origin; dropping it stops it.
#[derive(Debug)]
pub struct DemoOrigin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    site: Site,
    rate: Rate,
    paid_until: Mutex<Instant>,
    given: AtomicU64,
}

impl DemoOrigin {
    /// Serves `files` (name without slash, content) on a free loopback port.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(files: Vec<(String, Bytes)>, rate: Rate) -> std::io::Result<Self> {
        Self::of(Site::files(files), rate).await
    }

    /// Serves what lies in `dir`, as it is at each request, but for names that begin with a dot.
    pub(super) async fn directory(dir: PathBuf, rate: Rate) -> std::io::Result<Self> {
        Self::of(Site::Directory(dir), rate).await
    }

    /// Serves a live stream without end under `name`.
    pub(super) async fn channel(name: &'static str, channel: Channel, rate: Rate) -> std::io::Result<Self> {
        Self::of(Site::Channel(name, channel), rate).await
    }

    async fn of(site: Site, rate: Rate) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared =
            Arc::new(Shared { site, rate, paid_until: Mutex::new(Instant::now()), given: AtomicU64::new(0) });
        let router = Router::new().route("/{name}", get(serve)).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the origin stopped");
            }
        });
        Ok(Self { addr, shared, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.addr)
    }

    /// Body bytes given so far.
    pub fn given(&self) -> u64 {
        self.shared.given.load(Ordering::Relaxed)
    }
}

impl Drop for DemoOrigin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let (content, etag) = match shared.site.find(&name).await {
        Some(Content::Whole { bytes, etag }) => (bytes, etag),
        Some(Content::Live(channel)) => return live(shared, &name, &method, channel),
        None => return plain(StatusCode::NOT_FOUND, Body::from("not found\n")),
    };
    let len = content.len() as u64;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, start, end) = match asked.map(|text| range(text, len)) {
        None => (StatusCode::OK, 0, len),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(None) => {
            let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{len}"));
            return answer;
        }
    };
    let part = content.slice(start as usize..end as usize);
    let body = if method == Method::HEAD { Body::empty() } else { Body::from_stream(paced(shared, part)) };
    let mut answer = plain(status, body);
    set(&mut answer, header::CONTENT_LENGTH, &(end - start).to_string());
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::CONTENT_TYPE, content::kind_of(&name));
    set(&mut answer, header::ETAG, &etag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(&mut answer, header::CONTENT_RANGE, &format!("bytes {start}-{}/{len}", end - 1));
    }
    answer
}

/// A stream from now on, for one viewer.
fn live(shared: Arc<Shared>, name: &str, method: &Method, channel: Channel) -> Response<Body> {
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(unfold((shared, channel.tune_in()), |(shared, mut tuned)| async move {
            let bytes = tuned.next().await;
            shared.pay(bytes.len() as u64).await;
            Some((Ok::<_, std::io::Error>(bytes), (shared, tuned)))
        }))
    };
    let mut answer = plain(StatusCode::OK, body);
    set(&mut answer, header::CONTENT_TYPE, content::kind_of(name));
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

/// The bytes in chunks, each when the cap allows it.
fn paced(shared: Arc<Shared>, part: Bytes) -> impl futures_core::Stream<Item = std::io::Result<Bytes>> {
    unfold((shared, part), |(shared, mut part)| async move {
        if part.is_empty() {
            return None;
        }
        let chunk = part.split_to(part.len().min(CHUNK));
        shared.pay(chunk.len() as u64).await;
        Some((Ok(chunk), (shared, part)))
    })
}

impl Shared {
    /// Waits until the cap allows so many bytes; who waits longest is next.
    async fn pay(&self, bytes: u64) {
        if !self.rate.is_unlimited() {
            let mut paid = self.paid_until.lock().await;
            let burst = Duration::from_millis(20);
            *paid = (*paid).max(Instant::now() - burst) + self.rate.time_for(bytes);
            // The lock is kept while waiting: that is the queue.
            tokio::time::sleep_until(*paid).await;
        }
        self.given.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

fn set(answer: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
}

/// One byte range of the HTTP header, as half open bounds; `None` if it cannot be satisfied.
fn range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first, last) {
        ("", suffix) => (len.saturating_sub(suffix.parse().ok()?), len),
        (first, "") => (first.parse().ok()?, len),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(len)),
    };
    (start < end).then_some((start, end))
}
