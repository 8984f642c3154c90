//! The number of a segment: what two viewers of one stream agree on though they see it through different hosts, with
//! different tokens, and joined at different moments.
//!
//! It is a hash of
//!
//! 1. the **path** of the segment's URL, [as seen from the playlist](crate::relative). Scheme, host, port and fragment never
//!    count, unless nothing else tells two URLs of the playlist apart;
//! 2. where several URLs of the playlist have the same path, the **query parameters that differ** among those, except those
//!    [known to sign](SIGNATURES). Servers that give each viewer a random constant on every segment (SRS: `hls_ctx`) are
//!    harmless so, and `seg.php?id=7&token=…` is told from `id=8`. If that is not enough, all differing parameters; then the
//!    query as it is written; then the origin too;
//! 3. the **byte range**, if there is one;
//! 4. the **program date time**, if *every* segment of the playlist carries its own. A restarted packager reuses paths and
//!    media sequence numbers, and the date tells its new `seg0.ts` from the old. A date on some segments only is of no use:
//!    which ones carry it depends on the window, so on when a viewer joined.
//!
//! Never the media sequence number: it restarts with the packager and differs between redundant ones.
//!
//! Rule 2 looks at a window, so two viewers can disagree while the window of one holds fewer than two segments of a common
//! path. They then just do not find each other's segment. If the hashes of two names were equal, the later segment would not
//! be listed, and be fetched from the origin alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use pcdn_core::id::hash_field;
use pcdn_core::layout::SegmentId;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;
use url::Position;

use super::model::{Media, Segment};
use crate::relative::path_from;

/// Query parameters that sign, date or count a request, in lower case. Only looked at where paths are not enough.
pub const SIGNATURES: [&str; 36] = [
    "token",
    "access_token",
    "auth",
    "auth_key",
    "auth_token",
    "authkey",
    "sig",
    "sign",
    "signature",
    "hmac",
    "hash",
    "md5",
    "expires",
    "expire",
    "exp",
    "e",
    "st",
    "policy",
    "key-pair-id",
    "hdnea",
    "hdnts",
    "hdntl",
    "wssecret",
    "wstime",
    "wsabstime",
    "txsecret",
    "txtime",
    "hls_ctx",
    "session",
    "sessionid",
    "session_id",
    "sid",
    "x-amz-signature",
    "x-amz-date",
    "x-amz-security-token",
    "x-goog-signature",
];
/// Parameters of a query that are told apart; above that the query counts as it is written. Players' URLs have about ten.
const PARAMETERS_MAX: usize = 64;
const CONTEXT: &str = "pcdn hls segment 1";

/// How much of its URL names a segment whose path does not; each stage tells more apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Content,
    Varying,
    Query,
    Origin,
}

/// The URLs of one path, where there are several.
#[derive(Debug, Default)]
struct Group<'m> {
    urls: Vec<&'m Url>,
    texts: HashSet<&'m str>,
    /// Names of the parameters that count, sorted.
    parameters: Vec<&'m str>,
}

/// Names for everything a media playlist lists.
#[derive(Debug)]
pub struct Names<'m> {
    groups: Vec<(Group<'m>, Stage)>,
    /// For each segment the group of its URL, and that of its map. Empty if there are no groups, as there mostly are none.
    places: Vec<[Option<usize>; 2]>,
    hasher: blake3::Hasher,
    media: &'m Media,
}

impl<'m> Names<'m> {
    /// Looks through the playlist for what its names need.
    pub fn of(media: &'m Media) -> Self {
        let mut paths = Paths { rising: Vec::with_capacity(media.segments.len()), ..Paths::default() };
        let mut last = [None; 2];
        let urls = |segment: &'m Segment| [Some(&segment.url), segment.map.as_ref().map(|map| &map.url)];
        for segment in &media.segments {
            for (last, url) in last.iter_mut().zip(urls(segment)) {
                // Films in byte ranges name one URL for ever.
                if *last != url {
                    *last = url;
                    url.into_iter().for_each(|url| paths.add(url));
                }
            }
        }
        let place = |url: Option<&Url>| paths.get(url?.path())?.1;
        let grouped = media.segments.iter().filter(|_| !paths.groups.is_empty());
        let places = grouped.map(|segment| urls(segment).map(place)).collect();
        let groups = paths.groups.into_iter().map(Group::settle).collect();
        Self { groups, places, hasher: blake3::Hasher::new_derive_key(CONTEXT), media }
    }

    /// The number of the segment at `index` of the playlist's segments.
    pub fn segment(&self, index: usize) -> Option<SegmentId> {
        let segment = self.media.segments.get(index)?;
        let date = segment.program_date_time.filter(|_| self.media.dated);
        Some(self.name(&segment.url, self.place(index, 0), segment.range, date))
    }

    /// The number of the initialisation segment of the segment at `index`. Has no date: one serves many segments.
    pub fn map(&self, index: usize) -> Option<SegmentId> {
        let map = self.media.segments.get(index)?.map.as_ref()?;
        Some(self.name(&map.url, self.place(index, 1), map.range, None))
    }

    fn place(&self, index: usize, which: usize) -> Option<usize> {
        self.places.get(index)?[which]
    }

