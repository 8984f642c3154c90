use std::fs;
use std::path::Path;

use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::{Identity, Rid, SwarmKey};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Resource, ResourceHead, ResourceHint, Url};
use pcdn_core::verify::Manifest;
use pcdn_media::File;

use super::*;

mod follow;
mod stream;

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

fn url() -> Url {
    "http://cdn.example/film.mp4".parse().unwrap()
}

fn key() -> Identity {
    Identity::from_secret([5; 32])
}

/// 256 KiB in pieces of 64 KiB, so that small files have several segments.
fn rule() -> File {
    File::with(1 << 18, 16).unwrap()
}

#[test]
fn a_manifest_says_what_plain_blake3_says_of_every_segment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    for len in [0, 1, 1 << 18, (1 << 18) + 1, 700_001] {
        let bytes = content(len);
        fs::write(&path, &bytes).unwrap();
        let rid = Rid([8; 32]);
        let manifest = Manifest::parse(&sign_file(&path, &rule(), &key(), Some(rid)).unwrap()).unwrap();
        assert_eq!((manifest.rid, manifest.rule), (Some(rid), rule().rule()));
        assert_eq!((manifest.signer, manifest.bytes()), (key().peer_id(), len as u64));
        for (number, segment) in bytes.chunks(1 << 18).enumerate() {
            let (layout, root) = manifest.segment(SegmentId(number as u64)).unwrap();
            assert_eq!(layout.len(), segment.len() as u64);
            assert_eq!(root.0, *blake3::hash(segment).as_bytes());
            assert_eq!(manifest.list(SegmentId(number as u64)).unwrap().root(), root);
        }
        assert_eq!(manifest.len(), len.div_ceil(1 << 18));
    }
}

/// What lies with a CDN only could not be signed at all.
#[tokio::test]
async fn a_file_at_an_origin_is_signed_as_it_would_be_on_a_disk() {
    use pcdn_core::testing::ScriptedOrigin;
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("film.mp4"), dir.path().join("there.pcdn"));
    for len in [0, 1, 65_536, 5_000_000] {
        fs::write(&path, content(len)).unwrap();
        let here = sign_file(&path, fragmenter_of(&path).as_ref(), &key(), None).unwrap();
        let origin = ScriptedOrigin::new().with(&url(), content(len).into());
        let signed = sign_url(&origin, &url(), &out, &key()).await.unwrap();
        let (here, there) =
            (Manifest::parse(&here).unwrap(), Manifest::parse(&fs::read(&out).unwrap()).unwrap());
        assert_eq!((signed.bytes, signed.segments), (len as u64, there.len()));
        assert_eq!((there.rule, there.signer, there.len()), (here.rule, here.signer, here.len()));
        for segment in (0..here.len() as u64).map(SegmentId) {
            assert_eq!(there.segment(segment), here.segment(segment), "{len}");
        }
    }
    let missing: Url = "http://cdn.example/missing".parse().unwrap();
    let origin = ScriptedOrigin::new().with(&url(), "#EXTM3U\n#EXT-X-TARGETDURATION:2\n".into());
    assert!(matches!(sign_url(&origin, &missing, &out, &key()).await, Err(PublishError::Origin { .. })));
    let playlist = sign_url(&origin, &url(), &out, &key()).await;
    assert!(matches!(playlist, Err(PublishError::Fragment(FragmentError::Playlist))), "by its words");
}

#[test]
fn a_missing_file_is_named_in_the_error() {
    let error = sign_file(Path::new("/nowhere/film.mp4"), &rule(), &key(), None).unwrap_err();
    assert!(error.to_string().contains("/nowhere/film.mp4"), "{error}");
}

