//! Playlists: what is signed is what viewers list, wherever the directory is served.

use std::collections::BTreeMap;

use pcdn_core::Bytes;
use pcdn_core::fragment::{Cut, Listing, Need, Part};
use pcdn_core::id::Digest;
use pcdn_core::unit::Time;

use super::*;

const HLS: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:4,\n1.m4s\n#EXTINF:4,\nsub dir/2.m4s\n\
                   #EXTINF:4,\n#EXT-X-BYTERANGE:100@50\nall.mp4\n#EXTINF:4,\n#EXT-X-BYTERANGE:60\nall.mp4\n#EXT-X-ENDLIST\n";
const DASH: &str = "<?xml version=\"1.0\"?><MPD mediaPresentationDuration=\"PT6S\"><Period><AdaptationSet>\
                    <SegmentTemplate duration=\"4\" initialization=\"i-$RepresentationID$\" media=\"$RepresentationID$-$Number$.m4s\"/>\
                    <Representation id=\"a\"/><Representation id=\"b\"/></AdaptationSet></Period></MPD>";

/// Files of these names, each with its own content, below a new directory.
pub(super) fn files(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (at, name) in names.iter().enumerate() {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(300 + at)).unwrap();
    }
    dir
}

/// What a viewer lists who finds `text` at `at`.
fn listed(text: &str, at: &str) -> Vec<Listing> {
    let at: Url = at.parse().unwrap();
    let hint = ResourceHint { url: at.clone(), content_type: None, first_bytes: text.as_bytes().to_vec() };
    let fragmenter = outline::surest(&pcdn_media::standard(), &hint);
    let resource = Resource { url: at.clone(), rid: Rid([3; 32]), head: None };
    let mut slicing = fragmenter.open(&resource).unwrap();
    slicing.supply(Time::ZERO, Part::Document(at, Bytes::copy_from_slice(text.as_bytes()))).unwrap();
    let cuts: Vec<Cut> = std::iter::from_fn(|| slicing.cut()).collect();
    assert!(!matches!(slicing.need(), Need::Range { .. }));
    cuts.into_iter().filter_map(|cut| if let Cut::Listed(it) = cut { Some(it) } else { None }).collect()
}

/// Signs the playlist, and checks that a viewer at each of `places` finds every segment in it with the hash of its file.
fn check(dir: &Path, name: &str, text: &str, places: &[&str]) {
    let playlist = dir.join(name);
    fs::write(&playlist, text).unwrap();
    let (base, manifest) = (url().join("/base/").unwrap(), manifest_path(&playlist));
    let signed = sign_dir(dir, &base, &key(), |_| None).unwrap();
    let one = signed.iter().find(|signed| signed.file == playlist).unwrap();
    let manifest = Manifest::parse(&fs::read(manifest).unwrap()).unwrap();
    let mut hashes: BTreeMap<SegmentId, Digest> = BTreeMap::new();
    for id in manifest.ids() {
        hashes.insert(id, manifest.segment(id).unwrap().1);
    }
    assert_eq!((one.segments, one.missing), (hashes.len(), 0));
    for place in places {
        let listings = listed(text, place);
        let ids: std::collections::BTreeSet<_> = listings.iter().map(|listing| listing.id).collect();
        assert_eq!(ids, hashes.keys().copied().collect(), "{place}");
        for listing in listings {
            let below =
                listing.url.path().split_once(place.rsplit_once('/').unwrap().0.rsplit('/').next().unwrap());
            let path = below.unwrap().1.trim_start_matches('/').replace("%20", " ");
            let file = fs::read(playlist.parent().unwrap().join(path)).unwrap();
            let range = listing.range.map_or(0..file.len(), |r| r.start() as usize..r.end() as usize);
            let hash = *blake3::hash(&file[range]).as_bytes();
            assert_eq!(hashes[&listing.id].0, hash, "{}", listing.url);
        }
    }
    for signed in signed.iter().filter(|signed| signed.file != playlist) {
        // A file whose parts are segments may be asked for as a whole.
        assert!(
            signed.file.ends_with("stray.bin") || signed.file.ends_with("all.mp4"),
            "listed segments get no manifest: {}",
            signed.file.display()
        );
    }
}

