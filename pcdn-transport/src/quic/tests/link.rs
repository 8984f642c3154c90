//! Sockets in memory behind one home's uplink: with time paused, quinn runs in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pcdn_core::dice::Dice;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep, sleep_until};

/// Headers of IP and UDP, which take time on the line, too.
const HEADERS: usize = 28;

/// The home's line: one address sends through it, all others are next to its far end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) home: SocketAddr,
    /// Bytes a second.
    pub(super) rate: f64,
    pub(super) buffer: Duration,
    /// Each way.
    pub(super) delay: Duration,
    /// Of a thousand packets, either way.
    pub(super) loss: u64,
    /// How long a machine at an end is busy with something else, half of the times that something comes.
    pub(super) busy: Duration,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    free_at: Instant,
    dice: Dice,
    inboxes: BTreeMap<SocketAddr, Arc<Mutex<Inbox>>>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    datagrams: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    busy_until: Option<Instant>,
    reader: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// 20 ms of round trip and 300 ms of buffer, as homes have it.
    pub(super) fn new(home: SocketAddr, rate: f64, loss: u64, busy: Duration) -> Arc<Self> {
        let state = State { free_at: Instant::now(), dice: Dice::new(7), inboxes: BTreeMap::new() };
        let (buffer, delay) = (Duration::from_millis(300), Duration::from_millis(10));
        Arc::new(Self { home, rate, buffer, delay, loss, busy, state: Mutex::new(state) })
    }

    pub(super) fn socket(self: &Arc<Self>, addr: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        let inbox = Arc::<Mutex<Inbox>>::default();
        self.state.lock().unwrap().inboxes.insert(addr, Arc::clone(&inbox));
        Arc::new(Socket { addr, link: Arc::clone(self), inbox })
    }

    /// What a packet that goes into the line now would wait.
    pub(super) fn queue(&self) -> Duration {
        self.state.lock().unwrap().free_at.saturating_duration_since(Instant::now())
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let mut at = Instant::now();
        if state.dice.next_u64() % 1_000 < self.loss {
            return;
        }
        if from == self.home {
            let free_at = state.free_at.max(at);
            if free_at - at > self.buffer {
                return;
            }
            state.free_at = free_at + Duration::from_secs_f64((bytes.len() + HEADERS) as f64 / self.rate);
            at = state.free_at;
        }
        at += self.delay;
        let busy = if state.dice.chance(0.5) { self.busy.mul_f64(state.dice.unit()) } else { Duration::ZERO };
        let Some(inbox) = state.inboxes.get(&to) else { return };
        let mut inbox = inbox.lock().unwrap();
        if inbox.busy_until.is_none_or(|until| until < at) {
            inbox.busy_until = Some(at + busy);
        }
        at = inbox.busy_until.map_or(at, |until| until.max(at));
        inbox.datagrams.push_back((at, from, bytes.to_vec()));
        if let Some(reader) = inbox.reader.take() {
            reader.wake();
        }
    }
}

#[derive(Debug)]
struct Socket {
    addr: SocketAddr,
    link: Arc<Link>,
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.link.send(self.addr, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock().unwrap();
        loop {
            let mut count = 0;
            while count < bufs.len()
                && inbox.datagrams.front().is_some_and(|(at, ..)| *at <= Instant::now())
                && let Some((_, from, bytes)) = inbox.datagrams.pop_front()
            {
                bufs[count][..bytes.len()].copy_from_slice(&bytes);
                metas[count] =
                    RecvMeta { addr: from, len: bytes.len(), stride: bytes.len(), ..RecvMeta::default() };
                count += 1;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            inbox.reader = Some(cx.waker().clone());
            let Some((at, ..)) = inbox.datagrams.front() else { return Poll::Pending };
            let mut timer = Box::pin(sleep_until(*at));
            if timer.as_mut().poll(cx).is_pending() {
                inbox.timer = Some(timer);
                return Poll::Pending;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
