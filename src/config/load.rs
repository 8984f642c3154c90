//! Layers of values made into one [`Config`], each value remembering who set it. The only file that knows figment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::options::{Kind, OPTIONS, Opt};
use super::{Config, check};

/// A configuration file is read whole, so it has a bound: the complete commented one has about 12 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Variables with the prefix that are no keys: the file itself, and what tests and benches pass to one another.
const NOT_KEYS: [&str; 3] = ["PCDN_CONFIG", "PCDN_TEST_", "PCDN_BENCH_"];

/// Where values may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What the verb changes of the defaults: its name, and keys with their values.
    pub verb: (String, Vec<(&'static str, &'static str)>),
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment; only `PCDN_…` is looked at.
    pub env: Vec<(String, String)>,
    /// Options given on the command line: key, values.
    pub command_line: Vec<(&'static str, Vec<String>)>,
}

impl Sources {
    /// The process's environment and the given command line.
    pub fn of_process(
        verb: &str,
        file: Option<PathBuf>,
        command_line: Vec<(&'static str, Vec<String>)>,
    ) -> Self {
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { verb: (verb.to_owned(), Vec::new()), file, env, command_line }
    }
}

/// The outcome.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    origins: BTreeMap<&'static str, String>,
}

impl Loaded {
    /// Who set `key`, in words: `default`, `environment variable PCDN_…`, a file's name, `command line (--…)`.
    pub fn origin_of(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }
}

/// Why there is no configuration. One line: what, which key, set where, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}; {remedy}", place(.key, .source_name))]
pub struct ConfigError {
    /// What is wrong.
    pub what: String,
    /// The key it is about; empty for a file that cannot be read.
    pub key: String,
    /// Who set it.
    pub source_name: String,
    /// What to do.
    pub remedy: String,
}

/// How the command line is called as the one who set a value; the option follows.
const COMMAND_LINE: &str = "command line";

impl ConfigError {
    /// Whether the option was typed, and not read from a file or the environment.
    pub fn is_of_command_line(&self) -> bool {
        self.source_name.starts_with(COMMAND_LINE)
    }
}

fn place(key: &str, source: &str) -> String {
    match (key.is_empty(), source.is_empty()) {
        (false, false) => format!(" ({key}, set by {source})"),
        (false, true) => format!(" ({key})"),
        (true, false) => format!(" ({source})"),
        (true, true) => String::new(),
    }
}

/// Puts all layers together and checks the result.
///
/// # Errors
/// The first thing that is wrong, in the order file, environment, command line, values, values that do not fit together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut figment = Figment::new().merge(Layer::of_defaults());
    let changed = format!("default of pcdn {}", sources.verb.0);
    for (key, value) in &sources.verb.1 {
        figment = figment.merge(Layer::of_texts(known(key), &[(*value).to_owned()], changed.clone())?);
    }
    if let Some(path) = &sources.file {
        figment = figment.merge(Layer::of_file(path)?);
    }
    for (name, value) in &sources.env {
        if let Some(layer) = env_layer(name, value)? {
            figment = figment.merge(layer);
        }
    }
    for (key, values) in &sources.command_line {
        let opt = known(key);
        figment = figment.merge(Layer::of_texts(opt, values, format!("{COMMAND_LINE} (--{})", opt.long))?);
    }
    let config: Config = figment.extract().map_err(explain)?;
    let named = |opt: &'static Opt| Some((opt.key, figment.find_metadata(opt.key)?.name.to_string()));
    let loaded = Loaded { config, origins: OPTIONS.iter().filter_map(named).collect() };
    check::check(&loaded)?;
    Ok(loaded)
}

fn known(key: &str) -> &'static Opt {
    Opt::of_key(key).expect("the command line is made from the table of options")
}

