//! The store contract against real database servers. `tests/e2e/stores/run` starts them and names them in `PCDN_TEST_STORES`.
#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)]

use pcdn_mapping::node::store::{MapStore, Postgres, Redis, Space, contract};

/// Every server named; fails if there is none, as a test of nothing is none.
fn servers() -> Vec<String> {
    let named = std::env::var("PCDN_TEST_STORES").unwrap_or_default();
    let servers: Vec<String> = named.split_whitespace().map(str::to_owned).collect();
    assert!(!servers.is_empty(), "PCDN_TEST_STORES names no server; run tests/e2e/stores/run");
    servers
}

async fn connect(url: &str) -> Box<dyn MapStore> {
    match url.starts_with("postgres") {
        true => Box::new(Postgres::connect(url).await.unwrap()),
        false => Box::new(Redis::connect(url).await.unwrap()),
    }
}

#[tokio::test]
#[ignore = "needs database servers; tests/e2e/stores/run starts them"]
async fn databases_keep_the_contract_and_two_connections_see_the_same() {
    for url in servers() {
        let (one, two) = tokio::join!(connect(&url), connect(&url));
        contract::map_store(one.as_ref()).await;
        one.put(Space::Rules, b"k", b"v").await.unwrap();
        assert_eq!(two.get(Space::Rules, b"k").await.unwrap(), Some(b"v".to_vec()), "{url}");
        for space in Space::ALL {
            two.remove(space, b"key").await.unwrap();
            two.remove(space, b"k").await.unwrap();
            assert_eq!(one.count(space).await.unwrap(), 0, "{url}");
        }
    }
}
