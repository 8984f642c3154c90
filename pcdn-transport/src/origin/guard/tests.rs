use super::*;

fn guard(allow: &[&str]) -> Guard {
    Guard { allow: allow.iter().map(|text| text.parse().unwrap()).collect(), only_allowed: false }
}

fn refused(guard: &Guard, url: &str) -> bool {
    match Url::parse(url) {
        Ok(url) => matches!(guard.admit(&url), Err(OriginError::Forbidden { .. })),
        Err(_) => true,
    }
}

/// Every spelling of an inner address that has fooled somebody's filter.
const SPELLINGS: [&str; 42] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "127.0.0.1.",
    "127.255.255.254",
    "0.0.0.0",
    "0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[2002:7f00:1::]",
    "１２７.０.０.１",
];

#[test]
fn no_spelling_of_an_inner_address_is_fetched_from() {
    let guard = guard(&[]);
    for host in SPELLINGS {
        for url in [format!("http://{host}/"), format!("https://user:pw@{host}:8443/x")] {
            assert!(refused(&guard, &url), "{url}");
        }
    }
}

#[test]
fn other_schemes_are_refused() {
    for url in
        ["ftp://cdn.example/", "file:///etc/passwd", "gopher://cdn.example/", "ws://cdn.example/", "data:,x"]
    {
        assert!(refused(&guard(&["*"]), url), "{url}");
    }
}

#[test]
fn public_hosts_go_through_the_public_lane() {
    for url in
        ["http://cdn.example/", "https://8.8.8.8/", "http://[2606:4700::1]/", "http://[64:ff9b::8.8.8.8]/"]
    {
        assert_eq!(guard(&[]).admit(&Url::parse(url).unwrap()).unwrap(), Lane::Public, "{url}");
    }
}

/// `url` against one pattern: which lane, or refused.
fn check(pattern: &str, url: &str, want: Option<Lane>) {
    assert_eq!(guard(&[pattern]).admit(&Url::parse(url).unwrap()).ok(), want, "{pattern} {url}");
}

#[test]
fn a_named_host_may_be_private_on_its_port_only() {
    use Lane::{Named, Public};
    check("127.0.0.1:8080", "http://127.0.0.1:8080/", Some(Named));
    check("127.0.0.1:8080", "http://127.1:8080/", Some(Named));
    check("127.0.0.1:8080", "http://127.0.0.1:8081/", None);
    check("127.0.0.1", "http://127.0.0.1:9/", Some(Named));
    check("[::1]:80", "http://[::1]/", Some(Named));
    check("[::1]", "http://[::1]:81/", Some(Named));
    check("localhost:8080", "http://localhost:8080/", Some(Named));
    check("LocalHost:8080", "http://localhost.:8080/", Some(Named));
    check("localhost:8080", "http://localhost/", Some(Public));
    check("cdn.example:443", "https://cdn.example/", Some(Named));
    check("10.*", "http://10.1.2.3/", Some(Named));
    check("*", "http://10.1.2.3/", Some(Named));
}

#[test]
fn a_glob_lets_in_only_what_it_means() {
    use Lane::{Named, Public};
    check("*.example", "http://a.b.example/", Some(Named));
    check("*.example", "http://example/", Some(Public));
    check("*.example", "http://a.example.evil/", Some(Public));
    // The owner of evil.net may point any name at loopback: a glob of addresses must not trust it.
    check("10.*", "http://10.evil.net/", Some(Public));
    check("*.1", "http://127.0.0.1/", Some(Named));
    check("c*", "http://127.0.0.1/", None);
    // Metadata services are named exactly or not at all.
    check("*", "http://169.254.169.254/", None);
    check("169.254.*", "http://169.254.169.254/", None);
    check("*", "http://[fd00:ec2::254]/", None);
    check("*", "http://[::ffff:169.254.169.254]/", None);
    check("169.254.169.254", "http://169.254.169.254/", Some(Named));
}

#[test]
fn only_allowed_refuses_the_rest_of_the_world() {
    let guard = Guard { only_allowed: true, ..guard(&["cdn.example"]) };
    assert!(!refused(&guard, "https://cdn.example/"));
    assert!(refused(&guard, "https://other.example/"));
    assert!(refused(&guard, "https://8.8.8.8/"));
}

#[test]
fn patterns_read_and_print() {
    for (text, want) in
        [("CDN.Example", "cdn.example"), ("[::1]:80", "[::1]:80"), ("0x7f.1:9", "127.0.0.1:9"), ("*", "*")]
    {
        assert_eq!(text.parse::<OriginPattern>().unwrap().to_string(), want);
    }
    for bad in ["", "http://x/", "x:port", "x:99999", "a b", "x/y", "::1", "u@x", "x?y", "*/x", "*@x", "[*]"]
    {
        assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
    }
}

#[derive(Debug)]
struct Scripted(Vec<IpAddr>);

#[async_trait::async_trait]
impl Lookup for Scripted {
    async fn lookup(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

async fn resolves(lane: Lane, addresses: &[&str]) -> bool {
    use reqwest::dns::Resolve;
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let resolver = Checked { lookup: std::sync::Arc::new(Scripted(addresses)), lane };
    resolver.resolve("cdn.example".parse().unwrap()).await.is_ok()
}

#[tokio::test]
async fn one_inner_address_among_public_ones_refuses_the_name() {
    assert!(resolves(Lane::Public, &["8.8.8.8", "2606:4700::1"]).await);
    assert!(!resolves(Lane::Public, &["8.8.8.8", "127.0.0.1"]).await);
    assert!(!resolves(Lane::Public, &["::ffff:10.0.0.1"]).await);
    assert!(resolves(Lane::Named, &["10.0.0.1"]).await);
    assert!(!resolves(Lane::Named, &["169.254.169.254"]).await);
}

proptest::proptest! {
    #[test]
    fn no_pattern_or_url_panics(pattern in "[a-z0-9.*:\\[\\]]{0,20}", url in "https?://[a-z0-9.:\\[\\]]{0,20}/") {
        if let (Ok(pattern), Ok(url)) = (pattern.parse(), Url::parse(&url)) {
            let _ = Guard { allow: vec![pattern], only_allowed: false }.admit(&url);
        }
    }
}
