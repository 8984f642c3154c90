//! What in a path is no name: sessions and tokens.

use regex::Regex;

use super::percent;

/// Session ids that some servers write behind a part of the path (`/film;jsessionid=ABC`).
const SESSIONS: [&str; 3] = [";jsessionid", ";phpsessid", ";sessionid"];
/// Begins of parts that are Akamai tokens as a whole (`/hdntl=exp=1~acl=*~hmac=0A/film`).
const TOKENS: [&str; 4] = ["hdnts=", "hdntl=", "hdnea=", "exp="];

/// `path` with its escapes in their normal form, without the sessions and tokens that can be nothing else.
pub(super) fn normal(path: &str, dropped: &mut Vec<String>) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        // Each parameter by itself: a broken escape in one that is dropped must leave no trace in the others.
        let segment = segment.split(';').map(percent::normal).collect::<Vec<_>>().join(";");
        match token(&segment) {
            Some(name) => dropped.push(format!("/{name}")),
            None => kept.push(without_sessions(&segment, dropped)),
        }
    }
    let path = kept.join("/");
    // A path that was a token and nothing more.
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The name of the token that `segment` is.
fn token(segment: &str) -> Option<&'static str> {
    let begin = TOKENS.into_iter().find(|begin| segment.starts_with(begin))?;
    segment.contains("~hmac=").then_some(begin.trim_end_matches('='))
}

fn without_sessions(segment: &str, dropped: &mut Vec<String>) -> String {
    let mut kept = String::with_capacity(segment.len());
    for (at, part) in segment.split(';').enumerate() {
        let name = format!(";{}", part.split('=').next().unwrap_or_default().to_ascii_lowercase());
        match (at, SESSIONS.contains(&name.as_str())) {
            (0, _) => kept.push_str(part),
            (_, false) => kept.extend([";", part]),
            (_, true) => dropped.push(name),
        }
    }
    // What is left must still be a name: `.` alone would mean the directory, and another content.
    if is_dots(&kept) && kept != segment {
        kept.push(';');
    }
    kept
}

/// `path` without what `pattern` finds first: its groups, or all of it if it has none.
pub(super) fn stripped(path: String, pattern: &Regex, dropped: &mut Vec<String>) -> String {
    let Some(found) = pattern.captures(&path) else { return path };
    let names = pattern.capture_names().enumerate().skip(usize::from(pattern.captures_len() > 1));
    let (mut out, mut at, mut gone) = (String::with_capacity(path.len()), 0, Vec::new());
    for (index, name) in names {
        let Some(group) = found.get(index).filter(|group| group.start() >= at && !group.is_empty()) else {
            continue;
        };
        out.push_str(&path[at..group.start()]);
        at = group.end();
        gone.push(name.map_or_else(|| format!("/{{{index}}}"), |name| format!("/{{{name}}}")));
    }
    out.push_str(&path[at..]);
    // Nothing that is stripped may turn a path into another one's.
    if !out.starts_with('/') || out.split('/').any(is_dots) {
        return path;
    }
    dropped.extend(gone);
    out
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: what was left of such a path had another form the second time.
    #[test]
    fn a_broken_escape_that_is_dropped_leaves_no_trace() {
        let form = |path: &str| normal(path, &mut Vec::new());
        for (path, want) in [
            ("/a/%7Ebc;jsessionid=%zz", "/a/~bc"),
            ("/%7e/b;sessionid=%", "/~/b"),
            ("/%7e%zz/%7e", "/%7e%zz/~"),
            ("/f;%6asessionid=1;sessionid=%q", "/f"),
        ] {
            assert_eq!(form(path), want);
            assert_eq!(form(want), want, "a second time changes nothing");
        }
    }

    #[test]
    fn groups_are_left_out_or_the_whole_match() {
        let strip = |pattern: &str, path: &str| {
            let mut dropped = Vec::new();
            let out = stripped(path.to_owned(), &Regex::new(pattern).unwrap(), &mut dropped);
            (out, dropped.join(" "))
        };
        let check = |pattern: &str, path: &str, want: &str, gone: &str| {
            assert_eq!(strip(pattern, path), (want.to_owned(), gone.to_owned()), "{pattern} {path}");
        };
        check("^/(?<token>[0-9a-f]{4}/)", "/00ff/film", "/film", "/{token}");
        check("/t-[0-9]+", "/a/t-17/film/t-18", "/a/film/t-18", "/{0}");
        check("^/u/([^/]+/).*/(s[0-9]+)-", "/u/me/film/s1-2.ts", "/u/film/-2.ts", "/{1} /{2}");
        check("^/x/", "/y/film", "/y/film", "");
        // Nested and empty groups are no reason to cut twice.
        check("^/((a)b/)(c?)", "/ab/film", "/film", "/{1}");
        check("x$", "/a/..x", "/a/..x", "");
        check("^/", "/film", "/film", "");
    }
}
