use super::*;

/// 100 Mbit/s for this node alone.
const FAIR: f64 = 12_500_000.0;
/// Two Mbit/s.
const FILM: Option<Rate> = Some(Rate(250_000));
const END: u64 = 100_000_000;

fn most(fair: f64) -> Most {
    Most { fair, line: Rate::UNLIMITED }
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// A player, given its first piece at time 0.
fn player() -> Pacing {
    let mut pacing = Pacing::new(at(0));
    assert!(pacing.given(at(0), 0, 65_536));
    pacing
}

/// The player takes `bytes` a second, in four parts a second, without ever pausing.
fn takes(pacing: &mut Pacing, seconds: std::ops::Range<u64>, bytes: u64, told: Option<Rate>) {
    for quarter in seconds.start * 4 + 1..=seconds.end * 4 {
        let now = at(quarter * 250);
        pacing.given(now, quarter * bytes / 4, bytes / 4);
        pacing.pulled(now);
        pacing.demands(now, quarter * bytes / 4, END, most(FAIR), told);
    }
}

#[test]
fn of_who_plays_what_nobody_knows_is_assumed_that_the_origin_would_just_do() {
    let mut pacing = player();
    let read = 5_000_000;
    let want = Demand { end: END, pace: FAIR, ahead: read as f64 - FAIR * 0.25 };
    assert_eq!(pacing.demands(at(250), read, END, most(FAIR), None), [want]);
    assert_eq!(pacing.demands(at(250), read, END, most(100_000.0), None)[0].pace, PACE_GUESS);
}

#[test]
fn a_start_is_wanted_at_once_and_the_rest_at_twice_the_mean() {
    let mut pacing = player();
    let [start, rest] = pacing.demands(at(10), 65_536, END, most(FAIR), FILM)[..] else {
        panic!("two demands")
    };
    assert_eq!((start.end, start.pace, start.ahead), (625_000, f64::INFINITY, 0.0));
    assert_eq!((rest.end, rest.pace), (END, 500_000.0));
    // After a second it is ahead by what it read, less two seconds of media.
    let later = pacing.demands(at(1_000), 900_000, END, most(FAIR), FILM);
    assert_eq!(later, [Demand { end: END, pace: 500_000.0, ahead: 400_000.0 }]);
    // However long a player has nothing more to read, its head does not run past what it has.
    assert_eq!(pacing.demands(at(4_000), 900_000, END, most(FAIR), FILM)[0].ahead, 0.0);
}

#[test]
fn what_is_told_of_the_pace_never_makes_it_slower_than_what_is_played() {
    let mut pacing = player();
    let demanding = Some(Rate(20_000_000));
    let demands = pacing.demands(at(10), 65_536, END, most(FAIR), demanding);
    assert!(demands.iter().all(|demand| demand.pace >= 20_000_000.0), "{demands:?}");
}

#[test]
fn a_player_that_pauses_is_measured() {
    let mut pacing = player();
    for second in 1..=5 {
        pacing.pulled(at(second * 1_000));
        pacing.given(at(second * 1_000), second * 300_000, 300_000);
    }
    let demands = pacing.demands(at(5_000), 1_800_000, END, most(FAIR), FILM);
    let taken = (65_536 + 5 * 300_000) as f64 / 5.0;
    assert_eq!(demands, [Demand { end: END, pace: taken * 1.25, ahead: taken * 2.0 }]);
}

#[test]
fn a_full_buffer_that_still_takes_all_is_a_faster_player_than_was_told() {
    // Ten seconds at eight times the mean are 70 seconds of media ahead: more than a player buffers.
    let mut pacing = player();
    takes(&mut pacing, 0..10, 2_000_000, FILM);
    let pace = pacing.demands(at(10_000), 20_000_000, END, most(FAIR), FILM)[0].pace;
    assert!(pace > 500_000.0, "{pace}");
    takes(&mut pacing, 10..60, 2_000_000, FILM);
    assert_eq!(pacing.demands(at(60_000), 120_000_000, END * 2, most(FAIR), FILM)[0].pace, FAIR);
    // One that fills its buffer slowly is not.
    let mut pacing = player();
    takes(&mut pacing, 0..20, 500_000, FILM);
    assert_eq!(pacing.demands(at(20_000), 10_000_000, END, most(FAIR), FILM)[0].pace, 500_000.0);
}

#[test]
fn nothing_told_is_believed_once_a_player_had_to_wait_while_it_played() {
    let mut pacing = player();
    pacing.stalled(65_536, FILM);
    assert_eq!(pacing.demands(at(300), 65_536, END, most(FAIR), FILM).len(), 2, "it waits for its start");
    pacing.stalled(700_000, FILM);
    assert_eq!(pacing.demands(at(2_000), 700_000, END, most(FAIR), FILM)[0].pace, FAIR);
}
