//! The socket: batches in, batches out, with the system's segmentation offload where there is one.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;

use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::shared::{Lane, Siding};

/// Asked for in both directions: 40 ms at 1 Gbit/s. The system may give less.
const BUFFER_BYTES: usize = 4 << 20;
/// Datagram trains read with one call.
const BATCH: usize = 8;
/// The longest train the system hands over.
const TRAIN_BYTES: usize = 1 << 16;

pub(crate) struct Socket {
    socket: Arc<UdpSocket>,
    state: Arc<UdpSocketState>,
    buffer: Vec<u8>,
    /// Where QUIC's datagrams go, if QUIC shares the socket.
    siding: Option<Siding>,
}

impl Socket {
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // A smaller buffer drops more in a burst, which is no reason not to run.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.bind(&addr.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let state = Arc::new(UdpSocketState::new((&*socket).into())?);
        Ok(Self { socket, state, buffer: vec![0; BATCH * TRAIN_BYTES], siding: None })
    }

    /// From now on QUIC's datagrams go to the lane, which can send as well.
    pub(crate) fn share(&mut self) -> Lane {
        let (siding, lane) = Lane::beside(Arc::clone(&self.socket), Arc::clone(&self.state));
        self.siding = Some(siding);
        lane
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Datagrams that may be sent in one call.
    pub(super) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Hands every datagram of one batch to `take`; `false` if there was none.
    pub(super) fn receive(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) -> bool {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut trains = self.buffer.chunks_mut(TRAIN_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| trains.next().expect("the buffer holds a batch"));
        let read = || self.state.recv((&*self.socket).into(), &mut slices, &mut metas);
        // Errors such as an ICMP "unreachable" for an earlier datagram concern nobody here.
        let Ok(count) = self.socket.try_io(Interest::READABLE, read) else { return false };
        for (train, meta) in slices.iter_mut().zip(&metas).take(count) {
            let len = meta.len.min(train.len());
            let ours = |datagram: &mut [u8]| take(meta.addr, datagram);
            match &self.siding {
                None => train[..len].chunks_mut(meta.stride.max(1)).for_each(ours),
                Some(siding) => siding.switch(meta, &mut train[..len], ours),
            }
        }
        true
    }

    /// Sends a train of datagrams; `false` if the system has no room now. What cannot be sent at all is lost.
    pub(super) fn send(&self, to: SocketAddr, contents: &[u8], segment: usize) -> bool {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit =
            quinn_udp::Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        let write = || self.state.try_send((&*self.socket).into(), &transmit);
        let sent = self.socket.try_io(Interest::WRITABLE, write);
        !sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socket({:?})", self.socket)
    }
}
