//! An origin that does what a test tells it to, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn_core::testing::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// One step of an answer.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    /// Says no more and keeps the connection.
    Hang,
    /// Ends the connection in order.
    Close,
    /// Ends it with a reset.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    /// Of all requests, from 0.
    pub(super) nth: usize,
    /// Of its connection's requests, from 0.
    pub(super) nth_here: usize,
}

impl Seen {
    pub(super) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    pub(super) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// First and last byte of the range asked for.
    pub(super) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap()))
    }
}

/// A scripted server on loopback; it stops when it is dropped.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    gone: Arc<Semaphore>,
    task: tokio::task::JoinHandle<()>,
}

impl Faulty {
    pub(super) async fn start(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (script, log, count) = (Arc::new(script), seen.clone(), connections.clone());
        let gone = Arc::new(Semaphore::new(0));
        let ends = gone.clone();
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (script, log, ends) = (script.clone(), log.clone(), ends.clone());
                all.spawn(async move {
                    let _ = serve(stream, &*script, &log).await;
                    ends.add_permits(1);
                });
            }
        });
        Self { address, seen, connections, gone, task }
    }

    pub(super) fn url(&self, path: &str) -> pcdn_core::resource::Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a connection has ended.
    pub(super) async fn one_gone(&self) {
        let end = within("a connection ends", self.gone.acquire()).await;
        end.expect("the semaphore is never closed").forget();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(dyn Fn(&Seen) -> Vec<Act> + Send + Sync),
    log: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for nth_here in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let seen = {
            let mut log = log.lock().unwrap();
            let seen = Seen { head: String::from_utf8(head).unwrap(), nth: log.len(), nth_here };
            log.push(seen.clone());
            seen
        };
        for act in script(&seen) {
            match act {
                Act::Send(bytes) => stream.write_all(&bytes).await?,
                Act::Pause(time) => tokio::time::sleep(time).await,
                Act::Hang => {
                    // Until the client leaves.
                    stream.read_u8().await?;
                }
                Act::Close => return stream.shutdown().await,
                Act::Reset => return stream.set_zero_linger(),
            }
        }
    }
    Ok(())
}

/// The whole of an answer: status line, headers, body.
pub(super) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        out.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    out.extend(b"\r\n");
    out.extend(body);
    out
}

/// `answer` with the body's length announced.
pub(super) fn whole(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<Act> {
    let length = body.len().to_string();
    let mut all = headers.to_vec();
    all.push(("Content-Length", &length));
    vec![Act::Send(answer(status, &all, body))]
}

/// What a right server of `content` with `etag` says.
pub(super) fn right(seen: &Seen, content: &[u8], etag: &str) -> Vec<Act> {
    let headers = [("ETag", etag), ("Accept-Ranges", "bytes"), ("Content-Type", "video/x-flv")];
    if seen.method() == "HEAD" {
        let mut acts = whole("200 OK", &headers, content);
        let Act::Send(bytes) = &mut acts[0] else { unreachable!() };
        bytes.truncate(bytes.len() - content.len());
        return acts;
    }
    let fresh = seen.header("if-range").is_none_or(|asked| asked == etag);
    match seen.range().filter(|_| fresh) {
        Some((first, _)) if first >= content.len() => {
            let range = format!("bytes */{}", content.len());
            whole("416 Range Not Satisfiable", &[("Content-Range", &range)], b"")
        }
        Some((first, last)) => {
            let last = last.min(content.len() - 1);
            let range = format!("bytes {first}-{last}/{}", content.len());
            let mut all = headers.to_vec();
            all.push(("Content-Range", &range));
            whole("206 Partial Content", &all, &content[first..=last])
        }
        None => whole("200 OK", &headers, content),
    }
}

/// Content with no period a shifted answer could hide in.
pub(super) fn content(len: usize) -> Vec<u8> {
    let mut dice = pcdn_core::dice::Dice::new(1);
    (0..len).map(|_| dice.next_u64() as u8).collect()
}
