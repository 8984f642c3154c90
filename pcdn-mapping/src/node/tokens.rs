//! Who may change what: one publisher a line.

use std::io::Read as _;
use std::path::Path;

use pcdn_core::glob::glob;
use pcdn_core::id::Digest;

/// A file of tokens larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Publishers' tokens. A file has one a line, `TOKEN HOST-GLOB…`; what begins with `#` is a remark. Whose hosts are `*` may publish
/// rules as well.
///
/// ```text
/// # films.example's content system
/// 3q2-7wEAAQ-this-is-long-enough films.example *.films.example:8080
/// ```
#[derive(Clone, Default)]
pub struct Tokens(Vec<Publisher>);

#[derive(Clone)]
struct Publisher {
    /// The token's hash: equal hashes are compared, so that how long it takes tells nothing of the token.
    hash: Digest,
    hosts: Vec<String>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// A file of tokens that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}; write TOKEN HOST-GLOB…")]
pub struct TokenError {
    /// Counted from 1; 0 if it is about the file.
    pub line: usize,
    /// What is wrong. Never the token.
    pub what: String,
}

impl Tokens {
    /// Reads the file at `path`. Blocks.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |error: std::io::Error| TokenError { line: 0, what: error.to_string() };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text)
    }

    /// Reads tokens from `text`.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut publishers = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let fault = |what: &str| TokenError { line: number + 1, what: what.to_owned() };
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let hosts: Vec<String> = words.map(str::to_ascii_lowercase).collect();
            if token.len() < TOKEN_BYTES_MIN {
                return Err(fault("a token of less than 16 characters can be guessed"));
            }
            if hosts.is_empty() {
                return Err(fault("no host after the token"));
            }
            publishers.push(Publisher { hash: hash(token), hosts });
        }
        Ok(Self(publishers))
    }

    /// Whether the bearer of `token` may speak for `host`.
    pub(super) fn cover(&self, token: &str, host: &str) -> bool {
        let hash = hash(token);
        let own = self.0.iter().filter(|publisher| publisher.hash == hash);
        own.flat_map(|publisher| &publisher.hosts).any(|pattern| glob(pattern, host))
    }

    /// Whether the bearer of `token` may speak for everybody.
    pub(super) fn cover_all(&self, token: &str) -> bool {
        let hash = hash(token);
        self.0
            .iter()
            .any(|publisher| publisher.hash == hash && publisher.hosts.iter().any(|host| host == "*"))
    }
}

fn hash(token: &str) -> Digest {
    Digest(*blake3::hash(token.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_speaks_for_its_hosts_only() {
        let text =
            "# remark\n\nfilms-token-0123456 films.example *.films.example\n  root-token-0123456789 *\n";
        let tokens = Tokens::parse(text).unwrap();
        for (token, host, want) in [
            ("films-token-0123456", "films.example", true),
            ("films-token-0123456", "e1.films.example", true),
            ("films-token-0123456", "bank.example", false),
            ("films-token-012345", "films.example", false),
            ("", "films.example", false),
            ("#", "films.example", false),
            ("root-token-0123456789", "bank.example", true),
        ] {
            assert_eq!(tokens.cover(token, host), want, "{token} {host}");
        }
        assert!(tokens.cover_all("root-token-0123456789") && !tokens.cover_all("films-token-0123456"));
        assert!(!Tokens::default().cover("", ""));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        for (text, line) in [("\nshort h.example", 2), ("long-enough-token-0123", 1)] {
            let error = Tokens::parse(text).unwrap_err();
            assert_eq!(error.line, line);
            assert!(!error.to_string().contains("short") && !error.to_string().contains("enough"), "{error}");
        }
    }
}
