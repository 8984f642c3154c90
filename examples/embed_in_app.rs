//! Learn: a player application reads media through a [`Reader`](pcdn::Reader) (`AsyncRead` and `AsyncSeek`), with no gateway
//! and no HTTP between them.
//!
//! Run: `cargo run --example embed_in_app`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::io::SeekFrom;
use std::time::Duration;

use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::{Node, identity, mapping, media, store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt};

/// A player that knows nothing of pcdn: it takes anything it can read and seek in. Its films are a header with the number of
/// frames, and frames of equal length that begin with their number.
struct Player<R> {
    media: R,
    frames: u32,
}

const FRAME_BYTES: u64 = 10_000;

impl<R: AsyncRead + AsyncSeek + Unpin> Player<R> {
    async fn open(mut media: R) -> std::io::Result<Self> {
        let frames = media.read_u32().await?;
        Ok(Self { media, frames })
    }

    /// Jumps to a frame and plays `count` from there; says which were shown.
    async fn play(&mut self, from: u32, count: u32) -> std::io::Result<Vec<u32>> {
        self.media.seek(SeekFrom::Start(4 + u64::from(from) * FRAME_BYTES)).await?;
        let mut shown = Vec::new();
        let mut frame = vec![0; FRAME_BYTES as usize - 4];
        for _ in from..(from + count).min(self.frames) {
            shown.push(self.media.read_u32().await?);
            self.media.read_exact(&mut frame).await?;
        }
        Ok(shown)
    }
}

fn film(frames: u32) -> Vec<u8> {
    let mut film = frames.to_be_bytes().to_vec();
    for number in 0..frames {
        film.extend_from_slice(&number.to_be_bytes());
        film.resize(film.len() + FRAME_BYTES as usize - 4, number as u8);
    }
    film
}

async fn watch() -> Result<Vec<u32>, Box<dyn Error>> {
    let origin = DemoOrigin::start(vec![("film".to_owned(), film(500).into())], Rate::UNLIMITED).await?;
    let http = HttpConfig { allow: vec![origin.addr().to_string().parse()?], ..HttpConfig::default() };
    // Without transports the node is alone: the same code, later with `.transport(…)` and `.discovery(…)`, has peers.
    let node = Node::builder(identity::ephemeral()?)
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(16)))
        .origin(Http::new(http, pcdn::dice()?)?)
        .build()?;
    let asset = node.open(&origin.url("film").parse()?).await?;
    let mut player = Player::open(asset.read(0..asset.len())).await?;
    let mut shown = player.play(0, 3).await?;
    // Scrub near the end, then back: what was read comes from the store.
    shown.extend(player.play(498, 10).await?);
    shown.extend(player.play(1, 1).await?);
    node.shutdown(Duration::from_secs(2)).await;
    Ok(shown)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("frames shown: {:?}", watch().await?);
    Ok(())
}

#[tokio::test]
async fn the_player_shows_the_frames_it_asks_for() {
    assert_eq!(watch().await.expect("loopback works"), [0, 1, 2, 498, 499, 1]);
}
