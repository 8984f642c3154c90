//! The sockets beside the tracker's own, from which nodes are answered so that they learn what their NATs let in.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use pcdn_core::dice::Dice;
use pcdn_core::peer::Reach;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{AnswerFrom, is_word};
use socket2::SockRef;

use super::udp::{self, Batch};
use super::{ERROR_PAUSE, Watch};
use crate::tracker::meet::{MeetingPoint, Members, Points};
use crate::tracker::service::Service;

/// The meeting point and its sockets.
pub(super) struct Meetings {
    point: MeetingPoint,
    service: Arc<Service>,
    other_port: Option<UdpSocket>,
    other_address: Option<UdpSocket>,
}

/// A socket's thread. Dropping it stops it.
pub(super) struct Desk {
    stop: Arc<AtomicBool>,
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Meetings {
    /// Beside a tracker at `local`. A port that cannot be had is one thing less that nodes can find out, and no more.
    pub(super) fn bind(
        local: SocketAddr,
        second: Option<IpAddr>,
        key: [u8; 32],
        service: Arc<Service>,
    ) -> Arc<Self> {
        let next = local.port().checked_add(1);
        let other_port = next
            .and_then(|port| udp::bind(SocketAddr::new(local.ip(), port)).ok())
            .or_else(|| udp::bind(SocketAddr::new(local.ip(), 0)).ok());
        let second = second.or_else(|| second_address(local.ip()));
        let other_address = second.zip(other_port.as_ref()).and_then(|(ip, socket)| {
            let port = socket.local_addr().ok()?.port();
            udp::bind_beside(socket, SocketAddr::new(ip, port)).ok()
        });
        let at = |socket: &Option<UdpSocket>| socket.as_ref().and_then(|socket| socket.local_addr().ok());
        let points = Points { other_port: at(&other_port), other_address: at(&other_address) };
        tracing::debug!(?points, "nodes behind NATs are answered from here, too");
        Arc::new(Self { point: MeetingPoint::new(key, points), service, other_port, other_address })
    }

    /// Threads that answer at the other points.
    pub(super) fn desks(self: &Arc<Self>, watch: Watch) -> io::Result<Vec<Desk>> {
        let sockets = [&self.other_port, &self.other_address];
        sockets.into_iter().flatten().map(|socket| Desk::start(socket, self.clone(), watch)).collect()
    }

    /// Does what a word that came to `main` asks. An answer from there to `from` is left in `out`; what goes elsewhere is sent.
    pub(super) fn word(
        &self,
        now: Time,
        dice: &mut Dice,
        main: &UdpSocket,
        (from, word): (SocketAddr, &[u8]),
        out: &mut Vec<u8>,
    ) {
        out.clear();
        self.service.counters().words.fetch_add(1, Ordering::Relaxed);
        for send in self.point.handle(now, dice, self, from, word) {
            let socket = match send.from {
                AnswerFrom::Here if send.to == from && out.is_empty() => {
                    out.extend_from_slice(&send.bytes);
                    continue;
                }
                AnswerFrom::Here => Some(main),
                AnswerFrom::OtherPort => self.other_port.as_ref(),
                AnswerFrom::OtherAddress => self.other_address.as_ref(),
            };
            // What is lost is asked for again.
            socket.into_iter().for_each(|socket| _ = socket.send_to(&send.bytes, send.to));
        }
    }

    pub(super) fn expire(&self, now: Time) {
        self.point.expire(now);
    }
}

impl Members for Meetings {
    fn has(&self, ip: IpAddr, peer: &pcdn_core::id::PeerId) -> bool {
        self.service.table().has(ip, peer)
    }

    fn may_ask(&self, now: Time, ip: IpAddr) -> bool {
        self.service.table().may_call(now, ip)
    }
}

impl Desk {
    fn start(socket: &UdpSocket, meetings: Arc<Meetings>, watch: Watch) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mine, stopped) = (socket.try_clone()?, stop.clone());
        let work = move || serve(&mine, &meetings, watch, &stopped);
        let thread = thread::Builder::new().name("tracker meet".to_owned()).spawn(work)?;
        Ok(Self { stop, socket: socket.try_clone()?, thread: Some(thread) })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // As the tracker's workers are woken.
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

fn serve(socket: &UdpSocket, meetings: &Meetings, watch: Watch, stop: &AtomicBool) {
    // A socket that is shut down wakes its reader with a datagram from nobody, of which the standard library makes a panic now
    // and then; a batch leaves it out.
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        let mut answers = Vec::new();
        let received = batch.receive(socket, |datagrams| {
            let words = datagrams.iter().filter(|(bytes, _)| is_word(bytes));
            let answer = |(word, from): &(&[u8], SocketAddr)| {
                Some((meetings.point.elsewhere(watch.now(), *from, word)?, *from))
            };
            answers.extend(words.filter_map(answer));
        });
        match received {
            Ok(()) => batch.send(socket, &answers),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                tracing::debug!(%error, "tracker's second UDP socket");
                thread::sleep(ERROR_PAUSE);
            }
        }
    }
}

/// Another address of this host that reaches as far as the one it answers from, when it listens on all of one family.
fn second_address(listen: IpAddr) -> Option<IpAddr> {
    if !listen.is_unspecified() {
        return None;
    }
    let first = first_address(listen)?;
    let others = if_addrs::get_if_addrs().ok()?.into_iter().map(|interface| interface.ip());
    let fits =
        |ip: &IpAddr| *ip != first && ip.is_ipv4() == first.is_ipv4() && Reach::of(*ip) == Reach::of(first);
    others.filter(|ip| Reach::of(*ip) != Reach::Machine).find(fits)
}

/// The address from which the system sends to the world. Nothing is sent.
fn first_address(listen: IpAddr) -> Option<IpAddr> {
    let far = if listen.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let socket = UdpSocket::bind(SocketAddr::new(listen, 0)).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
