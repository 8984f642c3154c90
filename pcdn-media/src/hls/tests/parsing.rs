use pcdn_core::range::ByteRange;

use super::*;
use crate::hls::model::{MediaKind, ServerControl};

fn error(text: &str) -> String {
    Playlist::parse(text.as_bytes(), &base()).unwrap_err().to_string()
}

#[test]
fn a_master_playlist_is_read() {
    let master = master(MASTER);
    assert_eq!(master.version, 11);
    assert_eq!((master.variants.len(), master.i_frames.len(), master.alternatives.len()), (3, 1, 4));
    let first = &master.variants[0];
    assert_eq!(first.url.as_str(), "http://a.example/film/v1/720.m3u8?u=me");
    assert_eq!((first.bandwidth, first.average_bandwidth), (1_280_000, Some(1_000_000)));
    assert_eq!(first.codecs.as_deref(), Some("avc1.4d401f,mp4a.40.2"));
    assert_eq!((first.resolution, first.frame_rate), (Some((1280, 720)), Some(25.0)));
    assert_eq!((first.audio.as_deref(), first.subtitles.as_deref()), (Some("aac"), Some("subs")));
    assert_eq!(first.pathway.as_deref(), Some("A"));
    assert_eq!(master.alternatives[2].name, "Deutsch, kurz");
    assert_eq!(master.alternatives[3].url, None);
    assert!(master.alternatives[0].default && !master.alternatives[2].default);
    assert_eq!(master.session_keys[0].url.as_ref().unwrap().as_str(), "skd://key/1");
    assert_eq!(master.session_data[1].url.as_ref().unwrap().as_str(), "http://a.example/film/chapters.json");
    assert_eq!(master.steering.unwrap().url.as_str(), "http://a.example/steer?s=me");
    assert_eq!((master.variables.get("dir"), master.variables.get("who")), (Some("v1"), Some("me")));
}

#[test]
fn a_media_playlist_is_read() {
    let media = media(VOD);
    assert_eq!((media.kind, media.end_list, media.is_growing()), (Some(MediaKind::Vod), true, false));
    assert_eq!(media.target_duration, secs(6.0));
    let ranges: Vec<_> = media.segments.iter().map(|segment| segment.range).collect();
    let range = ByteRange::new;
    assert_eq!(ranges, [range(800, 100_800), range(100_800, 220_800), None, None, range(220_800, 310_800)]);
    assert_eq!(media.segments[0].title, "First, with a comma");
    let maps: Vec<_> = media.segments.iter().map(|segment| segment.map.as_ref().unwrap()).collect();
    assert_eq!((maps[0].range, maps[2].range), (range(0, 800), None));
    assert_eq!(maps[0], maps[4]);
    assert_eq!(maps[2].url.path(), "/film/ad/init.mp4");
    let keys: Vec<_> = media.segments.iter().map(|segment| segment.keys.len()).collect();
    assert_eq!(keys, [2, 2, 0, 0, 0]);
    assert_eq!(media.segments[0].keys[0].url.as_ref().unwrap().as_str(), "http://a.example/keys/1?id=7");
    let flags: Vec<_> = media.segments.iter().map(|segment| (segment.discontinuity, segment.gap)).collect();
    assert_eq!(flags, [(false, false), (false, false), (true, false), (false, true), (true, false)]);
    let rates: Vec<_> = media.segments.iter().map(|segment| segment.bitrate).collect();
    assert_eq!(rates, [None, None, Some(900_000), Some(900_000), None]);
}

#[test]
fn a_low_latency_playlist_is_read() {
    let media = media(LOW_LATENCY);
    let control = ServerControl {
        can_block_reload: true,
        part_hold_back: Some(secs(1.0)),
        hold_back: None,
        can_skip_until: Some(secs(24.0)),
    };
    assert_eq!(media.server_control, Some(control));
    assert_eq!(media.part_target, Some(secs(0.33334)));
    assert_eq!((media.sequence(0), media.sequence(2)), (266, 268));
    assert_eq!(media.segments[0].program_date_time, Some(1_550_110_416_106));
    assert!(!media.dated, "only the first has a date");
    let parts = &media.segments[2].parts;
    assert_eq!((parts[1].range, parts[0].independent), (ByteRange::new(20_000, 43_000), true));
    assert_eq!((media.parts.len(), media.parts[1].gap), (2, true));
    assert_eq!((media.preload_hints[0].start, media.preload_hints[0].map), (5, false));
    let report = &media.rendition_reports[0];
    assert_eq!((report.url.path(), report.last_sequence), ("/1M/waitForMSN.php", Some(268)));
}

