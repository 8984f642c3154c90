//! Where the publisher's manifest is, and fetching it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pcdn_core::origin::{Origin, OriginGet};
use pcdn_core::resource::Url;
use pcdn_core::verify::Manifest;
use pcdn_core::verify::manifest::MANIFEST_BYTES_MAX;

use super::{ManifestFrom, Settings, Shared};

/// Longest fetch of a manifest.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a manifest is to be had.
#[derive(Clone, Debug)]
pub(super) struct ManifestPlace {
    at: At,
    /// Elsewhere than on the content's own origin it counts only under a pinned key.
    needs_key: bool,
}

#[derive(Clone, Debug)]
enum At {
    Url(Url),
    File(PathBuf),
}

impl ManifestPlace {
    /// Where the manifest of `url` is, by the settings or as the mapper said; `None` if there is to be none.
    pub(super) fn of(settings: &Settings, url: &Url, mapped: Option<&Url>) -> Option<Self> {
        let (at, needs_key) = match (&settings.manifest, mapped) {
            (ManifestFrom::Sidecar, _) => (At::Url(sidecar(url)), false),
            (ManifestFrom::Url(place), _) => (At::Url(place.clone()), true),
            (ManifestFrom::File(path), _) => (At::File(path.clone()), false),
            (ManifestFrom::Off, Some(place)) => (At::Url(place.clone()), place.origin() != url.origin()),
            (ManifestFrom::Off, None) => return None,
        };
        Some(Self { at, needs_key })
    }
}

/// Fetches a manifest and checks it as far as that is possible without the content; `None`, with a warning if there is
/// something to be warned of, if it is of no use.
pub(super) async fn fetch_checked(shared: &Shared, place: &ManifestPlace) -> Option<(Arc<Manifest>, Bytes)> {
    let fetched = tokio::time::timeout(MANIFEST_TIMEOUT, fetch(shared.origin.as_ref(), &place.at)).await;
    let raw = fetched.ok().flatten()?;
    let parsed = tokio::task::spawn_blocking(move || (Manifest::parse(&raw), raw)).await.ok()?;
    let (Ok(manifest), raw) = parsed else {
        tracing::warn!("the manifest is not usable: {:?}", parsed.0.err());
        return None;
    };
    match shared.settings.trust {
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

async fn fetch(origin: &dyn Origin, place: &At) -> Option<Bytes> {
    match place {
        At::File(path) => {
            let length = tokio::fs::metadata(path).await.ok()?.len();
            if length > MANIFEST_BYTES_MAX as u64 {
                return None;
            }
            tokio::fs::read(path).await.ok().map(Bytes::from)
        }
        At::Url(url) => {
            let mut body = origin.get(&OriginGet::whole(url.clone())).await.ok()?;
            let mut raw = BytesMut::new();
            while let Some(bytes) = body.bytes.next().await {
                raw.extend_from_slice(&bytes.ok()?);
                if raw.len() > MANIFEST_BYTES_MAX {
                    return None;
                }
            }
            Some(raw.freeze())
        }
    }
}
