//! Who audits a candidate where no auditor is named: five that hold the same content, drawn by the tracker.
//!
//! Each asks the candidate for a piece that it holds itself, by a [challenge](crate::audit::Challenge), and signs what came of
//! it as a [`Verdict`] under the panel's nonce. What three agree on is evidence; praise is none if two others contradict it:
//!
//! | a member signs | it says |
//! |---|---|
//! | passed | the answer was right; `held` is what the member itself holds of the content |
//! | not passed, `held` above 0 | the answer was wrong, or none came |
//! | not passed, `held` 0 | the candidate says that it does not hold that piece |
//!
//! An answer proves one piece, drawn anew by each member, so who holds half of a content hardly ever passes. Who says frankly
//! that it does not hold a piece has nothing held against it, but it is not proven to hold that content any more.

use super::draw::{AGREED_MIN, PATIENCE, Witness, nonce, seats};
use super::evidence::Evidence;
use crate::audit::Verdict;
use crate::dice::Dice;
use crate::id::{PeerId, SwarmKey};
use crate::unit::Time;

/// Members of one network at most, where networks are known: one network alone is never the majority. Receipts have the like
/// (a network's count for 30 % of what an uploader gave).
const PER_NETWORK: usize = 2;
/// Members that may contradict a passed audit.
const DISSENT_MAX: usize = 1;
/// Subnets that must hold a content before it is audited: whoever draws up a swarm of its own needs as many as it needs for its
/// receipts to count in full (a subnet's count for a tenth).
pub const HOLDERS_MIN: usize = 10;

/// How an audit ended, as one member saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Declined,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    swarm: SwarmKey,
    outcome: Outcome,
    held: u64,
}

impl Vote {
    fn of(verdict: &Verdict) -> Self {
        let outcome = match (verdict.passed, verdict.held) {
            (true, _) => Outcome::Passed,
            (false, 0) => Outcome::Declined,
            (false, _) => Outcome::Failed,
        };
        Self { swarm: verdict.swarm, outcome, held: verdict.held }
    }

    fn agrees(&self, other: &Self) -> bool {
        (self.swarm, self.outcome) == (other.swarm, other.outcome)
    }
}

/// A panel on its way.
#[derive(Clone, Debug)]
pub struct Panel {
    nonce: [u8; 16],
    about: PeerId,
    until: Time,
    seats: Vec<(PeerId, Option<Vote>)>,
}

impl Panel {
    /// Draws a panel for a candidate from those `holders` of a content that are `fit` for it. `None` if the holders are of fewer
    /// than [`HOLDERS_MIN`] subnets other than the candidate's, or fewer than three can be seated.
    pub fn among(
        now: Time,
        dice: &mut Dice,
        about: &Witness,
        holders: &[Witness],
        fit: impl Fn(&PeerId) -> bool,
    ) -> Option<Self> {
        let others = holders.iter().map(|holder| holder.subnet).filter(|subnet| *subnet != about.subnet);
        let subnets = others.collect::<std::collections::BTreeSet<_>>().len();
        let fit: Vec<Witness> = holders.iter().filter(|holder| fit(&holder.peer)).copied().collect();
        let drawn = seats(dice, about, &fit, PER_NETWORK);
        (subnets >= HOLDERS_MIN && drawn.len() >= AGREED_MIN).then(|| Self {
            nonce: nonce(dice),
            about: about.peer,
            until: now + PATIENCE,
            seats: drawn.into_iter().map(|member| (member, None)).collect(),
        })
    }

    /// Names this panel; its members sign it.
    pub fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Who is to be asked.
    pub fn about(&self) -> PeerId {
        self.about
    }

    /// Who was drawn and has not told yet.
    pub fn open(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.seats.iter().filter(|(_, vote)| vote.is_none()).map(|(member, _)| *member)
    }

    /// A member tells; false if it was not drawn, told already, or did not sign this.
    pub fn report(&mut self, verdict: &Verdict) -> bool {
        let fits = verdict.nonce == self.nonce && verdict.peer == self.about;
        let seat = self.seats.iter_mut().find(|(member, _)| fits && *member == verdict.auditor);
        let Some((_, seat @ None)) = seat else { return false };
        if !verdict.is_signed() {
            return false;
        }
        *seat = Some(Vote::of(verdict));
        true
    }

