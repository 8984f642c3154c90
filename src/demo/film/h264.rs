//! H.264 (ITU-T H.264) without an encoder: macroblocks whose samples are written as they are (I_PCM, 7.3.5), and macroblocks
//! that are skipped. Baseline profile, one reference picture, shown in the order of coding.

/// Bytes of a macroblock: 256 of luma, 128 of chroma. Its header is a byte or two more.
pub(in crate::demo) const MACROBLOCK_BYTES: u64 = 384;
/// Types of NAL units (table 7-1).
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
/// `mb_type` of I_PCM in slices of intra and of predicted pictures (tables 7-11 and 7-13).
const I_PCM: u32 = 25;
const I_PCM_IN_P: u32 = 5 + I_PCM;
/// Whose the number in a picture's SEI is (user data, D.1.7).
const OURS: [u8; 16] = *b"pcdn demo number";

/// Width and height in macroblocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) struct Macroblocks(pub(super) u8, pub(super) u8);

impl Macroblocks {
    pub(super) fn count(self) -> u64 {
        u64::from(self.0) * u64::from(self.1)
    }

    /// Of a picture written whole.
    pub(super) fn bytes(self) -> u64 {
        self.count() * MACROBLOCK_BYTES
    }

    pub(super) fn pixels(self) -> (u16, u16) {
        (u16::from(self.0) * 16, u16::from(self.1) * 16)
    }
}

/// Writes pictures of one size.
#[derive(Clone, Copy, Debug)]
pub(in crate::demo) struct Coder {
    size: Macroblocks,
}

impl Coder {
    pub(super) fn of(size: Macroblocks) -> Self {
        Self { size }
    }

    /// The decoder configuration record (ISO/IEC 14496-15, 5.3.3) that MP4 and FLV carry.
    pub(super) fn configuration(self) -> Vec<u8> {
        let (sequence, picture) = (self.sequence(), picture_parameters());
        // Version, profile, constraints and level as in the sequence, lengths of four bytes, one set of each kind.
        let mut out = vec![1, sequence[1], sequence[2], sequence[3], 0xFF, 0xE1];
        out.extend((sequence.len() as u16).to_be_bytes());
        out.extend(&sequence);
        out.push(1);
        out.extend((picture.len() as u16).to_be_bytes());
        out.extend(&picture);
        out
    }

    /// The sequence parameter set (7.3.2.1.1).
    fn sequence(self) -> Vec<u8> {
        let mut bits = Bits::default();
        // Baseline, constrained, level 4: room for the largest picture.
        bits.bytes(&[66, 0xC0, 40]);
        bits.ue(0);
        bits.ue(4); // frame numbers of eight bits
        bits.ue(2); // shown as coded
        bits.ue(1); // one reference
        bits.put(0, 1);
        bits.ue(u32::from(self.size.0) - 1);
        bits.ue(u32::from(self.size.1) - 1);
        bits.put(0b11, 2); // whole frames
        bits.put(0b00, 2); // nothing cut off, no more to say
        bits.unit(0x67)
    }

    /// Picture `number`, the `in_gop`th from its keyframe on: macroblocks that `changes` names are drawn by `pixel`, the
    /// others stay as they were. Keyframes are drawn whole.
    pub(super) fn picture(
        self,
        number: u64,
        in_gop: u64,
        changes: impl Fn(u64) -> bool,
        pixel: impl Fn(u64, u64) -> u8,
    ) -> Vec<u8> {
        let key = in_gop == 0;
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(if key { 7 } else { 5 });
        bits.ue(0);
        bits.put(in_gop as u32, 8);
        if key {
            bits.ue((number / super::GOP % 2) as u32);
            bits.put(0b00, 2);
        } else {
            bits.put(0b000, 3); // no override, no reordering, no marking
        }
        bits.ue(0); // the quantiser, which nothing uses
        bits.ue(1); // no deblocking: samples are as they were written
        let mut skipped = 0;
        for index in 0..self.size.count() {
            if !key && !changes(index) {
                skipped += 1;
                continue;
            }
            if !key {
                bits.ue(std::mem::take(&mut skipped));
            }
            bits.ue(if key { I_PCM } else { I_PCM_IN_P });
            bits.align();
            self.draw(index, &pixel, &mut bits);
        }
        if skipped > 0 {
            bits.ue(skipped);
        }
        let slice = bits.unit(0x40 | if key { IDR } else { SLICE });
        let mut out = Vec::with_capacity(slice.len() + 64);
        for unit in [number_unit(number), slice] {
            out.extend((unit.len() as u32).to_be_bytes());
            out.extend(unit);
        }
        out
    }

