//! What every [`Mapper`] must do: name a content alike for everybody, and never two contents alike.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Rid;
use crate::mapping::{MapError, Mapper};
use crate::resource::{Mapping, Url};

/// Asserts the contract. `make` gives equally configured mappers, as two nodes would have them. Every group of `contents` has
/// URLs of one content that the mapper must recognise as such; different groups are different contents.
///
/// # Panics
/// With the clause that is broken.
pub async fn mapper<M: Mapper>(make: impl Fn() -> M, contents: &[&[&str]]) {
    let (one, two) = (make(), make());
    let mut names: BTreeMap<Rid, usize> = BTreeMap::new();
    for (group, urls) in contents.iter().enumerate() {
        for text in *urls {
            let mapping = known(&one, text).await;
            assert_eq!(mapping.rid, known(&one, text).await.rid, "{text}: asked twice, named alike");
            assert_eq!(mapping.rid, known(&two, text).await.rid, "{text}: equal mappers name it alike");
            let other = *names.entry(mapping.rid).or_insert(group);
            assert_eq!(other, group, "{text}: two contents must never have one name");
            is_usable(&url(text), &mapping);
        }
    }
    assert_eq!(names.len(), contents.len(), "all URLs of one content must have one name");
    what_is_no_content_is_refused(&one).await;
}

fn is_usable(url: &Url, mapping: &Mapping) {
    assert!(!mapping.by.is_empty(), "{url}: a mapping must say who decided");
    assert!(mapping.valid_for > Duration::ZERO, "{url}: a mapping must hold for a while");
    for mirror in &mapping.mirrors {
        assert_ne!(mirror, url, "mirrors are other URLs than the one asked for");
        assert!(matches!(mirror.scheme(), "http" | "https"), "{mirror}: a mirror must be fetchable");
    }
}

async fn what_is_no_content_is_refused<M: Mapper>(mapper: &M) {
    for text in ["data:text/plain,x", "file:///etc/hostname", "mailto:someone@h.example"] {
        let refused = matches!(mapper.map(&url(text)).await, Err(MapError::NotHttp(_) | MapError::Unknown));
        assert!(refused, "{text}: what cannot be fetched over http(s) must be NotHttp or Unknown");
    }
}

async fn known<M: Mapper>(mapper: &M, text: &str) -> Mapping {
    mapper.map(&url(text)).await.unwrap_or_else(|error| panic!("{text} must be mapped: {error}"))
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{text} is no URL: {error}"))
}
