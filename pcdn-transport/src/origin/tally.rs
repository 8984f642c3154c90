//! How much each version of HTTP carried.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Version;
use serde::Serialize;

/// What one version of HTTP carried since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Requests that were answered with it.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// What came from origins, by the version of HTTP that carried it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OriginTraffic {
    /// HTTP/1.1, and 1.0 where a server speaks nothing newer.
    pub http1: Carried,
    /// HTTP/2.
    pub http2: Carried,
    /// HTTP/3.
    pub http3: Carried,
    /// Requests that HTTP/3 should have carried and TCP did.
    pub fallbacks: u64,
}

/// The running count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
    fallbacks: AtomicU64,
}

impl Tally {
    pub(super) fn request(&self, version: Version) {
        self.requests[row(version)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self, version: Version, bytes: usize) {
        self.bytes[row(version)].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn fallback(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn traffic(&self) -> OriginTraffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let row = |n: usize| Carried { requests: read(&self.requests[n]), bytes: read(&self.bytes[n]) };
        OriginTraffic { http1: row(0), http2: row(1), http3: row(2), fallbacks: read(&self.fallbacks) }
    }
}

fn row(version: Version) -> usize {
    match version {
        Version::HTTP_2 => 1,
        Version::HTTP_3 => 2,
        _ => 0,
    }
}
