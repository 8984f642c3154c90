//! Patterns of hosts: `*` stands for any run of characters, dots included.

/// Whether `text` matches `pattern`, to the letter but for its stars. At most `pattern × text` steps; only the last star
/// backtracks.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn stars_match_any_run() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "b", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("**", "x", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }
}
