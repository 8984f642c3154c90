//! Several URLs of one content: when one fails or falls silent, the next takes over, and failures are remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use pcdn_core::async_trait;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::Time;
use tokio::time::{Instant, sleep, timeout};

use relay::Relay;
use samples::Samples;
use standing::Standings;
pub use tree::MirroredTree;

mod relay;
mod samples;
mod standing;
#[cfg(test)]
mod tests;
mod tree;

/// URLs tried for one content, the first included. More only delays the error when the content is gone.
const URLS_MAX: usize = 8;
/// A mirror must show within this time that it has the same bytes: two small answers and a handshake.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// An [`Origin`] for one content at several URLs. A request for its first URL goes to whichever works; others pass through.
///
/// - *Failover:* a URL that fails is tried last, for a second, doubling to a minute. A body that breaks, or brings nothing for a
///   second, goes on from the next URL at the very byte it stopped.
/// - *Hedging:* a URL that is late, by its own measure, is not waited for alone, and neither is a body that pauses for 300 ms: the
///   next is asked too, and the first to answer is used. At most a tenth of requests cost that.
/// - *Identity:* the length must agree everywhere; validators differ between servers, so each URL's is kept apart and the caller's
///   stands for all of them ([`same_tags`](Self::same_tags) demands that they agree). A mirror must first give a few stretches of
///   bytes that the first URL gave, too. One that differs in anything is dropped; if the first URL changes, that is
///   [`OriginError::Changed`].
#[derive(Clone, Debug)]
pub struct Mirrors(Arc<Places>);

/// All places of the content, and what is known of them.
#[derive(Debug)]
struct Places {
    primary: Arc<dyn Origin>,
    others: Arc<dyn Origin>,
    urls: Vec<Url>,
    same_tags: bool,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    standings: Standings,
    samples: Samples,
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
        let state = State { standings: Standings::of(urls.len()), samples: Samples::default() };
        let (state, started) = (Mutex::new(state), Instant::now());
        Self(Arc::new(Places { primary, others, urls, same_tags: false, started, state }))
    }

    /// The same, with what `before` knows of its places: those of another file at the same servers, in the same order.
    fn after(self, before: &Self) -> Self {
        let Places { primary, others, urls, same_tags, .. } = &*self.0;
        let (primary, others, urls, same_tags) = (primary.clone(), others.clone(), urls.clone(), *same_tags);
        let standings = before.0.with(|state, _| state.standings.of_another(urls.len()));
        let state = Mutex::new(State { standings, samples: Samples::default() });
        Self(Arc::new(Places { primary, others, urls, same_tags, started: before.0.started, state }))
    }

    /// Whether validators must agree, because the mapper says that they do.
    pub fn same_tags(self, same_tags: bool) -> Self {
        let Places { primary, others, urls, .. } = &*self.0;
        let (primary, others, urls) = (primary.clone(), others.clone(), urls.clone());
        let state = State { standings: Standings::of(urls.len()), samples: Samples::default() };
        let (state, started) = (Mutex::new(state), Instant::now());
        Self(Arc::new(Places { primary, others, urls, same_tags, started, state }))
    }
}

#[async_trait]
impl Origin for Mirrors {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        let places = &self.0;
        if *url != places.urls[0] {
            return places.primary.head(url).await;
        }
        let ask = |index: usize| -> Attempt<'_, ResourceHead> {
            Box::pin(async move {
                let head = places.origin(index).head(&places.urls[index]).await?;
                places.fits(index, &head)?;
                Ok(head)
            })
        };
        let (index, head) = places.first(None, &ask).await?;
        places.with(|state, _| state.standings.told(index, &head));
        Ok(head)
    }

    /// By the first URL's own word only: a mirror's validators are other ones, and it may be behind.
    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        let places = &self.0;
        let own = places.with(|state, _| state.standings.own_word(known));
        places.primary.confirm(url, own.as_ref().filter(|_| *url == places.urls[0]).unwrap_or(known)).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let places = &self.0;
        if want.url != places.urls[0] {
            return places.primary.get(want).await;
        }
        if places.with(|state, _| state.standings.is_foreign(want)) {
            return Err(OriginError::Changed { what: "the validator".to_owned() });
        }
        let (index, body) = places.open(want, None).await?;
        Ok(Relay::over(places.clone(), want.clone(), index, body))
    }
}

type Attempt<'a, T> = BoxFuture<'a, Result<T, OriginError>>;

