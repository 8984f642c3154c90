//! Manifests for players behind a gateway.

use super::*;
use crate::dash::{RewriteOptions, remotes, rewrite, rewrite_remote};

const STAY: RewriteOptions = RewriteOptions { moved: false, live_start: None };
const MOVED: RewriteOptions = RewriteOptions { moved: true, live_start: None };

fn through(text: &str, options: &RewriteOptions) -> String {
    let mut to = |url: &Url| {
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        format!("http://gw/{}/{}{}{query}", url.scheme(), url.authority(), url.path())
    };
    String::from_utf8(rewrite(text.as_bytes(), &url(HOME), &mut to, options).unwrap()).unwrap()
}

/// `inside` the MPD, rewritten; `want` empty means untouched.
fn check(inside: &str, want: &str) {
    let whole = |inside: &str| format!("<?xml version='1.0'?>\r\n<MPD >{inside}</MPD >\n");
    let want = if want.is_empty() { inside } else { want };
    assert_eq!(through(&whole(inside), &STAY), whole(want));
}

#[test]
fn base_urls_that_lead_away_are_replaced() {
    check(
        "<BaseURL>https://b.test/x/?k=1&amp;l=2</BaseURL>",
        "<BaseURL>http://gw/https/b.test/x/?k=1&amp;l=2</BaseURL>",
    );
    check("<BaseURL a='1'>\n /root/ </BaseURL>", "<BaseURL a='1'>http://gw/https/cdn.test/root/</BaseURL>");
    check(
        "<BaseURL><![CDATA[//c.test/a&b/]]></BaseURL>",
        "<BaseURL>http://gw/https/c.test/a&amp;b/</BaseURL>",
    );
    check("<BaseURL>v/</BaseURL><BaseURL/>", "");
    check("<BaseURL>urn:x:y</BaseURL><BaseURL>data:,x</BaseURL>", "");
    check(
        "<Period><BaseURL>/p/</BaseURL></Period><BaseURL>http://b.test/</BaseURL>",
        "<Period><BaseURL>http://gw/http/b.test/p/</BaseURL></Period><BaseURL>http://gw/http/b.test/</BaseURL>",
    );
}

#[test]
fn templates_keep_their_dollars() {
    let level = |media: &str| {
        format!("<Period><SegmentTemplate duration='1' media='{media}' initialization=\"i\" /></Period>")
    };
    let case = |media: &str, want: &str| check(&level(media), &level(want));
    case(
        "https://b.test/v/$RepresentationID$/$Number%05d$.m4s?a=$Time$",
        "http://gw/https/b.test/v/$RepresentationID$/$Number%05d$.m4s?a=$Time$",
    );
    case("/s-$Number%05d$", "http://gw/https/cdn.test/s-$Number%05d$");
    case("/x?path=/y/&amp;n=$Number$", "http://gw/https/cdn.test/x?path=/y/&amp;n=$Number$");
    case("https://$RepresentationID$.test/x", "https://$RepresentationID$.test/x");
    case("../s-$Number$", "../s-$Number$");
    case("http:$Number$", "http:$Number$");
    case("$RepresentationID$/http://x/$Number$", "$RepresentationID$/http://x/$Number$");
    check(
        "<Period><BaseURL>http://b.test/</BaseURL><AdaptationSet><SegmentTemplate media='/$Time$'/></AdaptationSet></Period>",
        "<Period><BaseURL>http://gw/http/b.test/</BaseURL><AdaptationSet><SegmentTemplate media='http://gw/http/b.test/$Time$'/></AdaptationSet></Period>",
    );
}

