//! What the engine wants done is begun here, and never waited for.

use futures_util::StreamExt as _;
use pcdn_core::layout::PieceKey;
use pcdn_core::peer::PeerRecord;
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::{Input, Output, ReaderId, Source};
use pcdn_core::unit::Rate;
use pcdn_core::wire::{self, Message, SliceNote};
use tokio::sync::mpsc;

use super::{Delivery, Driver, ToSwarm};
use crate::node::OpenError;
use crate::node::keeper::Job;
use crate::node::stream::track;

impl Driver {
    pub(super) fn act(&mut self, output: Output) {
        match output {
            Output::Connect(record) => self.connect(record),
            Output::Meet(meeting) => self.around.links.meet(&meeting),
            Output::Close(link) => {
                // The session may serve other swarms: only this swarm leaves it.
                if let Some(member) = self.members.remove(&link) {
                    self.by_link.remove(&member.link.number);
                    let _ = member.outbox.try_send(wire::encode(&self.around.key, &Message::Bye));
                }
            }
            Output::Send { link, message } => self.send(link, &message),
            Output::Ask { flight, link, fetch } => self.ask(flight, link, fetch),
            Output::Cancel { flight } => {
                if let Some(task) = self.flights.remove(&flight) {
                    task.abort();
                }
            }
            Output::Fetch { run, url, range } => self.fetch(run, url, range),
            Output::Abort { run } => {
                if let Some(task) = self.runs.remove(&run) {
                    task.abort();
                }
            }
            Output::Heard { link, note } => self.heard(link, note),
            Output::Forget(segment) => {
                let told = self.told.remove(&segment);
                if let (Some(stream), Some((gone, _))) = (&self.around.stream, told) {
                    // Not the one that takes its place.
                    stream.cuts.remove_if(&segment, |_, cut| track::is_at(cut, gone.offset));
                }
                let segment = self.around.segments.leave(segment);
                self.store(Job::Forget { swarm: self.around.shelf, segment });
            }
            Output::Discard(segment) => {
                let segment = self.around.segments.name(segment);
                self.store(Job::Forget { swarm: self.around.shelf, segment });
            }
            Output::Keep { key, layout, kept } => {
                self.look_at(key, &kept.bytes);
                let key = self.around.segments.key(key);
                self.store(Job::Keep { swarm: self.around.shelf, key, layout, kept });
            }
            Output::Load(key) => {
                let Some(to) = self.own.upgrade() else { return };
                let at = self.around.segments.key(key);
                self.store(Job::Load { swarm: self.around.shelf, key, at, to });
            }
            Output::Serve { ask, bytes } => {
                if let Some(answer) = self.asks.remove(&ask) {
                    let _ = answer.send(Ok(bytes));
                }
            }
            Output::Refuse { ask, why } => {
                if let Some(answer) = self.asks.remove(&ask) {
                    let _ = answer.send(Err(why));
                }
            }
            Output::Deliver { reader, bytes, source } => {
                self.deliver(reader, Ok((bytes.into_inner(), source)))
            }
            Output::Broken { reader, why } => {
                self.deliver(reader, Err(OpenError::Origin(why)));
                self.readers.remove(&reader);
            }
            Output::Find { want } => self.find(want),
            Output::Ban(peer) => self.around.links.ban(&peer),
            Output::Complete => {
                self.around.complete.send_replace(true);
            }
            Output::Note(event) => self.note(&event),
        }
    }

    /// The first bytes of a file may say how long it plays; a stream's playlist has said so.
    pub(super) fn look_at(&mut self, key: PieceKey, bytes: &[u8]) {
        let first = self.swarm.board().pieces().first().is_some_and(|piece| piece.key == key);
        if let (true, None, Some(len)) = (first, &self.around.stream, self.around.head.len)
            && let Some(duration) = pcdn_media::duration::of(bytes)
        {
            self.give(Input::Plays(Rate((len as f64 / duration.as_secs_f64()) as u64)));
        }
    }

    /// Whoever cuts the stream decides about it; one that is busy hears of it again from another neighbour, or of the next.
    fn heard(&self, link: Handle, note: SliceNote) {
        if let Some(heard) = self.around.stream.as_ref().and_then(|stream| stream.heard.as_ref()) {
            let _ = heard.try_send((link, note));
        }
    }

    fn deliver(&mut self, reader: ReaderId, mut delivery: Delivery) {
        let Some(audience) = self.readers.get_mut(&reader) else { return };
        if let Ok((bytes, source)) = &mut delivery
            && audience.here > 0
        {
            audience.here = audience.here.saturating_sub(bytes.len() as u64);
            *source = Source::Cache;
        }
        if audience.to.try_send(delivery).is_err() {
            self.readers.remove(&reader);
            self.give(Input::ReadEnd { reader });
        }
    }

    fn send(&mut self, link: Handle, message: &Message) {
        let Some(member) = self.members.get(&link) else { return };
        if member.outbox.try_send(wire::encode(&self.around.key, message)).is_err() {
            // It takes nothing: a message lost here would be missed for ever, so the link starts anew.
            member.link.session.close();
        }
    }

    fn connect(&mut self, record: PeerRecord) {
        let Some(own) = self.own.upgrade() else { return };
        let links = self.around.links.clone();
        let stop = self.around.stop.clone();
        let dial = async move {
            let news = match links.connect(&record).await {
                Ok(link) => ToSwarm::Joined(link),
                Err(error) => {
                    tracing::debug!(peer = %record.id.short(), %error, "a peer was not reached");
                    ToSwarm::NotReached(record.id)
                }
            };
            let _ = own.send(news).await;
        };
        self.around.tasks.spawn(async move { stop.run_until_cancelled(dial).await });
    }

    pub(super) fn store(&mut self, job: Job) {
        match self.around.keeper.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(job)) => {
                // The disk is behind. Nothing waits for it here: the job waits for its turn beside the swarm.
                let keeper = self.around.keeper.clone();
                self.around.tasks.spawn(async move { keeper.send(job).await });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    fn find(&mut self, want: usize) {
        if self.around.discoveries.is_empty() {
            return self.give(Input::Found(Vec::new()));
        }
        let Some(own) = self.own.upgrade() else { return };
        if self.finding {
            return;
        }
        self.finding = true;
        let stop = self.around.stop.clone();
        let (discoveries, key, me) =
            (self.around.discoveries.clone(), self.around.key, self.around.me.clone());
        let search = async move {
            for discovery in discoveries {
                // As they come: a DHT's first peers are there seconds before its last.
                let mut found = discovery.find(&key, want).ready_chunks(want.max(1));
                while let Some(results) = found.next().await {
                    let told = |error| tracing::debug!(%error, "discovery");
                    let records = results.into_iter().filter_map(|result| result.map_err(told).ok());
                    let others = records.filter(|record| record.id != me.id).collect();
                    let _ = own.send(ToSwarm::Found(others)).await;
                }
            }
            let _ = own.send(ToSwarm::Searched).await;
        };
        self.around.tasks.spawn(async move { stop.run_until_cancelled(search).await });
    }
}
