use super::*;
use crate::answer::{Authority, MapAnswer, State, WELL_KNOWN};
use crate::signed::{KEY_HEADER, Kind, SIGNATURE_HEADER, sign};
use crate::{FirstOf, UrlHash};
use pcdn_core::clock::ManualClock;
use pcdn_core::id::{Identity, Rid};
use pcdn_core::resource::Generations;
use std::collections::BTreeMap;

const RULES: &str = "version = 3\n[[rule]]\nhost = 'ask.example'\nrid = 'url'\nask = true\n[[rule]]\nhost = 'key.example'\nkey = 'k'\n";

/// A node as a table of answers.
#[derive(Clone, Debug, Default)]
struct Script(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    answers: BTreeMap<String, Reply>,
    asked: Vec<(String, Option<String>)>,
    down: bool,
}

impl Script {
    fn with(self, path: &str, reply: Reply) -> Self {
        self.0.lock().unwrap().answers.insert(path.to_owned(), reply);
        self
    }

    fn down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

#[async_trait]
impl Ask for Script {
    async fn ask(&self, url: &Url, etag: Option<&str>, _: usize) -> Result<Reply, BoxError> {
        let mut inside = self.0.lock().unwrap();
        inside.asked.push((url.path().to_owned(), etag.map(str::to_owned)));
        if inside.down {
            return Err("connection refused".into());
        }
        let reply = inside.answers.get(url.path()).cloned();
        let same = |reply: &Reply| etag.is_some() && reply.header("etag") == etag;
        Ok(match reply {
            Some(reply) if same(&reply) => Reply { status: 304, body: Vec::new(), ..reply },
            Some(reply) => reply,
            None => Reply { status: 404, ..Reply::default() },
        })
    }
}

fn key() -> Identity {
    Identity::from_secret([5; 32])
}

fn signed(kind: Kind, body: &str, key: &Identity) -> Reply {
    let made = sign(kind, body.as_bytes(), key);
    let headers = [
        (KEY_HEADER, made.key.to_string()),
        (SIGNATURE_HEADER, made.text),
        ("etag", format!("\"{}\"", blake3::hash(body.as_bytes()).to_hex())),
        ("cache-control", "public, max-age=300".to_owned()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Reply { status: 200, headers, body: body.into() }
}

fn rules(text: &str) -> Reply {
    signed(Kind::Rules, text, &key())
}

fn answer(url: &str) -> MapAnswer {
    MapAnswer {
        url: Some(url.parse().unwrap()),
        rid: Rid([9; 32]),
        state: State::Ready,
        generations: Generations::ByLength,
        generation: Some("ab".into()),
        length: Some(7),
        validator: None,
        manifest: Some("/v1/manifest/09/ab".into()),
        urls: vec![url.parse().unwrap(), "http://mirror.example/f".parse().unwrap()],
        trackers: Vec::new(),
        ttl_s: 100,
        by: "rule 1".into(),
    }
}

fn map_reply(url: &str) -> Reply {
    signed(Kind::Map, &serde_json::to_string(&answer(url)).unwrap(), &key())
}

fn remote(script: &Script, pinned: Option<PeerId>, file: Option<PathBuf>) -> (Remote, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let config =
        RemoteConfig { node: "http://map.example".parse().unwrap(), key: pinned, file, unasked: false };
    (Remote::new(config, script.clone(), clock.clone()), clock)
}

async fn by(remote: &Remote, url: &str) -> Mapping {
    FirstOf::default().or(remote.clone()).or(UrlHash::new()).map(&url.parse().unwrap()).await.unwrap()
}

fn plain(url: &str) -> Rid {
    UrlHash::new().rid(&url.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn rules_are_fetched_once_and_asked_for_again_when_they_expire() {
    let script = Script::default().with("/v1/rules", rules(RULES));
    let (remote, clock) = remote(&script, Some(key().peer_id()), None);
    for _ in 0..3 {
        let mapped = by(&remote, "http://key.example/a?token=1").await;
        assert_eq!(mapped.by, "mapping node map.example, template rule 2");
    }
    assert_eq!(by(&remote, "http://other.example/f").await.rid, plain("http://other.example/f"));
    assert_eq!(script.asked(), 1);
    clock.advance(Duration::from_secs(301));
    by(&remote, "http://key.example/a").await;
    while script.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(script.0.lock().unwrap().asked[1].1.is_some(), "the second question is conditional");
}

#[tokio::test]
async fn only_where_a_rule_says_so_the_node_is_asked_and_its_answer_believed() {
    let url = "http://ask.example/f";
    let script = Script::default().with("/v1/rules", rules(RULES)).with("/v1/map", map_reply(url));
    let (remote, _) = remote(&script, None, None);
    let mapped = by(&remote, "http://user:pw@ask.example/f?token=secret").await;
    assert_eq!(mapped.rid, Rid([9; 32]));
    assert_eq!(mapped.manifest.unwrap().as_str(), "http://map.example/v1/manifest/09/ab");
    assert_eq!(mapped.signer, Some(key().peer_id()));
    assert_eq!(mapped.generations, Generations::ByLength);
    assert_eq!(mapped.dropped, ["token", "userinfo"]);
    assert_eq!(mapped.mirrors.len(), 1, "what the node was asked about is no other place");
    by(&remote, "http://ask.example/f?token=other").await;
    assert_eq!(script.asked(), 2, "one question for all tokens");
}

#[tokio::test]
async fn an_answer_to_another_question_or_by_another_key_is_not_used() {
    let other = map_reply("http://ask.example/other");
    let forged = signed(
        Kind::Map,
        &serde_json::to_string(&answer("http://ask.example/f")).unwrap(),
        &Identity::from_secret([6; 32]),
    );
    for reply in [other, forged, Reply { status: 500, ..Reply::default() }] {
        let script = Script::default().with("/v1/rules", rules(RULES)).with("/v1/map", reply);
        let (remote, clock) = remote(&script, None, None);
        for _ in 0..3 {
            let mapped = by(&remote, "http://ask.example/f").await;
            assert_eq!((mapped.rid, mapped.manifest), (plain("http://ask.example/f"), None));
        }
        assert_eq!(script.asked(), 2, "a node that fails is left alone for a while");
        clock.advance(Duration::from_secs(2));
        by(&remote, "http://ask.example/f").await;
        assert_eq!(script.asked(), 3);
    }
}

#[tokio::test]
async fn rules_of_another_key_of_no_key_or_of_yesterday_are_not_used() {
    let stranger = signed(Kind::Rules, RULES, &Identity::from_secret([6; 32]));
    let bare = Reply { headers: Vec::new(), ..rules(RULES) };
    let changed = Reply { body: RULES.replace("key.example", "bank.example").into(), ..rules(RULES) };
    for reply in [stranger, bare, changed, rules("nonsense")] {
        let script = Script::default().with("/v1/rules", reply);
        let (remote, _) = remote(&script, Some(key().peer_id()), None);
        let mapped = by(&remote, "http://key.example/a?token=1").await;
        assert_eq!(mapped.rid, plain("http://key.example/a"), "{}", mapped.by);
    }
    let script = Script::default().with("/v1/rules", rules(RULES));
    let (remote, clock) = remote(&script, None, None);
    let before = by(&remote, "http://key.example/a").await.rid;
    let script = script.with("/v1/rules", rules("version = 2\n[[rule]]\nhost = '*'\nkey = 'old'\n"));
    clock.advance(Duration::from_secs(301));
    by(&remote, "http://key.example/a").await;
    while script.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(by(&remote, "http://key.example/a").await.rid, before);
}

#[tokio::test]
async fn a_dead_node_stops_nobody_and_the_rules_of_the_last_run_hold() {
    let dir = tempfile::tempdir().unwrap();
    let file = Some(dir.path().join("rules.json"));
    let script = Script::default().with("/v1/rules", rules(RULES));
    script.down(true);
    let (dead, _) = remote(&script, None, file.clone());
    assert_eq!(by(&dead, "http://key.example/a?token=1").await.rid, plain("http://key.example/a"));
    script.down(false);
    let (first, _) = remote(&script, None, file.clone());
    let rid = by(&first, "http://key.example/a").await.rid;
    assert_ne!(rid, plain("http://key.example/a"));
    script.down(true);
    let (second, _) = remote(&script, None, file.clone());
    assert_eq!(by(&second, "http://key.example/b").await.rid, rid, "by the file");
    let asked = by(&second, "http://ask.example/f").await;
    assert_eq!(asked.rid, plain("http://ask.example/f"), "by the rule, without the node");
    let (pinned, _) = remote(&script, Some(Identity::from_secret([6; 32]).peer_id()), file.clone());
    assert_eq!(by(&pinned, "http://key.example/b").await.rid, plain("http://key.example/b"));
    std::fs::write(file.as_ref().unwrap(), "{").unwrap();
    let (damaged, _) = remote(&script, None, file);
    assert_eq!(by(&damaged, "http://key.example/b").await.rid, plain("http://key.example/b"));
}

#[tokio::test]
async fn an_origin_is_its_own_authority_with_a_file() {
    let authority = |key: Option<PeerId>, rules: &str| {
        let said = Authority { rules: Some(rules.into()), key, ..Authority::default() };
        Reply { status: 200, body: serde_json::to_vec(&said).unwrap(), ..Reply::default() }
    };
    let bare = Reply { headers: Vec::new(), ..rules(RULES) };
    for (said, works) in [
        (authority(None, "/pcdn-rules.toml"), true),
        (authority(Some(key().peer_id()), "/pcdn-rules.toml"), false),
        (authority(None, "http://elsewhere.example/pcdn-rules.toml"), false),
    ] {
        let script = Script::default().with(WELL_KNOWN, said).with("/pcdn-rules.toml", bare.clone());
        let (remote, _) = remote(&script, None, None);
        let mapped = by(&remote, "http://key.example/a").await;
        assert_eq!(mapped.rid != plain("http://key.example/a"), works, "{}", mapped.by);
        // There is no mapping node to ask.
        assert_eq!(by(&remote, "http://ask.example/f").await.rid, plain("http://ask.example/f"));
    }
}

fn well_known(script: &Script) -> (FirstOf, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let mapper = WellKnown::new(script.clone(), clock.clone());
    (FirstOf::default().or(mapper).or(UrlHash::new()), clock)
}

async fn rid(mapper: &FirstOf, url: &str) -> Mapping {
    mapper.map(&url.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_origin_that_opts_in_names_its_own_contents_and_no_others() {
    let said = Authority {
        rules: Some("/pcdn-rules.toml".into()),
        trackers: vec!["t.example:7070".into()],
        ..Authority::default()
    };
    let said = Reply { status: 200, body: serde_json::to_vec(&said).unwrap(), ..Reply::default() };
    let bare = Reply { headers: Vec::new(), ..rules("version = 1\n[[rule]]\nhost = '*'\nkey = 'all'\n") };
    let script = Script::default().with(WELL_KNOWN, said).with("/pcdn-rules.toml", bare);
    let (mapper, _) = well_known(&script);
    let mapped = rid(&mapper, "https://u:p@key.example/a?x=1").await;
    assert_eq!(mapped.by, "mapping node key.example, template rule 1");
    assert_eq!(mapped.trackers, ["t.example:7070"]);
    rid(&mapper, "https://key.example/b").await;
    let paths: Vec<String> = script.0.lock().unwrap().asked.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, [WELL_KNOWN, "/pcdn-rules.toml"], "asked once, and for nothing else");
    // Another host, or port, has its own say.
    rid(&mapper, "https://key.example:8443/a").await;
    assert_eq!(script.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_the_file_is_asked_rarely_and_waited_for_once() {
    let script = Script::default();
    let (mapper, clock) = well_known(&script);
    for _ in 0..5 {
        assert_eq!(rid(&mapper, "http://key.example/a").await.rid, plain("http://key.example/a"));
    }
    assert_eq!(script.asked(), 1);
    clock.advance(Duration::from_secs(301));
    rid(&mapper, "http://key.example/a").await;
    assert_eq!(script.asked(), 2);

    /// Says nothing.
    #[derive(Debug)]
    struct Silent;
    #[async_trait]
    impl Ask for Silent {
        async fn ask(&self, _: &Url, _: Option<&str>, _: usize) -> Result<Reply, BoxError> {
            std::future::pending().await
        }
    }
    let clock = Arc::new(ManualClock::default());
    let mapper = FirstOf::default().or(WellKnown::new(Silent, clock.clone())).or(UrlHash::new());
    let begun = tokio::time::Instant::now();
    rid(&mapper, "http://key.example/a").await;
    assert_eq!(begun.elapsed(), Duration::from_millis(300));
    clock.advance(Duration::from_millis(300));
    rid(&mapper, "http://key.example/b").await;
    assert!(begun.elapsed() < Duration::from_millis(310), "nobody waits again");
    for n in 0..2 * 64 {
        clock.advance(Duration::from_secs(1));
        rid(&mapper, &format!("http://h{n}.example/")).await;
    }
}
