//! The command line `pcdn`: from arguments to a verb, from its outcome to an exit status.

mod cache;
mod command;
mod compose;
mod demo;
mod dht;
mod doctor;
mod exit;
mod get;
mod health;
mod inspect;
mod logging;
mod map;
mod mapping;
mod named;
mod peer;
mod play;
mod push;
mod sign;
mod sim;
mod stop;
mod tell;
mod top;
mod tracker;

use std::io::Write as _;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::config::{self, Loaded, Sources};

pub(crate) use exit::{Exit, Failure};

/// Runs `pcdn` with `arguments` (the program's name first) to its end.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return misused(&error),
    };
    let (verb, matches) = matches.subcommand().expect("clap demands a verb");
    match dispatch(verb, matches) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            tell::line(&format!("pcdn {verb}: {failure}"));
            failure.exit.into()
        }
    }
}

/// Help was asked for, or the arguments make no sense: then one line says why.
fn misused(error: &clap::Error) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        // Where it goes to, and that it may be a closed pipe, is clap's business.
        DisplayHelp | DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage.into()
        }
        _ => {
            tell::line(&format!("pcdn: {}", one_line(&error.to_string())));
            Exit::Usage.into()
        }
    }
}

/// What clap says over several lines, up to its usage lines.
fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = words.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    format!("{}; see --help", words.join(" ").trim_start_matches("error: "))
}

fn dispatch(verb: &str, matches: &ArgMatches) -> Result<Exit, Failure> {
    match verb {
        "completions" => return completions(matches),
        "man" => return man(),
        "config" if matches.get_flag("default") => return tell::out(config::default_file().trim_end()),
        _ => {}
    }
    let loaded = load(verb, matches)?;
    logging::start(&loaded.config.log)?;
    if verb == "config" {
        return tell::out(config::effective(&loaded).trim_end());
    }
    if verb == "sim" {
        // Computes in one thread; no socket, no timer.
        return sim::run(matches.get_one::<String>("SCENARIO").map(String::as_str), &loaded.config);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::other(format!("no threads to run on: {e}")))?;
    let outcome = runtime.block_on(run_verb(verb, matches, &loaded));
    // Tasks that do not end when told to are not waited for: 5 s is what a stop may take in all.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}

async fn run_verb(verb: &str, matches: &ArgMatches, loaded: &Loaded) -> Result<Exit, Failure> {
    match verb {
        "get" => get::run(&argument(matches, "URL"), loaded).await,
        "peer" => peer::run(loaded).await,
        "play" => play::run(&argument(matches, "URL"), loaded).await,
        "push" => push::run(&arguments(matches, "URL"), &loaded.config).await,
        "tracker" => tracker::run(&loaded.config).await,
        "mapping" => mapping::run(&loaded.config).await,
        "sign" => sign::run(&argument(matches, "FILE|DIR|URL"), &loaded.config).await,
        "inspect" => inspect::run(&argument(matches, "URL|FILE"), &loaded.config).await,
        "map" => map::run(&argument(matches, "URL"), &loaded.config).await,
        "cache" => cache::run(&argument(matches, "ACTION"), matches.get_one("SWARM"), &loaded.config).await,
        "demo" => demo::run(&loaded.config).await,
        "doctor" => doctor::run(&loaded.config).await,
        "top" => top::run(&loaded.config).await,
        "healthcheck" => health::run(&loaded.config).await,
        _ => Err(Failure::other(format!("{verb} has no body"))),
    }
}

fn argument(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

fn arguments(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).unwrap_or_default().cloned().collect()
}

/// The configuration of a verb: its own defaults, the file, the environment, and its options.
fn load(verb: &str, matches: &ArgMatches) -> Result<Loaded, Failure> {
    let given = |name: &str| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
    let mut command_line = Vec::new();
    for opt in command::options_of(verb) {
        if given(opt.key) {
            let values = match opt.kind {
                config::options::Kind::Switch => vec!["true".to_owned()],
                _ => matches.get_many::<String>(opt.key).unwrap_or_default().cloned().collect(),
            };
            command_line.push((opt.key, values));
        }
    }
    let steps = i16::from(matches.get_count("verbose")) - i16::from(matches.get_count("quiet"));
    if steps != 0 && !given("log.level") {
        command_line.push(("log.level", vec![logging::level(steps).to_owned()]));
    }
    let file = matches.get_one::<std::path::PathBuf>("config").cloned();
    let mut sources = Sources::of_process(verb, file, command_line);
    sources.verb.1 = command::defaults_of(verb).to_vec();
    Ok(config::load(&sources)?)
}

fn completions(matches: &ArgMatches) -> Result<Exit, Failure> {
    let shell = matches.get_one::<clap_complete::Shell>("SHELL").copied().expect("clap demands a shell");
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command::command(), "pcdn", &mut text);
    tell::out(String::from_utf8_lossy(&text).trim_end())
}

/// One page: the overview, then every verb.
fn man() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let command = command::command();
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        for verb in command.get_subcommands() {
            let man = clap_mangen::Man::new(verb.clone().bin_name(format!("pcdn {}", verb.get_name())));
            writeln!(page, ".SH \"PCDN {}\"", verb.get_name().to_uppercase())?;
            man.render_synopsis_section(&mut page)?;
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)?;
        }
        Ok(())
    };
    write().map_err(|e| Failure::other(format!("the page cannot be written: {e}")))?;
    tell::out(String::from_utf8_lossy(&page).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_is_said_in_one_line() {
        let said = |arguments: &[&str]| {
            one_line(&command::command().try_get_matches_from(arguments).unwrap_err().to_string())
        };
        let missing = said(&["pcdn", "get"]);
        assert!(
            missing.contains("<URL>") && !missing.contains('\n') && !missing.starts_with("error"),
            "{missing}"
        );
        let typo = said(&["pcdn", "get", "http://h/x", "--traker", "a:1"]);
        assert!(typo.contains("--traker") && typo.contains("'--tracker'"), "{typo}");
        assert!(said(&["pcdn", "gett"]).contains("'get'"));
    }
}
