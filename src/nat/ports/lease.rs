//! When to ask for a port again. Pure.

use std::time::Duration;

use super::Mapped;

/// After nobody opened one: a router may be starting, or has none to give.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1_800));
/// However short a router's life of a mapping is.
const RENEW_MIN: Duration = Duration::from_secs(30);

/// An open port, or how often none was to be had.
#[derive(Debug, Default)]
pub(super) struct Lease {
    port: Option<u16>,
    failed: u32,
}

impl Lease {
    /// The port that is open.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// What asking came to; after how long to ask again.
    pub(super) fn renew(&mut self, mapped: Option<Mapped>) -> Duration {
        self.port = mapped.map(|mapped| mapped.port);
        match mapped {
            Some(mapped) => {
                self.failed = 0;
                (mapped.lifetime / 2).max(RENEW_MIN)
            }
            None => {
                self.failed = self.failed.saturating_add(1);
                let (first, most) = AGAIN;
                (first * 2u32.saturating_pow(self.failed.min(10) - 1)).min(most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_renewed_at_half_its_life_and_failure_is_patient() {
        let mut lease = Lease::default();
        let mapped = |seconds| Some(Mapped { port: 4000, lifetime: Duration::from_secs(seconds) });
        assert_eq!(lease.renew(None), Duration::from_secs(30));
        assert_eq!(lease.renew(None), Duration::from_secs(60));
        assert_eq!((0..40).map(|_| lease.renew(None)).max(), Some(Duration::from_secs(1_800)));
        assert_eq!(lease.renew(mapped(3_600)), Duration::from_secs(1_800));
        assert_eq!(lease.port(), Some(4000));
        assert_eq!(lease.renew(mapped(1)), RENEW_MIN);
        assert_eq!((lease.renew(None), lease.port()), (Duration::from_secs(30), None));
    }
}
