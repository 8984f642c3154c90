//! How inputs are damaged.

use pcdn_core::dice::Dice;

/// Inputs kept beside the seeds: those a decoder took lead deeper than those it refused.
const LEARNT_MAX: usize = 256;
/// Longest input: the longest message of any of the protocols.
const BYTES_MAX: usize = 64 * 1024;

/// What mutations start from.
pub struct Corpus {
    inputs: Vec<Vec<u8>>,
    seeds: usize,
    words: &'static [&'static str],
}

impl Corpus {
    pub fn new(seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        Self { seeds: seeds.len(), inputs: seeds, words }
    }

    /// Keeps an input; a random learnt one makes room.
    pub fn learn(&mut self, input: Vec<u8>, dice: &mut Dice) {
        if self.inputs.len() < self.seeds + LEARNT_MAX {
            self.inputs.push(input);
        } else {
            let at = self.seeds + dice.below(LEARNT_MAX as u64) as usize;
            self.inputs[at] = input;
        }
    }
}

/// One of the corpus, damaged in one to five places.
pub fn mutate(corpus: &Corpus, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.pick(&corpus.inputs).cloned().unwrap_or_default();
    for _ in 0..1 + dice.below(5) {
        damage(&mut bytes, corpus, dice);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

/// Numbers at which off-by-one and overflow live.
const EDGES: [u64; 10] = [0, 1, 127, 128, 255, 256, 65_535, 1 << 31, u32::MAX as u64, u64::MAX];

fn damage(bytes: &mut Vec<u8>, corpus: &Corpus, dice: &mut Dice) {
    let at = dice.below(bytes.len() as u64 + 1) as usize;
    let span = (1 + dice.below(16) as usize).min(bytes.len() - at);
    // Text is damaged by its words as often as by all else.
    if !corpus.words.is_empty() && dice.below(2) == 0 {
        return damage_text(bytes, at, corpus, dice);
    }
    match dice.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = dice.next_u64() as u8,
        2 => bytes.truncate(at),
        3 => {
            bytes.drain(at..at + span);
        }
        4 => {
            let again = bytes[at..at + span].to_vec();
            bytes.splice(at..at, again);
        }
        5 => {
            let fresh: Vec<u8> = (0..1 + dice.below(16)).map(|_| dice.next_u64() as u8).collect();
            bytes.splice(at..at, fresh);
        }
        6 | 7 => {
            let width = [1, 2, 4, 8][dice.below(4) as usize].min(bytes.len() - at);
            let edge = EDGES[dice.below(EDGES.len() as u64) as usize].wrapping_sub(dice.below(2));
            bytes[at..at + width].copy_from_slice(&edge.to_be_bytes()[8 - width..]);
        }
        _ => {
            let other = dice.pick(&corpus.inputs).cloned().unwrap_or_default();
            let from = dice.below(other.len() as u64 + 1) as usize;
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// Puts in a word, or takes out, doubles or moves a line.
fn damage_text(bytes: &mut Vec<u8>, at: usize, corpus: &Corpus, dice: &mut Dice) {
    let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let to = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    match dice.below(4) {
        0 => {
            bytes.drain(from..to);
        }
        1 => {
            let line = bytes[from..to].to_vec();
            let there = dice.below(bytes.len() as u64 + 1) as usize;
            bytes.splice(there..there, line);
        }
        _ => {
            let word = dice.pick(corpus.words).copied().unwrap_or_default();
            let there = if dice.below(2) == 0 { at } else { from };
            bytes.splice(there..there, word.bytes());
        }
    }
}
