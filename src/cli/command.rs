//! The command line's shape, made from the table of options; help reads like a manual.

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use clap::{Arg, ArgAction, Command};

use crate::config::options::{ALL, Kind, OPTIONS, Opt};

/// A verb: name, short help, manual text, examples, and its arguments.
struct Verb {
    name: &'static str,
    about: &'static str,
    manual: &'static str,
    examples: &'static str,
    arguments: &'static [Argument],
    /// Defaults that differ for it: key, value.
    defaults: &'static [(&'static str, &'static str)],
}

/// A positional argument.
struct Argument {
    name: &'static str,
    help: &'static str,
    optional: bool,
    many: bool,
    choices: &'static [&'static str],
}

const fn argument(name: &'static str, help: &'static str) -> Argument {
    Argument { name, help, optional: false, many: false, choices: &[] }
}

const URL: &[Argument] = &[argument("URL", "The content: http://… or https://…")];

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        about: "Show it: origin, tracker, mapping node and viewers in one process, over loopback",
        manual: "Needs no configuration and no network. Generates content, lets all viewers download it at once from an origin with \
                 a cap, prints who got what from where, and checks every byte. Status 0 only if all bytes are right. With --media it \
                 is a film of half a minute, listed by HLS or DASH, or live as HLS or HTTP-FLV, that players play through the \
                 viewers' gateways; --size is then the most it may have.",
        examples: "pcdn demo\npcdn demo --peers 20 --size 16MiB --origin-rate 2MB/s --json\npcdn demo --media hls-live --keep-running",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "get",
        about: "Download one file, from its origin and from everybody who has it",
        manual: "Downloads URL. While it runs, it gives what it has to others who download the same. The bytes are checked \
                 before they are written; FILE appears only when it is whole. A run that was cut off goes on where it was.",
        examples: "pcdn get https://cdn.example/image.iso --tracker tracker.example:7070\n\
                   pcdn get https://cdn.example/film.mp4 --out - | mpv -\n\
                   pcdn get https://cdn.example/image.iso --sha256 9f86d0… --seed",
        arguments: URL,
        defaults: &[("admin.listen", "off")],
    },
    Verb {
        name: "peer",
        about: "Run a node with a local gateway: viewer, headless seeder, or both",
        manual: "Runs until it is stopped. Players on this machine open http://127.0.0.1:7400/https/HOST/PATH instead of \
                 https://HOST/PATH; the dashboard is at http://127.0.0.1:7480/.",
        examples: "pcdn peer --tracker tracker.example:7070 --data-dir /var/lib/pcdn\n\
                   pcdn peer --seed-only --seed https://cdn.example/film.mp4 --upload-limit 5MB/s\n\
                   pcdn peer --upstream https://cdn.example --gateway-cors https://player.example",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "play",
        about: "Start a gateway for one URL, and a player if asked",
        manual: "Prints the local URL of URL and serves it until stopped, or until the player ends.",
        examples: "pcdn play https://cdn.example/film.mp4 --player mpv",
        arguments: URL,
        defaults: &[("gateway.listen", "127.0.0.1:0"), ("admin.listen", "off")],
    },
    Verb {
        name: "push",
        about: "Run a push node: let peers hold contents before their release",
        manual: "Peers that were started with --push ask it for work, fetch what they are given in the background, and show that \
                 they hold it. The first few read the CDN within a budget, all others take from those. Runs until it is \
                 stopped; with --node it tells a running one and waits until all copies are proven. Of a playlist that \
                 has ended peers hold all segments, of all renditions or of those named with --rendition.",
        examples: "pcdn push https://cdn.example/film.mp4 --copies 8 --deadline 10m --api 0.0.0.0:7500 --push-token token\n\
                   pcdn peer --push http://push.example:7500\n\
                   pcdn push https://cdn.example/film.mp4 --node http://127.0.0.1:7500\n\
                   pcdn push https://cdn.example/show/all.m3u8 --rendition 0 --rendition 2\n\
                   pcdn push --status --json\n\
                   pcdn push --cancel https://cdn.example/film.mp4",
        arguments: &[Argument {
            name: "URL",
            help: "The contents: http://… or https://…",
            optional: true,
            many: true,
            choices: &[],
        }],
        defaults: &[],
    },
    Verb {
        name: "tracker",
        about: "Run a tracker: who takes part in what",
        manual: "Answers peers over UDP, and people and scrapers over HTTP on the same port number. BitTorrent clients may use it \
                 as well. It knows swarms and addresses, never URLs or contents. Peers that \
                 others show to be reachable, steady, quick, and to hold what they say become superpeers, and are told of first.",
        examples: "pcdn tracker --listen [::]:7070\npcdn tracker --secret /etc/pcdn/tracker.secret\n\
                   pcdn tracker --networks /etc/pcdn/networks --store redis://10.0.0.5:6379\n\
                   pcdn tracker --data-dir /var/lib/pcdn-tracker --auditor KEY_OF_THE_PUSH_NODE --ledger ledger.jsonl --stake 100\n\
                   pcdn tracker --earned --json",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "mapping",
        about: "Run a mapping node: names for URLs, and signed piece lists for origins that publish none",
        manual: "Serves a site's rules to viewers (--mapper http://NODE), which then name nearly all contents offline. Contents of \
                 the hosts of --allow it reads once, and signs what their pieces hash to: viewers then take every byte from \
                 anybody. Playing never depends on it. Everything it says may be cached by a CDN in front of it.",
        examples: "pcdn mapping --store /var/lib/pcdn-mapping --allow '*.films.example'\n\
                   pcdn mapping --listen 0.0.0.0:7300 --store /var/lib/pcdn-mapping --allow cdn.example --rules films.toml --tokens /etc/pcdn/tokens\n\
                   curl -G http://127.0.0.1:7300/v1/map --data-urlencode url=https://cdn.example/film.mp4",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "sign",
        about: "Write the publisher's signed piece list beside a file",
        manual: "Reads FILE once (or every file below DIR) and writes FILE.pcdn. Viewers that are told --manifest sidecar then \
                 take every byte from anybody, and read the origin about once for the whole swarm. A playlist (HLS) or \
                 manifest (DASH) is signed with all segments that it lists and that lie where it says; those get no \
                 file of their own. Names count from the playlist, so a directory may be signed before it is moved to \
                 where it is served. Of a URL, the file there is read once and signed: what the origin gave to this machine. With \
                 --follow it stays beside the packager of a live stream; of a URL, it signs the slices of a live HTTP-FLV \
                 stream as they come.",
        examples: "pcdn sign film.mp4\npcdn sign /srv/www/vod --key /etc/pcdn/publisher.key\n\
                   pcdn sign https://cdn.example/film.mp4 --out film.mp4.pcdn\n\
                   pcdn sign --follow /srv/www/live\npcdn sign --follow http://127.0.0.1/live.flv --out /srv/www/live.flv.pcdn",
        arguments: &[argument("FILE|DIR|URL", "What to sign")],
        defaults: &[],
    },
    Verb {
        name: "sim",
        about: "Run a swarm in virtual time: the real engine and schedulers, simulated links",
        manual: "SCENARIO is a built-in name or a TOML file. The same scenario and seed give the same run, on every machine. Status 0 \
                 only if every viewer got everything and nothing wrong.",
        examples: "pcdn sim --list\npcdn sim crowd8\npcdn sim crowd8 --peers 1000 --seed 7 --svg run.svg --json",
        arguments: &[Argument {
            name: "SCENARIO",
            help: "A built-in name, or a .toml file",
            optional: true,
            many: false,
            choices: &[],
        }],
        defaults: &[],
    },
    Verb {
        name: "inspect",
        about: "Show how a resource is cut: segments, pieces, identities",
        manual: "Asks the origin of a URL, or looks at a local file, and prints the segments every node would cut. A master playlist \
                 prints its renditions; --rendition N the segments of one. A DASH manifest prints its renditions and \
                 the segments of the first, or of rendition N. A continuous live stream is read for some seconds.",
        examples: "pcdn inspect https://cdn.example/live/all.m3u8 --rendition 1\npcdn inspect https://cdn.example/live.flv --follow 30s --json\npcdn inspect https://cdn.example/film.mp4\npcdn inspect film.mp4 --base-url https://cdn.example/film.mp4 --hash --json",
        arguments: &[argument("URL|FILE", "What to look at")],
        defaults: &[],
    },
    Verb {
        name: "map",
        about: "Show what a URL's content is called, and why",
        manual: "Prints the RID, which mapper decided, and which parts of the URL it left out. Only a mapping node is asked, if one is configured.",
        examples: "pcdn map 'https://cdn.example/film.mp4?token=abc'",
        arguments: URL,
        defaults: &[],
    },
    Verb {
        name: "cache",
        about: "List, remove, shrink or verify kept pieces",
        manual: "Works on the store in --data-dir, which no running node may be using. ls lists swarms, rm drops one, gc shrinks \
                 to --cache-size, verify reads every piece and drops those that are damaged.",
        examples: "pcdn cache ls --data-dir /var/lib/pcdn\npcdn cache gc --data-dir /var/lib/pcdn --cache-size 5GiB",
        arguments: &[
            Argument {
                name: "ACTION",
                help: "What to do",
                optional: false,
                many: false,
                choices: &["ls", "rm", "gc", "verify"],
            },
            Argument {
                name: "SWARM",
                help: "Which swarm rm drops: 64 hex digits, as ls prints them",
                optional: true,
                many: false,
                choices: &[],
            },
        ],
        defaults: &[],
    },
    Verb {
        name: "doctor",
        about: "Can this host do P2P, and if not, what to do",
        manual: "Looks at what a node with the same options depends on: its UDP ports, what NAT it is behind, whether the router opens \
                 ports, whether trackers and the DHT answer, the clock, the disk, the system's socket buffers. Says of each how it is, \
                 and what to do where it is not right. Status 0 if peers can be had, 1 if not.",
        examples: "pcdn doctor --tracker tracker.example:7070\npcdn doctor --config /etc/pcdn.toml --json",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "top",
        about: "Watch a running node in the terminal",
        manual: "Shows what the node at --admin takes from peers and from the origin, its swarms, and its neighbours, once a second \
                 until it is interrupted. Where the output is no terminal, and with --json, it shows that once.",
        examples: "pcdn top\npcdn top --admin 10.0.0.7:7480\npcdn top --json | jq .status.p2p_ratio",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "healthcheck",
        about: "Ask a running node whether it is ready; for containers",
        manual: "Asks /readyz at --admin. Status 0 if the node is ready, 1 if not.",
        examples: "pcdn healthcheck --admin 127.0.0.1:7480",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "config",
        about: "Print the configuration in force, and where each value came from",
        manual: "Prints commented TOML: every key, its option, its variable, its value and who set it. With --default, a complete \
                 file of defaults to start from. All options of all verbs are taken from the file and the environment, those of peer from the \
                 command line as well.",
        examples: "pcdn config --default > pcdn.toml\npcdn config --config pcdn.toml\npcdn config --upload-limit 4MB/s",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "completions",
        about: "Print completions for a shell",
        manual: "Prints a script for bash, elvish, fish, powershell or zsh.",
        examples: "pcdn completions bash > /etc/bash_completion.d/pcdn",
        arguments: &[],
        defaults: &[],
    },
    Verb {
        name: "man",
        about: "Print the manual page",
        manual: "Prints troff.",
        examples: "pcdn man > /usr/local/share/man/man1/pcdn.1",
        arguments: &[],
        defaults: &[],
    },
];

