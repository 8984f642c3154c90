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
