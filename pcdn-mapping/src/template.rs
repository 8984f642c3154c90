//! Rules in a file: which URLs are which content, for publishers who know their own URLs.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::mapping::{MapError, Mapper};
use pcdn_core::resource::{Mapping, Url};

use crate::glob::glob;
use crate::hash::rid_of;
use rule::{Rule, Text};

mod file;
mod rule;

/// A rule file larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
/// `{1}`, `{film}` are the regex's groups, `{host}` and `{path}` the URL's; `{{` is a brace. The query that is left counts after
/// the key. Host and path are [canonical](crate::canonical()) before they are compared.
#[derive(Debug)]
pub struct Template {
    namespace: String,
    valid_for: Option<Duration>,
    rules: Vec<Rule>,
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

    fn apply(&self, rule: &Rule, url: &Url) -> Result<Option<Mapping>, MapError> {
        let parts = rule.canonical.parts(url)?;
        if !rule.hosts.iter().any(|host| glob(host, &parts.host)) {
            return Ok(None);
        }
        let Some(groups) = rule.path.captures(&parts.path) else { return Ok(None) };
        let fill = |text: &Text| text.fill(&parts.host, &parts.path, &groups);
        let query = if parts.query.is_empty() { String::new() } else { format!("?{}", parts.query) };
        let rid = rid_of(&self.namespace, "key", &(fill(&rule.key) + &query));
        // A template that gives no URL for these groups gives none: the content can still be played.
        let place =
            |text: &Text| Url::parse(&fill(text)).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut mapping = Mapping::to(rid, format!("template rule {}", rule.name));
        mapping.valid_for = self.valid_for.unwrap_or(mapping.valid_for);
        mapping.manifest = rule.manifest.as_ref().and_then(place);
        mapping.mirrors = rule.mirrors.iter().filter_map(place).filter(|mirror| mirror != url).collect();
        mapping.dropped = parts.dropped;
        Ok(Some(mapping))
    }
}

#[async_trait]
impl Mapper for Template {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        for rule in &self.rules {
            if let Some(mapping) = self.apply(rule, url)? {
                return Ok(mapping);
            }
        }
        Err(MapError::Unknown)
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
