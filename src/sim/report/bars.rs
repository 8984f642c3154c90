//! Bars for a terminal: who got what from where.

/// One line: a label, and bytes by source.
#[derive(Clone, Copy, Debug)]
pub struct Bar<'l> {
    /// Shown before the bar.
    pub label: &'l str,
    /// From peers.
    pub peers: u64,
    /// From the CDN.
    pub origin: u64,
    /// From the store.
    pub cache: u64,
}

/// Draws one line a bar, the longest `width` characters: `█` from peers, `▒` from the CDN, `·` from the store.
///
/// ```
/// use pcdn::sim::{Bar, bars};
/// let drawn = bars(&[Bar { label: "anna", peers: 750, origin: 250, cache: 0 }], 8);
/// assert_eq!(drawn, "anna  ██████▒▒   75 % from peers\n");
/// ```
pub fn bars(rows: &[Bar<'_>], width: usize) -> String {
    let most = rows.iter().map(Bar::sum).max().unwrap_or(0).max(1);
    let label = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let cells = |bytes: u64| (bytes as u128 * width as u128 + most as u128 / 2) / most as u128;
        // Ends are rounded, not lengths, so that equal sums are equally long.
        let ends = [row.peers, row.peers + row.origin, row.sum()].map(|bytes| cells(bytes) as usize);
        let parts =
            [("█", ends[0]), ("▒", ends[1] - ends[0]), ("·", ends[2] - ends[1]), (" ", width - ends[2])];
        let bar: String = parts.iter().map(|(cell, count)| cell.repeat(*count)).collect();
        let ratio = row.peers as f64 * 100.0 / (row.peers + row.origin).max(1) as f64;
        out.push_str(&format!("{:label$}  {bar}  {ratio:3.0} % from peers\n", row.label));
    }
    out
}

impl Bar<'_> {
    fn sum(&self) -> u64 {
        self.peers + self.origin + self.cache
    }
}
