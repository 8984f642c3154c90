//! Open sessions: packets for them, and what follows from whatever happened to one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::transport::Class;
use pcdn_core::unit::Time;

use super::{Endpoint, Event, SessionId};
use crate::udp::connection::{Connection, Ended};
use crate::udp::flow::Company;
use crate::udp::pull::Progress;
use crate::udp::serve::Demand;

/// The mean window of all that are sending is good for this long: less than a round of any controller.
const COMPANY_FOR: Duration = Duration::from_millis(10);

impl Endpoint {
    pub(super) fn packet(&mut self, now: Time, from: SocketAddr, to: u32, number: u32, datagram: &mut [u8]) {
        if self.touched.is_some_and(|(index, _)| index != to) {
            self.follow_up();
        }
        let company = self.company(now);
        let secrets = &mut self.secrets;
        let Some(connection) = self.sessions.get_mut(&to) else {
            self.counters.dropped += 1;
            return;
        };
        let was_proven = connection.is_proven();
        let was_stalled = connection.is_stalled();
        let malformed = connection.malformed;
        if !connection.handle(now, from, number, datagram, company, || secrets.draw_8()) {
            self.counters.dropped += 1;
            if connection.ended.is_some() {
                self.touched = Some((to, now));
                self.follow_up();
            }
            return;
        }
        self.counters.malformed += connection.malformed - malformed;
        if was_stalled {
            self.nat.done(&connection.peer);
        }
        if !was_proven {
            self.confirm(to);
        }
        let over = self.sessions.get(&to).is_some_and(|connection| connection.ended.is_some());
        self.touched = Some((to, now));
        if over {
            self.follow_up();
        }
    }

    /// Sees to what follows from the packets taken.
    pub(super) fn follow_up(&mut self) {
        if let Some((index, now)) = self.touched.take() {
            self.with(now, SessionId(index), |_| ());
        }
    }

    /// What the sessions that are sending have in common; counted anew every 10 ms.
    pub(super) fn company(&mut self, now: Time) -> Company {
        if now.since(self.company.1) >= COMPANY_FOR {
            let windows =
                self.turns.senders().filter_map(|index| Some(self.sessions.get(&index)?.flow.window()));
            let (senders, sum) = windows.fold((0, 0.0), |(count, sum), window| (count + 1, sum + window));
            self.company = (Company { senders, window: sum / f64::max(senders as f64, 1.0) }, now);
        }
        self.company.0
    }

    /// Does something to a session and sees to what follows from it.
    pub(super) fn with<T>(
        &mut self,
        now: Time,
        session: SessionId,
        act: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let connection = self.sessions.get_mut(&session.0)?;
        let result = act(connection);
        if connection.ended.is_some() {
            connection.abandon();
        }
        collect(&mut self.events, session, connection);
        if let Some(why) = connection.ended {
            self.end(now, session, why);
            return Some(result);
        }
        connection.note_busy(now);
        for class in [Class::Urgent, Class::Normal, Class::Background] {
            if connection.serve.has_data(class) {
                self.turns.enter(class, session.0);
            }
        }
        // An unconfirmed caller gets nothing but the WELCOME: its address is not proven.
        if !self.half_open.iter().any(|half| half.index == session.0) {
            self.talkative.insert(session.0);
            self.timers.set(session.0, connection.next_wake());
        }
        Some(result)
    }

    fn end(&mut self, now: Time, session: SessionId, why: Ended) {
        let Some(mut connection) = self.sessions.remove(&session.0) else { return };
        self.counters.duplicates += connection.duplicates();
        self.timers.clear(session.0);
        self.talkative.remove(&session.0);
        self.turns.leave(session.0);
        if why != Ended::ByPeer {
            let mut goodbye = Vec::new();
            connection.write_close(now, &mut goodbye);
            // Not `answer`: there are no more goodbyes than sessions.
            self.answers.push_back((connection.remote, goodbye));
        }
        self.events.push_back(Event::Closed { session, why });
    }
}

/// Moves what happened inside `connection` to the endpoint's events.
fn collect(events: &mut VecDeque<Event>, session: SessionId, connection: &mut Connection) {
    events.extend(connection.pull.drain_progress().map(|progress| match progress {
        Progress::Chunk(fetch, chunk) => Event::Chunk { session, fetch, chunk },
        Progress::Whole(fetch) => Event::Fetched { session, fetch },
        Progress::Failed(fetch, why) => Event::FetchFailed { session, fetch, why },
    }));
    let peer = connection.peer;
    events.extend(connection.serve.drain_demands().map(|demand| match demand {
        Demand::Open(fetch, want) => Event::Open { session, peer, fetch, want },
        Demand::Abandon(fetch) => Event::Abandon { session, fetch },
    }));
    while let Some(message) = connection.talk.take_arrived() {
        events.push_back(Event::Message { session, message });
    }
    match connection.talk.take_delivered() {
        0 => {}
        count => events.push_back(Event::Delivered { session, count }),
    }
}
