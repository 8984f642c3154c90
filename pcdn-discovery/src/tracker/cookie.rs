//! The connection id of BEP 15, as a stateless proof that a source address is real.
//!
//! A tracker answers requests that ask for less than they get, so whoever could lie about his address could aim those
//! answers at a victim. Before anything else a client therefore fetches a connection id, which only the true owner of the
//! address receives. The id is a keyed hash of address and time: the tracker remembers nothing and many clients cost nothing.

use std::fmt;
use std::net::IpAddr;

use pcdn_core::unit::Time;

/// Length of a time slice. BEP 15 lets a client use an id for one minute and asks the tracker to accept it for two.
const SLICE_SECONDS: u64 = 60;
/// Slices before the current one that are still accepted: an id lives two to three minutes.
const SLICES_KEPT: u64 = 2;

/// Makes and checks connection ids.
pub struct Cookies {
    key: [u8; 32],
}

impl Cookies {
    /// With a random `key`, drawn anew at each start: a restart invalidates all ids, and clients fetch new ones.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The id for `ip` at `now`.
    pub fn issue(&self, now: Time, ip: IpAddr) -> u64 {
        self.of(now.0 / 1_000_000 / SLICE_SECONDS, ip)
    }

    /// Whether `id` was issued to `ip` within the last two minutes (three at most).
    pub fn accepts(&self, now: Time, ip: IpAddr, id: u64) -> bool {
        let slice = now.0 / 1_000_000 / SLICE_SECONDS;
        (slice.saturating_sub(SLICES_KEPT)..=slice).rev().any(|slice| self.of(slice, ip) == id)
    }

    fn of(&self, slice: u64, ip: IpAddr) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&slice.to_be_bytes());
        match ip.to_canonical() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_be_bytes(id)
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_two_minutes_for_its_address_and_its_tracker() {
        let cookies = Cookies::new([1; 32]);
        let (me, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for issued_s in [0, 59, 60, 3_599] {
            let issued = Time::from_secs(issued_s);
            let id = cookies.issue(issued, me);
            for later_s in [0, 60, 120] {
                assert!(cookies.accepts(Time::from_secs(issued_s + later_s), me, id), "{issued_s}+{later_s}");
            }
            assert!(!cookies.accepts(Time::from_secs(issued_s + 180), me, id));
            assert!(!cookies.accepts(issued, other, id), "another address");
            assert!(!Cookies::new([2; 32]).accepts(issued, me, id), "another tracker");
        }
    }

    #[test]
    fn a_mapped_address_is_the_same_host() {
        let cookies = Cookies::new([1; 32]);
        let id = cookies.issue(Time::ZERO, "::ffff:192.0.2.1".parse().unwrap());
        assert!(cookies.accepts(Time::ZERO, "192.0.2.1".parse().unwrap(), id));
    }
}
