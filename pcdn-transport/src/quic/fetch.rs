//! Asking: one stream for each fetch. The request goes out, the wanted bytes come back in whatever order the network brings
//! them, and dropping the fetch stops the stream.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use pcdn_core::transport::{Chunk, Fetch, FetchError, Fetching, Refuse};
use quinn::{Connection, ReadError, RecvStream};
use tokio::time::Sleep;

use super::code;
use super::outgoing::Outgoing;
use crate::{request, want};

/// Fetches under way at most, in each direction: as the UDP transport.
pub(super) const FETCHES_MAX: usize = 256;
/// What a fetch refused for want of room is told.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// Asks for `fetch` on a stream of its own. `under_way` counts the session's fetches.
pub(super) fn start(connection: &Connection, under_way: &Arc<AtomicUsize>, fetch: &Fetch) -> Fetching {
    let wanted = Wanted::new(&want::ranges(request::asked(fetch), fetch.len));
    if wanted.left == 0 {
        return Fetching::scripted(Vec::new());
    }
    let Some(place) = Place::take(under_way) else {
        return Fetching::scripted(vec![Err(FetchError::Refused(Refuse::Busy(RETRY)))]);
    };
    let mut body = BytesMut::with_capacity(64);
    request::put_fetch(fetch, &mut body);
    let mut asking: BoxFuture<'static, _> = Box::pin(ask(connection.clone(), body.freeze()));
    // There mostly is room for a stream and a request: then it is asked at once, whenever somebody looks for the answer.
    let state = match (&mut asking).now_or_never() {
        None => State::Asking(asking),
        Some(Ok(answer)) => State::Answer(answer),
        Some(Err(why)) => return Fetching::scripted(vec![Err(why)]),
    };
    let late = Box::pin(tokio::time::sleep(fetch.within));
    Fetching::new(Box::pin(Answer {
        state,
        wanted,
        ready: VecDeque::new(),
        late,
        reading: Reading::InOrder,
        _place: place,
    }))
}

async fn ask(connection: Connection, body: Bytes) -> Result<RecvStream, FetchError> {
    let (send, recv) = connection.open_bi().await.map_err(|_| FetchError::Closed)?;
    // Given up half way, it must not look like a whole request.
    let mut send = Outgoing::new(send);
    send.set_priority(code::REQUEST_PRIORITY);
    send.write(body).await.ok_or(FetchError::Closed)?;
    send.finish();
    Ok(recv)
}

/// One of the places of fetches under way.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(under_way: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(under_way));
        // Taken first and given back if it was one too many: two takers at once never both get the last.
        (place.0.fetch_add(1, Ordering::Relaxed) < FETCHES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answer of one fetch. Dropping the stream in it tells the other end to stop.
struct Answer {
    state: State,
    wanted: Wanted,
    /// Parts of the last chunk that lie in further ranges.
    ready: VecDeque<Chunk>,
    late: Pin<Box<Sleep>>,
    reading: Reading,
    _place: Place,
}

/// How the stream is read. In order as long as nothing is missing, which saves quinn a twentieth of its work; out of order from
/// the first gap on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    InOrder,
    /// There was nothing to read in order. If there is still nothing when the stream wakes its reader, something else has come.
    InOrderDry,
    AsItComes,
}

enum State {
    Asking(BoxFuture<'static, Result<RecvStream, FetchError>>),
    Answer(RecvStream),
    Over,
}

impl Answer {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, FetchError>>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            let answer = match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Asking(asking) => {
                    self.state = State::Answer(ready!(asking.as_mut().poll(cx))?);
                    continue;
                }
                State::Answer(answer) => answer,
            };
            let ordered = self.reading != Reading::AsItComes;
            let read = pin!(answer.read_chunk(usize::MAX, ordered)).poll(cx);
            match (self.reading, read.is_pending()) {
                (Reading::InOrder, true) => self.reading = Reading::InOrderDry,
                (Reading::InOrderDry, true) => {
                    self.reading = Reading::AsItComes;
                    continue;
                }
                (Reading::InOrderDry, false) => self.reading = Reading::InOrder,
                _ => {}
            }
            if read.is_pending() && self.wanted.left == 0 {
                // Only the end of the stream is still to come, and that says nothing new.
                return Poll::Ready(None);
            }
            match ready!(read) {
                Ok(Some(chunk)) => {
                    let first = self.wanted.place(chunk.offset, chunk.bytes, &mut self.ready)?;
                    return Poll::Ready(Some(Ok(first)));
                }
                Ok(None) if self.wanted.left == 0 => return Poll::Ready(None),
                Ok(None) => return Poll::Ready(Some(Err(violation("it ended before its last byte")))),
                Err(error) => return Poll::Ready(Some(Err(error_of(error)))),
            }
        }
    }
}

