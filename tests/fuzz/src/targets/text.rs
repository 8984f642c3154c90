//! URLs, units and addresses.

use pcdn_core::peer::PeerAddr;
use pcdn_core::resource::Url;
use pcdn_core::unit::{ByteSize, Rate, Span};

use super::MODEST;
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![Target::new("url", urls(), url, (256, 64 * 1_024)), Target::new("text", texts(), text, MODEST)]
}

fn urls() -> Vec<Vec<u8>> {
    let urls = [
        "https://cdn.example/film.mp4?token=x&cut=long&utm_source=y#t=3",
        "http://user:pw@h.example:8080/a/%7Eb/../c;jsessionid=1?b=2&a=%20",
        "https://h.example/v?X-Amz-Signature=1&Policy=2&lang=de",
        "http://[2001:db8::1]/?",
    ];
    urls.iter().map(|url| url.as_bytes().to_vec()).collect()
}

/// A canonical form, read as a URL, is its own canonical form.
fn url(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(url) = Url::parse(text) else { return false };
    let Ok(canonical) = pcdn_mapping::canonical(&url) else { return false };
    let text = canonical.text.replacen("http(s)", url.scheme(), 1);
    let again = Url::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = pcdn_mapping::canonical(&again).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(again.text, canonical.text, "a canonical form must be its own");
    true
}

fn texts() -> Vec<Vec<u8>> {
    let texts = ["udp://192.0.2.1:4000", "64KiB", "2.5MB/s", "250ms", "unlimited", "1h"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Units and addresses as people write them.
fn text(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut taken = false;
    if let Ok(addr) = text.parse::<PeerAddr>() {
        assert_eq!(addr.to_string().parse::<PeerAddr>(), Ok(addr));
        taken = true;
    }
    taken |= text.parse::<ByteSize>().is_ok_and(|size| {
        assert_eq!(size.to_string().parse::<ByteSize>().ok(), Some(size), "{text}");
        true
    });
    taken |= text.parse::<Rate>().is_ok_and(|rate| {
        assert_eq!(rate.to_string().parse::<Rate>().ok(), Some(rate), "{text}");
        true
    });
    taken |= text.parse::<Span>().is_ok_and(|span| {
        assert_eq!(span.to_string().parse::<Span>().ok(), Some(span), "{text}");
        true
    });
    taken
}