const ABOUT: &str = "Files, audio and video from an ordinary CDN plus the viewers themselves";
const LONG_ABOUT: &str = "pcdn delivers files, audio and video from an ordinary CDN plus the viewers themselves.\n\n\
    Nodes that fetch the same content meet at a tracker, cut it in the same way and give one another the pieces; what nobody \
    has comes from the origin, and every byte is checked before it is used.";
const EXIT_STATUS: &str = "Exit status:\n  0 done, 1 other failure, 2 usage, 3 configuration, 4 not found at the origin, \
    5 origin unreachable, 6 integrity, 7 timed out, 8 disk, 9 no peers and origin forbidden, 130 interrupted.\n  \
    A failure prints one line on standard error.";
const FILES: &str = "Files and environment:\n  --config FILE (or PCDN_CONFIG) is TOML; `pcdn config --default` prints a complete one.\n  \
    Every option is also a key of that file and a variable PCDN_SECTION__KEY; `pcdn config` shows all names.\n  \
    NOTIFY_SOCKET: readiness and stopping are told to the service manager.";

/// The options of a verb, in the order of help.
pub(crate) fn options_of(verb: &str) -> impl Iterator<Item = &'static Opt> {
    // What is in force is asked for with the options of the verb that has most of them.
    let verb = if verb == "config" { "peer" } else { verb };
    OPTIONS.iter().filter(move |opt| opt.verbs == ALL || opt.verbs.contains(&verb))
}

