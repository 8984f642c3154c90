//! Whether what this machine says in its local networks is heard: it listens to itself.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pcdn_core::id::PeerId;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::family::Family;
use super::place::{self, Bound, Place};
use super::wire::{self, Kind, Word};

/// What this machine says comes back within this long, or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether one address of this machine is heard.
#[derive(Debug)]
pub struct Heard {
    /// The address.
    pub at: IpAddr,
    /// What is in the way; `None` if nothing is. It is heard by this machine, and by others if the network carries multicast,
    /// which only they can tell.
    pub why_not: Option<io::Error>,
}

/// Says something that asks nobody for anything from each address that [`Lan`](super::Lan) would speak from, and listens for it.
/// Half a second each at most. Empty where this machine is in no local network, or listens in none.
pub async fn probe(bound: &[IpAddr]) -> Vec<Heard> {
    let mut heard = Vec::new();
    for place in Bound::of(bound).iter().flat_map(Bound::places) {
        heard.push(Heard { at: place.ip, why_not: hear(place).await.err() });
    }
    heard
}

pub(super) async fn hear(place: Place) -> io::Result<()> {
    let (mut salt, mut id) = ([0; 8], [0; 32]);
    for bytes in [&mut salt[..], &mut id[..]] {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))?;
    }
    let word =
        wire::encode(&Word { kind: Kind::Gone, salt, id: PeerId(id), ports: Vec::new(), tags: Vec::new() });
    let group = place::group(Family::of(place.ip))?;
    place.join(&group)?;
    place.voice()?.send_to(&word, place.group()).await?;
    let listening = comes_to(&group, &word);
    timeout_at(Instant::now() + PATIENCE, listening)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn comes_to(group: &UdpSocket, word: &[u8]) -> io::Result<()> {
    let mut room = [0; 1_500];
    loop {
        let (len, _) = group.recv_from(&mut room).await?;
        if room[..len] == *word {
            return Ok(());
        }
    }
}
