//! The known word nearest to a mistyped one.

/// A suggestion must be closer than this share of its own length, or it is a guess and not a help.
const SHARE: usize = 2;

/// The nearest of `known` to `word`, if any is near enough to have been meant.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let by_distance = known.into_iter().map(|candidate| (distance(word, candidate), candidate)).min();
    by_distance
        .filter(|(distance, candidate)| *distance * SHARE <= candidate.len())
        .map(|(_, candidate)| candidate)
}

/// Levenshtein: letters put in, left out or replaced. Words from outside are cut to 100 letters, so the cost is bounded.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_what_was_meant() {
        let known = ["gateway.listen", "gateway.cors", "node.tracker", "node.upload_limit"];
        assert_eq!(nearest("gateway.lisen", known), Some("gateway.listen"));
        assert_eq!(nearest("node.upload-limit", known), Some("node.upload_limit"));
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn distances_are_levenshtein() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
