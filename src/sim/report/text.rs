//! An outcome as people read it.

use std::fmt::{Display, Formatter, Result};

use super::{Bar, Comparison, LISTED, Outcome, bars};

/// Width of the bars.
const WIDTH: usize = 40;

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "{}: {} viewers, {:.1} MB, seed {}",
            self.scenario,
            self.peers,
            mb(self.content_bytes),
            self.seed
        )?;
        writeln!(f)?;
        if self.viewers.len() <= LISTED {
            self.list(f)?;
            writeln!(f)?;
        }
        writeln!(f, "finished        {} of {} ({} killed)", self.finished, self.honest, self.killed)?;
        writeln!(f, "makespan        {:.1} s", self.makespan_s)?;
        let s = &self.seconds;
        writeln!(
            f,
            "viewer's time   median {:.1} s, p95 {:.1}, p99 {:.1}, max {:.1}",
            s.p50, s.p95, s.p99, s.max
        )?;
        let s = &self.start_s;
        writeln!(
            f,
            "start           median {:.2} s, p95 {:.2}, p99 {:.2}, max {:.2}",
            s.p50, s.p95, s.p99, s.max
        )?;
        writeln!(f, "stalls          {} ({:.1} s)", self.stalls, self.stalled_s)?;
        writeln!(f, "p2p ratio       {:.1} % of {:.1} MB", self.p2p_ratio * 100.0, mb(self.delivered_bytes))?;
        writeln!(
            f,
            "from the CDN    {:.1} % ({:.1} MB, {:.2} copies, {:.2} Mbit/s a viewer)",
            self.origin_share * 100.0,
            mb(self.origin_bytes),
            self.origin_amplification,
            self.origin_bits_per_viewer / 1e6
        )?;
        writeln!(f, "waste           {:.1} %", self.waste * 100.0)?;
        writeln!(
            f,
            "wrong bytes     {} ({} pieces refused, {} bans of liars, {} of honest peers)",
            self.wrong_bytes, self.rejected_pieces, self.liars_banned, self.honest_banned
        )?;
        write!(f, "trace {}, {} events in {:.2} s", self.trace, self.events, self.wall_s)
    }
}

impl Outcome {
    fn list(&self, f: &mut Formatter<'_>) -> Result {
        let label = |viewer: &super::ViewerOutcome| {
            let seconds = viewer.seconds.map_or("   –  ".to_owned(), |seconds| format!("{seconds:5.1}s"));
            format!("{:10} {seconds}", viewer.name)
        };
        let labels: Vec<String> = self.viewers.iter().map(label).collect();
        let rows: Vec<Bar<'_>> = self
            .viewers
            .iter()
            .zip(&labels)
            .map(|(viewer, label)| Bar {
                label,
                peers: viewer.from_peers,
                origin: viewer.from_origin,
                cache: 0,
            })
            .collect();
        f.write_str(&bars(&rows, WIDTH))
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (with, alone) = (&self.with_peers, &self.origin_only);
        writeln!(f, "                with peers   CDN only")?;
        let mut row =
            |what: &str, a: f64, b: f64, unit: &str| writeln!(f, "{what:14} {a:9.2} {unit:2} {b:9.2} {unit}");
        row("makespan", with.makespan_s, alone.makespan_s, "s")?;
        row("mean time", with.seconds.mean, alone.seconds.mean, "s")?;
        row("mean start", with.start_s.mean, alone.start_s.mean, "s")?;
        row("stalls", f64::from(with.stalls), f64::from(alone.stalls), "")?;
        row("from the CDN", with.origin_share * 100.0, alone.origin_share * 100.0, "%")?;
        write!(f, "the worst viewer takes {:.2} of its time without peers", self.worst_viewer_ratio())
    }
}
