//! Variables of a playlist (`EXT-X-DEFINE`), and URIs with variables made absolute.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pcdn_core::fragment::FragmentError;
use pcdn_core::resource::Url;
use url::{ParseError, Position};

use super::lines::attributes;
use super::{EXPANDED_BYTES_MAX, LINE_BYTES_MAX, URL_BYTES_MAX, VARIABLES_MAX, at_most, malformed};
use crate::relative::{join, path_on};

/// Characters of a stranger's text that are repeated in an error.
const ECHO_CHARS_MAX: usize = 60;

/// Variables by name. What a master playlist defined is what its media playlists may import.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a document's words have their meaning: its URL and its variables. Counts what it produces.
#[derive(Debug)]
pub(super) struct Scope<'d> {
    base: &'d Url,
    imports: &'d Variables,
    pub(super) variables: Variables,
    expanded_bytes: usize,
    url_bytes: usize,
    /// The URI resolved last, and its URL if it came twice: a film in byte ranges names one URI thousands of times.
    last_uri: String,
    last_url: Option<Url>,
    /// The last URL on another origin: those of segments mostly lie on one.
    elsewhere: Option<Url>,
}

impl<'d> Scope<'d> {
    pub(super) fn new(base: &'d Url, imports: &'d Variables) -> Self {
        Self {
            base,
            imports,
            variables: Variables::default(),
            expanded_bytes: 0,
            url_bytes: 0,
            last_uri: String::new(),
            last_url: None,
            elsewhere: None,
        }
    }

    /// Takes a definition in, and gives its name and value.
    pub(super) fn define(&mut self, list: &str, at: usize) -> Result<(String, String), FragmentError> {
        let (mut name, mut value, mut import, mut query) = (None, None, None, None);
        for attribute in attributes(list) {
            match attribute.name {
                "NAME" => name = Some(attribute.value),
                "VALUE" => value = Some(attribute.value),
                "IMPORT" => import = Some(attribute.value),
                "QUERYPARAM" => query = Some(attribute.value),
                _ => {}
            }
        }
        let (name, value) = match (name, value, import, query) {
            (Some(name), Some(value), None, None) => (name, Some(self.substitute(value, at)?.into_owned())),
            (None, _, Some(name), None) => (name, self.imports.get(name).map(str::to_owned)),
            (None, _, None, Some(name)) => {
                let mut pairs = self.base.query_pairs();
                (name, pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()))
            }
            _ => return Err(malformed("EXT-X-DEFINE defines nothing", at)),
        };
        let Some(value) = value else {
            return Err(malformed(format!("no value for the variable {}", echo(name)), at));
        };
        at_most(LINE_BYTES_MAX, value.len(), "bytes in a variable")?;
        no_reference(&value, at)?;
        self.variables.0.insert(name.to_owned(), value.clone());
        at_most(VARIABLES_MAX, self.variables.0.len(), "variables")?;
        Ok((name.to_owned(), value))
    }

    /// `text` with every `{$name}` replaced by its value. Values are not looked at again.
    pub(super) fn substitute<'t>(&mut self, text: &'t str, at: usize) -> Result<Cow<'t, str>, FragmentError> {
        let Some(first) = text.find("{$") else { return Ok(Cow::Borrowed(text)) };
        let (before, mut rest) = text.split_at(first);
        let mut out = before.to_owned();
        while let Some(reference) = rest.strip_prefix("{$") {
            let (name, after) = reference
                .split_once('}')
                .ok_or_else(|| malformed(format!("an open variable {}", echo(rest)), at))?;
            let value = self.variables.get(name);
            out += value.ok_or_else(|| malformed(format!("undefined variable {}", echo(name)), at))?;
            at_most(LINE_BYTES_MAX, out.len(), "bytes in a line with its variables")?;
            let next = after.find("{$").unwrap_or(after.len());
            out += &after[..next];
            rest = &after[next..];
        }
        no_reference(&out, at)?;
        self.expanded_bytes += out.len();
        at_most(EXPANDED_BYTES_MAX, self.expanded_bytes, "bytes in lines with variables")?;
        Ok(Cow::Owned(out))
    }

    /// The absolute URL of `uri`, which may hold variables.
    pub(super) fn url(&mut self, uri: &str, at: usize) -> Result<Url, FragmentError> {
        let text = self.substitute(uri, at)?;
        self.absolute(&text, at)
    }

    /// The absolute URL of `uri`, whose variables are substituted.
    pub(super) fn absolute(&mut self, uri: &str, at: usize) -> Result<Url, FragmentError> {
        let url = match &self.last_url {
            Some(url) if self.last_uri == uri => url.clone(),
            _ => {
                let url = self.resolve(uri.trim());
                let url = url.map_err(|error| malformed(format!("{}: {error}", echo(uri)), at))?;
                // Kept from the second time on: most URIs come once.
                self.last_url = (self.last_uri == uri).then(|| url.clone());
                self.last_uri.clear();
                self.last_uri.push_str(uri);
                url
            }
        };
        self.url_bytes += url.as_str().len();
        at_most(URL_BYTES_MAX, self.url_bytes, "bytes of URLs")?;
        Ok(url)
    }

    fn resolve(&mut self, uri: &str) -> Result<Url, ParseError> {
        if let Some((url, path)) = self.elsewhere.as_ref().and_then(|url| Some((url, path_on(url, uri)?))) {
            return url.join(path);
        }
        let url = join(self.base, uri)?;
        if url[..Position::BeforePath] != self.base[..Position::BeforePath] {
            self.elsewhere = Some(url.clone());
        }
        Ok(url)
    }

    /// The absolute URL of `uri`, if it is one; for those who look at one URL at a time.
    pub(super) fn join(&self, uri: &str) -> Option<Url> {
        self.base.join(uri.trim()).ok()
    }
}

/// Values are not looked at again, but a player would take what is put together from them for a reference.
fn no_reference(text: &str, at: usize) -> Result<(), FragmentError> {
    match text.contains("{$") {
        true => Err(malformed("variables that make a reference to a variable", at)),
        false => Ok(()),
    }
}

/// A stranger's text for an error: short, and without control characters.
fn echo(text: &str) -> String {
    let short: String = text.chars().take(ECHO_CHARS_MAX).collect();
    format!("{short:?}")
}
