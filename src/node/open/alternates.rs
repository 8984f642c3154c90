//! The URLs under which viewers of this node were given one content.
//!
//! Viewers' own URLs (tokens, sessions) meet in one swarm, which fetches by the URL it was opened with. When the origin refuses that
//! one, because its token has expired, the content is still to be had by the URL that another viewer came with a moment ago.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pcdn_core::error::Judged as _;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::resource::{ResourceHead, Url};

/// URLs of one content that are remembered. Of viewers that come one after another the last ones' tokens are good for longest;
/// each costs one request when it is refused.
const URLS_MAX: usize = 4;

/// An origin that is asked for one content by whichever of its URLs it does not refuse.
#[derive(Debug)]
pub(in crate::node) struct Alternates {
    origin: Arc<dyn Origin>,
    /// The one the swarm knows, in whose place others are asked for.
    own: Url,
    /// The one that is asked first comes first. Never empty.
    urls: Mutex<Vec<Url>>,
    /// None of them was good the last time.
    refused: AtomicBool,
}

impl Alternates {
    /// `origin`, which gives the content at `own`.
    pub(in crate::node) fn over(origin: Arc<dyn Origin>, own: Url) -> Self {
        Self { origin, urls: Mutex::new(vec![own.clone()]), own, refused: AtomicBool::new(false) }
    }

    /// The origin has just given the very same content at `url`, too.
    pub(in crate::node) fn admit(&self, url: &Url) {
        let mut urls = self.urls();
        if urls.contains(url) {
            return;
        }
        if urls.len() >= URLS_MAX
            && let Some(oldest) = urls.iter().position(|known| *known != self.own)
        {
            urls.remove(oldest);
        }
        urls.push(url.clone());
    }

    /// Whether the origin refused the content by every URL when it was last asked. Who comes with another one begins anew.
    pub(in crate::node) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whom to ask for `url`.
    fn candidates(&self, url: &Url) -> Vec<Url> {
        if *url == self.own { self.urls().clone() } else { vec![url.clone()] }
    }

    /// Whether another URL may do better after `error`; this one is asked last from now on.
    fn is_refusal(&self, url: &Url, error: &OriginError) -> bool {
        if !matches!(error, OriginError::Status { status: 401 | 403 | 404 | 410, .. }) {
            return false;
        }
        let mut urls = self.urls();
        if let Some(at) = urls.iter().position(|known| known == url) {
            let refused = urls.remove(at);
            urls.push(refused);
        }
        true
    }

    /// Remembers how asking for `url` ended.
    fn judged<T>(&self, url: &Url, result: Result<T, OriginError>) -> Result<T, OriginError> {
        let refused = matches!(&result, Err(error @ OriginError::Status { .. }) if !error.transient());
        if *url == self.own && (refused || result.is_ok()) {
            self.refused.store(refused, Ordering::Relaxed);
        }
        result
    }

    fn urls(&self) -> MutexGuard<'_, Vec<Url>> {
        // Whoever panicked with it left it whole.
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Origin for Alternates {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        self.origin.head(url).await
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        let mut last = None;
        for at in self.candidates(url) {
            match self.origin.confirm(&at, known).await {
                Err(error) if self.is_refusal(&at, &error) => last = Some(error),
                answer => return answer,
            }
        }
        Err(last.expect("one is asked at least"))
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let mut last = None;
        for at in self.candidates(&want.url) {
            let asked = OriginGet { url: at, ..want.clone() };
            match self.origin.get(&asked).await {
                Err(error) if self.is_refusal(&asked.url, &error) => last = Some(error),
                answer => return self.judged(&want.url, answer),
            }
        }
        self.judged(&want.url, Err(last.expect("one is asked at least")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;

    /// Gives to who comes with a good token, and counts who is asked.
    #[derive(Debug, Default)]
    struct Site {
        good: Mutex<BTreeSet<String>>,
        asked: Mutex<Vec<String>>,
    }

    impl Site {
        fn accept(&self, tokens: &[&str]) {
            *self.good.lock().unwrap() = tokens.iter().map(|token| (*token).to_owned()).collect();
        }
        fn asked(&self) -> String {
            std::mem::take(&mut *self.asked.lock().unwrap()).join(" ")
        }
        fn ask(&self, url: &Url) -> Result<ResourceHead, OriginError> {
            let token = url.query().unwrap_or_default().to_owned();
            self.asked.lock().unwrap().push(token.clone());
            match self.good.lock().unwrap().contains(&token) {
                true => Ok(ResourceHead { len: Some(3), ranges: true, ..ResourceHead::default() }),
                false => Err(OriginError::Status { status: 403, retry_after: None }),
            }
        }
    }

    #[async_trait]
    impl Origin for Site {
        async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
            self.ask(url)
        }
        async fn confirm(&self, url: &Url, _: &ResourceHead) -> Result<ResourceHead, OriginError> {
            self.ask(url)
        }
        async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
            let bytes = futures_util::stream::iter([Ok(Bytes::from_static(b"abc"))]);
            Ok(OriginBody { head: self.ask(&want.url)?, bytes: Box::pin(bytes) })
        }
    }

    fn url(token: &str) -> Url {
        format!("http://cdn.example/film?{token}").parse().unwrap()
    }

    fn begin(tokens: &[&str]) -> (Arc<Site>, Alternates, OriginGet) {
        let site = Arc::new(Site::default());
        site.accept(tokens);
        (site.clone(), Alternates::over(site, url("a")), OriginGet::whole(url("a")))
    }

    #[tokio::test]
    async fn an_expired_token_is_followed_by_the_one_that_came_last() {
        let (site, alternates, want) = begin(&["a", "b"]);
        alternates.admit(&url("b"));
        assert!(alternates.get(&want).await.is_ok());
        assert_eq!(site.asked(), "a");
        site.accept(&["b"]);
        assert!(alternates.get(&want).await.is_ok() && !alternates.is_refused());
        assert_eq!(site.asked(), "a b");
        assert!(
            alternates.get(&want).await.is_ok()
                && alternates.confirm(&url("a"), &ResourceHead::default()).await.is_ok()
        );
        assert_eq!(site.asked(), "b b", "what was refused is not asked again first");
    }

    #[tokio::test]
    async fn what_is_refused_by_every_url_is_known_to_be_until_it_is_given() {
        let (site, alternates, want) = begin(&[]);
        alternates.admit(&url("b"));
        assert!(alternates.get(&want).await.is_err() && alternates.is_refused());
        assert_eq!(site.asked(), "a b");
        site.accept(&["a"]);
        assert!(alternates.get(&want).await.is_ok() && !alternates.is_refused());
    }

    #[tokio::test]
    async fn few_urls_are_remembered_and_the_swarms_own_always() {
        let (site, alternates, want) = begin(&[]);
        ["b", "c", "d", "e", "e", "f"].iter().for_each(|token| alternates.admit(&url(token)));
        assert!(alternates.get(&want).await.is_err());
        assert_eq!(site.asked(), "a d e f");
    }

    #[tokio::test]
    async fn other_resources_are_asked_for_as_they_are() {
        let (site, alternates, _) = begin(&["a"]);
        alternates.admit(&url("b"));
        assert!(alternates.get(&OriginGet::whole(url("x"))).await.is_err() && !alternates.is_refused());
        assert_eq!(site.asked(), "x");
    }
}
