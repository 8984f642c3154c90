//! The uplink that all sessions share: turns, and the limit on what goes out.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::id::SwarmKey;
use pcdn_core::transport::Class;
use pcdn_core::unit::Time;

use super::event::Transmit;
use crate::limit::Limits;
use crate::udp::connection::Connection;
use crate::udp::frame::DATA_OVERHEAD;
use crate::udp::packet::{HEADER_LEN, TAG_LEN};
use crate::udp::subs::SUB_BYTES_MAX;
use crate::udp::turn::{Turns, Visit};

/// Packets of one burst on an ordinary path: 11 KB, 0.9 ms of a 100 Mbit/s uplink. It is also what a session sends in its turn
/// before the next session's.
const BURST: usize = 8;
/// And on a fast one, where a burst is what the session sends in [`BURST_TIME`]: what one system call with GSO takes. On
/// loopback a call costs as much as sealing ten packets.
const BURST_MAX: usize = 40;
/// No queue of any depth minds so much at once.
const BURST_TIME: Duration = Duration::from_millis(2);
/// Bytes that a packet of DATA adds to its content.
const OVERHEAD: usize = DATA_OVERHEAD + HEADER_LEN + TAG_LEN;

#[derive(Debug)]
pub(super) struct Uplink {
    limits: Limits,
    blocked_until: Time,
}

/// A burst of DATA.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) transmit: Transmit,
    pub(super) session: u32,
    pub(super) content: u64,
}

impl Uplink {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, blocked_until: Time::NEVER }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When DATA that pace or limit holds back may go.
    pub(super) fn blocked_until(&self) -> Time {
        self.blocked_until
    }

    /// Appends the next burst to `out`.
    pub(super) fn next(
        &mut self,
        now: Time,
        turns: &mut Turns,
        sessions: &mut BTreeMap<u32, Box<Connection>>,
        segments: usize,
        out: &mut Vec<u8>,
    ) -> Option<Burst> {
        self.blocked_until = Time::NEVER;
        let mut burst = None;
        turns.go(|class, index| {
            let Some(connection) = sessions.get_mut(&index) else { return Visit::Empty };
            // A swarm that has used up its rate must not hold up another.
            let sub = u64::from(SUB_BYTES_MAX);
            connection.serve.prefer(class, |swarm| self.limits.allowed_for(now, swarm) >= sub);
            let Some((swarm, content)) = connection.serve.next_data(class) else { return Visit::Empty };
            let peer = connection.peer;
            let mut allowed = self.limits.allowed(now, &swarm, &peer);
            if (content as u64) > allowed {
                let ready = self.limits.ready_at(&swarm, &peer, 2 * sub);
                self.blocked_until = self.blocked_until.min(ready);
                return Visit::Blocked;
            }
            let fast = (connection.pace(class).bytes_in(BURST_TIME) / u64::from(SUB_BYTES_MAX)) as usize;
            let most = fast.clamp(BURST, BURST_MAX);
            let packets = match connection.data_allowance(now, content, class) {
                Ok(packets) => packets.min(segments).min(most),
                Err(ready) => {
                    self.blocked_until = self.blocked_until.min(ready);
                    return Visit::Blocked;
                }
            };
            if connection.deficit < content as i64 {
                connection.deficit += (most * usize::from(SUB_BYTES_MAX)) as i64;
            }
            let sent = fill(now, connection, (class, swarm), packets, &mut allowed, out);
            self.limits.take(&swarm, &peer, sent.content);
            burst = Some(Burst {
                transmit: Transmit { to: connection.remote, segment: sent.segment },
                session: index,
                content: sent.content,
            });
            let next = connection.serve.next_data(class).map_or(usize::MAX, |(_, len)| len);
            Visit::Sent { turn_over: connection.deficit < next as i64 }
        });
        burst
    }
}

struct Sent {
    segment: usize,
    content: u64,
}

/// Packets of equal size, the last perhaps shorter.
fn fill(
    now: Time,
    connection: &mut Connection,
    (class, swarm): (Class, SwarmKey),
    packets: usize,
    allowed: &mut u64,
    out: &mut Vec<u8>,
) -> Sent {
    let mut sent = Sent { segment: 0, content: 0 };
    for _ in 0..packets.max(1) {
        let Some((_, next)) = connection.serve.next_data(class).filter(|(of, _)| *of == swarm) else { break };
        let longer = sent.segment > 0 && next + OVERHEAD > sent.segment;
        if longer || next as u64 > *allowed || next as i64 > connection.deficit {
            break;
        }
        let before = out.len();
        let Some(content) = connection.write_data(now, class, out) else { break };
        connection.deficit -= content as i64;
        *allowed = allowed.saturating_sub(content as u64);
        sent.content += content as u64;
        let size = out.len() - before;
        if sent.segment == 0 {
            sent.segment = size;
        } else if size < sent.segment {
            break;
        }
    }
    sent
}
