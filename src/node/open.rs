//! Opening a resource: map, ask the origin, cut, join.

mod alternates;
mod early;
mod first;
mod join;
mod shelved;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use pcdn_core::fragment::{Cut, Fit, FragmentError, Fragmenter, Need, Part};
use pcdn_core::id::{Rid, SwarmKey};
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Generations, Mapping, Resource, ResourceHead, ResourceHint, Url};
use pcdn_media::probe;

use super::asset::Asset;
use super::live::Broadcast;
pub(super) use super::manifest::{ManifestPlace, fetch_checked};
use super::stream::{STREAMS_MAX, Stream};
use super::{OpenError, Shared};
pub(super) use alternates::Alternates;
pub(super) use early::ManifestTask;
pub(super) use first::{Begun, First};
pub(super) use join::{Joining, StreamSide, join};

/// Resources open at once; the oldest without readers is closed beyond.
const ASSETS_MAX: usize = 256;

/// What an opened resource is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A player that begins with the first byte, and shall have it at once, whatever that costs.
    Play,
    /// Anything else.
    Use,
}

pub(super) async fn open(shared: &Arc<Shared>, url: &Url, purpose: For) -> Result<Asset, OpenError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OpenError::Url(format!("{} is not an http or https URL", url.scheme())));
    }
    // A stream that is being read: its origin need not be asked what it is.
    if running(shared, url).await.is_some() {
        return Err(FragmentError::Stream.into());
    }
    let is_it = |asset: &Asset| asset.url() == url && is_whole(asset);
    let known = shared.assets.lock().await.iter().find(|asset| is_it(asset)).cloned();
    if let Some(asset) = known {
        asset.confirmed().settle(shared).await?;
    }
    // One opening of a URL at a time, and nobody waits for the origin of another.
    let _turn = shared.opening.take(url).await;
    let open = current(shared, &mut *shared.assets.lock().await, is_it).await;
    // What the origin refused once it may give again.
    let refused = match open {
        Some(asset) if !asset.is_refused() => return Ok(asset),
        refused => refused,
    };
    let Found { mapping, first } = find(shared, url, purpose).await;
    // Which generation of it the origin has is known with the head only.
    let early =
        (mapping.generations == Generations::One).then(|| early::peers(shared, url, &mapping)).flatten();
    let manifest = early::manifest(shared, url, &mapping);
    let urls = Arc::new(Alternates::over(shared.origin_of(url, &mapping), url.clone()));
    let Asked { head, origin, begun, here } = match asked(urls.clone(), url, purpose, first).await {
        Ok(asked) => asked,
        // What is here, and what peers have, can still be read.
        Err(error) => return refused.ok_or_else(|| error.into()),
    };
    let manifest = match manifest {
        Some(manifest) => Some(manifest.when_head_came(purpose).await),
        None => None,
    };
    // Where it is known what they must be, they are compared first.
    let here = here.filter(|_| !matches!(manifest, Some(ManifestTask::Done(Some(_)))));
    let rid = mapping.rid_of(&head);
    let (fragmenter, cuts) = cut(shared, url, rid, &head)?;
    let rule = fragmenter.rule();
    let key = SwarmKey::of(&rid, &rule);
    // Two players of one film share its swarm, whatever URL they came by. From here on no origin is waited for.
    let mut assets = shared.assets.lock().await;
    if shared.stop.is_cancelled() {
        return Err(OpenError::Closed);
    }
    for asset in assets.iter().filter(|asset| asset.swarm() == key) {
        asset.confirmed().heard(shared, url, &head);
        asset.admit(url, &head);
    }
    // The origin has just given it, but not by the URLs that the swarm knows: a new one begins where that ends.
    if let Some(at) = assets.iter().position(|asset| asset.swarm() == key && asset.is_refused()) {
        assets.remove(at).outlive(&shared.links).await;
    }
    if let Some(asset) = current(shared, &mut assets, |asset| asset.swarm() == key && is_whole(asset)).await {
        return Ok(asset);
    }
    let (signer, discoveries) = (mapping.signer, shared.discoveries_of(&mapping));
    let url = url.clone();
    let joining = Joining {
        url,
        origin,
        begun,
        urls: Some(urls),
        discoveries,
        rid,
        head,
        key,
        rule,
        cuts,
        manifest,
        signer,
        stream: None,
    };
    let asset = join(shared, joining).await;
    if let Some(early) = early.filter(|early| early.key == key) {
        early.hand_over(shared, &asset);
    }
    if assets.len() >= ASSETS_MAX {
        let oldest = assets.remove(0);
        oldest.close(&shared.links).await;
    }
    assets.push(asset.clone());
    Ok(asset.beginning_with(here))
}

/// Whether it is a content of known length. The swarms of streams are none: they have no byte of their own.
fn is_whole(asset: &Asset) -> bool {
    asset.head().len.is_some()
}

