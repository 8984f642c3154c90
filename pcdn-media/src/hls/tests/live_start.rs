use super::*;

fn started(text: &[u8], behind: u32) -> Vec<u8> {
    let options = RewriteOptions { live_start: Some(behind), ..RewriteOptions::default() };
    rewrite(text, &base(), &mut |url| url.path().rsplit('/').next().unwrap().to_owned(), &options).unwrap()
}

fn check(count: u64, behind: u32, want: &[u8]) {
    let got = started(&live(1, count, |n| n.to_string()), behind);
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want), "{count} {behind}");
}

fn told(count: u64, offset: &str) -> Vec<u8> {
    let text = String::from_utf8(live(1, count, |n| n.to_string()).to_vec()).unwrap();
    text.replacen("#EXTM3U\n", &format!("#EXTM3U\n#EXT-X-START:TIME-OFFSET=-{offset}\n"), 1).into()
}

#[test]
fn players_start_where_they_shall() {
    let plain = |count| live(1, count, |n| n.to_string());
    check(8, 3, &plain(8));
    check(8, 5, &plain(6));
    check(8, 8, &plain(3));
    check(8, u32::MAX, &plain(3));
    check(3, 5, &plain(3));
    check(2, 9, &plain(2));
    check(0, 9, &plain(0));
    check(8, 1, &told(8, "4.000"));
    check(8, 2, &told(8, "8.000"));
    check(1, 2, &told(1, "4.000"));
    check(8, 0, &told(8, "4.000"));
    check(0, 1, &plain(0));
}

#[test]
fn what_is_held_back_takes_its_tags_along() {
    let text = b"#EXTM3U\r\n#EXTINF:4,\r\n1\r\n#EXTINF:4,\r\n2\r\n#EXTINF:4,\r\n3\r\n#EXT-X-DISCONTINUITY\r\n#EXT-X-MAP:URI=\"m\"\r\n\
        #EXT-X-CUE-OUT\r\n#EXTINF:4,\r\n4\r\n#EXT-X-DATERANGE:ID=\"x\"\r\n#EXT-X-TARGETDURATION:4\r\n";
    let want = b"#EXTM3U\r\n#EXTINF:4,\r\n1\r\n#EXTINF:4,\r\n2\r\n#EXTINF:4,\r\n3\r\n#EXT-X-DATERANGE:ID=\"x\"\r\n#EXT-X-TARGETDURATION:4\r\n";
    assert_eq!(started(text, 4), want);
}

#[test]
fn a_start_that_is_there_is_replaced() {
    let text = b"#EXTM3U\n#EXT-X-START:TIME-OFFSET=-30\n#EXTINF:4,\n1\n";
    assert_eq!(started(text, 1), b"#EXTM3U\n#EXT-X-START:TIME-OFFSET=-4.000\n#EXTINF:4,\n1\n");
}

#[test]
fn films_events_and_low_latency_stay() {
    let segments = "#EXTINF:4,\n1\n".repeat(9);
    for tag in ["#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-PART-INF:PART-TARGET=1"] {
        let text = format!("#EXTM3U\n{segments}{tag}\n");
        for behind in [1, 8] {
            assert_eq!(started(text.as_bytes(), behind), text.as_bytes(), "{tag}");
        }
    }
    for behind in [1, 8] {
        let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n";
        assert_eq!(started(master.as_bytes(), behind), master.as_bytes());
    }
}
