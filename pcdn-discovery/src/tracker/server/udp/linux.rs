//! recvmmsg and sendmmsg.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::{BATCH, RECEIVE_BYTES};

/// Room for a batch of datagrams, and what the system calls want besides.
pub(in crate::tracker::server) struct Batch {
    room: Vec<[u8; RECEIVE_BYTES]>,
    incoming: MultiHeaders<SockaddrStorage>,
    outgoing: MultiHeaders<SockaddrStorage>,
}

impl Batch {
    pub(in crate::tracker::server) fn new() -> Self {
        Self {
            room: vec![[0; RECEIVE_BYTES]; BATCH],
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Waits for a datagram and calls `all` with it and those that wait behind it, [`BATCH`] at most.
    pub(in crate::tracker::server) fn receive(
        &mut self,
        socket: &UdpSocket,
        all: impl FnOnce(&[(&[u8], SocketAddr)]),
    ) -> io::Result<()> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.room.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let results = recvmmsg(socket.as_raw_fd(), &mut self.incoming, slices.iter_mut(), flags, None)?;
        let received = results.filter_map(|message| {
            let from = message.address.as_ref().and_then(address)?;
            Some((message.iovs().next()?, from))
        });
        all(&received.collect::<Vec<_>>());
        Ok(())
    }

    /// Sends `answers`, [`BATCH`] at most. What the system will not take is lost: clients ask again.
    pub(in crate::tracker::server) fn send(&mut self, socket: &UdpSocket, answers: &[(Vec<u8>, SocketAddr)]) {
        let mut left = answers;
        while !left.is_empty() {
            let slices: Vec<[IoSlice<'_>; 1]> = left.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
            let to: Vec<Option<SockaddrStorage>> = left.iter().map(|(_, to)| Some((*to).into())).collect();
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.outgoing,
                slices.iter(),
                to,
                [],
                MsgFlags::MSG_DONTWAIT,
            );
            // The first that cannot be sent ends the call and is named by the next one: one to nowhere must not cost the others.
            let done = sent.map_or(1, |sent| sent.count().max(1));
            left = left.get(done..).unwrap_or_default();
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
        (_, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
        _ => None,
    }
}
