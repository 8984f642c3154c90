//! The swarm engine under neighbours that say anything the wire format lets them say.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::fragment::{Cut, Segment};
use pcdn_core::id::Identity;
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::Url;
use pcdn_core::schedule::{Handle, Hybrid};
use pcdn_core::swarm::{Input, Output, Swarm, SwarmSetup};
use pcdn_core::unit::Time;
use pcdn_core::wire;

use crate::targets::wire::{SWARM, messages};

/// Outputs of one input at most: more would be an echo without end.
const OUTPUTS_MAX: usize = 10_000;

/// Tells a swarm the message from one neighbour, good ones from another, and lets time pass.
pub fn run(input: &[u8]) -> bool {
    let Ok(envelope) = wire::decode(&Bytes::copy_from_slice(input)) else { return false };
    let Some(message) = envelope.message else { return false };
    let mut world = World::new();
    world.give(Input::Message { link: Handle(0), message: message.clone() });
    for good in messages() {
        let good = wire::decode(&good.into()).expect("a seed").message.expect("a known kind");
        world.give(Input::Message { link: Handle(1), message: good });
    }
    world.give(Input::Message { link: Handle(0), message });
    for _ in 0..5 {
        world.now += Duration::from_millis(1_500);
        world.give(Input::Wake);
    }
    true
}

struct World {
    swarm: Swarm,
    now: Time,
}

impl World {
    fn new() -> Self {
        let now = Time(1_000_000);
        let setup = SwarmSetup::new(SWARM, Identity::from_secret([1; 32]));
        let swarm = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(1), now);
        let mut world = Self { swarm, now };
        let url = Url::parse("http://origin.example/film").expect("valid");
        for number in 0..3u64 {
            let bytes = number << 20..(number + 1) << 20;
            let segment = Segment::of_file(SegmentId(number), url.clone(), bytes, 16).expect("valid");
            world.give(Input::Cut(Cut::Segment(segment)));
        }
        world.give(Input::Cut(Cut::End));
        world.give(Input::Whole(true));
        for link in 0..2 {
            let peer = Identity::from_secret([link as u8 + 5; 32]).peer_id();
            let remote = format!("udp://192.0.2.{}:4000", 1 + link).parse().ok();
            world.give(Input::LinkUp { link: Handle(link), peer, remote, rtt: Duration::from_millis(20) });
        }
        world
    }

    fn give(&mut self, input: Input) {
        self.swarm.handle(self.now, input);
        let mut outputs = 0;
        while let Some(output) = self.swarm.poll() {
            if let Output::Send { message, .. } = &output {
                let sent = wire::encode(&SWARM, message);
                assert!(wire::decode(&sent).is_ok(), "what the engine says must be readable: {message:?}");
            }
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "one input must not be answered without end");
        }
    }
}
