//! Opening a resource: map, ask the origin, cut, join.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use pcdn_core::fragment::{Cut, Fit, FragmentError, Fragmenter, Need, Part};
use pcdn_core::id::{Rid, SwarmKey};
use pcdn_core::origin::{Origin, OriginGet};
use pcdn_core::peer::PeerRecord;
use pcdn_core::resource::{Mapping, Resource, ResourceHead, ResourceHint, Url};
use pcdn_core::swarm::{Input, Swarm, SwarmSetup};
use pcdn_core::verify::Manifest;
use pcdn_core::verify::manifest::MANIFEST_BYTES_MAX;
use tokio::sync::{mpsc, watch};

use super::asset::{Asset, Info};
use super::driver::{self, INBOX, Surroundings, ToSwarm};
use super::{ManifestFrom, OpenError, Shared};

/// How long the start waits for a manifest after the origin answered; later ones still count.
const MANIFEST_PATIENCE: Duration = Duration::from_millis(400);
/// Longest fetch of a manifest.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Resources open at once; the oldest without readers is closed beyond.
const ASSETS_MAX: usize = 256;
/// Pause before an announcement that failed is tried again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn open(shared: &Arc<Shared>, url: &Url) -> Result<Asset, OpenError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OpenError::Url(format!("{} is not an http or https URL", url.scheme())));
    }
    // One opening at a time: two players of one film must share its swarm.
    let mut assets = shared.assets.lock().await;
    if let Some(asset) = assets.iter().find(|asset| asset.url() == url) {
        return Ok(asset.clone());
    }
    let mapping = map(shared, url).await;
    let early = peers_early(shared, url, mapping.rid);
    let (head, manifest) = tokio::join!(shared.origin.head(url), manifest_early(shared, url, &mapping));
    let (head, manifest) = (head?, manifest);
    let opened = cut(shared, url, mapping.rid, &head)?;
    let key = SwarmKey::of(&mapping.rid, &opened.0.rule());
    if let Some(asset) = assets.iter().find(|asset| asset.swarm() == key) {
        return Ok(asset.clone());
    }
    let asset = join(shared, url, mapping, head, key, opened, manifest).await;
    if let Some(early) = early.filter(|early| early.key == key) {
        early.hand_over(shared, &asset);
    }
    if assets.len() >= ASSETS_MAX {
        let oldest = assets.remove(0);
        oldest.close(&shared.links).await;
    }
    assets.push(asset.clone());
    Ok(asset)
}