/// The asset that is open already; one whose content has changed at the origin is left to its readers.
async fn current(
    shared: &Arc<Shared>,
    assets: &mut Vec<Asset>,
    which: impl Fn(&Asset) -> bool,
) -> Option<Asset> {
    let at = assets.iter().position(which)?;
    if !assets[at].is_outdated() {
        return Some(assets[at].clone());
    }
    assets.remove(at).outlive(&shared.links).await;
    None
}

/// What the origin says of `url`. Servers of live streams mostly leave HEAD without an answer, so what is named like one is asked
/// for its first byte: a file gives that, a stream gives itself.
pub(crate) async fn head_of(origin: &dyn Origin, url: &Url) -> Result<ResourceHead, OriginError> {
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    if probe::kind(&hint) != probe::Kind::Flv {
        return origin.head(url).await;
    }
    let first = OriginGet { range: ByteRange::new(0, 1), ..OriginGet::whole(url.clone()) };
    match origin.get(&first).await {
        // An empty file has no first byte.
        Err(OriginError::Status { status: 416, .. }) => origin.head(url).await,
        answer => Ok(answer?.head),
    }
}

/// What is known of a URL once the mappers have answered.
struct Found {
    mapping: Mapping,
    /// The origin's answer to a player, if that came meanwhile.
    first: Option<(ResourceHead, Option<First>)>,
}

/// Asks the mappers. While they ask others, a player's first bytes are asked for: where those are the URL says.
async fn find(shared: &Shared, url: &Url, purpose: For) -> Found {
    let mut mapping = std::pin::pin!(map(shared, url));
    if let Some(mapping) = mapping.as_mut().now_or_never() {
        return Found { mapping, first: None };
    }
    if !begins(url, purpose) {
        return Found { mapping: mapping.await, first: None };
    }
    let mut first = std::pin::pin!(First::ask(shared.origin.as_ref(), url));
    tokio::select! {
        // Where the URL's own place fails, another that the mappers name may not.
        first = &mut first => Found { mapping: mapping.await, first: first.ok() },
        mapping = &mut mapping => {
            let first = if mapping.mirrors.is_empty() { first.await.ok() } else { None };
            Found { mapping, first }
        }
    }
}

/// Whether the resource is asked for by its first bytes.
fn begins(url: &Url, purpose: For) -> bool {
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    purpose == For::Play && probe::kind(&hint) == probe::Kind::File
}

/// What the origin said.
struct Asked {
    head: ResourceHead,
    /// From where the resource is fetched.
    origin: Arc<dyn Origin>,
    /// The same, if the first bytes are on their way.
    begun: Option<Arc<Begun>>,
    /// Those of them that are here.
    here: Option<Bytes>,
}

/// What the origin says of `url`, and the origin from which it is fetched: for a player its first bytes are on their way.
async fn asked(
    origin: Arc<dyn Origin>,
    url: &Url,
    purpose: For,
    first: Option<(ResourceHead, Option<First>)>,
) -> Result<Asked, OriginError> {
    let (head, first) = match first {
        Some(first) => first,
        None if begins(url, purpose) => First::ask(origin.as_ref(), url).await?,
        None => (head_of(origin.as_ref(), url).await?, None),
    };
    let Some(first) = first else { return Ok(Asked { head, origin, begun: None, here: None }) };
    let here = first.here();
    let begun = Arc::new(Begun::over(origin));
    begun.add(first);
    Ok(Asked { head, origin: begun.clone(), begun: Some(begun), here })
}

/// Opens the playlist at `url`, or gives the one that is open.
pub(super) async fn stream(
    shared: &Arc<Shared>,
    url: &Url,
    content_type: Option<&str>,
    first_bytes: &[u8],
) -> Result<Stream, OpenError> {
    // What is open is found whatever token it is asked with.
    let name = shared.stream_name(url);
    if let Some(open) = shared.streams.get(&name) {
        return Ok(open.value().clone());
    }
    let hint = ResourceHint {
        url: url.clone(),
        content_type: content_type.map(str::to_owned),
        first_bytes: first_bytes.to_vec(),
    };
    let fragmenter = surest(shared, &hint).filter(|fragmenter| fragmenter.fit(&hint) == Fit::Sure);
    let fragmenter = fragmenter.cloned().ok_or(FragmentError::LengthUnknown)?;
    let stream = Stream::open(shared, url, fragmenter.as_ref()).await?;
    while shared.streams.len() >= STREAMS_MAX {
        let oldest = shared.streams.iter().min_by_key(|entry| entry.value().used()).map(|e| e.key().clone());
        let Some(oldest) = oldest else { break };
        shared.streams.remove(&oldest);
    }
    Ok(shared.streams.entry(name).or_insert(stream).value().clone())
}

/// Live streams open at once; more are passed through.
const BROADCASTS_MAX: usize = 32;

