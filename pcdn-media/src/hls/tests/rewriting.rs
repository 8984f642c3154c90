use super::*;

/// Through a gateway that mirrors paths under scheme and host.
fn mirror(url: &Url) -> String {
    let rest = &url[url::Position::BeforeHost..];
    format!("/{}/{rest}", url.scheme())
}

fn through(text: &[u8], options: &RewriteOptions) -> String {
    let out = rewrite(text, &base(), &mut mirror, options).unwrap();
    String::from_utf8(out).unwrap()
}

/// One line of a playlist, and what becomes of it.
fn check(line: &str, want: &str) {
    let got = through(format!("#EXTM3U\n{line}\n").as_bytes(), &RewriteOptions::default());
    assert_eq!(got, format!("#EXTM3U\n{want}\n"), "{line}");
}

#[test]
fn uris_lead_through_the_gateway() {
    check("a.ts", "/http/a.example/film/a.ts");
    check("  ../a.ts  ", "/http/a.example/a.ts");
    check("//b.example:81/a.ts?x=%41#f", "/http/b.example:81/a.ts?x=%41#f");
    check("https://b.example/a.ts", "/https/b.example/a.ts");
    check("?id=4", "/http/a.example/film/index.m3u8?id=4");
    check("data:video/mp4;base64,AA", "data:video/mp4;base64,AA");
    check("http://[", "http://[");
    check(
        "#EXT-X-MEDIA:TYPE=AUDIO,URI=\"a.m3u8\",NAME=\"x,y\"",
        "#EXT-X-MEDIA:TYPE=AUDIO,URI=\"/http/a.example/film/a.m3u8\",NAME=\"x,y\"",
    );
    check(
        "#EXT-X-I-FRAME-STREAM-INF:URI=\"/i.m3u8\"",
        "#EXT-X-I-FRAME-STREAM-INF:URI=\"/http/a.example/i.m3u8\"",
    );
    check(
        "#EXT-X-MAP:BYTERANGE=\"1@0\",URI=\"/m\"",
        "#EXT-X-MAP:BYTERANGE=\"1@0\",URI=\"/http/a.example/m\"",
    );
    check("#EXT-X-PART:URI=\"/p\"", "#EXT-X-PART:URI=\"/http/a.example/p\"");
    check(
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"/p\"",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"/http/a.example/p\"",
    );
    check("#EXT-X-RENDITION-REPORT:URI=\"/p\"", "#EXT-X-RENDITION-REPORT:URI=\"/http/a.example/p\"");
    check("#EXT-X-SESSION-DATA:URI=\"/p\"", "#EXT-X-SESSION-DATA:URI=\"/http/a.example/p\"");
    check(
        "#EXT-X-CONTENT-STEERING:SERVER-URI=\"/p\"",
        "#EXT-X-CONTENT-STEERING:SERVER-URI=\"/http/a.example/p\"",
    );
    check(
        "#EXT-X-DATERANGE:X-ASSET-URI=\"/p\",X-ASSET-LIST=\"/q\",X-COM=\"/r\"",
        "#EXT-X-DATERANGE:X-ASSET-URI=\"/http/a.example/p\",X-ASSET-LIST=\"/http/a.example/q\",X-COM=\"/r\"",
    );
}

#[test]
fn what_is_no_uri_stays() {
    for line in [
        "# a.ts",
        "#EXT-X-OTHER:URI=\"a.ts\"",
        "#EXTINF:4,{$title}",
        "",
        "  ",
        "#EXT-X-PART-INF:PART-TARGET=1",
    ] {
        check(line, line);
    }
    let odd = rewrite(ODD, &base(), &mut mirror, &RewriteOptions::default()).unwrap();
    let (old, new): (Vec<_>, Vec<_>) =
        (ODD.split(|b| *b == b'\n').collect(), odd.split(|b| *b == b'\n').collect());
    let changed: Vec<_> = (0..old.len()).filter(|line| old[*line] != new[*line]).collect();
    assert_eq!((changed, old.len()), (vec![6, 8, 10, 12, 13, 15], new.len()));
    assert_eq!(new[8], b"/http/a.example/film/index.m3u8?id=5\r");
}

#[test]
fn keys_go_where_they_are_told() {
    let key = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"../k?a=1\",IV=0x1\n";
    let through_gateway = through(key.as_bytes(), &RewriteOptions::default());
    assert!(through_gateway.contains("URI=\"/http/a.example/k?a=1\",IV=0x1"), "{through_gateway}");
    let direct = RewriteOptions { keys_through_gateway: false, ..RewriteOptions::default() };
    let got = through(key.as_bytes(), &direct);
    assert!(got.contains("URI=\"http://a.example/k?a=1\",IV=0x1"), "{got}");
    for uri in ["skd://key", "data:text/plain;base64,AA==", "urn:uuid:1"] {
        let line = format!("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"{uri}\"");
        check(&line, &line);
    }
    check("#EXT-X-KEY:METHOD=NONE", "#EXT-X-KEY:METHOD=NONE");
}

