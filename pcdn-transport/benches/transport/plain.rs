//! The references: TCP, and UDP with nothing but segmentation offload and a cipher; an echo that feels queues.

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const DATAGRAM: usize = 1350;
/// Datagrams of one system call: 54 KB.
const TRAIN: usize = 40;
/// Trains a word of the reader asks for; two words are under way: 1.7 MB, less than the socket holds.
const ASKED: usize = 16;

/// Part of a process: `WHAT BYTES`; prints its address and sends to whoever says hello.
pub(crate) fn write(words: &[&str]) {
    let [what, bytes] = words else { return };
    match *what {
        "tcp" => write_tcp(bytes.parse().unwrap()),
        _ => write_udp(*what == "sealed"),
    }
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Reads `bytes` from a writer.
pub(crate) fn read(what: &str, from: SocketAddr, bytes: u64) {
    match what {
        "tcp" => read_tcp(from),
        _ => read_udp(from, bytes, what == "sealed"),
    }
}

fn write_tcp(bytes: u64) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (mut stream, buffer) = (listener.accept().unwrap().0, vec![7; 64 << 10]);
    (0..bytes / buffer.len() as u64).for_each(|_| stream.write_all(&buffer).unwrap());
}

fn read_tcp(from: SocketAddr) {
    let (mut stream, mut buffer) = (TcpStream::connect(from).unwrap(), vec![0; 64 << 10]);
    while stream.read(&mut buffer).unwrap() > 0 {}
}

/// Datagrams, sealed one by one or not, some each time the reader says a word; until it says 1.
fn write_udp(sealed: bool) {
    let socket = socket();
    println!("{}", socket.local_addr().unwrap());
    let state = UdpSocketState::new((&socket).into()).unwrap();
    // Which quinn-udp has made non-blocking.
    socket.set_nonblocking(false).unwrap();
    let (key, mut train, mut number, mut word) = (key(), Vec::new(), 0u64, [0; 1]);
    let mut reader = None;
    loop {
        match socket.recv_from(&mut word) {
            Ok((_, _)) if word == [1] => return,
            Ok((_, from)) => reader = Some(from),
            // What was lost is not repaired: after a moment the next go.
            Err(_) => {}
        }
        let Some(destination) = reader else { continue };
        for _ in 0..ASKED {
            train.clear();
            for _ in 0..TRAIN {
                number += 1;
                append(&mut train, sealed.then_some(&key), number);
            }
            let (contents, segment_size) = (train.as_slice(), Some(DATAGRAM));
            let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            state.send((&socket).into(), &transmit).unwrap();
        }
    }
}

fn read_udp(from: SocketAddr, bytes: u64, sealed: bool) {
    let socket = socket();
    let state = UdpSocketState::new((&socket).into()).unwrap();
    socket.set_nonblocking(false).unwrap();
    let (key, mut buffer) = (key(), vec![0; 1 << 16]);
    let (mut came, mut in_window) = (0, 0);
    (0..2).for_each(|_| _ = socket.send_to(&[0], from).unwrap());
    while came < bytes {
        let mut metas = [RecvMeta::default()];
        if state.recv((&socket).into(), &mut [IoSliceMut::new(&mut buffer)], &mut metas).is_err() {
            continue;
        }
        for datagram in buffer[..metas[0].len].chunks_mut(metas[0].stride) {
            came += open(datagram, sealed.then_some(&key)) as u64;
            in_window += 1;
        }
        if in_window >= ASKED * TRAIN {
            in_window -= ASKED * TRAIN;
            socket.send_to(&[0], from).unwrap();
        }
    }
    socket.send_to(&[1], from).unwrap();
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(4 << 20).unwrap();
    buffers.set_send_buffer_size(4 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[3; 16]).unwrap())
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn append(train: &mut Vec<u8>, key: Option<&LessSafeKey>, number: u64) {
    let start = train.len();
    train.extend_from_slice(&number.to_be_bytes());
    train.resize(start + DATAGRAM - if key.is_some() { 16 } else { 0 }, 7);
    if let Some(key) = key {
        let (header, plain) = train[start..].split_at_mut(8);
        let tag = key.seal_in_place_separate_tag(nonce(number), Aad::from(&*header), plain).unwrap();
        train.extend_from_slice(tag.as_ref());
    }
}

/// Bytes of content in a datagram.
fn open(datagram: &mut [u8], key: Option<&LessSafeKey>) -> usize {
    let (header, rest) = datagram.split_at_mut(8);
    let Some(key) = key else { return rest.len() };
    let number = u64::from_be_bytes((&*header).try_into().unwrap());
    key.open_in_place(nonce(number), Aad::from(&*header), rest).unwrap().len()
}

/// Part of a process: answers datagrams on port 7777.
pub(crate) fn echo() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7777)).unwrap();
    println!("ready");
    let mut buffer = [0; 64];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..len], from);
    }
}

/// Part of a process: `ADDRESS SECONDS`; prints mean and 95th percentile of the round trip in milliseconds, and the loss.
pub(crate) fn ping(words: &[&str]) {
    let [addr, seconds] = words else { return };
    let (addr, span) =
        (addr.parse::<SocketAddr>().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let reader = socket.try_clone().unwrap();
    let began = Instant::now();
    let answers = std::thread::spawn(move || {
        let (mut times, mut word) = (Vec::new(), [0; 8]);
        while reader.recv(&mut word).is_ok() {
            let sent = Duration::from_nanos(u64::from_be_bytes(word));
            times.push((began.elapsed() - sent).as_secs_f64() * 1e3);
        }
        times
    });
    let mut sent = 0;
    while began.elapsed() < span {
        let _ = socket.send_to(&(began.elapsed().as_nanos() as u64).to_be_bytes(), addr);
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut times = answers.join().unwrap();
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    println!("{mean} {} {}", times[times.len() * 95 / 100], 1.0 - times.len() as f64 / f64::from(sent));
}

/// Part of a process: swallows TCP connections on port 7778.
pub(crate) fn tcp_sink() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7778)).unwrap();
    println!("ready");
    while let Ok((mut stream, _)) = listener.accept() {
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
    }
}

/// Part of a process: `ADDRESS SECONDS`; sends all TCP gives, prints Mbit/s after a warm-up of two seconds.
pub(crate) fn tcp_pour(words: &[&str]) {
    let [addr, seconds] = words else { return };
    let (addr, span) =
        (addr.parse::<SocketAddr>().unwrap(), Duration::from_secs_f64(seconds.parse().unwrap()));
    let mut stream = TcpStream::connect(addr).unwrap();
    // What the kernel holds has not been sent: as little of it as one round trip needs.
    socket2::SockRef::from(&stream).set_send_buffer_size(1 << 20).unwrap();
    let (buffer, warm_up) = ([7; 16 << 10], Duration::from_secs(2));
    let began = Instant::now();
    let (mut sent, mut counted_from) = (0u64, None);
    while began.elapsed() < warm_up + span {
        stream.write_all(&buffer).unwrap();
        sent += buffer.len() as u64;
        if counted_from.is_none() && began.elapsed() >= warm_up {
            counted_from = Some((sent, Instant::now()));
        }
    }
    let (before, since) = counted_from.unwrap();
    println!("{}", (sent - before) as f64 * 8e-6 / since.elapsed().as_secs_f64());
}
