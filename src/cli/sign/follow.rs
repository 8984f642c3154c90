//! `pcdn sign --follow`: beside the packager of a live stream, until stopped.

use std::path::{Path, PathBuf};

use pcdn_core::fragment::Fragmenter as _;
use pcdn_core::id::Identity;
use pcdn_core::resource::Url;
use pcdn_core::verify::Manifest;
use pcdn_media::Flv;

use super::{missing, refuse_out};
use crate::cli::compose::origin;
use crate::cli::stop::Stop;
use crate::cli::{Exit, Failure, tell};
use crate::config::Config;
use crate::node::OpenError;
use crate::publish::{self, Follow, LOOK_EVERY, PublishError, Signed, SliceSigner};

/// Follows the playlists in a directory, or one playlist, which may be still to come.
pub(super) async fn files(what: &Path, config: &Config, key: Identity) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    if what.is_dir() {
        refuse_out(&config.sign)?;
    } else if !what.exists() && !what.parent().is_some_and(|dir| dir.as_os_str().is_empty() || dir.is_dir()) {
        return Err(Failure::new(Exit::Disk, format!("{}: there is no such directory", what.display())));
    }
    let signer = key.peer_id();
    let out = config.sign.out.as_ref().map(PathBuf::from);
    let mut follow = Follow::new(what, config.sign.base_url.clone(), out, key)?;
    ready(&what.display().to_string(), &signer.to_string());
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(Exit::Done),
            _ = looks.tick() => {}
        }
        let look = tokio::task::spawn_blocking(move || {
            let seen = follow.look();
            (follow, seen)
        });
        let seen;
        (follow, seen) = look.await.map_err(Failure::other)?;
        for one in seen {
            match one {
                Ok(signed) => said(&signed, config.json)?,
                // Mostly a playlist that is being written; it is looked at again when it changes.
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}

/// Signs the slices of the live HTTP-FLV stream at `url`.
pub(super) async fn stream(url: &str, config: &Config, key: Identity) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    let url: Url = url.parse().map_err(|e| Failure::new(Exit::Usage, format!("{url}: {e}")))?;
    let origin = origin(&config.node)?;
    let out = out_of(&url, config)?;
    let before = std::fs::read(&out).ok().and_then(|bytes| Manifest::parse(&bytes).ok());
    let fragmenter = Flv::default();
    let peer = key.peer_id();
    let mut signer =
        SliceSigner::new(key, fragmenter.rule(), None, before.map_or(0, |manifest| manifest.seq));
    ready(&out.display().to_string(), &peer.to_string());
    let mut failure = None;
    let reading = publish::read_slices(&origin, &fragmenter, &url, |slice| {
        let written = signer.take(&slice, publish::now_ms());
        let written = written.map_err(|error| PublishError::Fragment(error.into()));
        let written = written.and_then(|made| match made {
            Some(bytes) => publish::write_live(&out, &bytes).map(|()| true),
            None => Ok(false),
        });
        let told = written.map_err(Failure::from).and_then(|new| {
            let bytes = slice.bytes.len() as u64;
            let signed = Signed {
                file: url.path().into(),
                manifest: out.clone(),
                bytes,
                segments: signer.len(),
                missing: 0,
            };
            if new { said(&signed, config.json) } else { Ok(()) }
        });
        failure = told.err();
        failure.is_none()
    });
    let read = tokio::select! {
        () = stop.asked() => return Ok(Exit::Done),
        read = reading => read,
    };
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Err(PublishError::Origin { url, source })) => {
            Err(Failure::of_open(&url, &OpenError::Origin(source)))
        }
        (None, read) => Ok(read.map(|()| Exit::Done)?),
    }
}

/// `--out`, else the last part of the URL's path with `.pcdn` added, in this directory.
pub(super) fn out_of(url: &Url, config: &Config) -> Result<PathBuf, Failure> {
    if let Some(out) = &config.sign.out {
        return Ok(out.into());
    }
    let name = url.path_segments().and_then(|mut parts| parts.next_back()).filter(|name| !name.is_empty());
    let name = name
        .ok_or_else(|| Failure::new(Exit::Usage, format!("{url}: it has no name; give --out FILE.pcdn")))?;
    Ok(publish::manifest_path(Path::new(name)))
}

fn ready(what: &str, key: &str) {
    tell::line(&format!("ready following={what} key={key}"));
    tell::notify("READY=1");
}

/// One line for each manifest written.
fn said(signed: &Signed, json: bool) -> Result<(), Failure> {
    if signed.missing > 0 {
        tracing::info!("{}", missing(signed));
    }
    if json {
        tell::json(signed)?;
    } else {
        tell::out(&format!("{} {} segments", signed.manifest.display(), signed.segments))?;
    }
    Ok(())
}
