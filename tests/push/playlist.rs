//! Presentations: peers hold every segment of what a playlist lists, and the first viewer's player finds them there.

use std::collections::BTreeSet;

use pcdn::Node;
use pcdn::config::GatewayConfig;
use pcdn::core::Bytes;
use pcdn::core::id::Identity;
use pcdn::gateway::Gateway;
use pcdn::node::P2p;
use pcdn::publish;
use pcdn::push::PushNodeError;
use pcdn::push::api::{PushBody, StatusBody};
use pcdn::testing::content;

use super::world::{PATIENCE, World, proven};

const SEGMENTS: u64 = 24;

/// Segments of scenes are not of one length.
fn segment(rendition: u64, number: u64) -> Bytes {
    let len = 40_000 * (rendition + 1) + 17_000 * (number % 3);
    content(len as usize, 100 * rendition + number)
}

/// What all segments of a rendition have.
fn bytes_of(rendition: u64) -> u64 {
    (0..SEGMENTS).map(|number| segment(rendition, number).len() as u64).sum()
}

fn media_playlist(rendition: u64, ended: bool) -> String {
    let listed: String = (0..SEGMENTS).map(|n| format!("#EXTINF:4.0,\n{rendition}-{n}.ts\n")).collect();
    let end = if ended { "#EXT-X-ENDLIST\n" } else { "" };
    format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n{listed}{end}")
}

const MASTER: &str =
    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1600000\nhigh.m3u8\n";

/// The same segments as a DASH manifest of two representations.
fn mpd() -> String {
    let represent = |id: u64| format!("<Representation id=\"{id}\" bandwidth=\"{}\"/>", 800_000 * (id + 1));
    format!(
        r#"<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT{}S" minBufferTime="PT2S">
<Period><AdaptationSet mimeType="video/mp2t">
<SegmentTemplate media="$RepresentationID$-$Number$.ts" startNumber="0" timescale="1" duration="4"/>{}{}
</AdaptationSet></Period></MPD>"#,
        SEGMENTS * 4,
        represent(0),
        represent(1)
    )
}

/// A presentation in both forms, each playlist's manifest beside it.
async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    for rendition in 0..2 {
        for number in 0..SEGMENTS {
            write(&format!("{rendition}-{number}.ts"), &segment(rendition, number));
        }
    }
    write("all.m3u8", MASTER.as_bytes());
    write("low.m3u8", media_playlist(0, true).as_bytes());
    write("high.m3u8", media_playlist(1, true).as_bytes());
    write("live.m3u8", media_playlist(0, false).as_bytes());
    write("show.mpd", mpd().as_bytes());
    let (key, base) = (Identity::from_secret([9; 32]), "http://cdn.example/".parse().unwrap());
    publish::sign_dir(dir.path(), &base, &key, |_| None).unwrap();
    let named = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap().into())
    };
    World::of(std::fs::read_dir(dir.path()).unwrap().map(named).collect()).await
}

/// What holders say they hold, of one job.
fn held(status: &StatusBody) -> BTreeSet<(String, Option<u32>)> {
    let name = |url: &url::Url| url.path().trim_start_matches('/').to_owned();
    status.holders.iter().map(|holder| (name(&holder.url), holder.rendition)).collect()
}

