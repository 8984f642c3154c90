//! The push node's HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use pcdn_core::id::PeerId;
use pcdn_core::receipt::{NetworkId, Subnet};
use pcdn_core::unit::Rate;
use pcdn_core::warmup::{JobId, LeaseId, Offer, RefusedOrder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::{
    CLOCK_TOLERANCE_S, HolderBody, LeasesBody, NextBody, OfferBody, ProblemBody, ProgressBody, PushBody,
    PushedBody, RegionBody, SIGNATURE_HEADER, StatusBody, TaskBody, millis, signed_bytes, unix_now,
};
use super::node::{Desk, PushNodeError};
use super::openapi;
use crate::http::{Body, Remote, full};

/// Longest body: an order of 1,024 URLs of 1 KiB.
const BODY_BYTES_MAX: usize = 2 << 20;

/// Answers requests.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) desk: Arc<Desk>,
}

/// A request that was let in, with its body read.
struct Call {
    head: Parts,
    body: Bytes,
    local: SocketAddr,
}

type Answer = Result<Response<Body>, Refusal>;

/// An answer that is no success.
struct Refusal(StatusCode, String);

fn refuse(status: StatusCode, why: impl Into<String>) -> Refusal {
    Refusal(status, why.into())
}

impl Routes {
    pub(super) async fn answer(&self, request: Request<Incoming>, local: SocketAddr) -> Response<Body> {
        let mut response = match self.take(request, local).await {
            Ok(response) => response,
            Err(Refusal(status, error)) => {
                let mut response = json(&ProblemBody { error });
                *response.status_mut() = status;
                if status == StatusCode::UNAUTHORIZED {
                    let scheme = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
                }
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn take(&self, request: Request<Incoming>, local: SocketAddr) -> Answer {
        let (head, body) = request.into_parts();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // A page whose name was rebound to this address still sends its own name.
        if !self.desk.names.own(host, local) {
            let why = "this Host is not ours: call it by its address, or allow the name with --push-host";
            return Err(refuse(StatusCode::MISDIRECTED_REQUEST, why));
        }
        if head.headers.contains_key(header::ORIGIN) {
            return Err(refuse(StatusCode::FORBIDDEN, "this API is not for web pages"));
        }
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body =
            body.map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "a body here has 2 MiB at most"))?;
        self.route(&Call { head, body: body.to_bytes(), local }).await
    }

    async fn route(&self, call: &Call) -> Answer {
        let path = call.head.uri.path();
        let number = |prefix: &str| path.strip_prefix(prefix).and_then(|id| id.parse::<u64>().ok());
        let (push, lease) = (number("/v1/pushes/"), number("/v1/leases/"));
        match (&call.head.method, path) {
            (&Method::GET, "/healthz" | "/readyz") => Ok(json(&"ok")),
            (&Method::GET, "/" | "/v1/openapi.json") => Ok(json(&openapi::document())),
            (&Method::POST, "/v1/leases") => self.lease(call),
            (&Method::POST, _) if lease.is_some() => self.report(call, LeaseId(lease.unwrap_or_default())),
            (&Method::GET, "/v1/pushes") => {
                self.may_order(call)?;
                Ok(json(&self.all()))
            }
            (&Method::POST, "/v1/pushes") => {
                self.may_order(call)?;
                self.push(call).await
            }
            (&Method::GET, _) if push.is_some() => {
                self.may_order(call)?;
                self.status(JobId(push.unwrap_or_default()))
            }
            (&Method::DELETE, _) if push.is_some() => {
                self.may_order(call)?;
                let (now, id) = (self.desk.now(), JobId(push.unwrap_or_default()));
                self.desk.planner().cancel(now, id);
                self.desk.moved();
                self.status(id)
            }
            _ => Err(refuse(StatusCode::NOT_FOUND, "no such call; /v1/openapi.json lists the calls")),
        }
    }

    /// Whether the caller is the operator: it shows the token, or there is none and it calls from this machine.
    fn may_order(&self, call: &Call) -> Result<(), Refusal> {
        let given = call.head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        match (&self.desk.token, given) {
            (Some(token), Some(given)) if same(token, given) => Ok(()),
            (None, _) if call.local.ip().to_canonical().is_loopback() => Ok(()),
            (None, _) => Err(refuse(
                StatusCode::FORBIDDEN,
                "orders from other machines need a token: start with --push-token FILE",
            )),
            (Some(_), _) => Err(refuse(StatusCode::UNAUTHORIZED, "orders need Authorization: Bearer TOKEN")),
        }
    }

    async fn push(&self, call: &Call) -> Answer {
        let body: PushBody = call.json()?;
        let id = self.desk.push(&body).await.map_err(|error| {
            let status = match &error {
                PushNodeError::Order(RefusedOrder::TooManyJobs) => StatusCode::TOO_MANY_REQUESTS,
                PushNodeError::Content { .. } => StatusCode::BAD_GATEWAY,
                _ => StatusCode::BAD_REQUEST,
            };
            refuse(status, error.to_string())
        })?;
        let mut response = json(&PushedBody { id: id.0 });
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    fn status(&self, id: JobId) -> Answer {
        let status = self.desk.status(id);
        status.map(|status| json(&status)).ok_or_else(|| refuse(StatusCode::NOT_FOUND, "no such job"))
    }

    fn all(&self) -> Vec<StatusBody> {
        let jobs: Vec<JobId> = self.desk.planner().jobs().collect();
        jobs.into_iter().filter_map(|id| self.desk.status(id)).collect()
    }

    fn lease(&self, call: &Call) -> Answer {
        let body: OfferBody = call.json()?;
        call.signed_by(&body.node, body.time)?;
        let from = call.remote()?;
        let offer = Offer {
            peer: body.node,
            free: body.free,
            spare: Rate(body.spare),
            idle: body.idle,
            busy: body.busy,
            subnet: Subnet::of(from.ip()),
            network: NetworkId::default(),
            region: self.desk.regions.of(from.ip()),
            superpeer: self.desk.superpeers.share(&body.node),
            availability: UNKNOWN_AVAILABILITY,
        };
        let now = self.desk.now();
        let tasks = self.desk.planner().offer(now, offer);
        self.desk.moved();
        Ok(json(&LeasesBody {
            ask_ms: millis(self.desk.pace.ask),
            report_ms: millis(self.desk.pace.report),
            tasks: tasks.into_iter().map(TaskBody::of).collect(),
        }))
    }

    fn report(&self, call: &Call, lease: LeaseId) -> Answer {
        let body: ProgressBody = call.json()?;
        call.signed_by(&body.node, body.time)?;
        let now = self.desk.now();
        let next = self.desk.planner().progress(now, &body.node, lease, &body.progress());
        self.desk.moved();
        Ok(json(&NextBody::of(next)))
    }
}

/// Nothing is known of how often a peer is there: as likely as not.
const UNKNOWN_AVAILABILITY: f64 = 0.5;

impl Desk {
    pub(super) fn status(&self, id: JobId) -> Option<StatusBody> {
        let now = self.now();
        let status = self.planner().status(now, id)?;
        let region = |status: pcdn_core::warmup::RegionStatus| RegionBody {
            region: status.region.and_then(|region| self.regions.name(region)).map(str::to_owned),
            planned: status.planned,
            placed: status.placed,
            proven: status.proven,
        };
        Some(StatusBody {
            id: id.0,
            urls: self.ordered().get(&id).map_or(status.urls, |ordered| ordered.urls.clone()),
            wave: status.wave,
            regions: status.regions.into_iter().map(region).collect(),
            holders: status.holders.into_iter().map(HolderBody::of).collect(),
            from_cdn: status.from_cdn,
            from_peers: status.from_peers,
            cancelled: status.cancelled,
            over: status.over,
            eta_s: status.eta.map(|eta| eta.as_secs()),
        })
    }
}

impl Call {
    fn json<B: DeserializeOwned>(&self) -> Result<B, Refusal> {
        let kind = self.head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // A page in a browser can send this type only after asking, and is never answered.
        if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "say Content-Type: application/json"));
        }
        serde_json::from_slice(&self.body).map_err(|error| refuse(StatusCode::BAD_REQUEST, error.to_string()))
    }

    /// Whether the body is `node`'s own and of now.
    fn signed_by(&self, node: &PeerId, time: u64) -> Result<(), Refusal> {
        let unauthorized = |why: &str| refuse(StatusCode::UNAUTHORIZED, why);
        if time.abs_diff(unix_now()) > CLOCK_TOLERANCE_S {
            return Err(unauthorized("the body's time is more than two minutes off: check the clock"));
        }
        let shown = self.head.headers.get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        let signature =
            shown.and_then(from_hex).ok_or_else(|| unauthorized("sign the body in X-Pcdn-Signature"))?;
        let signed = node.verify(&signed_bytes(self.head.uri.path(), &self.body), &signature);
        signed.then_some(()).ok_or_else(|| unauthorized("the signature is not the node's"))
    }

    fn remote(&self) -> Result<SocketAddr, Refusal> {
        let remote = self.head.extensions.get::<Remote>().map(|remote| remote.0);
        remote.ok_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR, "the connection has no address"))
    }
}

fn from_hex(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| Some((pair[at] as char).to_digit(16)? as u8);
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

/// Compares without telling by its time how much was right.
fn same(token: &str, given: &str) -> bool {
    let differs = token.bytes().zip(given.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    token.len() == given.len() && differs == 0
}

fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(full(serde_json::to_vec(value).expect("answers are plain values")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
