//! The sockets around the [`Machine`]: one task, started by the first call, ended when the last handle is gone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::unit::Time;
use tokio::io::ReadBuf;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::machine::{Failure, Input, Machine, Output, Speaks, Ticket};
use super::{CALL_MAX, Proofs, Reply};
use crate::tracker::reach::{Reach, believable};
use crate::tracker::wire::{Answer, DATAGRAM_MAX, Request, records};

/// Requests waiting for the task, and under way in it. A node with more swarms than that announces in turns.
const ASKS_MAX: usize = 64;
/// Addresses of one name that are tried.
const PATHS_MAX: usize = 4;
/// How long name resolution may take: what is left of [`CALL_MAX`] is enough for three tries.
const RESOLVE_MAX: Duration = Duration::from_secs(2);

/// Where calls meet the task.
#[derive(Debug)]
pub(super) struct Handle {
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    from: Option<IpAddr>,
}

#[derive(Debug)]
struct Ask {
    request: Request,
    reply: oneshot::Sender<Result<Reply, Failure>>,
}

impl Handle {
    /// Sends from an address of this machine; `None`: as the system routes.
    pub(super) fn new(from: Option<IpAddr>) -> Self {
        Self { asks: Mutex::default(), from }
    }

    pub(super) fn from(&self) -> Option<IpAddr> {
        self.from
    }

    pub(super) async fn ask(&self, host: &str, proofs: &Proofs, request: Request) -> Result<Reply, Failure> {
        let (reply, answer) = oneshot::channel();
        let asks = self.task(host, proofs);
        asks.send(Ask { request, reply }).await.map_err(|_| Failure::Silent)?;
        answer.await.map_err(|_| Failure::Silent)?
    }

    /// The task, started anew if there is none or its runtime is gone.
    fn task(&self, host: &str, proofs: &Proofs) -> mpsc::Sender<Ask> {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        match asks.as_ref().filter(|asks| !asks.is_closed()) {
            Some(asks) => asks.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(ASKS_MAX);
                tokio::spawn(run(host.to_owned(), self.from, proofs.clone(), receiver));
                asks.insert(sender).clone()
            }
        }
    }
}

async fn run(host: String, from: Option<IpAddr>, proofs: Proofs, mut asks: mpsc::Receiver<Ask>) {
    let mut dice = Dice::new(getrandom::u64().unwrap_or(0x7063_646e));
    let mut speaks = Speaks::Native;
    while let Some(first) = asks.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        match resolve(&host, from).await {
            Ok(sockets) => {
                let talk = Talk::new(sockets, proofs.clone(), speaks);
                speaks = talk.run(first, &mut asks, &mut dice).await;
            }
            Err(failure) => _ = first.reply.send(Err(failure)),
        }
    }
}

/// A connected socket for each address of `host`: connected ones receive from the tracker alone, and hear when nobody listens.
async fn resolve(host: &str, from: Option<IpAddr>) -> Result<Vec<UdpSocket>, Failure> {
    let found = timeout(RESOLVE_MAX, lookup_host(host)).await.map_err(|_| Failure::Silent)?;
    let addrs: Vec<SocketAddr> = match found {
        Ok(addrs) => addrs.take(PATHS_MAX).collect(),
        Err(error) => {
            tracing::debug!(%host, %error, "tracker name does not resolve");
            return Err(Failure::Silent);
        }
    };
    let mut sockets = Vec::new();
    let mut last = None;
    for addr in addrs {
        match open(addr, from).await {
            Ok(socket) => sockets.push(socket),
            Err(error) => last = Some(error),
        }
    }
    match (sockets.is_empty(), last) {
        (false, _) => Ok(sockets),
        (true, Some(error)) => Err(Failure::Address(error.to_string())),
        (true, None) => Err(Failure::Silent),
    }
}

async fn open(addr: SocketAddr, from: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any = if addr.is_ipv4() {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    };
    if let Some(from) = from.filter(|from| from.is_ipv4() == addr.is_ipv4()) {
        // No way leads there from it, perhaps: then from where one does.
        if let Ok(socket) = connected((from, 0).into(), addr).await {
            return Ok(socket);
        }
    }
    connected((any, 0).into(), addr).await
}

