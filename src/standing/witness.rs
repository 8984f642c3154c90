//! Dials whom trackers drew this node to dial, and audits whom they drew it to audit.
//!
//! Both begin at a port that the candidate has never seen, so an opening in its NAT made for others does not help, and under a key
//! drawn for this one dial: it cannot know that it is being tested, nor by whom, and its session with this node, if it has one,
//! stays as it is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pcdn_core::audit::{Audit, Challenge, Verdict};
use pcdn_core::peer::{PeerRecord, Scheme};
use pcdn_core::superpeer::Sighting;
use pcdn_core::transport::{Session, Transport};
use pcdn_core::wire::{self, Message};
use pcdn_discovery::tracker::standing::http::{
    AuditsBody, BATCH_MAX, ProbeBody, ProbesBody, SightingsBody, TakenBody, from_hex, hex, wall_clock,
};
use pcdn_discovery::tracker::wire::InfoHash;
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::udp::Udp;

use super::Desk;
use crate::http::call::{Call, CallError};
use crate::identity;

/// What a candidate has to answer a dial.
const DIAL: Duration = Duration::from_secs(5);
/// What it has to show a piece: a slow disk under load needs tens of milliseconds, a busy line a second.
const SHOW: Duration = Duration::from_secs(5);
/// Other messages that may come before the answer.
const MESSAGES_MAX: usize = 64;

/// A session to a candidate, and the transport it runs on.
struct Knock {
    transport: Box<dyn Transport>,
    session: Arc<dyn Session>,
}

impl Knock {
    async fn end(self) {
        self.session.close();
        self.transport.close(Duration::ZERO).await;
    }
}

impl Desk {
    pub(super) async fn witness(self: Arc<Self>) {
        let mut rounds = self.rounds();
        while self.stop.run_until_cancelled(rounds.tick()).await.is_some() {
            for call in &self.calls {
                if let Some(Err(error)) = self.stop.run_until_cancelled(self.round(call)).await {
                    tracing::debug!(%error, "no witnessing");
                }
            }
        }
    }

    async fn round(&self, call: &Call) -> Result<(), CallError> {
        let asked: ProbesBody = call.get(&format!("/v1/probes?peer={}", self.node.peer_id())).await?;
        let (mut sightings, mut verdicts) = (Vec::new(), Vec::new());
        for probe in asked.probes.into_iter().take(BATCH_MAX) {
            let Some(draw) = array(&probe.draw).filter(|_| probe.about.id != self.node.peer_id()) else {
                continue;
            };
            match &probe.audit {
                None => sightings.push(hex(&self.dial(draw, &probe.about).await.encode())),
                Some(_) => verdicts.extend(self.audit(draw, &probe).await.map(|it| hex(&it.encode()))),
            }
        }
        if !sightings.is_empty() {
            call.post::<TakenBody>("/v1/sightings", &SightingsBody { sightings }).await?;
        }
        if !verdicts.is_empty() {
            call.post::<TakenBody>("/v1/audits", &AuditsBody { verdicts }).await?;
        }
        Ok(())
    }

    async fn knock(&self, about: &PeerRecord) -> Option<Knock> {
        let me = identity::ephemeral().ok()?;
        let any = match about.addrs.first().is_some_and(|addr| addr.addr.is_ipv6()) {
            true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let knock = async {
            let provider = self.provider.clone();
            let transport: Box<dyn Transport> = if about.addrs.iter().all(|at| at.scheme == Scheme::Quic) {
                let config = QuicConfig { secret: self.udp.secret.clone(), ..QuicConfig::default() };
                Box::new(Quic::bind(any, &me, provider, config).await.ok()?)
            } else {
                Box::new(Udp::bind(any, &me, provider, self.udp.clone()).await.ok()?)
            };
            let session = transport.connect(about).await.ok()?;
            Some(Knock { transport, session })
        };
        tokio::time::timeout(DIAL, knock).await.ok().flatten()
    }

    async fn dial(&self, draw: [u8; 16], about: &PeerRecord) -> Sighting {
        let begun = Instant::now();
        let knock = self.knock(about).await;
        let (latency, reached) = (begun.elapsed(), knock.is_some());
        let mut lost = 0;
        if let Some(knock) = knock {
            lost = knock.session.path().loss_permille;
            knock.end().await;
        }
        let latency_ms = if reached { u16::try_from(latency.as_millis()).unwrap_or(u16::MAX) } else { 0 };
        Sighting::sign(self.node.identity(), draw, about.id, reached, latency_ms, lost)
    }

    /// Has a candidate show a piece that this node holds. `None` if nothing can be said: nothing is held here, or the candidate is
    /// not reached, which others are drawn to see.
    async fn audit(&self, panel: [u8; 16], probe: &ProbeBody) -> Option<Verdict> {
        let swarm = InfoHash(array(probe.audit.as_ref()?)?);
        let mut dice = crate::dice().ok()?;
        let sample = self.node.sample(|key| InfoHash::of(key) == swarm, dice.fork("sample")).await?;
        let knock = self.knock(&probe.about).await?;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&dice.next_u64().to_be_bytes());
        nonce[8..].copy_from_slice(&dice.next_u64().to_be_bytes());
        let (segment, piece) = (sample.key.segment, sample.key.piece.get());
        let question = wire::encode(&sample.swarm, &Message::Challenge { nonce, segment, piece });
        let shown = tokio::time::timeout(SHOW, ask(knock.session.as_ref(), question, nonce)).await;
        knock.end().await;
        let challenge = Challenge { nonce, range: sample.range };
        let audit = Audit::of(probe.about.id, sample.swarm, sample.held, challenge, &sample.bytes);
        let audited = match shown.ok().flatten() {
            Some(Some(shown)) => audit.judge(Some(&shown)),
            Some(None) => audit.declined(),
            None => audit.judge(None),
        };
        let minute = u32::try_from(wall_clock().0 / 60_000_000).unwrap_or(u32::MAX);
        Some(Verdict::of_panel(self.node.identity(), panel, &audited, minute))
    }
}

/// What the other end shows, or says that it does not; `None` if it does not answer.
async fn ask(
    session: &dyn Session,
    question: Bytes,
    asked: [u8; 16],
) -> Option<Option<pcdn_core::id::Digest>> {
    session.send(question).await.ok()?;
    for _ in 0..MESSAGES_MAX {
        let message = wire::decode(&session.recv().await.ok()?).ok()?.message;
        if let Some(Message::Answer { nonce, shown }) = message
            && nonce == asked
        {
            return Some(shown);
        }
    }
    None
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_hex(text)?.try_into().ok()
}
