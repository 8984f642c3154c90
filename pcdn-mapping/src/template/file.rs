//! The rule file: TOML or JSON to rules, with errors that name the line.

use std::time::Duration;

use pcdn_core::resource::Generations;
use pcdn_core::unit::Span;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::rule::{Name, Rule, Text};
use super::{RuleError, Template};
use crate::canonical::Rules;

/// Every URL is tried against every rule before it in the file: a thousand cost about a millisecond.
const RULES_MAX: usize = 1_000;
/// Compiled size of one regex. The engine is linear in the URL's length whatever the pattern.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Other places of one content.
const MIRRORS_MAX: usize = 16;
/// Patterns that leave something out of one path.
const STRIPS_MAX: usize = 8;
/// Trackers of one site.
const TRACKERS_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    namespace: String,
    valid_for: Option<Span>,
    trackers: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    alias: Vec<Spanned<Alias>>,
    #[serde(default)]
    rule: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    host: Hosts,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    host: Hosts,
    path: Option<Spanned<String>>,
    #[serde(default)]
    strip: Vec<Spanned<String>>,
    rid: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    keep: Option<Vec<String>>,
    drop: Option<Vec<String>>,
    packs: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    generation: Generations,
    #[serde(default)]
    ask: bool,
    source: Option<Spanned<String>>,
    manifest: Option<Spanned<String>>,
    #[serde(default)]
    mirrors: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Hosts {
    One(String),
    Many(Vec<String>),
}

pub(super) fn parse(name: &str, text: &str) -> Result<Template, RuleError> {
    if text.trim_start().starts_with('{') {
        return from_json(name, text);
    }
    let place = Place { file: name, text };
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| place.line(span.start));
        RuleError { file: name.to_owned(), line, what: error.message().to_owned() }
    })?;
    if file.rule.is_empty() {
        return Err(place.error(0, "no [[rule]] in it"));
    }
    if file.rule.len() > RULES_MAX || file.alias.len() > RULES_MAX {
        return Err(place.error(0, format!("more than {RULES_MAX} rules")));
    }
    if let Some(trackers) = file.trackers.as_ref().filter(|trackers| trackers.get_ref().len() > TRACKERS_MAX)
    {
        return Err(place.error(trackers.span().start, format!("more than {TRACKERS_MAX} trackers")));
    }
    let base =
        file.alias.into_iter().try_fold(Rules::default(), |rules, alias| aliased(&place, rules, alias))?;
    let rules = file.rule.into_iter().enumerate().map(|(index, entry)| rule(&place, &base, index, entry));
    let valid_for: Option<Duration> = file.valid_for.map(|span| span.0);
    Ok(Template {
        version: file.version,
        namespace: file.namespace,
        valid_for,
        trackers: file.trackers.map(Spanned::into_inner).unwrap_or_default(),
        rules: rules.collect::<Result<_, _>>()?,
    })
}

/// The same tree in JSON. Its errors say what, not where: the text is turned into TOML first.
fn from_json(name: &str, text: &str) -> Result<Template, RuleError> {
    let fault = |what: String| RuleError { file: name.to_owned(), line: 0, what };
    let tree: toml::Table = serde_json::from_str(text)
        .map_err(|error| RuleError { line: error.line(), ..fault(error.to_string()) })?;
    let text = toml::to_string(&tree).map_err(|error| fault(error.to_string()))?;
    parse(name, &text).map_err(|error| RuleError { line: 0, ..error })
}

fn aliased(place: &Place<'_>, rules: Rules, alias: Spanned<Alias>) -> Result<Rules, RuleError> {
    let start = alias.span().start;
    let Alias { host, name } = alias.into_inner();
    if name.is_empty() || name.contains(['/', '?', '#', ' ']) {
        return Err(place.error(start, format!("{name:?} cannot stand for a host")));
    }
    Ok(host.list().into_iter().fold(rules, |rules, host| rules.alias(host, name.clone())))
}

