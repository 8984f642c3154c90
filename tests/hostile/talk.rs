//! What peers say: against the format, against the truth, or far too often.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use pcdn::core::bitmap::Bitmap;
use pcdn::core::id::{Digest, Identity};
use pcdn::core::layout::{Layout, PIECES_MAX, SegmentId};
use pcdn::core::peer::{Facts, SignedRecord};
use pcdn::core::swarm::Limits;
use pcdn::core::verify::witness::Statement;
use pcdn::core::wire::{
    HAVE_BYTES_MAX, HAVE_SEGMENTS_MAX, HaveSegment, MANIFEST_PART_BYTES, Message, PEERS_MAX, Status,
};
use pcdn::node::{Settings, SwarmStatus};
use pcdn::transport::memory::Hub;
use pcdn::{Asset, Node};

use crate::world::{LEN, Rogue, delivered, in_hub, layout, segments, swarm, until, url};

/// A victim with its film open, and a rogue beside it.
async fn meeting(settings: Settings) -> (Hub, Node, Asset, Rogue) {
    let hub = Hub::default();
    let node = in_hub(&hub, settings);
    let asset = node.open(&url()).await.unwrap();
    let rogue = Rogue::calls(&hub, 0, &node).await;
    until("the rogue is a neighbour", async || !status(&asset).await.peers.is_empty()).await;
    (hub, node, asset, rogue)
}

async fn status(asset: &Asset) -> SwarmStatus {
    asset.status().await.unwrap()
}

async fn end(node: Node) {
    let began = std::time::Instant::now();
    node.shutdown(Duration::from_secs(5)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "nobody keeps a node from ending");
}

fn full(pieces: u32) -> Bitmap {
    let mut bitmap = Bitmap::new(pieces);
    (0..pieces).for_each(|piece| _ = bitmap.set(piece));
    bitmap
}

fn have(segments: Vec<HaveSegment>) -> Message {
    Message::Have { status: Status::default(), segments }
}

/// `message` with everything after its first `keep` body bytes replaced by `tail`.
fn maimed(rogue: &Rogue, message: &Message, keep: usize, tail: &[u8]) -> Bytes {
    const HEAD: usize = 34;
    let mut bytes = BytesMut::from(&rogue.encoded(message)[..HEAD + keep]);
    bytes.put_slice(tail);
    bytes.freeze()
}

