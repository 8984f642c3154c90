use pcdn_core::testing::{Fault, ScriptedOrigin};

use super::*;

fn at() -> Url {
    "http://cdn.example/film".parse().unwrap()
}

fn film(len: usize) -> Bytes {
    (0..len).map(|byte| (byte % 251) as u8).collect()
}

async fn begun(content: &Bytes) -> (ScriptedOrigin, ResourceHead, Begun) {
    let origin = ScriptedOrigin::new().with(&at(), content.clone());
    let begun = Begun::over(Arc::new(origin.clone()));
    let (head, first) = First::ask(&origin, &at()).await.unwrap();
    first.into_iter().for_each(|first| begun.add(first));
    (origin, head, begun)
}

fn want(range: std::ops::Range<u64>) -> OriginGet {
    OriginGet { range: ByteRange::new(range.start, range.end), ..OriginGet::whole(at()) }
}

async fn read(origin: &dyn Origin, want: &OriginGet) -> Vec<u8> {
    let mut body = origin.get(want).await.unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = body.bytes.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    all
}

/// Whatever of the beginning is asked for, it comes whole, and the first bytes of it once.
#[tokio::test]
async fn the_first_request_is_answered_by_the_transfer_under_way() {
    for len in [1, BYTES - 1, BYTES, BYTES + 1, 3 * BYTES] {
        let content = film(len as usize);
        for end in [1, BYTES - 1, BYTES, BYTES + 1, 2 * BYTES].map(|end| end.min(len)) {
            let (origin, head, begun) = begun(&content).await;
            assert_eq!(head.len, Some(len));
            let version = OriginGet { validator: head.validator, len: head.len, ..want(0..end) };
            assert!(read(&begun, &version).await == content[..end as usize], "{end} of {len}");
            let counts = origin.counts();
            assert_eq!((counts.heads, counts.gets), (0, 1 + u64::from(end > BYTES)), "{end} of {len}");
            // It served once.
            assert!(read(&begun, &want(0..1)).await == content[..1]);
            assert_eq!(origin.counts().gets, counts.gets + 1);
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_elsewhere_is_asked_of_the_origin() {
    let content = film(3 * BYTES as usize);
    let (_, _, begun) = begun(&content).await;
    assert!(read(&begun, &want(10..20)).await == content[10..20]);
    let other = OriginGet { validator: Some("\"other\"".to_owned()), ..want(0..10) };
    assert!(matches!(begun.get(&other).await, Err(OriginError::Changed { .. })));
}

#[tokio::test]
async fn what_has_no_first_byte_still_has_a_head() {
    let (origin, head, begun) = begun(&Bytes::new()).await;
    assert_eq!((head.len, origin.counts().heads), (Some(0), 1));
    assert!(matches!(begun.get(&want(0..1)).await, Err(OriginError::Status { status: 416, .. })));
}

#[tokio::test]
async fn an_origin_that_fails_is_not_asked_twice() {
    let origin = ScriptedOrigin::new().with(&at(), film(10)).then(Fault::Status(503));
    let failed = First::ask(&origin, &at()).await.map(drop);
    assert!(matches!(failed, Err(OriginError::Status { status: 503, .. })));
    assert_eq!((origin.counts().heads, origin.counts().gets), (0, 1));
}

#[tokio::test]
async fn what_is_here_already_is_not_read() {
    let (origin, _, begun) = begun(&film(10)).await;
    begun.close(&at());
    assert_eq!(read(&begun, &want(0..10)).await.len(), 10);
    assert_eq!(origin.counts().gets, 2);
}

#[tokio::test]
async fn each_url_has_its_own_and_the_oldest_gives_way() {
    let url = |n: usize| -> Url { format!("http://cdn.example/{n}").parse().unwrap() };
    let origin =
        (0..=UNDER_WAY_MAX).fold(ScriptedOrigin::new(), |origin, n| origin.with(&url(n), film(100 + n)));
    let begun = Begun::over(Arc::new(origin.clone()));
    for n in 0..=UNDER_WAY_MAX {
        let (head, first) = First::ask(&origin, &url(n)).await.unwrap();
        assert_eq!(head.len, Some(100 + n as u64));
        begun.add(first.unwrap());
    }
    let asked = origin.counts().gets;
    for n in 1..=UNDER_WAY_MAX {
        assert_eq!(read(&begun, &OriginGet::whole(url(n))).await, film(100 + n));
    }
    assert_eq!(origin.counts().gets, asked, "all these were on their way");
    assert_eq!(read(&begun, &OriginGet::whole(url(0))).await, film(100));
    assert_eq!(origin.counts().gets, asked + 1);
}

/// What a player is given before the swarm begins comes to the swarm as well.
#[tokio::test]
async fn what_is_here_with_the_head_is_given_twice() {
    let origin = ScriptedOrigin::new().with(&at(), film(10));
    let (_, first) = First::ask(&origin, &at()).await.unwrap();
    let first = first.unwrap();
    let here = first.here().unwrap();
    assert!(film(10).starts_with(&here) && !here.is_empty());
    let begun = Begun::over(Arc::new(origin.clone()));
    begun.add(first);
    assert_eq!(read(&begun, &want(0..10)).await, film(10));
}