#[test]
fn every_attribute_that_holds_a_url_is_seen() {
    check(
        "<Period><AdaptationSet><SegmentList index='/no'><Initialization sourceURL='/i'/><RepresentationIndex sourceURL='/x'/><SegmentURL media='/m' index='/n'/></SegmentList></AdaptationSet></Period>",
        "<Period><AdaptationSet><SegmentList index='/no'><Initialization sourceURL='http://gw/https/cdn.test/i'/><RepresentationIndex sourceURL='http://gw/https/cdn.test/x'/><SegmentURL media='http://gw/https/cdn.test/m' index='http://gw/https/cdn.test/n'/></SegmentList></AdaptationSet></Period>",
    );
    check(
        "<Location>https://b.test/m.mpd?s=1</Location><Period xlink:href='https://ads.test/p'/><Period xlink:href='urn:mpeg:dash:resolve-to-zero:2013'/>",
        "<Location>http://gw/https/b.test/m.mpd?s=1</Location><Period xlink:href='http://gw/https/ads.test/p'/><Period xlink:href='urn:mpeg:dash:resolve-to-zero:2013'/>",
    );
    check("<Location>m2.mpd</Location>", "");
}

#[test]
fn patches_are_taken_away() {
    check("<PatchLocation ttl='60'>/p.mpp</PatchLocation>\n<PatchLocation/><Period/>", "\n<Period/>");
}

#[test]
fn everything_else_is_left_as_it_was() {
    check("<UTCTiming schemeIdUri='urn:mpeg:dash:utc:http-iso:2014' value='https://time.test/now'/>", "");
    check("<UTCTiming schemeIdUri=\"x\" value=\"https://time.test/\" ></UTCTiming >", "");
    check("<!-- <BaseURL>https://b.test/</BaseURL> -->\n<?x <BaseURL>/a</BaseURL> ?>", "");
    check(
        "<Period><AdaptationSet><ContentProtection xmlns:d='urn:d'><d:BaseURL>https://b.test/</d:BaseURL><BaseURL>/a</BaseURL></ContentProtection></AdaptationSet></Period>",
        "",
    );
    check("<x:BaseURL xmlns:x='urn:x'>https://b.test/</x:BaseURL><BaseURL xmlns='urn:y'>/a</BaseURL>", "");
    check(
        "<Period><EventStream><Event><BaseURL>https://b.test/</BaseURL><![CDATA[<BaseURL>/]]></Event></EventStream></Period>",
        "",
    );
    check(
        "<ProgramInformation moreInformationURL='https://x.test/'><Source>/a</Source></ProgramInformation>",
        "",
    );
    check(
        "<Period   id = \"a'b\"\n\tstart='PT0S'><AdaptationSet media='/x' mimeType='a&quot;b'/></Period>",
        "",
    );
    assert_eq!(
        through("\u{feff}<MPD><BaseURL>/a</BaseURL></MPD>", &STAY),
        "\u{feff}<MPD><BaseURL>http://gw/https/cdn.test/a</BaseURL></MPD>"
    );
}

#[test]
fn a_moved_manifest_is_given_its_base() {
    let base = "<BaseURL>http://gw/https/cdn.test/a/</BaseURL>";
    assert_eq!(through("<MPD a='>'><Period/></MPD>", &MOVED), format!("<MPD a='>'>{base}<Period/></MPD>"));
    assert_eq!(through("<d:MPD xmlns:d='u'><d:Period/></d:MPD>", &MOVED).matches("<d:BaseURL>").count(), 1);
    assert_eq!(
        through("<MPD><BaseURL>v/</BaseURL></MPD>", &MOVED),
        "<MPD><BaseURL>http://gw/https/cdn.test/a/v/</BaseURL></MPD>"
    );
    assert_eq!(
        through("<MPD><Location>n.mpd</Location></MPD>", &MOVED),
        format!("<MPD>{base}<Location>http://gw/https/cdn.test/a/n.mpd</Location></MPD>")
    );
    assert_eq!(through("<MPD/>", &MOVED), "<MPD/>", "there is no room: fuzzing found a base behind the end");
    let inner = "<MPD><Period><BaseURL>p/</BaseURL></Period></MPD>";
    assert_eq!(through(inner, &MOVED), inner.replace("<MPD>", &format!("<MPD>{base}")));
}

