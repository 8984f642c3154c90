//! QUIC's side of a shared socket.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::Detours;

/// Trains that wait for QUIC to read them, at most: 4 MiB if all are of the longest kind, as the socket's own buffer. What
/// comes beyond is lost, as it would be there.
const TRAINS_MAX: usize = 64;
/// Set in every packet of QUIC, and in none of ours.
const FIXED_BIT: u8 = 0x40;

/// Datagrams of one sender, all but the last of equal length, in one piece.
#[derive(Debug)]
struct Train {
    meta: RecvMeta,
    bytes: Bytes,
}

/// Where the reader of the socket puts what is QUIC's.
#[derive(Debug)]
pub(crate) struct Siding(mpsc::Sender<Train>);

impl Siding {
    /// Hands the datagrams of a train that are ours to `ours`, and leaves runs of the others here.
    pub(crate) fn switch(&self, meta: &RecvMeta, train: &mut [u8], mut ours: impl FnMut(&mut [u8])) {
        let stride = meta.stride.max(1);
        let (mut run, mut at) = (0, 0);
        while at < train.len() {
            let end = train.len().min(at + stride);
            if train[at] & FIXED_BIT == 0 {
                self.leave(meta, &train[run..at]);
                ours(&mut train[at..end]);
                run = end;
            }
            at = end;
        }
        self.leave(meta, &train[run..]);
    }

    fn leave(&self, meta: &RecvMeta, run: &[u8]) {
        if run.is_empty() {
            return;
        }
        let mut meta = *meta;
        (meta.len, meta.stride) = (run.len(), meta.stride.clamp(1, run.len()));
        // Full, or QUIC is closed: lost, as any datagram may be.
        let _ = self.0.try_send(Train { meta, bytes: Bytes::copy_from_slice(run) });
    }
}

/// The socket as quinn sees it.
pub(crate) struct Lane {
    socket: Arc<UdpSocket>,
    state: Arc<UdpSocketState>,
    trains: Mutex<mpsc::Receiver<Train>>,
    detours: Arc<Detours>,
}

impl Lane {
    pub(crate) fn beside(socket: Arc<UdpSocket>, state: Arc<UdpSocketState>) -> (Siding, Self) {
        let (siding, trains) = mpsc::channel(TRAINS_MAX);
        (Siding(siding), Self { socket, state, trains: Mutex::new(trains), detours: Arc::default() })
    }

    /// Where peers are who are not where their sessions know them.
    pub(crate) fn detours(&self) -> Arc<Detours> {
        Arc::clone(&self.detours)
    }
}

impl AsyncUdpSocket for Lane {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: Arc::clone(&self.socket), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Transmit { destination, ecn, contents, segment_size, src_ip } = *transmit;
        let destination = self.detours.to(destination);
        let transmit = Transmit { destination, ecn, contents, segment_size, src_ip };
        self.socket.try_io(Interest::WRITABLE, || self.state.send((&*self.socket).into(), &transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut trains = self.trains.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            match trains.poll_recv(cx) {
                Poll::Ready(Some(train)) => {
                    let len = train.bytes.len().min(buf.len());
                    buf[..len].copy_from_slice(&train.bytes[..len]);
                    (*meta, meta.len) = (train.meta, len);
                    meta.addr = self.detours.back(meta.addr);
                    count += 1;
                }
                // Nobody reads the socket any more. An error would end quinn before it has said goodbye.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({:?})", self.socket)
    }
}

/// Waits until the socket takes something.
struct Writable {
    socket: Arc<UdpSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.writable().await }));
        let writable = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(writable)
    }
}

impl std::fmt::Debug for Writable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writable({:?})", self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(len: usize, stride: usize) -> RecvMeta {
        RecvMeta { len, stride, ..RecvMeta::default() }
    }

    proptest::proptest! {
        #[test]
        fn every_datagram_goes_to_its_side_whole_and_in_order(
            firsts in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..40), stride in 1usize..30, cut in 0usize..30,
        ) {
            let mut train: Vec<u8> = firsts.iter().enumerate().flat_map(|(n, first)| {
                let mut datagram = vec![n as u8; stride];
                datagram[0] = *first;
                datagram
            }).collect();
            train.truncate(train.len() - cut.min(stride - 1));
            let all: Vec<Vec<u8>> = train.chunks(stride).map(<[u8]>::to_vec).collect();
            let (sender, mut left) = mpsc::channel(64);
            let mut ours = Vec::new();
            Siding(sender).switch(&meta(train.len(), stride), &mut train, |datagram| ours.push(datagram.to_vec()));
            let mut quic = Vec::new();
            while let Ok(train) = left.try_recv() {
                assert_eq!(train.meta.len, train.bytes.len());
                quic.extend(train.bytes.chunks(train.meta.stride).map(<[u8]>::to_vec));
            }
            let (theirs, mine): (Vec<_>, Vec<_>) = all.into_iter().partition(|datagram| datagram[0] & 0x40 != 0);
            assert_eq!((theirs, mine), (quic, ours));
        }
    }

    #[test]
    fn what_quic_does_not_read_is_lost_and_bounded() {
        let (sender, mut left) = mpsc::channel(TRAINS_MAX);
        let siding = Siding(sender);
        for _ in 0..10 * TRAINS_MAX {
            siding.switch(&meta(3, 3), &mut [0xc0, 1, 2], |_| panic!("not ours"));
        }
        assert_eq!(std::iter::from_fn(|| left.try_recv().ok()).count(), TRAINS_MAX);
        drop(left);
        siding.switch(&meta(3, 3), &mut [0xc0, 1, 2], |_| panic!("not ours"));
    }
}