#[test]
fn a_playlist_is_signed_by_the_names_every_viewer_gives_its_segments() {
    let dir = files(&["x/init.mp4", "x/1.m4s", "x/sub dir/2.m4s", "x/all.mp4", "stray.bin"]);
    let places =
        ["https://cdn.example/film/index.m3u8?token=1", "http://b:81/very/deep/in/token=7/film/other.m3u8"];
    check(dir.path(), "x/index.m3u8", HLS, &places);
    let dir = files(&["i-a", "a-1.m4s", "a-2.m4s", "i-b", "b-1.m4s", "b-2.m4s"]);
    check(dir.path(), "all.mpd", DASH, &["https://cdn.example/film/all.mpd", "http://b/x/y/film/m.mpd?s=1"]);
}

#[test]
fn absolute_paths_are_found_once_it_is_known_where_they_are_served() {
    let text = "#EXTM3U\n#EXTINF:1,\n/vod/film/1.ts\n#EXTINF:1,\nhttps://other.example/vod/film/2.ts\n#EXT-X-ENDLIST\n";
    let dir = files(&["film/1.ts", "film/2.ts"]);
    fs::write(dir.path().join("film/a.m3u8"), text).unwrap();
    let signed = |base: &str| {
        let signed = sign_dir(dir.path(), &base.parse().unwrap(), &key(), |_| None).unwrap();
        let one = signed.into_iter().find(|signed| signed.file.ends_with("a.m3u8"));
        one.map(|signed| (signed.segments, signed.missing))
    };
    assert_eq!(signed("http://localhost/"), None, "nothing was found, nothing is signed");
    assert_eq!(signed("http://cdn.example/vod/"), Some((2, 0)));
}

#[test]
fn only_files_below_the_directory_are_read_and_only_where_the_url_decides() {
    let dir = files(&["secret", "www/1.ts", "www/q"]);
    let text = "#EXTM3U\n#EXTINF:1,\n1.ts\n#EXTINF:1,\n../secret\n#EXTINF:1,\n..%2fsecret\n#EXTINF:1,\n%2e%2e/secret\n\
                #EXTINF:1,\ngone.ts\n#EXTINF:1,\nq?id=1\n#EXTINF:1,\nq?id=2\n#EXT-X-ENDLIST\n";
    fs::write(dir.path().join("www/a.m3u8"), text).unwrap();
    let signed = sign_dir(&dir.path().join("www"), &url(), &key(), |_| None).unwrap();
    let one = signed.iter().find(|signed| signed.file.ends_with("a.m3u8")).unwrap();
    assert_eq!(one.segments, 1, "{one:?}");
    assert!(one.missing >= 4, "{one:?}");
}

