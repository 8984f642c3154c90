//! The numbers on the wire: why a session is closed, why a stream is reset, and in which order streams are sent.

use std::time::Duration;

use pcdn_core::transport::{Class, FetchError, Refuse};
use quinn::VarInt;

/// A session ends because its owner is done with it.
pub(super) const DONE: VarInt = VarInt::from_u32(0);
/// The other end broke the rules of this protocol.
pub(super) const VIOLATION: VarInt = VarInt::from_u32(1);
/// The other end did not prove to have the swarm secret.
pub(super) const STRANGER: VarInt = VarInt::from_u32(2);

/// A stream is given up: nobody is left to serve it, or its time is over.
pub(super) const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// Messages go first: they are small, and what is asked next depends on them.
pub(super) const TALK_PRIORITY: i32 = 8;
/// Requests are small, too, and bring content.
pub(super) const REQUEST_PRIORITY: i32 = 7;

/// The longest time to retry that is told: ten minutes, and it fits beside the reason.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Answers are sent in this order within one session.
pub(super) fn priority(class: Class) -> i32 {
    class as i32
}

/// A refusal as the code of a reset: the reason in the low byte, milliseconds to retry above it.
pub(super) fn of_refusal(why: Refuse) -> VarInt {
    let (reason, retry) = match why {
        Refuse::Busy(retry) => (1, retry.min(RETRY_MAX)),
        Refuse::NotHere => (2, Duration::ZERO),
        Refuse::NoSwarm => (3, Duration::ZERO),
        Refuse::Bad => (4, Duration::ZERO),
    };
    VarInt::from_u32(reason | (retry.as_millis() as u32) << 8)
}

/// What a reset by the other end means to who asked.
pub(super) fn to_error(code: VarInt) -> FetchError {
    let code = code.into_inner();
    FetchError::Refused(match code & 0xff {
        0 => return FetchError::Timeout,
        1 => Refuse::Busy(Duration::from_millis(code >> 8).min(RETRY_MAX)),
        2 => Refuse::NotHere,
        3 => Refuse::NoSwarm,
        _ => Refuse::Bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_round_trip() {
        let busy = Refuse::Busy(Duration::from_millis(750));
        for why in [busy, Refuse::NotHere, Refuse::NoSwarm, Refuse::Bad, Refuse::Busy(RETRY_MAX)] {
            assert_eq!(to_error(of_refusal(why)), FetchError::Refused(why));
        }
        assert_eq!(to_error(GIVEN_UP), FetchError::Timeout);
        let long = of_refusal(Refuse::Busy(Duration::MAX));
        assert_eq!(to_error(long), FetchError::Refused(Refuse::Busy(RETRY_MAX)));
    }

    #[test]
    fn pressing_answers_go_first_and_behind_messages() {
        let order = [Class::Background, Class::Normal, Class::Urgent].map(priority);
        assert!(order.is_sorted_by(|a, b| a < b) && order[2] < REQUEST_PRIORITY);
        const { assert!(REQUEST_PRIORITY < TALK_PRIORITY) };
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_codes_never_panic(code in 0u64..1 << 62) {
            to_error(VarInt::from_u64(code).unwrap());
        }
    }
}
