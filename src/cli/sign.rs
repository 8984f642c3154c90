//! `pcdn sign`: the publisher's manifest.

use std::path::{Path, PathBuf};

use pcdn_core::id::PeerId;
use serde::Serialize;

use super::compose::make_private_dir;
use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::publish::{self, Signed};

#[derive(Serialize)]
struct Report {
    /// What viewers pin with `--trust`.
    key: PeerId,
    signed: Vec<Signed>,
}

/// Runs the verb.
pub(crate) async fn run(what: &str, config: &Config) -> Result<Exit, Failure> {
    if what.contains("://") {
        let line = format!(
            "{what}: sign the file itself, where it lies: bytes that came over a network prove nothing yet"
        );
        return Err(Failure::new(Exit::Usage, line));
    }
    let (what, sign) = (PathBuf::from(what), config.sign.clone());
    let report =
        tokio::task::spawn_blocking(move || sign_all(&what, sign.key.as_deref(), sign.out.as_deref()));
    let report = report.await.map_err(Failure::other)??;
    if config.json {
        return tell::json(&report);
    }
    for signed in &report.signed {
        tell::out(&signed.manifest.display().to_string())?;
    }
    tell::line(&format!("signed by {}", report.key));
    Ok(Exit::Done)
}

fn sign_all(what: &Path, key: Option<&str>, out: Option<&str>) -> Result<Report, Failure> {
    let key_file = match key {
        Some(file) => PathBuf::from(file),
        None => default_key()?,
    };
    let key = crate::identity::load_or_create(&key_file)?;
    let rule = pcdn_media::File::default();
    let meta = std::fs::metadata(what)
        .map_err(|e| Failure::disk(format!("{} cannot be read", what.display()), &e))?;
    let signed = if meta.is_dir() {
        if out.is_some() {
            return Err(Failure::new(
                Exit::Usage,
                "--out names one manifest and a directory gives many; leave it out",
            ));
        }
        publish::sign_dir(what, &rule, &key, |_| None)?
    } else {
        let manifest = out.map_or_else(|| publish::manifest_path(what), PathBuf::from);
        publish::write_manifest(&manifest, &publish::sign_file(what, &rule, &key, None)?)?;
        vec![Signed { file: what.to_owned(), manifest, bytes: meta.len() }]
    };
    Ok(Report { key: key.peer_id(), signed })
}

/// `pcdn/publisher.key` in the user's configuration directory, which is made.
fn default_key() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        Failure::new(Exit::Config, "no place for the publisher's key: HOME is not set; give --key FILE")
    })?;
    let dir = base.join("pcdn");
    make_private_dir(&dir)?;
    Ok(dir.join("publisher.key"))
}
