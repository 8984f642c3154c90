use std::ops::Range;

use super::*;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::transport::Class;

const SUB: u16 = 1280;

fn fetch(len: u32, want: Vec<Range<u32>>) -> Fetch {
    let piece = Layout::new(len.into(), 16).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([1; 32]),
        piece: PieceKey { segment: SegmentId(0), piece },
        len,
        want,
        class: Class::Normal,
        within: Duration::from_secs(5),
    }
}

struct Asker {
    pull: Pull,
    rtt: Rtt,
    id: u32,
    content: Vec<u8>,
}

impl Asker {
    fn new(want: Vec<Range<u32>>) -> Self {
        let mut rtt = Rtt::default();
        rtt.sample(Duration::from_millis(20));
        let mut pull = Pull::default();
        let id = pull.begin(Time::ZERO, fetch(65_536, want), SUB);
        Self { pull, rtt, id, content: (0..65_536u32).map(|i| (i / 7) as u8).collect() }
    }

    fn req(&mut self, now: Time) -> Option<Req> {
        self.pull.next_req(now, &self.rtt)
    }

    fn data(&mut self, now: Time, sub: u16, ask: u16, last: bool) {
        let start = usize::from(sub) * usize::from(SUB);
        let content = self.content[start..(start + usize::from(SUB)).min(65_536)].to_vec();
        let data = Data { fetch: self.id, ask, sub, last, stamp: 0, content: &content };
        self.pull.data(now, &self.rtt, &data);
    }

    fn chunks(&mut self) -> (Vec<Chunk>, Option<Progress>) {
        let mut chunks = Vec::new();
        let mut end = None;
        for progress in self.pull.drain_progress() {
            match progress {
                Progress::Chunk(_, chunk) => chunks.push(chunk),
                other => end = Some(other),
            }
        }
        (chunks, end)
    }
}

#[test]
fn one_request_asks_for_all_and_all_comes_in_few_chunks() {
    let mut asker = Asker::new(vec![]);
    let req = asker.req(Time::ZERO).unwrap();
    assert_eq!((req.ask, req.subs.as_run()), (1, Some((0, 52))));
    assert!(asker.req(Time::ZERO).is_none(), "said once");
    (0..52).for_each(|sub| asker.data(Time::from_millis(20), sub, 1, sub == 51));
    let (chunks, end) = asker.chunks();
    assert_eq!(end, Some(Progress::Whole(asker.id)));
    assert!(chunks.len() <= 6, "{} chunks", chunks.len());
    let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    assert_eq!(joined, asker.content);
    assert!(asker.pull.is_idle());
}

#[test]
fn only_wanted_bytes_come_even_inside_a_sub_piece() {
    let mut asker = Asker::new(vec![5000..5010, 100..200, 150..300]);
    let req = asker.req(Time::ZERO).unwrap();
    assert_eq!(req.subs.iter().collect::<Vec<_>>(), [0, 3]);
    asker.data(Time::ZERO, 3, 1, false);
    asker.data(Time::ZERO, 0, 1, true);
    let (chunks, end) = asker.chunks();
    assert!(matches!(end, Some(Progress::Whole(_))));
    let spans: Vec<_> = chunks.iter().map(|c| (c.offset, c.bytes.len())).collect();
    assert_eq!(spans, [(5000, 10), (100, 200)]);
}

#[test]
fn three_later_packets_make_a_missing_one_lost() {
    let mut asker = Asker::new(vec![]);
    asker.req(Time::ZERO);
    let now = Time::from_millis(20);
    [0, 2, 3].iter().for_each(|sub| asker.data(now, *sub, 1, false));
    assert!(asker.req(now).is_none(), "it may only be late");
    asker.data(now, 4, 1, false);
    let again = asker.req(now).unwrap();
    assert_eq!((again.ask, again.subs.as_run()), (2, Some((1, 1))));
    asker.data(now, 5, 1, false);
    assert!(asker.req(now).is_none(), "the server had not seen the second ask");
}

#[test]
fn the_lost_tail_is_asked_for_when_the_server_says_done() {
    let mut asker = Asker::new(vec![]);
    asker.req(Time::ZERO);
    let now = Time::from_millis(20);
    (0..50).for_each(|sub| asker.data(now, sub, 1, false));
    asker.pull.done(now, &asker.rtt, asker.id, 1);
    let due = asker.pull.next_wake();
    assert!(due <= now + Duration::from_millis(5), "soon");
    asker.pull.wake(due, &asker.rtt);
    assert_eq!(asker.req(due).unwrap().subs.as_run(), Some((50, 2)));
}

#[test]
fn a_lost_request_is_repeated_with_ever_longer_pauses_and_then_times_out() {
    let mut asker = Asker::new(vec![]);
    asker.req(Time::ZERO);
    let mut said = vec![];
    while !asker.pull.is_idle() {
        let now = asker.pull.next_wake();
        asker.pull.wake(now, &asker.rtt);
        said.extend(asker.req(now).map(|req| (now, req)));
    }
    assert!(said.iter().all(|(_, req)| req.ask == 1 && req.subs.len() == 52));
    assert!((4..14).contains(&said.len()), "{} repetitions in 5 s", said.len());
    assert_eq!(asker.chunks().1, Some(Progress::Failed(asker.id, FetchError::Timeout)));
}

#[test]
fn what_nobody_asked_for_is_a_violation() {
    for (sub, ask) in [(60, 1), (0, 2)] {
        let mut asker = Asker::new(vec![]);
        asker.req(Time::ZERO);
        let data = Data { fetch: asker.id, ask, sub, last: false, stamp: 0, content: &[0; 1280] };
        asker.pull.data(Time::ZERO, &asker.rtt, &data);
        assert!(matches!(asker.chunks().1, Some(Progress::Failed(_, FetchError::Violation(_)))));
    }
}
