//! The golden vectors hold: other implementations build on them, and a change of any splits every swarm.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use pcdn_core::id::Rid;
use pcdn_core::resource::{Generations, Mapping, ResourceHead, Url};
use pcdn_mapping::{Canonical, Template, UrlHash, canonical};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct OfUrl {
    url: Url,
    canonical: String,
    rid: Rid,
    dropped: Vec<String>,
}

fn urls() -> Vec<OfUrl> {
    serde_json::from_str(include_str!("vectors/urls.json")).unwrap()
}

#[test]
fn urls_have_their_canonical_text_and_name() {
    for OfUrl { url, canonical: text, rid, dropped } in urls() {
        assert_eq!(canonical(&url).unwrap(), Canonical { text, dropped }, "{url}");
        assert_eq!(UrlHash::new().rid(&url).unwrap(), rid, "{url}");
    }
}

#[derive(Deserialize)]
struct OfRules {
    file: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    url: Url,
    rule: String,
    rid: Rid,
    dropped: Vec<String>,
    ask: bool,
    generation: Generations,
    source: Option<Url>,
}

#[test]
fn rules_decide_alike_in_toml_and_json() {
    let files: Vec<OfRules> = serde_json::from_str(include_str!("vectors/rules.json")).unwrap();
    for OfRules { file, cases } in files {
        let tree: toml::Table = toml::from_str(&file).unwrap();
        for text in [file, serde_json::to_string(&tree).unwrap()] {
            let rules = Template::parse("rules", &text).unwrap();
            cases.iter().for_each(|case| check(&rules, case));
        }
    }
}

fn check(rules: &Template, case: &Case) {
    let (url, got) = (&case.url, rules.decide(&case.url).unwrap());
    assert_eq!(got.mapping.by, format!("template rule {}", case.rule), "{url}");
    assert_eq!(got.mapping.rid, case.rid, "{url}");
    assert_eq!(got.mapping.dropped, case.dropped, "{url}");
    assert_eq!(got.mapping.generations, case.generation, "{url}");
    assert_eq!(got.ask, case.ask, "{url}");
    if let Some(source) = &case.source {
        assert_eq!(got.source, *source, "{url}");
    }
}

#[derive(Deserialize)]
struct Apart {
    why: String,
    file: Option<String>,
    contents: Vec<Vec<Url>>,
}

impl Apart {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("vectors/apart.json")).unwrap()
    }

    fn rid(&self, url: &Url) -> Rid {
        match &self.file {
            Some(file) => Template::parse("rules", file).unwrap().decide(url).unwrap().mapping.rid,
            None => UrlHash::new().rid(url).unwrap(),
        }
    }
}

#[test]
fn urls_of_one_content_meet_and_two_contents_never_do() {
    for set in Apart::all() {
        let mut names = BTreeMap::new();
        for (content, urls) in set.contents.iter().enumerate() {
            for url in urls {
                let other = *names.entry(set.rid(url)).or_insert(content);
                assert_eq!(other, content, "{}: {url} meets another content", set.why);
            }
        }
        assert_eq!(names.len(), set.contents.len(), "{}: one content has two names", set.why);
    }
}

#[derive(Deserialize)]
struct Generation {
    rid: Rid,
    generation: Generations,
    length: Option<u64>,
    validator: Option<String>,
    want: Rid,
}

#[test]
fn generations_have_their_names() {
    let all: Vec<Generation> = serde_json::from_str(include_str!("vectors/generations.json")).unwrap();
    for one in all {
        let head = ResourceHead { len: one.length, validator: one.validator, ..ResourceHead::default() };
        let mapping = Mapping { generations: one.generation, ..Mapping::to(one.rid, "vector") };
        assert_eq!(mapping.rid_of(&head), one.want, "{:?} {head:?}", one.generation);
    }
}

/// A URL of the vectors, which one it is, and what a viewer's CDN may do to it without it becoming another content.
fn disguised(at: prop::sample::Index, secret: &str, order: u64, fragment: &str) -> (usize, Url, Url) {
    let urls = urls();
    let at = at.index(urls.len());
    let own = urls[at].url.clone();
    let mut pairs: Vec<String> = own
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(str::to_owned)
        .collect();
    pairs.push(format!("X-Amz-Signature={secret}"));
    pairs.push(format!("auth_key={secret}"));
    pairs.push(format!("utm_campaign={secret}"));
    pcdn_core::dice::Dice::new(order).shuffle(&mut pairs);
    let mut url = own.clone();
    url.set_query(Some(&pairs.join("&")));
    url.set_fragment(Some(fragment));
    (at, own, url)
}

proptest! {
    /// Over all vectors: no token, no order, no fragment makes a content another, nor one of the others.
    #[test]
    fn disguises_change_nothing_and_make_nobody_else(
        at: prop::sample::Index, secret in "[A-Za-z0-9]{16,24}", order: u64, fragment in "[a-z=0-9]{0,6}"
    ) {
        let (at, own, url) = disguised(at, &secret, order, &fragment);
        let (plain, got) = (canonical(&own).unwrap().text, canonical(&url).unwrap().text);
        prop_assert_eq!(&got, &plain, "{}", url);
        prop_assert!(!got.contains(&secret));
        for other in urls() {
            prop_assert_eq!(other.canonical == got, other.canonical == plain, "{} {}", at, other.url);
        }
        // A second time changes nothing.
        let again = got.replacen("http(s)", "https", 1).parse().unwrap();
        prop_assert_eq!(canonical(&again).unwrap().text, got);
    }
}
