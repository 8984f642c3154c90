//! Names a film by the number in its path.

use pcdn::core::async_trait;
use pcdn::core::id::Rid;
use pcdn::core::mapping::{MapError, Mapper};
use pcdn::core::resource::{Mapping, Url};

/// `/film/NUMBER/anything`, on any host.
#[derive(Debug, Default)]
pub struct ByNumber;

#[async_trait]
impl Mapper for ByNumber {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(MapError::NotHttp(url.scheme().to_owned()));
        }
        let mut parts = url.path_segments().ok_or(MapError::Unknown)?;
        if parts.next() != Some("film") {
            return Err(MapError::Unknown);
        }
        let number: u64 = parts.next().and_then(|part| part.parse().ok()).ok_or(MapError::Unknown)?;
        let mut rid = [0; 32];
        rid[..8].copy_from_slice(&number.to_be_bytes());
        Ok(Mapping::to(Rid(rid), "by number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn::testing::block_on;

    #[test]
    fn it_keeps_the_contract() {
        let seven: &[&str] = &["http://a.example/film/7/x.mp4", "https://b.example/film/007/y.mp4?t=1"];
        let eight: &[&str] = &["http://a.example/film/8/x.mp4"];
        block_on(pcdn::conformance::mapper::mapper(ByNumber::default, &[seven, eight]));
    }

    #[test]
    fn what_has_no_number_is_left_to_others() {
        for url in ["http://a.example/", "http://a.example/film/x", "http://a.example/song/7"] {
            assert!(matches!(block_on(ByNumber.map(&url.parse().unwrap())), Err(MapError::Unknown)), "{url}");
        }
    }
}