#[test]
fn delta_updates_are_no_longer_offered() {
    let check = |list: &str, want: &str| {
        check(&format!("#EXT-X-SERVER-CONTROL:{list}"), &format!("#EXT-X-SERVER-CONTROL:{want}"))
    };
    check(
        "CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=24.0,PART-HOLD-BACK=1",
        "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1",
    );
    check("PART-HOLD-BACK=1,CAN-SKIP-UNTIL=24,CAN-SKIP-DATERANGES=YES", "PART-HOLD-BACK=1");
    check("HOLD-BACK = 9", "HOLD-BACK = 9");
    let alone = b"#EXTM3U\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=24\n#EXTINF:1\n";
    assert_eq!(through(alone, &RewriteOptions::default()), "#EXTM3U\n#EXTINF:1\n");
    let strip = |text: &str| strip_skip(&url(text)).to_string();
    assert_eq!(strip("http://a/x?_HLS_skip=v2"), "http://a/x");
    assert_eq!(strip("http://a/x?_HLS_skip"), "http://a/x");
    assert_eq!(strip("http://a/x?a=%2f&&b"), "http://a/x?a=%2f&&b");
}

#[test]
fn variables_are_gone_and_definitions_hold_anywhere() {
    let got = through(MASTER, &RewriteOptions::default());
    assert!(!got.contains("{$") && !got.contains("QUERYPARAM"), "{got}");
    assert!(got.contains("#EXT-X-DEFINE:NAME=\"who\",VALUE=\"me\"\n"), "{got}");
    assert!(got.contains("\n/http/a.example/film/v1/720.m3u8?u=me\n"), "{got}");
    let options = RewriteOptions { imports: master(MASTER).variables, ..RewriteOptions::default() };
    let text = b"#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"dir\"\n#EXT-X-MAP:URI=\"{$dir}/i\"\n#EXTINF:1,\n{$dir}/a\n";
    let want = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"dir\",VALUE=\"v1\"\n#EXT-X-MAP:URI=\"/http/a.example/film/v1/i\"\n#EXTINF:1,\n/http/a.example/film/v1/a\n";
    assert_eq!(through(text, &options), want);
    assert!(rewrite(text, &base(), &mut mirror, &RewriteOptions::default()).is_err(), "nothing to import");
}

#[test]
fn with_its_imports_a_playlist_stands_alone() {
    let text =
        b"#EXTM3U\r\n#EXT-X-DEFINE:IMPORT=\"dir\"\r\n#EXT-X-DEFINE:IMPORT=\"no\"\n#EXTINF:1,\n{$dir}/a";
    let want = "#EXTM3U\r\n#EXT-X-DEFINE:NAME=\"dir\",VALUE=\"v1\"\r\n#EXT-X-DEFINE:IMPORT=\"no\"\n#EXTINF:1,\n{$dir}/a";
    assert_eq!(String::from_utf8(import(text, &master(MASTER).variables).unwrap()).unwrap(), want);
    assert_eq!(import(VOD, &master(MASTER).variables).unwrap(), VOD);
    assert!(import(b"no playlist", &Variables::default()).is_err());
}

#[test]
fn what_may_still_grow_is_known() {
    let names: Vec<_> = media(LOW_LATENCY).unfinished().map(|url| url.path().to_owned()).collect();
    let parts = media(LOW_LATENCY).segments.iter().map(|segment| segment.parts.len()).sum::<usize>();
    assert_eq!(names.len(), parts + media(LOW_LATENCY).parts.len() + media(LOW_LATENCY).preload_hints.len());
    assert!(!names.is_empty());
    assert_eq!(media(VOD).unfinished().count(), 0);
}

#[test]
fn a_rewritten_playlist_says_the_same() {
    let mut absolute = |url: &Url| url.to_string();
    for text in [VOD, LOW_LATENCY, ODD] {
        let once = rewrite(text, &base(), &mut absolute, &RewriteOptions::default()).unwrap();
        let (mut before, mut after) = (media(text), media(&once));
        (before.server_control, after.server_control) = (None, None);
        assert_eq!(before, after);
        assert_eq!(rewrite(&once, &base(), &mut absolute, &RewriteOptions::default()).unwrap(), once);
    }
    let once = rewrite(MASTER, &base(), &mut absolute, &RewriteOptions::default()).unwrap();
    assert_eq!(master(MASTER), master(&once));
}

#[test]
fn a_gateway_cannot_break_a_line() {
    let mut rude = |_: &Url| "a\"\r\n#EXT-X-ENDLIST".to_owned();
    let out = rewrite(b"#EXTM3U\na\n", &base(), &mut rude, &RewriteOptions::default()).unwrap();
    assert_eq!(out, b"#EXTM3U\na%22#EXT-X-ENDLIST\n");
}
