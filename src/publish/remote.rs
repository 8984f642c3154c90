//! The manifest of a file at an origin: for publishers whose files lie with a CDN only.
//!
//! What is signed is what the origin gave to this machine. Whoever signs vouches for that: over plain HTTP, or behind a cache that is not
//! the publisher's, it may be anything.

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use pcdn_core::fragment::FragmentError;
use pcdn_core::id::{Identity, Rid};
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::resource::{Resource, ResourceHint, Url};
use pcdn_core::verify::{PieceList, list};
use pcdn_media::probe::{self, Kind};

use super::disk::write_manifest;
use super::outline::{cut_all, surest};
use super::sign::{Signed, draft_of, room_for};
use super::{PublishError, is_document};

/// Signs the file at `url`, read once and a piece in memory at a time, and writes its manifest to `manifest`. It holds for whatever
/// content it lies beside, and never expires.
///
/// # Errors
/// If the origin does not give it whole or does not tell its length first, if it changes meanwhile, if it is a playlist or a live
/// stream, or if the manifest cannot be written.
pub async fn sign_url(
    origin: &dyn Origin,
    url: &Url,
    manifest: &Path,
    key: &Identity,
) -> Result<Signed, PublishError> {
    let failed = |source| PublishError::Origin { url: Box::new(url.clone()), source };
    let head = origin.head(url).await.map_err(failed)?;
    let hint =
        ResourceHint { url: url.clone(), content_type: head.content_type.clone(), first_bytes: Vec::new() };
    if matches!(probe::kind(&hint), Kind::Hls | Kind::Dash) {
        return Err(FragmentError::Playlist.into());
    }
    let len = head.len.ok_or(FragmentError::LengthUnknown)?;
    let rule = surest(&pcdn_media::standard(), &hint);
    let resource = Resource { url: url.clone(), rid: Rid([0; 32]), head: Some(head.clone()) };
    let segments = cut_all(rule.as_ref(), &resource)?;
    room_for(&segments)?;
    let want = OriginGet { len: Some(len), validator: head.validator, ..OriginGet::whole(url.clone()) };
    let mut body = origin.get(&want).await.map_err(failed)?.bytes;
    let (mut read, mut lists) = (BytesMut::new(), Vec::with_capacity(segments.len()));
    for segment in &segments {
        let mut values = Vec::with_capacity(segment.layout.pieces() as usize);
        for piece in segment.layout.iter() {
            let wanted = segment.layout.piece_len(piece) as usize;
            while read.len() < wanted {
                let ended = || OriginError::Malformed { what: "it ended early".to_owned() };
                read.extend_from_slice(&body.next().await.unwrap_or_else(|| Err(ended())).map_err(failed)?);
            }
            let bytes = read.split_to(wanted);
            if values.is_empty() && lists.is_empty() && is_document(url, &bytes) {
                return Err(FragmentError::Playlist.into());
            }
            values.push(list::digest(&segment.layout, piece, &bytes));
        }
        lists.push(PieceList::of_digests(segment.layout, values).expect("one value for each piece"));
    }
    let segments = lists.len();
    write_manifest(manifest, &draft_of(rule.rule(), None, lists).sign(key))?;
    let (file, manifest) = (PathBuf::from(url.path()), manifest.to_owned());
    Ok(Signed { file, manifest, bytes: len, segments, missing: 0 })
}
