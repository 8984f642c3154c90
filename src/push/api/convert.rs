//! Between the bodies of the API and what the planner speaks.

use std::time::Duration;

use pcdn_core::audit::Challenge;
use pcdn_core::range::ByteRange;
use pcdn_core::unit::Rate;
use pcdn_core::warmup::{self, Content, Demand, LeaseId, Next, Progress, Stage, Target, Task};

use super::{ChallengeBody, HolderBody, NextBody, ProgressBody, TargetBody, TaskBody, millis};

impl From<TargetBody> for Target {
    fn from(body: TargetBody) -> Self {
        match body {
            TargetBody::Copies(copies) => Target::Copies(copies),
            TargetBody::Percent(percent) => Target::Percent(percent),
            TargetBody::Viewers { arrivals, bitrate, from_peers } => {
                Target::Viewers(Demand { arrivals, bitrate, from_peers })
            }
        }
    }
}

impl TaskBody {
    pub(in crate::push) fn of(task: Task) -> Self {
        Self {
            lease: task.lease.0,
            url: task.content.url,
            rendition: task.content.rendition,
            len: task.content.len,
            hold_ms: millis(task.hold),
            class: "background".to_owned(),
            cdn_bytes: task.cdn_bytes,
            rate: (!task.rate.is_unlimited()).then_some(task.rate.0),
        }
    }

    pub(in crate::push) fn task(self) -> Task {
        Task {
            lease: LeaseId(self.lease),
            content: Content { url: self.url, rendition: self.rendition, len: self.len },
            hold: Duration::from_millis(self.hold_ms),
            cdn_bytes: self.cdn_bytes,
            rate: self.rate.map_or(Rate::UNLIMITED, Rate),
        }
    }
}

impl ProgressBody {
    pub(in crate::push) fn progress(&self) -> Progress {
        let Self { held, from_cdn, from_peers, answer, given_up, .. } = *self;
        Progress { held, from_cdn, from_peers, answer, given_up }
    }
}

impl NextBody {
    pub(in crate::push) fn of(next: Next) -> Self {
        match next {
            Next::Drop => Self { drop: true, hold_ms: 0, challenge: None },
            Next::Hold { hold, challenge } => {
                let challenge = challenge.map(|challenge| ChallengeBody {
                    nonce: challenge.nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
                    start: challenge.range.start(),
                    end: challenge.range.end(),
                });
                Self { drop: false, hold_ms: millis(hold), challenge }
            }
        }
    }
}

impl ChallengeBody {
    /// The challenge; `None` if it is none.
    pub(in crate::push) fn challenge(&self) -> Option<Challenge> {
        let digits = self.nonce.as_bytes();
        let mut nonce = [0; 16];
        if digits.len() != 2 * nonce.len() {
            return None;
        }
        for (byte, pair) in nonce.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| Some((pair[at] as char).to_digit(16)? as u8);
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Some(Challenge { nonce, range: ByteRange::new(self.start, self.end)? })
    }
}

impl HolderBody {
    pub(in crate::push) fn of(holder: warmup::Holder) -> Self {
        let stage = match holder.stage {
            Stage::Lost => "lost",
            Stage::Granted => "granted",
            Stage::Placed => "placed",
            Stage::Proven => "proven",
        };
        let Content { url, rendition, .. } = holder.content;
        Self { peer: holder.peer, url, rendition, stage: stage.to_owned(), held: holder.held }
    }
}