/// What `key` would say of itself.
async fn own_record(key: &Identity, addr: &str) -> SignedRecord {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let addrs = vec![addr.parse().unwrap()];
    let (id, seq) = (key.peer_id(), now.as_millis() as u64);
    let facts = Facts { id, seq, lifetime_s: 1_800, flags: 0, nat: 0, up: 0, addrs };
    facts.sign(key, &swarm().await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_format_is_shown_the_door_and_the_download_goes_on() {
    let hub = Hub::default();
    let node = in_hub(&hub, Settings::default());
    let asset = node.open(&url()).await.unwrap();
    let rogue = Rogue::calls(&hub, 0, &node).await;
    let (record, nothing) =
        (own_record(&Identity::from_secret([1; 32]), "udp://127.0.0.1:1").await, have(Vec::new()));
    let peers = || Message::Peers { hungry: true, added: vec![record.clone()], dropped: Vec::new() };
    let addresses = 1 + 1 + 32 + 8 + 2 + 3;
    let one = have(vec![HaveSegment { segment: SegmentId(0), layout: layout(), bitmap: full(64) }]);
    let mut long_layout = u64::MAX.to_be_bytes().to_vec();
    long_layout.push(10);
    let bad = [
        ("nothing", Bytes::new()),
        ("half a header", Bytes::from_static(&[1, 2, 3])),
        ("65,535 segments that are not there", maimed(&rogue, &nothing, 9, &[0xff, 0xff])),
        ("one segment that is not there", maimed(&rogue, &nothing, 9, &[0, 1])),
        (
            "255 ports",
            maimed(&rogue, &Message::Hello { ports: Vec::new(), answer: true, appears: None }, 1, &[255]),
        ),
        ("255 peers", maimed(&rogue, &peers(), 1, &[255])),
        ("255 addresses", maimed(&rogue, &peers(), addresses, &[255])),
        ("no address", maimed(&rogue, &peers(), addresses, &[0; 65])),
        (
            "255 peers gone",
            maimed(
                &rogue,
                &Message::Peers { hungry: true, added: Vec::new(), dropped: Vec::new() },
                2,
                &[255],
            ),
        ),
        (
            "half an own address",
            maimed(
                &rogue,
                &Message::Hello { ports: Vec::new(), answer: true, appears: None },
                2,
                &[1, 1, 4, 9],
            ),
        ),
        ("a bitmap that is cut short", maimed(&rogue, &one, 11 + 17, &[0xff; 7])),
        ("a segment of 2^64 bytes", maimed(&rogue, &one, 11 + 8, &long_layout)),
        ("a claim that is cut short", {
            let claim = Message::Claim { segment: SegmentId(0), first: 0, count: 1, within_ms: 1 };
            maimed(&rogue, &claim, 12, &[])
        }),
        ("half a manifest question", maimed(&rogue, &Message::AskManifest { at: 1 }, 2, &[])),
    ];
    for (number, (what, bytes)) in (1..).zip(bad) {
        let rogue = Rogue::calls(&hub, number, &node).await;
        rogue.sends(bytes).await;
        rogue.is_shown_the_door().await;
        until(what, async || !status(&asset).await.peers.iter().any(|peer| peer.peer == rogue.me.peer_id()))
            .await;
    }
    delivered(&asset).await;
    end(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_unknown_kinds_and_other_swarms_are_passed_over() {
    let (_hub, node, asset, rogue) = meeting(Settings::default()).await;
    let talking = rogue.listens();
    let hello = rogue.encoded(&Message::Hello { ports: Vec::new(), answer: true, appears: None });
    for version in [0, 2, 255] {
        for kind in [0, 1, 2, 77, 255] {
            let mut bytes = BytesMut::from(&hello[..34]);
            (bytes[0], bytes[1]) = (version, kind);
            rogue.sends(bytes.freeze()).await;
        }
    }
    for kind in [0, 77, 255] {
        let mut bytes = BytesMut::from(&hello[..]);
        bytes[1] = kind;
        rogue.sends(bytes.freeze()).await;
    }
    for other in 0..200 {
        let mut bytes = BytesMut::from(&hello[..]);
        bytes[2..34].fill(other);
        rogue.sends(bytes.freeze()).await;
    }
    delivered(&asset).await;
    let all = status(&asset).await;
    assert_eq!(all.peers.len(), 1, "a newer version of a peer is a peer");
    assert_eq!(node.swarms().await.len(), 1);
    end(node).await;
    talking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn holdings_of_other_cuts_and_unknown_segments_are_nothing() {
    if !is_alone("talk::holdings_of_other_cuts_and_unknown_segments_are_nothing") {
        return;
    }
    let (_hub, node, asset, rogue) = meeting(Settings::default()).await;
    let talking = rogue.listens();
    // Segments that are known, cut otherwise.
    for (segment, layout) in segments() {
        for layout in [
            Layout::new(layout.len() - 1, layout.piece_log2()).unwrap(),
            Layout::new(layout.len(), layout.piece_log2() + 1).unwrap(),
            Layout::new(layout.len() * 64, layout.piece_log2()).unwrap(),
        ] {
            rogue.says(&have(vec![HaveSegment { segment, layout, bitmap: full(layout.pieces()) }])).await;
        }
    }
    // 128 MiB of the largest bitmaps there are, of segments that nobody knows.
    let before = resident();
    let big = Layout::new(u64::from(PIECES_MAX) << PIECE, PIECE).unwrap();
    let bitmap = full(big.pieces());
    for n in 0..4_096 {
        let segments = (0..HAVE_BYTES_MAX as u64 * 8 / u64::from(PIECES_MAX)).map(|k| HaveSegment {
            segment: SegmentId(1_000 + n * 100 + k),
            layout: big,
            bitmap: bitmap.clone(),
        });
        rogue.says(&have(segments.collect())).await;
    }
    // And a million small ones.
    let small = Layout::new(1 << PIECE, PIECE).unwrap();
    for n in 0..1_000u64 {
        let segments = (0..HAVE_SEGMENTS_MAX as u64).map(|k| HaveSegment {
            segment: SegmentId(n << 32 | k),
            layout: small,
            bitmap: full(1),
        });
        rogue.says(&have(segments.collect())).await;
    }
    let all = status(&asset).await;
    assert_eq!(all.peers[0].holds, 0, "nothing of this content");
    assert_eq!(all.segments.len(), segments().count());
    let grown = resident().saturating_sub(before);
    // A swarm's inbox may hold 1,024 messages of 32 KiB that wait for their turn.
    assert!(grown < 72 << 20, "{} MiB were kept of what nobody asked for", grown >> 20);
    delivered(&asset).await;
    end(node).await;
    talking.abort();
}

const PIECE: u8 = 14;

/// Set for a process that runs one test.
const ALONE: &str = "PCDN_TEST_HOSTILE_ALONE";

/// Whether this process runs one test alone; if not, `test` has been run in such a one: memory is counted by the process, and tests
/// beside it use some.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let done = child.args([test, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let told = [String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)].concat();
    assert!(done.status.success() && told.contains("1 passed"), "{told}");
    false
}

/// Bytes of memory this process uses.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_in_masses_that_nobody_fulfils_cost_time_at_most() {
    let (hub, node, asset, rogue) = meeting(Settings::default()).await;
    let others = [Rogue::calls(&hub, 1, &node).await, Rogue::calls(&hub, 2, &node).await];
    let talking: Vec<_> = others.iter().chain([&rogue]).map(Rogue::listens).collect();
    for rogue in others.iter().chain([&rogue]) {
        for (segment, layout) in segments() {
            for first in 0..layout.pieces() {
                let count = if first % 2 == 0 { u32::MAX } else { 1 };
                rogue.says(&Message::Claim { segment, first, count, within_ms: u32::MAX }).await;
            }
        }
        rogue
            .says(&Message::Claim {
                segment: SegmentId(u64::MAX),
                first: u32::MAX,
                count: u32::MAX,
                within_ms: 1,
            })
            .await;
    }
    let began = std::time::Instant::now();
    delivered(&asset).await;
    let report = asset.report().await;
    assert_eq!(
        (report.from_peers, report.pieces.0),
        (0, report.pieces.1),
        "{:?}: {report:?}",
        began.elapsed()
    );
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    end(node).await;
    talking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_full_of_junk_addresses_lead_nowhere() {
    let (_hub, node, asset, rogue) = meeting(Settings::default()).await;
    let talking = rogue.listens();
    let junk =
        ["mem://255.255.255.255:65535", "udp://127.0.0.1:1", "other://[::]:9", "udp://198.51.100.1:4000"];
    let records = async |n: u32| {
        let mut records = Vec::new();
        for k in 0..PEERS_MAX as u32 {
            let mut secret = [7; 32];
            // Every fourth is the same peer again; one is the rogue itself.
            secret[..4].copy_from_slice(&(n * PEERS_MAX as u32 + k / 4 * 4).to_be_bytes());
            let key = if k == 0 { rogue.me.clone() } else { Identity::from_secret(secret) };
            records.push(own_record(&key, junk[k as usize % junk.len()]).await);
        }
        records
    };
    // As the rules allow it, then without any measure.
    for n in 0..500 {
        let (added, dropped) = (records(n % 50).await, vec![node.peer_id(), rogue.me.peer_id()]);
        rogue.says(&Message::Peers { hungry: n % 2 == 0, added, dropped }).await;
    }
    let of_others = own_record(&Identity::from_secret([1; 32]), "udp://127.0.0.1:1").await;
    rogue.says(&Message::Record(of_others)).await;
    delivered(&asset).await;
    let all = status(&asset).await;
    assert_eq!(all.peers.len(), 1, "nobody was reached");
    end(node).await;
    talking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_made_up_peers_takes_no_more_than_the_places_there_are() {
    let (hub, node, asset, rogue) = meeting(Settings::default()).await;
    let mut crowd = vec![rogue];
    for number in 1..200 {
        crowd.push(Rogue::calls(&hub, number, &node).await);
    }
    let talking: Vec<_> = crowd.iter().map(Rogue::listens).collect();
    let most = Limits::default().neighbours;
    until("the places are taken", async || status(&asset).await.peers.len() == most).await;
    delivered(&asset).await;
    assert!(status(&asset).await.peers.len() <= most);
    end(node).await;
    talking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_with_bad_signatures_or_of_made_up_witnesses_are_not_believed() {
    let (_hub, node, asset, rogue) = meeting(Settings::default()).await;
    let talking = rogue.listens();
    let lies = |witness: &Identity, key, segment, layout: Layout, of: u8| {
        let pieces = full(layout.pieces());
        let digests = vec![Digest([of; 32]); layout.pieces() as usize];
        Statement::sign(witness, key, segment, layout, pieces, digests)
    };
    let key = swarm().await;
    for (segment, layout) in segments() {
        let honest = lies(&rogue.me, key, segment, layout, 1);
        // In another's name; altered; for another swarm; without what it says.
        let forged = [
            Statement { witness: Identity::from_secret([77; 32]).peer_id(), ..honest.clone() },
            Statement { witness: node.peer_id(), ..honest.clone() },
            Statement { digests: vec![Digest([2; 32]); layout.pieces() as usize], ..honest.clone() },
            Statement { signature: [0; 64], ..honest },
        ];
        for statement in forged {
            rogue.says(&Message::Witness(statement)).await;
        }
    }
    // Rightly signed lies of many keys that agree: nobody has vetted them.
    for n in 0..60u8 {
        let mut secret = [50; 32];
        secret[0] = n;
        let witness = Identity::from_secret(secret);
        for (segment, layout) in segments() {
            rogue.says(&Message::Witness(lies(&witness, key, segment, layout, 3))).await;
        }
    }
    for (segment, layout) in segments() {
        rogue.says(&have(vec![HaveSegment { segment, layout, bitmap: full(layout.pieces()) }])).await;
    }
    delivered(&asset).await;
    let report = asset.report().await;
    assert_eq!(report.from_peers, 0, "{report:?}");
    assert!(
        !report.banned.contains(&Identity::from_secret([77; 32]).peer_id()),
        "who never spoke is not judged"
    );
    end(node).await;
    talking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_parts_with_lying_totals_lead_nowhere() {
    if !is_alone("talk::manifest_parts_with_lying_totals_lead_nowhere") {
        return;
    }
    let trust = Some(Identity::from_secret([42; 32]).peer_id());
    let (_hub, node, asset, rogue) = meeting(Settings { trust, ..Settings::default() }).await;
    let talking = rogue.listens();
    let before = resident();
    let bytes = Bytes::from(vec![5; MANIFEST_PART_BYTES]);
    for (at, total) in [(0, u32::MAX), (0, 0), (u32::MAX, 10), (0, 1), (7, 7), (0, 1 << 20), (0, 1 << 20)] {
        rogue.says(&Message::ManifestPart { at, total, bytes: bytes.clone() }).await;
    }
    // One that grows as promised, to the end, and is none.
    for at in (0..1u32 << 20).step_by(MANIFEST_PART_BYTES) {
        rogue.says(&Message::ManifestPart { at, total: 1 << 20, bytes: bytes.clone() }).await;
    }
    // One that goes on beyond what it said.
    for at in (0..64 * MANIFEST_PART_BYTES as u32).step_by(MANIFEST_PART_BYTES) {
        rogue.says(&Message::ManifestPart { at, total: 100_000, bytes: bytes.clone() }).await;
    }
    for at in [0, 1, u32::MAX] {
        rogue.says(&Message::AskManifest { at }).await;
    }
    delivered(&asset).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < LEN + (72 << 20), "{} MiB", grown >> 20);
    end(node).await;
    talking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_left_and_holds_nobody_up() {
    let (_hub, node, asset, rogue) = meeting(Settings::default()).await;
    let (hello, question) = (
        rogue.encoded(&Message::Hello { ports: Vec::new(), answer: true, appears: None }),
        rogue.encoded(&Message::AskWitness(SegmentId(0))),
    );
    // Questions and greetings that are answered, one by one; the answers are never read.
    let asking = tokio::spawn(async move {
        for n in 0..2_000u32 {
            rogue.sends(question.clone()).await;
            let mut elsewhere = BytesMut::from(&hello[..]);
            elsewhere[2..6].copy_from_slice(&n.to_be_bytes());
            rogue.sends(elsewhere.freeze()).await;
        }
    });
    delivered(&asset).await;
    end(node).await;
    asking.abort();
}
