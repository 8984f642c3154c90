//! What peers say to one another about a swarm.
//!
//! Every message is one control message of a [`Session`](crate::transport::Session), at most 64 KiB:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1; another version is ignored |
//! | 1 | kind; an unknown kind is ignored |
//! | 32 | swarm key |
//! | … | body, big endian, by kind (see [`Message`]) |
//!
//! Bodies may grow at their end: a reader skips what it does not know.

mod codec;
pub mod meet;

use bytes::Bytes;

use crate::id::{Digest, PeerId, SwarmKey};
use crate::layout::{Layout, SegmentId};
use crate::peer::{PeerAddr, Scheme, SignedRecord};
use crate::receipt::Receipt;
use crate::verify::witness::Statement;

pub use codec::{WireError, decode, encode};

/// Peers added and peers dropped by one [`Message::Peers`] at most: BEP 11 allows 50 without signatures; 20 signed records
/// keep it below 5 KiB.
pub const PEERS_MAX: usize = 20;
/// Segments in one [`Message::Have`] at most, so that it stays far below 64 KiB with bitmaps of 64 pieces.
pub const HAVE_SEGMENTS_MAX: usize = 1_024;
/// Bytes of bitmaps in one [`Message::Have`] at most.
pub const HAVE_BYTES_MAX: usize = 32 * 1_024;
/// Bytes of a manifest in one [`Message::ManifestPart`].
pub const MANIFEST_PART_BYTES: usize = 48 * 1_024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First on every link: the sender takes part in the swarm and listens there.
    Hello {
        /// Ports it listens on; the address is the one the receiver sees.
        ports: Vec<(Scheme, u16)>,
        /// Whether the receiver shall answer with its own hello.
        answer: bool,
        /// From where the sender sees the receiver: who is behind a NAT learns its address so.
        appears: Option<PeerAddr>,
    },
    /// Pieces the sender can give, whole bitmaps of the segments that changed, and how it is doing.
    Have {
        /// How the sender is doing.
        status: Status,
        /// Segments that changed.
        segments: Vec<HaveSegment>,
    },
    /// The sender has begun to fetch this run of pieces from the origin; others may wait for it.
    Claim {
        /// In which segment.
        segment: SegmentId,
        /// First piece.
        first: u32,
        /// Number of pieces; 0 takes the claim on this segment back.
        count: u32,
        /// The sender expects to be done within this many milliseconds.
        within_ms: u32,
    },
    /// What somebody fetched from the origin, signed by it.
    Witness(Statement),
    /// Asks for all statements on a segment.
    AskWitness(SegmentId),
    /// Who the sender is and where it can be reached, signed by itself, to be passed on.
    Record(SignedRecord),
    /// Peers the sender has links to, as a difference to what it told the receiver before.
    Peers {
        /// Whether the sender wants to know more peers.
        hungry: bool,
        /// Linked since, or with a newer record; at most [`PEERS_MAX`].
        added: Vec<SignedRecord>,
        /// Told before and linked no more; at most [`PEERS_MAX`].
        dropped: Vec<PeerId>,
    },
    /// Asks for the publisher's manifest from byte `at`.
    AskManifest {
        /// Offset in its binary form.
        at: u32,
    },
    /// A part of the publisher's manifest.
    ManifestPart {
        /// Offset.
        at: u32,
        /// Length of the whole.
        total: u32,
        /// The bytes.
        bytes: Bytes,
    },
    /// A slice of a continuous stream that the sender cut or holds: without a playlist, neighbours learn of segments so.
    Slice(SliceNote),
    /// The sender signs for what it got from the receiver.
    Receipt(Receipt),
    /// The sender dials this peer in vain: whoever is linked to both shall call them together.
    Call {
        /// Who is dialled.
        wanted: PeerId,
    },
    /// Punch: that peer does the same at the same moment.
    Meet {
        /// Who.
        peer: PeerId,
        /// What both show, see [`meet::Word::Punch`].
        token: meet::Token,
        /// Begin in this many milliseconds.
        in_ms: u16,
        /// Where the sender sees it.
        at: PeerAddr,
    },
    /// Shows that the receiver holds this piece: it shall answer with what only who has the bytes can know. Whoever sends it need
    /// not take part in the swarm.
    Challenge {
        /// Drawn for this question.
        nonce: [u8; 16],
        /// Which piece.
        segment: SegmentId,
        /// Its number in the segment.
        piece: u32,
    },
    /// The answer to a [`Challenge`](Self::Challenge).
    Answer {
        /// The challenge's.
        nonce: [u8; 16],
        /// See [`audit::answer`](crate::audit::answer); `None` if the piece is not here, or is not given.
        shown: Option<Digest>,
    },
    /// The sender leaves the swarm.
    Bye,
}

/// Bytes of a [`SliceNote::setup`] at most: configuration records of two tracks are below 1 KiB, HEVC's below 4.
pub const SETUP_BYTES_MAX: usize = 8 * 1_024;

/// What is told of a slice before its bytes. Nothing of it is believed but by what it leads to: the slice's number follows
/// from its bytes and `setup`, and the bytes need witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceNote {
    /// Which.
    pub segment: SegmentId,
    /// Its layout.
    pub layout: Layout,
    /// The slice before it, if the sender saw it.
    pub before: Option<SegmentId>,
    /// How long it plays, in milliseconds.
    pub duration_ms: u32,
    /// How long after the beginning of what it is a part of it begins, in milliseconds.
    pub offset_ms: u32,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
    /// What a decoder needs before it; at most [`SETUP_BYTES_MAX`].
    pub setup: Bytes,
}

/// How a peer is doing, told with every [`Message::Have`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Bytes per second it takes from the origin now.
    pub origin_rate: u32,
    /// Bytes per second it takes from peers now.
    pub peer_rate: u32,
    /// Whether it has everything it wants.
    pub complete: bool,
}

/// One segment of a [`Message::Have`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaveSegment {
    /// Which.
    pub segment: SegmentId,
    /// Its layout as the sender cut it; a receiver that cut it otherwise ignores it.
    pub layout: Layout,
    /// One bit a piece.
    pub bitmap: crate::bitmap::Bitmap,
}

/// A message and its swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which swarm it is about.
    pub swarm: SwarmKey,
    /// What it says; `None` if its kind or version is unknown.
    pub message: Option<Message>,
}
