//! xiu, a live server, made of its own crates: RTMP in, HTTP-FLV out.   pcdn-flv-server RTMP-PORT HTTP-PORT
//!
//! Its habits are not node-media-server's: no Content-Type, an answer before there is a stream, onMetaData without the string
//! before it, and the group of pictures a client joins in may have the sequence headers once more.

use std::env;

use log::{LevelFilter, Log, Metadata, Record};
use rtmp::channels::ChannelsManager;
use rtmp::rtmp::RtmpServer;

/// Its words on standard error: the only place where it says why a session ended.
struct Words;

impl Log for Words {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }
    fn log(&self, record: &Record) {
        eprintln!("{}: {}", record.target(), record.args());
    }
    fn flush(&self) {}
}

#[tokio::main]
async fn main() {
    let ports: Vec<u16> = env::args().skip(1).map_while(|word| word.parse().ok()).collect();
    let [rtmp, http] = ports[..] else { panic!("usage: pcdn-flv-server RTMP-PORT HTTP-PORT") };
    log::set_logger(&Words).expect("there is no other");
    log::set_max_level(LevelFilter::Info);
    let mut channels = ChannelsManager::new();
    let events = channels.get_channel_event_producer();
    let mut ingest = RtmpServer::new(format!("127.0.0.1:{rtmp}"), events.clone());
    tokio::select! {
        () = channels.run() => {}
        ended = ingest.run() => ended.expect("the RTMP port is free"),
        ended = httpflv::server::run(events, http.into()) => ended.expect("the HTTP port is free"),
    }
}
