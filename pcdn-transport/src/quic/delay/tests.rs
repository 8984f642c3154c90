use super::*;

const MTU: u16 = 1_350;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A session past its start, with `window` packets, on a path of 20 ms.
struct Path {
    delay: Delay,
    now: Instant,
}

impl Path {
    fn new(window: f64) -> Self {
        let now = Instant::now();
        let mut delay = Delay::new(now, MTU, Arc::default());
        delay.trips.see(now, ms(20), ms(20), ms(20));
        (delay.starting, delay.window) = (false, window * f64::from(MTU));
        // Far from any ebb.
        let now = now + ms(1_000);
        delay.round = Round::new(now, delay.window);
        Self { delay, now }
    }

    /// A round trip in which every packet takes `took`; gives what the window was multiplied by.
    fn round(&mut self, took: Duration, lost: f64, filled: bool) -> f64 {
        let before = self.delay.window;
        let sent = self.now;
        self.now += took;
        self.delay.lost(self.now, false, (before * lost) as u64);
        self.delay.acked(self.now, sent, (before * (1.0 - lost)) as u64, !filled, (ms(20), ms(20)));
        self.delay.acks_end(self.now, 0, false);
        self.delay.window / before
    }
}

#[test]
fn a_queue_beyond_the_target_shrinks_the_window_and_none_lets_it_grow() {
    assert!(Path::new(50.0).round(ms(20), 0.0, true) > 1.1);
    assert!(Path::new(50.0).round(ms(60), 0.0, true) < 0.9);
    let steady = Path::new(50.0).round(ms(30), 0.0, true);
    assert!((0.97..1.03).contains(&steady), "8 ms and a few packets are meant to stand: {steady}");
}

#[test]
fn who_joins_does_not_take_the_others_queue_for_the_path() {
    let (shares, now) = (Arc::<Shares>::default(), Instant::now());
    let (first, _) = shares.join(now);
    shares.sending(now, first, 20.0);
    shares.queue(now, Some(first), ms(9), ms(9));
    let mut delay = Delay::new(now, MTU, Arc::clone(&shares));
    for at in [30, 60] {
        let at = now + ms(at);
        delay.acked(at, at - ms(29), 13_500, false, (ms(29), ms(29)));
        delay.acks_end(at, 0, false);
    }
    assert!(!delay.starting && delay.window <= 12.0 * f64::from(MTU), "{}", delay.window);
}

/// Somebody's download that keeps 250 ms of queue: going half of a quarter of the way in each round of 270 ms, as for a small
/// queue, eight sessions were in its way for three seconds.
#[test]
fn to_a_queue_that_somebody_fills_it_yields_in_a_second_or_two() {
    let mut path = Path::new(20.0);
    let begun = path.now;
    while path.delay.window > 6.0 * f64::from(MTU) && path.now - begun < ms(10_000) {
        path.round(ms(270), 0.0, true);
    }
    let took = path.now - begun;
    assert!(took < ms(2_500), "{took:?}");
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    assert!(Path::new(50.0).round(ms(20), 0.0, false) <= 1.0);
}

#[test]
fn a_little_loss_is_not_obeyed_and_much_is() {
    assert!(Path::new(50.0).round(ms(20), 0.03, true) > 1.1);
    assert!(Path::new(50.0).round(ms(20), 0.30, true) < 0.9);
}

#[test]
fn the_start_doubles_until_a_queue_stands() {
    let mut path = Path::new(10.0);
    path.delay.starting = true;
    let mut rounds = 0;
    // A line of 100 packets in 20 ms: what is more under way waits.
    while path.delay.starting {
        let packets = path.delay.window / f64::from(MTU);
        path.round(ms(20).mul_f64((packets / 100.0).max(1.0)), 0.0, true);
        rounds += 1;
        assert!(rounds < 10, "10, 20, 40, 80, 160: five rounds fill it");
    }
    let packets = path.delay.window / f64::from(MTU);
    assert!((100.0..180.0).contains(&packets), "{packets}");
}

#[test]
fn at_ebb_a_session_sends_half_of_what_the_path_alone_holds() {
    let mut path = Path::new(100.0);
    path.now += ms(3_990);
    path.delay.round = Round::new(path.now, path.delay.window);
    path.delay.acked(path.now + ms(40), path.now, 1_350, false, (ms(20), ms(20)));
    path.delay.acks_end(path.now + ms(15), 0, false);
    let share = path.delay.told / path.delay.window;
    assert!((0.2..=0.5).contains(&share), "{share}");
    let window = path.delay.window;
    path.delay.acks_end(path.now + ms(16), 0, false);
    assert_eq!(path.delay.window, window, "what is seen at ebb steers nothing");
    path.delay.acks_end(path.now + ms(100), 0, false);
    assert_eq!(path.delay.told as u64, path.delay.window as u64);
    path.now += ms(100);
    // The round of the ebb, and the one in which the queue fills again: from what that showed every window once grew by a quarter.
    assert_eq!([path.round(ms(21), 0.0, true), path.round(ms(21), 0.0, true)], [1.0; 2]);
    assert!(path.round(ms(21), 0.0, true) > 1.1);
}

#[test]
fn after_silence_it_begins_anew_with_little() {
    let mut path = Path::new(100.0);
    path.delay.lost(path.now, true, 135_000);
    assert!(path.delay.starting);
    assert_eq!(path.delay.told as u64, 2 * u64::from(MTU));
}

proptest::proptest! {
    #[test]
    fn whatever_happens_the_window_stays_within_its_bounds(
        events in proptest::collection::vec((0u64..400, 0u64..200_000, 0u64..100_000, proptest::bool::ANY, 1_200u16..1_400), 1..200),
    ) {
        let mut path = Path::new(10.0);
        for (took, acked, lost, odd, mtu) in events {
            let sent = path.now;
            path.now += ms(took);
            path.delay.acked(path.now, sent, acked, odd, (ms(20), ms(20)));
            path.delay.lost(path.now, odd && lost > 90_000, lost);
            path.delay.acks_end(path.now, 0, false);
            path.delay.on_mtu_update(mtu);
            let window = path.delay.told;
            assert!((2.0 * 1_200.0 - 1.0..=WINDOW_MAX).contains(&window), "{window}");
        }
    }
}
