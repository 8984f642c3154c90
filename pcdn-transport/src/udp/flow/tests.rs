//! The controller alone, against a model of one bottleneck: each round trip the queue holds what exceeds the pipe.

use super::*;
use pcdn_core::dice::Dice;
use pcdn_core::unit::Rate;

/// A link of `rate` packets a second with room for `queue` packets, shared by several flows, each of which always has
/// something to send. Time advances packet by packet.
struct Bottleneck {
    rate: f64,
    base: Duration,
    queue_packets: f64,
    loss: f64,
    /// Delay that a foreign flow keeps in the queue, coming and going; and whether the flows' DATA is urgent.
    foreign: Option<(Duration, Duration)>,
    urgent: bool,
}

struct Outcome {
    /// Packets delivered a second, by flow.
    rates: Vec<f64>,
    /// Share lost.
    lost: f64,
    /// Mean delay in the queue.
    queue: Duration,
}

/// Feedback on its way: when it arrives, for whom, what it says.
type Report = (Time, usize, Feedback, u64);

impl Bottleneck {
    /// A saw-tooth of ten seconds, as of a TCP flow that fills the queue, which was not there at first.
    fn foreign_delay(&self, now: Time) -> Duration {
        let Some((least, most)) = self.foreign.filter(|_| now >= Time::from_secs(1)) else {
            return Duration::ZERO;
        };
        least + (most - least).mul_f64(now.0 as f64 / 1e6 % 10.0 / 10.0)
    }

    /// Runs flows that start at `starts`, and reports on the time after `from`.
    fn run(&self, starts: &[Time], from: Time, until: Time) -> Outcome {
        let mut dice = Dice::new(1);
        let mut flows: Vec<Flow> = starts.iter().map(|_| Flow::new()).collect();
        let mut pacers = vec![Pacer::new(4 * 1350, 32 * 1350); flows.len()];
        let mut received = vec![(0u32, 0u64); flows.len()];
        let mut numbers = vec![0u64; flows.len()];
        let mut free_at = Time::ZERO;
        let mut reports: std::collections::VecDeque<Report> = Default::default();
        let (mut counted, mut sent, mut lost, mut waited) = (vec![0u64; flows.len()], 0u64, 0u64, 0f64);
        let mut now = Time::ZERO;
        let step = Duration::from_micros(200);
        while now < until {
            while reports.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, who, report, highest) = reports.pop_front().expect("looked at");
                flows[who].feedback(now, &report, highest, Company::ALONE);
            }
            for who in 0..flows.len() {
                flows[who].wake(now);
                if now < starts[who] {
                    continue;
                }
                let pace = Rate(flows[who].pace(1350, self.base, self.urgent));
                let paced = pacers[who].fill(now, pace) / 1350;
                for _ in 0..flows[who].room(now, self.urgent).min(paced as usize) {
                    pacers[who].take(1350);
                    let number = numbers[who];
                    numbers[who] += 1;
                    flows[who].sent(now, number, true);
                    let backlog = free_at.since(now);
                    sent += u64::from(now >= from);
                    if backlog.as_secs_f64() * self.rate > self.queue_packets || dice.chance(self.loss) {
                        lost += u64::from(now >= from);
                        continue;
                    }
                    free_at = free_at.max(now) + Duration::from_secs_f64(1.0 / self.rate);
                    let arrives = free_at + self.base / 2;
                    received[who].0 += 1;
                    if now >= from {
                        counted[who] += 1;
                        waited += backlog.as_secs_f64();
                    }
                    // One report for every fourth packet keeps the model small.
                    if received[who].0.is_multiple_of(4) {
                        let arrives = arrives + self.foreign_delay(now);
                        let delay = (arrives.0 - now.0) as u32;
                        let stamp = now.0 as u32;
                        let report = Feedback {
                            received: received[who].0,
                            stamp,
                            delay,
                            clock: arrives.0 as u32,
                            ..Default::default()
                        };
                        reports.push_back((arrives + self.base / 2, who, report, number));
                    }
                }
            }
            now += step;
        }
        let span = until.since(from).as_secs_f64();
        let all: u64 = counted.iter().sum();
        Outcome {
            rates: counted.iter().map(|count| *count as f64 / span).collect(),
            lost: lost as f64 / sent.max(1) as f64,
            queue: Duration::from_secs_f64(waited / all.max(1) as f64),
        }
    }
}

fn link(mbit: f64, rtt_ms: u64, queue_ms: f64, loss: f64) -> Bottleneck {
    let rate = mbit * 1e6 / 8.0 / 1350.0;
    Bottleneck {
        rate,
        base: Duration::from_millis(rtt_ms),
        queue_packets: rate * queue_ms / 1000.0,
        loss,
        foreign: None,
        urgent: false,
    }
}

fn check(link: &Bottleneck, starts: &[Time], least_use: f64, most_loss: f64) -> Outcome {
    let outcome = link.run(starts, Time::from_secs(3), Time::from_secs(12));
    let used = outcome.rates.iter().sum::<f64>() / link.rate;
    let figures = (used, outcome.lost, outcome.queue, &outcome.rates);
    #[allow(clippy::print_stdout)]
    {
        println!("{:.0} packets/s: use, loss, queue, shares {figures:.3?}", link.rate);
    }
    assert!(used >= least_use, "only {used:.3} of the link used");
    assert!(outcome.lost <= most_loss, "{:.3} lost", outcome.lost);
    outcome
}

