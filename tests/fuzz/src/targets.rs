//! Every decoder of bytes from outside, with its seeds and its laws.

mod dash;
mod flv;
mod hls;
mod isobmff;
mod media;
mod text;
mod tracker;
mod udp;
pub mod wire;

use crate::Target;

/// Decoded forms hold ids and ranges where the wire has bits, so a byte may become several; never a claimed gigabyte.
const MODEST: (usize, usize) = (32, 4_096);

pub fn all() -> Vec<Target> {
    let all = [
        wire::targets(),
        tracker::targets(),
        udp::targets(),
        text::targets(),
        hls::targets(),
        dash::targets(),
        flv::targets(),
        isobmff::targets(),
    ];
    all.into_iter().flatten().collect()
}
