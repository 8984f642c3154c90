//! What a peer is like, as far as it or the tracker says.

pub use pcdn_core::peer::Nat;

/// What is known of a peer beyond its address. All of it is hearsay, good for an order and for nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// What stands between it and the world.
    pub nat: Nat,
    /// Whether the tracker has promoted it. A peer cannot say this of itself.
    pub superpeer: bool,
    /// Whether its uplink costs money.
    pub metered: bool,
    /// Whether it passes on what others cannot send directly.
    pub relay: bool,
    /// Uplink as log₂ of kbit/s; 0 means unknown.
    pub class: u8,
    /// Free upload slots; 255 means many.
    pub spare: u8,
    /// Share of the content it holds, 0 to 255; 255 means all.
    pub have: u8,
    /// In a live stream: where it is, in seconds of media time. Only differences count.
    pub position: Option<u32>,
}

const SUPERPEER: u8 = 1;
const METERED: u8 = 2;
const RELAY: u8 = 4;
/// Length without and with a position.
const SHORT: usize = 5;
const LONG: usize = 9;

impl Traits {
    /// The value of its field; empty if nothing is known.
    pub(super) fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let flags = [(self.superpeer, SUPERPEER), (self.metered, METERED), (self.relay, RELAY)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
        let mut out = vec![self.nat.code(), flags, self.class, self.spare, self.have];
        out.extend(self.position.iter().flat_map(|position| position.to_be_bytes()));
        out
    }

    /// Reads the value of its field; longer ones are of later versions, shorter ones say nothing.
    pub(super) fn decode(value: &[u8]) -> Self {
        let [nat, flags, class, spare, have, rest @ ..] = value else { return Self::default() };
        Self {
            nat: Nat::of(*nat),
            superpeer: flags & SUPERPEER != 0,
            metered: flags & METERED != 0,
            relay: flags & RELAY != 0,
            class: *class,
            spare: *spare,
            have: *have,
            position: rest.first_chunk().map(|position| u32::from_be_bytes(*position)),
        }
    }
}

const _: () = assert!(LONG == SHORT + 4);
