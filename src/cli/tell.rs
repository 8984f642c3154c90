//! What is said: data on standard output, talk on standard error. The only place that writes to either.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use pcdn_core::peer::{PeerAddr, Scheme};
use serde::Serialize;

use super::{Exit, Failure};

/// A line of talk. Nobody listening is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Data. A reader that went away (`pcdn man | head`) wants no more, which is no error.
pub(crate) fn out(text: &str) -> Result<Exit, Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::disk("standard output", &e)),
        _ => Ok(Exit::Done),
    }
}

/// Data as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Exit, Failure> {
    out(&serde_json::to_string(value).expect("reports are plain values"))
}

/// Whether somebody watches standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Rewrites the last line of a watched terminal; an empty text ends it.
pub(crate) fn status(text: &str) {
    let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{text}");
    let _ = std::io::stderr().flush();
}

/// Says that a long-running role serves: one line for people and scripts, one datagram for the service manager.
pub(crate) fn ready<P: Display>(addrs: &[(&str, P)]) {
    let places: Vec<String> = addrs.iter().map(|(what, addr)| format!("{what}={addr}")).collect();
    line(&format!("ready {}", places.join(" ")));
    notify("READY=1");
}

/// Where peers connect, as `--listen` reads it: UDP without its name.
pub(crate) fn place(at: &PeerAddr) -> String {
    if at.scheme == Scheme::Udp { at.addr.to_string() } else { at.to_string() }
}

/// Tells a service manager (`sd_notify`), if one listens at `NOTIFY_SOCKET`.
pub(crate) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send_to(&path, state.as_bytes()) {
        tracing::warn!(%error, "the service manager at NOTIFY_SOCKET cannot be told");
    }
}

#[cfg(target_os = "linux")]
fn send_to(path: &std::ffi::OsStr, state: &[u8]) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let addr = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state, &addr).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send_to(_: &std::ffi::OsStr, _: &[u8]) -> std::io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str(), b"READY=1").unwrap();
        let mut said = [0; 16];
        let len = manager.recv(&mut said).unwrap();
        assert_eq!(&said[..len], b"READY=1");
    }
}
