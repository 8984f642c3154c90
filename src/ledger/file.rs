//! A ledger in a file that only ever grows.
//!
//! ```text
//! {"earned":{"peer":"5a…","week":2950,"bytes":123,"credit":120,"superpeer":false}}
//! {"stake":{"peer":"5a…","amount":100}}
//! ```
//!
//! Of several lines of one peer and week, and of several stakes of one peer, the last counts. The operator may append stakes
//! while the file is in use.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pcdn_core::async_trait;
use pcdn_core::id::PeerId;
use pcdn_core::ledger::{Entry, Ledger, LedgerError};
use serde::{Deserialize, Serialize};

/// Lines are about 150 bytes; a longer one is not of this ledger and is passed over.
const LINE_BYTES_MAX: usize = 1_024;

/// Appends to a file.
#[derive(Debug, Clone)]
pub struct File {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    read: u64,
    earned: BTreeMap<(PeerId, u32), Entry>,
    stakes: BTreeMap<PeerId, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Earned(Entry),
    Stake { peer: PeerId, amount: u64 },
}

impl File {
    /// The ledger in the file at `path`, made if there is none.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let (earned, stakes) = Default::default();
        let mut state = State { path: path.into(), read: 0, earned, stakes };
        state.catch_up()?;
        Ok(Self { shared: Arc::new(Mutex::new(state)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || {
            // A panic before left the maps behind the file, which is read on from where they are.
            work(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|error| LedgerError::Other { by: "file ledger", source: error.into() })?
    }
}

#[async_trait]
impl Ledger for File {
    async fn record(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let entries = entries.to_vec();
        self.with(move |state| state.record(&entries)).await
    }

    async fn stake(&self, peer: &PeerId) -> Result<u64, LedgerError> {
        let peer = *peer;
        self.with(move |state| {
            state.catch_up()?;
            Ok(state.stakes.get(&peer).copied().unwrap_or_default())
        })
        .await
    }
}

impl State {
    /// Reads what was appended since the last look, by whomever.
    fn catch_up(&mut self) -> Result<(), LedgerError> {
        let failed = |path: &Path| {
            let what = format!("reading {}", path.display());
            move |source| LedgerError::Io { what, source }
        };
        let mut options = OpenOptions::new();
        let file =
            options.read(true).append(true).create(true).open(&self.path).map_err(failed(&self.path))?;
        let mut lines = BufReader::new(file);
        lines.seek(SeekFrom::Start(self.read)).map_err(failed(&self.path))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let len = lines.read_until(b'\n', &mut line).map_err(failed(&self.path))?;
            // A line without its end is still being written.
            if line.last() != Some(&b'\n') {
                return Ok(());
            }
            self.read += len as u64;
            if let Some(line) = (len <= LINE_BYTES_MAX).then(|| serde_json::from_slice(&line).ok()).flatten()
            {
                self.note(line);
            }
        }
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::Earned(entry) => drop(self.earned.insert((entry.peer, entry.week), entry)),
            Line::Stake { peer, amount } => drop(self.stakes.insert(peer, amount)),
        }
    }

    /// Appends what is news.
    fn record(&mut self, entries: &[Entry]) -> Result<(), LedgerError> {
        self.catch_up()?;
        let news = entries.iter().filter(|entry| self.earned.get(&(entry.peer, entry.week)) != Some(entry));
        let mut text = String::new();
        for entry in news {
            let line = serde_json::to_string(&Line::Earned(*entry)).expect("entries are plain values");
            text += &line;
            text.push('\n');
        }
        let append = || -> io::Result<()> {
            let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        let what = format!("appending to {}", self.path.display());
        append().map_err(|source| LedgerError::Io { what, source })?;
        self.catch_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8, credit: u64) -> Entry {
        Entry { peer: PeerId([n; 32]), week: 2_950, bytes: credit * 2, credit, superpeer: n == 1 }
    }

    #[tokio::test]
    async fn what_is_told_twice_is_written_once_and_what_grew_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = File::open(&path).unwrap();
        ledger.record(&[entry(1, 10), entry(2, 20)]).await.unwrap();
        ledger.record(&[entry(1, 10), entry(2, 25)]).await.unwrap();
        let again = File::open(&path).unwrap();
        again.record(&[entry(2, 25)]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().last().unwrap().contains("\"credit\":25"));
    }

    #[tokio::test]
    async fn stakes_are_the_operators_and_other_lines_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = File::open(&path).unwrap();
        assert_eq!(ledger.stake(&PeerId([1; 32])).await.unwrap(), 0);
        let stake =
            |amount: u64| format!("{{\"stake\":{{\"peer\":\"{}\",\"amount\":{amount}}}}}\n", PeerId([1; 32]));
        let long = "x".repeat(5_000);
        std::fs::write(&path, format!("{}not json\n{long}\n{}{{\"stake\":", stake(5), stake(100))).unwrap();
        assert_eq!(ledger.stake(&PeerId([1; 32])).await.unwrap(), 100);
        let missing = File::open(dir.path().join("no/such/place"));
        assert!(matches!(missing, Err(LedgerError::Io { .. })));
    }
}
