//! The rule file: TOML to rules, with errors that name the line.

use std::time::Duration;

use pcdn_core::unit::Span;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::rule::{Rule, Text};
use super::{RuleError, Template};
use crate::canonical::Rules;

/// Every URL is tried against every rule before it in the file: a thousand cost about a millisecond.
const RULES_MAX: usize = 1_000;
/// Compiled size of one regex. The engine is linear in the URL's length whatever the pattern.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Other places of one content.
const MIRRORS_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    namespace: String,
    valid_for: Option<Span>,
    #[serde(default)]
    rule: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    host: Hosts,
    path: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    keep: Option<Vec<String>>,
    drop: Option<Vec<String>>,
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
    let place = Place { file: name, text };
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| place.line(span.start));
        RuleError { file: name.to_owned(), line, what: error.message().to_owned() }
    })?;
    if file.rule.is_empty() {
        return Err(place.error(0, "no [[rule]] in it"));
    }
    if file.rule.len() > RULES_MAX {
        return Err(place.error(0, format!("more than {RULES_MAX} rules")));
    }
    let rules = file.rule.into_iter().enumerate().map(|(index, entry)| rule(&place, index, entry));
    let valid_for: Option<Duration> = file.valid_for.map(|span| span.0);
    Ok(Template { namespace: file.namespace, valid_for, rules: rules.collect::<Result<_, _>>()? })
}

fn rule(place: &Place<'_>, index: usize, entry: Spanned<Entry>) -> Result<Rule, RuleError> {
    let start = entry.span().start;
    let entry = entry.into_inner();
    let hosts = match entry.host {
        Hosts::One(host) => vec![host],
        Hosts::Many(hosts) => hosts,
    };
    if hosts.is_empty() {
        return Err(place.error(start, "host is an empty list; \"*\" is every host"));
    }
    let canonical = match (entry.keep, entry.drop) {
        (Some(_), Some(_)) => return Err(place.error(start, "keep and drop in one rule; choose one")),
        (Some(names), None) => Rules::default().keep_only(names),
        (None, names) => Rules::default().also_drop(names.unwrap_or_default()),
    };
    let path = regex(place, entry.path.as_ref())?;
    let text = |text: &Spanned<String>| {
        Text::parse(text.get_ref(), &path).map_err(|what| place.error(text.span().start, what))
    };
    let key = match &entry.key {
        Some(key) => text(key)?,
        None => Text::parse("{host}{path}", &path).map_err(|what| place.error(start, what))?,
    };
    if entry.mirrors.len() > MIRRORS_MAX {
        return Err(place.error(start, format!("more than {MIRRORS_MAX} mirrors")));
    }
    let manifest = entry.manifest.as_ref().map(text).transpose()?;
    let mirrors = entry.mirrors.iter().map(text).collect::<Result<_, _>>()?;
    let name = entry.name.unwrap_or_else(|| (index + 1).to_string());
    let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
    Ok(Rule { name, hosts, path, key, canonical, manifest, mirrors })
}

/// The path regex, made to match the whole path: half a match names half a content.
fn regex(place: &Place<'_>, path: Option<&Spanned<String>>) -> Result<Regex, RuleError> {
    let pattern = path.map_or(".*", |path| path.get_ref());
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_BYTES_MAX).build();
    whole.map_err(|error| {
        let line = path.map_or(0, |path| path.span().start);
        // The last line says what is wrong; those before it draw the pattern.
        let error = error.to_string();
        let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        place.error(line, format!("the path is not a regex: {what}"))
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
