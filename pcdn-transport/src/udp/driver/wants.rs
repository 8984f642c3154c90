//! Peers that another protocol on the socket dials or has sessions with, and who hears where they are reached.

use std::net::SocketAddr;

use pcdn_core::id::PeerId;
use tokio::sync::mpsc;

/// Dials that are met; more are only dialled.
pub(super) const WANTS_MAX: usize = 64;
/// Sessions that hear where their peers come through: as many as the protocol has by default. More find their way by keep-alives.
pub(super) const EARS_MAX: usize = 256;

/// See the [module](self). A want ends when nobody hears any more.
#[derive(Debug)]
pub(super) struct Wants {
    all: Vec<(PeerId, mpsc::Sender<SocketAddr>)>,
    most: usize,
}

impl Wants {
    pub(super) fn new(most: usize) -> Self {
        Self { all: Vec::new(), most }
    }

    /// Whether there is room for one more.
    pub(super) fn add(&mut self, peer: PeerId, reached: mpsc::Sender<SocketAddr>) -> bool {
        let room = self.all.len() < self.most;
        if room {
            self.all.push((peer, reached));
        }
        room
    }

    /// The peer came through from there.
    pub(super) fn reached(&self, peer: &PeerId, at: SocketAddr) {
        // Who has many addresses to try already needs no more.
        let theirs = self.all.iter().filter(|(wanted, _)| wanted == peer);
        theirs.for_each(|(_, reached)| _ = reached.try_send(at));
    }

    /// Peers that nobody wants any more.
    pub(super) fn ended(&mut self) -> Vec<PeerId> {
        let mut ended: Vec<PeerId> =
            self.all.iter().filter(|(_, reached)| reached.is_closed()).map(|(peer, _)| *peer).collect();
        self.all.retain(|(_, reached)| !reached.is_closed());
        ended.retain(|peer| !self.all.iter().any(|(wanted, _)| wanted == peer));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_ends_with_the_last_who_hears_and_there_is_room_for_so_many() {
        let (one, other) = (PeerId([1; 32]), PeerId([2; 32]));
        let at = "198.51.100.1:4000".parse().unwrap();
        let mut wants = Wants::new(WANTS_MAX);
        let ((first, mut hears), (second, still)) = (mpsc::channel(1), mpsc::channel(1));
        assert!(wants.add(one, first) && wants.add(one, second));
        wants.reached(&one, at);
        wants.reached(&other, at);
        assert_eq!((hears.try_recv(), hears.try_recv().is_err()), (Ok(at), true));
        drop(hears);
        assert_eq!(wants.ended(), []);
        drop(still);
        assert_eq!(wants.ended(), [one]);
        let kept: Vec<_> = (0..WANTS_MAX).map(|_| mpsc::channel(1)).collect();
        assert!(kept.iter().all(|(reached, _)| wants.add(other, reached.clone())));
        assert!(!wants.add(other, kept[0].0.clone()));
    }
}
