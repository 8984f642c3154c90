//! The JSON API, as a client: one connection a call. For networks that let no UDP pass.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::machine::Failure;
use super::{Proofs, Reply};
use crate::tracker::http::json::{AnnounceBody, Answered, FindBody, MAC_HEADER, Problem};
use crate::tracker::reach::believable;
use crate::tracker::wire::{PEERS_MAX, Request};

/// Longest answer read: 50 peers are about 10 KiB.
const ANSWER_MAX: usize = 64 * 1024;

/// Asks and reads the answer. Unbounded in time: the caller's time-out cancels it.
pub(super) async fn ask(host: &str, proofs: &Proofs, request: &Request) -> Result<Reply, Failure> {
    let time = proofs.secret.as_ref().map(|_| unix_now());
    let (path, body) = match request {
        Request::Announce(announce) => {
            ("/v1/announce", serde_json::to_vec(&AnnounceBody::of(announce, time)))
        }
        Request::Find(find) => ("/v1/find", serde_json::to_vec(&FindBody::of(find, time))),
        Request::Report(_) => return Err(Failure::Refused("reports go over UDP".to_owned())),
    };
    let body = body.map_err(|error| Failure::Refused(error.to_string()))?;
    let (tracker, status, answer) = exchange(host, proofs, path, body).await.map_err(|error| {
        tracing::debug!(%host, %error, "tracker does not answer over HTTP");
        Failure::Silent
    })?;
    if !status.is_success() {
        let words = serde_json::from_slice(&answer).map(|problem: Problem| problem.error);
        return Err(Failure::Refused(words.unwrap_or_else(|_| status.to_string())));
    }
    let mut answered: Answered = serde_json::from_slice(&answer)
        .map_err(|error| Failure::Refused(format!("unreadable answer: {error}")))?;
    answered.peers.truncate(PEERS_MAX);
    let interval = answered.interval_s.map(|seconds| Duration::from_secs(seconds.into()));
    Ok(Reply { interval, peers: believable(answered.peers, tracker), reported: None })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    host: &str,
    proofs: &Proofs,
    path: &str,
    body: Vec<u8>,
) -> Result<(IpAddr, hyper::StatusCode, Bytes), BoxError> {
    let stream = TcpStream::connect(host).await?;
    let tracker = stream.peer_addr()?.ip();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = hyper::Request::post(path).header(HOST, host).header(CONTENT_TYPE, "application/json");
    if let Some(secret) = &proofs.secret {
        request = request.header(MAC_HEADER, secret.tag_body(&body));
    }
    if let Some(token) = &proofs.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let talk = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await?;
        Ok((tracker, status, body.to_bytes()))
    };
    // The connection does its work only while it is polled; it must not end the talk when it closes after the answer.
    let work = async {
        // What went wrong shows in the talk.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = talk => result,
        () = work => Err("unreachable: the work never ends".into()),
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
