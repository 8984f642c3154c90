//! A way of some length: bytes come out as they went in, half the distance later. Threads, because a runtime's timers are as coarse
//! as what is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A way to `to` that is `away` long, there and back. It ends with the process.
pub(crate) fn start(to: SocketAddr, away: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(to)) else { continue };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            delay(near.try_clone().unwrap(), far.try_clone().unwrap(), away / 2);
            delay(far, near, away / 2);
        }
    });
    at
}

fn delay(mut from: TcpStream, mut to: TcpStream, by: Duration) {
    let (send, queue) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if send.send((Instant::now() + by, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in queue {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // The end of one direction, or of both if nobody takes it any more.
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