/// Waits until a viewer has heard of somebody who holds something. On a busy machine a handshake takes as long as the CDN does for
/// several of these short segments.
async fn met(viewer: &Node) {
    let wait = async {
        while !viewer.swarms().await.iter().any(|swarm| swarm.peers.iter().any(|peer| peer.holds > 0)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("holders are met");
}

/// A player at a gateway of its own: fetches the playlists, then all segments of `rendition`; from the second one on there are holders,
/// if it is `pushed`. Gives the part from peers.
async fn play(world: &World, playlists: &[&str], rendition: u64, pushed: bool) -> f64 {
    let viewer: Node = world.viewer(P2p::On).await;
    let config = GatewayConfig { listen: "127.0.0.1:0".to_owned(), ..GatewayConfig::default() };
    let gateway = Gateway::serve(viewer.clone(), &config).await.unwrap();
    let at = format!("http://{}/http/{}", gateway.local_addrs()[0], world.origin.addr());
    let player = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |name: String| {
        let answer = player.get(format!("{at}/{name}")).send().await.unwrap().error_for_status().unwrap();
        answer.bytes().await.unwrap()
    };
    for playlist in playlists {
        get((*playlist).to_owned()).await;
    }
    for number in 0..SEGMENTS {
        if pushed && number == 1 {
            met(&viewer).await;
        }
        assert!(
            get(format!("{rendition}-{number}.ts")).await == segment(rendition, number),
            "segment {number}"
        );
    }
    let reports: Vec<_> = viewer.swarms().await.into_iter().map(|swarm| swarm.report).collect();
    let sum = |of: fn(&pcdn::node::SwarmReport) -> u64| reports.iter().map(of).sum::<u64>() as f64;
    let (peers, origin) = (sum(|report| report.from_peers), sum(|report| report.from_origin));
    gateway.shutdown().await;
    viewer.shutdown(std::time::Duration::from_secs(1)).await;
    peers / (peers + origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_renditions_of_a_master_playlist_are_held_shown_played_and_dropped() {
    let mut world = world().await;
    for _ in 0..5 {
        world.peer(|_| {}).await;
    }
    let cold = play(&world, &["all.m3u8", "high.m3u8"], 1, false).await;
    let job = world.push.push(&world.order("all.m3u8", 3)).await.unwrap();
    let status = world.wait(job, |status| proven(status) == 6).await;
    let all = bytes_of(0) + bytes_of(1);
    assert_eq!(status.regions[0].planned, 6, "three of each rendition");
    assert_eq!(status.urls, [world.url("all.m3u8")]);
    assert_eq!(held(&status), [("low.m3u8".to_owned(), Some(0)), ("high.m3u8".to_owned(), Some(0))].into());
    assert!(status.from_cdn <= all * 5 / 2, "{} of {all} bytes from the CDN", status.from_cdn);
    assert!(status.from_cdn + status.from_peers >= 3 * all, "{status:?}");
    for rendition in [0, 1] {
        let playlist = ["low.m3u8", "high.m3u8"][rendition as usize];
        let pushed = play(&world, &["all.m3u8", playlist], rendition, true).await;
        println!("{playlist}: {:.0} % from peers, {:.0} % before", pushed * 100.0, cold * 100.0);
        assert!(pushed >= 0.9, "{playlist}: {pushed}");
    }
    assert_eq!(cold, 0.0);
    world.call.delete::<StatusBody>(&format!("/v1/pushes/{}", job.0)).await.unwrap();
    for (holder, node) in &world.peers {
        let mut holds = holder.holds();
        tokio::time::timeout(PATIENCE, holds.wait_for(|held| held.is_empty())).await.unwrap().unwrap();
        assert!(node.swarms().await.is_empty(), "nobody else wanted it");
    }
    // Whoever dropped it can hold it again.
    let again = world.push.push(&world.order("low.m3u8", 5)).await.unwrap();
    world.wait(again, |status| proven(status) == 5).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dash_manifest_is_held_by_representation() {
    let mut world = world().await;
    // Room for the larger representation, and not for both.
    for _ in 0..4 {
        world.peer(|lends| lends.disk = pcdn::core::unit::ByteSize(bytes_of(1) + 1_000)).await;
    }
    let job = world.push.push(&world.order("show.mpd", 2)).await.unwrap();
    let status = world.wait(job, |status| proven(status) == 4).await;
    assert_eq!(held(&status), [0, 1].map(|n| ("show.mpd".to_owned(), Some(n))).into());
    assert_eq!(status.urls.len(), 1);
    let holding = world.peers.iter().map(|(holder, _)| holder.held().len());
    assert!(holding.clone().all(|count| count == 1), "{:?}", holding.collect::<Vec<_>>());
    for rendition in [0, 1] {
        let pushed = play(&world, &["show.mpd"], rendition, true).await;
        assert!(pushed >= 0.9, "representation {rendition}: {pushed}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renditions_are_chosen_and_what_cannot_be_held_is_refused() {
    let mut world = world().await;
    world.peer(|_| {}).await;
    let high = PushBody { renditions: vec![1], ..world.order("all.m3u8", 1) };
    let job = world.push.push(&high).await.unwrap();
    // A peer that is alone takes all of it from the CDN.
    let status = world.wait(job, |status| proven(status) == 1).await;
    assert_eq!(held(&status), [("high.m3u8".to_owned(), Some(0))].into());
    assert_eq!((status.from_cdn, status.from_peers), (bytes_of(1), 0));
    let third = PushBody { renditions: vec![2], ..world.order("show.mpd", 1) };
    let refused = world.push.push(&third).await;
    assert!(matches!(refused, Err(PushNodeError::Rendition { asked: 2, count: 2, .. })), "{refused:?}");
    let live = world.push.push(&world.order("live.m3u8", 1)).await;
    assert!(matches!(live, Err(PushNodeError::Live(_))), "{live:?}");
    world.stop().await;
}
