//! Pictures as FLV (Adobe's specification, version 10.1, annex E).

use super::{FPS, Film, GOP, h264};

/// What a stream begins with: the file's header, and the decoder's configuration.
pub(in crate::demo) fn header(film: &Film) -> Vec<u8> {
    let mut out = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
    out.extend(tag(0, true, 0, &film.coder().configuration()));
    out
}

/// Picture `number`, at `ms` of the stream.
pub(in crate::demo) fn picture(film: &Film, number: u64, ms: u32) -> Vec<u8> {
    tag(ms, number.is_multiple_of(GOP), 1, &film.picture(number))
}

/// When picture `number` is shown, in milliseconds from picture 0.
pub(in crate::demo) fn ms_of(number: u64) -> u64 {
    number * 1000 / FPS
}

/// Whether a tag's body is a picture of the film, and which; `None` if it is no picture at all.
pub(in crate::demo) fn is_right(film: &Film, body: &[u8]) -> Option<Option<u64>> {
    let (head, picture) = body.split_at_checked(5)?;
    if head[1] != 1 {
        return None;
    }
    let number = h264::number_of(picture);
    Some(number.filter(|number| film.picture(*number) == picture))
}

/// A tag of video; `what` 0 is the configuration, 1 a picture.
fn tag(ms: u32, key: bool, what: u8, content: &[u8]) -> Vec<u8> {
    let length = 5 + content.len() as u32;
    let [high, rest @ ..] = ms.to_be_bytes();
    let mut out = Vec::with_capacity(length as usize + 15);
    out.push(9);
    out.extend(&length.to_be_bytes()[1..]);
    out.extend(rest);
    out.extend([high, 0, 0, 0]);
    out.extend([if key { 0x17 } else { 0x27 }, what, 0, 0, 0]);
    out.extend(content);
    out.extend((length + 11).to_be_bytes());
    out
}
