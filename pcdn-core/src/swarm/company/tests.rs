use super::*;
use crate::dice::Dice;
use crate::fragment::{Cut, Segment};
use crate::id::{Identity, SwarmKey};
use crate::layout::SegmentId;
use crate::peer::{PeerAddr, Scheme};
use crate::resource::Url;
use crate::schedule::{Handle, Hybrid};
use crate::swarm::{Input, Output, SwarmSetup};
use crate::wire::{Message, Status};

const LEN: u64 = 4 << 20;
const FRIEND: PeerId = PeerId([9; 32]);

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// A node that opens a film of 4 MiB at time 0.
fn newcomer() -> Swarm {
    let setup = SwarmSetup::new(SwarmKey([1; 32]), Identity::from_secret([1; 32]));
    let mut swarm = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(1), at(0));
    let url = Url::parse("http://origin.example/film").unwrap();
    let segment = Segment::of_file(SegmentId(0), url, 0..LEN, 16).unwrap();
    swarm.handle(at(0), Input::Cut(Cut::Segment(segment)));
    swarm.handle(at(0), Input::Cut(Cut::End));
    swarm
}

fn friend() -> PeerRecord {
    let addr = PeerAddr { scheme: Scheme::Udp, addr: "10.0.0.9:7400".parse().unwrap() };
    PeerRecord { id: FRIEND, addrs: vec![addr], seed: false }
}

fn link_up(swarm: &mut Swarm, now: Time) {
    let rtt = Duration::from_millis(20);
    swarm.handle(now, Input::LinkUp { link: Handle(0), peer: FRIEND, remote: None, rtt });
}

fn have(swarm: &mut Swarm, now: Time) {
    let status = Status { origin_rate: 0, peer_rate: 0, complete: false };
    let message = Message::Have { status, segments: Vec::new() };
    swarm.handle(now, Input::Message { link: Handle(0), message });
}

/// Bytes it wants from the origin now.
fn fetched(swarm: &mut Swarm) -> u64 {
    let bytes = |output| if let Output::Fetch { range, .. } = output { range.len() } else { 0 };
    std::iter::from_fn(|| swarm.poll()).map(bytes).sum()
}

#[test]
fn it_is_over_when_the_last_who_was_found_has_said_what_it_holds() {
    let mut swarm = newcomer();
    assert!(swarm.awaits_company(at(1)), "discovery has not answered");
    swarm.handle(at(20), Input::Found(vec![friend()]));
    assert!(swarm.awaits_company(at(30)), "somebody is dialled");
    link_up(&mut swarm, at(80));
    assert!(swarm.awaits_company(at(90)), "it has not said what it holds");
    have(&mut swarm, at(100));
    assert!(!swarm.awaits_company(at(100)));
}

#[test]
fn it_is_over_when_nobody_is_found_or_reached() {
    let mut swarm = newcomer();
    swarm.handle(at(20), Input::Found(Vec::new()));
    assert!(!swarm.awaits_company(at(20)));
    let mut swarm = newcomer();
    swarm.handle(at(20), Input::Found(vec![friend()]));
    swarm.handle(at(50), Input::NotReached(FRIEND));
    assert!(!swarm.awaits_company(at(50)));
}

#[test]
fn it_is_bounded_whoever_stays_silent() {
    let mut swarm = newcomer();
    let end = at(0) + COMPANY_WAIT;
    assert!(swarm.awaits_company(Time(end.0 - 1)) && !swarm.awaits_company(end), "discovery is silent");
    swarm.handle(at(20), Input::Found(vec![friend()]));
    link_up(&mut swarm, at(60));
    assert!(swarm.awaits_company(Time(end.0 - 1)) && !swarm.awaits_company(end), "a neighbour is silent");
}

#[test]
fn the_engine_asks_to_be_woken_when_it_is_over() {
    let mut swarm = newcomer();
    swarm.handle(at(0), Input::play(1, 0, LEN));
    fetched(&mut swarm);
    swarm.handle(at(250), Input::Wake);
    assert!(swarm.next_wake() <= at(0) + COMPANY_WAIT);
    let before = fetched(&mut swarm);
    swarm.handle(at(0) + COMPANY_WAIT, Input::Wake);
    assert_eq!(before, 0, "the first request has brought nothing yet");
    assert!(swarm.next_wake() > at(0) + COMPANY_WAIT, "and is not woken again and again");
}

#[test]
fn who_takes_nothing_from_others_awaits_nobody() {
    let mut swarm = newcomer();
    swarm.handle(at(0), Input::P2p { take: false, give: true });
    assert!(!swarm.awaits_company(at(1)));
}

#[test]
fn a_player_that_awaits_company_asks_the_origin_for_its_start_and_one_alone_for_everything() {
    let mut swarm = newcomer();
    swarm.handle(at(0), Input::play(1, 0, LEN));
    swarm.handle(at(0), Input::Found(vec![friend()]));
    let start = fetched(&mut swarm);
    assert!((1..=256 << 10).contains(&start), "{start}");
    // The first request, at 100 Mbit/s.
    for piece in 0..start >> 16 {
        let bytes = vec![0; 1 << 16].into();
        swarm.handle(at(20 + piece * 5), Input::OriginBytes { run: 0, bytes });
    }
    swarm.handle(at(40), Input::OriginEnd { run: 0, result: Ok(()) });
    let more = fetched(&mut swarm);
    assert!(start + more <= LEN / 4, "{more}");
    swarm.handle(at(45), Input::NotReached(FRIEND));
    assert_eq!(start + more + fetched(&mut swarm), LEN);
}

#[test]
fn a_download_waits_for_nobody() {
    let mut swarm = newcomer();
    swarm.handle(at(0), Input::Whole(true));
    assert!(fetched(&mut swarm) > 256 << 10);
}

#[test]
fn a_new_neighbour_is_told_what_is_on_its_way() {
    let mut swarm = newcomer();
    swarm.handle(at(0), Input::Whole(true));
    let pieces = (fetched(&mut swarm) >> 16) as u32;
    link_up(&mut swarm, at(10));
    let told = std::iter::from_fn(|| swarm.poll()).find_map(|output| match output {
        Output::Send { message: Message::Claim { segment, first, count, within_ms }, .. } => {
            Some((segment, first, count, within_ms > 1_000))
        }
        _ => None,
    });
    // It begins at a place of its own, up to the end.
    assert_eq!(told, Some((SegmentId(0), 64 - pieces, pieces, true)));
}
