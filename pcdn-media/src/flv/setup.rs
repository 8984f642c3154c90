//! Configuration in force, and the setup of a slice: what its decoders need first.

use bytes::Bytes;

use super::class::{Class, Track, classify};
use super::tag::{self, Kind, OVERHEAD, Placed};

/// Configurations in force at most; further ones are dropped with their tracks' pictures undecodable. Multitrack senders
/// use up to 6 video tracks.
pub(super) const CONFIGS_MAX: usize = 16;
/// Longest configuration: an AVC one is about 50 bytes, the parameter sets of VVC some hundred.
pub(super) const CONFIG_BYTES_MAX: usize = 64 << 10;

/// One configuration: whose, and the body of the tag that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) track: Track,
    pub(super) slot: u8,
    pub(super) body: Bytes,
}

/// A small table of configurations, by track and slot: video first, then audio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Configs(Vec<Config>);

impl Configs {
    /// Puts a configuration into force. False if it was in force already, or is refused.
    pub(super) fn set(&mut self, config: Config) -> bool {
        let key = |config: &Config| (config.track, config.slot);
        match self.0.binary_search_by_key(&key(&config), key) {
            Ok(at) if self.0[at].body == config.body => return false,
            _ if config.body.len() > CONFIG_BYTES_MAX => return false,
            Ok(at) => self.0[at] = config,
            Err(_) if self.0.len() == CONFIGS_MAX => return false,
            Err(at) => self.0.insert(at, config),
        }
        true
    }

    /// All of one track.
    pub(super) fn of(&self, track: Track) -> impl Iterator<Item = &Config> {
        self.0.iter().filter(move |config| config.track == track)
    }

    /// The codec configuration of `track`; empty for codecs without one.
    pub(super) fn codec(&self, track: Track) -> Bytes {
        self.of(track).find(|config| config.slot == 0).map(|config| config.body.clone()).unwrap_or_default()
    }

    /// As whole tags at time 0.
    pub(super) fn to_tags(&self) -> Bytes {
        let mut tags = Vec::with_capacity(self.0.iter().map(|config| OVERHEAD + config.body.len()).sum());
        for config in &self.0 {
            tag::write(&mut tags, config.track.kind, 0, &config.body);
        }
        tags.into()
    }

    /// From whole tags; what is no configuration is left out.
    pub(super) fn from_tags(tags: &[u8]) -> Self {
        let mut configs = Self::default();
        tag::tags(tags).filter_map(|tag| Config::from_tag(&tag)).for_each(|config| {
            configs.set(config);
        });
        configs
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Config> {
        self.0.iter()
    }
}

impl Config {
    /// The configuration a tag brings, if it is one. Copied: it outlives its chunk.
    pub(super) fn from_tag(tag: &Placed<'_>) -> Option<Self> {
        match classify(tag.kind, tag.body) {
            Class::Config { track, slot } if tag.body.len() <= CONFIG_BYTES_MAX => {
                Some(Self { track, slot, body: Bytes::copy_from_slice(tag.body) })
            }
            _ => None,
        }
    }
}

/// Which kinds of media there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// There is sound.
    pub audio: bool,
    /// There are pictures.
    pub video: bool,
}

impl Kinds {
    /// The kinds in a slice: for the header of what a player is given. Some players wait for ever for a kind that is
    /// announced and does not come.
    pub fn of(slice: &[u8]) -> Self {
        let mut kinds = Self::default();
        for tag in tag::tags(slice) {
            match tag.kind {
                Kind::Audio => kinds.audio = true,
                Kind::Video => kinds.video = true,
            }
            if kinds.audio && kinds.video {
                break;
            }
        }
        kinds
    }
}
