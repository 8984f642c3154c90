//! What a segment is called: after its path [as seen from the manifest](crate::relative) and, only where paths do not tell
//! segments apart, after what else does.
//!
//! Host, scheme and port differ between mirrors, and queries hold tokens that differ between viewers; neither may part
//! viewers of the same bytes. In manifests seen in the wild the path alone is enough nearly always, so [`name_of`] needs not
//! read the manifest. Where it is not, [`Names`] finds the query parameters that vary between the segments of a manifest.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::LazyLock;

use pcdn_core::fragment::FragmentError;
use pcdn_core::id::hash_field;
use pcdn_core::layout::SegmentId;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::mpd::Mpd;
use super::walk::Scene;
use crate::relative::path_from;

/// Query parameters kept at most: a URL whose identity needs more is not known to exist.
pub const KEPT_MAX: usize = 16;

/// Parameters known to be signatures, tokens or sessions (lower case): they vary without telling anything of the content.
const SIGNATURES: [&str; 24] = [
    "__token__",
    "auth_key",
    "expires",
    "hash",
    "hdnea",
    "hdntl",
    "hdnts",
    "hls_ctx",
    "hmac",
    "key-pair-id",
    "policy",
    "session",
    "session_id",
    "sessionid",
    "sig",
    "sign",
    "signature",
    "st",
    "token",
    "txsecret",
    "txtime",
    "uuid",
    "wssecret",
    "wstime",
];

/// Begins every name. Kept, for hashing what separates names from other hashes takes as long as a name.
static HASHER: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("pcdn dash segment 1"));

/// The name of the segment at `url`, or at bytes `range` of it: right in every manifest whose paths tell segments apart,
/// before or without reading it. `manifest` is where it was found; `url` is resolved; fragment, host, scheme, port and query
/// of neither count.
///
/// ```
/// use pcdn_media::dash::name_of;
/// let name = |url: &str| name_of(&url.parse().unwrap(), &"https://a.test/v/all.mpd".parse().unwrap(), None);
/// assert_eq!(name("https://a.test/v/1.m4s?token=x"), name("http://b.test:8080/v/1.m4s"));
/// assert_ne!(name("https://a.test/v/1.m4s"), name("https://a.test/v/2.m4s"));
/// ```
pub fn name_of(url: &Url, manifest: &Url, range: Option<ByteRange>) -> SegmentId {
    Names { path: manifest.path().to_owned(), ..Names::default() }.name_of(url, range)
}

/// How the segments of one manifest are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Path of the manifest's own URL.
    path: String,
    /// Query parameters that count.
    kept: BTreeSet<String>,
}

impl Names {
    /// How the segments of the manifest `text`, which came from `url`, are named.
    ///
    /// # Errors
    /// If it is no manifest, or larger than the bounds of this module.
    pub fn of_document(text: &[u8], url: &Url) -> Result<Self, FragmentError> {
        Ok(Scene::new(Mpd::parse(text)?, url.clone(), None)?.names)
    }

    /// Names as seen from `path` instead of the manifest's own.
    pub(super) fn seen_from(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }

    /// The query parameters that count, mostly none.
    pub fn kept(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }

    /// The name of the segment at `url`, or at bytes `range` of it.
    pub fn name_of(&self, url: &Url, range: Option<ByteRange>) -> SegmentId {
        let mut hasher = HASHER.clone();
        hash_field(&mut hasher, path_from(&self.path, url.path()).as_bytes());
        if !self.kept.is_empty() {
            let mut query: Vec<_> =
                parameters(url.query()).filter(|(name, _)| self.kept.contains(*name)).collect();
            query.sort_unstable();
            for (name, value) in query {
                hash_field(&mut hasher, name.as_bytes());
                hash_field(&mut hasher, value.as_bytes());
            }
        }
        if let Some(range) = range {
            hasher.update(&range.start().to_be_bytes()).update(&range.end().to_be_bytes());
        }
        let first = *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes");
        SegmentId(u64::from_be_bytes(first))
    }
}

/// Finds [`Names`] by looking at the URLs of a manifest. Needs none if no URL has a query.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The query first seen with each path and range (their hash, which nobody else ever sees).
    seen: HashMap<u64, Option<String>>,
    varying: BTreeSet<String>,
    /// Some URLs differ in nothing but signatures.
    signatures_tell: bool,
}