/// One layer: values and who set them.
struct Layer {
    by: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.by.clone())
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    fn of_defaults() -> Self {
        let values = Value::serialize(Config::default()).ok().and_then(Value::into_dict);
        Self { by: "default".into(), values: values.expect("the configuration is a tree of named values") }
    }

    fn of_texts(opt: &Opt, texts: &[String], by: String) -> Result<Self, ConfigError> {
        let value = read(opt, texts, &by)?;
        let nested =
            opt.key.rsplit('.').fold(value, |value, part| Dict::from([(part.to_owned(), value)]).into());
        Ok(Self { by, values: nested.into_dict().expect("a key has at least one part") })
    }

    fn of_file(path: &Path) -> Result<Self, ConfigError> {
        let by = path.display().to_string();
        let err = |what: String, key: &str, remedy: &str| ConfigError {
            what,
            key: key.to_owned(),
            source_name: by.clone(),
            remedy: remedy.to_owned(),
        };
        let unreadable = |e: std::io::Error| {
            err(
                format!("the configuration file cannot be read: {e}"),
                "",
                "give --config the path of a readable TOML file",
            )
        };
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if meta.len() > FILE_BYTES_MAX {
            return Err(err(
                "the configuration file is larger than 1 MiB".into(),
                "",
                "pcdn config --default prints a complete one",
            ));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let table: toml::Table = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            let what = format!("not TOML in line {line}: {}", e.message().replace('\n', ", "));
            err(what, "", "pcdn config --default prints a complete file to compare with")
        })?;
        if let Some(key) = unknown_key("", &table) {
            let remedy = match Opt::nearest_key(&key) {
                Some(near) => format!("did you mean {near}?"),
                None => "pcdn config --default lists all keys".into(),
            };
            return Err(err("no such key".into(), &key, &remedy));
        }
        let values = Value::serialize(table).ok().and_then(Value::into_dict);
        Ok(Self { by, values: values.expect("a TOML table is a tree of named values") })
    }
}

/// The first key of a file that is neither an option nor a section of one.
fn unknown_key(prefix: &str, table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let is_section = OPTIONS.iter().any(|opt| opt.key.starts_with(&format!("{key}.")));
        match value {
            toml::Value::Table(inner) if is_section => unknown_key(&key, inner),
            _ if Opt::of_key(&key).is_some() => None,
            _ => Some(key),
        }
    })
}

fn env_layer(name: &str, value: &str) -> Result<Option<Layer>, ConfigError> {
    if !name.starts_with("PCDN_") || NOT_KEYS.iter().any(|other| name.starts_with(other)) {
        return Ok(None);
    }
    let by = format!("environment variable {name}");
    let Some(opt) = Opt::of_env(name) else {
        let envs: Vec<String> = OPTIONS.iter().map(Opt::env).collect();
        let remedy = match super::nearest(name, envs.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "unset it; pcdn config --default lists all keys".into(),
        };
        let what = "no such setting".into();
        return Err(ConfigError { what, key: String::new(), source_name: by, remedy });
    };
    // Header values contain commas, so their list is one a line.
    let separator = if opt.key == "node.header" { '\n' } else { ',' };
    let texts: Vec<String> = match opt.kind {
        Kind::List => value.split(separator).map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect(),
        _ => vec![value.to_owned()],
    };
    Layer::of_texts(opt, &texts, by).map(Some)
}

/// Texts of the environment or the command line as the value a file would have.
fn read(opt: &Opt, texts: &[String], by: &str) -> Result<Value, ConfigError> {
    let last = texts.last().map_or("", String::as_str);
    let bad = |like: &str| ConfigError {
        what: format!("{last:?} is not {like}"),
        key: opt.key.into(),
        source_name: by.into(),
        remedy: format!("write {like}"),
    };
    match opt.kind {
        Kind::List => Ok(texts.to_vec().into()),
        Kind::Text => Ok(last.into()),
        Kind::Number => last.parse::<u64>().map(Value::from).map_err(|_| bad("a whole number")),
        Kind::Switch => last.parse::<bool>().map(Value::from).map_err(|_| bad("true or false")),
    }
}