#[test]
fn master_playlists_have_nothing_of_their_own_and_single_playlists_reach_out() {
    let dir = files(&["seg/1.ts"]);
    let master = dir.path().join("all.m3u8");
    fs::write(&master, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow/a.m3u8\n").unwrap();
    fs::create_dir(dir.path().join("low")).unwrap();
    let media = dir.path().join("low/a.m3u8");
    fs::write(&media, "#EXTM3U\n#EXTINF:1,\n../seg/1.ts\n#EXT-X-ENDLIST\n").unwrap();
    let names = |signed: Vec<Signed>| signed.into_iter().map(|signed| signed.file).collect::<Vec<_>>();
    assert_eq!(names(sign_dir(dir.path(), &url(), &key(), |_| None).unwrap()), std::slice::from_ref(&media));
    assert_eq!(sign_one(&master, &manifest_path(&master), None, &key()).unwrap(), None);
    let signed = sign_one(&media, &manifest_path(&media), None, &key()).unwrap().unwrap();
    assert_eq!((signed.segments, signed.missing), (1, 0));
}

#[tokio::test]
async fn a_playlist_is_inspected_as_it_is_signed() {
    let dir = files(&["init.mp4", "1.m4s", "sub dir/2.m4s", "all.mp4"]);
    let path = dir.path().join("index.m3u8");
    fs::write(&path, HLS).unwrap();
    sign_one(&path, &manifest_path(&path), None, &key()).unwrap().unwrap();
    let manifest = Manifest::parse(&fs::read(manifest_path(&path)).unwrap()).unwrap();
    let at: Url = "https://cdn.example/film/index.m3u8".parse().unwrap();
    let inspector =
        Inspector::new(Source::local(&path, &at).unwrap(), std::sync::Arc::new(pcdn_media::Hls), None, true);
    let report = inspector.inspect(&at, None).await.unwrap();
    let told: Vec<_> =
        report.segments.iter().map(|it| (SegmentId(it.id), it.bytes, it.blake3.unwrap())).collect();
    let signed = |id| manifest.segment(id).map(|(layout, root)| (id, layout.len(), root)).unwrap();
    assert_eq!(told, manifest.ids().into_iter().map(signed).collect::<Vec<_>>());
    assert_eq!((report.live, report.kind.as_str(), report.rule), (false, "hls", manifest.rule));
    assert!(report.segments[0].init && report.segments[3].range.is_some());
    let error = inspector.inspect(&at, Some(1)).await.unwrap_err();
    assert!(matches!(error, PublishError::NoRendition { asked: 1, count: 0 }), "{error}");
}

#[tokio::test]
async fn masters_list_renditions_and_the_segments_of_the_one_asked_for() {
    let dir = files(&["low/1.ts", "high/1.ts"]);
    let path = dir.path().join("all.m3u8");
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=160x90\nlow/a.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh/a.m3u8\n";
    fs::write(&path, master).unwrap();
    for name in ["low/a.m3u8", "high/a.m3u8"] {
        fs::write(dir.path().join(name), "#EXTM3U\n#EXTINF:1,\n1.ts\n").unwrap();
    }
    let at: Url = "https://cdn.example/film/all.m3u8".parse().unwrap();
    let mapper: std::sync::Arc<dyn pcdn_core::mapping::Mapper> =
        std::sync::Arc::new(pcdn_mapping::UrlHash::default());
    let source = Source::local(&path, &at).unwrap();
    let inspector = Inspector::new(source, std::sync::Arc::new(pcdn_media::Hls), Some(mapper.clone()), false);
    let report = inspector.inspect(&at, None).await.unwrap();
    assert_eq!((report.segments.len(), report.renditions.len(), report.swarm), (0, 2, None));
    assert_eq!(report.renditions[0].resolution.as_deref(), Some("160x90"));
    let high = inspector.inspect(&at, Some(1)).await.unwrap();
    let own: Url = "https://cdn.example/film/high/a.m3u8".parse().unwrap();
    let rid = mapper.map(&own).await.unwrap().rid;
    assert_eq!((high.url.as_str(), high.rid, high.live), (own.as_str(), Some(rid), true));
    assert_eq!(high.swarm, Some(SwarmKey::of(&rid, &high.rule)));
    assert_eq!(high.swarm, report.renditions[1].swarm);
    assert_eq!(high.segments[0].url, "https://cdn.example/film/high/1.ts");
}

#[tokio::test]
async fn renditions_of_a_manifest_have_the_swarms_of_a_node() {
    let dir = files(&["i-a", "a-1.m4s", "a-2.m4s", "i-b", "b-1.m4s"]);
    let path = dir.path().join("all.mpd");
    fs::write(&path, DASH).unwrap();
    let at: Url = "https://cdn.example/film/all.mpd".parse().unwrap();
    let mapper: std::sync::Arc<dyn pcdn_core::mapping::Mapper> =
        std::sync::Arc::new(pcdn_mapping::UrlHash::default());
    let source = Source::local(&path, &at).unwrap();
    let inspector =
        Inspector::new(source, std::sync::Arc::new(pcdn_media::Dash::default()), Some(mapper), false);
    let first = inspector.inspect(&at, None).await.unwrap();
    assert_eq!(first.segments.iter().map(|it| it.init).collect::<Vec<_>>(), [true, false, false]);
    let rid = first.rid.unwrap();
    assert_eq!(first.swarm, Some(SwarmKey::of(&rid.rendition("a"), &first.rule)));
    let second = inspector.inspect(&at, Some(1)).await.unwrap();
    assert_eq!(second.segments.len(), 2, "what is promised and not there is left out");
    assert_eq!(second.swarm, Some(SwarmKey::of(&rid.rendition("b"), &first.rule)));
}
