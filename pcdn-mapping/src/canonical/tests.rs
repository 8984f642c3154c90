use super::*;
use proptest::prelude::*;

fn text(url: &str) -> String {
    canonical(&Url::parse(url).unwrap()).unwrap().text
}

/// `url` has this canonical form after `http(s)://`, and dropped these names.
fn check(url: &str, want: &str, dropped: &[&str]) {
    let got = canonical(&Url::parse(url).unwrap()).unwrap();
    assert_eq!(got.text, format!("http(s)://{want}"), "{url}");
    assert_eq!(got.dropped, dropped, "{url}");
}

#[test]
fn spelling_does_not_matter() {
    check("HTTP://H.Example:80/a/./b/../c", "h.example/a/c", &[]);
    check("https://h.example.:443/%7euser?#top", "h.example/~user", &[]);
    check("http://u:p@h.example", "h.example/", &["userinfo"]);
    check("http://h.example/f?b=2&&a=1&a", "h.example/f?a&a=1&b=2", &[]);
    check("http://h.example/f;jsessionid=0A?x=1", "h.example/f?x=1", &[";jsessionid"]);
    check("http://h.example/a;v=2;PHPSESSID=1/b", "h.example/a;v=2/b", &[";phpsessid"]);
    // Found by fuzzing: without its session `.;jsessionid` would have become the directory itself.
    check("http://h.example/a/.;jsessionid=0A", "h.example/a/.;", &[";jsessionid"]);
    check("http://0x7f.1/", "127.0.0.1/", &[]);
}

#[test]
fn what_may_mean_something_is_kept() {
    for (a, b) in [
        ("/a", "/a/"),
        ("/a", "//a"),
        ("/a", "/A"),
        ("/a%2Fb", "/a/b"),
        ("/a+b", "/a%20b"),
        ("/f?a", "/f?a="),
        ("/f?a=1", "/f?A=1"),
        ("/f?uid=1", "/f?uid=2"),
        ("/f?versionId=1", "/f?versionId=2"),
        ("/f?key=1", "/f?key=2"),
        ("/f?x-oss-process=a", "/f?x-oss-process=b"),
        ("/f?se=1", "/f?se=2"),
        ("/f?policy=1", "/f?policy=2"),
        ("/f?token=x&e=1", "/f?token=x&e=2"),
        ("/f?_HLS_msn=1", "/f?_HLS_msn=2"),
        ("/f?t=1700000000", "/f?t=1700000001"),
        ("/f?response-content-type=a", "/f?response-content-type=b"),
    ] {
        assert_ne!(text(&format!("http://h.example{a}")), text(&format!("http://h.example{b}")), "{a} {b}");
    }
    assert_ne!(text("http://h.example:8080/"), text("http://h.example/"));
}

#[test]
fn only_http_urls_of_reasonable_length_are_mapped() {
    let long = format!("http://h.example/{}", "a".repeat(URL_BYTES_MAX));
    for url in ["ftp://h.example/f", "file:///f", "data:,f", "http://./", &long] {
        assert!(matches!(canonical(&Url::parse(url).unwrap()), Err(MapError::NotHttp(_))));
    }
}

