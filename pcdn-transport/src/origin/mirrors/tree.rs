//! Mirrors of a whole tree: of a playlist and what it lists.

use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::async_trait;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::resource::{ResourceHead, Url};

use super::Mirrors;

/// Files whose mirrors are at hand, those used last: a player is at a few segments of a few renditions at a time.
const OPEN_MAX: usize = 32;

/// An [`Origin`] for what lies in the directory of a URL that has mirrors: each file there is expected under the same name in the
/// directories of those. Requests for other URLs pass through.
///
/// Each file is fetched as by [`Mirrors`]. What is known of a place (how it fails, how fast it is, that it has the same bytes) goes
/// from one file to the next, so a dead place is found out once. A file's query is not sent to mirrors: it may hold a token.
#[derive(Debug)]
pub struct MirroredTree {
    primary: Arc<dyn Origin>,
    others: Arc<dyn Origin>,
    from: Url,
    to: Vec<Url>,
    /// The one used last is the last.
    open: Mutex<Vec<(Url, Mirrors)>>,
}

impl MirroredTree {
    /// The directory of `url`, fetched by `primary`, with the directories of `mirrors`, fetched by `others`. `None` if no mirror is
    /// a file of the same name.
    pub fn new(
        primary: Arc<dyn Origin>,
        others: Arc<dyn Origin>,
        url: &Url,
        mirrors: &[Url],
    ) -> Option<Self> {
        let name = |url: &Url| url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_owned));
        let alike = mirrors.iter().filter(|mirror| name(mirror) == name(url));
        let to: Vec<Url> = alike.filter_map(directory).collect();
        let from = directory(url).filter(|_| !to.is_empty())?;
        Some(Self { primary, others, from, to, open: Mutex::default() })
    }

    fn mirrors(&self, url: &Url) -> Option<Mirrors> {
        let rest =
            url.path().strip_prefix(self.from.path()).filter(|_| url.origin() == self.from.origin())?;
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match open.iter().position(|(known, _)| known == url) {
            Some(at) => open.remove(at).1,
            None => {
                let below = |directory: &Url| {
                    let mut place = directory.clone();
                    place.set_path(&format!("{}{rest}", directory.path()));
                    place
                };
                let places = self.to.iter().map(below).collect();
                let (own, others) = (self.primary.clone(), self.others.clone());
                let new = Mirrors::new(own, others, url.clone(), places);
                match open.last() {
                    Some((_, before)) => new.after(before),
                    None => new,
                }
            }
        };
        if open.len() >= OPEN_MAX {
            open.remove(0);
        }
        open.push((url.clone(), found.clone()));
        Some(found)
    }
}

/// Where `url` lies, without its query.
fn directory(url: &Url) -> Option<Url> {
    url.join(".").ok()
}

#[async_trait]
impl Origin for MirroredTree {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        match self.mirrors(url) {
            Some(mirrors) => mirrors.head(url).await,
            None => self.primary.head(url).await,
        }
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        match self.mirrors(url) {
            Some(mirrors) => mirrors.confirm(url, known).await,
            None => self.primary.confirm(url, known).await,
        }
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        match self.mirrors(&want.url) {
            Some(mirrors) => mirrors.get(want).await,
            None => self.primary.get(want).await,
        }
    }
}
