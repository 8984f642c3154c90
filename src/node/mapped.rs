//! What a mapper's answer names beside the content: further places of it, and where its viewers meet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::discovery::Discovery;
use pcdn_core::origin::Origin;
use pcdn_core::resource::{Generations, Mapping, Url};
use pcdn_transport::origin::{MirroredTree, Mirrors};

use super::Shared;

/// Trackers used of one answer: a peer announces itself to each of them.
const TRACKERS_MAX: usize = 4;
/// Trackers a node ever uses because a mapper named them; a mapper that names a new one for every content is wrong, or bad.
const NAMES_MAX: usize = 64;

/// Makes a way to find peers of a tracker's address, or does not want it.
type Make = dyn Fn(&str) -> Option<Arc<dyn Discovery>> + Send + Sync;

/// The trackers that mappers named.
pub(crate) struct NamedTrackers {
    make: Box<Make>,
    made: Mutex<BTreeMap<String, Option<Arc<dyn Discovery>>>>,
}

impl NamedTrackers {
    pub(super) fn new(make: impl Fn(&str) -> Option<Arc<dyn Discovery>> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), made: Mutex::default() }
    }

    fn all(&self, named: &[String]) -> Vec<Arc<dyn Discovery>> {
        let mut all: Vec<Arc<dyn Discovery>> = Vec::new();
        for name in named.iter().take(TRACKERS_MAX) {
            let tracker = self.one(name);
            let is_new = |tracker: &Arc<dyn Discovery>| !all.iter().any(|other| Arc::ptr_eq(other, tracker));
            all.extend(tracker.filter(is_new));
        }
        all
    }

    fn one(&self, name: &str) -> Option<Arc<dyn Discovery>> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(name) {
            return known.clone();
        }
        if made.len() >= NAMES_MAX {
            return None;
        }
        let tracker = (self.make)(name);
        made.insert(name.to_owned(), tracker.clone());
        tracker
    }
}

impl fmt::Debug for NamedTrackers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedTrackers")
    }
}

impl Shared {
    /// Where the content at `url` comes from: its own URL, and the mapper's others when that fails. Those get no credentials.
    pub(super) fn origin_of(&self, url: &Url, mapping: &Mapping) -> Arc<dyn Origin> {
        if mapping.mirrors.is_empty() {
            return self.origin.clone();
        }
        let (own, others) = (self.origin.clone(), self.elsewhere.clone());
        let same_tags = mapping.generations == Generations::ByTag;
        Arc::new(Mirrors::new(own, others, url.clone(), mapping.mirrors.clone()).same_tags(same_tags))
    }

    /// Where what the playlist at `url` lists comes from.
    pub(super) fn origin_of_tree(&self, url: &Url, mapping: &Mapping) -> Arc<dyn Origin> {
        let (own, others) = (self.origin.clone(), self.elsewhere.clone());
        match MirroredTree::new(own, others, url, &mapping.mirrors) {
            Some(tree) => Arc::new(tree),
            None => self.origin.clone(),
        }
    }

    /// Who is asked for its peers: this node's own, and then those that the mapper names.
    pub(super) fn discoveries_of(&self, mapping: &Mapping) -> Vec<Arc<dyn Discovery>> {
        let named = self.named_trackers.as_ref().map(|named| named.all(&mapping.trackers));
        self.discoveries.iter().cloned().chain(named.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use pcdn_core::discovery::MockDiscovery;

    use super::*;

    #[test]
    fn each_name_is_made_once_and_both_bounds_hold() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let named = NamedTrackers::new(move |name| {
            log.lock().unwrap().push(name.to_owned());
            (!name.starts_with("bad")).then(|| Arc::new(MockDiscovery::new()) as Arc<dyn Discovery>)
        });
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(named.all(&names(&["a:1", "bad:1", "b:1", "a:1", "e:1"])).len(), 2);
        assert_eq!(named.all(&names(&["b:1", "bad:1"])).len(), 1);
        assert_eq!(*asked.lock().unwrap(), ["a:1", "bad:1", "b:1"]);
        for n in 0..200 {
            named.all(&[format!("t{n}:1")]);
        }
        assert_eq!(asked.lock().unwrap().len(), NAMES_MAX);
    }
}