#[test]
fn odd_text_is_read_as_players_do() {
    let media = media(ODD);
    let read: Vec<_> =
        media.segments.iter().map(|segment| (segment.url.as_str(), segment.duration.as_secs_f64())).collect();
    let want = [
        ("http://a.example/film/index.m3u8?id=4", 10.0),
        ("http://a.example/film/index.m3u8?id=5", 9.5),
        ("http://other.example/6.ts#t=1", 8.0),
    ];
    assert_eq!(read, want);
    assert_eq!(media.target_duration, secs(10.0));
    assert_eq!(media.segments[1].title, "\u{fffd}t\u{fffd}");
    assert!(media.end_list);
}

#[test]
fn small_texts() {
    let count = |text: &str| media(text.as_bytes()).segments.len();
    assert_eq!(count("#EXTM3U"), 0);
    assert_eq!(count("\n \n#EXTM3U\n#EXTINF:1,\na"), 1);
    assert_eq!(count("#EXTM3U\n#EXTINF:1,\n#EXTINF:2,\na"), 1);
    assert_eq!(count("#EXTM3U\n#EXTINF:1;x\na\n#EXTINF:1e9\nb\n#EXTINF:\nc"), 2);
    assert_eq!(
        count("#EXTM3U\n#EXT-X-TARGETDURATION:99999999999999999999999\n#EXTINF:99999999999999999999999,\na"),
        0
    );
    assert_eq!(
        media(b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n#EXTINF:1,\nb")
            .sequence(1),
        u64::MAX
    );
    assert_eq!(media(b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-1\n#EXTINF:1,\na").media_sequence, 0);
    let range = media(b"#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:5@\na").segments[0].range;
    assert_eq!(range, ByteRange::new(0, 5));
    assert_eq!(media(b"#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:1,\na").sequence(0), 3);
    assert_eq!(master(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\n#note\na\nb").variants.len(), 1);
    assert_eq!(
        master(b"#EXTM3U\n#EXT-X-STREAM-INF:RESOLUTION=axb,FRAME-RATE=x\na").variants[0].resolution,
        None
    );
}

#[test]
fn what_would_fetch_wrong_bytes_is_refused() {
    assert_eq!(error("<html>"), "hls: no #EXTM3U at byte 0");
    assert_eq!(error(""), "hls: no #EXTM3U at byte 0");
    let with = |lines: &str| error(&format!("#EXTM3U\n{lines}"));
    assert_eq!(with("#EXTINF:1,\nhttp://[\n"), "hls: \"http://[\": invalid IPv6 address at byte 19");
    assert_eq!(with("#EXTINF:1,\n#EXT-X-BYTERANGE:x\na"), "hls: a byte range without numbers at byte 19");
    assert_eq!(with("#EXTINF:1,\n#EXT-X-BYTERANGE:0@5\na"), "hls: an impossible byte range at byte 40");
    assert!(
        with("#EXTINF:1,\n#EXT-X-BYTERANGE:5@18446744073709551615\na").contains("an impossible byte range")
    );
    assert!(
        with("#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"a\",BYTERANGE=\"-1@0\"").contains("without numbers")
    );
}

#[test]
fn variables_are_substituted_within_bounds() {
    let define = |name: &str, value: &str| format!("#EXT-X-DEFINE:NAME=\"{name}\",VALUE=\"{value}\"\n");
    let with = |head: &str, uri: &str| format!("#EXTM3U\n{head}#EXTINF:1,\n{uri}\n");
    let path = |text: String| media(text.as_bytes()).segments[0].url.path().to_owned();
    assert_eq!(path(with(&(define("a", "x") + &define("b", "{$a}y")), "{$b}/{$a}.ts")), "/film/xy/x.ts");
    assert!(error(&with("", "{$none}.ts")).contains("undefined variable \"none\""));
    assert!(error(&with(&define("a", "x"), "{$a")).contains("an open variable"));
    assert!(error(&with("#EXT-X-DEFINE:QUERYPARAM=\"absent\"\n", "a")).contains("no value for the variable"));
    assert!(error(&with("#EXT-X-DEFINE:IMPORT=\"dir\"\n", "a")).contains("no value"));
    assert!(error(&with("#EXT-X-DEFINE:VALUE=\"dir\"\n", "a")).contains("defines nothing"));
    // A player would look for them in what a gateway gives it: found by fuzzing.
    let brace = define("a", "{");
    for (head, uri) in [(define("b", "{$a}$x}"), "u"), (String::new(), "u?{$a}$x}")] {
        assert!(error(&with(&(brace.clone() + &head), uri)).contains("a reference to a variable"));
    }
    let text = with("#EXT-X-DEFINE:IMPORT=\"dir\"\n", "{$dir}.ts");
    let imports = master(MASTER).variables;
    let Ok(Playlist::Media(media)) = Playlist::parse_with(text.as_bytes(), &base(), &imports) else {
        panic!()
    };
    assert_eq!(media.segments[0].url.path(), "/film/v1.ts");
    // A value defined again holds from there on, also for the same URI.
    let text = with(&define("a", "x"), "{$a}") + &define("a", "y") + "#EXTINF:1,\n{$a}";
    assert_eq!(self::media(text.as_bytes()).segments[1].url.path(), "/film/y");
}

#[test]
fn every_bound_holds() {
    let repeated = |line: &str, times: usize| format!("#EXTM3U\n{}", line.repeat(times));
    assert!(
        error(&repeated("#EXTINF:1,\na\n", SEGMENTS_MAX + 1)).contains("more than 100000 segments and parts")
    );
    assert!(
        error(&repeated("#EXT-X-STREAM-INF:\na\n", VARIANTS_MAX + 1)).contains("more than 1000 variants")
    );
    assert!(
        error(&repeated("#EXT-X-MEDIA:TYPE=A\n", VARIANTS_MAX + 1)).contains("more than 1000 alternative")
    );
    assert!(error(&repeated("x", LINE_BYTES_MAX + 1)).contains("bytes in a line"));
    assert!(error(&repeated("#\n", DOCUMENT_BYTES_MAX / 2)).contains("more than 16777216 bytes"));
    let many: String =
        (0..=VARIABLES_MAX).map(|n| format!("#EXT-X-DEFINE:NAME=\"{n}\",VALUE=\"\"\n")).collect();
    assert!(error(&format!("#EXTM3U\n{many}")).contains("more than 256 variables"));
    let long = format!("#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{}\"\n", "x".repeat(10_000));
    assert!(
        error(&format!("#EXTM3U\n{long}#EXTINF:1,\n{{$a}}{{$a}}"))
            .contains("bytes in a line with its variables")
    );
    let lines = "#EXTINF:1,\n{$a}\n".repeat(2_000);
    assert!(
        error(&format!("#EXTM3U\n{long}{lines}"))
            .contains("more than 16777216 bytes in lines with variables")
    );
    let deep = url(&format!("http://a/{}/", "x".repeat(8_000)));
    let text: String = (0..10_000).map(|n| format!("#EXTINF:1,\n{n}\n")).collect();
    let got = Playlist::parse(format!("#EXTM3U\n{text}").as_bytes(), &deep);
    assert!(got.unwrap_err().to_string().contains("bytes of URLs"));
    let keys: String = (0..1_000).map(|n| format!("#EXT-X-KEY:METHOD=X,KEYFORMAT=\"{n}\"\n")).collect();
    assert_eq!(media(format!("#EXTM3U\n{keys}#EXTINF:1,\na").as_bytes()).segments[0].keys.len(), 16);
}
