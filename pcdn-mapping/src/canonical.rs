//! One text for all URLs of one content.
//!
//! The rules only take away what no server uses to choose content (fragment, credentials, tracking) and undo differences of
//! spelling (case of escapes, order of parameters). `http` and `https` are one; a port that is not the default, `//` and a
//! trailing `/` are kept, because they may mean something.

use pcdn_core::glob::glob;
use pcdn_core::mapping::MapError;
use pcdn_core::resource::Url;

use regex::Regex;

use packs::Packs;

mod packs;
mod path;
mod percent;

pub(crate) use packs::NAMES as PACK_NAMES;

/// A longer URL is not mapped. Signed URLs reach 4 KiB.
pub(crate) const URL_BYTES_MAX: usize = 16 << 10;

/// A URL's canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// `http(s)://HOST[:PORT]/PATH[?QUERY]`. Holds no credential the rules know.
    pub text: String,
    /// Names of what was left out, sorted: query parameters as written, `userinfo`, `;jsessionid`, `/hdntl`, `/{group}`.
    pub dropped: Vec<String>,
}

/// The canonical form of `url` by the default [`Rules`].
pub fn canonical(url: &Url) -> Result<Canonical, MapError> {
    Rules::default().canonical(url)
}

/// How URLs are made canonical.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    query: Query,
    packs: Packs,
    also_drop: Vec<String>,
    strip: Vec<Regex>,
    aliases: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Query {
    /// All but credentials and tracking.
    #[default]
    Clean,
    /// Nothing.
    Ignore,
    /// These names.
    Keep(Vec<String>),
}

impl Rules {
    /// Leaves the whole query out.
    pub fn ignoring_query(mut self) -> Self {
        self.query = Query::Ignore;
        self
    }

    /// Leaves out all query parameters but `names` (case matters). Surest, where the names that choose content are known.
    pub fn keep_only<I: IntoIterator<Item = S>, S: Into<String>>(mut self, names: I) -> Self {
        self.query = Query::Keep(names.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves out the parameters `names` too (case does not matter).
    pub fn also_drop<I: IntoIterator<Item = S>, S: Into<String>>(mut self, names: I) -> Self {
        self.also_drop.extend(names.into_iter().map(|name| name.into().to_ascii_lowercase()));
        self
    }

    /// Drops the credentials of these ways of signing only, by their names in [`packs`](Self::PACKS); tracking is dropped in any
    /// case. Default all. Names that are none are ignored.
    pub fn only_packs<I: IntoIterator<Item = S>, S: AsRef<str>>(mut self, names: I) -> Self {
        let names: Vec<S> = names.into_iter().collect();
        self.packs = Packs::only(names.iter().map(AsRef::as_ref));
        self
    }

    /// The ways of signing URLs whose credentials are known.
    pub const PACKS: &'static [&'static str] = PACK_NAMES;

    /// Leaves out of the path what `pattern` finds first: its groups, or the whole match if it has none. For tokens, sessions and
    /// viewers' names in the path. What would leave `.` or `..` as a part of the path is left as it is.
    pub fn strip(mut self, pattern: Regex) -> Self {
        self.strip.push(pattern);
        self
    }

    /// Calls every `HOST[:PORT]` that matches the glob `hosts` by the name `logical`: several CDNs of one content. The first
    /// alias that matches holds. A glob without a port matches the default ports only.
    pub fn alias(mut self, hosts: impl Into<String>, logical: impl Into<String>) -> Self {
        self.aliases.push((hosts.into().to_ascii_lowercase(), logical.into()));
        self
    }

    /// The canonical form of `url`. Pure; equal texts are equal contents by these rules.
    pub fn canonical(&self, url: &Url) -> Result<Canonical, MapError> {
        let parts = self.parts(url)?;
        Ok(Canonical { text: parts.text(), dropped: parts.dropped })
    }

    /// The same in parts, for rules that use them singly.
    pub(crate) fn parts(&self, url: &Url) -> Result<Parts, MapError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(MapError::NotHttp(format!("its scheme is {}", url.scheme())));
        }
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(MapError::NotHttp(format!("it is longer than {URL_BYTES_MAX} bytes")));
        }
        // The URL parser takes the root of DNS for a host; nothing is served there.
        if url.host_str().is_none_or(|host| host.trim_end_matches('.').is_empty()) {
            return Err(MapError::NotHttp("it has no host".into()));
        }
        let mut dropped = Vec::new();
        if !url.username().is_empty() || url.password().is_some() {
            dropped.push("userinfo".to_owned());
        }
        let path = path::normal(url.path(), &mut dropped);
        let path = self.strip.iter().fold(path, |path, pattern| path::stripped(path, pattern, &mut dropped));
        let query = self.query(url.query().unwrap_or_default(), &mut dropped);
        dropped.sort();
        dropped.dedup();
        let own_host = host_of(url);
        let alias = self.aliases.iter().find(|(hosts, _)| glob(hosts, &own_host));
        let host = alias.map_or(own_host.clone(), |(_, logical)| logical.clone());
        Ok(Parts { host, own_host, path, query, dropped })
    }

    /// Works on raw pairs: decoding and encoding again would merge `a%20b` with `a+b`, and `z` with `z=`.
    fn query(&self, raw: &str, dropped: &mut Vec<String>) -> String {
        let pairs: Vec<Pair<'_>> = raw.split('&').filter(|pair| !pair.is_empty()).map(Pair::of).collect();
        let credentials = packs::Credentials::of(&self.packs, &pairs);
        let mut kept = Vec::new();
        for pair in &pairs {
            let keep = match &self.query {
                Query::Clean => !credentials.covers(pair),
                Query::Ignore => false,
                Query::Keep(names) => names.contains(&pair.decoded),
            };
            if keep && !self.also_drop.contains(&pair.name) {
                kept.push((percent::normal(pair.raw_name), percent::normal(pair.raw_rest)));
            } else {
                dropped.push(pair.raw_name.to_owned());
            }
        }
        kept.sort();
        kept.into_iter().map(|(name, rest)| name + &rest).collect::<Vec<_>>().join("&")
    }
}