#[test]
fn one_flow_fills_links_of_all_kinds_with_a_short_queue() {
    for (mbit, rtt) in [(2.0, 20), (10.0, 5), (30.0, 20), (30.0, 150), (100.0, 20), (100.0, 80)] {
        let outcome = check(&link(mbit, rtt, 100.0, 0.0), &[Time::ZERO], 0.93, 0.01);
        assert!(
            outcome.queue < Duration::from_millis(45),
            "{mbit} Mbit/s, {rtt} ms: {:?} of queue",
            outcome.queue
        );
    }
}

#[test]
fn random_loss_is_repaired_not_obeyed() {
    check(&link(30.0, 20, 100.0, 0.01), &[Time::ZERO], 0.9, 0.02);
    check(&link(30.0, 20, 100.0, 0.03), &[Time::ZERO], 0.85, 0.05);
    check(&link(30.0, 20, 100.0, 0.10), &[Time::ZERO], 0.6, 0.13);
}

#[test]
fn a_shallow_queue_is_found_by_loss() {
    check(&link(30.0, 20, 3.0, 0.0), &[Time::ZERO], 0.75, 0.13);
}

#[test]
fn seven_flows_share_and_the_late_ones_neither_starve_nor_reign() {
    let starts: Vec<Time> = (0..7).map(|n| Time::from_millis(n * 300)).collect();
    let outcome = check(&link(30.0, 20, 100.0, 0.0), &starts, 0.93, 0.01);
    let (least, most) = outcome.rates.iter().fold((f64::MAX, 0f64), |(l, m), r| (l.min(*r), m.max(*r)));
    assert!(most / least < 4.0, "unfair: {:.0?}", outcome.rates);
}

#[test]
fn silence_lets_few_go_on_and_halves_the_window_when_they_are_not_answered_either() {
    let mut flow = Flow::new();
    (0..INITIAL as u64).for_each(|number| flow.sent(Time::ZERO, number, true));
    assert_eq!(flow.room(Time::ZERO, false), 0);
    let (mut now, mut number) = (Time::ZERO, INITIAL as u64);
    for window in [INITIAL, INITIAL / 2.0, WINDOW_MIN, WINDOW_MIN] {
        now = flow.next_wake();
        flow.wake(now);
        assert_eq!(flow.next_wake(), Time::NEVER, "nothing under way");
        assert_eq!((flow.window, flow.room(now, false)), (window, WINDOW_MIN as usize));
        (number..number + 4).for_each(|number| flow.sent(now, number, true));
        number += 4;
    }
    assert!(now > Time::from_secs(1), "ever more patient");
}

#[test]
fn reports_that_lie_are_harmless() {
    let mut flow = Flow::new();
    (0..10).for_each(|number| flow.sent(Time::from_secs(1), number, true));
    let now = Time::from_secs(2);
    for (highest, received, stamp, waited) in [
        (u64::MAX - 1, 1, 0, 0),
        (5, u32::MAX, 0, u32::MAX),
        (5, u32::MAX, u32::MAX, 5),
        (9, 0, 1_000_000, 0),
    ] {
        let report =
            Feedback { received, stamp, waited, delay: u32::MAX / 2, clock: 7, ..Default::default() };
        flow.feedback(now, &report, highest, Company { senders: 0, window: f64::NAN });
        assert!((WINDOW_MIN..=WINDOW_MAX).contains(&flow.window) && flow.window.is_finite());
    }
}

#[test]
fn beside_a_flow_that_fills_the_queue_urgent_data_gets_a_share_and_other_yields() {
    let shared = link(20.0, 20, 300.0, 0.0);
    let foreign = Some((Duration::from_millis(120), Duration::from_millis(280)));
    let rate = |urgent| {
        let shared = Bottleneck { foreign, urgent, ..link(20.0, 20, 300.0, 0.0) };
        shared.run(&[Time::ZERO], Time::from_secs(5), Time::from_secs(15)).rates[0]
    };
    let (urgent, normal) = (rate(true) / shared.rate, rate(false) / shared.rate);
    #[allow(clippy::print_stdout)]
    {
        println!("beside a foreign flow: urgent {urgent:.3} of the link, other {normal:.3}");
    }
    assert!(urgent > 0.1 && normal < 0.08 && normal > 0.005);
}

/// After half a minute the queue of a foreign upload was taken for the path.
#[test]
fn it_yields_to_an_upload_of_minutes_as_long_as_it_lasts() {
    let foreign = Some((Duration::from_millis(250), Duration::from_millis(252)));
    let shared = Bottleneck { foreign, ..link(20.0, 20, 300.0, 0.0) };
    let rate = shared.run(&[Time::ZERO], Time::from_secs(60), Time::from_secs(120)).rates[0] / shared.rate;
    assert!(rate < 0.08 && rate > 0.005, "{rate:.3} of the link in its second minute");
}
