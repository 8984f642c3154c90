//! Requests that wait until a shared store has looked elsewhere.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use pcdn_core::dice::Dice;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Watch;
use super::udp::Defer;
use crate::tracker::service::Service;
use crate::tracker::store::Elsewhere;
use crate::tracker::wire::InfoHash;

/// Requests that wait at most. More are answered from what is known, as all are while nothing is stale.
const WAITING_MAX: usize = 4096;
/// Requests looked up together.
const TOGETHER: usize = 128;

/// Starts the store's own work and the task that answers once it has looked. Answers leave by `socket`.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    elsewhere: Arc<dyn Elsewhere>,
    service: Arc<Service>,
    watch: Watch,
    socket: UdpSocket,
    mut dice: Dice,
) -> Defer {
    let (sender, mut waiting) = mpsc::channel::<(Vec<u8>, SocketAddr)>(WAITING_MAX);
    let store = elsewhere.clone();
    tasks.spawn(async move { store.run().await });
    tasks.spawn(async move {
        let (mut batch, mut answer) = (Vec::with_capacity(TOGETHER), Vec::new());
        while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
            let stale = stale(&service, watch, &batch);
            if !stale.is_empty() {
                elsewhere.look(watch.now(), &stale).await;
            }
            for (datagram, from) in batch.drain(..) {
                service.datagram(watch.now(), &mut dice, from, &datagram, &mut answer);
                // A lost answer: the client asks again.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Arc::new(move |datagram, from| sender.try_send((datagram.to_vec(), from)).is_ok())
}

/// The swarms that are still stale: those before may have asked for the same.
fn stale(service: &Service, watch: Watch, batch: &[(Vec<u8>, SocketAddr)]) -> Vec<InfoHash> {
    let store = service.table().store();
    let mut stale: Vec<InfoHash> =
        batch.iter().flat_map(|(datagram, _)| service.swarms_of(datagram)).collect();
    stale.sort_unstable();
    stale.dedup();
    stale.retain(|swarm| store.is_stale(watch.now(), swarm));
    stale
}
