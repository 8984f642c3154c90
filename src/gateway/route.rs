//! Which URL of which origin a request means, as a pure function.

use http::uri::Uri;
use pcdn_core::resource::Url;

/// Longest request target that is answered. Signed URLs have 1 to 2 KiB; nginx and most CDNs stop at 8 KiB.
pub(crate) const TARGET_BYTES_MAX: usize = 8 << 10;

/// Why a request means no URL of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// The target is too long: 414.
    TooLong,
    /// Not of any of the forms: 404.
    Unknown,
    /// Of a form, and no URL comes out: 400.
    Bad,
}

/// The URL that `target` means.
///
/// | target | means |
/// |---|---|
/// | `http://HOST/PATH` (a proxy request) | just that |
/// | `/http/HOST[:PORT]/PATH`, `/https/…` | that scheme, host and path |
/// | any other path, with an upstream | that path below the upstream |
pub(crate) fn route(target: &Uri, upstream: Option<&Url>) -> Result<Url, NoRoute> {
    let path = target.path_and_query().map_or("/", |p| p.as_str());
    if path.len() > TARGET_BYTES_MAX {
        return Err(NoRoute::TooLong);
    }
    if let (Some(scheme), Some(authority)) = (target.scheme_str(), target.authority()) {
        return url(scheme, authority.as_str(), path);
    }
    for scheme in ["http", "https"] {
        let rest =
            path.strip_prefix('/').and_then(|p| p.strip_prefix(scheme)).and_then(|p| p.strip_prefix('/'));
        if let Some(rest) = rest {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            return url(scheme, &rest[..end], &rest[end..]);
        }
    }
    let upstream = upstream.ok_or(NoRoute::Unknown)?;
    let prefix = upstream.path().trim_end_matches('/');
    let below = url(upstream.scheme(), upstream.authority(), &format!("{prefix}{path}"))?;
    // `..` must not climb out of the prefix.
    let inside = prefix.is_empty() || below.path().starts_with(&format!("{prefix}/"));
    if inside { Ok(below) } else { Err(NoRoute::Bad) }
}

fn url(scheme: &str, authority: &str, path: &str) -> Result<Url, NoRoute> {
    // Credentials in a path or a proxy request are a way to make a host look like another one.
    if authority.is_empty() || authority.contains(['@', '%', '\\']) {
        return Err(NoRoute::Bad);
    }
    let url = Url::parse(&format!("{scheme}://{authority}{path}")).map_err(|_| NoRoute::Bad)?;
    let fetchable = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if fetchable { Ok(url) } else { Err(NoRoute::Bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, upstream: Option<&str>, want: Result<&str, NoRoute>) {
        let upstream = upstream.map(|u| Url::parse(u).unwrap());
        let got = route(&target.parse().unwrap(), upstream.as_ref());
        assert_eq!(got.as_ref().map(Url::as_str), want.as_ref().copied(), "{target}");
    }

    #[test]
    fn prefix_form() {
        check("/http/cdn.example/a/b.mp4?t=1", None, Ok("http://cdn.example/a/b.mp4?t=1"));
        check("/https/cdn.example:8443/a%20b", None, Ok("https://cdn.example:8443/a%20b"));
        check("/http/10.0.0.1:8080/x", None, Ok("http://10.0.0.1:8080/x"));
        check("/http/[::1]:80/x", None, Ok("http://[::1]/x"));
        check("/http/cdn.example", None, Ok("http://cdn.example/"));
        check("/http/cdn.example?q", None, Ok("http://cdn.example/?q"));
    }

    #[test]
    fn proxy_form() {
        check("http://cdn.example/a?b", None, Ok("http://cdn.example/a?b"));
        check("ftp://cdn.example/a", None, Err(NoRoute::Bad));
    }

    #[test]
    fn upstream_form() {
        check("/live/a.m3u8?x", Some("https://cdn.example"), Ok("https://cdn.example/live/a.m3u8?x"));
        check("/a", Some("https://cdn.example:444/base/"), Ok("https://cdn.example:444/base/a"));
        check("/../secret", Some("https://cdn.example/base"), Err(NoRoute::Bad));
        check("/a", None, Err(NoRoute::Unknown));
    }

    #[test]
    fn hosts_that_look_like_others_are_refused() {
        check("/http/good.example@evil.example/x", None, Err(NoRoute::Bad));
        check("/http//x", None, Err(NoRoute::Bad));
        check("/http/%6cocalhost/x", None, Err(NoRoute::Bad));
        check("/http/host:99999/x", None, Err(NoRoute::Bad));
    }

    #[test]
    fn long_targets_are_refused() {
        check(&format!("/http/cdn.example/{}", "a".repeat(TARGET_BYTES_MAX)), None, Err(NoRoute::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn any_path_gives_an_answer(path in "/[!-~]{0,60}") {
            if let Ok(uri) = path.parse::<Uri>() {
                let _ = route(&uri, None);
            }
        }
    }
}
