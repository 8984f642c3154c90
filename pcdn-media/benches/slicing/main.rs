//! How fast media is cut, beside the crates that come nearest: `cargo bench -p pcdn-media [-- flv|hls|dash]`.
//!
//! Targets: live FLV at 1.5 GB/s a core, playlists and manifests of 20,000 segments in less than 30 ms. A reference does a part
//! of the work only (it demuxes, it reads a document); which part stands beside its figure.
//!
//! On a 2-core AMD EPYC that a dozen other processes shared: FLV sliced at 5.3 GB/s with keyframes 0.5 to 2 s apart and 2.1 with
//! keyframes only, of a floor of 6; playlists listed in 10 to 24 ms (m3u8-rs reads them in 21 to 30), manifests in 12 to 24 ms
//! (dash-mpd-core: 9 to 11).

#![allow(clippy::print_stdout)] // it prints its result

mod dash;
mod flv;
mod hls;
mod timing;

use pcdn_core::Bytes;
use pcdn_core::fragment::{Cut, Fragmenter, Part};
use pcdn_core::id::Rid;
use pcdn_core::resource::{Resource, Url};
use pcdn_core::unit::Time;

/// Segments of a playlist or manifest: a day of segments of four seconds.
const SEGMENTS: usize = 20_000;

fn main() {
    // The harness's own flags come from cargo.
    let asked = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    for (name, run) in [("flv", flv::run as fn()), ("hls", hls::run), ("dash", dash::run)] {
        if asked.as_ref().is_none_or(|asked| asked == name) {
            run();
        }
    }
}

/// Opens `document` as a node does, and counts the segments it lists.
fn listed(fragmenter: &impl Fragmenter, url: &Url, document: &Bytes) -> usize {
    let resource = Resource { url: url.clone(), rid: Rid([1; 32]), head: None };
    let mut slicing = fragmenter.open(&resource).expect("it opens");
    slicing.supply(Time::ZERO, Part::Document(url.clone(), document.clone())).expect("it is well formed");
    let mut count = 0;
    while let Some(cut) = slicing.cut() {
        count += usize::from(matches!(cut, Cut::Listed(_)));
    }
    count
}
