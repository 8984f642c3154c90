//! Sockets in memory behind homes' uplinks: with time paused, quinn runs in virtual time.

use std::collections::BTreeMap;
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

/// Lines of homes, all alike: each of these addresses sends through its own, all others are next to the far end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) homes: Vec<SocketAddr>,
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
    /// When the line of a home has sent what waits.
    free_at: BTreeMap<SocketAddr, Instant>,
    /// Bytes that each home's line has carried.
    pub(super) carried: BTreeMap<SocketAddr, u64>,
    /// What was sent since somebody began to listen: from, to, and what.
    pub(super) heard: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    dice: Dice,
    inboxes: BTreeMap<SocketAddr, Arc<Mutex<Inbox>>>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// By when they come, and in the order they were sent in.
    datagrams: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    count: u64,
    /// From when to when the machine is busy next, or was last.
    busy: Option<(Instant, Instant)>,
    reader: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// 20 ms of round trip and 300 ms of buffer, as homes have it.
    pub(super) fn new(homes: &[SocketAddr], rate: f64, loss: u64, busy: Duration) -> Arc<Self> {
        let (free_at, carried, inboxes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let state = Mutex::new(State { free_at, carried, heard: None, dice: Dice::new(7), inboxes });
        let (buffer, delay) = (Duration::from_millis(300), Duration::from_millis(10));
        Arc::new(Self { homes: homes.to_vec(), rate, buffer, delay, loss, busy, state })
    }

    pub(super) fn socket(self: &Arc<Self>, addr: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        let inbox = Arc::<Mutex<Inbox>>::default();
        self.state.lock().unwrap().inboxes.insert(addr, Arc::clone(&inbox));
        Arc::new(Socket { addr, link: Arc::clone(self), inbox })
    }

    /// What a packet that goes into the line of `home` now would wait.
    pub(super) fn queue(&self, home: SocketAddr) -> Duration {
        let now = Instant::now();
        let state = self.state.lock().unwrap();
        state.free_at.get(&home).map_or(Duration::ZERO, |free_at| free_at.saturating_duration_since(now))
    }

    /// Somebody else in `home` sends so much that whatever comes next waits for `queue`.
    pub(super) fn flood(&self, home: SocketAddr, queue: Duration) {
        let mut state = self.state.lock().unwrap();
        let full = Instant::now() + queue;
        let free_at = state.free_at.entry(home).or_insert(full);
        *free_at = full.max(*free_at);
    }

    pub(super) fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        if let Some(heard) = &mut state.heard {
            heard.push((from, to, bytes.to_vec()));
        }
        let mut at = Instant::now();
        if state.dice.next_u64() % 1_000 < self.loss {
            return;
        }
        if self.homes.contains(&from) {
            let free_at = state.free_at.get(&from).map_or(at, |free_at| at.max(*free_at));
            if free_at - at > self.buffer {
                return;
            }
            let size = bytes.len() + HEADERS;
            at = free_at + Duration::from_secs_f64(size as f64 / self.rate);
            state.free_at.insert(from, at);
            *state.carried.entry(from).or_default() += size as u64;
        }
        at += self.delay;
        let busy = if state.dice.chance(0.5) { self.busy.mul_f64(state.dice.unit()) } else { Duration::ZERO };
        let Some(inbox) = state.inboxes.get(&to) else { return };
        let mut inbox = inbox.lock().unwrap();
        match inbox.busy {
            Some((from, until)) if at <= until => at = if at < from { at } else { until },
            _ => {
                inbox.busy = Some((at, at + busy));
                at += busy;
            }
        }
        inbox.count += 1;
        let key = (at, inbox.count);
        inbox.datagrams.insert(key, (from, bytes.to_vec()));
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
                && let Some(first) = inbox.datagrams.first_entry()
                && first.key().0 <= Instant::now()
            {
                let (from, bytes) = first.remove();
                bufs[count][..bytes.len()].copy_from_slice(&bytes);
                metas[count] =
                    RecvMeta { addr: from, len: bytes.len(), stride: bytes.len(), ..RecvMeta::default() };
                count += 1;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            inbox.reader = Some(cx.waker().clone());
            let Some(((at, _), _)) = inbox.datagrams.first_key_value() else { return Poll::Pending };
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
