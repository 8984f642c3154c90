//! What playlists said that later requests must be answered by.
//!
//! A node knows what a playlist lists. Beside that, playlists name resources that are none of a node's business (parts of a segment
//! that still grows), and media playlists that are only understood with what their master playlist says.
//!
//! It is a memory of bounded length: what is forgotten is answered as any other resource.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pcdn_core::resource::Url;
use pcdn_media::{dash, hls};

/// Words remembered. A low-latency playlist adds two or three a second and rendition: enough for four of them for ten minutes. With a
/// word of some 40 bytes it is a third of a megabyte.
const WORDS_MAX: usize = 8_192;

/// What is known of a URL.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// It may grow or does not exist yet, or is answered for one player: the origin's answer is passed on.
    Pass,
    /// It is a playlist, whatever it is called.
    Playlist,
    /// A media playlist of a master playlist that has these variables.
    Rendition(Arc<hls::Variables>),
    /// A part of a manifest that is elsewhere, with what it is relative to.
    Remote(Arc<Url>),
}

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Heard {
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    /// By the hash of the URL, whose text is not kept.
    by_url: HashMap<u64, Word>,
    age: VecDeque<u64>,
    hasher: RandomState,
}

impl Heard {
    /// What is known of `url`.
    pub(super) fn of(&self, url: &Url) -> Option<Word> {
        let words = self.words();
        words.by_url.get(&words.key(url)).cloned()
    }

    /// Notes a word; it takes the place of what was known.
    pub(super) fn note(&self, url: &Url, word: Word) {
        self.words().note(url, word);
    }

    /// A playlist's text: gives it with the variables of its master playlist, and notes what it says of others. `url` is what a player
    /// asked for, `at` where it was found.
    pub(super) fn hls(&self, url: &Url, at: &Url, text: Bytes) -> Bytes {
        let imports = match self.of(url) {
            Some(Word::Rendition(variables)) => variables,
            _ => Arc::default(),
        };
        let text = match imports.is_empty() {
            true => text,
            false => hls::import(&text, &imports).map_or(text, Bytes::from),
        };
        // Most playlists say nothing that is noted, and are long.
        if !holds(&text, b"#EXT-X-PART:")
            && !holds(&text, b"#EXT-X-PRELOAD-HINT:")
            && !holds(&text, b"STEERING:")
            && !holds(&text, b"#EXT-X-DEFINE:")
        {
            return text;
        }
        match hls::Playlist::parse(&text, at) {
            Ok(hls::Playlist::Media(media)) => {
                let mut words = self.words();
                media.unfinished().for_each(|url| words.note(url, Word::Pass));
            }
            Ok(hls::Playlist::Master(master)) => {
                let mut words = self.words();
                if let Some(steering) = &master.steering {
                    words.note(&steering.url, Word::Pass);
                }
                if !master.variables.is_empty() {
                    let variables = Arc::new(master.variables.clone());
                    master.playlists().for_each(|url| words.note(url, Word::Rendition(variables.clone())));
                }
            }
            Err(error) => tracing::debug!(%error, "nothing is noted of a playlist"),
        }
        text
    }

