//! What every [`Origin`] must do: give exactly the bytes that were asked for, or an error.

use std::future::poll_fn;

use bytes::Bytes;

use crate::error::Judged;
use crate::origin::{Origin, OriginBody, OriginError, OriginGet};
use crate::range::ByteRange;
use crate::resource::{ResourceHead, Url};
use crate::testing::{both, within};

/// Asserts the contract against a server that has `body` (at least 100,000 bytes) at `url`, with ranges and a strong
/// validator, and nothing at `missing`.
///
/// # Panics
/// With the clause that is broken.
pub async fn origin<O: Origin>(origin: &O, url: &Url, body: &Bytes, missing: &Url) {
    let len = body.len() as u64;
    assert!(len >= 100_000, "the suite needs a body of at least 100,000 bytes");
    let head = within("head must end", origin.head(url)).await;
    let head = head.unwrap_or_else(|error| panic!("head must succeed: {error}"));
    assert_eq!(head.len, Some(len), "head must tell the length");
    assert!(head.ranges, "head must tell that ranges are served");

    let whole = OriginGet::whole(url.clone());
    assert_eq!(get(origin, &whole).await, *body, "the whole must be the whole");
    let known = OriginGet { validator: head.validator.clone(), len: Some(len), ..whole.clone() };
    for (start, end) in [(0, 1), (len - 1, len), (0, len), (4_097, 70_001)] {
        let range = ByteRange::new(start, end);
        let want = body.slice(start as usize..end as usize);
        let got = get(origin, &OriginGet { range, ..known.clone() }).await;
        assert!(got == want, "bytes {start}..{end} must be exactly these");
    }
    what_it_has_is_confirmed(origin, url, &head).await;
    two_at_once(origin, &known, body).await;
    a_dropped_body_harms_nobody(origin, &known, body).await;
    another_version_is_an_error(origin, &known).await;
    what_is_not_there_is_an_error(origin, missing).await;
}

async fn what_it_has_is_confirmed<O: Origin>(origin: &O, url: &Url, head: &ResourceHead) {
    let same = within("confirm must end", origin.confirm(url, head)).await;
    let same = same.unwrap_or_else(|error| panic!("confirm must succeed for what is there: {error}"));
    assert_eq!(
        (same.len, &same.validator),
        (head.len, &head.validator),
        "confirm must tell of the same content"
    );
    let other = ResourceHead {
        validator: Some("\"of-another-version\"".to_owned()),
        headers: Vec::new(),
        ..head.clone()
    };
    let error = within("confirm must end", origin.confirm(url, &other)).await.err();
    let changed = matches!(error, Some(OriginError::Changed { .. }));
    assert!(changed, "confirm of what is there no more must be Changed, not: {error:?}");
}

async fn two_at_once<O: Origin>(origin: &O, known: &OriginGet, body: &Bytes) {
    let (first, second) = (ByteRange::new(0, 50_000), ByteRange::new(50_000, 100_000));
    let (first, second) =
        (OriginGet { range: first, ..known.clone() }, OriginGet { range: second, ..known.clone() });
    let (first, second) = both(get(origin, &first), get(origin, &second)).await;
    assert!(
        first == body[..50_000] && second == body[50_000..100_000],
        "transfers must not disturb each other"
    );
}

async fn a_dropped_body_harms_nobody<O: Origin>(origin: &O, known: &OriginGet, body: &Bytes) {
    let mut half = open(origin, known).await;
    let first = within("a body must come", next(&mut half)).await;
    assert!(matches!(first, Some(Ok(_))), "a body must have bytes");
    drop(half);
    assert_eq!(get(origin, known).await, *body, "a transfer after a dropped one must be whole");
}

async fn another_version_is_an_error<O: Origin>(origin: &O, known: &OriginGet) {
    let range = ByteRange::new(10, 20);
    let longer = OriginGet { len: known.len.map(|len| len + 1), range, ..known.clone() };
    let other = OriginGet { validator: Some("\"of-another-version\"".to_owned()), range, ..known.clone() };
    for (want, what) in [(longer, "length"), (other, "validator")] {
        let error = fails(origin, &want).await;
        let changed = matches!(error, OriginError::Changed { .. });
        assert!(changed, "another {what} than asked for must be Changed, not: {error}");
        assert!(!error.transient(), "asking again does not bring an old version back");
    }
}

async fn what_is_not_there_is_an_error<O: Origin>(origin: &O, missing: &Url) {
    let head = within("head must end", origin.head(missing)).await.err();
    let get = fails(origin, &OriginGet::whole(missing.clone())).await;
    for error in [head.unwrap_or_else(|| panic!("head of what is not there must fail")), get] {
        let said = matches!(error, OriginError::Status { status: 404, .. });
        assert!(said, "what is not there must be status 404, not: {error}");
        assert!(!error.transient(), "what is not there is not there later either");
    }
}

async fn open<O: Origin>(origin: &O, want: &OriginGet) -> OriginBody {
    let body = within("get must end", origin.get(want)).await;
    body.unwrap_or_else(|error| panic!("get must succeed: {error}"))
}

async fn next(body: &mut OriginBody) -> Option<Result<Bytes, OriginError>> {
    poll_fn(|cx| body.bytes.as_mut().poll_next(cx)).await
}

async fn get<O: Origin>(origin: &O, want: &OriginGet) -> Vec<u8> {
    let mut body = open(origin, want).await;
    assert!(
        body.head.len.is_none() || want.len.is_none() || body.head.len == want.len,
        "head.len is the whole's"
    );
    let mut all = Vec::new();
    while let Some(chunk) = within("a body must come", next(&mut body)).await {
        all.extend_from_slice(&chunk.unwrap_or_else(|error| panic!("a good body must not fail: {error}")));
    }
    all
}

/// The error of opening, or of the first bytes: an implementation may notice either way, but before it gives a byte.
async fn fails<O: Origin>(origin: &O, want: &OriginGet) -> OriginError {
    match within("get must end", origin.get(want)).await {
        Err(error) => error,
        Ok(mut body) => match within("a body must end", next(&mut body)).await {
            Some(Err(error)) => error,
            other => panic!("bytes of another version were given: {other:?}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ScriptedOrigin, content};

    #[test]
    fn the_scripted_origin_keeps_the_contract() {
        let (url, missing) =
            (Url::parse("http://h.example/f").unwrap(), Url::parse("http://h.example/no").unwrap());
        let body = content(200_000, 1);
        let scripted = ScriptedOrigin::new().with(&url, body.clone());
        crate::testing::block_on(origin(&scripted, &url, &body, &missing));
        assert!(scripted.counts().bytes >= 200_000);
    }
}