#[test]
fn the_live_start_is_so_many_segments_behind() {
    let start = |text: &str| through(text, &RewriteOptions { moved: false, live_start: Some(3) });
    let inside = "<Period><AdaptationSet><SegmentTemplate timescale='1000'><SegmentTimeline><S d='1920'/><S d='2000'/></SegmentTimeline></SegmentTemplate><Representation/></AdaptationSet></Period>";
    let live = |attributes: &str| format!("<MPD{attributes} type='dynamic'>{inside}</MPD>");
    assert_eq!(start(&live("")), live(" suggestedPresentationDelay=\"PT6S\""));
    assert_eq!(
        start(&live(" suggestedPresentationDelay='PT99S'")),
        live(" suggestedPresentationDelay='PT6S'")
    );
    assert_eq!(
        start(&format!("<MPD>{inside}</MPD>")),
        format!("<MPD>{inside}</MPD>"),
        "a film has no live edge"
    );
    let unknown = "<MPD type='dynamic'><Period/></MPD>";
    assert_eq!(start(unknown), unknown);
    assert_eq!(
        start("<MPD type='dynamic' maxSegmentDuration='PT1.5S'/>"),
        "<MPD suggestedPresentationDelay=\"PT4.500S\" type='dynamic' maxSegmentDuration='PT1.5S'/>"
    );
}

#[test]
fn what_a_manifest_has_elsewhere_leads_through_the_gateway_too() {
    let mut to = |url: &Url| format!("http://gw/{}/{}{}", url.scheme(), url.authority(), url.path());
    let mut remote = |text: &str| {
        let out = rewrite_remote(text.as_bytes(), &url("https://cdn.test/v/"), &mut to);
        String::from_utf8(out.unwrap()).unwrap()
    };
    let period = |base: &str, media: &str| {
        format!(
            "\u{feff}<?xml version='1.0'?>\n<!-- an advertisement -->\n<Period xmlns='urn:mpeg:dash:schema:mpd:2011'>\
             <BaseURL>{base}</BaseURL><AdaptationSet><SegmentTemplate media='{media}'/></AdaptationSet></Period>\n<Period/>"
        )
    };
    assert_eq!(
        remote(&period("http://ads.test/1/", "/$Number$.m4s")),
        period("http://gw/http/ads.test/1/", "http://gw/http/ads.test/$Number$.m4s")
    );
    assert_eq!(remote(&period("sub/", "$Number$.m4s")), period("sub/", "$Number$.m4s"), "it stays as it is");
    let set = |media: &str| {
        format!("<m:AdaptationSet xmlns:m='u'><m:SegmentTemplate media='{media}'/></m:AdaptationSet>")
    };
    assert_eq!(remote(&set("/$Time$")), set("http://gw/https/cdn.test/$Time$"));
    let list = |media: &str| format!("<SegmentList><SegmentURL media='{media}'/></SegmentList>");
    assert_eq!(remote(&list("//b.test/1")), list("http://gw/https/b.test/1"));
    let stranger = "<a><BaseURL>http://b.test/</BaseURL></a>";
    assert_eq!(remote(stranger), stranger);
    assert!(rewrite_remote(b"no XML", &url(HOME), &mut |url| url.to_string()).is_err());
}

#[test]
fn what_a_manifest_has_elsewhere_is_found() {
    let text = "<MPD xmlns:xlink='x'><BaseURL>https://b.test/v/</BaseURL><ContentSteering>s?a</ContentSteering><Period xlink:href='p.xml'/>\
                <Period xlink:href='urn:mpeg:dash:resolve-to-zero:2013'/><Period><AdaptationSet xlink:href='/s'/></Period></MPD>";
    let found = remotes(text.as_bytes(), &url(HOME)).unwrap();
    assert_eq!(found.base, url("https://b.test/v/"));
    assert_eq!(found.urls, [url("https://b.test/v/p.xml"), url("https://b.test/s")]);
    assert_eq!(found.steering, [url(HOME).join("s?a").unwrap()]);
}

#[test]
fn a_steering_server_is_asked_through_the_gateway() {
    check(
        "<ContentSteering defaultServiceLocation='a'>https://s.test/x?t=1</ContentSteering>",
        "<ContentSteering defaultServiceLocation='a'>http://gw/https/s.test/x?t=1</ContentSteering>",
    );
}
