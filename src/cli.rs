//! The command line `pcdn`: from arguments to a verb, from its outcome to an exit status.

mod cache;
mod command;
mod compose;
mod exit;
mod get;
mod health;
mod inspect;
mod logging;
mod map;
mod peer;
mod play;
mod sign;
mod stop;
mod tell;
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
        Err(error) => {
            let _ = error.print();
            let told = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if told { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
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
        "tracker" => tracker::run(&loaded.config).await,
        "sign" => sign::run(&argument(matches, "FILE|DIR"), &loaded.config).await,
        "inspect" => inspect::run(&argument(matches, "URL|FILE"), &loaded.config).await,
        "map" => map::run(&argument(matches, "URL"), &loaded.config).await,
        "cache" => cache::run(&argument(matches, "ACTION"), matches.get_one("SWARM"), &loaded.config).await,
        "healthcheck" => health::run(&loaded.config).await,
        _ => Err(Failure::other(format!("{verb} has no body"))),
    }
}

fn argument(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
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