/// Opens the live stream at `url`, or gives the one that is open.
pub(super) async fn broadcast(shared: &Arc<Shared>, url: &Url) -> Result<Broadcast, OpenError> {
    let _turn = shared.opening.take(url).await;
    if let Some(open) = running(shared, url).await {
        return Ok(open);
    }
    // Asked as a player would: the answer has no end.
    let body = shared.origin.get(&OriginGet::whole(url.clone())).await?;
    let head = &body.head;
    let hint =
        ResourceHint { url: url.clone(), content_type: head.content_type.clone(), first_bytes: Vec::new() };
    let fragmenter = surest(shared, &hint).filter(|fragmenter| fragmenter.fit(&hint) == Fit::Sure).cloned();
    let room = shared.broadcasts.lock().await.len() < BROADCASTS_MAX && head.len.is_none();
    let fragmenter = fragmenter.filter(|_| room).ok_or(FragmentError::LengthUnknown)?;
    let broadcast = Broadcast::open(shared, url, body, fragmenter).await?;
    shared.broadcasts.lock().await.push((url.clone(), broadcast.clone()));
    Ok(broadcast)
}

/// The live stream at `url`, if it is open. Those that are over are forgotten.
async fn running(shared: &Shared, url: &Url) -> Option<Broadcast> {
    let mut broadcasts = shared.broadcasts.lock().await;
    broadcasts.retain(|(_, broadcast)| !broadcast.is_over());
    broadcasts.iter().find(|(of, _)| of == url).map(|(_, open)| open.clone())
}

/// What the mappers say; without any answer a name of this very URL, so that it can be cut and cached at least.
pub(super) async fn map(shared: &Shared, url: &Url) -> Mapping {
    for mapper in &shared.mappers {
        match mapper.map(url).await {
            Ok(mapping) => return mapping,
            Err(error) => tracing::debug!(%error, "a mapper does not map this URL"),
        }
    }
    let mut hasher = blake3::Hasher::new_derive_key("pcdn rid unmapped v1");
    hasher.update(url.as_str().as_bytes());
    Mapping::to(Rid(*hasher.finalize().as_bytes()), "none")
}

/// Where the peers of `url` meet, without joining them.
pub(super) async fn swarm_of(shared: &Shared, url: &Url, head: &ResourceHead) -> Result<SwarmKey, OpenError> {
    let rid = map(shared, url).await.rid;
    let (fragmenter, _) = cut(shared, url, rid, head)?;
    Ok(SwarmKey::of(&rid, &fragmenter.rule()))
}

type Opened = (Arc<dyn Fragmenter>, Vec<Cut>);

/// Finds who cuts it and drains the cuts that need nothing more than the head.
fn cut(shared: &Shared, url: &Url, rid: Rid, head: &ResourceHead) -> Result<Opened, OpenError> {
    let hint =
        ResourceHint { url: url.clone(), content_type: head.content_type.clone(), first_bytes: Vec::new() };
    let Some(fragmenter) = surest(shared, &hint) else { return Err(FragmentError::LengthUnknown.into()) };
    let resource = Resource { url: url.clone(), rid, head: Some(head.clone()) };
    let mut slicing = fragmenter.open(&resource)?;
    let mut cuts = Vec::new();
    match slicing.need() {
        Need::Document { .. } => return Err(FragmentError::Playlist.into()),
        Need::Stream(_) => return Err(FragmentError::Stream.into()),
        _ if head.len.is_none() || !head.ranges => return Err(FragmentError::LengthUnknown.into()),
        _ => {}
    }
    loop {
        while let Some(cut) = slicing.cut() {
            cuts.push(cut);
        }
        match slicing.need() {
            Need::Nothing => break,
            Need::Head(of) if of == *url => {
                slicing.supply(pcdn_core::unit::Time::ZERO, Part::Head(of, head.clone()))?;
            }
            Need::Document { .. } => return Err(FragmentError::Playlist.into()),
            Need::Stream(_) => return Err(FragmentError::Stream.into()),
            _ => return Err(FragmentError::LengthUnknown.into()),
        }
    }
    Ok((fragmenter.clone(), cuts))
}

/// The first of the surest.
fn surest<'s>(shared: &'s Shared, hint: &ResourceHint) -> Option<&'s Arc<dyn Fragmenter>> {
    let fitting = shared.fragmenters.iter().map(|f| (f.fit(hint), f)).filter(|(fit, _)| *fit != Fit::No);
    let best = fitting.fold(None::<(Fit, &Arc<dyn Fragmenter>)>, |best, next| match best {
        Some(found) if found.0 >= next.0 => Some(found),
        _ => Some(next),
    });
    best.map(|(_, fragmenter)| fragmenter)
}

impl Shared {
    /// A playlist's name in this node: its URL without fragment.
    fn stream_name(&self, url: &Url) -> String {
        let mut url = url.clone();
        url.set_fragment(None);
        url.into()
    }

    fn p2p_now(&self) -> (bool, bool) {
        self.p2p.read().unwrap_or_else(std::sync::PoisonError::into_inner).take_give()
    }
}
