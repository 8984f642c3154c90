//! Standings in service: their clock, their file, their ledger, and the table that prefers superpeers.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::error::Judged as _;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::ledger::Ledger;
use pcdn_core::superpeer::Rules;
use pcdn_core::unit::Time;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::http::wall_clock;
use super::{Kept, Setup, Standings};
use crate::tracker::service::Service;

/// What is known is written so often: what a crash loses is told again by receipts, or is ten minutes of probes.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// A ledger that does not answer for so long is asked again in the next round.
const LEDGER_PATIENCE: Duration = Duration::from_secs(30);

/// How standings are set up.
#[derive(Clone, Debug)]
pub struct StandingConfig {
    /// Signs what is said of superpeers. Default: drawn anew, so what was signed before a restart holds no longer.
    pub key: Option<Identity>,
    /// What is demanded of superpeers.
    pub rules: Rules,
    /// Whose verdicts on who holds what count alone: the ids of push nodes. Default nobody: then those who hold the same contents,
    /// drawn by the tracker, are asked.
    pub auditors: BTreeSet<PeerId>,
    /// Where earned weight is told and stakes are asked for. Default nowhere.
    pub ledger: Option<Arc<dyn Ledger>>,
    /// How often. Default a minute.
    pub ledger_every: Duration,
    /// The file that standings survive a restart in. Default none.
    pub file: Option<PathBuf>,
    /// How often witnesses are drawn and rounds closed. Default 2 s.
    pub tick: Duration,
}

impl Default for StandingConfig {
    fn default() -> Self {
        Self {
            key: None,
            rules: Rules::default(),
            auditors: BTreeSet::new(),
            ledger: None,
            ledger_every: Duration::from_secs(60),
            file: None,
            tick: Duration::from_secs(2),
        }
    }
}

impl StandingConfig {
    /// Standings as they were left, or new ones. `drawn` is the key if none is set.
    pub(crate) fn standings(&self, now: Time, drawn: Identity) -> io::Result<Standings> {
        let named = |path: &Path, error: io::Error| {
            let what = format!("{}: {error}; move it away to begin anew", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let kept = match &self.file {
            Some(path) => Kept::load(path).map_err(|error| named(path, error))?,
            None => Kept::default(),
        };
        let key = self.key.clone().unwrap_or(drawn);
        Ok(Standings::restored(now, Setup { key, rules: self.rules, auditors: self.auditors.clone() }, kept))
    }

    /// Starts what keeps `standings` going.
    pub(crate) fn start(
        &self,
        tasks: &mut JoinSet<()>,
        standings: &Arc<Standings>,
        service: Arc<Service>,
        dice: Dice,
    ) {
        tasks.spawn(tick(standings.clone(), service, self.tick, dice));
        if let Some(ledger) = self.ledger.clone() {
            tasks.spawn(books(standings.clone(), ledger, self.ledger_every));
        }
        if let Some(path) = self.file.clone() {
            tasks.spawn(keep(standings.clone(), path));
        }
    }

    /// The last words of a tracker that stops.
    pub(crate) async fn stop(&self, standings: &Arc<Standings>) {
        if let Some(path) = self.file.clone() {
            save(standings.clone(), path).await;
        }
        if let Some(ledger) = &self.ledger {
            // What was not told is told after the next start.
            let _ = timeout(Duration::from_secs(1), ledger.record(&standings.entries(wall_clock()))).await;
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(standings: Arc<Standings>, service: Arc<Service>, period: Duration, mut dice: Dice) {
    let mut ticks = every(period);
    loop {
        ticks.tick().await;
        let now = wall_clock();
        standings.tick(now, &mut dice);
        service.table().prefer(&standings.shares(now));
    }
}

/// Tells a ledger what was earned, and asks it for the stakes that matter.
async fn books(standings: Arc<Standings>, ledger: Arc<dyn Ledger>, period: Duration) {
    let mut rounds = every(period);
    loop {
        rounds.tick().await;
        let round = async {
            ledger.record(&standings.entries(wall_clock())).await?;
            for peer in standings.stakes_wanted(wall_clock()) {
                let amount = ledger.stake(&peer).await?;
                standings.stake(wall_clock(), peer, amount);
            }
            Ok::<_, pcdn_core::ledger::LedgerError>(())
        };
        match timeout(LEDGER_PATIENCE, round).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, transient = error.transient(), "the ledger was not reached");
            }
            Err(_) => tracing::warn!("the ledger does not answer in time"),
        }
    }
}

async fn keep(standings: Arc<Standings>, path: PathBuf) {
    let mut rounds = every(SAVE_EVERY);
    loop {
        rounds.tick().await;
        save(standings.clone(), path.clone()).await;
    }
}

async fn save(standings: Arc<Standings>, path: PathBuf) {
    let shown = path.display().to_string();
    let saved = tokio::task::spawn_blocking(move || standings.kept().save(&path)).await;
    if let Err(error) = saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
        tracing::warn!(%error, path = shown, "standings were not written");
    }
}
