//! What a link does to datagrams.

use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::unit::Rate;
use tokio::time::Instant;

/// What happens to datagrams, in each direction alike. By default nothing does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Bytes a second. Unlimited by default.
    pub rate: Rate,
    /// A datagram that would wait longer than this for its turn is lost. 100 ms by default.
    pub queue: Duration,
    /// How long the way takes. Timers are good for about a millisecond.
    pub delay: Duration,
    /// And up to so much longer, by chance.
    pub jitter: Duration,
    /// The share lost.
    pub loss: f64,
    /// Mean length of a run of losses; 1, the default, is independent losses.
    pub burst: f64,
    /// The share held back, by up to [`reorder_by`](Self::reorder_by).
    pub reorder: f64,
    /// 15 ms by default.
    pub reorder_by: Duration,
    /// The share sent twice.
    pub duplicate: f64,
    /// The share of which one bit is turned.
    pub corrupt: f64,
    /// Longer datagrams vanish; 0, the default, is none.
    pub mtu: usize,
    /// Nothing passes.
    pub blackhole: bool,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            rate: Rate::UNLIMITED,
            queue: Duration::from_millis(100),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: 1.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(15),
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 0,
            blackhole: false,
        }
    }
}

impl Fault {
    /// What the suites of transports put a link through: 10 % lost in short bursts, reordering, copies, damage.
    pub fn rough() -> Self {
        let delay = Duration::from_millis(5);
        Self { delay, loss: 0.1, burst: 2.0, reorder: 0.1, duplicate: 0.05, corrupt: 0.02, ..Self::default() }
    }
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    free_at: Option<Instant>,
    /// Whether the last datagram was lost, by chance.
    losing: bool,
}

impl Pipe {
    /// Two states: while losing all is lost, and it goes on with 1 - 1/burst; so that the mean share is right, it begins with
    /// loss / (1 - loss) / burst.
    pub(super) fn loses(&mut self, fault: &Fault, dice: &mut Dice) -> bool {
        let burst = fault.burst.max(1.0);
        let chance = match self.losing {
            _ if fault.loss >= 1.0 => 1.0,
            true => 1.0 - 1.0 / burst,
            false => fault.loss / (1.0 - fault.loss) / burst,
        };
        // Independent losses have no memory.
        let chance = if burst == 1.0 { fault.loss } else { chance };
        self.losing = dice.chance(chance);
        self.losing
    }

    /// When a datagram that comes now is through; `None` if the queue is full.
    pub(super) fn pass(&mut self, fault: &Fault, now: Instant, bytes: usize) -> Option<Instant> {
        if fault.rate.is_unlimited() {
            return Some(now);
        }
        let begins = self.free_at.map_or(now, |at| at.max(now));
        if begins - now > fault.queue {
            return None;
        }
        let through = begins + fault.rate.time_for(bytes as u64);
        self.free_at = Some(through);
        Some(through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_lost_is_right_and_comes_in_bursts() {
        for (loss, burst) in [(0.1, 1.0), (0.1, 4.0), (0.02, 3.0), (1.0, 1.0), (0.0, 5.0)] {
            let fault = Fault { loss, burst, ..Fault::default() };
            let (mut pipe, mut dice) = (Pipe::default(), Dice::new(1));
            let fates: Vec<bool> = (0..200_000).map(|_| pipe.loses(&fault, &mut dice)).collect();
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            assert!((lost / 200_000.0 - loss).abs() < 0.005, "{lost} of 200,000 at {loss}");
            let runs = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            if loss > 0.0 && loss < 1.0 {
                let independent = if burst == 1.0 { 1.0 / (1.0 - loss) } else { burst };
                assert!((lost / runs - independent).abs() < 0.3, "runs of {}", lost / runs);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_makes_a_queue_and_a_full_queue_loses() {
        let fault = Fault { rate: Rate(100_000), queue: Duration::from_millis(30), ..Fault::default() };
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        let through: Vec<_> = (0..10).filter_map(|_| pipe.pass(&fault, now, 1000)).collect();
        assert_eq!(through.len(), 4, "three wait up to 30 ms, and the first did not");
        assert_eq!(*through.last().unwrap() - now, Duration::from_millis(40));
    }
}
