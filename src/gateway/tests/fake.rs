//! A source that serves one content from memory, and a client that speaks raw HTTP.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::discovery::BoxStream;
use pcdn_core::fragment::FragmentError;
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_transport::origin::Passed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::super::*;
use crate::gateway::source::{Feed, Item, Live, Source};
use crate::node::OpenError;

pub(super) const LEN: u64 = 100_000;
pub(super) const DAY: &str = "Sun, 22 Nov 2026 10:00:00 GMT";

pub(super) fn content() -> Vec<u8> {
    (0..LEN).map(|i| (i * 31 % 251) as u8).collect()
}

/// Serves by the last part of the path.
#[derive(Debug, Default)]
pub(super) struct Fake {
    /// Bytes pulled by all bodies.
    pub(super) pulled: Arc<AtomicU64>,
    /// Told when a body is dropped.
    pub(super) dropped: Arc<Notify>,
}

pub(super) struct FakeItem {
    len: u64,
    head: ResourceHead,
    /// The origin gives the first part, and then none.
    garbled: bool,
    pub(super) pulled: Arc<AtomicU64>,
    pub(super) dropped: Arc<Notify>,
}

pub(super) struct FakeFeed {
    at: u64,
    end: u64,
    garbled: bool,
    pub(super) pulled: Arc<AtomicU64>,
    pub(super) dropped: Arc<Notify>,
}

pub(super) fn told(len: Option<u64>) -> ResourceHead {
    let headers =
        [("cache-control", "max-age=60"), ("access-control-allow-origin", "*"), ("last-modified", DAY)];
    ResourceHead {
        len,
        content_type: Some("video/mp4".into()),
        validator: Some("\"v1\"".into()),
        ranges: len.is_some(),
        headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
    }
}

