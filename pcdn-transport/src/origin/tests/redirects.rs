//! Redirects: followed a few times, judged every time, and never with another origin's secrets.

use super::*;
use crate::origin::guard::Lookup;

fn to(location: &str) -> Vec<Act> {
    whole("302 Found", &[("Location", location)], b"moved")
}

fn with_token() -> HttpConfig {
    HttpConfig { headers: vec!["X-Token: secret".parse().unwrap()], ..config() }
}

#[tokio::test]
async fn a_redirect_is_followed_with_its_range() {
    let server = Faulty::start(|seen| match seen.path() {
        "/film.flv" => to("other.flv?x=1"),
        _ => right(seen, b"0123456789", "\"a\""),
    })
    .await;
    assert_eq!(read_all(&http(with_token()), &ask(&server, range(2, 5))).await, b"234");
    let seen = server.seen();
    assert_eq!(seen[1].path(), "/other.flv?x=1");
    assert_eq!(seen[1].header("x-token"), Some("secret"), "the same origin may know it");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn configured_headers_do_not_follow_to_another_origin() {
    let other = Faulty::start(|seen| right(seen, b"0123456789", "\"a\"")).await;
    let target = other.url("/film.flv").to_string();
    let server = Faulty::start(move |_| to(&target)).await;
    assert_eq!(read_all(&http(with_token()), &ask(&server, None)).await, b"0123456789");
    assert_eq!(server.seen()[0].header("x-token"), Some("secret"));
    assert_eq!(other.seen()[0].header("x-token"), None);
    let bare = http(with_token()).bare();
    read_all(&bare, &OriginGet::whole(other.url("/film.flv"))).await;
    assert_eq!(other.seen()[1].header("x-token"), None);
}

#[tokio::test]
async fn loops_chains_and_growing_urls_end() {
    let server = Faulty::start(|seen| match seen.path() {
        "/loop" => to("/loop"),
        path if path.starts_with("/grow") => to(&format!("{path}{}", "y".repeat(3000))),
        path => to(&format!("{path}x")),
    })
    .await;
    for path in ["/loop", "/chain", "/grow"] {
        let before = server.seen().len();
        let error = read(&http(config()), &OriginGet::whole(server.url(path))).await.unwrap_err();
        assert!(matches!(error, OriginError::Malformed { .. }), "{error:?}");
        assert!(server.seen().len() - before <= 12, "six requests, and once more");
    }
}

#[tokio::test]
async fn a_redirect_into_the_inner_network_is_refused() {
    let inner = Faulty::start(|_| whole("200 OK", &[], b"the crown jewels")).await;
    let port = inner.address.port();
    for target in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("//localhost:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let location = target.clone();
        let server = Faulty::start(move |_| to(&location)).await;
        let only = HttpConfig { allow: vec![server.address.to_string().parse().unwrap()], ..config() };
        let error = read(&http(only), &ask(&server, None)).await.unwrap_err();
        assert!(matches!(error, OriginError::Forbidden { .. }), "{target}: {error:?}");
        assert_eq!(server.seen().len(), 1, "what is forbidden is not retried");
    }
    assert_eq!(inner.connections(), 0);
}

/// Where it should lead at first, then to a metadata service: DNS rebinding.
#[derive(Debug, Default)]
struct Rebinding(std::sync::atomic::AtomicUsize);

#[pcdn_core::async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        let first = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        Ok(vec![if first { "127.0.0.1" } else { "169.254.169.254" }.parse().unwrap()])
    }
}

#[tokio::test]
async fn a_name_that_rebinds_is_refused_when_it_does() {
    let server = Faulty::start(|seen| [right(seen, b"0123456789", "\"a\""), vec![Act::Close]].concat()).await;
    let lookup = std::sync::Arc::new(Rebinding::default());
    let url = format!("http://rebind.example:{}/", server.address.port());
    let want = OriginGet::whole(url.parse().unwrap());

    let stranger = Http::with_lookup(config(), Dice::new(1), lookup.clone()).unwrap();
    let error = stranger.get(&want).await.unwrap_err();
    assert!(
        matches!(error, OriginError::Forbidden { .. }),
        "a name nobody vouches for leads to loopback: {error:?}"
    );
    assert_eq!(server.connections(), 0);

    lookup.0.store(0, std::sync::atomic::Ordering::SeqCst);
    let config = HttpConfig { allow: vec!["rebind.example".parse().unwrap()], ..config() };
    let origin = Http::with_lookup(config, Dice::new(1), lookup).unwrap();
    assert_eq!(read_all(&origin, &want).await, b"0123456789");
    server.one_gone().await;
    let error = origin.get(&want).await.unwrap_err();
    assert!(matches!(error, OriginError::Forbidden { .. }), "{error:?}");
    assert_eq!(server.connections(), 1);
}
