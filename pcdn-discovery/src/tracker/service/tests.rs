use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::Scheme;

use super::*;
use crate::tracker::wire::{
    Announce, DATAGRAM_MAX, Event, Find, Ports, Traits, decode_answer, encode_connect, encode_request,
};

const KEY: SwarmKey = SwarmKey([7; 32]);

pub(super) struct Rig {
    pub(super) service: Service,
    pub(super) dice: Dice,
    pub(super) now: Time,
}

impl Rig {
    pub(super) fn new(secret: Option<Secret>) -> Self {
        Self {
            service: Service::new(Limits::default(), [5; 32], secret),
            dice: Dice::new(1),
            now: Time::ZERO,
        }
    }

    /// Sends a datagram and checks the law of every answer.
    fn send(&mut self, from: &str, datagram: &[u8]) -> Option<Answer> {
        let mut out = Vec::new();
        self.service.datagram(self.now, &mut self.dice, from.parse().unwrap(), datagram, &mut out);
        assert!(out.len() <= (AMPLIFICATION_MAX * datagram.len()).min(DATAGRAM_MAX), "amplification");
        (!out.is_empty()).then(|| decode_answer(&out, self.service.secret()).unwrap().1)
    }

    pub(super) fn connect(&mut self, from: &str) -> u64 {
        let Some(Answer::Connected { connection }) = self.send(from, &encode_connect(1)) else {
            panic!("connects")
        };
        connection
    }

    pub(super) fn ask(&mut self, from: &str, request: &Request) -> Option<Answer> {
        let connection = self.connect(from);
        let secret = self.service.secret().cloned();
        self.send(from, &encode_request(connection, 2, request, secret.as_ref()))
    }
}

pub(super) fn announce(id: u8) -> Request {
    let mut ports = Ports::default();
    ports.push(Scheme::Udp, 4000);
    let (seed, event, progress) = (false, Event::Started, None);
    Request::Announce(Announce {
        swarm: KEY,
        peer: PeerId([id; 32]),
        ports,
        seed,
        event,
        progress,
        want: 50,
        traits: Traits::default(),
    })
}

pub(super) fn find() -> Request {
    Request::Find(Find {
        swarm: KEY,
        asker: None,
        seed: false,
        want: 50,
        traits: Traits::default(),
        rich: false,
    })
}

fn is_refused(answer: Option<Answer>, with: Refusal) -> bool {
    matches!(answer, Some(Answer::Refused { why }) if with.to_string().starts_with(&why) || why.starts_with(&with.to_string()))
}

#[test]
fn two_round_trips_from_nothing_to_peers() {
    let mut rig = Rig::new(None);
    rig.ask("192.0.2.1:5000", &announce(1)).unwrap();
    let Some(Answer::Announced { interval_s, observed, peers, .. }) = rig.ask("192.0.2.2:5001", &announce(2))
    else {
        panic!("is answered")
    };
    assert!((54..=66).contains(&interval_s));
    assert_eq!(observed.to_string(), "192.0.2.2:5001");
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].ip.to_string(), "192.0.2.1");
    assert_eq!(rig.service.counters().announces.load(Ordering::Relaxed), 2);
}

#[test]
fn a_guessed_a_foreign_and_an_old_connection_id_are_refused_at_no_gain() {
    let mut rig = Rig::new(None);
    rig.ask("192.0.2.1:5000", &announce(1)).unwrap();
    let foreign = rig.connect("192.0.2.66:1");
    for id in [0, u64::MAX, foreign] {
        for request in [announce(2), find()] {
            let frame = encode_request(id, 2, &request, None);
            let mut out = Vec::new();
            rig.service.datagram(rig.now, &mut rig.dice, "192.0.2.2:5000".parse().unwrap(), &frame, &mut out);
            assert!(out.len() <= frame.len());
            assert!(is_refused(Some(decode_answer(&out, None).unwrap().1), Refusal::Cookie));
        }
    }
    let mine = rig.connect("192.0.2.2:5000");
    rig.now = Time::from_secs(300);
    assert!(is_refused(rig.send("192.0.2.2:5000", &encode_request(mine, 2, &find(), None)), Refusal::Cookie));
    assert_eq!(rig.service.table().entries(), 1);
}

#[test]
fn no_request_of_any_kind_and_length_is_amplified() {
    let mut rig = Rig::new(None);
    for n in 0..60 {
        rig.ask(&format!("198.51.{n}.1:5000"), &announce(n)).unwrap();
    }
    let from = "203.0.113.1:5000";
    let id = rig.connect(from);
    for request in [announce(200), find()] {
        let frame = encode_request(id, 9, &request, None);
        for len in 0..=frame.len() {
            rig.now += std::time::Duration::from_millis(70);
            rig.send(from, &frame[..len]);
        }
    }
    let Some(Answer::Found { peers, counts, .. }) = rig.ask(from, &find()) else { panic!("is answered") };
    assert_eq!(peers.len(), 28, "a padded request gets a full datagram");
    assert_eq!(counts.others, 61);
}

#[test]
fn what_is_no_request_gets_no_answer() {
    let mut rig = Rig::new(None);
    for junk in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 16], &[0xff; 400]] {
        assert_eq!(rig.send("192.0.2.1:5000", junk), None);
    }
    // An action of the future, with a valid id.
    let id = rig.connect("192.0.2.1:5000");
    let mut frame = encode_request(id, 2, &find(), None);
    frame[11] = 0x7f;
    assert_eq!(rig.send("192.0.2.1:5000", &frame), None);
    assert_eq!(rig.service.counters().dropped.load(Ordering::Relaxed), 5);
}

#[test]
fn a_private_tracker_serves_who_knows_its_secret() {
    let secret = Secret::new(b"sixteen bytes or more of secret").unwrap();
    let mut rig = Rig::new(Some(secret));
    assert!(matches!(rig.ask("192.0.2.1:5000", &announce(1)), Some(Answer::Announced { .. })));
    let id = rig.connect("192.0.2.2:5000");
    for request in [announce(2), find()] {
        assert!(is_refused(
            rig.send("192.0.2.2:5000", &encode_request(id, 2, &request, None)),
            Refusal::Secret
        ));
    }
    assert_eq!(rig.service.table().entries(), 1);
    assert_eq!(rig.service.counters().refused(Refusal::Secret), 2);
}

proptest::proptest! {
    #[test]
    fn any_datagram_is_survived(junk in proptest::collection::vec(0u8.., 0..64), at in 8usize..100) {
        let mut rig = Rig::new(None);
        let id = rig.connect("192.0.2.1:5000");
        let mut frame = encode_request(id, 2, &announce(1), None);
        frame[at..at + junk.len()].copy_from_slice(&junk);
        rig.send("192.0.2.1:5000", &frame);
    }
}
