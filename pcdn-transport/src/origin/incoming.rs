//! An answer whose head is here and whose body is on its way, whichever version of HTTP carries it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use reqwest::Response;

use super::http3::Transfer;
use super::send::blame;
use super::tally::Tally;

/// A response. Dropping it cancels what is left: a stream is reset, a connection of HTTP/1.1 closed.
#[derive(Debug)]
pub(super) struct Incoming {
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    version: Version,
    carrier: Carrier,
    tally: Arc<Tally>,
}

#[derive(Debug)]
enum Carrier {
    Tcp(Response),
    Quic(Box<Transfer>),
}

impl Incoming {
    /// An answer over HTTP/1.1 or HTTP/2.
    pub(super) fn over_tcp(mut response: Response, tally: Arc<Tally>) -> Self {
        let (url, status, version) = (response.url().clone(), response.status(), response.version());
        let headers = std::mem::take(response.headers_mut());
        tally.request(version);
        Self { url, status, headers, version, carrier: Carrier::Tcp(response), tally }
    }

    /// An answer over HTTP/3.
    pub(super) fn over_quic(
        url: Url,
        head: http::Response<()>,
        transfer: Transfer,
        tally: Arc<Tally>,
    ) -> Self {
        let (head, ()) = head.into_parts();
        tally.request(Version::HTTP_3);
        let carrier = Carrier::Quic(Box::new(transfer));
        Self { url, status: head.status, headers: head.headers, version: Version::HTTP_3, carrier, tally }
    }

    /// Where it was asked for.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next bytes of the body; `None` after the last.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        let chunk = match &mut self.carrier {
            Carrier::Tcp(response) => response.chunk().await.map_err(|error| blame(error, ""))?,
            Carrier::Quic(transfer) => transfer.chunk().await?,
        };
        self.tally.bytes(self.version, chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }
}
