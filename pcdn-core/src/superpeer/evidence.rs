//! What may be held for or against a candidate: only what somebody else can show.

use std::collections::BTreeSet;

use crate::audit::{Audited, Verdict};
use crate::id::{PeerId, SwarmKey};
use crate::receipt::{Counted, Subnet};
use crate::verify::witness::Statement;

/// One thing that others showed of a peer. Every way to make one takes what a third party made: a closed [round of
/// witnesses](super::Draw) or [panel](super::Panel), a receipt a [book](crate::receipt::Book) counted, an [audit](crate::audit::Audit) that was
/// judged, three downloaders' complaints, two statements that contradict each other, or what a
/// [ledger](crate::ledger::Ledger) says.
///
/// A peer's own word is no evidence, and the type knows none:
///
/// ```compile_fail
/// use pcdn_core::superpeer::Evidence;
/// let praise = Evidence { about: pcdn_core::id::PeerId([1; 32]), fact: "I am reachable" };
/// ```
///
/// ```compile_fail
/// use pcdn_core::receipt::{Counted, Tally};
/// let me = pcdn_core::id::PeerId([1; 32]);
/// let praise = Counted { up: me, down: me, bucket: 0, step: Tally::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    about: PeerId,
    pub(super) fact: Fact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Round(Round),
    Receipt {
        minute: u32,
        bytes: u64,
        pieces: u32,
        bad: u32,
    },
    Audit {
        passed: bool,
        swarm: SwarmKey,
        held: u64,
    },
    /// It says that it does not hold what it was asked for.
    Declined(SwarmKey),
    /// It lied, or gave what is wrong.
    Default,
    Stake(u64),
}

/// Subnets that must complain, as many as witnesses must agree.
const COMPLAINTS_MIN: usize = 3;

/// What a round of witnesses came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) about: PeerId,
    pub(super) reached: bool,
    pub(super) latency_ms: u16,
    pub(super) lost_permille: u16,
}

impl Evidence {
    pub(super) fn round(round: Round) -> Self {
        Self { about: round.about, fact: Fact::Round(round) }
    }

    /// A downloader signed for what the peer gave.
    pub fn receipt(counted: &Counted) -> Self {
        let step = counted.step();
        let fact =
            Fact::Receipt { minute: counted.bucket(), bytes: step.bytes, pieces: step.pieces, bad: step.bad };
        Self { about: counted.up(), fact }
    }

    /// An auditor asked for bytes the peer says it holds.
    pub fn audit(audited: &Audited) -> Self {
        let fact = Fact::Audit { passed: audited.passed(), swarm: audited.swarm(), held: audited.held() };
        Self { about: audited.peer(), fact }
    }

    /// An auditor says how an audit ended. `None` unless it is one of `trusted`, not the peer itself, and signed this.
    pub fn verdict(verdict: &Verdict, trusted: &BTreeSet<PeerId>) -> Option<Self> {
        let Verdict { auditor, peer, swarm, held, passed, .. } = *verdict;
        let counts = trusted.contains(&auditor) && auditor != peer && verdict.is_signed();
        counts.then_some(Self { about: peer, fact: Fact::Audit { passed, swarm, held } })
    }

    /// What a [panel](super::Panel) agreed on: whether an audit was passed, and for how many bytes, or that the peer does not
    /// hold what it was asked for.
    pub(super) fn panel(about: PeerId, swarm: SwarmKey, audit: Option<(bool, u64)>) -> Self {
        let fact = match audit {
            Some((passed, held)) => Fact::Audit { passed, swarm, held },
            None => Fact::Declined(swarm),
        };
        Self { about, fact }
    }

    /// The peer signed two statements that cannot both be true: proof that it lied, whoever shows it. `None` if they can.
    pub fn lie(first: &Statement, second: &Statement) -> Option<Self> {
        let same = first.witness == second.witness
            && first.swarm == second.swarm
            && first.segment == second.segment
            && first.layout == second.layout;
        let conflict = first
            .entries()
            .any(|(piece, digest)| second.entries().any(|(other, told)| piece == other && digest != told));
        let proven = same && conflict && first.is_signed() && second.is_signed();
        proven.then_some(Self { about: first.witness, fact: Fact::Default })
    }

    /// Downloaders signed for wrong pieces of the peer. `None` unless they are at least three, no two of one subnet: one alone
    /// may lie about it.
    pub fn complaints(complaints: &[(Counted, Subnet)]) -> Option<Self> {
        let about = complaints.first()?.0.up();
        let counts = |(counted, _): &&(Counted, Subnet)| counted.up() == about && counted.step().bad > 0;
        let subnets: BTreeSet<Subnet> = complaints.iter().filter(counts).map(|(_, subnet)| *subnet).collect();
        (subnets.len() >= COMPLAINTS_MIN).then_some(Self { about, fact: Fact::Default })
    }

    /// What the operator's books say the peer has at stake.
    pub fn stake(peer: PeerId, amount: u64) -> Self {
        Self { about: peer, fact: Fact::Stake(amount) }
    }

    /// Whom it is about.
    pub fn about(&self) -> PeerId {
        self.about
    }
}