/// Defaults that differ for a verb.
pub(crate) fn defaults_of(verb: &str) -> &'static [(&'static str, &'static str)] {
    VERBS.iter().find(|v| v.name == verb).map_or(&[], |v| v.defaults)
}

/// The whole command.
pub(crate) fn command() -> Command {
    Command::new("pcdn")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_long_help(format!("{EXIT_STATUS}\n\n{FILES}"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        // Before the verb or after it.
        .args(OPTIONS.iter().filter(|opt| opt.verbs == ALL).map(|opt| option(opt, &[]).global(true)))
        .args(globals().map(|arg| arg.global(true)))
        .subcommands(VERBS.iter().map(verb))
}

fn verb(verb: &Verb) -> Command {
    let examples: Vec<String> = verb.examples.lines().map(|line| format!("  {line}")).collect();
    let mut command = Command::new(verb.name)
        .about(verb.about)
        .long_about(format!("{}.\n\n{}", verb.about, verb.manual))
        .after_long_help(format!("Examples:\n{}\n\n{EXIT_STATUS}\n\n{FILES}", examples.join("\n")));
    for argument in verb.arguments {
        let mut arg = Arg::new(argument.name)
            .help(argument.help)
            .value_name(argument.name)
            .required(!argument.optional);
        arg = match argument.choices {
            [] => arg.value_parser(NonEmptyStringValueParser::new()),
            choices => arg.value_parser(PossibleValuesParser::new(choices)),
        };
        if argument.many {
            arg = arg.num_args(0..);
        }
        command = command.arg(arg);
    }
    match verb.name {
        "completions" => {
            let shell = Arg::new("SHELL").required(true).help("Which shell");
            return command.arg(shell.value_parser(clap::value_parser!(clap_complete::Shell)));
        }
        "man" => return command,
        "config" => {
            let help = "Print a complete file of defaults instead";
            command = command.arg(Arg::new("default").long("default").help(help).action(ArgAction::SetTrue));
        }
        _ => {}
    }
    let own = options_of(verb.name).filter(|opt| opt.verbs != ALL);
    command.args(own.map(|opt| option(opt, verb.defaults)))
}

/// What every verb has and no file can hold.
fn globals() -> [Arg; 3] {
    [
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .help("Read this configuration file")
            .env("PCDN_CONFIG")
            .hide_env(true)
            .value_parser(clap::value_parser!(PathBuf)),
        Arg::new("verbose").short('v').long("verbose").help("Log more; repeatable").action(ArgAction::Count),
        Arg::new("quiet").short('q').long("quiet").help("Log less; repeatable").action(ArgAction::Count),
    ]
}

fn option(opt: &'static Opt, defaults: &[(&'static str, &'static str)]) -> Arg {
    let short = opt.doc.split_inclusive(". ").next().unwrap_or(opt.doc).trim_end().trim_end_matches('.');
    let differs = defaults.iter().find(|(key, _)| *key == opt.key).map(|(_, value)| (*value).to_owned());
    let default = differs.or_else(|| default_of(opt)).map_or(String::new(), |d| format!("\n[default: {d}]"));
    let arg = Arg::new(opt.key).long(opt.long).help(short).long_help(format!(
        "{}{default}\n[config: {}] [env: {}]",
        opt.doc,
        opt.key,
        opt.env()
    ));
    let parser = NonEmptyStringValueParser::new();
    match opt.kind {
        Kind::Switch => arg.action(ArgAction::SetTrue),
        Kind::List => arg.action(ArgAction::Append).value_name(opt.value).value_parser(parser),
        Kind::Text | Kind::Number => arg.action(ArgAction::Set).value_name(opt.value).value_parser(parser),
    }
}

/// The default of an option as text, if it has one worth showing.
fn default_of(opt: &Opt) -> Option<String> {
    let tree = toml::Value::try_from(crate::config::Config::default()).ok()?;
    match opt.key.split('.').try_fold(&tree, |at, part| at.get(part))? {
        toml::Value::String(text) if text.is_empty() => None,
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(list) => list.first().and_then(|v| v.as_str()).map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault_in_it() {
        command().debug_assert();
    }

    #[test]
    fn what_every_verb_has_may_come_before_it() {
        for line in ["pcdn --json -v --config f.toml config", "pcdn config --json -v --config f.toml"] {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            let (_, config) = matches.subcommand().unwrap();
            assert!(config.get_flag("json") && config.get_count("verbose") == 1, "{line}");
            assert_eq!(config.get_one::<PathBuf>("config"), Some(&"f.toml".into()), "{line}");
        }
    }

    #[test]
    fn the_configuration_is_asked_for_with_the_options_it_is_given_to() {
        let matches = command().try_get_matches_from(["pcdn", "config", "--upload-limit", "4MB/s"]).unwrap();
        let (_, config) = matches.subcommand().unwrap();
        assert_eq!(config.get_one::<String>("node.upload_limit").map(String::as_str), Some("4MB/s"));
    }

    #[test]
    fn every_verb_of_the_table_exists() {
        for opt in OPTIONS.iter().filter(|opt| opt.verbs != ALL) {
            for verb in opt.verbs {
                assert!(VERBS.iter().any(|v| v.name == *verb), "{verb} of --{}", opt.long);
            }
        }
    }

    #[test]
    fn defaults_of_verbs_are_keys() {
        for verb in VERBS {
            assert!(verb.defaults.iter().all(|(key, _)| Opt::of_key(key).is_some()), "{}", verb.name);
        }
    }

    #[test]
    fn help_names_example_key_variable_and_statuses() {
        let mut get = command().find_subcommand("get").unwrap().clone();
        let help = get.render_long_help().to_string();
        for part in [
            "pcdn get https://",
            "[config: node.tracker]",
            "PCDN_NODE__TRACKER",
            "130 interrupted",
            "[default: off]",
        ] {
            assert!(help.contains(part), "no {part} in {help}");
        }
    }
}
