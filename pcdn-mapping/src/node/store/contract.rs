//! What every [`MapStore`] must do; run it on your own.

use super::{MapStore, Space};

/// Asserts the contract on a store that is empty.
///
/// # Panics
/// With the clause that is broken.
pub async fn map_store(store: &dyn MapStore) {
    let get = async |space, key: &[u8]| store.get(space, key).await.expect("get must succeed");
    for space in Space::ALL {
        assert_eq!(get(space, b"key").await, None, "an empty store has nothing");
        store.remove(space, b"key").await.expect("forgetting what is not there must succeed");
        store.put(space, b"key", space.name().as_bytes()).await.expect("put must succeed");
    }
    for space in Space::ALL {
        assert_eq!(
            get(space, b"key").await,
            Some(space.name().into()),
            "kinds must not see each other's values"
        );
        assert_eq!(store.count(space).await.expect("count must succeed"), 1);
    }
    // Every byte is a byte: no text, no end by zero.
    let all: Vec<u8> = (0..=255).collect();
    let (key, long) = (&all[..64], vec![0xa5; 3 << 20]);
    for value in [&b""[..], &all, &long] {
        store.put(Space::Manifests, key, value).await.expect("put must succeed");
        assert_eq!(
            get(Space::Manifests, key).await.as_deref(),
            Some(value),
            "the last value put must come back"
        );
    }
    assert_eq!(get(Space::Manifests, &key[..63]).await, None, "a part of a key is another key");
    store.remove(Space::Manifests, key).await.expect("remove must succeed");
    assert_eq!(get(Space::Manifests, key).await, None, "what was removed is gone");
    assert_eq!(get(Space::Manifests, b"key").await, Some(b"manifests".to_vec()), "and nothing else is");
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_keeps_the_contract() {
        super::map_store(&super::super::Memory::new()).await;
    }
}
