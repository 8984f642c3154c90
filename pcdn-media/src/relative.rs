//! Where something lies as seen from the document that lists it: what segments are named after.
//!
//! Names count from the document, so they stay the same when a whole directory moves: to another server, below another
//! prefix, behind a token in the path, or to where a redirect leads. And a publisher can sign a directory without knowing
//! where it will be served. Only paths are compared; a document may name its segments on another host. That two documents
//! may list `1.ts` each does no harm: swarms and manifests are of one document, by its RID.

use std::borrow::Cow;

use pcdn_core::resource::Url;
use url::{ParseError, Position};

/// The path `to` as seen from the document at path `from`: below its directory what comes after that, else with a `../` for
/// each directory to leave. Both are absolute paths, as URLs have them.
///
/// ```
/// use pcdn_media::relative::path_from;
/// assert_eq!(path_from("/live/one/all.m3u8", "/live/one/hd/7.ts"), "hd/7.ts");
/// assert_eq!(path_from("/live/one/all.m3u8", "/live/two/7.ts"), "../two/7.ts");
/// ```
pub fn path_from<'p>(from: &str, to: &'p str) -> Cow<'p, str> {
    let directory = &from[..from.rfind('/').map_or(0, |at| at + 1)];
    if let Some(below) = to.strip_prefix(directory) {
        return below.into();
    }
    let same = directory.bytes().zip(to.bytes()).take_while(|(one, other)| one == other).count();
    // In common are whole directories only.
    let common = directory.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let up = directory.as_bytes()[common..].iter().filter(|byte| **byte == b'/').count();
    // A slash is a character of its own, so what comes after it begins one.
    format!("{}{}", "../".repeat(up), &to[common..]).into()
}

/// `base.join(reference)`, in a third of the time where `reference` is an absolute URL on the origin of `base`: most of an URL's
/// reading is of its host.
pub(crate) fn join(base: &Url, reference: &str) -> Result<Url, ParseError> {
    base.join(path_on(base, reference).unwrap_or(reference))
}

/// The path and what comes after it of an absolute URL whose scheme, host and port are written as those of `origin` are.
pub(crate) fn path_on<'r>(origin: &Url, reference: &'r str) -> Option<&'r str> {
    let path = reference.strip_prefix(&origin[..Position::BeforePath])?;
    // Slashes, backslashes and what parsers pass over would make a host of what comes next; files have drives.
    let plain = path.strip_prefix('/')?.starts_with(|c: char| c.is_ascii_alphanumeric());
    (plain && matches!(origin.scheme(), "http" | "https")).then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_seen_from_the_directory_of_the_document() {
        let check = |from, to, want: &str| assert_eq!(path_from(from, to), want, "{from} {to}");
        check("/index.m3u8", "/1.ts", "1.ts");
        check("/index.m3u8", "/a/1.ts", "a/1.ts");
        check("/film/index.m3u8", "/film/index.m3u8", "index.m3u8");
        check("/film/index.m3u8", "/film/", "");
        check("/film/index.m3u8", "/1.ts", "../1.ts");
        check("/a/b/c", "/a/bb/c", "../bb/c");
        check("/a/b/c", "/x/b/c", "../../x/b/c");
        check("/ä/ü/x", "/ä/û/x", "../û/x");
        check("no path", "other", "other");
        check("a/b", "", "../");
    }

    proptest! {
        #[test]
        fn joining_the_quick_way_leads_to_the_same(
            base in "(https?|file)://(u:p@)?(a|b\\.c)(:80|:443|:8)?(/[a.%|:C]{0,3}){1,3}(\\?q)?",
            reference in "((https?|file)://(u:p@)?(a|b\\.c|A)(:80|:443|:8)?)?[/\\\\\ta.%:|C?#é]{0,6}",
        ) {
            if let Ok(base) = base.parse() {
                prop_assert_eq!(join(&base, &reference), base.join(&reference));
            }
        }

        #[test]
        fn following_the_path_leads_there(from in "(/[ab]{0,2}){1,4}", to in "(/[ab]{0,2}){1,4}") {
            let seen = path_from(&from, &to);
            let up = seen.matches("../").count();
            let directory = from.rfind('/').unwrap() + 1;
            let parts: Vec<&str> = from[..directory].split_inclusive('/').collect();
            let kept: String = parts[..parts.len() - up].concat();
            prop_assert_eq!(format!("{kept}{}", &seen[3 * up..]), to);
        }
    }
}
