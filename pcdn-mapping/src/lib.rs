//! What a URL's content is called.
//!
//! A film has many URLs: one per CDN host, with a token per viewer, with parameters in any order. Viewers meet only if all of
//! these map to one [`Rid`](pcdn_core::id::Rid), so a mapper drops what does not name the content. It must never drop what
//! does: when in doubt, split.
//!
//! | mapper | decides by |
//! |---|---|
//! | [`UrlHash`] | the URL made canonical, credentials left out |
//! | [`Template`] | rules in a file: host glob, path regex, key template |
//! | [`Table`] | a fixed list of URLs and trees, with mirrors |
//! | [`FirstOf`] | the first of several mappers that answers |
//! | [`Cached`] | another mapper's earlier answer |
//! | `remote::Remote` | a mapping node's signed rules, and its answers where they say so (feature `remote`) |
//!
//! The mapping node itself is `node` (feature `node`): who maps URLs for others, and reads contents to sign what their pieces
//! hash to. [`answer`] and [`signed`] are what the two sides say to each other.
//!
//! ```
//! use pcdn_core::{mapping::Mapper, resource::Url};
//! use pcdn_mapping::UrlHash;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mapper = UrlHash::new();
//! let mine = mapper.map(&Url::parse("https://cdn.example/film.mp4?token=mine&cut=long")?).await?;
//! let yours = mapper.map(&Url::parse("http://cdn.example/film.mp4?cut=long&token=yours")?).await?;
//! assert_eq!(mine.rid, yours.rid);
//! assert_eq!(mine.dropped, ["token"]);
//! # Ok(()) }
//! ```

pub mod answer;
mod cached;
mod canonical;
mod first_of;
mod hash;
#[cfg(feature = "node")]
pub mod node;
#[cfg(feature = "remote")]
pub mod remote;
pub mod signed;
mod table;
mod template;

pub use cached::Cached;
pub use canonical::{Canonical, Rules, canonical};
pub use first_of::FirstOf;
pub use hash::UrlHash;
pub use table::Table;
pub use template::{Decision, RuleError, Template};
