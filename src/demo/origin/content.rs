//! What the demo's origin has, and what it is called.

use std::path::{Path, PathBuf};

use axum::body::Bytes;

use crate::demo::channel::Channel;

/// Everything an origin has.
#[derive(Debug)]
pub(super) enum Site {
    /// Name, bytes and entity tag of each.
    Files(Vec<(String, Bytes, String)>),
    /// Whatever lies there.
    Directory(PathBuf),
    /// One live stream.
    Channel(&'static str, Channel),
}

/// What a request gets.
#[derive(Debug)]
pub(super) enum Content {
    Whole { bytes: Bytes, etag: String },
    Live(Channel),
}

impl Site {
    pub(super) fn files(files: Vec<(String, Bytes)>) -> Self {
        let tagged = files.into_iter().map(|(name, bytes)| {
            let etag = etag_of(&bytes);
            (name, bytes, etag)
        });
        Self::Files(tagged.collect())
    }

    pub(super) async fn find(&self, name: &str) -> Option<Content> {
        match self {
            Self::Files(files) => {
                let (_, bytes, etag) = files.iter().find(|(own, ..)| own == name)?;
                Some(Content::Whole { bytes: bytes.clone(), etag: etag.clone() })
            }
            Self::Directory(dir) => {
                // A name is one plain part of a path, whatever was asked for.
                let plain = !name.starts_with('.') && Path::new(name).file_name() == Some(name.as_ref());
                let bytes = Bytes::from(tokio::fs::read(dir.join(plain.then_some(name)?)).await.ok()?);
                let etag = etag_of(&bytes);
                Some(Content::Whole { bytes, etag })
            }
            Self::Channel(own, channel) => (*own == name).then(|| Content::Live(*channel)),
        }
    }
}

fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..16])
}

/// The content type of a name, by its extension.
pub(super) fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("mpd") => "application/dash+xml",
        Some("m4s") => "video/iso.segment",
        Some("mp4") => "video/mp4",
        Some("ts") => "video/mp2t",
        Some("flv") => "video/x-flv",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_gives_its_own_files_only() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("site");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(dir.path().join("secret"), "no").unwrap();
        std::fs::write(inner.join("film"), "yes").unwrap();
        std::fs::write(inner.join(".draft"), "no").unwrap();
        let site = Site::Directory(inner);
        assert!(site.find("film").await.is_some());
        for name in ["../secret", "..", ".draft", "", "/etc/passwd", "film/../film", "none"] {
            assert!(site.find(name).await.is_none(), "{name}");
        }
    }
}
