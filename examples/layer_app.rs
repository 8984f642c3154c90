//! Learn: the top layer, an application. It speaks plain HTTP to the gateway of a node beside it and knows nothing of peers: an
//! image is shown, a film is played from its playlist, a live channel is joined at its edge.
//!
//! Run: `cargo run --example layer_app`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use pcdn::config::GatewayConfig;
use pcdn::core::Bytes;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::gateway::Gateway;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::{Node, identity, mapping, media, store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A site: an image, a film of three segments, a channel whose playlist has no end yet.
fn site() -> Vec<(String, Bytes)> {
    let segment = |seed| ("ts", pcdn::testing::content(300_000, seed));
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:";
    let list = |first: u32, names: &[&str]| {
        names.iter().fold(format!("{head}{first}\n"), |text, name| format!("{text}#EXTINF:4.0,\n{name}\n"))
    };
    let film = format!("{}#EXT-X-ENDLIST\n", list(0, &["f0.ts", "f1.ts", "f2.ts"]));
    let live = list(40, &["l40.ts", "l41.ts", "l42.ts"]);
    let names = ["f0.ts", "f1.ts", "f2.ts", "l40.ts", "l41.ts", "l42.ts"];
    let segments = names.iter().zip(1..).map(|(name, seed)| ((*name).to_owned(), segment(seed).1));
    let mut files: Vec<(String, Bytes)> = segments.collect();
    files.push(("logo.png".to_owned(), pcdn::testing::content(40_000, 99)));
    files.push(("film.m3u8".to_owned(), film.into()));
    files.push(("live.m3u8".to_owned(), live.into()));
    files
}

/// The application: all it knows is the gateway's address and the site's.
struct App {
    gateway: SocketAddr,
    site: SocketAddr,
}

impl App {
    /// What a browser's `<img>` or a player's request does.
    async fn get(&self, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.gateway).await?;
        let (gateway, site) = (self.gateway, self.site);
        // What a playlist lists is the gateway's own; everything else is the site's.
        let own = path.strip_prefix(&format!("http://{gateway}"));
        let path = own.map_or_else(|| format!("/http/{site}/{path}"), str::to_owned);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let split = answer.windows(4).position(|end| end == b"\r\n\r\n").ok_or("an answer without a head")?;
        let (head, body) =
            (String::from_utf8_lossy(&answer[..split]).into_owned(), answer[split + 4..].to_vec());
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        if !head.starts_with("HTTP/1.1 200") || chunked {
            return Err(format!("{path}: {head}").into());
        }
        Ok(body)
    }

    /// Plays what a playlist lists, from its `skip`th segment on; the bytes of each.
    async fn play(&self, playlist: &str, skip: usize) -> Result<Vec<usize>, Box<dyn Error>> {
        let text = String::from_utf8(self.get(playlist).await?)?;
        let mut sizes = Vec::new();
        for segment in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(skip) {
            sizes.push(self.get(segment).await?.len());
        }
        Ok(sizes)
    }
}

async fn visit() -> Result<(usize, Vec<usize>, Vec<usize>), Box<dyn Error>> {
    let origin = DemoOrigin::start(site(), Rate::UNLIMITED).await?;
    let http = HttpConfig { allow: vec![origin.addr().to_string().parse()?], ..HttpConfig::default() };
    let http = Http::new(http, pcdn::dice()?)?;
    // Alone here; with `.transport(…)` and `.discovery(…)` the same application has peers and does not notice.
    let node = Node::builder(identity::ephemeral()?)
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(16)))
        .origin(http.clone())
        .build()?;
    let config = GatewayConfig { listen: "127.0.0.1:0".to_owned(), ..GatewayConfig::default() };
    let gateway = Gateway::serve_with(node.clone(), &config, http).await?;
    let app = App { gateway: gateway.local_addrs()[0], site: origin.addr() };
    let image = app.get("logo.png").await?.len();
    let film = app.play("film.m3u8", 0).await?;
    let live = app.play("live.m3u8", 2).await?;
    gateway.shutdown().await;
    node.shutdown(Duration::from_secs(1)).await;
    Ok((image, film, live))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (image, film, live) = visit().await?;
    println!("image of {image} bytes, film of {} segments, live edge of {} bytes", film.len(), live[0]);
    Ok(())
}

#[tokio::test]
async fn an_application_sees_plain_http() {
    assert_eq!(visit().await.expect("loopback works"), (40_000, vec![300_000; 3], vec![300_000]));
}
