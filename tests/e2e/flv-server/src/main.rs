//! xiu, a live server, made of its own crates: RTMP in, HTTP-FLV out.   pcdn-flv-server RTMP-PORT HTTP-PORT
//!
//! Its habits are not node-media-server's: no Content-Type, an answer before there is a stream, onMetaData without the string
//! before it, and the group of pictures a client joins in may have the sequence headers once more.

use std::env;

use log::{LevelFilter, Log, Metadata, Record};
use rtmp::channels::ChannelsManager;
use rtmp::channels::define::{ChannelDataConsumer, ChannelEvent, ChannelEventProducer};
use rtmp::rtmp::RtmpServer;
use rtmp::session::common::SubscriberInfo;
use rtmp::session::define::SubscribeType;
use tokio::sync::{mpsc, oneshot};

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

/// Stands between the clients and the streams. xiu sends a client what it begins with and, if the client has left by then, takes
/// that for the end of the stream: whoever left at once ended the publisher's session for all. So the one that asks for a
/// stream stays, until the stream knows that it leaves.
async fn guard(mut asked: mpsc::UnboundedReceiver<ChannelEvent>, events: ChannelEventProducer) {
    while let Some(event) = asked.recv().await {
        let ChannelEvent::Subscribe { app_name, stream_name, info, responder } = event else {
            let _ = events.send(event);
            continue;
        };
        let (to, given) = oneshot::channel();
        let leaves = ChannelEvent::UnSubscribe {
            app_name: app_name.clone(),
            stream_name: stream_name.clone(),
            info: SubscriberInfo { id: info.id, sub_type: SubscribeType::PlayerHttpFlv },
        };
        let _ = events.send(ChannelEvent::Subscribe { app_name, stream_name, info, responder: to });
        let events = events.clone();
        tokio::spawn(async move {
            // Dropped, the responder says that there is no such stream yet.
            if let Ok(given) = given.await {
                pass_on(given, responder, || _ = events.send(leaves)).await;
            }
        });
    }
}

/// Passes on what a stream gives until the client leaves; then says so, and takes the rest.
async fn pass_on(
    mut given: ChannelDataConsumer,
    client: oneshot::Sender<ChannelDataConsumer>,
    leave: impl FnOnce(),
) {
    let (to, taken) = mpsc::unbounded_channel();
    if client.send(taken).is_ok() {
        while let Some(data) = given.recv().await {
            if to.send(data).is_err() {
                break;
            }
        }
    }
    leave();
    while given.recv().await.is_some() {}
}

#[tokio::main]
async fn main() {
    let ports: Vec<u16> = env::args().skip(1).map_while(|word| word.parse().ok()).collect();
    let [rtmp, http] = ports[..] else { panic!("usage: pcdn-flv-server RTMP-PORT HTTP-PORT") };
    log::set_logger(&Words).expect("there is no other");
    log::set_max_level(LevelFilter::Info);
    let mut channels = ChannelsManager::new();
    let events = channels.get_channel_event_producer();
    let (ask, asked) = mpsc::unbounded_channel();
    tokio::spawn(guard(asked, events.clone()));
    let mut ingest = RtmpServer::new(format!("127.0.0.1:{rtmp}"), events);
    tokio::select! {
        () = channels.run() => {}
        ended = ingest.run() => ended.expect("the RTMP port is free"),
        ended = httpflv::server::run(ask, http.into()) => ended.expect("the HTTP port is free"),
    }
}
