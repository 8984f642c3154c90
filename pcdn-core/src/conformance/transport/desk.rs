//! The serving side of the suite: what it gives depends on the piece's number.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{PeerId, SwarmKey};
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::testing::{Signal, content, within};
use crate::transport::{Class, Fetch, Grant, Provider, Refuse};
use crate::verify::Verified;

/// Every piece's length: no multiple of anything a transport may cut by.
pub(super) const PIECE_BYTES: u32 = 60_001;

/// Pieces below 1000 are there, 1000 to 1003 are refused each for its reason, others wait for ever.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waits: Mutex<Waits>,
    sent: Signal,
}

/// What happens to the next request that waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// It came.
    pub(super) asked: Signal,
    /// It was dropped.
    pub(super) gone: Signal,
}

impl Desk {
    pub(super) fn piece(number: u32) -> Bytes {
        content(PIECE_BYTES as usize, u64::from(number))
    }

    /// Fresh signals for the next request that waits.
    pub(super) fn waits(&self) -> Waits {
        let fresh = Waits::default();
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }

    /// A grant holds an upload slot: it must be dropped once its bytes are sent.
    pub(super) async fn frees_what_was_sent(&self) {
        within("a grant must be dropped once it is sent", self.sent.wait()).await;
    }
}

/// A request for piece `number`.
pub(super) fn fetch_of(number: u32) -> Fetch {
    let layout = Layout::new(u64::from(u16::MAX) << 14, 18).expect("a valid layout");
    let piece = layout.piece(number).expect("the suite uses small numbers");
    Fetch {
        swarm: SwarmKey([0x42; 32]),
        piece: PieceKey { segment: SegmentId(7), piece },
        len: PIECE_BYTES,
        want: Vec::new(),
        class: Class::Normal,
        within: Duration::from_secs(60),
    }
}

struct OnDrop(Signal);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.give();
    }
}

#[async_trait]
impl Provider for Desk {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        assert_eq!(want.swarm, SwarmKey([0x42; 32]), "a request must arrive with its swarm");
        assert_eq!(want.piece.segment, SegmentId(7), "a request must arrive with its segment");
        assert_eq!(want.len, PIECE_BYTES, "a request must arrive with its length");
        match want.piece.piece.get() {
            1_000 => Err(Refuse::NotHere),
            1_001 => Err(Refuse::NoSwarm),
            1_002 => Err(Refuse::Bad),
            1_003 => Err(Refuse::Busy(Duration::from_millis(750))),
            number if number < 1_000 => {
                let slot = OnDrop(self.sent.clone());
                Ok(Grant::new(Verified::checked(Self::piece(number)), Some(Box::new(Arc::new(slot)))))
            }
            _ => {
                let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let _gone = OnDrop(waits.gone);
                waits.asked.give();
                std::future::pending().await
            }
        }
    }
}
