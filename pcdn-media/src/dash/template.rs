//! URL templates: `$RepresentationID$`, `$Number$`, `$Time$`, `$Bandwidth$`, `$SubNumber$`, `$$`, with widths such as `%05d`
//! (ISO/IEC 23009-1 section 5.3.9.4.4).

use std::fmt::Write;

use super::xml::VALUE_BYTES_MAX;

/// Digits a width may ask for: a 64-bit number has 20, and packagers like round numbers.
pub const WIDTH_MAX: usize = 32;

/// A template that was read. What is between dollars and no identifier stays as written, as players have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Number,
    Time,
}

/// What is the same for all segments of a representation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed<'r> {
    pub id: &'r str,
    pub bandwidth: u64,
}

impl Template {
    /// Reads a template and puts in what is fixed. `None` if that makes it too long, or a width is above [`WIDTH_MAX`].
    pub(super) fn read(text: &str, fixed: Fixed<'_>) -> Option<Self> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            plain += before;
            let Some((inside, next)) = after.split_once('$') else {
                plain.push('$');
                rest = after;
                break;
            };
            rest = next;
            let (name, width) = split_width(inside)?;
            let hole = match name {
                "" if inside.is_empty() => {
                    plain.push('$');
                    continue;
                }
                "RepresentationID" => {
                    plain += fixed.id;
                    None
                }
                "Bandwidth" => {
                    pad(&mut plain, fixed.bandwidth, width);
                    None
                }
                // Sequences of sub-segments are not listed; a list has the first of each.
                "SubNumber" => {
                    pad(&mut plain, 1, width);
                    None
                }
                "Number" => Some(Hole::Number),
                "Time" => Some(Hole::Time),
                _ => {
                    // Not an identifier: the second dollar may begin one.
                    plain.push('$');
                    plain += inside;
                    rest = &after[inside.len()..];
                    None
                }
            };
            if let Some(hole) = hole {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Hole(hole, width));
            }
            if plain.len() > VALUE_BYTES_MAX {
                return None;
            }
        }
        plain += rest;
        parts.push(Part::Text(plain));
        let longest: usize = parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.len(),
                Part::Hole(_, width) => 20.max(*width),
            })
            .sum();
        (longest <= VALUE_BYTES_MAX).then_some(Self(parts))
    }

    /// Puts the reference of one segment into `text`.
    pub(super) fn fill(&self, text: &mut String, number: u64, time: u64) {
        text.clear();
        for part in &self.0 {
            match part {
                Part::Text(plain) => *text += plain,
                Part::Hole(Hole::Number, width) => pad(text, number, *width),
                Part::Hole(Hole::Time, width) => pad(text, time, *width),
            }
        }
    }
}

/// Appends `number` in `width` digits at least.
fn pad(text: &mut String, number: u64, width: usize) {
    write!(text, "{number:0width$}").expect("text takes whatever is written");
}

/// `Number%05d` is `Number` in 5 digits at least.
fn split_width(inside: &str) -> Option<(&str, usize)> {
    let Some((name, format)) = inside.split_once('%') else { return Some((inside, 1)) };
    let Some(digits) = format.strip_prefix('0').and_then(|rest| rest.strip_suffix('d')) else {
        return Some((inside, 1));
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some((inside, 1));
    }
    let width = digits.parse().ok().filter(|width| *width <= WIDTH_MAX)?;
    Some((name, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Fixed<'_> = Fixed { id: "v1", bandwidth: 800 };

    fn filled(text: &str) -> Option<String> {
        let mut filled = String::from("of the one before");
        Template::read(text, V1)?.fill(&mut filled, 7, 9000);
        Some(filled)
    }

    #[test]
    fn identifiers_are_put_in() {
        let cases = [
            ("$RepresentationID$/$Number$.m4s", "v1/7.m4s"),
            ("s-$Number%05d$-$Time%08d$-$Bandwidth%04d$", "s-00007-00009000-0800"),
            ("$Number%5d$ $Number%01d$", "$Number%5d$ 7"),
            ("$$$Number$$$", "$7$"),
            ("$SubNumber$", "1"),
            ("$Time$?a=$RepresentationID$", "9000?a=v1"),
            ("plain", "plain"),
            ("a$b", "a$b"),
            ("$Unknown$Number$", "$Unknown7"),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(filled(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn widths_and_lengths_are_bounded() {
        assert_eq!(filled("$Number%032d$").unwrap().len(), 32);
        assert_eq!(filled("$Number%033d$"), None);
        assert_eq!(filled("$Number%099999999999999999999d$"), None);
        let long = "x".repeat(4000);
        assert_eq!(
            Template::read(
                "$RepresentationID$$RepresentationID$$RepresentationID$",
                Fixed { id: &long, bandwidth: 0 }
            ),
            None
        );
        assert_eq!(filled(&"$Number$".repeat(1000)), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_refused(text in "\\PC{0,40}", like in "[$%0-9dNumberTi]{0,40}") {
            for text in [text, like] {
                let filled = filled(&text);
                if !text.contains('$') {
                    assert_eq!(filled.as_deref(), Some(text.as_str()));
                }
            }
        }
    }
}
