//! Percent escapes (RFC 3986 section 2).

use percent_encoding::percent_decode_str;

/// `part` with every escape of an unreserved character decoded and the others in upper case: what servers must treat alike,
/// and nothing more. A part with a broken escape stays as it is, because servers disagree on those.
pub(super) fn normal(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('%') {
        let (plain, escape) = rest.split_at(at);
        let Some(byte) = escape.get(1..3).and_then(hex) else { return part.to_owned() };
        out.push_str(plain);
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        rest = &escape[3..];
    }
    out + rest
}

/// `part` decoded for comparing names.
pub(super) fn decode(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn hex(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn only_what_cannot_matter_is_undone() {
        for (part, want) in [
            ("%7euser", "~user"),
            ("%7E", "~"),
            ("%41", "A"),
            ("%2f", "%2F"),
            ("%2F", "%2F"),
            ("%25", "%25"),
            ("%2541", "%2541"),
            ("a+b%20c", "a+b%20c"),
            ("%zz%41", "%zz%41"),
            ("%4", "%4"),
            ("%", "%"),
            ("%%34%31", "%%34%31"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(normal(part), want, "{part}");
            assert_eq!(normal(want), want, "a second time changes nothing");
        }
    }
}
