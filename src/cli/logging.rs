//! Logs on standard error.

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::{ConfigError, LogConfig, LogFormat};

/// Levels from silent to chatty; `warn` is the default.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const DEFAULT: i16 = 2;

/// The level so many `-v` above (or `-q` below) the default.
pub(crate) fn level(steps: i16) -> &'static str {
    LEVELS[(DEFAULT + steps).clamp(0, LEVELS.len() as i16 - 1) as usize]
}

/// Starts logging.
pub(crate) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.level).map_err(|e| ConfigError {
        what: format!("{:?} is no log filter: {e}", config.level),
        key: "log.level".into(),
        source_name: String::new(),
        remedy: "write --log-level off|error|warn|info|debug|trace".into(),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, in tests of the command line, keeps the first.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(super::tell::is_watched()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_move_the_level_within_bounds() {
        assert_eq!(super::level(1), "info");
        assert_eq!(super::level(-1), "error");
        assert_eq!(super::level(99), "trace");
        assert_eq!(super::level(-99), "off");
    }
}
