//! The rules of the house that a machine can hold: which crate knows which, what stays out of pure crates, what documents
//! promise.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that bring a runtime, a socket, a protocol of their own or a configuration: none of them reaches the core.
const SHELLS: [&str; 17] = [
    "tokio",
    "hyper",
    "reqwest",
    "axum",
    "quinn",
    "quinn-udp",
    "libp2p-core",
    "libp2p-swarm",
    "figment",
    "clap",
    "rustls",
    "snow",
    "socket2",
    "getrandom",
    "rand",
    "mockall",
    "proptest",
];
const SIBLINGS: [&str; 4] = ["pcdn-media", "pcdn-discovery", "pcdn-transport", "pcdn-mapping"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything `package` needs to be built into an application, itself left out.
fn needs(package: &str) -> BTreeSet<String> {
    needs_with(package, &[])
}

fn needs_with(package: &str, features: &[&str]) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        package,
    ];
    let tree =
        Command::new(env!("CARGO")).args(arguments).args(features).current_dir(root()).output().unwrap();
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout).unwrap();
    names
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

#[test]
fn arrows_between_crates_point_down() {
    let core = needs("pcdn-core");
    assert!(
        !core.iter().any(|name| name.starts_with("pcdn")),
        "pcdn-core knows no other crate of ours: {core:?}"
    );
    for sibling in SIBLINGS {
        let others: Vec<String> =
            needs(sibling).into_iter().filter(|name| name.starts_with("pcdn")).collect();
        assert_eq!(others, ["pcdn-core"], "{sibling} knows pcdn-core and no sibling");
    }
}

#[test]
fn pure_crates_bring_no_runtime_no_socket_and_no_mocks() {
    for pure in ["pcdn-core", "pcdn-media", "pcdn-mapping"] {
        let needs = needs(pure);
        let shells: Vec<&str> = SHELLS.into_iter().filter(|shell| needs.contains(*shell)).collect();
        assert!(shells.is_empty(), "{pure} must not need {shells:?}");
    }
}

#[test]
fn what_only_tests_need_is_not_in_the_application() {
    let all = needs("pcdn");
    for leak in ["mockall", "proptest"] {
        assert!(!all.contains(leak), "{leak} leaked into the application");
    }
    // libp2p makes its certificates with it.
    let without_dht = needs_with("pcdn", &["--no-default-features"]);
    assert!(!without_dht.contains("rcgen"), "rcgen leaked into the application");
    assert!(!without_dht.contains("libp2p-core"), "the DHT can be left out");
}

/// All files below `dir` whose names end with `ending`; build directories are passed over.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules") && !name.starts_with('.')
            {
                open.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} files below {}", dir.display());
    found.sort();
    found
}

/// Panics with every place in `dir` where a line of code has one of `words`.
fn is_free_of(dir: &str, words: &[&str], why: &str) {
    let mut places = Vec::new();
    for file in files(&root().join(dir), ".rs") {
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && words.iter().any(|word| code.contains(word)) {
                places.push(format!("{}:{}: {code}", file.display(), number + 1));
            }
        }
    }
    assert!(places.is_empty(), "{why}:\n{}", places.join("\n"));
}

#[test]
fn pure_crates_are_given_time_and_dice() {
    let ambient =
        ["Instant::now", "SystemTime::now", "UNIX_EPOCH", "rand::", "getrandom", "thread_rng", "RandomState"];
    for pure in ["pcdn-core/src", "pcdn-media/src"] {
        is_free_of(pure, &ambient, "time and randomness are arguments in pure crates");
    }
}

#[test]
fn cores_iterate_in_an_order_that_replays() {
    for core in ["pcdn-core/src/swarm", "pcdn-core/src/schedule", "src/sim"] {
        is_free_of(core, &["HashMap", "HashSet"], "hash maps iterate in another order on every run");
    }
}

#[test]
fn modules_are_named_by_their_files() {
    let old: Vec<PathBuf> =
        files(root(), ".rs").into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(old.is_empty(), "write foo.rs and foo/, not foo/mod.rs: {old:?}");
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, so that this file does not name them.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["un", "implemented!"].concat(),
    ];
    let mut places = Vec::new();
    for ending in [".rs", ".md", ".toml", ".py"] {
        for file in files(root(), ending) {
            for (number, line) in read(&file).lines().enumerate() {
                let marked = |mark: &String| {
                    line.split(|c: char| !c.is_alphanumeric() && c != '!').any(|word| word == mark)
                };
                if marks.iter().any(marked) && !line.contains("No TO") {
                    places.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(places.is_empty(), "do it, or write an issue:\n{}", places.join("\n"));
}

/// Relative links, and paths in backticks that end like a file or begin with a folder of ours.
fn promised_paths(text: &str) -> BTreeSet<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|path| {
        let ours = ["src/", "pcdn-", "tests/", "examples/"].iter().any(|folder| path.starts_with(folder));
        let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
        let file = [".rs", ".md", ".toml", ".sh", ".py"].iter().any(|ending| path.ends_with(ending));
        plain && path.contains('/') && (file || ours && !path.starts_with("pcdn-") || path.contains("/src"))
    });
    links.chain(quoted).filter(|path| !path.is_empty() && !path.contains("://")).map(str::to_owned).collect()
}

#[test]
fn documents_name_only_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(&root().join(document));
        for path in promised_paths(&text) {
            // Paths inside a chapter on the core are written from its source folder.
            let places = [
                "",
                "pcdn-core/src",
                "pcdn-transport/src",
                "pcdn-discovery/src",
                "pcdn-media/src",
                "pcdn-mapping/src",
            ];
            let exists =
                places.iter().any(|place| root().join(place).join(path.trim_end_matches('/')).exists());
            assert!(exists, "{document} names {path}, which does not exist");
        }
    }
}

#[test]
fn every_example_is_tested_and_says_how_to_run_it() {
    let manifest = read(&root().join("Cargo.toml"));
    for file in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let entry = format!("[[example]]\nname = \"{name}\"\ntest = true\n");
        assert!(manifest.contains(&entry), "Cargo.toml must have\n{entry}");
        let text = read(&path);
        for promise in ["//! Learn", &format!("--example {name}")] {
            assert!(text.contains(promise), "examples/{name}.rs must say {promise:?} in its header");
        }
    }
}
