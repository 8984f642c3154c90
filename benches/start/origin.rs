//! An ordinary HTTP/1.1 server: a thread for each connection, ranges, tags, and the time of the first request it is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// A film's, an image's and a long film's bytes. Any name under `/film/`, `/image/` and `/long/` is one.
const FILM: usize = 4 << 20;
const IMAGE: usize = 20 << 10;
pub(crate) const LONG: usize = 64 << 20;
/// A segment of two seconds at 2 Mbit/s.
const SEGMENT: usize = 500 << 10;

pub(crate) struct Origin {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Origin {
    /// Begins to serve; it ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let bytes: Arc<Vec<u8>> =
            Arc::new((0..LONG as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect());
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, bytes) = (log.clone(), bytes.clone());
                thread::spawn(move || converse(stream, &log, &bytes));
            }
        });
        Self { addr, asked }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// When the first request since came, if one did.
    pub(crate) fn first_asked(&self) -> Option<Instant> {
        let asked = self.asked.lock().unwrap();
        if std::env::var_os("PCDN_BENCH_TRACE").is_some() {
            let first = asked.first().map(|(at, _)| *at);
            asked.iter().for_each(|(at, line)| eprintln!("{:?} {line}", *at - first.unwrap_or(*at)));
        }
        asked.first().map(|(at, _)| *at)
    }
}

fn converse(stream: TcpStream, log: &Mutex<Vec<(Instant, String)>>, bytes: &[u8]) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut request, mut range) = (String::new(), None);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if request.is_empty() {
                log.lock().unwrap().push((Instant::now(), String::new()));
                request = line;
            } else if line == "\r\n" {
                break;
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = Some(value.trim().to_owned());
            }
        }
        let told = format!("{} {}", request.trim(), range.as_deref().unwrap_or_default());
        if let Some(last) = log.lock().unwrap().iter_mut().rev().find(|(_, line)| line.is_empty()) {
            last.1 = told;
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if answer(&mut stream, method, path, range.as_deref(), bytes).is_err() {
            return;
        }
    }
}

fn answer(
    to: &mut TcpStream,
    method: &str,
    path: &str,
    range: Option<&str>,
    bytes: &[u8],
) -> std::io::Result<()> {
    let playlist = playlist();
    let (content, kind) = match path {
        path if path.ends_with(".m3u8") => (playlist.as_bytes(), "application/vnd.apple.mpegurl"),
        path if path.ends_with(".ts") => (&bytes[..SEGMENT], "video/mp2t"),
        path if path.ends_with(".pcdn") => (&[][..], "text/plain"),
        path if path.starts_with("/image/") => (&bytes[..IMAGE], "image/jpeg"),
        path if path.starts_with("/long/") => (bytes, "video/mp4"),
        _ => (&bytes[..FILM], "video/mp4"),
    };
    if content.is_empty() {
        return to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    let part = range.and_then(|range| range.split_once('-'));
    let first = part.and_then(|(first, _)| first.parse::<usize>().ok()).unwrap_or(0).min(content.len() - 1);
    let last =
        part.and_then(|(_, last)| last.parse::<usize>().ok()).unwrap_or(usize::MAX).min(content.len() - 1);
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}", content.len()),
        None => "200 OK".to_owned(),
    };
    let body = &content[first..=last];
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"v1\"\r\n\
         Cache-Control: max-age=3600\r\n\r\n",
        body.len(),
    );
    to.write_all(head.as_bytes())?;
    if method != "HEAD" {
        to.write_all(body)?;
    }
    Ok(())
}

fn playlist() -> String {
    let mut text =
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n".to_owned();
    (0..30).for_each(|n| text += &format!("#EXTINF:2.0,\n{n}.ts\n"));
    text + "#EXT-X-ENDLIST\n"
}
