//! Where an inspection reads: an origin, or files on this machine as if they lay at their URLs.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pcdn_core::id::Digest;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_transport::origin::Http;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::http::packed;
use crate::publish::PublishError;
use crate::publish::local::Document;
use crate::publish::sign::document_of;

/// Bytes of a document, or of an index in a media file, at most.
const BYTES_MAX: usize = 16 << 20;

/// Where documents and segments are read.
#[derive(Clone, Debug)]
pub struct Source {
    origin: Arc<dyn Origin>,
    /// Tells where a document was found after redirects.
    http: Option<Http>,
}

impl Source {
    /// An origin.
    pub fn http(http: Http) -> Self {
        Self { origin: Arc::new(http.clone()), http: Some(http) }
    }

    /// The playlist at `path` on this machine as if it lay at `url`, and the files around it.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn local(path: &Path, url: &Url) -> Result<Self, PublishError> {
        Ok(Self { origin: Arc::new(Files(document_of(path, Some(url))?)), http: None })
    }

    /// The origin itself.
    pub fn origin(&self) -> &dyn Origin {
        self.origin.as_ref()
    }

    /// A document, and where it was found.
    pub(super) async fn document(&self, url: &Url) -> Result<(Url, Bytes), PublishError> {
        let failed = failed(url);
        let (at, headers, mut bytes) = match &self.http {
            Some(http) => {
                let passed = http.pass(false, url, &[]).await.map_err(&failed)?;
                match passed.status {
                    200 => (passed.url, passed.headers, passed.bytes),
                    status => return Err(failed(OriginError::Status { status, retry_after: None })),
                }
            }
            None => {
                let want = OriginGet::whole(url.clone());
                let body = self.origin.get(&want).await.map_err(&failed)?;
                (url.clone(), body.head.headers, body.bytes)
            }
        };
        let mut text = BytesMut::new();
        while let Some(chunk) = bytes.next().await {
            text.extend_from_slice(&chunk.map_err(&failed)?);
            if text.len() > BYTES_MAX {
                return Err(failed(OriginError::Malformed { what: "a document of more than 16 MiB".into() }));
            }
        }
        let (text, _) = packed::unpacked(&headers, text.freeze()).map_err(failed)?;
        Ok((at, text))
    }

    /// Some bytes of a file, as many of them as there are.
    pub(super) async fn part(&self, url: &Url, range: ByteRange) -> Result<Bytes, PublishError> {
        let failed = failed(url);
        let want = OriginGet { range: Some(range), ..OriginGet::whole(url.clone()) };
        let mut body = self.origin.get(&want).await.map_err(&failed)?;
        let mut part = BytesMut::new();
        while let Some(chunk) = body.bytes.next().await {
            part.extend_from_slice(&chunk.map_err(&failed)?);
            if part.len() > BYTES_MAX {
                break;
            }
        }
        Ok(part.freeze())
    }

    /// How long the file at `url` is; reads it if the origin does not say.
    pub(super) async fn len(&self, url: &Url) -> Result<u64, PublishError> {
        match self.origin.head(url).await.map_err(failed(url))?.len {
            Some(len) => Ok(len),
            None => Ok(self.hash(url, None).await?.0),
        }
    }

    /// Length and BLAKE3 hash of the file at `url`, or of a part of it.
    pub(super) async fn hash(
        &self,
        url: &Url,
        range: Option<ByteRange>,
    ) -> Result<(u64, Digest), PublishError> {
        let failed = failed(url);
        let want = OriginGet { range, ..OriginGet::whole(url.clone()) };
        let mut body = self.origin.get(&want).await.map_err(&failed)?;
        let (mut len, mut hasher) = (0, blake3::Hasher::new());
        while let Some(chunk) = body.bytes.next().await {
            let chunk = chunk.map_err(&failed)?;
            len += chunk.len() as u64;
            hasher.update(&chunk);
        }
        Ok((len, Digest(*hasher.finalize().as_bytes())))
    }
}

pub(super) fn failed(url: &Url) -> impl Fn(OriginError) -> PublishError {
    let url = Box::new(url.clone());
    move |source| PublishError::Origin { url: url.clone(), source }
}

/// Files of this machine at the URLs that a document names.
#[derive(Debug)]
struct Files(Document);

impl Files {
    async fn open(&self, url: &Url) -> Result<(tokio::fs::File, u64), OriginError> {
        let missing = || OriginError::Status { status: 404, retry_after: None };
        let path = self.0.path_of(url).ok_or_else(missing)?;
        let file = tokio::fs::File::open(path).await.map_err(|_| missing())?;
        let len = file.metadata().await.map_err(|_| missing())?.len();
        Ok((file, len))
    }
}

#[async_trait]
impl Origin for Files {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        let (_, len) = self.open(url).await?;
        Ok(ResourceHead { len: Some(len), ranges: true, ..ResourceHead::default() })
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        let head = self.head(url).await?;
        match known.differs_from(&head) {
            Some(what) => Err(OriginError::Changed { what }),
            None => Ok(head),
        }
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let (mut file, len) = self.open(&want.url).await?;
        let broken = |error: std::io::Error| OriginError::Malformed { what: error.to_string() };
        let (start, end) = want.range.map_or((0, len), |range| (range.start(), range.end().min(len)));
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(broken)?;
        let bytes = ReaderStream::new(file.take(end.saturating_sub(start)));
        let bytes = bytes.map(move |chunk| chunk.map_err(broken));
        let head = ResourceHead { len: Some(len), ranges: true, ..ResourceHead::default() };
        Ok(OriginBody { head, bytes: Box::pin(bytes) })
    }
}
