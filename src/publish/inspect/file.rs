//! Kinds that follow from the head alone, as plain files do.

use std::path::Path;

use pcdn_core::fragment::{Fragmenter, Segment};
use pcdn_core::id::{Digest, Rid, SwarmKey};
use pcdn_core::resource::{Resource, ResourceHead, Url};
use pcdn_core::verify::{PieceList, list};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Inspection, report};
use crate::publish::PublishError;
use crate::publish::outline::cut_all;

/// Inspects a resource whose head is known. With a `body`, the resource's bytes from its first one, every segment is hashed;
/// without, nothing is read. `named` says whether `resource.rid` is its name or a stand-in.
///
/// Only for kinds that follow from the head alone, as plain files do.
///
/// # Errors
/// If it cannot be cut, or the body is not as long as the head says.
pub async fn inspect<F, R>(
    fragmenter: &F,
    resource: &Resource,
    named: bool,
    body: Option<&mut R>,
) -> Result<Inspection, PublishError>
where
    F: Fragmenter + ?Sized,
    R: AsyncRead + Unpin + ?Sized,
{
    let segments = cut_all(fragmenter, resource)?;
    let bytes = segments.iter().map(|segment| segment.layout.len()).sum();
    let mut hashes = match body {
        Some(body) => hash_all(&segments, bytes, body).await?,
        None => Vec::new(),
    }
    .into_iter();
    let rule = fragmenter.rule();
    let rid = named.then_some(resource.rid);
    Ok(Inspection {
        url: resource.url.to_string(),
        kind: fragmenter.name().to_owned(),
        live: false,
        rid,
        rule,
        swarm: rid.map(|rid| SwarmKey::of(&rid, &rule)),
        bytes,
        renditions: Vec::new(),
        segments: segments.iter().map(|segment| report(segment, hashes.next())).collect(),
    })
}

/// Inspects a file on this machine, as if it lay at `url`. Without a name the report has neither RID nor swarm.
///
/// # Errors
/// As [`inspect`], and if the file cannot be read.
pub async fn inspect_file(
    path: &Path,
    fragmenter: &(impl Fragmenter + ?Sized),
    url: Url,
    rid: Option<Rid>,
    hash: bool,
) -> Result<Inspection, PublishError> {
    let failed = |source| PublishError::Io { doing: "reading", path: path.to_owned(), source };
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    let len = file.metadata().await.map_err(failed)?.len();
    let head = ResourceHead { len: Some(len), ranges: true, ..Default::default() };
    let resource = Resource { url, rid: rid.unwrap_or(Rid([0; 32])), head: Some(head) };
    inspect(fragmenter, &resource, rid.is_some(), hash.then_some(&mut file)).await
}

/// Hashes segments that follow one another, a piece in memory at a time.
async fn hash_all<R: AsyncRead + Unpin + ?Sized>(
    segments: &[Segment],
    said: u64,
    body: &mut R,
) -> Result<Vec<Digest>, PublishError> {
    let changed_or = |at: u64| {
        move |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => PublishError::Changed { said, at },
            _ => PublishError::Body { at, source },
        }
    };
    let mut buffer = Vec::new();
    let mut hashes = Vec::with_capacity(segments.len());
    for segment in segments {
        let layout = segment.layout;
        let mut values = Vec::with_capacity(layout.pieces() as usize);
        for piece in layout.iter() {
            buffer.resize(layout.piece_len(piece) as usize, 0);
            let at = segment.offset + layout.bytes_of(piece).start;
            body.read_exact(&mut buffer).await.map_err(changed_or(at))?;
            values.push(list::digest(&layout, piece, &buffer));
        }
        hashes.push(PieceList::of_digests(layout, values).expect("one value for each piece").root());
    }
    match body.read(&mut [0]).await.map_err(changed_or(said))? {
        0 => Ok(hashes),
        _ => Err(PublishError::Changed { said, at: said }),
    }
}
