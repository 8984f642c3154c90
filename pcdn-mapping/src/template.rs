//! Rules in a file: which URLs are which content, for publishers who know their own URLs.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::glob::glob;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};

use crate::hash::rid_of;
use rule::{Name, Rule, Text};

mod file;
mod rule;

/// A rule file larger than this is a mistake.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Maps by the rules of a file; a URL no rule matches is [`MapError::Unknown`].
///
/// ```toml
/// # films.toml, given as --mapper template:films.toml
/// namespace = "films.example"          # optional: keeps this site's RIDs apart
/// valid_for = "1h"                     # optional, default a day
///
/// [[rule]]                             # the first rule that matches a URL decides
/// name = "film"                        # optional, for people
/// host = "*.films.example"             # glob, or a list of them; with the port if it is not the default one
/// path = '/u/[^/]+/(?<film>[^/]+)/(?<file>.*)'   # regex for the whole path; optional
/// key = "{film}/{file}"                # the content's name; default "{host}{path}"
/// keep = ["quality"]                   # only these query parameters count; or
/// # drop = ["viewer"]                  # all but these, credentials and tracking
/// manifest = "https://{host}/{film}/{file}.pcdn" # the publisher's signed manifest; optional
/// mirrors = ["https://b.films.example/{film}/{file}"] # other places of the content; optional
/// ```
///
/// Further keys, all optional:
///
/// ```toml
/// version = 7                          # rises with every change; a mapping node takes no older rules
/// trackers = ["t.films.example:7070"]  # where this site's viewers meet
///
/// [[alias]]                            # several CDNs of one origin: `name` is their host in all rules below
/// host = ["*.cdn-a.example", "films.cdn-b.example"]
/// name = "films"
///
/// [[rule]]
/// host = "films"
/// strip = ['^/s/([^/]+/)']             # regexes: their groups (or the whole match) are left out of the path first
/// rid = "url"                          # instead of key: named by its canonical URL, as by --mapper url
/// packs = ["aws", "generic"]           # only these ways of signing are known; default all (`Rules::PACKS`)
/// generation = "etag"                  # one (default), length, etag: what tells a changed content (`Generations`)
/// ask = true                           # the mapping node is asked about each URL, and hashes the content
/// source = "https://origin.example{path}" # where it fetches; default the URL without what was left out of its query
/// ```
///
/// Where `ask` is set, the node is told the URL without what was left out of it: prefer `keep`, so that no parameter that you do not
/// know of is told. Whatever matches such a rule must be of the content that its key names.
///
/// `{1}`, `{film}` are the regex's groups, `{host}` and `{path}` the URL's; `{{` is a brace. The query that is left counts after
/// the key. Host and path are [canonical](crate::canonical()) before they are compared; `host` may be the host's own name or its
/// alias. The same tree in JSON is read as well.
#[derive(Debug)]
pub struct Template {
    version: u64,
    namespace: String,
    valid_for: Option<Duration>,
    trackers: Vec<String>,
    rules: Vec<Rule>,
}

/// What the rules say of a URL.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The content.
    pub mapping: Mapping,
    /// Whether the mapping node is to be asked about it.
    pub ask: bool,
    /// Where it is to be fetched by others than this viewer: without the viewer's credentials.
    pub source: Url,
}

impl Template {
    /// Reads the file at `path`: at most 1 MiB and 1,000 rules. Blocks; read once, at start.
    pub fn load(path: &Path) -> Result<Self, RuleError> {
        let name = path.display().to_string();
        let unreadable = |why: String| RuleError { file: name.clone(), line: 0, what: why };
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(error.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(unreadable(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Self::parse(&name, &text)
    }

    /// Reads rules from `text`; `name` stands for the file in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self, RuleError> {
        file::parse(name, text)
    }

    /// Rises with every change of the rules.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Where this site's viewers meet.
    pub fn trackers(&self) -> &[String] {
        &self.trackers
    }

    /// What the rules say of `url`: of the first that matches it, [`MapError::Unknown`] if none does.
    pub fn decide(&self, url: &Url) -> Result<Decision, MapError> {
        for rule in &self.rules {
            if let Some(decision) = self.apply(rule, url)? {
                return Ok(decision);
            }
        }
        Err(MapError::Unknown)
    }

    fn apply(&self, rule: &Rule, url: &Url) -> Result<Option<Decision>, MapError> {
        let parts = rule.canonical.parts(url)?;
        if !rule.hosts.iter().any(|host| glob(host, &parts.host) || glob(host, &parts.own_host)) {
            return Ok(None);
        }
        let Some(groups) = rule.path.captures(&parts.path) else { return Ok(None) };
        let fill = |text: &Text| text.fill(&parts.host, &parts.path, &groups);
        let query = if parts.query.is_empty() { String::new() } else { format!("?{}", parts.query) };
        let rid = match &rule.named {
            Name::Key(key) => rid_of(&self.namespace, "key", &(fill(key) + &query)),
            Name::Url => rid_of(&self.namespace, "url", &parts.text()),
        };
        // A template that gives no URL for these groups gives none: the content can still be played.
        let place =
            |text: &Text| Url::parse(&fill(text)).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut mapping = Mapping::to(rid, format!("template rule {}", rule.name));
        mapping.valid_for = self.valid_for.unwrap_or(mapping.valid_for);
        mapping.generations = rule.generations;
        mapping.trackers = self.trackers.clone();
        mapping.manifest = rule.manifest.as_ref().and_then(place);
        mapping.mirrors = rule.mirrors.iter().filter_map(place).filter(|mirror| mirror != url).collect();
        let source = rule.source.as_ref().and_then(place);
        let source = source.unwrap_or_else(|| without_credentials(url, &parts.path, &parts.query));
        mapping.dropped = parts.dropped;
        Ok(Some(Decision { mapping, ask: rule.ask, source }))
    }
}

/// `url` without what is known for credentials and tracking: as others may be told.
#[cfg(feature = "node")]
pub(crate) fn bare(url: &Url) -> Result<Url, MapError> {
    let parts = crate::canonical::Rules::default().parts(url)?;
    Ok(without_credentials(url, &parts.path, &parts.query))
}

/// `url` with what is left of its path and query.
fn without_credentials(url: &Url, path: &str, query: &str) -> Url {
    let mut bare = url.clone();
    bare.set_fragment(None);
    // A URL that was mapped has a host, so these cannot fail.
    let _ = (bare.set_username(""), bare.set_password(None));
    bare.set_path(path);
    bare.set_query(Some(query).filter(|query| !query.is_empty()));
    bare
}

#[async_trait]
impl Mapper for Template {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        self.decide(url).map(|decision| decision.mapping)
    }
}

/// A rule file that cannot be used: where, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file.
    pub file: String,
    /// Counted from 1; 0 if it is about the file itself.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for RuleError {}

#[cfg(test)]
mod tests;
