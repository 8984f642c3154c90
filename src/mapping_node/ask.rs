//! Questions to a mapping node, over the fetcher of origins.

use futures_util::StreamExt as _;
use pcdn_core::async_trait;
use pcdn_core::error::BoxError;
use pcdn_core::resource::Url;
use pcdn_mapping::remote::{Ask, Reply};
use pcdn_transport::origin::Http;

/// Asks with an [`Http`] that may reach the node.
#[derive(Clone, Debug)]
pub struct Asking(Http);

impl Asking {
    /// Asks with `http`, and never with its configured headers.
    pub fn new(http: Http) -> Self {
        Self(http.bare())
    }
}

#[async_trait]
impl Ask for Asking {
    async fn ask(&self, url: &Url, etag: Option<&str>, limit: usize) -> Result<Reply, BoxError> {
        let asked: Vec<_> =
            etag.map(|etag| ("if-none-match".to_owned(), etag.to_owned())).into_iter().collect();
        let mut passed = self.0.pass(false, url, &asked).await?;
        let mut body = Vec::new();
        while let Some(bytes) = passed.bytes.next().await {
            body.extend_from_slice(&bytes?);
            if body.len() > limit {
                return Err(format!("{url} answers with more than {limit} bytes").into());
            }
        }
        Ok(Reply { status: passed.status, headers: passed.headers, body })
    }
}
