//! The configuration as a commented TOML file.

use super::options::{Kind, OPTIONS, Opt};
use super::{Config, Loaded};

/// Room for words in a comment line, after `# `.
const WIDTH: usize = 100;

/// A complete, valid file with all defaults.
pub fn default_file() -> String {
    let head = "Configuration of pcdn with all defaults. Give it with --config FILE or PCDN_CONFIG=FILE.\n\
                Each value can also be set by its environment variable or its option, which win in that order.\n\
                An empty string is \"not set\".";
    render(&Config::default(), head, |_| None)
}

/// The values in force, each with where it came from.
pub fn effective(loaded: &Loaded) -> String {
    render(&loaded.config, "The configuration in force.", |opt| Some(loaded.origin_of(opt.key).to_owned()))
}

fn render(config: &Config, head: &str, origin: impl Fn(&Opt) -> Option<String>) -> String {
    let tree = toml::Value::try_from(config).expect("the configuration is a tree of TOML values");
    let mut out = String::new();
    head.lines().for_each(|line| comment(&mut out, line));
    let mut section = "";
    for opt in OPTIONS {
        let (of, name) = opt.key.rsplit_once('.').unwrap_or(("", opt.key));
        if of != section {
            out += &format!("\n[{of}]\n");
            section = of;
        }
        out.push('\n');
        comment(&mut out, &format!("{}{}", opt.doc, form(opt)));
        comment(&mut out, &format!("--{}, {}", opt.long, opt.env()));
        if let Some(origin) = origin(opt) {
            comment(&mut out, &format!("from: {origin}"));
        }
        let value = opt.key.split('.').try_fold(&tree, |at, part| at.get(part));
        let value = value.expect("the table of options has the keys of the configuration");
        out += &format!("{name} = {value}\n");
    }
    out
}

/// The form of the value, where the sentence does not show it.
fn form(opt: &Opt) -> String {
    match opt.kind {
        Kind::Switch => String::new(),
        Kind::List => format!(" A list of {}.", opt.value),
        _ => format!(" {}.", opt.value),
    }
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line.len() > 1 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn the_default_file_is_the_default_configuration() {
        let read: Config = toml::from_str(&default_file()).unwrap();
        assert_eq!(read, Config::default());
    }

    #[test]
    fn the_effective_file_loads_to_itself() {
        let line = |key, value: &str| (key, vec![value.to_owned()]);
        let command_line = vec![
            line("node.upload_limit", "3MB/s"),
            line("gateway.cors", "https://player.example"),
            line("node.data_dir", "/var/lib/\"odd\" name"),
            line("get.seed", "true"),
        ];
        let loaded = load(&Sources { command_line, ..Sources::default() }).unwrap();
        let text = effective(&loaded);
        assert!(text.contains("# from: command line (--upload-limit)\nupload_limit = \"3MB/s\""), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), loaded.config);
    }

    #[test]
    fn no_comment_line_is_too_wide() {
        assert!(default_file().lines().all(|line| !line.starts_with('#') || line.len() <= WIDTH));
    }
}
