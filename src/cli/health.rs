//! `pcdn healthcheck`: one request to `/readyz`, for containers without curl.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Exit, Failure};
use crate::config::Config;

/// How long a node may take to say that it is ready.
const WITHIN: Duration = Duration::from_secs(3);
/// Of the answer, only the status line counts.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let addr = &config.admin.listen;
    let asked = tokio::time::timeout(WITHIN, ask(addr)).await;
    match asked {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(Exit::Done),
        Ok(Ok(answer)) => {
            let why = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            Err(Failure::other(format!("the node at {addr} is not ready: {}", why.trim())))
        }
        Ok(Err(e)) => Err(Failure::other(format!("no node at {addr}: {e}; give its --admin address"))),
        Err(_) => Err(Failure::new(Exit::TimedOut, format!("the node at {addr} does not answer within 3 s"))),
    }
}

async fn ask(addr: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