    fn draw(self, index: u64, pixel: &impl Fn(u64, u64) -> u8, bits: &mut Bits) {
        let (left, top) = (index % u64::from(self.size.0) * 16, index / u64::from(self.size.0) * 16);
        for y in 0..16 {
            (0..16).for_each(|x| bits.out.push(pixel(left + x, top + y)));
        }
        // Blue and red: two slopes over the picture.
        bits.out.extend([(64 + left / 8 % 128) as u8; 64]);
        bits.out.extend([(64 + top / 4 % 128) as u8; 64]);
    }
}

/// The number of a coded picture that [`Coder::picture`] made.
pub(in crate::demo) fn number_of(picture: &[u8]) -> Option<u64> {
    // Length, kind of unit, kind and size of message, whose.
    let text = picture.get(4 + 3 + OURS.len()..)?;
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// Supplemental information (7.3.2.3) with the picture's number in digits.
fn number_unit(number: u64) -> Vec<u8> {
    let digits = number.to_string();
    let mut out = vec![SEI, 5, (OURS.len() + digits.len()) as u8];
    out.extend(OURS);
    out.extend(digits.bytes());
    out.push(0x80);
    out
}

/// The picture parameter set (7.3.2.2).
fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0);
    bits.ue(0);
    bits.put(0b00, 2); // variable-length codes; no fields
    bits.ue(0);
    bits.ue(0);
    bits.ue(0);
    bits.put(0b000, 3); // no weights
    bits.ue(0);
    bits.ue(0);
    bits.ue(0);
    bits.put(0b100, 3); // deblocking is up to slices
    bits.unit(0x68)
}

/// Bits of a unit, most significant first.
#[derive(Debug, Default)]
struct Bits {
    out: Vec<u8>,
    /// Bits of the byte that is not full.
    partial: u8,
    count: u8,
}

impl Bits {
    /// The lowest `count` bits of `value`.
    fn put(&mut self, value: u32, count: u8) {
        for at in (0..count).rev() {
            self.partial = self.partial << 1 | (value >> at & 1) as u8;
            self.count += 1;
            if self.count == 8 {
                self.out.push(self.partial);
                (self.partial, self.count) = (0, 0);
            }
        }
    }

    /// An Exp-Golomb code (9.1). Of the signed ones only 0 is used here, which is coded alike.
    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2() as u8;
        self.put(0, length);
        self.put(value + 1, length + 1);
    }

    /// Whole bytes, where a byte begins.
    fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0, "a byte begins here");
        self.out.extend_from_slice(bytes);
    }

    fn align(&mut self) {
        while self.count != 0 {
            self.put(0, 1);
        }
    }

    /// The unit with its header and the bit that ends it, and with escapes where three bytes would look like a start code (7.4.1).
    fn unit(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        self.align();
        let mut unit = Vec::with_capacity(self.out.len() + 8);
        unit.push(header);
        let mut zeros = 0;
        for byte in self.out {
            if zeros >= 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_the_standard() {
        let coded = |value| {
            let mut bits = Bits::default();
            bits.ue(value);
            let length = bits.out.len() as u32 * 8 + u32::from(bits.count);
            bits.align();
            (length, bits.out[0] >> (8 - length.min(8)))
        };
        // Table 9-2.
        assert_eq!(
            [coded(0), coded(1), coded(2), coded(7)],
            [(1, 1), (3, 0b010), (3, 0b011), (7, 0b000_1000)]
        );
    }

    #[test]
    fn a_picture_says_its_number() {
        let coder = Coder::of(Macroblocks(2, 1));
        for number in [0, 7, 50, 1_000_000_007] {
            let picture = coder.picture(number, number % 50, |_| true, |_, _| 77);
            assert_eq!(number_of(&picture), Some(number));
        }
        assert_eq!(number_of(b"short"), None);
    }

    #[test]
    fn nothing_in_a_unit_looks_like_a_start_code() {
        let mut bits = Bits::default();
        bits.bytes(&[0, 0, 0, 0, 0, 1, 0, 0, 3]);
        let unit = bits.unit(0x65);
        assert!(!unit.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] < 3), "{unit:?}");
    }
}