fn rule(place: &Place<'_>, base: &Rules, index: usize, entry: Spanned<Entry>) -> Result<Rule, RuleError> {
    let start = entry.span().start;
    let entry = entry.into_inner();
    let hosts = entry.host.list();
    if hosts.is_empty() {
        return Err(place.error(start, "host is an empty list; \"*\" is every host"));
    }
    let mut canonical = match (entry.keep, entry.drop) {
        (Some(_), Some(_)) => return Err(place.error(start, "keep and drop in one rule; choose one")),
        (Some(names), None) => base.clone().keep_only(names),
        (None, names) => base.clone().also_drop(names.unwrap_or_default()),
    };
    if let Some(packs) = entry.packs {
        canonical = canonical.only_packs(known_packs(place, &packs)?);
    }
    if entry.strip.len() > STRIPS_MAX {
        return Err(place.error(start, format!("more than {STRIPS_MAX} patterns to strip")));
    }
    for pattern in &entry.strip {
        canonical = canonical.strip(regex(place, pattern.get_ref(), pattern.span().start)?);
    }
    // The whole path: half a match names half a content.
    let pattern = entry.path.as_ref().map_or(".*", |path| path.get_ref());
    let path_at = entry.path.as_ref().map_or(start, |path| path.span().start);
    let path = regex(place, &format!("^(?:{pattern})$"), path_at)?;
    let text = |text: &Spanned<String>| {
        Text::parse(text.get_ref(), &path).map_err(|what| place.error(text.span().start, what))
    };
    let named = match (&entry.rid, &entry.key) {
        (Some(rid), Some(_)) => {
            return Err(place.error(rid.span().start, "rid and key in one rule; choose one"));
        }
        (Some(rid), None) if rid.get_ref() == "url" => Name::Url,
        (Some(rid), None) => {
            return Err(place.error(rid.span().start, "rid can be \"url\" only; or write key"));
        }
        (None, Some(key)) => Name::Key(text(key)?),
        (None, None) => {
            Name::Key(Text::parse("{host}{path}", &path).map_err(|what| place.error(start, what))?)
        }
    };
    if entry.mirrors.len() > MIRRORS_MAX {
        return Err(place.error(start, format!("more than {MIRRORS_MAX} mirrors")));
    }
    let manifest = entry.manifest.as_ref().map(text).transpose()?;
    let source = entry.source.as_ref().map(text).transpose()?;
    let mirrors = entry.mirrors.iter().map(text).collect::<Result<_, _>>()?;
    let name = entry.name.unwrap_or_else(|| (index + 1).to_string());
    let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
    let (generations, ask) = (entry.generation, entry.ask);
    Ok(Rule { name, hosts, path, named, canonical, generations, ask, source, manifest, mirrors })
}

impl Hosts {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(host) => vec![host],
            Self::Many(hosts) => hosts,
        }
    }
}

fn known_packs<'p>(place: &Place<'_>, packs: &'p [Spanned<String>]) -> Result<Vec<&'p String>, RuleError> {
    let known = |pack: &'p Spanned<String>| {
        if Rules::PACKS.contains(&pack.get_ref().as_str()) {
            return Ok(pack.get_ref());
        }
        let what = format!("no pack is called {:?}; there are {}", pack.get_ref(), Rules::PACKS.join(", "));
        Err(place.error(pack.span().start, what))
    };
    packs.iter().map(known).collect()
}

fn regex(place: &Place<'_>, pattern: &str, at: usize) -> Result<Regex, RuleError> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        // The last line says what is wrong; those before it draw the pattern.
        let error = error.to_string();
        let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        place.error(at, format!("the path is not a regex: {what}"))
    })
}

/// Turns offsets into lines.
struct Place<'t> {
    file: &'t str,
    text: &'t str,
}

impl Place<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn error(&self, offset: usize, what: impl Into<String>) -> RuleError {
        RuleError { file: self.file.to_owned(), line: self.line(offset), what: what.into() }
    }
}
