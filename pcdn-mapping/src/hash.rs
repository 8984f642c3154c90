//! The mapper that needs nothing: the RID is the hash of the canonical URL.

use pcdn_core::async_trait;
use pcdn_core::id::{Rid, hash_field};
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};

use crate::canonical::{Canonical, Rules};

/// Maps every http(s) URL, offline and the same on every node with the same settings.
///
/// `rid = BLAKE3-derive_key("pcdn rid v1", LP(namespace) LP("url") LP(canonical))`, where LP is a field after its length as
/// eight big-endian bytes. `tests/vectors/urls.json` has vectors for other implementations.
#[derive(Clone, Debug, Default)]
pub struct UrlHash {
    rules: Rules,
    namespace: String,
}

impl UrlHash {
    /// Leaves out known credentials and tracking, keeps every other parameter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the whole query.
    pub fn ignoring_query() -> Self {
        Self::with(Rules::default().ignoring_query())
    }

    /// Leaves out all query parameters but `names`.
    pub fn keep_only<I: IntoIterator<Item = S>, S: Into<String>>(names: I) -> Self {
        Self::with(Rules::default().keep_only(names))
    }

    /// Makes URLs canonical by `rules`.
    pub fn with(rules: Rules) -> Self {
        Self { rules, namespace: String::new() }
    }

    /// Sets the namespace: nodes of different ones never meet, and without its text nobody can tell which URL an RID is of.
    /// Default empty.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Leaves out the parameters `names` too.
    pub fn also_drop<I: IntoIterator<Item = S>, S: Into<String>>(mut self, names: I) -> Self {
        self.rules = self.rules.also_drop(names);
        self
    }

    /// Calls hosts that match the glob `hosts` by the name `logical`; see [`Rules::alias`].
    pub fn alias(mut self, hosts: impl Into<String>, logical: impl Into<String>) -> Self {
        self.rules = self.rules.alias(hosts, logical);
        self
    }

    /// The canonical form that is hashed.
    pub fn canonical(&self, url: &Url) -> Result<Canonical, MapError> {
        self.rules.canonical(url)
    }

    /// The content at `url`, without waiting for anything.
    pub fn rid(&self, url: &Url) -> Result<Rid, MapError> {
        Ok(rid_of(&self.namespace, "url", &self.canonical(url)?.text))
    }
}

#[async_trait]
impl Mapper for UrlHash {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        let Canonical { text, dropped } = self.canonical(url)?;
        Ok(Mapping { dropped, ..Mapping::to(rid_of(&self.namespace, "url", &text), "url") })
    }
}

/// Names a content by a text of some kind; kinds never collide.
pub(crate) fn rid_of(namespace: &str, kind: &str, text: &str) -> Rid {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn rid v1");
    for field in [namespace, kind, text] {
        hash_field(&mut hasher, field.as_bytes());
    }
    Rid(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn settings_decide_what_is_one_content() {
        let (a, b) = (url("http://h.example/f?q=1&lang=de"), url("http://h.example/f?q=2&lang=de"));
        let same = |mapper: UrlHash| mapper.rid(&a).unwrap() == mapper.rid(&b).unwrap();
        assert!(!same(UrlHash::new()));
        assert!(same(UrlHash::ignoring_query()));
        assert!(same(UrlHash::keep_only(["lang"])));
        assert!(!same(UrlHash::keep_only(["q"])));
        assert!(same(UrlHash::new().also_drop(["Q"])));
    }

    #[test]
    fn namespaces_and_kinds_never_meet() {
        let url = url("http://h.example/f");
        assert_ne!(UrlHash::new().rid(&url).unwrap(), UrlHash::new().namespace("n").rid(&url).unwrap());
        assert_ne!(rid_of("ab", "url", "c"), rid_of("a", "url", "bc"));
        assert_ne!(rid_of("", "url", "c"), rid_of("", "key", "c"));
    }

    #[test]
    fn aliased_hosts_are_one_origin() {
        let mapper = UrlHash::new().alias("*.cdn-a.example", "films").alias("cdn-b.example", "films");
        let rid = |text| mapper.rid(&url(text)).unwrap();
        assert_eq!(rid("http://e1.cdn-a.example/f"), rid("https://cdn-b.example/f"));
        assert_ne!(rid("http://e1.cdn-a.example/f"), rid("https://cdn-b.example:8443/f"));
        assert_ne!(rid("http://e1.cdn-a.example/f"), rid("https://cdn-c.example/f"));
    }
}
