//! Whether what is open here is still what the origin has.
//!
//! Content that is here whole is given without asking the origin, so a change under its URL would never show. What the origin said
//! is good for a while ([`lifetime`]); beyond it a check runs: one conditional request, beside playing wherever that is allowed. The
//! ranges that a swarm fetches from the origin confirm it as well. If the origin has another content, the next opening gets that;
//! whoever reads goes on with the one begun.
//!
//! Under a publisher's manifest the manifest is the truth: another validator alone changes nothing while it still says the same.
//!
//! The segments of a playlist are resources like any other ([`Confirmed::of_part`]), asked for ahead of their players: what was heard
//! of one lately is not asked again when its player comes. They are small, so what has no version is simply fetched anew.

mod checks;
mod lifetime;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pcdn_core::origin::{Origin, OriginError};
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::Time;
use pcdn_core::verify::Manifest;
use tokio::sync::watch;

pub(super) use checks::Checks;
use lifetime::{Freshness, Lifetime};

use super::open::{ManifestPlace, fetch_checked, map};
use super::{OpenError, Shared};

/// What has expired waits so long for its check. A player that asks the origin itself waits for one round trip and its first byte,
/// too; an origin that takes longer than this is one whose players are glad of what is here.
const PATIENCE: Duration = Duration::from_secs(1);
/// A check that brings nothing for this long has failed, whatever the origin's own time-outs are.
const CHECK_MAX: Duration = Duration::from_secs(30);
/// After a failure the origin is left alone for so long, and nobody waits for it.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What is known of one content's standing at the origin.
#[derive(Debug)]
pub(crate) struct Confirmed {
    url: Url,
    head: ResourceHead,
    origin: Arc<dyn Origin>,
    /// An origin that names no version has not said that it is still the same.
    wants_version: bool,
    /// What is no more at the origin is as good as ever: it was of a window that has moved on.
    may_vanish: bool,
    /// The origin has another content at the URL now.
    changed: AtomicBool,
    /// The manifest that the content fits.
    signed: OnceLock<Arc<Manifest>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the origin last said that this is what it has.
    at: Time,
    /// How long that is good for.
    lifetime: Lifetime,
    /// When it last failed to say.
    failed: Option<Time>,
    /// The check under way.
    check: Option<watch::Receiver<Option<Outcome>>>,
}

/// What came of a check. The reason of a failure is told to all who wait for it.
#[derive(Clone, Debug)]
enum Outcome {
    Same,
    Changed,
    Failed(String),
}