#[test]
fn signed_urls_of_every_kind_lose_their_signatures() {
    for query in [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=C&X-Amz-Date=D&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=S&X-Amz-Security-Token=T&x-id=GetObject",
        "AWSAccessKeyId=A&Expires=1&Signature=S",
        "X-Goog-Algorithm=A&X-Goog-Credential=C&X-Goog-Date=D&X-Goog-Expires=1&X-Goog-SignedHeaders=host&X-Goog-Signature=S",
        "GoogleAccessId=G&Expires=1&Signature=S",
        "URLPrefix=P&Expires=1&KeyName=K&Signature=S",
        "sv=2022-11-02&ss=b&srt=sco&sp=r&se=2026-01-01T00%3A00%3A00Z&st=2025-01-01&spr=https&sr=b&sig=S",
        "OSSAccessKeyId=A&Expires=1&Signature=S&security-token=T",
        "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=C&x-oss-date=D&x-oss-expires=1&x-oss-signature=S",
        "AccessKeyId=A&Expires=1&Signature=S&x-obs-security-token=T",
        "X-Obs-Algorithm=A&X-Obs-Credential=C&X-Obs-Date=D&X-Obs-Expires=1&X-Obs-SignedHeaders=h&X-Obs-Signature=S",
        "q-sign-algorithm=sha1&q-ak=A&q-sign-time=1%3B2&q-key-time=1%3B2&q-header-list=&q-url-param-list=&q-signature=S",
        "Policy=P&Signature=S&Key-Pair-Id=K",
        "Expires=1&Signature=S&Key-Pair-Id=K&Hash-Algorithm=SHA256",
        "hdnea=st=1~exp=2~acl=/*~hmac=H",
        "hdnts=exp=2~hmac=H",
        "auth_key=1700000000-0-0-abc",
        "txSecret=S&txTime=1A2B3C",
        "wsSecret=S&wsTime=1",
        "e=1700000000&token=ak:sig",
        "sign=S&t=1700000000",
        "%74oken=x&SIG=y&Session=z&utm_source=mail&fbclid=1",
        "CMCD=bl%3D21300%2Cbr%3D3200%2Csid%3D%226e2f%22",
    ] {
        let signed = text(&format!("http://h.example/f?quality=hd&{query}"));
        assert_eq!(signed, "http(s)://h.example/f?quality=hd", "{query}");
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    url: String,
    canonical: String,
    rid: String,
    dropped: Vec<String>,
}

#[test]
fn golden_vectors_hold() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../tests/vectors/urls.json")).unwrap();
    assert!(vectors.len() >= 10);
    for Vector { url, canonical: want, rid, dropped } in vectors {
        let parsed = Url::parse(&url).unwrap();
        assert_eq!(canonical(&parsed).unwrap(), Canonical { text: want, dropped }, "{url}");
        assert_eq!(crate::UrlHash::new().rid(&parsed).unwrap().to_string(), rid, "{url}");
    }
}

/// URLs with everything in them that a rule looks at.
fn urls() -> impl Strategy<Value = String> {
    let path = "(/[a-z0-9%;=.~+]{0,8}){0,4}";
    let pair = "(token|Expires|se|sv|sig|e|q|a|b|utm_x|%71)(=[a-z0-9%+]{0,10})?";
    (path, prop::collection::vec(pair, 0..6))
        .prop_map(|(path, pairs)| format!("http://h.example{path}?{}", pairs.join("&")))
}

/// A URL with the canonical text, to be made canonical again.
fn again(text: &str) -> String {
    self::text(&text.replacen("http(s)", "https", 1))
}

proptest! {
    #[test]
    fn a_second_time_changes_nothing(url in urls()) {
        let once = text(&url);
        prop_assert_eq!(&again(&once), &once);
    }

    #[test]
    fn order_does_not_matter(mut pairs in prop::collection::vec("[a-z]{1,3}=[0-9]{0,2}", 0..6), seed: u64) {
        let ordered = text(&format!("http://h.example/f?{}", pairs.join("&")));
        pcdn_core::dice::Dice::new(seed).shuffle(&mut pairs);
        prop_assert_eq!(text(&format!("http://h.example/f?{}", pairs.join("&"))), ordered);
    }

    #[test]
    fn credentials_do_not_matter_and_do_not_survive(
        secret in "[a-zA-Z0-9]{12,20}", path in "/[a-z]{1,5}", q in 0u8..9,
        name in "(token|Signature|X-Amz-Signature|hdnts|auth_key|SESSION|jwt|sig|q-signature)",
    ) {
        let plain = text(&format!("http://h.example{path}?q={q}"));
        let signed = text(&format!("https://user:{secret}@h.example{path};jsessionid={secret}?{name}={secret}&q={q}#{secret}"));
        prop_assert_eq!(&signed, &plain);
        prop_assert!(!signed.contains(&secret));
    }

    #[test]
    fn other_paths_are_other_contents(a in "/[a-z0-9]{1,6}(/[a-z0-9]{1,3})?", b in "/[a-z0-9]{1,6}(/[a-z0-9]{1,3})?") {
        prop_assume!(a != b);
        prop_assert_ne!(text(&format!("http://h.example{a}")), text(&format!("http://h.example{b}")));
    }

    #[test]
    fn no_url_panics(url in "https?://\\PC{0,80}") {
        if let Some(once) = Url::parse(&url).ok().and_then(|url| canonical(&url).ok()) {
            let once = once.text;
            prop_assert_eq!(&again(&once), &once);
        }
    }
}

/// Found by fuzzing: without its dots the name became an address.
#[test]
fn a_name_whose_dots_go_does_not_become_an_address() {
    for host in ["0.0..", "0x1..", "a.7.."] {
        let Ok(url) = Url::parse(&format!("http://{host}/f")) else { continue };
        let once = canonical(&url).unwrap().text;
        assert_eq!(again(&once), once, "{host}");
    }
    assert_eq!(text("http://h.example./f"), text("http://h.example/f"));
}
