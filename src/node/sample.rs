//! A piece of what this node holds, to ask others for.

use std::collections::BTreeMap;

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::range::ByteRange;
use pcdn_core::store::Store;
use pcdn_core::verify::list;

use super::Node;

/// A piece held here, and how much of its content is.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) swarm: SwarmKey,
    pub(crate) key: PieceKey,
    /// Where it lies in its segment.
    pub(crate) range: ByteRange,
    pub(crate) bytes: Bytes,
    /// Bytes of the content that are held here.
    pub(crate) held: u64,
}

impl Node {
    /// A piece drawn from all that is held of the swarm that `is` says it is; `None` if it is not joined, or nothing of it is here.
    pub(crate) async fn sample(&self, is: impl Fn(&SwarmKey) -> bool, mut dice: Dice) -> Option<Sample> {
        let assets = self.shared.assets.lock().await;
        let asset = assets.iter().find(|asset| is(&asset.swarm()))?.clone();
        drop(assets);
        let names = asset.shelved().await;
        let (store, swarm, shelf) = (self.shared.store.clone(), asset.swarm(), asset.shelf());
        let drawn = move || draw(store.as_ref(), swarm, &shelf, names.as_ref(), &mut dice);
        tokio::task::spawn_blocking(drawn).await.ok().flatten()
    }
}

/// A damaged piece is none: who is asked for it must not be called a liar. Nor is one of a segment as it was before: of what a
/// playlist lists, `names` says what is in the store by which name.
fn draw(
    store: &dyn Store,
    swarm: SwarmKey,
    shelf: &SwarmKey,
    names: Option<&BTreeMap<SegmentId, SegmentId>>,
    dice: &mut Dice,
) -> Option<Sample> {
    let mut all = store.held(shelf).ok()?;
    all.retain(|piece| names.is_none_or(|names| names.contains_key(&piece.key.segment)));
    let piece = dice.pick(&all)?;
    let bytes = store.get(shelf, &piece.key).ok()??;
    let held = all.iter().map(|piece| u64::from(piece.layout.piece_len(piece.key.piece))).sum();
    let start = piece.layout.bytes_of(piece.key.piece).start;
    let range = ByteRange::new(start, start + bytes.len() as u64)?;
    let segment = names.map_or(piece.key.segment, |names| names[&piece.key.segment]);
    let sound = list::digest(&piece.layout, piece.key.piece, &bytes) == piece.digest;
    sound.then_some(Sample { swarm, key: PieceKey { segment, ..piece.key }, range, bytes, held })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pcdn_core::layout::Layout;
    use pcdn_core::store::{Held, Kept, StoreError};
    use pcdn_core::verify::PieceList;

    use super::*;

    /// A content of two pieces, of which one may be damaged.
    #[derive(Debug)]
    struct Shelf {
        layout: Layout,
        content: Bytes,
        held: u32,
        damaged: bool,
    }

    impl Store for Shelf {
        fn held(&self, _: &SwarmKey) -> Result<Vec<Held>, StoreError> {
            let list = PieceList::of(&self.layout, &self.content);
            let held = |n: u32| Held {
                key: PieceKey { segment: SegmentId(0), piece: self.layout.piece(n).unwrap() },
                layout: self.layout,
                digest: list.values()[n as usize],
                own: false,
            };
            Ok((0..self.held).map(held).collect())
        }
        fn get(&self, _: &SwarmKey, key: &PieceKey) -> Result<Option<Bytes>, StoreError> {
            let at = self.layout.bytes_of(key.piece);
            let mut bytes = self.content[at.start as usize..at.end as usize].to_vec();
            bytes[0] ^= u8::from(self.damaged);
            Ok(Some(bytes.into()))
        }
        fn put(&self, _: &SwarmKey, _: &PieceKey, _: &Layout, _: &Kept) -> Result<(), StoreError> {
            Ok(())
        }
        fn forget(&self, _: &SwarmKey, _: Option<SegmentId>) -> Result<(), StoreError> {
            Ok(())
        }
        fn protect(&self, _: &SwarmKey, _: bool) -> Result<(), StoreError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn a_sample_is_any_piece_held_sound_and_knows_how_much_is() {
        let content = pcdn_core::testing::content(100_000, 1);
        let mut shelf = Shelf { layout: Layout::new(100_000, 16).unwrap(), content, held: 0, damaged: false };
        let (swarm, dice) = (SwarmKey([1; 32]), &mut Dice::new(1));
        assert!(draw(&shelf, swarm, &swarm, None, dice).is_none());
        shelf.held = 2;
        let samples: Vec<Sample> =
            (0..50).map(|_| draw(&shelf, swarm, &swarm, None, dice).unwrap()).collect();
        for sample in &samples {
            let at = sample.range.start() as usize..sample.range.end() as usize;
            assert_eq!((sample.held, &sample.bytes), (100_000, &shelf.content.slice(at)));
        }
        assert_eq!(samples.iter().map(|sample| sample.key.piece).collect::<BTreeSet<_>>().len(), 2);
        let one = |name, segment| BTreeMap::from([(SegmentId(name), SegmentId(segment))]);
        let named = draw(&shelf, swarm, &swarm, Some(&one(0, 7)), dice).unwrap();
        assert_eq!(named.key.segment, SegmentId(7));
        assert!(draw(&shelf, swarm, &swarm, Some(&one(1, 7)), dice).is_none(), "of another version");
        shelf.damaged = true;
        assert!(draw(&shelf, swarm, &swarm, None, dice).is_none());
    }
}