impl Stream for Answer {
    type Item = Result<Chunk, FetchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if matches!(self.state, State::Over) {
            return Poll::Ready(None);
        }
        let mut next = self.poll_answer(cx);
        if next.is_pending() && self.late.as_mut().poll(cx).is_ready() {
            next = Poll::Ready(Some(Err(FetchError::Timeout)));
        }
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.state = State::Over;
        }
        next
    }
}

fn violation(how: &str) -> FetchError {
    FetchError::Violation(format!("the answer is not what was asked: {how}"))
}

fn error_of(error: ReadError) -> FetchError {
    match error {
        ReadError::Reset(why) => code::to_error(why),
        // Early data that was not taken: nobody has seen the request.
        ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected => FetchError::Closed,
        other => FetchError::Violation(other.to_string()),
    }
}

/// Where the bytes of an answer belong: the wanted ranges of the piece, one behind the other.
#[derive(Debug)]
struct Wanted {
    /// Each range with the place of its first byte in the answer.
    ranges: Vec<(u64, Range<u32>)>,
    left: u64,
}

impl Wanted {
    fn new(ranges: &[Range<u32>]) -> Self {
        let mut len = 0;
        let place = |range: &Range<u32>| {
            let at = len;
            len += u64::from(range.end - range.start);
            (at, range.clone())
        };
        Self { ranges: ranges.iter().map(place).collect(), left: len }
    }

    /// Cuts what came at `at` where the ranges are cut. Gives the first part, and the others, which are rare, to `more`.
    fn place(
        &mut self,
        mut at: u64,
        mut bytes: Bytes,
        more: &mut VecDeque<Chunk>,
    ) -> Result<Chunk, FetchError> {
        let too_long = || violation("it is too long");
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
        let mut next = self.ranges.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
        let mut part = |bytes: &mut Bytes| {
            let (begin, range) = self.ranges.get(next).ok_or_else(too_long)?;
            let offset = range.start as u64 + (at - begin);
            let room =
                u64::from(range.end).checked_sub(offset).filter(|room| *room > 0).ok_or_else(too_long)?;
            let fits = bytes.len() as u64 <= room;
            let part = if fits { std::mem::take(bytes) } else { bytes.split_to(room as usize) };
            at += part.len() as u64;
            next += 1;
            Ok(Chunk { offset: offset as u32, bytes: part })
        };
        let first = part(&mut bytes)?;
        while !bytes.is_empty() {
            more.push_back(part(&mut bytes)?);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(wanted: &mut Wanted, at: u64, bytes: &'static [u8]) -> Option<Vec<(u32, Bytes)>> {
        let mut more = VecDeque::new();
        let first = wanted.place(at, Bytes::from_static(bytes), &mut more).ok()?;
        Some(std::iter::once(first).chain(more).map(|chunk| (chunk.offset, chunk.bytes)).collect())
    }

    #[test]
    fn an_answer_is_cut_where_the_ranges_are() {
        let mut wanted = Wanted::new(&[2..4, 10..11, 20..25]);
        let parts = placed(&mut wanted, 1, b"bcd").unwrap();
        assert_eq!(parts, [(3, "b".into()), (10, "c".into()), (20, "d".into())]);
        assert_eq!(placed(&mut wanted, 0, b"a").unwrap(), [(2, "a".into())]);
        assert_eq!(placed(&mut wanted, 8, b"z"), None, "beyond the last wanted byte");
        assert_eq!(placed(&mut wanted, 4, b"efgh"), None, "more than is left");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_lies_in_what_was_wanted(
            cuts in proptest::collection::btree_set(0u32..500, 2..12), at in 0u64..600, len in 1usize..600,
        ) {
            let cuts: Vec<u32> = cuts.into_iter().collect();
            let ranges: Vec<Range<u32>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let (mut wanted, mut to) = (Wanted::new(&ranges), VecDeque::new());
            let total = wanted.left;
            let came = wanted.place(at, vec![0; len].into(), &mut to);
            assert_eq!(came.is_ok(), at + len as u64 <= total);
            for chunk in came.into_iter().chain(to) {
                let (begin, end) = (chunk.offset, chunk.offset + chunk.bytes.len() as u32);
                assert!(ranges.iter().any(|range| range.start <= begin && end <= range.end));
            }
        }
    }
}
