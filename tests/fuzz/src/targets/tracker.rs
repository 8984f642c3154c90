//! What trackers are asked and answer, and a whole tracker.

use std::net::SocketAddr;

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::Scheme;
use pcdn_core::unit::Time;
use pcdn_discovery::tracker::service::Service;
use pcdn_discovery::tracker::table::Limits;
use pcdn_discovery::tracker::wire as tracker;

use super::MODEST;
use super::wire::SWARM;
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![
        Target::new("tracker ask", requests(), tracker_request, MODEST),
        Target::new("tracker say", answers(), tracker_answer, MODEST),
        Target::new("tracker", requests(), tracker_service, (1_024, 1 << 20)),
    ]
}

fn ports() -> tracker::Ports {
    let mut ports = tracker::Ports::default();
    ports.push(Scheme::Udp, 4_000);
    ports.push(Scheme::Quic, 4_001);
    ports
}

fn requests() -> Vec<Vec<u8>> {
    let announce = tracker::Announce {
        swarm: SWARM,
        peer: PeerId([2; 32]),
        ports: ports(),
        seed: false,
        event: tracker::Event::Started,
        progress: Some(tracker::Progress { downloaded: 1, left: 2 }),
        want: 25,
        traits: tracker::Traits::default(),
    };
    let find = tracker::Find {
        swarm: SWARM,
        asker: Some(PeerId([2; 32])),
        seed: true,
        want: 5,
        traits: tracker::Traits::default(),
        rich: false,
    };
    let requests = [tracker::Request::Announce(announce), tracker::Request::Find(find)];
    requests.iter().map(|request| tracker::encode_request(7, 8, request, None)).collect()
}

fn tracker_request(input: &[u8]) -> bool {
    let Ok(request) = tracker::decode_request(input, None) else { return false };
    let again = tracker::encode_request(1, 2, &request, None);
    assert_eq!(tracker::decode_request(&again, None), Ok(request), "what is read must be written the same");
    true
}

fn answers() -> Vec<Vec<u8>> {
    let listed = |n: u8, ip: &str| tracker::Listed {
        id: PeerId([n; 32]),
        ip: ip.parse().expect("valid"),
        ports: ports(),
        seed: n == 1,
        traits: tracker::Traits::default(),
    };
    let peers = vec![listed(1, "192.0.2.1"), listed(2, "2001:db8::1")];
    let counts = tracker::Counts { seeds: 1, others: 1 };
    let observed = "192.0.2.9:4000".parse().expect("valid");
    let answers = [
        tracker::Answer::Connected { connection: 7 },
        tracker::Answer::Announced { interval_s: 60, observed, counts, peers: peers.clone() },
        tracker::Answer::Found { counts, peers, rich: false },
        tracker::Answer::Refused { why: "full".to_owned() },
    ];
    let encode = |answer| {
        let mut out = Vec::new();
        tracker::encode_answer(8, answer, tracker::DATAGRAM_MAX, None, &mut out);
        out
    };
    answers.iter().map(encode).collect()
}

fn tracker_answer(input: &[u8]) -> bool {
    let Ok((txn, answer)) = tracker::decode_answer(input, None) else { return false };
    if let tracker::Answer::Announced { peers, .. } | tracker::Answer::Found { peers, .. } = &answer {
        tracker::records(peers);
    }
    let mut again = Vec::new();
    tracker::encode_answer(txn, &answer, tracker::DATAGRAM_MAX, None, &mut again);
    // What was longer than a datagram, and words above their limit, come back shorter; the rest must come back as it was.
    let cut = matches!(&answer, tracker::Answer::Refused { why } if why.len() > tracker::WHY_MAX);
    if !cut && input.len() <= tracker::DATAGRAM_MAX / 2 {
        assert_eq!(
            tracker::decode_answer(&again, None),
            Ok((txn, answer)),
            "what is read must be written the same"
        );
    }
    true
}

/// A whole tracker: its answers must never be worth a forged source address.
fn tracker_service(input: &[u8]) -> bool {
    let (now, from) = (Time(1_000_000), SocketAddr::from(([192, 0, 2, 7], 4_000)));
    let service = Service::new(Limits::default(), [3; 32], None);
    let mut dice = Dice::new(1);
    let mut out = Vec::new();
    service.datagram(now, &mut dice, from, input, &mut out);
    assert!(
        out.len() <= input.len(),
        "without a connection id an answer must not be longer than what was sent"
    );
    // The same with a right connection id.
    service.datagram(now, &mut dice, from, &tracker::encode_connect(1), &mut out);
    let Ok((_, tracker::Answer::Connected { connection })) = tracker::decode_answer(&out, None) else {
        panic!("a tracker must answer a connect");
    };
    let mut asked = input.to_vec();
    if let Some(id) = asked.get_mut(..8) {
        id.copy_from_slice(&connection.to_be_bytes());
    }
    service.datagram(now, &mut dice, from, &asked, &mut out);
    assert!(
        out.len() <= tracker::AMPLIFICATION_MAX * asked.len(),
        "no answer may be longer than thrice its request"
    );
    !out.is_empty()
}