/// What the mappers say; without any answer a name of this very URL, so that it can be cut and cached at least.
async fn map(shared: &Shared, url: &Url) -> Mapping {
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

/// Peers that are looked for, and dialled, while the origin is asked for the head: by then they are mostly there.
struct EarlyPeers {
    key: SwarmKey,
    task: tokio::task::JoinHandle<Vec<PeerRecord>>,
}

/// Peers dialled before the swarm is open.
const EARLY_DIALS: usize = 8;

/// Guesses the swarm from the URL alone; a wrong guess costs a question to the tracker.
fn peers_early(shared: &Arc<Shared>, url: &Url, rid: Rid) -> Option<EarlyPeers> {
    let (take, _) = shared.p2p_now();
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    let fragmenter = surest(shared, &hint).filter(|_| take && !shared.discoveries.is_empty())?;
    let key = SwarmKey::of(&rid, &fragmenter.rule());
    let (discoveries, links, me) =
        (shared.discoveries.clone(), shared.links.clone(), shared.identity.peer_id());
    let tasks = shared.tasks.clone();
    let stop = shared.stop.clone();
    let search = async move {
        let mut records = Vec::new();
        for discovery in discoveries {
            let mut found = discovery.find(&key, EARLY_DIALS);
            while let Some(Ok(record)) = found.next().await {
                if record.id != me && records.len() < EARLY_DIALS {
                    let (links, to) = (links.clone(), record.clone());
                    // Whether it works out is seen when the swarm connects for real.
                    tasks.spawn(async move { links.connect(&to).await.map(drop) });
                    records.push(record);
                }
            }
        }
        records
    };
    let search = async move { stop.run_until_cancelled(search).await.unwrap_or_default() };
    Some(EarlyPeers { key, task: shared.tasks.spawn(search) })
}

impl EarlyPeers {
    fn hand_over(self, shared: &Arc<Shared>, asset: &Asset) {
        let asset = asset.clone();
        shared.tasks.spawn(async move {
            if let Ok(records) = self.task.await {
                asset.found(records).await;
            }
        });
    }
}

/// A manifest that is asked for beside the head, so that it costs no time.
async fn manifest_early(shared: &Arc<Shared>, url: &Url, mapping: &Mapping) -> Option<ManifestTask> {
    let (place, needs_key) = match (&shared.settings.manifest, &mapping.manifest) {
        (ManifestFrom::Sidecar, _) => (Place::Url(sidecar(url)), false),
        (ManifestFrom::Url(place), _) => (Place::Url(place.clone()), true),
        (ManifestFrom::File(path), _) => (Place::File(path.clone()), false),
        (ManifestFrom::Off, Some(place)) => (Place::Url(place.clone()), place.origin() != url.origin()),
        (ManifestFrom::Off, None) => return None,
    };
    let trust = shared.settings.trust;
    let origin = shared.origin.clone();
    let mut task = Box::pin(tokio::spawn(async move {
        let fetched = tokio::time::timeout(MANIFEST_TIMEOUT, fetch_manifest(origin.as_ref(), &place)).await;
        let raw = fetched.ok().flatten()?;
        let parsed = tokio::task::spawn_blocking(move || (Manifest::parse(&raw), raw)).await.ok()?;
        let (Ok(manifest), raw) = parsed else {
            tracing::warn!("the manifest is not usable: {:?}", parsed.0.err());
            return None;
        };
        if let Some(key) = trust
            && key != manifest.signer
        {
            tracing::warn!(signer = %manifest.signer, "the manifest is not signed by the trusted key");
            return None;
        }
        if trust.is_none() && needs_key {
            tracing::warn!("a manifest from elsewhere than the origin needs --trust KEY");
            return None;
        }
        Some((Arc::new(manifest), raw))
    }));
    // It mostly is here as soon as the head is; a slow one comes later and counts then.
    match tokio::time::timeout(MANIFEST_PATIENCE, &mut task).await {
        Ok(done) => Some(ManifestTask::Done(done.ok().flatten())),
        Err(_) => Some(ManifestTask::Later(task)),
    }
}

type Found = Option<(Arc<Manifest>, Bytes)>;

enum ManifestTask {
    Done(Found),
    Later(std::pin::Pin<Box<tokio::task::JoinHandle<Found>>>),
}

enum Place {
    Url(Url),
    File(std::path::PathBuf),
}

/// `URL.pcdn`: the suffix goes to the path, the query stays (it may hold the token).
fn sidecar(url: &Url) -> Url {
    let mut beside = url.clone();
    beside.set_path(&format!("{}.pcdn", url.path()));
    beside
}

async fn fetch_manifest(origin: &dyn Origin, place: &Place) -> Option<Bytes> {
    match place {
        Place::File(path) => {
            let length = tokio::fs::metadata(path).await.ok()?.len();
            if length > MANIFEST_BYTES_MAX as u64 {
                return None;
            }
            tokio::fs::read(path).await.ok().map(Bytes::from)
        }
        Place::Url(url) => {
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

type Opened = (Arc<dyn Fragmenter>, Vec<Cut>);

/// Finds who cuts it and drains the cuts that need nothing more than the head.
fn cut(shared: &Shared, url: &Url, rid: Rid, head: &ResourceHead) -> Result<Opened, OpenError> {
    let hint =
        ResourceHint { url: url.clone(), content_type: head.content_type.clone(), first_bytes: Vec::new() };
    let Some(fragmenter) = surest(shared, &hint) else { return Err(FragmentError::LengthUnknown.into()) };
    if head.len.is_none() || !head.ranges {
        return Err(FragmentError::LengthUnknown.into());
    }
    let resource = Resource { url: url.clone(), rid, head: Some(head.clone()) };
    let mut slicing = fragmenter.open(&resource)?;
    let mut cuts = Vec::new();
    loop {
        while let Some(cut) = slicing.cut() {
            cuts.push(cut);
        }
        match slicing.need() {
            Need::Nothing => break,
            Need::Head(of) if of == *url => {
                slicing.supply(pcdn_core::unit::Time::ZERO, Part::Head(of, head.clone()))?;
            }
            // Kinds that need documents or streams are opened by their own driver.
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

async fn join(
    shared: &Arc<Shared>,
    url: &Url,
    mapping: Mapping,
    head: ResourceHead,
    key: SwarmKey,
    (fragmenter, cuts): Opened,
    manifest: Option<ManifestTask>,
) -> Asset {
    let (take, give) = shared.p2p_now();
    let record = shared.record();
    let setup = SwarmSetup {
        integrity: shared.settings.integrity,
        witnesses: shared.settings.witnesses,
        policy: shared.settings.policy,
        take,
        give,
        ports: record.addrs.iter().map(|addr| (addr.scheme, addr.addr.port())).collect(),
        trust: shared.settings.trust,
        limits: shared.settings.limits,
        ..SwarmSetup::new(key, shared.identity.clone())
    };
    let now = shared.clock.now();
    let mut swarm = Swarm::new(setup, shared.scheduler.make(), shared.dice("swarm"), now);
    let fits = Fits { key, rid: mapping.rid, rule: fragmenter.rule(), len: head.len.unwrap_or(0) };
    for cut in cuts {
        swarm.handle(now, Input::Cut(cut));
    }
    let later = match manifest {
        Some(ManifestTask::Done(Some((manifest, raw)))) if fits.allow(&manifest) => {
            swarm.handle(now, Input::Manifest(manifest, Some(raw)));
            None
        }
        Some(ManifestTask::Later(task)) => Some(task),
        _ => None,
    };
    let store = shared.store.clone();
    match tokio::task::spawn_blocking(move || store.held(&key)).await {
        Ok(Ok(held)) if !held.is_empty() => swarm.handle(now, Input::Held(held)),
        Ok(Err(error)) => tracing::warn!(%error, "the store cannot be read; starting without it"),
        _ => {}
    }
    let (sender, inbox) = mpsc::channel(INBOX);
    let (complete, completed) = watch::channel(false);
    let around = Surroundings {
        key,
        rid: mapping.rid,
        url: url.clone(),
        head: head.clone(),
        me: record,
        links: shared.links.clone(),
        origin: shared.origin.clone(),
        discoveries: if take || give { shared.discoveries.clone() } else { Vec::new() },
        keeper: shared.keeper.clone(),
        throttle: shared.throttle.clone(),
        events: shared.events.clone(),
        complete,
        clock: shared.clock.clone(),
        tasks: shared.tasks.clone(),
        stop: shared.stop.clone(),
    };
    shared.links.swarms.insert(key, sender.clone());
    shared.tasks.spawn(driver::run(swarm, around, inbox, sender.downgrade()));
    announce(shared, key);
    if let Some(task) = later {
        let sender = sender.clone();
        shared.tasks.spawn(async move {
            if let Ok(Some((manifest, raw))) = task.await
                && fits.allow(&manifest)
            {
                let _ = sender.send(ToSwarm::Manifest(manifest, raw)).await;
            }
        });
    }
    let info = Info { url: url.clone(), rid: mapping.rid, swarm: key, head };
    Asset::new(info, sender, completed, shared)
}

/// What a manifest must agree with to be this content's.
struct Fits {
    key: SwarmKey,
    rid: Rid,
    rule: pcdn_core::id::RuleId,
    len: u64,
}

impl Fits {
    fn allow(&self, manifest: &Manifest) -> bool {
        let same = manifest.rule == self.rule
            && manifest.bytes() == self.len
            && manifest.rid.is_none_or(|rid| rid == self.rid);
        if !same {
            tracing::warn!(swarm = %self.key.short(), "the manifest is of another content or cut; it is not used");
        }
        same
    }
}

/// Keeps the node announced for a swarm until the node stops.
fn announce(shared: &Arc<Shared>, key: SwarmKey) {
    let (take, give) = shared.p2p_now();
    if !take && !give {
        return;
    }
    for discovery in shared.discoveries.clone() {
        let (record, stop) = (shared.record(), shared.stop.clone());
        let links = Arc::downgrade(&shared.links);
        shared.tasks.spawn(async move {
            while links.upgrade().is_some_and(|links| links.swarms.contains_key(&key)) {
                let lease = tokio::select! {
                    lease = discovery.announce(&key, &record) => lease,
                    () = stop.cancelled() => return,
                };
                let pause = match lease {
                    Ok(lease) => lease.renew_in,
                    Err(error) => {
                        tracing::debug!(%error, "announcing failed");
                        ANNOUNCE_AGAIN
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }
}

impl Shared {
    fn p2p_now(&self) -> (bool, bool) {
        self.p2p.read().unwrap_or_else(std::sync::PoisonError::into_inner).take_give()
    }
}
