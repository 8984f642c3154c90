//! Joining a swarm: its engine, its store, who is told and who tells.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::discovery::Discovery;
use pcdn_core::fragment::Cut;
use pcdn_core::id::{PeerId, Rid, RuleId, SwarmKey};
use pcdn_core::origin::Origin;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::{Input, Swarm, SwarmSetup};
use pcdn_core::verify::Manifest;
use pcdn_core::wire::SliceNote;
use tokio::sync::{mpsc, watch};

use super::{Alternates, Begun, ManifestTask, shelved};
use crate::node::asset::{Asset, Info};
use crate::node::driver::{self, INBOX, Surroundings, ToSwarm};
use crate::node::freshness::Confirmed;
use crate::node::stream::track::Cuts;
use crate::node::{Shared, Throttle, shelf};

/// Pause before an announcement that failed is tried again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// A swarm to be joined.
pub(in crate::node) struct Joining {
    pub(in crate::node) url: Url,
    /// Where it comes from.
    pub(in crate::node) origin: Arc<dyn Origin>,
    /// The same, if its first bytes are on their way already.
    pub(in crate::node) begun: Option<Arc<Begun>>,
    /// The same, if it is asked by any of several URLs.
    pub(in crate::node) urls: Option<Arc<Alternates>>,
    /// Who is asked for its peers.
    pub(in crate::node) discoveries: Vec<Arc<dyn Discovery>>,
    pub(in crate::node) rid: Rid,
    pub(in crate::node) head: ResourceHead,
    pub(in crate::node) key: SwarmKey,
    pub(in crate::node) rule: RuleId,
    /// What is cut already.
    pub(in crate::node) cuts: Vec<Cut>,
    pub(in crate::node) manifest: Option<ManifestTask>,
    /// Who signs this content's manifests, beside a pinned key.
    pub(in crate::node) signer: Option<PeerId>,
    /// Of a stream: its segments become known one by one.
    pub(in crate::node) stream: Option<StreamSide>,
}

/// What the swarm of a stream shares with whoever cuts it.
pub(in crate::node) struct StreamSide {
    /// The engine drops segments from here that are of no use any more.
    pub(in crate::node) cuts: Arc<Cuts>,
    /// Slices that neighbours tell of.
    pub(in crate::node) heard: Option<mpsc::Sender<(Handle, SliceNote)>>,
}

pub(in crate::node) async fn join(shared: &Arc<Shared>, joining: Joining) -> Asset {
    let Joining {
        url,
        origin,
        begun,
        urls,
        discoveries,
        rid,
        head,
        key,
        rule,
        cuts,
        manifest,
        signer,
        stream,
    } = joining;
    let (take, give) = shared.p2p_now();
    let discoveries = if take || give { discoveries } else { Vec::new() };
    let record = shared.record();
    let setup = SwarmSetup {
        integrity: shared.settings.integrity,
        witnesses: shared.settings.witnesses,
        policy: shared.settings.policy,
        take,
        give,
        addrs: record.addrs.clone(),
        trust: shared.settings.trust.or(signer),
        limits: shared.settings.limits,
        stream: stream.is_some(),
        epoch_s: shared.epoch_s,
        follow: stream.as_ref().is_some_and(|stream| stream.heard.is_some()),
        ..SwarmSetup::new(key, shared.identity.clone())
    };
    let now = shared.clock.now();
    let mut swarm = Swarm::new(setup, shared.scheduler.make(), shared.dice("swarm"), now);
    let confirmed = Arc::new(Confirmed::new(url.clone(), head.clone(), origin.clone(), now));
    let fits = Fits { key, rid, rule, len: head.len.unwrap_or(0) };
    let begun = begun.zip(cuts.iter().find_map(|cut| match cut {
        Cut::Segment(segment) => Some(segment.id),
        _ => None,
    }));
    for cut in cuts {
        swarm.handle(now, Input::Cut(cut));
    }
    let later = match manifest {
        Some(ManifestTask::Done(Some((manifest, raw)))) if fits.allow(&manifest) => {
            confirmed.sign(&manifest);
            swarm.handle(now, Input::Manifest(manifest, Some(raw)));
            None
        }
        Some(ManifestTask::Later(task)) => Some(task),
        _ => None,
    };
    let listed = stream.as_ref().is_some_and(|stream| stream.heard.is_none());
    let (store, shelf) = (shared.store.clone(), shelf::of(&key, &head));
    let held = tokio::task::spawn_blocking(move || store.held(&shelf));
    let (sender, inbox) = mpsc::channel(INBOX);
    let (complete, completed) = watch::channel(false);
    let mut around = Surroundings {
        key,
        shelf,
        segments: shelf::Segments::default(),
        confirmed: confirmed.clone(),
        rid,
        url: url.clone(),
        head: head.clone(),
        stream,
        me: record,
        links: shared.links.clone(),
        outlook: shared.outlook.clone(),
        origin,
        discoveries: discoveries.clone(),
        keeper: shared.keeper.clone(),
        throttle: shared.throttle.clone(),
        own_throttle: Arc::new(Throttle::new(shared.settings.download_limit_swarm)),
        events: shared.events.clone(),
        receipts: shared.receipts.clone(),
        complete,
        clock: shared.clock.clone(),
        tasks: shared.tasks.clone(),
        stop: shared.stop.clone(),
    };
    shared.links.swarms.insert(key, sender.clone());
    let own = sender.downgrade();
    shared.tasks.spawn(async move {
        shelved::take_up(&mut swarm, held, &mut around, begun).await;
        driver::run(swarm, around, inbox, own).await;
    });
    announce(shared, key, sender.downgrade(), discoveries);
    if let Some(task) = later {
        let (sender, confirmed) = (sender.clone(), confirmed.clone());
        shared.tasks.spawn(async move {
            if let Ok(Some((manifest, raw))) = task.await
                && fits.allow(&manifest)
            {
                confirmed.sign(&manifest);
                let _ = sender.send(ToSwarm::Manifest(manifest, raw)).await;
            }
        });
    }
    let info = Info { url, rid, swarm: key, shelf, head, listed, confirmed, urls };
    Asset::new(info, sender, completed, shared)
}

/// What a manifest must agree with to be this content's.
struct Fits {
    key: SwarmKey,
    rid: Rid,
    rule: RuleId,
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

/// Keeps the node announced for a swarm until the node stops or the swarm is left, also to a newer content under its key.
fn announce(
    shared: &Arc<Shared>,
    key: SwarmKey,
    swarm: mpsc::WeakSender<ToSwarm>,
    discoveries: Vec<Arc<dyn Discovery>>,
) {
    for discovery in discoveries {
        let swarm = swarm.clone();
        let (bound, outlook, stop) = (shared.record(), shared.outlook.clone(), shared.stop.clone());
        let links = Arc::downgrade(&shared.links);
        shared.tasks.spawn(async move {
            let joined = || {
                let (links, swarm) = (links.upgrade()?, swarm.upgrade()?);
                let here = links.swarms.get(&key)?.same_channel(&swarm);
                here.then_some(())
            };
            while joined().is_some() {
                let edition = outlook.edition();
                let record = outlook.complete(bound.clone());
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
                    // Others must not be sent to a door that is no more.
                    () = outlook.changed(edition) => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }
}