/// The parts of a canonical URL.
#[derive(Debug)]
pub(crate) struct Parts {
    /// With its port if that is not the default; or the alias.
    pub(crate) host: String,
    /// As the URL says.
    pub(crate) own_host: String,
    pub(crate) path: String,
    /// Without `?`; empty if there is none.
    pub(crate) query: String,
    pub(crate) dropped: Vec<String>,
}

impl Parts {
    /// The canonical form.
    pub(crate) fn text(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("http(s)://{}{}{mark}{}", self.host, self.path, self.query)
    }
}

/// `HOST[:PORT]`, the port if it is not the default one.
pub(crate) fn host_of(url: &Url) -> String {
    let whole = url.host_str().unwrap_or_default();
    let host = whole.trim_end_matches('.');
    // `0.0..` is a name; `0.0` would be read as the address 0.0.0.0, another host.
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
    let is_address = whole.parse::<std::net::Ipv4Addr>().is_ok();
    let host = if !is_address && host.rsplit('.').next().is_some_and(number) { whole } else { host };
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// One query parameter.
#[derive(Debug)]
struct Pair<'q> {
    raw_name: &'q str,
    /// `=VALUE`, or nothing.
    raw_rest: &'q str,
    decoded: String,
    /// `decoded` in lower case, by which credentials are known.
    name: String,
}

impl<'q> Pair<'q> {
    fn of(raw: &'q str) -> Self {
        let (raw_name, raw_rest) = raw.split_at(raw.find('=').unwrap_or(raw.len()));
        let decoded = percent::decode(raw_name);
        Self { raw_name, raw_rest, name: decoded.to_ascii_lowercase(), decoded }
    }

    fn value(&self) -> &str {
        self.raw_rest.strip_prefix('=').unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
