//! Several URLs of one content: when one fails, the next takes over, and failures are remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pcdn_core::async_trait;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::Time;
use tokio::time::Instant;

/// URLs tried for one content, the first included. More only delays the error when the content is gone.
const URLS_MAX: usize = 8;
/// How long a failed URL is tried last: doubling from one second to a minute.
const ASIDE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An [`Origin`] for one content at several URLs. A request for its first URL goes to whichever works; others pass through.
///
/// What breaks within a body is reported, not resumed: the engine asks for what is missing, and is then served by the next URL.
/// Validators differ between servers, so each URL's is kept apart and the caller's stands for all of them; the length must agree
/// everywhere. A mirror with another length or version is out of date and put aside; if the first URL changes, that is
/// [`OriginError::Changed`].
#[derive(Debug)]
pub struct Mirrors {
    primary: Arc<dyn Origin>,
    others: Arc<dyn Origin>,
    urls: Vec<Url>,
    started: Instant,
    standings: Arc<Mutex<Vec<Standing>>>,
}

/// One URL's record.
#[derive(Clone, Debug, Default)]
struct Standing {
    faults: u32,
    aside_until: Time,
    validator: Option<String>,
}

impl Standing {
    fn failed(&mut self, now: Time) {
        let wait = ASIDE.0.saturating_mul(1 << self.faults.min(10));
        self.aside_until = now + wait.min(ASIDE.1);
        self.faults += 1;
    }

    fn served(&mut self, head: &ResourceHead) {
        (self.faults, self.aside_until) = (0, Time::ZERO);
        if self.validator.is_none() {
            self.validator.clone_from(&head.validator);
        }
    }
}

/// The order to try: those in good standing as given, then the others, the one put aside for the shortest first.
fn order(standings: &[Standing], now: Time) -> Vec<usize> {
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_by_key(|index| standings[*index].aside_until.since(now));
    order
}

impl Mirrors {
    /// `url` fetched by `primary`, and `mirrors` of the same content, best first, fetched by `others`. At most eight URLs are
    /// used.
    pub fn new(primary: Arc<dyn Origin>, others: Arc<dyn Origin>, url: Url, mirrors: Vec<Url>) -> Self {
        let mut urls = vec![url];
        for mirror in mirrors {
            if urls.len() < URLS_MAX && !urls.contains(&mirror) {
                urls.push(mirror);
            }
        }
        let standings = Arc::new(Mutex::new(vec![Standing::default(); urls.len()]));
        Self { primary, others, urls, started: Instant::now(), standings }
    }

    fn origin(&self, index: usize) -> &Arc<dyn Origin> {
        if index == 0 { &self.primary } else { &self.others }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn order(&self) -> Vec<usize> {
        with(&self.standings, |standings| order(standings, self.now()))
    }

    /// Notes a failure; gives it back if trying on would mix versions.
    fn failed(
        &self,
        index: usize,
        error: OriginError,
        first: &mut Option<OriginError>,
    ) -> Result<(), OriginError> {
        if index == 0 && matches!(error, OriginError::Changed { .. }) {
            return Err(error);
        }
        with(&self.standings, |standings| standings[index].failed(self.now()));
        tracing::debug!(mirror = index, %error, "a mirror failed");
        // The first URL's own error says most: it is what a plain player would see.
        if first.is_none() || index == 0 {
            *first = Some(error);
        }
        Ok(())
    }

    /// Whether `want` asks for a version that none of the URLs has. Only said once the first URL's own is known: a version may
    /// be remembered from an earlier run.
    fn is_foreign(&self, want: &OriginGet) -> bool {
        let Some(asked) = &want.validator else { return false };
        with(&self.standings, |standings| {
            let mut known = standings.iter().filter_map(|standing| standing.validator.as_ref());
            standings[0].validator.is_some() && known.all(|known| known != asked)
        })
    }

    /// `want` put to URL `index`: with that URL's own validator.
    fn addressed(&self, want: &OriginGet, index: usize) -> OriginGet {
        let known = with(&self.standings, |standings| standings[index].validator.clone());
        let asked = want.validator.as_ref();
        let validator = match known {
            Some(known) => asked.map(|_| known),
            None => asked.filter(|_| index == 0).cloned(),
        };
        OriginGet { url: self.urls[index].clone(), validator, ..want.clone() }
    }

    /// The body with its failures noted.
    fn watched(&self, index: usize, body: OriginBody) -> OriginBody {
        let (standings, started) = (self.standings.clone(), self.started);
        let bytes = body.bytes.inspect(move |item| {
            if item.is_err() {
                with(&standings, |standings| standings[index].failed(Time::ZERO + started.elapsed()));
            }
        });
        OriginBody { head: body.head, bytes: Box::pin(bytes) }
    }
}

#[async_trait]
impl Origin for Mirrors {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        if *url != self.urls[0] {
            return self.primary.head(url).await;
        }
        let mut first = None;
        for index in self.order() {
            match self.origin(index).head(&self.urls[index]).await {
                Ok(head) => {
                    with(&self.standings, |standings| standings[index].served(&head));
                    return Ok(head);
                }
                Err(error) => self.failed(index, error, &mut first)?,
            }
        }
        Err(first.expect("there is at least one URL, and it failed"))
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        if want.url != self.urls[0] {
            return self.primary.get(want).await;
        }
        if self.is_foreign(want) {
            return Err(OriginError::Changed { what: "the validator".to_owned() });
        }
        let mut first = None;
        for index in self.order() {
            match self.origin(index).get(&self.addressed(want, index)).await {
                Ok(body) => {
                    with(&self.standings, |standings| standings[index].served(&body.head));
                    return Ok(self.watched(index, body));
                }
                Err(error) => self.failed(index, error, &mut first)?,
            }
        }
        Err(first.expect("there is at least one URL, and it failed"))
    }
}

fn with<T>(standings: &Mutex<Vec<Standing>>, then: impl FnOnce(&mut Vec<Standing>) -> T) -> T {
    // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
    then(&mut standings.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests;