async fn connected(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// The machine, its sockets and those who wait. Ends when the tracker falls silent, so that its name is resolved again.
struct Talk {
    machine: Machine,
    sockets: Vec<UdpSocket>,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Reply, Failure>>>,
    tickets: Ticket,
    /// The farthest of its addresses.
    tracker: IpAddr,
    start: Instant,
}

/// What woke the task.
enum Event {
    Ask(Option<Ask>),
    Arrived(usize, io::Result<usize>),
    Due,
}

impl Talk {
    fn new(sockets: Vec<UdpSocket>, proofs: Proofs, speaks: Speaks) -> Self {
        let machine = Machine::new(sockets.len(), proofs.secret).with_token(proofs.token).speaking(speaks);
        let addrs = sockets.iter().flat_map(|socket| socket.peer_addr()).map(|addr| addr.ip());
        let tracker = addrs.max_by_key(|ip| Reach::of(*ip)).unwrap_or(Ipv4Addr::BROADCAST.into());
        Self { machine, sockets, waiting: HashMap::new(), tickets: 0, tracker, start: Instant::now() }
    }

    /// Until the tracker falls silent or nobody asks any more; what it was found to speak.
    async fn run(mut self, first: Ask, asks: &mut mpsc::Receiver<Ask>, dice: &mut Dice) -> Speaks {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut event = Event::Ask(Some(first));
        loop {
            let now = Time(self.start.elapsed().as_micros() as u64);
            match event {
                Event::Ask(Some(ask)) => {
                    self.tickets += 1;
                    self.waiting.insert(self.tickets, ask.reply);
                    self.machine.handle(now, dice, Input::Ask(self.tickets, ask.request));
                }
                Event::Ask(None) => return self.machine.speaks(),
                Event::Arrived(path, Ok(len)) => {
                    self.machine.handle(now, dice, Input::Datagram { path, bytes: &buffer[..len] });
                }
                Event::Arrived(path, Err(_)) => self.machine.handle(now, dice, Input::Unreachable { path }),
                Event::Due => {
                    self.forget_gone(now, dice);
                    self.machine.handle(now, dice, Input::Wake);
                }
            }
            let silent = self.act().await;
            if silent && self.machine.is_empty() {
                return self.machine.speaks();
            }
            event = self.next(asks, &mut buffer).await;
        }
    }

    async fn next(&self, asks: &mut mpsc::Receiver<Ask>, buffer: &mut [u8]) -> Event {
        let wake = self.machine.next_wake();
        let due = self.start + Duration::from_micros(wake.map_or(0, |at| at.0));
        tokio::select! {
            ask = asks.recv(), if self.machine.len() < ASKS_MAX => Event::Ask(ask),
            (path, result) = receive(&self.sockets, buffer) => Event::Arrived(path, result),
            () = sleep_until(due), if wake.is_some() => Event::Due,
        }
    }

    /// Does what the machine wants; whether somebody was told that the tracker is silent.
    async fn act(&mut self) -> bool {
        let mut silent = false;
        while let Some(output) = self.machine.poll() {
            match output {
                // A failing socket is a lost datagram: the retry is the cure.
                Output::Send { path, bytes } => _ = self.sockets[path].send(&bytes).await,
                Output::Done(ticket, result) => {
                    silent |= result == Err(Failure::Silent);
                    if let Some(reply) = self.waiting.remove(&ticket) {
                        // The caller may have left.
                        let _ = reply.send(result.and_then(|answer| self.reply(answer)));
                    }
                }
            }
        }
        silent
    }

    fn reply(&self, answer: Answer) -> Result<Reply, Failure> {
        let (interval_s, peers) = match answer {
            Answer::Announced { interval_s, peers, .. } => (Some(interval_s), peers),
            Answer::Found { peers, .. } => (None, peers),
            Answer::Reported(reported) => {
                return Ok(Reply { interval: None, peers: Vec::new(), reported: Some(reported) });
            }
            _ => return Err(Failure::Silent),
        };
        let interval = interval_s.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Reply { interval, peers: believable(records(&peers), self.tracker), reported: None })
    }

    fn forget_gone(&mut self, now: Time, dice: &mut Dice) {
        let gone: Vec<Ticket> = self.waiting.iter().filter(|(_, r)| r.is_closed()).map(|(t, _)| *t).collect();
        for ticket in gone {
            self.waiting.remove(&ticket);
            self.machine.handle(now, dice, Input::Forget(ticket));
        }
    }
}

/// The next datagram of any of `sockets`.
async fn receive(sockets: &[UdpSocket], buffer: &mut [u8]) -> (usize, io::Result<usize>) {
    std::future::poll_fn(|cx| {
        for (path, socket) in sockets.iter().enumerate() {
            let mut buffer = ReadBuf::new(buffer);
            if let Poll::Ready(result) = socket.poll_recv(cx, &mut buffer) {
                return Poll::Ready((path, result.map(|()| buffer.filled().len())));
            }
        }
        Poll::Pending
    })
    .await
}

const _: () = assert!(RESOLVE_MAX.as_millis() < CALL_MAX.as_millis());
