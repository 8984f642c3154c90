use super::*;

const NOW: Time = Time::from_secs(1_000);

struct All;

impl Members for All {
    fn has(&self, _: IpAddr, _: &PeerId) -> bool {
        true
    }
    fn may_ask(&self, _: Time, _: IpAddr) -> bool {
        true
    }
}

struct Nobody;

impl Members for Nobody {
    fn has(&self, _: IpAddr, _: &PeerId) -> bool {
        false
    }
    fn may_ask(&self, _: Time, _: IpAddr) -> bool {
        true
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn point() -> MeetingPoint {
    MeetingPoint::new([7; 32], Points { other_port: Some(addr("0.0.0.0:7071")), other_address: None })
}

fn ask(
    point: &MeetingPoint,
    now: Time,
    from: &str,
    who: u8,
    ticket: Ticket,
    private: &[&str],
) -> (Send, Here) {
    let private = private.iter().map(|text| addr(text)).collect();
    let it =
        Where { txid: [who; 12], answer_from: AnswerFrom::Here, ticket, id: id(who), private, rtt_ms: 0 };
    let mut sent = point.handle(now, &mut Dice::new(1), &All, addr(from), &meet::encode(&Word::Where(it)));
    assert_eq!(sent.len(), 1);
    let send = sent.remove(0);
    let Some(Word::Here(here)) = meet::decode(&send.bytes) else { panic!("{send:?}") };
    (send, here)
}

/// Asks twice, as a node does: the second time with the ticket.
fn enter(point: &MeetingPoint, from: &str, who: u8, private: &[&str]) -> Ticket {
    let (_, here) = ask(point, NOW, from, who, [0; 8], private);
    assert!(!here.registered);
    let (_, again) = ask(point, NOW, from, who, here.ticket, private);
    assert!(again.registered);
    again.ticket
}

fn call_as(
    members: &impl Members,
    point: &MeetingPoint,
    (from, who, ticket): (&str, u8, Ticket),
    (at, wanted): (&str, u8),
) -> Vec<(SocketAddr, Meet)> {
    let it = Call {
        txid: [9; 12],
        ticket,
        id: id(who),
        wanted: id(wanted),
        at: addr(at),
        private: Vec::new(),
        rtt_ms: 0,
    };
    let bytes = meet::encode(&Word::Call(it));
    let sent = point.handle(NOW, &mut Dice::new(1), members, addr(from), &bytes);
    let read = |send: &Send| match meet::decode(&send.bytes) {
        Some(Word::Meet(meet)) => (send.to, meet),
        other => panic!("{other:?}"),
    };
    sent.iter().map(read).collect()
}

fn call(point: &MeetingPoint, from: (&str, u8, Ticket), to: (&str, u8)) -> Vec<(SocketAddr, Meet)> {
    call_as(&All, point, from, to)
}

const A: &str = "198.51.100.21:4000";
const B: &str = "198.51.100.22:5000";

#[test]
fn a_node_learns_from_where_it_is_seen_and_where_else_to_ask() {
    let point = point();
    let (send, here) = ask(&point, NOW, A, 1, [0; 8], &[]);
    assert_eq!((send.to, send.from, here.seen), (addr(A), AnswerFrom::Here, addr(A)));
    assert_eq!((here.other_port, here.other_address), (Some(addr("0.0.0.0:7071")), None));
    assert!(point.is_empty(), "who has shown no ticket has proven no address");
}

#[test]
fn an_answer_comes_from_where_it_was_wanted() {
    let it = Where {
        txid: [1; 12],
        answer_from: AnswerFrom::OtherAddress,
        ticket: [0; 8],
        id: id(1),
        private: Vec::new(),
        rtt_ms: 0,
    };
    let bytes = meet::encode(&Word::Where(it));
    let sent = point().handle(NOW, &mut Dice::new(1), &All, addr(A), &bytes);
    assert_eq!(sent[0].from, AnswerFrom::OtherAddress);
    assert!(point().elsewhere(NOW, addr(A), &bytes).is_some_and(|answer| answer.len() <= bytes.len()));
}

#[test]
fn both_are_called_at_once_with_one_token_and_the_address_of_the_other() {
    let point = point();
    let (a, b) = (enter(&point, A, 1, &["192.168.1.2:4000"]), enter(&point, B, 2, &["192.168.2.2:4000"]));
    let sent = call(&point, (A, 1, a), (B, 2));
    let [(to_b, at_b), (to_a, at_a)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((*to_b, *to_a), (addr(B), addr(A)));
    assert_eq!((at_b.peer, at_a.peer), (id(1), id(2)));
    assert_eq!(
        (&at_b.addrs[..], &at_a.addrs[..]),
        (&[addr(A)][..], &[addr(B)][..]),
        "private ones stay private"
    );
    assert!(at_a.token.is_some() && at_a.token == at_b.token);
    assert_eq!((at_a.ticket, at_b.ticket), (a, b), "each can tell that it is from the tracker");
}

#[test]
fn behind_one_public_address_the_private_ones_come_first() {
    let point = point();
    let a = enter(&point, "198.51.100.21:4000", 1, &[]);
    enter(&point, "198.51.100.21:4001", 2, &["192.168.1.3:4000", "203.0.113.5:4000", "10.0.0.1:53"]);
    let sent = call(&point, ("198.51.100.21:4000", 1, a), ("198.51.100.21:9", 2));
    assert_eq!(sent[1].1.addrs, [addr("192.168.1.3:4000"), addr("198.51.100.21:4001")]);
}

#[test]
fn who_is_not_registered_or_in_no_swarm_is_not_called() {
    let point = point();
    let a = enter(&point, A, 1, &[]);
    let refused = |sent: Vec<(SocketAddr, Meet)>| {
        assert_eq!(sent.len(), 1, "nobody but the caller hears of it");
        assert!(sent[0].0 == addr(A) && sent[0].1.token.is_none());
    };
    refused(call(&point, (A, 1, a), (B, 2)));
    enter(&point, B, 2, &[]);
    refused(call_as(&Nobody, &point, (A, 1, a), (B, 2)));
    refused(call(&point, (A, 1, a), (A, 1)));
    assert_eq!(call(&point, (A, 1, a), (B, 2)).len(), 2);
    assert!(call(&point, (A, 1, [0; 8]), (B, 2)).is_empty(), "no ticket, no answer");
}

#[test]
fn a_peer_is_called_at_a_bounded_rate() {
    let point = point();
    let a = enter(&point, A, 1, &[]);
    enter(&point, B, 2, &[]);
    let called = (0..100).filter(|_| call(&point, (A, 1, a), (B, 2)).len() == 2).count();
    assert_eq!(called, CALLED_BURST as usize);
}

#[test]
fn who_falls_silent_is_forgotten_and_hosts_are_bounded() {
    let point = point();
    enter(&point, A, 1, &[]);
    for port in 0..100u16 {
        let from = format!("198.51.100.22:{}", 2_000 + port);
        let (_, here) = ask(&point, NOW, &from, port as u8 + 10, [0; 8], &[]);
        ask(&point, NOW, &from, port as u8 + 10, here.ticket, &[]);
    }
    assert_eq!(point.len(), 1 + SPOTS_PER_HOST);
    point.expire(NOW + REGISTERED_FOR);
    assert!(point.is_empty());
}

#[test]
fn a_ticket_is_good_at_its_address_for_some_minutes() {
    let point = point();
    let (_, here) = ask(&point, NOW, A, 1, [0; 8], &[]);
    assert!(ask(&point, NOW + TICKET_SLICE, A, 1, here.ticket, &[]).1.registered);
    assert!(!ask(&point, NOW + 2 * TICKET_SLICE, A, 1, here.ticket, &[]).1.registered);
    assert!(!ask(&point, NOW, B, 1, here.ticket, &[]).1.registered);
}

#[test]
fn both_begin_at_one_moment_whatever_their_distance() {
    for (near, far, waits) in [(20, 220, 100), (30, 30, 0), (0, 200, 0), (1, u16::MAX, 300)] {
        let point = point();
        let register = |from: &str, who: u8, rtt_ms: u16| {
            let (_, here) = ask(&point, NOW, from, who, [0; 8], &[]);
            let private = Vec::new();
            let it = Where {
                txid: [1; 12],
                answer_from: AnswerFrom::Here,
                ticket: here.ticket,
                id: id(who),
                private,
                rtt_ms,
            };
            point.handle(NOW, &mut Dice::new(1), &All, addr(from), &meet::encode(&Word::Where(it)));
            here.ticket
        };
        register(B, 2, far);
        let ticket = register(A, 1, near);
        let (wanted, at) = (id(2), addr(B));
        let it = Call { txid: [9; 12], ticket, id: id(1), wanted, at, private: Vec::new(), rtt_ms: near };
        let sent = point.handle(NOW, &mut Dice::new(1), &All, addr(A), &meet::encode(&Word::Call(it)));
        let in_ms = |to: &str| {
            let send = sent.iter().find(|send| send.to == addr(to)).unwrap();
            let Some(Word::Meet(meet)) = meet::decode(&send.bytes) else { panic!("{send:?}") };
            meet.in_ms
        };
        assert_eq!((in_ms(A), in_ms(B)), (waits, 0), "{near} and {far} ms");
    }
}