impl Places {
    /// A body of `want` from whichever URL gives it, but not from `except`.
    async fn open(
        &self,
        want: &OriginGet,
        except: Option<usize>,
    ) -> Result<(usize, OriginBody), OriginError> {
        let ask = |index: usize| -> Attempt<'_, OriginBody> {
            Box::pin(async move {
                let want = OriginGet {
                    url: self.urls[index].clone(),
                    validator: self.with(|state, _| state.standings.validator(index, want)),
                    ..want.clone()
                };
                // Not beside each other: a body that nobody reads yet would fill the window of the connection that both share.
                self.check(index).await?;
                let body = self.origin(index).get(&want).await?;
                self.fits(index, &body.head)?;
                Ok(body)
            })
        };
        let (index, body) = self.first(except, &ask).await?;
        self.with(|state, _| state.standings.told(index, &body.head));
        Ok((index, body))
    }

    /// The first good answer: URLs in order of their standing, the next as soon as one fails or is late.
    async fn first<'s, T>(
        &'s self,
        except: Option<usize>,
        ask: &(dyn Fn(usize) -> Attempt<'s, T> + Sync),
    ) -> Result<(usize, T), OriginError>
    where
        T: Send,
    {
        let mut order = self.with(|state, now| state.standings.order(now));
        order.retain(|index| Some(*index) != except);
        let mut waiting = order.into_iter().peekable();
        let mut racing = FuturesUnordered::new();
        let timed = |index: usize| async move {
            let asked = Instant::now();
            (index, ask(index).await, asked.elapsed())
        };
        let (mut error, mut asked) = (None, Vec::new());
        let mut hedge = self.start(&mut waiting, &mut asked, &mut racing, timed);
        loop {
            tokio::select! {
                Some((index, outcome, took)) = racing.next() => match outcome {
                    Ok(good) => {
                        asked.retain(|other| *other != index);
                        self.with(|state, now| state.standings.answered(now, index, took, &asked));
                        return Ok((index, good));
                    }
                    Err(why) => {
                        asked.retain(|other| *other != index);
                        self.failed(index, why, &mut error)?;
                        if racing.is_empty() {
                            hedge = self.start(&mut waiting, &mut asked, &mut racing, timed);
                        }
                    }
                },
                () = sleep(hedge), if waiting.peek().is_some() && !racing.is_empty() => {
                    hedge = match self.with(|state, _| state.standings.may_hedge()) {
                        true => self.start(&mut waiting, &mut asked, &mut racing, timed),
                        false => Duration::MAX,
                    };
                }
                else => break,
            }
        }
        Err(error.unwrap_or_else(|| OriginError::Unreachable { why: "no other place is left".to_owned() }))
    }

    /// Asks the next in line; gives how long it may take before it is late.
    fn start<F>(
        &self,
        waiting: &mut impl Iterator<Item = usize>,
        asked: &mut Vec<usize>,
        racing: &mut FuturesUnordered<F>,
        ask: impl Fn(usize) -> F,
    ) -> Duration
    where
        F: Future,
    {
        let Some(index) = waiting.next() else { return Duration::MAX };
        asked.push(index);
        racing.push(ask(index));
        self.with(|state, _| state.standings.late_after(index))
    }

    /// Notes a failure; gives it back if trying on would mix versions.
    fn failed(
        &self,
        index: usize,
        error: OriginError,
        first: &mut Option<OriginError>,
    ) -> Result<(), OriginError> {
        let changed = matches!(error, OriginError::Changed { .. });
        if index == 0 && changed {
            return Err(error);
        }
        tracing::debug!(mirror = index, %error, "a mirror failed");
        self.with(|state, now| state.standings.failed(now, index, changed));
        // The first URL's own error says most: it is what a plain player would see.
        if first.is_none() || index == 0 {
            *first = Some(error);
        }
        Ok(())
    }

    /// Whether what `index` says of itself is what the first URL says.
    fn fits(&self, index: usize, head: &ResourceHead) -> Result<(), OriginError> {
        let first = self.with(|state, _| state.standings.known(0).map(str::to_owned));
        let tags = !self.same_tags || index == 0 || first.is_none() || head.validator == first;
        let len =
            self.with(|state, _| state.samples.len().is_none_or(|len| head.len.is_none_or(|own| own == len)));
        let what = match (tags, len) {
            (true, true) => return Ok(()),
            (false, _) => "the mirror's validator",
            (_, false) => "the mirror's length",
        };
        Err(OriginError::Changed { what: what.to_owned() })
    }

    /// Has mirror `index` give a few stretches of what the first URL gave, unless it has.
    async fn check(&self, index: usize) -> Result<(), OriginError> {
        let Some(samples) =
            self.with(|state, _| state.standings.is_unproven(index).then(|| state.samples.some()))
        else {
            return Ok(());
        };
        let given = !samples.is_empty();
        let checks = samples.iter().map(|(at, bytes)| self.gives(index, *at, bytes));
        let checked = timeout(CHECK_PATIENCE, try_join_all(checks)).await;
        checked.map_err(|_| OriginError::Silent(CHECK_PATIENCE))??;
        if given {
            self.with(|state, _| state.standings.proven(index));
        }
        Ok(())
    }

    async fn gives(&self, index: usize, at: u64, bytes: &[u8]) -> Result<(), OriginError> {
        let range = ByteRange::new(at, at + bytes.len() as u64);
        let want = OriginGet { range, ..OriginGet::whole(self.urls[index].clone()) };
        let mut got = Vec::new();
        let mut body = self.others.get(&want).await?.bytes;
        while let Some(part) = body.next().await {
            got.extend_from_slice(&part?);
        }
        if got == bytes {
            return Ok(());
        }
        tracing::warn!(mirror = index, "a mirror has other bytes than the origin; it is dropped");
        Err(OriginError::Changed { what: "the mirror's bytes".to_owned() })
    }

    fn origin(&self, index: usize) -> &Arc<dyn Origin> {
        if index == 0 { &self.primary } else { &self.others }
    }

    fn with<T>(&self, then: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = Time::ZERO + self.started.elapsed();
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        then(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}
