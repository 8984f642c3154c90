//! One rule, and the little template language of its texts.

use pcdn_core::resource::Generations;
use regex::{Captures, Regex};

use crate::canonical::Rules;

/// A rule ready to be applied.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) hosts: Vec<String>,
    pub(super) path: Regex,
    pub(super) named: Name,
    pub(super) canonical: Rules,
    pub(super) generations: Generations,
    pub(super) ask: bool,
    pub(super) source: Option<Text>,
    pub(super) manifest: Option<Text>,
    pub(super) mirrors: Vec<Text>,
}

/// What the content is named by.
#[derive(Debug)]
pub(super) enum Name {
    /// A text, and the query that is left.
    Key(Text),
    /// The canonical URL, as [`UrlHash`](crate::UrlHash) does.
    Url,
}

/// A text with places to fill.
#[derive(Debug)]
pub(super) struct Text(Vec<Part>);

#[derive(Debug)]
enum Part {
    Plain(String),
    Host,
    Path,
    Group(usize),
}

impl Text {
    /// Reads `text`; every `{name}` must be `host`, `path` or a group of `path`.
    pub(super) fn parse(text: &str, path: &Regex) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let inner = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = inner.ok_or_else(|| {
                format!("a brace without its partner in {text:?}; a brace itself is written {{{{ or }}}}")
            })?;
            parts.push(Part::Plain(std::mem::take(&mut plain)));
            parts.push(Part::named(name, path)?);
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Plain(plain));
        Ok(Self(parts))
    }

    pub(super) fn fill(&self, host: &str, path: &str, groups: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            out.push_str(match part {
                Part::Plain(text) => text,
                Part::Host => host,
                Part::Path => path,
                Part::Group(index) => groups.get(*index).map_or("", |group| group.as_str()),
            });
        }
        out
    }
}

impl Part {
    fn named(name: &str, path: &Regex) -> Result<Self, String> {
        let index = name.parse().ok().filter(|index| *index < path.captures_len());
        let index = index.or_else(|| path.capture_names().position(|own| own == Some(name)));
        match (index, name) {
            (Some(index), _) => Ok(Self::Group(index)),
            (None, "host") => Ok(Self::Host),
            (None, "path") => Ok(Self::Path),
            _ => {
                let own: Vec<&str> = path.capture_names().flatten().collect();
                Err(format!(
                    "{{{name}}} is neither host, path nor a group of the path regex ({})",
                    own.join(", ")
                ))
            }
        }
    }
}