    /// A manifest's text: notes what it has elsewhere.
    pub(super) fn dash(&self, at: &Url, text: &[u8]) {
        if !holds(text, b"xlink:href") && !holds(text, b"ContentSteering") {
            return;
        }
        match dash::remotes(text, at) {
            Ok(found) => {
                let base = Arc::new(found.base);
                let mut words = self.words();
                found.urls.iter().for_each(|url| words.note(url, Word::Remote(base.clone())));
                found.steering.iter().for_each(|url| words.note(url, Word::Pass));
            }
            Err(error) => tracing::debug!(%error, "nothing is noted of a manifest"),
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        // Whoever panicked with it left it whole.
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Words {
    fn key(&self, url: &Url) -> u64 {
        self.hasher.hash_one(resource(url).as_str())
    }

    fn note(&mut self, url: &Url, word: Word) {
        let key = self.key(url);
        if self.by_url.insert(key, word).is_none() {
            self.age.push_back(key);
        }
        if self.age.len() > WORDS_MAX
            && let Some(oldest) = self.age.pop_front()
        {
            self.by_url.remove(&oldest);
        }
    }
}

/// `url` without what a player says of itself and of how it is asked for: `_HLS_…` (RFC 8216bis 6.2.5), `_DASH_…` (ETSI TS 103 998) and
/// `CMCD` (CTA-5004). With them every request for one playlist has a URL of its own. The fragment goes, too.
pub(super) fn resource(url: &Url) -> Url {
    let says = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        name.starts_with("_HLS_") || name.starts_with("_DASH_") || name == "CMCD"
    };
    let mut url = url.clone();
    url.set_fragment(None);
    let Some(query) = url.query().filter(|query| query.split('&').any(|pair| says(&pair))) else {
        return url;
    };
    let kept: Vec<_> = query.split('&').filter(|pair| !says(pair)).collect();
    let kept = Some(kept.join("&")).filter(|query| !query.is_empty());
    url.set_query(kept.as_deref());
    url
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_playlist_is_one_however_it_is_asked_for() {
        let check = |text: &str, want: &str| assert_eq!(resource(&url(text)).as_str(), want);
        check("http://a/x.m3u8?t=%41&_HLS_msn=7&_HLS_part=1#f", "http://a/x.m3u8?t=%41");
        check("http://a/x.mpd?CMCD=bl%3D7%2Csid%3D%22a%22", "http://a/x.mpd");
        check("http://a/steer?_DASH_pathway=a&x", "http://a/steer?x");
        check("http://a/x?a=_HLS_&cmcdx=1&&b", "http://a/x?a=_HLS_&cmcdx=1&&b");
    }

    #[test]
    fn parts_and_hints_are_passed_on() {
        let heard = Heard::default();
        let at = url("http://a/live/x.m3u8");
        let text = b"#EXTM3U\n#EXT-X-PART:DURATION=1,URI=\"s9.mp4\",BYTERANGE=\"5@0\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p.mp4\"\n";
        assert_eq!(heard.hls(&at, &at, Bytes::from_static(text)), &text[..]);
        for name in ["s9.mp4", "p.mp4", "p.mp4?_HLS_x=1"] {
            assert!(matches!(heard.of(&at.join(name).unwrap()), Some(Word::Pass)), "{name}");
        }
        assert!(heard.of(&at).is_none());
    }

    #[test]
    fn a_rendition_has_the_variables_of_its_master_playlist() {
        let heard = Heard::default();
        let (master, media) = (url("http://a/m.m3u8"), url("http://a/v.m3u8?u=1"));
        let text = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"host\",VALUE=\"b.test\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8?u=1\n";
        heard.hls(&master, &master, text.into());
        let asks = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"host\"\n#EXTINF:1,\nhttp://{$host}/s\n";
        let got = heard.hls(&media, &media, asks.into());
        assert_eq!(got, asks.replace("IMPORT=\"host\"", "NAME=\"host\",VALUE=\"b.test\""));
        let stranger = url("http://a/other.m3u8");
        assert_eq!(heard.hls(&stranger, &stranger, asks.into()), asks);
    }

    #[test]
    fn what_is_elsewhere_is_known_with_its_base() {
        let heard = Heard::default();
        let text = b"<MPD xmlns:xlink='x'><ContentSteering>/steer</ContentSteering><Period xlink:href='p.xml'/></MPD>";
        heard.dash(&url("http://a/v/x.mpd"), text);
        let Some(Word::Remote(base)) = heard.of(&url("http://a/v/p.xml")) else { panic!("it is forgotten") };
        assert_eq!(*base, url("http://a/v/x.mpd"));
        assert!(matches!(heard.of(&url("http://a/steer?_DASH_pathway=x")), Some(Word::Pass)));
    }

    #[test]
    fn the_oldest_words_are_forgotten() {
        let heard = Heard::default();
        (0..=WORDS_MAX).for_each(|i| heard.note(&url(&format!("http://a/{i}")), Word::Pass));
        assert!(heard.of(&url("http://a/0")).is_none());
        assert!(heard.of(&url("http://a/1")).is_some());
        let words = heard.words();
        assert_eq!((words.age.len(), words.by_url.len()), (WORDS_MAX, WORDS_MAX));
    }
}
