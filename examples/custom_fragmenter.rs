//! Learn: cut a container format of your own, so that every viewer cuts it alike, and prove that with the public suite.
//!
//! Run: `cargo run --example custom_fragmenter`
//!
//! The format: records, each a length (4 bytes, big endian) and so many bytes. Every record becomes a segment. The index at the
//! end of the file (8 bytes a record, and 4 bytes that say how many) tells where they begin, so only that is read.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // an example talks

use pcdn::core::fragment::{Cut, Fit, FragmentError, Fragmenter, Need, Part, Seek, Segment, Slicing};
use pcdn::core::id::RuleId;
use pcdn::core::layout::SegmentId;
use pcdn::core::range::ByteRange;
use pcdn::core::resource::{Resource, ResourceHint, Url};
use pcdn::core::unit::Time;

/// Records of one file at most: bytes from outside decide no allocation.
const RECORDS_MAX: u64 = 100_000;

#[derive(Debug)]
struct Records;

impl Fragmenter for Records {
    fn name(&self) -> &'static str {
        "records"
    }
    fn rule(&self) -> RuleId {
        RuleId::of("records", 1, "piece=16")
    }
    fn fit(&self, hint: &ResourceHint) -> Fit {
        if hint.url.path().ends_with(".rec") { Fit::Sure } else { Fit::No }
    }
    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
        let len = resource.head.as_ref().and_then(|head| head.len);
        Ok(Box::new(Cutting { url: resource.url.clone(), len, count: None, begins: None, next: 0 }))
    }
}

/// What is known so far decides what is needed next: the length, the number of records, the index.
#[derive(Debug)]
struct Cutting {
    url: Url,
    len: Option<u64>,
    count: Option<u64>,
    begins: Option<Vec<u64>>,
    next: usize,
}

impl Cutting {
    fn malformed(&self, what: &str) -> FragmentError {
        FragmentError::Malformed { kind: "records", what: what.to_owned(), at: self.len.unwrap_or(0) }
    }
    /// The last `count` × 8 + 4 bytes.
    fn index(&self, len: u64, count: u64) -> Option<ByteRange> {
        ByteRange::new(len.checked_sub(count * 8 + 4)?, len)
    }
    fn segment(&self, at: usize) -> Option<std::ops::Range<u64>> {
        let begins = self.begins.as_ref()?;
        let index = self.len? - self.count? * 8 - 4;
        Some(*begins.get(at)?..begins.get(at + 1).copied().unwrap_or(index))
    }
}

impl Slicing for Cutting {
    fn need(&self) -> Need {
        let range = |range: Option<ByteRange>| match range {
            Some(range) => Need::Range { url: self.url.clone(), range },
            None => Need::Nothing,
        };
        match (self.len, self.count) {
            (None, _) => Need::Head(self.url.clone()),
            (Some(len), None) => range(self.index(len, 0)),
            (Some(len), Some(count)) if self.begins.is_none() => range(self.index(len, count)),
            _ => Need::Nothing,
        }
    }

    fn supply(&mut self, _: Time, part: Part) -> Result<(), FragmentError> {
        match part {
            Part::Head(_, head) => self.len = Some(head.len.ok_or(FragmentError::LengthUnknown)?),
            Part::Range(_, _, bytes) if self.count.is_none() => {
                let count = bytes.as_ref().try_into().map_err(|_| self.malformed("no number of records"))?;
                let count = u64::from(u32::from_be_bytes(count));
                if count > RECORDS_MAX {
                    return Err(FragmentError::TooMuch {
                        kind: "records",
                        limit: RECORDS_MAX,
                        what: "records",
                    });
                }
                self.count = Some(count);
            }
            Part::Range(_, _, bytes) => {
                let words = bytes.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()));
                let begins: Vec<u64> = words.collect();
                let last = self.len.unwrap_or(0);
                if !begins.is_sorted() || begins.last().is_some_and(|begin| *begin > last) {
                    return Err(self.malformed("an index that goes back"));
                }
                self.begins = Some(begins);
            }
            _ => {}
        }
        Ok(())
    }

    fn cut(&mut self) -> Option<Cut> {
        let begins = self.begins.as_ref()?;
        if self.next > begins.len() {
            return None;
        }
        self.next += 1;
        let Some(bytes) = self.segment(self.next - 1) else { return Some(Cut::End) };
        let id = SegmentId(self.next as u64 - 1);
        Segment::of_file(id, self.url.clone(), bytes, 16).ok().map(Cut::Segment)
    }

    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        let Seek::Byte(at) = seek else { return None };
        let count = self.begins.as_ref()?.len();
        (0..count)
            .find(|i| self.segment(*i).is_some_and(|bytes| bytes.contains(at)))
            .map(|i| SegmentId(i as u64))
    }
}

/// A file of records.
fn file(records: &[&[u8]]) -> Vec<u8> {
    let (mut bytes, mut begins) = (Vec::new(), Vec::new());
    for record in records {
        begins.push(bytes.len() as u64);
        bytes.extend_from_slice(&(record.len() as u32).to_be_bytes());
        bytes.extend_from_slice(record);
    }
    begins.iter().for_each(|begin| bytes.extend_from_slice(&begin.to_be_bytes()));
    bytes.extend_from_slice(&(begins.len() as u32).to_be_bytes());
    bytes
}

fn sample() -> pcdn::core::conformance::fragmenter::Sample {
    let url: Url = "http://cdn.example/log.rec".parse().unwrap();
    let body = pcdn::core::Bytes::from(file(&[b"one", &[7; 200_000], b"three"]));
    pcdn::core::conformance::fragmenter::Sample {
        resource: Resource { url: url.clone(), rid: pcdn::core::id::Rid([0; 32]), head: None },
        head: pcdn::core::resource::ResourceHead {
            len: Some(body.len() as u64),
            ranges: true,
            ..Default::default()
        },
        documents: vec![(url, body.clone())],
        body,
        tiles: false,
    }
}

fn main() {
    use pcdn::core::conformance::fragmenter::{fragmenter, run};
    let sample = sample();
    // Panics with the clause of the contract that is broken.
    fragmenter(|| Records, &sample);
    let mine = run(&Records, &sample.resource, &sample, usize::MAX);
    let yours = run(&Records, &sample.resource, &sample, 1);
    println!("{} records, cut alike by both: {}", mine.len() - 1, mine == yours);
}

#[test]
fn an_index_that_lies_is_an_error() {
    let sample = sample();
    let mut slicing = Records.open(&sample.resource).unwrap();
    slicing.supply(Time::ZERO, Part::Head(sample.resource.url.clone(), sample.head.clone())).unwrap();
    let Need::Range { url, range } = slicing.need() else { panic!() };
    let claim = pcdn::core::Bytes::from_static(&[0xff; 4]);
    assert!(matches!(
        slicing.supply(Time::ZERO, Part::Range(url, range, claim)),
        Err(FragmentError::TooMuch { .. })
    ));
}
