//! Calling a JSON API: of a push node, of a tracker, of a ledger.

use std::time::Duration;

use pcdn_core::resource::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A call takes no longer: the longest is an order to a push node, which asks the origin for the length of each content.
const WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest answer read: the status of a push with 10,000 holders is about 2 MiB.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Calls one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Call {
    base: Url,
    token: Option<String>,
    client: reqwest::Client,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody answers there.
    #[error("nobody answers at {at}: {why}")]
    Silent {
        /// Where.
        at: Url,
        /// What happened.
        why: String,
    },
    /// It says no, with its words.
    #[error("{at} refuses ({status}): {why}")]
    Refused {
        /// Where.
        at: Url,
        /// The HTTP status.
        status: u16,
        /// Its words, cut to 200 characters.
        why: String,
    },
    /// The answer makes no sense.
    #[error("the answer of {at} makes no sense: {why}")]
    Unreadable {
        /// Where.
        at: Url,
        /// What is wrong.
        why: String,
    },
}

impl Call {
    /// Calls the server at `base`, such as `http://127.0.0.1:7500`, with a bearer token if there is one.
    ///
    /// # Errors
    /// If the system gives no TLS roots.
    pub fn new(base: Url, token: Option<String>) -> Result<Self, CallError> {
        // Process-wide and only once; a program that installed its own before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("pcdn/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(WITHIN)
            .build();
        let client = client.map_err(|error| CallError::Silent { at: base.clone(), why: last(&error) })?;
        Ok(Self { base, token, client })
    }

    /// Where it calls.
    pub fn at(&self) -> &Url {
        &self.base
    }

    /// Reads what is at `path`.
    ///
    /// # Errors
    /// Why nothing is.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, CallError> {
        self.send(self.client.get(self.url(path))).await
    }

    /// Deletes what is at `path`.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn delete<A: DeserializeOwned>(&self, path: &str) -> Result<A, CallError> {
        self.send(self.client.delete(self.url(path))).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, CallError> {
        self.send(self.with_body(path, to_json(body))).await
    }

    /// Posts `body` as it is to `path`, with one more header.
    pub(crate) async fn post_with<A: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        header: (&'static str, String),
    ) -> Result<A, CallError> {
        self.send(self.with_body(path, body).header(header.0, header.1)).await
    }

    fn url(&self, path: &str) -> Url {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    fn with_body(&self, path: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).header(http::header::CONTENT_TYPE, "application/json").body(body)
    }

    async fn send<A: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<A, CallError> {
        let silent = |error: reqwest::Error| CallError::Silent { at: self.base.clone(), why: last(&error) };
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.unreadable(&"it is longer than 8 MiB"));
            }
        }
        if !status.is_success() {
            let words = serde_json::from_slice(&body).map(|problem: Problem| problem.error);
            let why = words.unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned());
            let why = why.trim().chars().take(200).collect();
            return Err(CallError::Refused { at: self.base.clone(), status: status.as_u16(), why });
        }
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, why: &dyn std::fmt::Display) -> CallError {
        CallError::Unreadable { at: self.base.clone(), why: why.to_string() }
    }
}

/// What an answer that is no success says, by the house's habit.
#[derive(Deserialize)]
struct Problem {
    error: String,
}

/// The JSON form of a body.
pub(crate) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies are plain values")
}

/// The cause behind a client's own words, which only say that something failed.
fn last(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