    fn name(
        &self,
        url: &Url,
        place: Option<usize>,
        range: Option<ByteRange>,
        date: Option<i64>,
    ) -> SegmentId {
        let mut hasher = self.hasher.clone();
        hash_field(&mut hasher, path_from(&self.media.path, url.path()).as_bytes());
        let group = place.and_then(|place| self.groups.get(place));
        let words = group.map(|(group, stage)| group.words(url, *stage)).unwrap_or_default();
        hash_field(&mut hasher, words.as_bytes());
        let [start, end] = range.map_or([0; 2], |range| [range.start(), range.end()]).map(u64::to_be_bytes);
        hasher.update(&start).update(&end);
        if let Some(date) = date {
            hasher.update(&date.to_be_bytes());
        }
        let hash = hasher.finalize();
        let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
        SegmentId(u64::from_be_bytes(*first))
    }
}

/// The first URL of each path, and the group of the path once there is a second.
#[derive(Debug, Default)]
struct Paths<'m> {
    /// Paths that came in rising order, as numbered ones do: nothing need be hashed to see that they are new.
    rising: Vec<First<'m>>,
    others: HashMap<&'m str, First<'m>>,
    groups: Vec<Group<'m>>,
}

type First<'m> = (&'m Url, Option<usize>);

impl<'m> Paths<'m> {
    fn add(&mut self, url: &'m Url) {
        let highest = self.rising.last().map(|(highest, _)| rank(highest.path()));
        if highest.is_none_or(|highest| highest < rank(url.path())) {
            self.rising.push((url, None));
            return;
        }
        let (first, group) = match self.search(url.path()) {
            Ok(at) => &mut self.rising[at],
            Err(_) => self.others.entry(url.path()).or_insert((url, None)),
        };
        if group.is_none() && without_fragment(first) == without_fragment(url) {
            return;
        }
        let index = *group.get_or_insert(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(Group::default());
            self.groups[index].add(first);
        }
        self.groups[index].add(url);
    }

    fn get(&self, path: &str) -> Option<&First<'m>> {
        match self.search(path) {
            Ok(at) => self.rising.get(at),
            Err(_) => self.others.get(path),
        }
    }

    fn search(&self, path: &str) -> Result<usize, usize> {
        self.rising.binary_search_by_key(&rank(path), |(url, _)| rank(url.path()))
    }
}

/// Shorter paths first, so that `9.ts` comes before `10.ts`.
fn rank(path: &str) -> (usize, &str) {
    (path.len(), path)
}

impl<'m> Group<'m> {
    fn add(&mut self, url: &'m Url) {
        if self.texts.insert(without_fragment(url)) {
            self.urls.push(url);
        }
    }

    /// Finds the first stage that tells all its URLs apart.
    fn settle(mut self) -> (Self, Stage) {
        if let Some(varying) = self.varying() {
            let signs = |name: &&str| SIGNATURES.contains(&name.to_ascii_lowercase().as_str());
            for (stage, parameters) in [
                (Stage::Content, varying.iter().copied().filter(|name| !signs(name)).collect()),
                (Stage::Varying, varying.clone()),
            ] {
                self.parameters = parameters;
                if self.is_told_apart(stage) {
                    return (self, stage);
                }
            }
        }
        let stage = if self.is_told_apart(Stage::Query) { Stage::Query } else { Stage::Origin };
        (self, stage)
    }

    /// Names of the parameters whose value differs among the URLs, or that some lack. `None` if there are too many.
    fn varying(&self) -> Option<Vec<&'m str>> {
        // By name: the value in the first URL that has it, in how many it is, and whether another value was met.
        let mut met: BTreeMap<&str, (Vec<&str>, usize, bool)> = BTreeMap::new();
        for url in &self.urls {
            let parameters = by_name(url)?;
            for (name, values) in parameters {
                let (first, count, differs) = met.entry(name).or_insert_with(|| (values.clone(), 0, false));
                *count += 1;
                *differs |= *first != values;
            }
            if met.len() > PARAMETERS_MAX {
                return None;
            }
        }
        let all = self.urls.len();
        let varies = |(name, (_, count, differs))| (differs || count < all).then_some(name);
        Some(met.into_iter().filter_map(varies).collect())
    }

    fn is_told_apart(&self, stage: Stage) -> bool {
        let words: HashSet<String> = self.urls.iter().map(|url| self.words(url, stage)).collect();
        words.len() == self.urls.len()
    }

    /// What names `url` besides its path. Each word is closed by a byte no URL holds.
    fn words(&self, url: &Url, stage: Stage) -> String {
        match stage {
            Stage::Content | Stage::Varying => {
                let parameters = by_name(url).unwrap_or_default();
                let mut words = String::new();
                for name in &self.parameters {
                    for value in parameters.get(name).into_iter().flatten() {
                        words.extend([name, "=", value, "\n"]);
                    }
                }
                words
            }
            Stage::Query => url.query().unwrap_or_default().to_owned(),
            Stage::Origin => format!("{}\n{}", &url[..Position::BeforePath], url.query().unwrap_or_default()),
        }
    }
}

/// The values of each parameter, as written. `None` if there are more than [`PARAMETERS_MAX`].
fn by_name(url: &Url) -> Option<BTreeMap<&str, Vec<&str>>> {
    let mut parameters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (count, pair) in
        url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).enumerate()
    {
        if count == PARAMETERS_MAX {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(name).or_default().push(value);
    }
    Some(parameters)
}

fn without_fragment(url: &Url) -> &str {
    &url[..Position::AfterQuery]
}
