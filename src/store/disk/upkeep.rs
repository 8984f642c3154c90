//! What an operator asks of a store: how full, what is in it, is it sound, tidy up.

use pcdn_core::id::SwarmKey;
use pcdn_core::layout::PieceKey;
use pcdn_core::store::{Store, StoreError};
use pcdn_core::unit::ByteSize;
use pcdn_core::verify::list;
use serde::Serialize;

use super::Disk;
use super::files;
use super::recover::names;

/// A store in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Most bytes it may take.
    pub quota: ByteSize,
    /// Bytes it takes: allocated blocks of data and logs.
    pub used: ByteSize,
    /// Swarms with at least one piece.
    pub swarms: u64,
    /// Segments with at least one piece.
    pub segments: u64,
    /// Pieces.
    pub pieces: u64,
    /// Segments that left for want of room, since it was opened.
    pub evicted_segments: u64,
    /// Logs that ended in a bad record when it was opened.
    pub torn_logs: u64,
    /// As [`Disk::trusted`].
    pub trusted: bool,
}

/// One swarm in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SwarmSize {
    /// Which.
    pub swarm: SwarmKey,
    /// Segments with at least one piece.
    pub segments: u64,
    /// Pieces.
    pub pieces: u64,
    /// Bytes of content.
    pub bytes: ByteSize,
    /// Bytes its data files take.
    pub allocated: ByteSize,
}

/// What [`Disk::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Pieces read and hashed.
    pub pieces: u64,
    /// Pieces that were not what they should be; they are no longer kept.
    pub damaged: Vec<Damaged>,
}

/// A piece that was not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Its swarm.
    pub swarm: SwarmKey,
    /// Its segment.
    pub segment: u64,
    /// Its number there.
    pub piece: u32,
}

impl Disk {
    /// The store in numbers.
    pub fn stats(&self) -> Stats {
        let keeper = self.keeper();
        let swarms = keeper.index.swarms.values();
        Stats {
            quota: self.config.quota,
            used: ByteSize(keeper.index.used),
            swarms: keeper.index.swarms.len() as u64,
            segments: swarms.clone().map(|kept| kept.segments.len() as u64).sum(),
            pieces: swarms.map(|kept| kept.live).sum(),
            evicted_segments: keeper.evicted,
            torn_logs: keeper.torn,
            trusted: keeper.trusted(),
        }
    }

    /// Every swarm in it, by key.
    pub fn list(&self) -> Vec<SwarmSize> {
        let keeper = self.keeper();
        let sizes = keeper.index.swarms.iter().map(|(swarm, kept)| SwarmSize {
            swarm: *swarm,
            segments: kept.segments.len() as u64,
            pieces: kept.live,
            bytes: ByteSize(
                kept.segments
                    .values()
                    .flat_map(|slot| slot.pieces.keys().map(|piece| u64::from(slot.layout.piece_len(*piece))))
                    .sum(),
            ),
            allocated: ByteSize(kept.segments.values().map(|slot| slot.charge).sum()),
        });
        let mut sizes: Vec<SwarmSize> = sizes.collect();
        sizes.sort_unstable_by_key(|size| size.swarm);
        sizes
    }

    /// Reads and hashes every piece of `swarm`, or of all; damaged ones are dropped. Takes as long as reading the disk does;
    /// other calls go on meanwhile. After all were checked the store is [trusted](Disk::trusted) again.
    ///
    /// # Errors
    /// If the disk refuses to read. What was found until then is dropped already.
    pub fn verify(&self, swarm: Option<&SwarmKey>) -> Result<Checked, StoreError> {
        let swarms = match swarm {
            Some(swarm) => vec![*swarm],
            None => self.list().into_iter().map(|size| size.swarm).collect(),
        };
        let mut checked = Checked::default();
        for swarm in swarms {
            for held in self.held(&swarm)? {
                let Some(bytes) = self.read(&swarm, &held.key, None)? else { continue };
                checked.pieces += 1;
                let sound = list::digest(&held.layout, held.key.piece, &bytes) == held.digest;
                if !sound && self.drop_damaged(&swarm, &held.key, held.digest) {
                    let (segment, piece) = (held.key.segment.0, held.key.piece.get());
                    checked.damaged.push(Damaged { swarm, segment, piece });
                }
            }
        }
        if swarm.is_none() {
            self.keeper().trust();
        }
        Ok(checked)
    }

    /// Drops a piece unless it was put anew since it was looked at.
    fn drop_damaged(&self, swarm: &SwarmKey, key: &PieceKey, digest: pcdn_core::id::Digest) -> bool {
        let mut keeper = self.keeper();
        let slot = keeper.index.slot(swarm, key.segment);
        let same =
            slot.and_then(|slot| slot.pieces.get(&key.piece)).is_some_and(|piece| piece.digest == digest);
        if same {
            keeper.lose(swarm, key);
        }
        same
    }

    /// Tidies up: empties the trash, rewrites logs that say more than they need, evicts down to 85 % of the quota if it is
    /// above 95 %, and deletes what other versions of pcdn left. Gives how many bytes fewer it takes now; what other versions
    /// left is not counted.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn gc(&self) -> Result<ByteSize, StoreError> {
        let before = self.stats().used.0;
        let mut doomed = Vec::new();
        for name in names(&self.dir)? {
            let version = name.strip_prefix('v').is_some_and(|digits| digits.parse::<u32>().is_ok());
            if version && name != "v1" {
                doomed.push(self.dir.join(name));
            }
        }
        let swarms: Vec<SwarmKey> = self.list().into_iter().map(|size| size.swarm).collect();
        {
            let mut keeper = self.keeper();
            let trash = keeper.trash_dir();
            doomed.extend(names(&trash)?.into_iter().map(|name| trash.join(name)));
            if keeper.over_high_water(0) {
                let target = keeper.low_water();
                doomed.extend(keeper.evict_to(target, None, self.config.spare_read_within.0));
            }
        }
        for swarm in swarms {
            // One lock for each: a log is synced while it is held.
            let mut keeper = self.keeper();
            if keeper.index.swarms.get(&swarm).is_some_and(|kept| kept.log_records > kept.live) {
                keeper.compact(&swarm)?;
            }
        }
        files::delete(doomed);
        Ok(ByteSize(before.saturating_sub(self.stats().used.0)))
    }
}
