//! The tracker's UDP workers: threads that read many datagrams with one system call and answer them with another.
//!
//! Each worker has a socket of its own on the same port; the system spreads clients over them by their addresses
//! (SO_REUSEPORT, where there is such a thing). A thread that blocks in a read costs less than a task that is woken for it, and a
//! busy tracker leaves the runtime to others.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::wire::meet::is_word;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::meet::Meetings;
use super::{ERROR_PAUSE, Watch};
use crate::tracker::service::Service;
use crate::tracker::wire::DATAGRAM_MAX;
pub(super) use batch::Batch;

#[cfg_attr(not(target_os = "linux"), path = "udp/portable.rs")]
#[cfg_attr(target_os = "linux", path = "udp/linux.rs")]
mod batch;

/// Datagrams of one system call: what a busy socket has waiting, 64 KiB of buffers.
const BATCH: usize = 32;
/// Longest datagram read; longer ones are cut, and then no request.
const RECEIVE_BYTES: usize = 2048;
/// How long an idle worker sleeps before it looks whether it shall stop. Stopping wakes it; this is for systems where it does not.
const IDLE: Duration = Duration::from_millis(250);
/// Asked of the system for datagrams that wait: a tenth of a second of what one core answers. It may give less.
const SOCKET_BYTES: usize = 4 << 20;

/// What is done with a request that must look elsewhere first: it is handed over with its source; `false` gives it back.
pub(super) type Defer = Arc<dyn Fn(&[u8], SocketAddr) -> bool + Send + Sync>;

/// A worker's thread. Dropping it stops it.
pub(super) struct Worker {
    stop: Arc<AtomicBool>,
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

/// What all workers have in common.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) meetings: Arc<Meetings>,
    pub(super) watch: Watch,
}

/// A socket for `at` and nobody else's: one that shared its port from the start could be given a port that is somebody's already,
/// whose datagrams would then come here.
pub(super) fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(at)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Another socket for the port of `first`. At the same address each gets a part of the datagrams; where `first` is for all addresses
/// and `at` one of them, that one's are no longer its.
pub(super) fn bind_beside(first: &UdpSocket, at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(at)?;
    #[cfg(unix)]
    {
        SockRef::from(first).set_reuse_port(true)?;
        socket.set_reuse_port(true)?;
    }
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn open(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        // `[::]` takes IPv4 as well, whatever the system's default.
        let _ = socket.set_only_v6(false);
    }
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_read_timeout(Some(IDLE))?;
    Ok(socket)
}

impl Worker {
    /// Serves `socket` until it is dropped.
    pub(super) fn start(
        socket: UdpSocket,
        shared: Shared,
        dice: Dice,
        defer: Option<Defer>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mine, stopped) = (socket.try_clone()?, stop.clone());
        let work = move || serve(&mine, &shared, dice, &stopped, defer.as_ref());
        let thread = thread::Builder::new().name("tracker udp".to_owned()).spawn(work)?;
        Ok(Self { stop, socket, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Linux wakes who reads an unconnected socket that is shut down, though it says that it cannot.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic in a worker has been printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

fn serve(
    socket: &UdpSocket,
    Shared { service, meetings, watch }: &Shared,
    mut dice: Dice,
    stop: &AtomicBool,
    defer: Option<&Defer>,
) {
    let mut batch = Batch::new();
    let mut answers: Vec<(Vec<u8>, SocketAddr)> =
        (0..BATCH).map(|_| (Vec::with_capacity(DATAGRAM_MAX), ([0, 0, 0, 0], 0).into())).collect();
    while !stop.load(Ordering::Relaxed) {
        let mut filled = 0;
        let received = batch.receive(socket, |datagrams| {
            // One look at the clock a batch.
            let now = watch.now();
            service.warm(datagrams.iter().map(|(bytes, _)| *bytes));
            for (bytes, from) in datagrams {
                let (answer, to) = &mut answers[filled];
                *to = *from;
                if is_word(bytes) {
                    meetings.word(now, &mut dice, socket, (*from, bytes), answer);
                } else {
                    let elsewhere = defer.filter(|defer| {
                        service.must_look_elsewhere(now, *from, bytes) && defer(bytes, *from)
                    });
                    if elsewhere.is_some() {
                        continue;
                    }
                    service.datagram(now, &mut dice, *from, bytes, answer);
                }
                filled += usize::from(!answer.is_empty());
            }
        });
        match received {
            Ok(()) => batch.send(socket, &answers[..filled]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "tracker's UDP socket");
                thread::sleep(ERROR_PAUSE);
            }
        }
    }
}
