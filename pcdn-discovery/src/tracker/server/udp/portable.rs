//! One system call a datagram, where there is nothing better.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::RECEIVE_BYTES;

/// Room for a datagram.
pub(in crate::tracker::server) struct Batch {
    room: [u8; RECEIVE_BYTES],
}

impl Batch {
    pub(in crate::tracker::server) fn new() -> Self {
        Self { room: [0; RECEIVE_BYTES] }
    }

    /// Waits for a datagram and calls `all` with it.
    pub(in crate::tracker::server) fn receive(
        &mut self,
        socket: &UdpSocket,
        all: impl FnOnce(&[(&[u8], SocketAddr)]),
    ) -> io::Result<()> {
        let (len, from) = socket.recv_from(&mut self.room)?;
        all(&[(&self.room[..len], from)]);
        Ok(())
    }

    /// Sends `answers`. What the system will not take is lost: clients ask again.
    pub(in crate::tracker::server) fn send(&mut self, socket: &UdpSocket, answers: &[(Vec<u8>, SocketAddr)]) {
        for (bytes, to) in answers {
            let _ = socket.send_to(bytes, to);
        }
    }
}