#[async_trait]
impl Source for Fake {
    async fn open(&self, url: &Url, _: bool) -> Result<Box<dyn Item>, OpenError> {
        let status =
            |status| OriginError::Status { status, retry_after: Some(std::time::Duration::from_secs(7)) };
        let len = match url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default() {
            "film.mp4" | "garbled.mp4" => LEN,
            "endless" => 1 << 40,
            "empty" => 0,
            "unknown" | "known" => return Err(FragmentError::LengthUnknown.into()),
            "404" => return Err(status(404).into()),
            "503" => return Err(status(503).into()),
            "silent" => return Err(OriginError::Silent(std::time::Duration::from_secs(15)).into()),
            "lan" => {
                return Err(OriginError::Forbidden {
                    host: "10.0.0.1".into(),
                    why: "private; name it with --origin".into(),
                }
                .into());
            }
            _ => return Err(OriginError::Unreachable { why: "refused".into() }.into()),
        };
        let (pulled, dropped) = (self.pulled.clone(), self.dropped.clone());
        let garbled = url.path().ends_with("garbled.mp4");
        Ok(Box::new(FakeItem { len, head: told(Some(len)), garbled, pulled, dropped }))
    }
    async fn segment(
        &self,
        _: &Url,
        _: Option<ByteRange>,
        _: bool,
    ) -> Option<Result<Box<dyn Item>, OpenError>> {
        None
    }
    async fn playlist(&self, _: &Url, _: &Url, _: Option<&str>, _: Bytes) -> Result<(), OpenError> {
        Ok(())
    }
    async fn live(&self, _: &Url) -> Result<Live, OpenError> {
        Err(OpenError::Closed)
    }
    fn live_start(&self) -> u32 {
        3
    }
    fn origin(&self) -> Arc<dyn Origin> {
        Arc::new(FakeOrigin)
    }
    async fn elsewhere(&self, _: &Url, _: &[(String, String)]) -> Option<Passed> {
        None
    }
    async fn pass(
        &self,
        head: bool,
        url: &Url,
        headers: &[(String, String)],
    ) -> Option<Result<Passed, OriginError>> {
        let version = match url.host_str() {
            Some("whole.example") => Some("\"v1\""),
            Some("newer.example") => Some("\"v2\""),
            _ => None,
        };
        if let Some(tag) = version {
            let chunks: Vec<_> =
                content().chunks(7_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let bytes = futures_util::stream::iter(chunks).boxed();
            let headers = vec![("etag".to_owned(), tag.to_owned())];
            return Some(Ok(Passed { url: url.clone(), status: 200, len: Some(LEN), headers, bytes }));
        }
        // As an origin without ranges that has a page for what is missing.
        let body = format!("<p>{} {}", url.path(), headers.len());
        let (status, len) = (404, Some(body.len() as u64));
        let sent = [
            ("content-type", "text/html"),
            ("cache-control", "no-store"),
            ("set-cookie", "a=b"),
            ("etag", "\"p\""),
        ];
        let sent = sent.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let bytes = if head { Vec::new() } else { vec![Ok(Bytes::from(body))] };
        let bytes = futures_util::stream::iter(bytes).boxed();
        (url.host_str() == Some("exact.example"))
            .then(|| Ok(Passed { url: url.clone(), status, len, headers: sent, bytes }))
    }
}

impl Item for FakeItem {
    fn len(&self) -> u64 {
        self.len
    }
    fn swarm(&self) -> SwarmKey {
        SwarmKey([7; 32])
    }
    fn head(&self) -> &ResourceHead {
        &self.head
    }
    fn age(&self) -> Option<std::time::Duration> {
        Some(std::time::Duration::from_millis(7_900))
    }
    fn read(&self, range: Range<u64>) -> Box<dyn Feed> {
        let (pulled, dropped) = (self.pulled.clone(), self.dropped.clone());
        Box::new(FakeFeed { at: range.start, end: range.end, garbled: self.garbled, pulled, dropped })
    }
}

#[async_trait]
impl Feed for FakeFeed {
    async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        if self.garbled && self.at >= 16_384 {
            return Some(Err(OriginError::Status { status: 200, retry_after: None }.into()));
        }
        let end = self.end.min(self.at + 16_384);
        let bytes: Vec<u8> = (self.at..end).map(|i| (i * 31 % 251) as u8).collect();
        self.at = end;
        self.pulled.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        (!bytes.is_empty()).then(|| Ok(bytes.into()))
    }
    fn sources(&self) -> (u64, u64, u64) {
        (0, 0, self.at)
    }
}

impl Drop for FakeFeed {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct FakeOrigin;

#[async_trait]
impl Origin for FakeOrigin {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        Ok(told(url.path().ends_with("known").then_some(LEN).filter(|_| !url.path().ends_with("unknown"))))
    }
    async fn confirm(&self, url: &Url, _: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.head(url).await
    }
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let head = self.head(&want.url).await?;
        let range = want.range.map_or(0..LEN as usize, |r| r.start() as usize..r.end() as usize);
        let chunk = Bytes::from(content()).slice(range);
        let bytes: BoxStream<_> = futures_util::stream::iter([Ok(chunk)]).boxed();
        Ok(OriginBody { head, bytes })
    }
}

pub(super) async fn start(fake: Fake, change: impl FnOnce(&mut GatewayConfig)) -> (Gateway, SocketAddr) {
    let mut config = GatewayConfig { listen: "127.0.0.1:0".into(), ..GatewayConfig::default() };
    change(&mut config);
    let gateway = Gateway::over(Arc::new(fake), &config).await.unwrap();
    let addr = gateway.local_addrs()[0];
    (gateway, addr)
}

/// Sends `request` (with `{port}` put in) and reads to the end of the connection.
pub(super) async fn raw(addr: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.replace("{port}", &addr.port().to_string()).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused head is answered and then reset: what came before is the answer.
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap().to_lowercase(), body)
}

pub(super) async fn ask(addr: SocketAddr, method: &str, target: &str, headers: &str) -> (String, Vec<u8>) {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost:{{port}}\r\nConnection: close\r\n{headers}\r\n"
    );
    raw(addr, &head).await
}

pub(super) fn has(head: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(head.contains(line), "no {line:?} in\n{head}");
    }
}
