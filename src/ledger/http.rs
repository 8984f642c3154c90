//! A ledger behind an HTTP API of the operator's own.
//!
//! | request | is |
//! |---|---|
//! | `POST {base}/entries` with `[{"peer","week","bytes","credit","superpeer"}]` | what peers have earned; any JSON answers |
//! | `GET {base}/stakes/{peer}` | `{"amount": n}`; 404 is none |

use pcdn_core::async_trait;
use pcdn_core::id::PeerId;
use pcdn_core::ledger::{Entry, Ledger, LedgerError};
use pcdn_core::resource::Url;
use serde::Deserialize;

use crate::http::call::{Call, CallError};

/// Entries in one call: about 200 KB.
const BATCH: usize = 1_000;

/// Calls a service.
#[derive(Clone, Debug)]
pub struct Http {
    call: Call,
}

#[derive(Deserialize)]
struct Stake {
    amount: u64,
}

impl Http {
    /// The ledger at `base`, with a bearer token if it wants one.
    ///
    /// # Errors
    /// If HTTPS cannot be spoken here.
    pub fn new(base: Url, token: Option<String>) -> Result<Self, LedgerError> {
        Ok(Self { call: Call::new(base, token).map_err(told)? })
    }
}

#[async_trait]
impl Ledger for Http {
    async fn record(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        for batch in entries.chunks(BATCH) {
            self.call.post::<serde_json::Value>("/entries", &batch).await.map_err(told)?;
        }
        Ok(())
    }

    async fn stake(&self, peer: &PeerId) -> Result<u64, LedgerError> {
        match self.call.get::<Stake>(&format!("/stakes/{peer}")).await {
            Ok(stake) => Ok(stake.amount),
            Err(CallError::Refused { status: 404, .. }) => Ok(0),
            Err(error) => Err(told(error)),
        }
    }
}

fn told(error: CallError) -> LedgerError {
    match error {
        CallError::Silent { at, why } => LedgerError::Silent { ledger: at.to_string(), why },
        CallError::Refused { at, why, .. } => LedgerError::Refused { ledger: at.to_string(), why },
        CallError::Unreadable { at, why } => LedgerError::Refused { ledger: at.to_string(), why },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn entries_are_posted_and_stakes_are_asked_for() {
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let to = heard.clone();
        let rich = PeerId([1; 32]);
        let stake = move |Path(peer): Path<String>| async move {
            let known = peer == rich.to_string();
            if known { Ok(Json(json!({ "amount": 100 }))) } else { Err(StatusCode::NOT_FOUND) }
        };
        let entries = move |Json(body): Json<Value>| async move {
            to.lock().unwrap().push(body);
            Json(json!({ "taken": true }))
        };
        let router =
            Router::new().route("/books/entries", post(entries)).route("/books/stakes/{peer}", get(stake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/books", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let ledger = Http::new(base, None).unwrap();
        let entry = Entry { peer: rich, week: 1, bytes: 2, credit: 3, superpeer: true };
        ledger.record(&vec![entry; 1_500]).await.unwrap();
        let sizes: Vec<usize> =
            heard.lock().unwrap().iter().map(|body| body.as_array().unwrap().len()).collect();
        assert_eq!(sizes, [1_000, 500]);
        assert_eq!(ledger.stake(&rich).await.unwrap(), 100);
        assert_eq!(ledger.stake(&PeerId([2; 32])).await.unwrap(), 0);
        server.abort();
        assert!(server.await.is_err());
        assert!(matches!(ledger.stake(&rich).await, Err(LedgerError::Silent { .. })));
    }
}
