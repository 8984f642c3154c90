//! A player that asks once over a new connection, and looks at the clock.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What it saw.
pub(crate) struct Seen {
    pub(crate) sent: Instant,
    /// Until the first byte of the body.
    pub(crate) first: Duration,
    /// Until as many as were wanted, or all.
    pub(crate) begun: Duration,
}

/// Asks `at` for `path` from the byte `from` on, reads `want` bytes of the body, and hangs up.
pub(crate) fn get(at: SocketAddr, path: &str, from: Option<usize>, want: usize) -> Seen {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    let range = from.map(|from| format!("Range: bytes={from}-\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{range}Connection: close\r\n\r\n");
    let sent = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let (mut buffer, mut head) = (vec![0; 64 << 10], Vec::new());
    let (mut body, mut first, mut want) = (0, None, want);
    while body < want {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        if first.is_some() {
            body += count;
            continue;
        }
        head.extend_from_slice(&buffer[..count]);
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        body = head.len() - end - 4;
        first = (body > 0).then(|| sent.elapsed());
        let told = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        assert!(told.starts_with("http/1.1 20"), "{path}: {told}");
        let len = told.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        want = want.min(len.unwrap_or(usize::MAX));
    }
    Seen { sent, first: first.unwrap_or_else(|| panic!("{path}: no body")), begun: sent.elapsed() }
}
