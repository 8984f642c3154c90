use super::*;
use crate::udp::frame::decode;
use crate::udp::subs::SubSet;
use pcdn_core::id::SwarmKey;
use pcdn_core::verify::Verified;

fn req(fetch: u32, ask: u16, subs: SubSet) -> Req {
    let (swarm, class) = (SwarmKey([1; 32]), Class::Normal);
    Req {
        fetch,
        ask,
        swarm,
        segment: 1,
        piece: 2,
        len: 16_384,
        class,
        within_ms: 1000,
        sub_bytes: 1280,
        subs,
    }
}

fn all() -> SubSet {
    SubSet::run(0, 13).unwrap()
}

fn grant() -> Grant {
    Grant::new(Verified::for_test(vec![7; 16_384]), None)
}

/// The sub-pieces that come out.
fn sent(serve: &mut Serve, now: Time) -> Vec<u16> {
    std::iter::from_fn(|| {
        let mut out = Vec::new();
        serve.write_data(now, Class::Normal, &mut out)?;
        let Some(Ok(Frame::Data(data))) = decode(&out).next() else { panic!("no data") };
        Some(data.sub)
    })
    .collect()
}

#[test]
fn a_request_goes_to_the_provider_once_and_each_sub_piece_out_once() {
    let mut serve = Serve::default();
    serve.req(Time::ZERO, req(1, 1, all()));
    serve.req(Time::ZERO, req(1, 1, all()));
    let demands: Vec<_> = serve.drain_demands().collect();
    assert!(matches!(&demands[..], [Demand::Open(1, fetch)] if fetch.want.is_empty()));
    assert!(matches!(serve.next_reply(Time::ZERO, false), Some(Frame::Got { fetch: 1, ask: 1, .. })));
    serve.granted(Time::ZERO, 1, grant());
    assert_eq!(sent(&mut serve, Time::ZERO), (0..13).collect::<Vec<_>>());
    let done = Time::ZERO + DONE_AFTER;
    assert_eq!(serve.next_reply(done, false), Some(Frame::Done { fetch: 1, ask: 1 }));
    serve.req(done, req(1, 1, all()));
    assert_eq!(
        serve.next_reply(done, false),
        Some(Frame::Done { fetch: 1, ask: 1 }),
        "a query, not a new request"
    );
}

#[test]
fn a_repair_is_served_from_warm_bytes_and_later_asks_the_provider_again() {
    let mut serve = Serve::default();
    serve.req(Time::ZERO, req(1, 1, all()));
    serve.granted(Time::ZERO, 1, grant());
    sent(&mut serve, Time::ZERO);
    serve.drain_demands().for_each(drop);
    let soon = Time::from_millis(100);
    serve.req(soon, req(1, 2, SubSet::run(4, 1).unwrap()));
    assert_eq!(sent(&mut serve, soon), [4]);
    let later = Time::from_secs(3);
    serve.wake(later);
    serve.req(later, req(1, 3, SubSet::run(5, 1).unwrap()));
    let demands: Vec<_> = serve.drain_demands().collect();
    assert!(
        matches!(&demands[..], [Demand::Open(1, fetch)] if matches!(fetch.want[..], [std::ops::Range { start: 6400, end: 7680 }]))
    );
}

#[test]
fn the_slot_is_free_once_the_last_sub_piece_is_out() {
    let slot = std::sync::Arc::new(());
    let mut serve = Serve::default();
    serve.req(Time::ZERO, req(1, 1, all()));
    let held = Grant::new(Verified::for_test(vec![7; 16_384]), Some(Box::new(slot.clone())));
    serve.granted(Time::ZERO, 1, held);
    for left in (0..13).rev() {
        assert_eq!(std::sync::Arc::strong_count(&slot), 2, "{left} left");
        serve.write_data(Time::ZERO, Class::Normal, &mut Vec::new()).unwrap();
    }
    assert_eq!(std::sync::Arc::strong_count(&slot), 1);
}

#[test]
fn too_many_requests_are_refused_and_cancels_reach_the_provider() {
    let mut serve = Serve::default();
    (0..=REQUESTS_MAX as u32).for_each(|id| serve.req(Time::ZERO, req(id, 1, all())));
    assert_eq!(serve.drain_demands().count(), REQUESTS_MAX);
    let busy = Frame::Refuse { fetch: REQUESTS_MAX as u32, code: 1, retry_ms: 100 };
    assert_eq!(serve.next_reply(Time::ZERO, false), Some(busy));
    serve.cancel(7);
    assert_eq!(serve.drain_demands().collect::<Vec<_>>(), [Demand::Abandon(7)]);
    serve.wake(Time::from_secs(1));
    assert_eq!(serve.drain_demands().count(), REQUESTS_MAX - 1, "too late to be of use");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut serve = Serve::default();
    let mut bad = vec![req(1, 1, SubSet::run(13, 1).unwrap()), req(2, 1, SubSet::default())];
    bad.push(Req { piece: u32::MAX, ..req(3, 1, all()) });
    bad.push(Req { len: u32::MAX, ..req(4, 1, all()) });
    bad.push(Req { sub_bytes: 0, ..req(5, 1, all()) });
    bad.into_iter().for_each(|req| serve.req(Time::ZERO, req));
    assert_eq!(serve.drain_demands().count(), 0);
    for _ in 0..5 {
        assert!(matches!(serve.next_reply(Time::ZERO, false), Some(Frame::Refuse { code: 4, .. })));
    }
}
