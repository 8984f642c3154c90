//! Learn: name contents by your own rule, and test the rule as a law instead of with samples.
//!
//! This shop's film URLs are `/v/TOKEN/EPOCH/FILM/QUALITY.mp4`: token and epoch differ for every viewer, film and quality name
//! the content.
//!
//! Run: `cargo run --example custom_mapper`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use pcdn::core::async_trait;
use pcdn::core::id::{Rid, RuleId, SwarmKey, hash_field};
use pcdn::core::mapping::{MapError, Mapper};
use pcdn::core::resource::{Mapping, Url};

/// Names a film by its title and quality, whoever watches it.
#[derive(Debug)]
struct Shop;

#[async_trait]
impl Mapper for Shop {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(MapError::NotHttp(url.scheme().to_owned()));
        }
        let parts: Vec<&str> = url.path_segments().map(Iterator::collect).unwrap_or_default();
        // What is not known for sure is left to the next mapper: a swarm merged wrongly costs more than one split wrongly.
        let ["v", _token, _epoch, film, quality] = parts[..] else { return Err(MapError::Unknown) };
        let mut hasher = blake3::Hasher::new_derive_key("shop.example films v1");
        // Fields go in with their lengths, so that ("ab", "c") and ("a", "bc") stay two films.
        hash_field(&mut hasher, film.as_bytes());
        hash_field(&mut hasher, quality.as_bytes());
        let rid = Rid(*hasher.finalize().as_bytes());
        Ok(Mapping { dropped: vec!["token".to_owned(), "epoch".to_owned()], ..Mapping::to(rid, "shop") })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let viewers = [
        "https://a.shop.example/v/tok1/1700/heat/1080.mp4",
        "https://b.shop.example/v/tok2/1800/heat/1080.mp4",
    ];
    let mut swarms = Vec::new();
    for url in viewers {
        let mapping = Shop.map(&url.parse()?).await?;
        // Peers meet by content and cut together: those who cut otherwise hold other pieces.
        let swarm = SwarmKey::of(&mapping.rid, &RuleId::of("file", 1, "as all of them"));
        println!("{url} -> rid {} -> swarm {}", mapping.rid.short(), swarm.short());
        swarms.push(swarm);
    }
    println!("the viewers meet: {}", swarms[0] == swarms[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn::core::testing::block_on;
    use proptest::prelude::*;

    fn rid(token: &str, epoch: u32, film: &str, quality: u16) -> Rid {
        let url = format!("https://shop.example/v/{token}/{epoch}/{film}/{quality}.mp4");
        block_on(Shop.map(&url.parse().unwrap())).unwrap().rid
    }

    proptest! {
        #[test]
        fn equal_films_and_only_they_have_equal_names(
            tokens in ["[a-z0-9]{1,20}", "[a-z0-9]{1,20}"],
            epochs: [u32; 2],
            films in ["[a-z]{1,3}", "[a-z]{1,3}"],
            qualities in [0u16..3, 0u16..3],
        ) {
            let names = [0, 1].map(|n| rid(&tokens[n], epochs[n], &films[n], qualities[n]));
            let same = films[0] == films[1] && qualities[0] == qualities[1];
            prop_assert_eq!(names[0] == names[1], same);
        }
    }

    #[test]
    fn it_keeps_the_contract_of_the_seam() {
        let heat = ["http://h.example/v/t/1/heat/7.mp4", "https://g.example/v/u/2/heat/7.mp4?x=1"];
        let ronin = ["http://h.example/v/t/1/ronin/7.mp4"];
        block_on(pcdn::conformance::mapper::mapper(|| Shop, &[&heat, &ronin]));
    }
}