#[test]
fn a_directory_gets_a_manifest_beside_each_file_and_again_the_same_ones() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir_all(dir.path().join(".git")).unwrap();
    for name in ["one.ts", "a/two.ts", "a/b/three.tar.gz", ".git/hidden", "a/.hidden"] {
        fs::write(dir.path().join(name), content(10)).unwrap();
    }
    let rid = |path: &Path| Some(Rid(*blake3::hash(path.to_str().unwrap().as_bytes()).as_bytes()));
    let names = |signed: &[Signed]| -> Vec<String> {
        let below = signed.iter().map(|signed| signed.manifest.strip_prefix(dir.path()).unwrap());
        below.map(|path| path.to_str().unwrap().replace('\\', "/")).collect()
    };
    let signed = sign_dir(dir.path(), &url(), &key(), rid).unwrap();
    assert_eq!(names(&signed), ["a/b/three.tar.gz.pcdn", "a/two.ts.pcdn", "one.ts.pcdn"]);
    let manifest = Manifest::parse(&fs::read(&signed[1].manifest).unwrap()).unwrap();
    assert_eq!(manifest.rid, rid(Path::new("a/two.ts")));
    let again = sign_dir(dir.path(), &url(), &key(), rid).unwrap();
    assert_eq!(names(&again), names(&signed), "manifests are not signed, nothing else was left behind");
}

#[test]
fn a_file_is_cut_as_a_node_would_by_its_name() {
    let check = |name: &str, want: &str| assert_eq!(fragmenter_of(Path::new(name)).name(), want, "{name}");
    check("/a/film.mp4", "file");
    check("/a/film.FLV", "flv");
    check("/a/odd name?.flv", "flv");
    check("/a/not a playlist.m3u8", "file");
    check("", "file");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("film.flv"), content(10)).unwrap();
    let signed = sign_dir(dir.path(), &url(), &key(), |_| None).unwrap();
    let manifest = Manifest::parse(&fs::read(&signed[0].manifest).unwrap()).unwrap();
    assert_eq!(manifest.rule, pcdn_media::Flv::default().rule());
}

#[tokio::test]
async fn an_inspection_has_the_shape_scripts_rely_on() {
    let bytes = content(300_000);
    let head = ResourceHead { len: Some(300_000), ..Default::default() };
    let resource = Resource { url: url(), rid: Rid([8; 32]), head: Some(head) };
    let report = inspect(&rule(), &resource, true, Some(&mut &bytes[..])).await.unwrap();
    let (rule, swarm) = (rule().rule().to_string(), SwarmKey::of(&Rid([8; 32]), &rule().rule()).to_string());
    let segment = |id: u64, start: usize, end: usize, pieces: u32| {
        serde_json::json!({
            "id": id, "url": "http://cdn.example/film.mp4", "range": [start, end], "bytes": end - start,
            "start_s": null, "duration_s": null, "pieces": pieces, "piece_bytes": 65_536,
            "init": false, "key": false, "discontinuity": false,
            "blake3": blake3::hash(&bytes[start..end]).to_hex().to_string(),
        })
    };
    let want = serde_json::json!({
        "url": "http://cdn.example/film.mp4", "kind": "file", "live": false, "rid": "08".repeat(32),
        "rule": rule, "swarm": swarm, "bytes": 300_000, "renditions": [],
        "segments": [segment(0, 0, 262_144, 4), segment(1, 262_144, 300_000, 1)],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), want);
}

#[tokio::test]
async fn a_file_is_inspected_with_and_without_hashing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    fs::write(&path, content(300_000)).unwrap();
    let plain = inspect_file(&path, &rule(), url(), None, false).await.unwrap();
    assert_eq!((plain.rid, plain.swarm, plain.segments.len()), (None, None, 2));
    assert!(plain.segments.iter().all(|segment| segment.blake3.is_none()));
    let hashed = inspect_file(&path, &rule(), url(), Some(Rid([1; 32])), true).await.unwrap();
    let roots: Vec<_> = hashed.segments.iter().filter_map(|segment| segment.blake3).collect();
    let manifest = Manifest::parse(&sign_file(&path, &rule(), &key(), None).unwrap()).unwrap();
    assert_eq!(roots[1], manifest.segment(SegmentId(1)).unwrap().1, "sign and inspect agree");
}

#[tokio::test]
async fn a_body_of_another_length_than_said_is_noticed() {
    let head = ResourceHead { len: Some(100), ..Default::default() };
    let resource = Resource { url: url(), rid: Rid([8; 32]), head: Some(head) };
    for len in [99, 101] {
        let result = inspect(&rule(), &resource, true, Some(&mut &content(len)[..])).await;
        assert!(matches!(result, Err(PublishError::Changed { said: 100, .. })), "{len}");
    }
    let headless = Resource { head: None, ..resource };
    let result = inspect(&rule(), &headless, true, None::<&mut &[u8]>).await;
    assert!(matches!(result, Err(PublishError::NeedsMore("file"))));
}