fn explain(error: figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let source_name = error.metadata.as_ref().map_or_else(String::new, |m| m.name.to_string());
    let what = error.kind.to_string().trim_end_matches('.').to_owned();
    let remedy = match Opt::of_key(&key) {
        Some(opt) if !opt.value.is_empty() => {
            format!("write --{} {}, as pcdn config --default shows", opt.long, opt.value)
        }
        _ => "pcdn config --default shows every key with its form".into(),
    };
    ConfigError { what, key, source_name, remedy }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn from(text: &str, env: &[(&str, &str)], line: &[(&'static str, &str)]) -> Result<Loaded, ConfigError> {
        let file = file(text);
        load(&Sources {
            verb: ("get".into(), vec![("admin.listen", "off")]),
            file: Some(file.path().to_owned()),
            env: env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            command_line: line.iter().map(|(k, v)| (*k, vec![v.to_string()])).collect(),
        })
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let text = "[node]\nupload_limit = \"1MB/s\"\ncache_size = \"1GiB\"\ndownload_limit = \"3MB/s\"\n";
        let env = [("PCDN_NODE__UPLOAD_LIMIT", "2MB/s"), ("PCDN_NODE__CACHE_SIZE", "2GiB"), ("HOME", "/")];
        let loaded = from(text, &env, &[("node.cache_size", "3GiB")]).unwrap();
        assert_eq!(loaded.config.node.cache_size.0, 3 << 30);
        assert_eq!(loaded.config.node.upload_limit.0, 2_000_000);
        assert_eq!(loaded.config.node.download_limit.0, 3_000_000);
        assert_eq!(loaded.config.admin.listen, "off");
        assert_eq!(loaded.origin_of("node.cache_size"), "command line (--cache-size)");
        assert_eq!(loaded.origin_of("node.upload_limit"), "environment variable PCDN_NODE__UPLOAD_LIMIT");
        assert!(loaded.origin_of("node.download_limit").starts_with('/'));
        assert_eq!(loaded.origin_of("admin.listen"), "default of pcdn get");
        assert_eq!(loaded.origin_of("node.p2p"), "default");
    }

    #[test]
    fn lists_numbers_and_switches_are_read_from_text() {
        let env = [
            ("PCDN_NODE__TRACKER", "a:1, b:2"),
            ("PCDN_NODE__HEADER", "A: 1, 2\nB: 3"),
            ("PCDN_GATEWAY__CONNECTIONS_MAX", "7"),
            ("PCDN_JSON", "true"),
        ];
        let config = from("", &env, &[]).unwrap().config;
        assert_eq!(config.node.tracker, ["a:1", "b:2"]);
        assert_eq!(config.node.header, ["A: 1, 2", "B: 3"]);
        assert_eq!(config.gateway.connections_max, 7);
        assert!(config.json);
    }

    fn check_error(text: &str, env: &[(&str, &str)], want: &[&str]) {
        let message = from(text, env, &[]).unwrap_err().to_string();
        for part in want {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert!(!message.contains('\n'), "{message:?}");
    }

    #[test]
    fn errors_name_key_source_and_remedy() {
        check_error("[gateway]\nlisen = \"x\"", &[], &["gateway.lisen", "did you mean gateway.listen?"]);
        check_error("[gatway]\nlisten = \"x\"", &[], &["gatway", "did you mean"]);
        check_error("upload_limit = \"x\"", &[], &["did you mean node.upload_limit?"]);
        check_error("", &[("PCDN_GATEWAY_LISTEN", "x")], &["did you mean PCDN_GATEWAY__LISTEN?"]);
        check_error("[node]\nupload_limit = \"fast\"", &[], &["node.upload_limit", "fast", "--upload-limit"]);
        check_error("[node]\np2p = \"maybe\"", &[], &["node.p2p", "maybe", "--p2p"]);
        check_error("node = 3", &[], &["node"]);
        check_error("[node", &[], &["not TOML in line 1"]);
        check_error(
            "",
            &[("PCDN_DEMO__PEERS", "many")],
            &["many", "demo.peers", "PCDN_DEMO__PEERS", "whole number"],
        );
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let sources = Sources { file: Some("/nonexistent/pcdn.toml".into()), ..Sources::default() };
        assert!(load(&sources).unwrap_err().to_string().contains("/nonexistent/pcdn.toml"));
    }
}
