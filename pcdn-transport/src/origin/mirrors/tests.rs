use super::*;
use bytes::Bytes;
use futures_util::stream;
use pcdn_core::origin::MockOrigin;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn at(host: &str) -> Url {
    url(&format!("http://{host}.example/film"))
}

fn body(validator: &str, items: Vec<Result<Bytes, OriginError>>) -> OriginBody {
    let head = ResourceHead { validator: Some(validator.into()), ..ResourceHead::default() };
    OriginBody { head, bytes: Box::pin(stream::iter(items)) }
}

fn down() -> OriginError {
    OriginError::Unreachable { why: "down".into() }
}

/// Which URLs were asked, with which validator.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// An origin that answers by `script`, noting what it was asked.
fn origin(
    asked: &Asked,
    script: impl Fn(&str, usize) -> Result<OriginBody, OriginError> + Send + Sync + 'static,
) -> Arc<dyn Origin> {
    let asked = asked.clone();
    let mut mock = MockOrigin::new();
    mock.expect_get().returning(move |want| {
        let mut asked = asked.lock().unwrap();
        let host = want.url.host_str().unwrap_or_default().split('.').next().unwrap_or_default().to_owned();
        asked.push((host.clone(), want.validator.clone()));
        script(&host, asked.len())
    });
    Arc::new(mock)
}