impl Confirmed {
    /// The origin has just said `head` of `url`.
    pub(super) fn new(url: Url, head: ResourceHead, origin: Arc<dyn Origin>, now: Time) -> Self {
        let state = State { at: now, lifetime: Lifetime::of(&head), failed: None, check: None };
        Self {
            url,
            head,
            origin,
            wants_version: false,
            may_vanish: false,
            changed: AtomicBool::new(false),
            signed: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    /// The same of a playlist's segment, or of the file that it is a part of. Those of a `live` one are deleted in their time.
    pub(super) fn of_part(
        url: Url,
        head: ResourceHead,
        origin: Arc<dyn Origin>,
        now: Time,
        live: bool,
    ) -> Self {
        Self { wants_version: true, may_vanish: live, ..Self::new(url, head, origin, now) }
    }

    /// What the origin said of it.
    pub(super) fn head(&self) -> &ResourceHead {
        &self.head
    }

    /// The content fits this manifest.
    pub(super) fn sign(&self, manifest: &Arc<Manifest>) {
        // A content has one manifest: whoever comes second says the same.
        let _ = self.signed.set(manifest.clone());
    }

    /// Whether the origin has another content at the URL by now.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// The origin has another content at the URL.
    pub(super) fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// A transfer of it was opened with this head: one of the very version says that the origin still has it.
    pub(super) fn opened(&self, now: Time, head: &ResourceHead) {
        if self.head.validator.is_some() && self.head.validator == head.validator {
            self.renew(now, head);
        }
    }

    /// The origin gave bytes of it, or told of it, with this head.
    fn renew(&self, now: Time, head: &ResourceHead) {
        let mut state = self.state();
        (state.at, state.lifetime, state.failed) = (now, Lifetime::of(head), None);
    }

    /// The origin was asked for `url` by somebody else and said `head`: the same content, or another. Edges of a CDN disagree on
    /// validators, so only what the very host says counts.
    pub(super) fn heard(self: &Arc<Self>, shared: &Arc<Shared>, url: &Url, head: &ResourceHead) {
        if url.origin() != self.url.origin() {
            return;
        }
        match self.head.differs_from(head) {
            None => self.renew(shared.clock.now(), head),
            // Whether the manifest still says the same is not known yet.
            Some(_) if self.signed.get().is_some() => drop(self.begin(shared)),
            Some(_) => self.change(),
        }
    }

    /// How old what is here is, by the origin's own word and the time since (RFC 9111 section 4.2.3).
    pub(super) fn age(&self, now: Time) -> Duration {
        let state = self.state();
        state.lifetime.age_after(now.since(state.at))
    }

    /// Sees to it that it may be given to whoever asks now. Afterwards it may have [changed](Self::is_changed).
    ///
    /// # Errors
    /// If the origin forbade to use it unconfirmed, and does not confirm it.
    pub(super) async fn settle(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), OpenError> {
        self.settle_for(shared, Duration::ZERO).await
    }

    /// The same for somebody for whom what the origin said within `lately` is good enough.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn settle_for(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        lately: Duration,
    ) -> Result<(), OpenError> {
        let (freshness, spared) = self.standing(shared.clock.now(), lately);
        match freshness {
            Freshness::Fresh => {}
            Freshness::Stale | Freshness::Expired if spared => {}
            Freshness::Stale => drop(self.begin(shared)),
            Freshness::Expired => {
                // Late or in vain: what is here is given, and the check goes on beside.
                let _ = tokio::time::timeout(PATIENCE, outcome(self.begin(shared))).await;
            }
            Freshness::Forbidden => {
                if let Outcome::Failed(why) = outcome(self.begin(shared)).await {
                    let why = format!("what is here must not be given unconfirmed ({why})");
                    return Err(OpenError::Origin(OriginError::Unreachable { why }));
                }
            }
        }
        Ok(())
    }

    /// Begins a check if somebody would have to wait for one who came now; nobody waits for it here.
    pub(super) fn look_ahead(self: &Arc<Self>, shared: &Arc<Shared>, lately: Duration) {
        let (freshness, spared) = self.standing(shared.clock.now(), lately);
        if freshness != Freshness::Fresh && !spared {
            drop(self.begin(shared));
        }
    }

    /// Whether the origin wants to be asked before every use, once its word is no longer good.
    pub(super) fn is_strict(&self) -> bool {
        self.state().lifetime.is_strict()
    }

    /// What it is good for, and whether the origin is to be left alone. A change that is known needs no check.
    fn standing(&self, now: Time, lately: Duration) -> (Freshness, bool) {
        let state = self.state();
        let since = now.since(state.at);
        let good = self.is_changed() || since < lately;
        let freshness = if good { Freshness::Fresh } else { state.lifetime.judge(since) };
        (freshness, state.failed.is_some_and(|failed| now.since(failed) < AFTER_FAILURE))
    }

    /// Begins a check, or joins the one under way.
    fn begin(self: &Arc<Self>, shared: &Arc<Shared>) -> watch::Receiver<Option<Outcome>> {
        let mut state = self.state();
        if let Some(under_way) = &state.check {
            return under_way.clone();
        }
        let (done, under_way) = watch::channel(None);
        state.check = Some(under_way.clone());
        let (confirmed, node) = (self.clone(), shared.clone());
        shared.tasks.spawn(async move {
            let stop = node.stop.clone();
            let checked = stop.run_until_cancelled(confirmed.check(&node)).await;
            let outcome = checked.unwrap_or_else(|| Outcome::Failed("the node ends".to_owned()));
            confirmed.state().check = None;
            done.send_replace(Some(outcome));
        });
        under_way
    }

    async fn check(&self, shared: &Arc<Shared>) -> Outcome {
        let asked = async {
            let _turn = shared.checks.turn(&self.url).await;
            self.origin.confirm(&self.url, &self.head).await
        };
        let asked = tokio::time::timeout(CHECK_MAX, asked).await;
        let now = shared.clock.now();
        match asked.unwrap_or(Err(OriginError::Silent(CHECK_MAX))) {
            Ok(_) if self.wants_version && !self.head.has_version() => {
                self.change();
                Outcome::Changed
            }
            Ok(head) => {
                self.renew(now, &head);
                Outcome::Same
            }
            Err(OriginError::Status { status: 404 | 410, .. }) if self.may_vanish => {
                self.renew(now, &self.head);
                Outcome::Same
            }
            // What is gone is another content, too: the next opening is told so by the origin itself.
            Err(OriginError::Changed { .. } | OriginError::Status { status: 404 | 410, .. }) => {
                if self.is_as_signed(shared).await {
                    self.renew(now, &self.head);
                    return Outcome::Same;
                }
                tracing::debug!("the content at a URL has changed");
                self.change();
                Outcome::Changed
            }
            Err(error) => {
                tracing::debug!(%error, "the origin does not say whether the content is still the same");
                self.state().failed = Some(now);
                Outcome::Failed(error.to_string())
            }
        }
    }

    /// Whether the content fits a manifest, and that still stands.
    async fn is_as_signed(&self, shared: &Arc<Shared>) -> bool {
        let Some(known) = self.signed.get() else { return false };
        let mapping = map(shared, &self.url).await;
        let Some(place) = ManifestPlace::of(&shared.settings, &self.url, &mapping) else { return false };
        fetch_checked(shared, &place).await.is_some_and(|(manifest, _)| manifest == *known)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn outcome(mut check: watch::Receiver<Option<Outcome>>) -> Outcome {
    match check.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Outcome::Same),
        Err(_) => Outcome::Failed("the check was given up".to_owned()),
    }
}
