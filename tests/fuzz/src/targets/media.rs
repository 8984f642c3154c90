//! What the targets of media share: the origin they come from, a gateway before it, and a node's books of what was listed.

use std::collections::BTreeSet;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Fragmenter, Slicing};
use pcdn_core::id::Rid;
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Resource, Url};

/// Cuts looked at of one document at most: one of a hundred bytes may list half a million segments.
pub const CUTS_MAX: usize = 2_000;

const GATEWAY: &str = "http://gateway.test/";

pub fn open(fragmenter: &dyn Fragmenter, url: &Url) -> Box<dyn Slicing> {
    let resource = Resource { url: url.clone(), rid: Rid([1; 32]), head: None };
    fragmenter.open(&resource).expect("a resource that nobody described opens")
}

/// What a gateway makes of an origin's URL. It lets its own as they are.
pub fn mirrored(url: &Url) -> String {
    mirror(url).into()
}

/// The same as a URL.
pub fn mirror(url: &Url) -> Url {
    match url.as_str().strip_prefix("http://").or_else(|| url.as_str().strip_prefix("https://")) {
        Some(rest) if !url.as_str().starts_with(GATEWAY) => {
            format!("{GATEWAY}{}/{rest}", url.scheme()).parse().expect("a URL behind a URL is one")
        }
        _ => url.clone(),
    }
}

/// Documents one after the other in one input, each beginning with a line that begins with `head`: loads of one playlist.
pub fn loads(input: &[u8], head: &[u8]) -> Vec<Bytes> {
    let begins = |at: &usize| input[*at - 1] == b'\n' && input[*at..].starts_with(head);
    let mut starts: Vec<usize> = (1..input.len()).filter(begins).collect();
    starts.insert(0, 0);
    starts.push(input.len());
    starts.windows(2).map(|pair| Bytes::copy_from_slice(&input[pair[0]..pair[1]])).collect()
}

/// What a node knows to be listed. Holds a slicing to: list once, retire what is listed.
#[derive(Debug, Default)]
pub struct Books(BTreeSet<(SegmentId, u32)>);

impl Books {
    /// Takes what was cut. Whether that was all.
    pub fn drain(&mut self, slicing: &mut dyn Slicing, mut each: impl FnMut(&Cut)) -> bool {
        for _ in 0..CUTS_MAX {
            let Some(cut) = slicing.cut() else { return true };
            each(&cut);
            match cut {
                Cut::Listed(one) => {
                    assert!(self.0.insert((one.id, one.rendition)), "a segment must be listed once: {one:?}");
                }
                Cut::Retired(id) => {
                    let listed: Vec<_> = self.0.range((id, 0)..=(id, u32::MAX)).copied().collect();
                    assert!(!listed.is_empty(), "only what is listed may retire: {id}");
                    listed.iter().for_each(|key| {
                        self.0.remove(key);
                    });
                }
                _ => {}
            }
        }
        false
    }
}
