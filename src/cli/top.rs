//! `pcdn top`: a running node in the terminal, by its admin API.

mod view;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use pcdn_core::resource::Url;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::http::call::{Call, CallError};
use view::Shot;

/// How often the node is asked: as often as it looks at itself.
const EVERY: Duration = Duration::from_secs(1);
/// Where the terminal does not tell its size.
const SIZE: (usize, usize) = (100, 30);
/// A screen of its own, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let at = format!("http://{}", config.admin.listen);
    let url = Url::parse(&at)
        .map_err(|e| Failure::new(Exit::Config, format!("--admin {}: {e}", config.admin.listen)))?;
    let node = Call::new(url, None).map_err(failed)?;
    if config.json {
        let (status, swarms, peers): (serde_json::Value, serde_json::Value, serde_json::Value) =
            ask(&node).await?;
        return tell::json(&json!({ "status": status, "swarms": swarms, "peers": peers }));
    }
    if !std::io::stdout().is_terminal() {
        let shot = shoot(&node).await?;
        return tell::out(view::frame(None, &shot, (usize::MAX, usize::MAX)).trim_end());
    }
    watch(&node).await
}

/// Draws until stopped, or until the node is gone.
async fn watch(node: &Call) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    let mut last = shoot(node).await?;
    let _screen = Screen::enter();
    draw(&view::frame(None, &last, size()));
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(Exit::Done),
            _ = every.tick() => {}
        }
        let shot = shoot(node).await?;
        draw(&view::frame(Some(&last), &shot, size()));
        last = shot;
    }
}

async fn shoot(node: &Call) -> Result<Shot, Failure> {
    let (status, swarms, peers) = ask(node).await?;
    Ok(Shot { at: Instant::now(), status, swarms, peers })
}

async fn ask<A, B, C>(node: &Call) -> Result<(A, B, C), Failure>
where
    A: serde::de::DeserializeOwned,
    B: serde::de::DeserializeOwned,
    C: serde::de::DeserializeOwned,
{
    let (status, swarms, peers) =
        (node.get("/api/v1/status"), node.get("/api/v1/swarms"), node.get("/api/v1/peers"));
    tokio::try_join!(status, swarms, peers).map_err(failed)
}

fn failed(error: CallError) -> Failure {
    match error {
        CallError::Silent { .. } => {
            Failure::other(format!("{error}; is it running, and is this its --admin address?"))
        }
        _ => Failure::other(error),
    }
}

fn size() -> (usize, usize) {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout())
        && size.ws_col > 0
        && size.ws_row > 0
    {
        return (size.ws_col.into(), size.ws_row.into());
    }
    SIZE
}

/// Over what was there, line by line: a screen that is emptied first flickers.
fn draw(frame: &str) {
    let mut out = String::from("\x1b[H");
    for line in frame.lines() {
        out.push_str(line);
        out.push_str("\x1b[K\r\n");
    }
    write(out.trim_end_matches("\r\n"));
    write("\x1b[J");
}

/// A terminal that is gone is no reason to fail.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The terminal's other screen, while this lives.
struct Screen;

impl Screen {
    fn enter() -> Self {
        write(ENTER);
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}
