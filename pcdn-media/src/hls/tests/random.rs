use pcdn_core::fragment::{Cut, Part};
use pcdn_core::id::Rid;
use pcdn_core::unit::Time;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::hls::name::Names;

/// Lines that make sense, that almost do, and that do not.
fn line() -> impl Strategy<Value = String> {
    let whole: &[&str] = &[
        "#EXT-X-ENDLIST",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-GAP",
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{$a}{$a}\"",
        "#EXT-X-DEFINE:QUERYPARAM=\"who\"",
        "{$who}.ts",
        "#EXT-X-KEY:METHOD=NONE",
        "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=1,",
        "#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:00:00Z",
        "\u{feff}",
        "#EXTINF",
    ];
    let tags: &[&str] = &[
        "#EXTINF:",
        "#EXT-X-BYTERANGE:",
        "#EXT-X-MEDIA-SEQUENCE:",
        "#EXT-X-TARGETDURATION:",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-MAP:URI=\"",
        "#EXT-X-PART:DURATION=1,URI=\"",
        "#EXT-X-SKIP:SKIPPED-SEGMENTS=",
        "seg.ts?",
        "http://",
    ];
    prop_oneof![
        proptest::sample::select(whole).prop_map(str::to_owned),
        (proptest::sample::select(tags), "[0-9]{1,3}").prop_map(|(tag, number)| format!("{tag}{number}")),
        (proptest::sample::select(tags), any::<String>()).prop_map(|(tag, rest)| format!("{tag}{rest}")),
        (0u32..5).prop_map(|n| format!("#EXTINF:{n},\n{n}.ts")),
        any::<String>(),
    ]
}

/// Everything there is to do with one document.
fn use_up(text: &[u8]) {
    let mut to = |url: &Url| url.to_string();
    for live_start in [None, Some(1), Some(5)] {
        let options = RewriteOptions { live_start, ..RewriteOptions::default() };
        if let Ok(out) = rewrite(text, &base(), &mut to, &options)
            && live_start.is_none()
        {
            let (before, after) = (Playlist::parse(text, &base()), Playlist::parse(&out, &base()));
            if let (Ok(Playlist::Media(before)), Ok(Playlist::Media(after))) = (before, after) {
                let durations =
                    |media: &Media| media.segments.iter().map(|one| one.duration).collect::<Vec<_>>();
                assert_eq!(durations(&before), durations(&after));
            }
        }
    }
    if let Ok(Playlist::Media(media)) = Playlist::parse(text, &base()) {
        let names = Names::of(&media);
        assert!((0..media.segments.len()).all(|index| names.segment(index).is_some()));
    }
}

proptest! {
    #[test]
    fn bytes_from_outside_never_panic(bytes in vec(any::<u8>(), 0..2_000)) {
        use_up(&bytes);
        use_up(&[b"#EXTM3U\n", &bytes[..]].concat());
    }

    #[test]
    fn a_node_takes_any_reloads_and_keeps_its_books(loads in vec(vec(line(), 0..20), 1..8)) {
        let resource = Resource { url: base(), rid: Rid([0; 32]), head: None };
        let mut slicing = Hls.open(&resource).unwrap();
        let mut listed = std::collections::BTreeSet::new();
        for lines in loads {
            let text = format!("#EXTM3U\n{}", lines.join("\n"));
            use_up(text.as_bytes());
            if slicing.supply(Time::ZERO, Part::Document(base(), text.into())).is_err() {
                break;
            }
            while let Some(cut) = slicing.cut() {
                match cut {
                    Cut::Listed(one) => prop_assert!(listed.insert(one.id), "listed twice"),
                    Cut::Retired(id) => prop_assert!(listed.remove(&id), "retired what was not listed"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn two_windows_of_one_stream_name_alike(
        first in 0u64..1_000, shift in 0u64..4, form in 0usize..3, tokens in any::<(u32, u32)>(),
    ) {
        let name = |token: u32| move |n: u64| match form {
            0 => format!("http://edge{token}.example/film/{n}.ts?token={token}"),
            1 => format!("v.php?n={n}&hls_ctx={token}"),
            _ => format!("{n}/v.php?user={token}&sig={}", n ^ u64::from(token)),
        };
        let ids = |first, token| {
            let media = media(&live(first, 6, name(token)));
            let names = Names::of(&media);
            (0..6).map(|index| names.segment(index).unwrap()).collect::<Vec<_>>()
        };
        let (ours, theirs) = (ids(first, tokens.0), ids(first + shift, tokens.1));
        prop_assert_eq!(&ours[shift as usize..], &theirs[..6 - shift as usize]);
        prop_assert_eq!(ours.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    }
}
