//! `pcdn demo` of every kind of media: films that are made on the spot, players at real gateways, real sockets and real time.

use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::{self, DemoMedia, DemoOptions, DemoReport};

/// A small film: four kinds play at once, on machines with two cores.
async fn played(media: DemoMedia) -> DemoReport {
    let options = DemoOptions { media, peers: 3, size: ByteSize::mib(2), ..DemoOptions::default() };
    demo::run(options).await.expect("loopback and a temporary directory")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_viewer_gets_the_whole_film_and_most_of_it_from_others() {
    let kinds = [DemoMedia::Hls, DemoMedia::Dash, DemoMedia::HlsLive, DemoMedia::FlvLive];
    let reports = futures_util::future::join_all(kinds.map(played)).await;
    for (kind, report) in kinds.iter().zip(reports) {
        assert!(report.all_bytes_correct, "{kind:?}: {report:?}");
        assert_eq!(report.viewers.len(), 3, "{kind:?}");
        let swarms: std::collections::BTreeSet<_> = report.viewers.iter().map(|one| &one.swarm).collect();
        assert_eq!(swarms.len(), 1, "{kind:?}: viewers' own URLs mean one content");
        for viewer in &report.viewers {
            let figures = &viewer.report;
            assert!(viewer.url.contains("?viewer="), "{}", viewer.url);
            assert!((1..5_000).contains(&figures.start_ms), "{kind:?}: {figures:?}");
            // Machines that test are busy; a film that does not play would stand still for most of its 24 s.
            assert!(figures.stalled_ms < 3_000, "{kind:?}: {figures:?}");
        }
        // Two feeders of three viewers is what witnesses of a stream take; the others are signed.
        let least = if *kind == DemoMedia::FlvLive { 0.1 } else { 0.4 };
        assert!(report.p2p_ratio > least, "{kind:?}: {}", report.p2p_ratio);
    }
}

#[tokio::test]
async fn a_film_plays_without_peers_too() {
    let options = DemoOptions {
        media: DemoMedia::Hls,
        peers: 1,
        size: ByteSize(600_000),
        origin_rate: Rate::UNLIMITED,
        ..DemoOptions::default()
    };
    let report = demo::run(options).await.unwrap();
    assert!(report.all_bytes_correct);
    assert_eq!((report.p2p_ratio, report.viewers[0].report.stalls), (0.0, 0));
}