impl Watch {
    pub(super) fn see(&mut self, url: &Url, range: Option<ByteRange>) {
        let query = url.query();
        let mut place = DefaultHasher::new();
        (url.path(), range).hash(&mut place);
        let first = match self.seen.entry(place.finish()) {
            Entry::Vacant(free) => {
                free.insert(query.map(str::to_owned));
                return;
            }
            Entry::Occupied(first) => first.into_mut(),
        };
        if first.as_deref() == query {
            return;
        }
        let one: BTreeSet<_> = parameters(first.as_deref()).collect();
        let two: BTreeSet<_> = parameters(query).collect();
        let mut differing = one.symmetric_difference(&two).map(|(name, _)| *name).peekable();
        let mut only_signatures = differing.peek().is_some();
        for name in differing {
            only_signatures &= is_signature(name);
            if self.varying.len() < KEPT_MAX {
                self.varying.insert(name.to_owned());
            }
        }
        self.signatures_tell |= only_signatures;
    }

    /// For a manifest at `path`.
    pub(super) fn names(self, path: &str) -> Names {
        let mut kept = self.varying;
        if !self.signatures_tell {
            kept.retain(|name| !is_signature(name));
        }
        Names { path: path.to_owned(), kept }
    }
}

fn is_signature(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SIGNATURES.contains(&name.as_str()) || name.starts_with("x-amz-") || name.starts_with("x-goog-")
}

/// Names and values as written.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(urls: &[&str]) -> Names {
        let mut watch = Watch::default();
        for url in urls {
            watch.see(&url.parse().unwrap(), None);
        }
        watch.names("/m.mpd")
    }

    fn check(urls: &[&str], want: &[&str]) {
        assert_eq!(names(urls).kept().collect::<Vec<_>>(), want, "{urls:?}");
    }

    #[test]
    fn only_what_tells_segments_apart_is_kept() {
        check(&["http://a/1?token=x", "http://a/2?token=y"], &[]);
        check(&["http://a/s?n=1&v=3&token=x", "http://a/s?n=2&v=3&token=y"], &["n"]);
        check(&["http://a/s?n=1", "http://b/s?n=1"], &[]);
        check(&["http://a/s?token=x", "http://a/s?token=y"], &["token"]);
        check(&["http://a/s", "http://a/s?itag=1"], &["itag"]);
        check(&["http://a/s?a=1&b=2", "http://a/s?b=2&a=1"], &[]);
    }

    #[test]
    fn kept_parameters_count_in_any_order_and_others_do_not() {
        let names = names(&["http://a/s?n=1", "http://a/s?n=2"]);
        let name = |url: &str| names.name_of(&url.parse().unwrap(), None);
        assert_eq!(name("http://a/s?n=1&u=7"), name("https://b:1/s?u=8&n=1#t"));
        assert_ne!(name("http://a/s?n=1"), name("http://a/s?n=2"));
    }

    /// Only where no URL has a query are they not looked at one by one.
    #[test]
    fn a_query_anywhere_in_the_manifest_is_seen() {
        let kept = |one: &str, two: &str| {
            let list = |urls: &str| {
                let urls = urls.split(' ').map(|url| format!("<SegmentURL media='{url}'/>"));
                format!(
                    "<Representation><SegmentList>{}</SegmentList></Representation>",
                    urls.collect::<String>()
                )
            };
            let text =
                format!("<MPD><Period><AdaptationSet>{}{two}</AdaptationSet></Period></MPD>", list(one));
            let names = Names::of_document(text.as_bytes(), &"http://a/m.mpd?u=1".parse().unwrap()).unwrap();
            names.kept().map(str::to_owned).collect::<Vec<_>>()
        };
        let template = |id: &str| {
            let template = "<SegmentTemplate duration='4' media='$RepresentationID$'/>";
            format!("<Representation id='{id}'>{template}</Representation>")
        };
        assert_eq!(kept("1.ts 2.ts", &template("2.ts")), [] as [&str; 0]);
        assert_eq!(kept("1.ts 2.ts", &template("2.ts?itag=1")), ["itag"]);
        assert_eq!(kept("1.ts 2.ts?itag=1 ./2.ts", ""), ["itag"]);
        let file = "<Representation><BaseURL>v?u=1</BaseURL><SegmentList><SegmentURL/></SegmentList></Representation>";
        assert_eq!(kept("1.ts v", file), ["u"]);
    }

    #[test]
    fn ranges_are_part_of_the_name() {
        let url: Url = "http://a/v.mp4".parse().unwrap();
        let name = |range| name_of(&url, &"http://a/m.mpd".parse().unwrap(), range);
        assert_ne!(name(None), name(ByteRange::new(0, 10)));
        assert_ne!(name(ByteRange::new(0, 10)), name(ByteRange::new(0, 11)));
    }

    /// Peers meet by these numbers: a change of them parts all nodes from older ones and must be meant.
    #[test]
    fn the_name_of_a_url_stays() {
        assert_eq!(
            name_of(
                &"http://a.test/v/1.m4s".parse().unwrap(),
                &"http://a.test/v/m.mpd".parse().unwrap(),
                None
            ),
            SegmentId(22_717_955_263_436_526)
        );
    }
}
