//! A fixed list of contents and where they are.

use std::collections::BTreeMap;

use pcdn_core::async_trait;
use pcdn_core::id::{Rid, hash_field};
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};

use crate::canonical::Rules;

/// Maps the URLs it was given, and those below the trees it was given; all others are [`MapError::Unknown`].
///
/// URLs are compared in canonical form. Those of one RID are each other's mirrors, in the order given. A mirror's URL is the
/// tree's with the canonical rest of the path and query: credentials for one host are never sent to another.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rules: Rules,
    exact: BTreeMap<String, Rid>,
    trees: BTreeMap<String, Rid>,
    urls: BTreeMap<Rid, Vec<Url>>,
}

impl Table {
    /// Knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows that the content `rid` is at `url`.
    pub fn exact(mut self, url: Url, rid: Rid) -> Result<Self, MapError> {
        self.exact.insert(self.rules.canonical(&url)?.text, rid);
        self.urls.entry(rid).or_default().push(url);
        Ok(self)
    }

    /// Knows that the collection `rid` is below `tree`. Each URL below it is a content of its own, named by `rid` and the rest
    /// of the URL; of several trees that match, the longest holds. The tree's own query is ignored, and `/` added where its
    /// path does not end in one.
    pub fn tree(mut self, mut tree: Url, rid: Rid) -> Result<Self, MapError> {
        tree.set_query(None);
        tree.set_fragment(None);
        if !tree.path().ends_with('/') {
            tree.set_path(&format!("{}/", tree.path()));
        }
        self.trees.insert(self.rules.canonical(&tree)?.text, rid);
        self.urls.entry(rid).or_default().push(tree);
        Ok(self)
    }

    fn in_trees(&self, text: &str) -> Option<(Rid, String)> {
        let path_end = text.find('?').unwrap_or(text.len());
        let mut ends = text[..path_end].rmatch_indices('/').map(|(at, _)| at + 1);
        ends.find_map(|end| Some((*self.trees.get(&text[..end])?, text[end..].to_owned())))
    }

    /// The other URLs of `rid`, each with `rest` below it.
    fn mirrors(&self, rid: &Rid, rest: &str, own: &str) -> Vec<Url> {
        let all = self.urls.get(rid).into_iter().flatten();
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let below = all.map(|url| {
            let mut url = url.clone();
            if !rest.is_empty() {
                url.set_path(&format!("{}{path}", url.path()));
                url.set_query(query);
            }
            url
        });
        below.filter(|url| self.rules.canonical(url).is_ok_and(|canonical| canonical.text != own)).collect()
    }
}

#[async_trait]
impl Mapper for Table {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        let canonical = self.rules.canonical(url)?;
        let exact = self.exact.get(&canonical.text).map(|rid| (*rid, String::new()));
        let (base, rest) = exact.or_else(|| self.in_trees(&canonical.text)).ok_or(MapError::Unknown)?;
        let rid = if rest.is_empty() { base } else { member(&base, &rest) };
        let mirrors = self.mirrors(&base, &rest, &canonical.text);
        Ok(Mapping { mirrors, dropped: canonical.dropped, ..Mapping::to(rid, "table") })
    }
}

/// The content called `rest` within the collection `base`.
fn member(base: &Rid, rest: &str) -> Rid {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn rid of a collection's member v1");
    hash_field(&mut hasher, &base.0);
    hash_field(&mut hasher, rest.as_bytes());
    Rid(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILM: Rid = Rid([1; 32]);
    const SHOW: Rid = Rid([2; 32]);

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn table() -> Result<Table, MapError> {
        Table::new()
            .exact(url("http://a.example/film?cut=1"), FILM)?
            .exact(url("http://b.example/copy"), FILM)?
            .tree(url("http://a.example/show"), SHOW)?
            .tree(url("https://b.example/tv/show/"), SHOW)?
            .tree(url("http://a.example/show/inner/"), FILM)
    }

    async fn map(text: &str) -> Option<Mapping> {
        table().unwrap().map(&url(text)).await.ok()
    }

    #[tokio::test]
    async fn exact_urls_map_with_their_mirrors() {
        let film = map("https://a.example/film?token=x&cut=1").await.unwrap();
        assert_eq!(film.rid, FILM);
        assert_eq!(film.mirrors[0], url("http://b.example/copy"));
        assert!(map("http://a.example/film").await.is_none());
        assert!(map("http://c.example/film?cut=1").await.is_none());
    }

    #[tokio::test]
    async fn trees_map_each_member_alike_on_every_host() {
        let here = map("http://a.example/show/1/seg%201.ts?v=2&token=secret").await.unwrap();
        let there = map("http://b.example/tv/show/1/seg%201.ts?v=2").await.unwrap();
        let next = map("http://a.example/show/1/seg%202.ts?v=2").await.unwrap();
        assert_eq!(here.rid, there.rid);
        assert_ne!(here.rid, next.rid);
        assert_eq!(here.mirrors, [url("https://b.example/tv/show/1/seg%201.ts?v=2")]);
        assert_eq!(map("http://a.example/show/").await.unwrap().rid, SHOW);
        assert!(map("http://a.example/showing").await.is_none());
        assert!(map("http://a.example/?x=/show/").await.is_none());
        assert_ne!(
            map("http://a.example/show/inner/x").await.unwrap().rid,
            map("http://b.example/tv/show/inner/x").await.unwrap().rid
        );
    }
}
