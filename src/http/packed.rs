//! Documents that an origin keeps packed: object stores give them so to everybody, whatever was asked for.

use std::io::Read as _;

use bytes::Bytes;
use pcdn_core::origin::OriginError;

/// Longest playlist or manifest that is read. 24 hours of segments of two seconds are 5 MB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// The text of a document that came with these headers, and whether it was packed.
///
/// # Errors
/// If it is damaged, or longer than [`DOCUMENT_BYTES_MAX`].
pub(crate) fn unpacked(headers: &[(String, String)], text: Bytes) -> Result<(Bytes, bool), OriginError> {
    let coding = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    match coding.map(|(_, coding)| coding.as_str()) {
        Some("gzip" | "x-gzip") => Ok((gunzip(&text)?, true)),
        _ => Ok((text, false)),
    }
}

/// What was packed, as long as it is not a bomb.
fn gunzip(packed: &[u8]) -> Result<Bytes, OriginError> {
    let mut text = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take(DOCUMENT_BYTES_MAX as u64 + 1);
    reader
        .read_to_end(&mut text)
        .map_err(|error| OriginError::Malformed { what: format!("its gzip: {error}") })?;
    if text.len() > DOCUMENT_BYTES_MAX { Err(too_long()) } else { Ok(text.into()) }
}

/// That a document is longer than [`DOCUMENT_BYTES_MAX`].
pub(crate) fn too_long() -> OriginError {
    OriginError::Malformed { what: "a playlist of more than 16 MiB".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &[u8]) -> Bytes {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, text).unwrap();
        packer.finish().unwrap().into()
    }

    #[test]
    fn a_packed_document_is_unpacked() {
        let headers = [("Content-Encoding".to_owned(), "gzip".to_owned())];
        let list = &b"#EXTM3U\n"[..];
        assert_eq!(unpacked(&headers, packed(list)).unwrap(), (Bytes::from_static(list), true));
        assert_eq!(unpacked(&[], Bytes::from_static(list)).unwrap(), (Bytes::from_static(list), false));
        assert!(unpacked(&headers, Bytes::from_static(list)).is_err());
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let bomb = packed(&vec![b'#'; DOCUMENT_BYTES_MAX + 1]);
        assert!(bomb.len() < 64 << 10);
        assert!(gunzip(&bomb).is_err());
    }
}