    /// Whether it can be [closed](Self::close): everyone has told, or the time is over.
    pub fn is_over(&self, now: Time) -> bool {
        now >= self.until || self.open().next().is_none()
    }

    fn votes(&self) -> impl Iterator<Item = (PeerId, Vote)> + '_ {
        self.seats.iter().filter_map(|(member, vote)| Some((*member, (*vote)?)))
    }

    /// What at least three agree on; for a candidate only if at most one of the others says anything else. With a fifth of liars
    /// among the holders, three praise one in seventeen that hold nothing, and four one in 150.
    fn verdict(&self) -> Option<Vote> {
        let agreed = |vote: &Vote| {
            let with = self.votes().filter(|(_, other)| other.agrees(vote)).count();
            let against = self.votes().count() - with;
            with >= AGREED_MIN && (vote.outcome != Outcome::Passed || against <= DISSENT_MAX)
        };
        self.votes().map(|(_, vote)| vote).find(agreed)
    }

    /// What the panel shows, if three agree. Of a passed audit so many bytes count as three members vouch for: two that say more,
    /// or less, change nothing.
    pub fn close(&self) -> Option<Evidence> {
        let agreed = self.verdict()?;
        let mut held: Vec<u64> =
            self.votes().filter(|(_, vote)| vote.agrees(&agreed)).map(|(_, vote)| vote.held).collect();
        held.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
        let held = held.get(AGREED_MIN - 1).copied().unwrap_or_default();
        Some(match agreed.outcome {
            Outcome::Passed => Evidence::panel(self.about, agreed.swarm, Some((true, held))),
            Outcome::Failed => Evidence::panel(self.about, agreed.swarm, Some((false, held))),
            Outcome::Declined => Evidence::panel(self.about, agreed.swarm, None),
        })
    }

    /// Members that saw a wrong answer where the panel saw right ones. Not to be drawn again soon. The other way round nobody is
    /// known to lie: a candidate may hold a part.
    pub fn outvoted(&self) -> Vec<PeerId> {
        let passed = self.verdict().is_some_and(|agreed| agreed.outcome == Outcome::Passed);
        let slanders = |vote: &Vote| passed && vote.outcome == Outcome::Failed;
        self.votes().filter(|(_, vote)| slanders(vote)).map(|(member, _)| member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::Fact;
    use super::*;
    use crate::audit::{Audit, Challenge};
    use crate::id::Identity;
    use crate::range::ByteRange;
    use crate::receipt::{NetworkId, Subnet};

    const FILM: SwarmKey = SwarmKey([9; 32]);
    const LEN: u64 = 1 << 30;

    fn at(peer: PeerId, a: u8, network: u32) -> Witness {
        Witness { peer, subnet: Subnet::of([10, a, 0, 1].into()), network: NetworkId(network) }
    }

    fn about() -> Witness {
        at(PeerId([1; 32]), 1, 1)
    }

    /// A panel of five of twelve holders, each in a network of its own, and their keys.
    fn panel() -> (Panel, Vec<Identity>) {
        let keys: Vec<Identity> = (20..32).map(|n| Identity::from_secret([n; 32])).collect();
        let pool: Vec<Witness> =
            keys.iter().zip(20..).map(|(key, n)| at(key.peer_id(), n, n.into())).collect();
        let panel = Panel::among(Time::ZERO, &mut Dice::new(1), &about(), &pool, |_| true).unwrap();
        let drawn: Vec<PeerId> = panel.open().collect();
        assert_eq!(drawn.len(), 5);
        (panel, keys.into_iter().filter(|key| drawn.contains(&key.peer_id())).collect())
    }

    fn verdict(member: &Identity, panel: &Panel, outcome: Outcome, held: u64) -> Verdict {
        let challenge = Challenge { nonce: [3; 16], range: ByteRange::new(0, 4).unwrap() };
        let audit = Audit::of(panel.about(), FILM, held, challenge, b"film");
        let audited = match outcome {
            Outcome::Passed => audit.judge(Some(&challenge.answer(b"film"))),
            Outcome::Failed => audit.judge(None),
            Outcome::Declined => audit.declined(),
        };
        Verdict::of_panel(member, panel.nonce(), &audited, 0)
    }

    /// What a panel shows whose members tell this.
    fn shown(votes: &[(Outcome, u64)]) -> (Option<Fact>, usize) {
        let (mut panel, members) = panel();
        for (member, (outcome, held)) in members.iter().zip(votes) {
            assert!(panel.report(&verdict(member, &panel, *outcome, *held)));
        }
        assert_eq!(panel.is_over(Time::ZERO), votes.len() == 5);
        (panel.close().map(|evidence| evidence.fact), panel.outvoted().len())
    }

    #[test]
    fn three_of_five_decide_and_two_liars_change_nothing() {
        use Outcome::{Declined, Failed, Passed};
        let audit = |passed, held| Some(Fact::Audit { passed, swarm: FILM, held });
        let (good, none, bad, huge) = ((Passed, LEN), (Declined, 0), (Failed, LEN), (Passed, LEN << 20));
        assert_eq!(shown(&[good; 5]), (audit(true, LEN), 0));
        assert_eq!(shown(&[good, good, good, huge, huge]), (audit(true, LEN), 0));
        assert_eq!(shown(&[huge, good, good, (Passed, 1), (Passed, 1)]), (audit(true, LEN), 0));
        assert_eq!(shown(&[good, good, good, good, bad]), (audit(true, LEN), 1));
        assert_eq!(shown(&[good, good, good, bad, bad]).0, None, "two against three is no praise");
        assert_eq!(shown(&[good, good, bad, bad, bad]), (audit(false, LEN), 0));
        assert_eq!(shown(&[good, good, none, none, none]), (Some(Fact::Declined(FILM)), 0));
        assert_eq!(shown(&[good, good]).0, None, "two say nothing");
        assert_eq!(shown(&[good, good, none, none, bad]).0, None);
    }

    #[test]
    fn a_panel_takes_one_signed_word_of_each_it_drew() {
        let (mut panel, members) = panel();
        let good = verdict(&members[0], &panel, Outcome::Passed, LEN);
        let stranger = verdict(&Identity::from_secret([99; 32]), &panel, Outcome::Passed, LEN);
        let forged = Verdict { held: 1, ..good.clone() };
        let other = Verdict { nonce: [0; 16], ..good.clone() };
        for bad in [stranger, forged, other] {
            assert!(!panel.report(&bad));
        }
        assert!(panel.report(&good) && !panel.report(&good));
        assert!(!panel.is_over(Time::ZERO) && panel.is_over(Time::from_secs(60)) && panel.close().is_none());
    }

    #[test]
    fn a_rack_has_one_seat_a_network_two_and_few_holders_none() {
        let mut dice = Dice::new(1);
        let id = |n: u8| PeerId([n; 32]);
        let rack: Vec<Witness> = (0..50).map(|n| at(id(100 + n), 2, 2)).collect();
        assert!(Panel::among(Time::ZERO, &mut dice, &about(), &rack, |_| true).is_none());
        let mut pool: Vec<Witness> = (0..8).map(|n| at(id(10 + n), 10 + n, 10 + u32::from(n))).collect();
        pool.extend(&rack);
        assert!(Panel::among(Time::ZERO, &mut dice, &about(), &pool, |_| true).is_none(), "nine subnets");
        // Twenty more of the rack's network.
        pool.extend((0..20).map(|n| at(id(30 + n), 30 + n, 2)));
        for _ in 0..100 {
            let panel = Panel::among(Time::ZERO, &mut dice, &about(), &pool, |_| true).unwrap();
            let seated: Vec<&Witness> =
                panel.open().map(|peer| pool.iter().find(|it| it.peer == peer).unwrap()).collect();
            assert_eq!(seated.len(), 5);
            assert!(seated.iter().filter(|it| it.network == NetworkId(2)).count() <= 2);
            assert!(seated.iter().filter(|it| it.subnet == rack[0].subnet).count() <= 1);
        }
    }
}
