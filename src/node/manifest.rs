//! Where the publisher's manifest is, and fetching it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pcdn_core::id::PeerId;
use pcdn_core::origin::{OriginError, OriginGet};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::verify::Manifest;
use pcdn_core::verify::manifest::MANIFEST_BYTES_MAX;

use super::{ManifestFrom, Settings, Shared};

/// Longest fetch of a manifest.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A mapping node that is still reading the content (202) is asked again for so long: 10 min of a content at 100 Mbit/s are 7 GB.
const HASHING_PATIENCE: Duration = Duration::from_secs(600);
/// Between two such questions, whatever the node proposes.
const HASHING_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where a manifest is to be had.
#[derive(Clone, Debug)]
pub(super) struct ManifestPlace {
    at: At,
    /// Elsewhere than on the content's own origin it counts only under a pinned key, or the signer's that the mapper named.
    needs_key: bool,
    /// The mapper named it, and it is elsewhere: the content's credentials are not sent there.
    mapped: bool,
    signer: Option<PeerId>,
}

#[derive(Clone, Debug)]
enum At {
    Url(Url),
    File(PathBuf),
}

impl ManifestPlace {
    /// Where the manifest of `url` is, by the settings or as the mapper said; `None` if there is to be none.
    pub(super) fn of(settings: &Settings, url: &Url, mapping: &Mapping) -> Option<Self> {
        let own = |at, needs_key| Some(Self { at, needs_key, mapped: false, signer: None });
        match (&settings.manifest, &mapping.manifest) {
            (ManifestFrom::Sidecar, _) => own(At::Url(sidecar(url)), false),
            (ManifestFrom::Url(place), _) => own(At::Url(place.clone()), true),
            (ManifestFrom::File(path), _) => own(At::File(path.clone()), false),
            (ManifestFrom::Off, Some(place)) => {
                let elsewhere = place.origin() != url.origin();
                let at = At::Url(place.clone());
                Some(Self { at, needs_key: elsewhere, mapped: elsewhere, signer: mapping.signer })
            }
            (ManifestFrom::Off, None) => None,
        }
    }
}

/// Fetches a manifest and checks it as far as that is possible without the content; `None`, with a warning if there is
/// something to be warned of, if it is of no use.
pub(super) async fn fetch_checked(shared: &Shared, place: &ManifestPlace) -> Option<(Arc<Manifest>, Bytes)> {
    let raw = fetch(shared, place).await?;
    let parsed = tokio::task::spawn_blocking(move || (Manifest::parse(&raw), raw)).await.ok()?;
    let (Ok(manifest), raw) = parsed else {
        tracing::warn!("the manifest is not usable: {:?}", parsed.0.err());
        return None;
    };
    match shared.settings.trust.or(place.signer) {
        Some(key) if key != manifest.signer => {
            tracing::warn!(signer = %manifest.signer, "the manifest is not signed by the trusted key");
            None
        }
        None if place.needs_key => {
            tracing::warn!("a manifest from elsewhere than the origin needs --trust KEY");
            None
        }
        _ => Some((Arc::new(manifest), raw)),
    }
}

/// `URL.pcdn`: the suffix goes to the path, the query stays (it may hold the token).
fn sidecar(url: &Url) -> Url {
    let mut beside = url.clone();
    beside.set_path(&format!("{}.pcdn", url.path()));
    beside
}

/// Fetches it, and waits for a mapping node that is still making it.
async fn fetch(shared: &Shared, place: &ManifestPlace) -> Option<Bytes> {
    let until = tokio::time::Instant::now() + HASHING_PATIENCE;
    loop {
        let again = match tokio::time::timeout(MANIFEST_TIMEOUT, fetch_once(shared, place)).await.ok()? {
            Err(OriginError::Status { status: 202, retry_after }) if place.signer.is_some() => retry_after,
            fetched => return fetched.ok(),
        };
        let wait = again.unwrap_or_default().clamp(HASHING_WAIT.0, HASHING_WAIT.1);
        if tokio::time::Instant::now() + wait > until {
            return None;
        }
        shared.stop.run_until_cancelled(tokio::time::sleep(wait)).await?;
    }
}

async fn fetch_once(shared: &Shared, place: &ManifestPlace) -> Result<Bytes, OriginError> {
    let failed = |what: String| OriginError::Malformed { what };
    match &place.at {
        At::File(path) => {
            let length = tokio::fs::metadata(path).await.map_err(|e| failed(e.to_string()))?.len();
            if length > MANIFEST_BYTES_MAX as u64 {
                return Err(failed("longer than a manifest may be".into()));
            }
            tokio::fs::read(path).await.map(Bytes::from).map_err(|e| failed(e.to_string()))
        }
        At::Url(url) => {
            let origin = if place.mapped { &shared.elsewhere } else { &shared.origin };
            let mut body = origin.get(&OriginGet::whole(url.clone())).await?;
            let mut raw = BytesMut::new();
            while let Some(bytes) = body.bytes.next().await {
                raw.extend_from_slice(&bytes?);
                if raw.len() > MANIFEST_BYTES_MAX {
                    return Err(failed("longer than a manifest may be".into()));
                }
            }
            Ok(raw.freeze())
        }
    }
}