fn hosts(asked: &Asked) -> String {
    asked.lock().unwrap().drain(..).map(|(host, _)| host).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn the_next_takes_over_and_the_first_comes_back() {
    let asked = Asked::default();
    let origin = origin(&asked, |host, nth| match (host, nth) {
        ("a", 1) => Err(down()),
        (host, _) => Ok(body(host, Vec::new())),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("a"), at("c")]);
    let want = OriginGet::whole(at("a"));
    mirrors.get(&want).await.unwrap();
    assert_eq!(hosts(&asked), "a b");
    asked.lock().unwrap().extend([("x".into(), None), ("x".into(), None)]);
    mirrors.get(&want).await.unwrap();
    assert!(hosts(&asked).ends_with("x b"), "the failed one is put aside");
    asked.lock().unwrap().push(("x".into(), None));
    tokio::time::advance(Duration::from_secs(2)).await;
    mirrors.get(&want).await.unwrap();
    assert_eq!(hosts(&asked), "x a", "and comes back");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_counts_against_its_url() {
    let asked = Asked::default();
    let origin = origin(&asked, |host, _| match host {
        "a" => Ok(body("a", vec![Ok(Bytes::from_static(b"0123")), Err(down())])),
        host => Ok(body(host, Vec::new())),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b")]);
    let want = OriginGet::whole(at("a"));
    let items: Vec<_> = mirrors.get(&want).await.unwrap().bytes.collect().await;
    assert!(items[0].is_ok() && items[1].is_err());
    mirrors.get(&want).await.unwrap();
    assert_eq!(hosts(&asked), "a b");
}

#[tokio::test(start_paused = true)]
async fn each_url_is_held_to_its_own_validator() {
    let asked = Asked::default();
    let origin = origin(&asked, |host, nth| match (host, nth) {
        ("a", 2..) => Err(down()),
        (host, _) => Ok(body(host, Vec::new())),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b")]);
    mirrors.get(&OriginGet::whole(at("a"))).await.unwrap();
    let want = OriginGet { validator: Some("a".into()), ..OriginGet::whole(at("a")) };
    mirrors.get(&want).await.unwrap();
    mirrors.get(&want).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let want = [("a", None), ("a", some("a")), ("b", None), ("b", some("b"))].map(|(h, v)| (h.to_owned(), v));
    assert_eq!(*asked.lock().unwrap(), want);
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_first_url_ends_it_and_a_stale_mirror_does_not() {
    let changed = || Err(OriginError::Changed { what: "length".into() });
    let asked = Asked::default();
    let first = origin(&asked, move |_, _| changed());
    let mirrors = Mirrors::new(first.clone(), first, at("a"), vec![at("b")]);
    assert!(matches!(mirrors.get(&OriginGet::whole(at("a"))).await, Err(OriginError::Changed { .. })));
    assert_eq!(hosts(&asked), "a");

    let stale = origin(&asked, move |host, _| match host {
        "a" => Err(down()),
        "b" => changed(),
        host => Ok(body(host, Vec::new())),
    });
    let mirrors = Mirrors::new(stale.clone(), stale, at("a"), vec![at("b"), at("c")]);
    mirrors.get(&OriginGet::whole(at("a"))).await.unwrap();
    assert_eq!(hosts(&asked), "a b c");
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_first_urls_error_is_reported() {
    let asked = Asked::default();
    let primary = origin(&asked, |_, _| Err(OriginError::Status { status: 403, retry_after: None }));
    let others = origin(&asked, |_, _| Err(down()));
    let mirrors = Mirrors::new(primary, others, at("a"), vec![at("b"), at("c")]);
    let error = mirrors.get(&OriginGet::whole(at("a"))).await.unwrap_err();
    assert!(matches!(error, OriginError::Status { status: 403, .. }));
    assert_eq!(hosts(&asked), "a b c");
    mirrors.get(&OriginGet::whole(at("other"))).await.unwrap_err();
    assert_eq!(hosts(&asked), "other", "another content's URL has no mirrors here");
}

/// What an origin of a film answers: the asked range of it, in chunks, with a fault after some of them.
fn ranged(film: &'static [u8], want: &OriginGet, fault: Option<(usize, Fault)>) -> OriginBody {
    let (start, end) = want.range.map_or((0, film.len()), |r| (r.start() as usize, r.end() as usize));
    let chunks: Vec<_> = film[start..end].chunks(10).map(|part| Ok(Bytes::from_static(part))).collect();
    let head = ResourceHead { len: Some(film.len() as u64), ranges: true, ..ResourceHead::default() };
    let bytes = stream::iter(chunks);
    let bytes: pcdn_core::discovery::BoxStream<_> = match fault {
        None => Box::pin(bytes),
        Some((after, Fault::Breaks)) => Box::pin(bytes.take(after).chain(stream::iter([Err(down())]))),
        Some((after, Fault::Hangs)) => Box::pin(bytes.take(after).chain(stream::pending())),
    };
    OriginBody { head, bytes }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Breaks,
    Hangs,
}

const FILM: &[u8] =
    b"The first ten and ten more and ten again, then the rest of all the bytes that there are in it.";

/// Hosts and ranges that were asked for.
type Ranges = Arc<Mutex<Vec<(String, Option<(u64, u64)>)>>>;

/// `script` says what a host does with a request.
fn films(
    asked: &Ranges,
    script: impl Fn(&str, &OriginGet) -> Result<OriginBody, Duration> + Send + Sync + 'static,
) -> Arc<dyn Origin> {
    Arc::new(Films { asked: asked.clone(), script: Box::new(script) })
}

type Script = dyn Fn(&str, &OriginGet) -> Result<OriginBody, Duration> + Send + Sync;

struct Films {
    asked: Ranges,
    script: Box<Script>,
}

impl std::fmt::Debug for Films {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Films")
    }
}

#[async_trait]
impl Origin for Films {
    async fn head(&self, _: &Url) -> Result<ResourceHead, OriginError> {
        Err(down())
    }
    async fn confirm(&self, url: &Url, _: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.head(url).await
    }
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let host = want.url.host_str().unwrap_or_default().split('.').next().unwrap_or_default().to_owned();
        let range = want.range.map(|range| (range.start(), range.end()));
        self.asked.lock().unwrap().push((host.clone(), range));
        match (self.script)(&host, want) {
            Ok(body) => Ok(body),
            Err(silence) => {
                tokio::time::sleep(silence).await;
                Err(down())
            }
        }
    }
}

async fn all(origin: &Mirrors, want: &OriginGet) -> Vec<u8> {
    let mut body = origin.get(want).await.unwrap().bytes;
    let mut got = Vec::new();
    while let Some(bytes) = body.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    got
}

fn part(start: u64, end: u64) -> OriginGet {
    OriginGet { range: ByteRange::new(start, end), ..OriginGet::whole(at("a")) }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_goes_on_elsewhere_at_the_very_byte() {
    for fault in [Fault::Breaks, Fault::Hangs] {
        let asked = Ranges::default();
        let origin = films(&asked, move |host, want| match host {
            "a" if want.range.is_none_or(|range| range.end() > 50) => {
                Ok(ranged(FILM, want, Some((3, fault))))
            }
            _ => Ok(ranged(FILM, want, None)),
        });
        let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b")]);
        let begun = Instant::now();
        assert_eq!(all(&mirrors, &part(0, 90)).await, &FILM[..90], "{fault:?}");
        assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
        // What the mirror shows first is what the first URL gave; then the rest, and no byte of it twice.
        let asked_b: Vec<_> = asked.lock().unwrap().iter().filter(|(host, _)| host == "b").cloned().collect();
        assert!(asked_b.contains(&("b".to_owned(), Some((30, 90)))), "{asked_b:?}");
        assert_eq!(all(&mirrors, &OriginGet::whole(at("a"))).await, FILM, "{fault:?}: a whole body, too");
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_is_late_is_not_waited_for_alone() {
    let asked = Ranges::default();
    let late = Duration::from_secs(30);
    let origin = films(&asked, move |host, want| match host {
        "a" => Err(late),
        _ => Ok(ranged(FILM, want, None)),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("c")]);
    let begun = Instant::now();
    assert_eq!(all(&mirrors, &part(0, 50)).await, &FILM[..50]);
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    all(&mirrors, &part(50, 60)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "it is put aside");
    let hosts: Vec<String> = asked.lock().unwrap().iter().map(|(host, _)| host.clone()).collect();
    assert_eq!(hosts, ["a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn hedges_have_a_budget() {
    let asked = Ranges::default();
    let slow = Duration::from_secs(5);
    let origin = films(&asked, move |_, _| Err(slow));
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("c"), at("d")]);
    for _ in 0..20 {
        mirrors.get(&part(0, 50)).await.unwrap_err();
    }
    let begun = Instant::now();
    mirrors.get(&part(0, 50)).await.unwrap_err();
    assert_eq!(
        begun.elapsed(),
        slow * 4,
        "one after the other: where all are slow, asking more makes it worse"
    );
}

#[tokio::test(start_paused = true)]
async fn a_mirror_with_other_bytes_is_dropped_before_it_gives_any() {
    static OTHER: &[u8] = &[b'x'; 94];
    assert_eq!(OTHER.len(), FILM.len());
    let asked = Ranges::default();
    let origin = films(&asked, move |host, want| match host {
        "a" if want.range.is_some_and(|range| range.end() > 50) => {
            Ok(ranged(FILM, want, Some((3, Fault::Breaks))))
        }
        "b" => Ok(ranged(OTHER, want, None)),
        _ => Ok(ranged(FILM, want, None)),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("c")]);
    assert_eq!(all(&mirrors, &part(0, 90)).await, &FILM[..90]);
    asked.lock().unwrap().clear();
    tokio::time::advance(Duration::from_secs(3600)).await;
    for _ in 0..5 {
        assert_eq!(all(&mirrors, &part(0, 90)).await, &FILM[..90]);
    }
    assert!(asked.lock().unwrap().iter().all(|(host, _)| host != "b"), "never again");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_of_another_length_or_tag_is_dropped() {
    let asked = Ranges::default();
    let origin = films(&asked, move |host, want| match host {
        "a" if want.range.is_some_and(|range| range.end() > 50) => Err(Duration::ZERO),
        "b" => Ok(ranged(&FILM[..93], want, None)),
        _ => Ok(ranged(FILM, want, None)),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("c")]);
    all(&mirrors, &part(0, 50)).await;
    assert_eq!(all(&mirrors, &part(50, 90)).await, &FILM[50..90]);
    asked.lock().unwrap().clear();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(all(&mirrors, &part(50, 90)).await, &FILM[50..90]);
    assert!(asked.lock().unwrap().iter().all(|(host, _)| host != "b"));

    let asked = Asked::default();
    let origin = self::origin(&asked, |host, nth| match (host, nth) {
        ("a", 2..) => Err(down()),
        (host, _) => Ok(body(if host == "c" { "a" } else { host }, Vec::new())),
    });
    let mirrors = Mirrors::new(origin.clone(), origin, at("a"), vec![at("b"), at("c")]).same_tags(true);
    for _ in 0..2 {
        mirrors.get(&OriginGet::whole(at("a"))).await.unwrap();
    }
    assert_eq!(hosts(&asked), "a a b c");
}

#[tokio::test(start_paused = true)]
async fn a_tree_of_files_finds_a_dead_place_out_once() {
    let asked = Ranges::default();
    let log = asked.clone();
    let late = Duration::from_secs(30);
    let dead = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let dies = dead.clone();
    let origin = films(&asked, move |host, want| match host {
        "a" if dies.load(std::sync::atomic::Ordering::SeqCst) => Err(late),
        _ => Ok(ranged(FILM, want, None)),
    });
    let playlist = url("http://a.example/show/1/index.m3u8?token=1");
    let other = url("http://b.example/copies/show/index.m3u8");
    assert!(
        MirroredTree::new(origin.clone(), origin.clone(), &playlist, &[at("b")]).is_none(),
        "another name"
    );
    let tree = MirroredTree::new(origin.clone(), origin, &playlist, &[other]).unwrap();
    let get = async |path: &str| {
        let want = OriginGet { range: ByteRange::new(0, 40), ..OriginGet::whole(url(path)) };
        let mut body = tree.get(&want).await?.bytes;
        let mut got = Vec::new();
        while let Some(bytes) = body.next().await {
            got.extend_from_slice(&bytes?);
        }
        Ok::<_, OriginError>(got)
    };
    assert_eq!(get("http://a.example/show/1/0.ts?token=1").await.unwrap(), &FILM[..40]);
    dead.store(true, std::sync::atomic::Ordering::SeqCst);
    let begun = Instant::now();
    assert_eq!(get("http://a.example/show/1/hi/1.ts?token=1").await.unwrap(), &FILM[..40]);
    assert!(begun.elapsed() <= Duration::from_secs(1));
    let begun = Instant::now();
    for n in 2..5 {
        assert_eq!(get(&format!("http://a.example/show/1/hi/{n}.ts")).await.unwrap(), &FILM[..40]);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let begun = Instant::now();
    for beside in ["http://a.example/other/1.ts", "http://c.example/show/1/1.ts"] {
        let _ = get(beside).await;
    }
    assert_eq!(begun.elapsed(), late, "what lies elsewhere has no mirrors");
    assert!(log.lock().unwrap().iter().any(|(host, _)| host == "b"));
}
