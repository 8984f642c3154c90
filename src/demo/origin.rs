//! The demo's own origin: an ordinary HTTP server with a cap on what it gives to all together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use pcdn_core::unit::Rate;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
    files: Vec<(String, Bytes)>,
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
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            files,
            rate,
            paid_until: Mutex::new(Instant::now()),
            given: AtomicU64::new(0),
        });
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
    method: axum::http::Method,
    headers: HeaderMap,
) -> Response<Body> {
    let Some((_, content)) = shared.files.iter().find(|(file, _)| *file == name) else {
        return plain(StatusCode::NOT_FOUND, Body::from("not found\n"));
    };
    let content = content.clone();
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
    let body = if method == axum::http::Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(paced(shared, part))
    };
    let mut answer = plain(status, body);
    set(&mut answer, header::CONTENT_LENGTH, &(end - start).to_string());
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    set(&mut answer, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut answer, header::ETAG, &format!("\"demo-{len}\""));
    if status == StatusCode::PARTIAL_CONTENT {
        set(&mut answer, header::CONTENT_RANGE, &format!("bytes {start}-{}/{len}", end - 1));
    }
    answer
}

/// The bytes in chunks, each when the cap allows it; who waits longest is next.
fn paced(shared: Arc<Shared>, part: Bytes) -> impl futures_core::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::unfold((shared, part), |(shared, mut part)| async move {
        if part.is_empty() {
            return None;
        }
        let chunk = part.split_to(part.len().min(CHUNK));
        if !shared.rate.is_unlimited() {
            let mut paid = shared.paid_until.lock().await;
            let burst = Duration::from_millis(20);
            *paid = (*paid).max(Instant::now() - burst) + shared.rate.time_for(chunk.len() as u64);
            // The lock is kept while waiting: that is the queue.
            tokio::time::sleep_until(*paid).await;
        }
        shared.given.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Some((Ok(chunk), (shared, part)))
    })
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
