//! The table of options: key, long option, and the words that explain it. Help, man page, commented file and the checks for
//! unknown keys are made from it; a test holds it equal to the fields of [`Config`](super::Config).

mod table;

use super::nearest;

pub use table::{ALL, OPTIONS};

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Its key in a file: `section.name`.
    pub key: &'static str,
    /// Its long option, without the dashes.
    pub long: &'static str,
    /// What stands for its value in help; for [`Kind::Switch`] nothing does.
    pub value: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// What it does: the first sentence stands alone in short help.
    pub doc: &'static str,
    /// Verbs that have it.
    pub verbs: &'static [&'static str],
}

/// How an option's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value, a text in a file.
    Text,
    /// One number.
    Number,
    /// Repeatable on the command line, separated by commas in the environment, an array in a file.
    List,
    /// On when named; `true` or `false` elsewhere.
    Switch,
}

impl Opt {
    /// `PCDN_GATEWAY__LISTEN` for `gateway.listen`.
    pub fn env(&self) -> String {
        format!("PCDN_{}", self.key.replace('.', "__").to_uppercase())
    }

    /// The option of a key.
    pub fn of_key(key: &str) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.key == key)
    }

    /// The option of an environment variable.
    pub fn of_env(name: &str) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.env() == name)
    }

    /// The known key or section nearest to a mistyped one: by the whole key, else by its last part.
    pub fn nearest_key(key: &str) -> Option<&'static str> {
        let sections = OPTIONS.iter().filter_map(|opt| Some(opt.key.split_once('.')?.0));
        nearest(key, OPTIONS.iter().map(|opt| opt.key).chain(sections)).or_else(|| {
            let last = key.rsplit('.').next()?;
            let lasts = OPTIONS.iter().filter_map(|opt| opt.key.rsplit('.').next());
            let meant = nearest(last, lasts)?;
            OPTIONS.iter().map(|opt| opt.key).find(|known| known.rsplit('.').next() == Some(meant))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::{List, Number, Switch, Text};
    use super::*;
    use crate::config::Config;

    fn leaves(prefix: &str, table: &toml::Table, into: &mut Vec<String>) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(table) => leaves(&key, table, into),
                _ => into.push(key),
            }
        }
    }

    #[test]
    fn table_and_config_have_the_same_keys() {
        let mut fields = Vec::new();
        leaves("", &toml::Table::try_from(Config::default()).unwrap(), &mut fields);
        let mut keys: Vec<_> = OPTIONS.iter().map(|opt| opt.key.to_owned()).collect();
        fields.sort();
        keys.sort();
        assert_eq!(fields, keys);
    }

    #[test]
    fn every_kind_is_its_fields() {
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for opt in OPTIONS {
            let value = opt.key.split('.').fold(None, |at: Option<&toml::Value>, part| match at {
                None => defaults.get(part),
                Some(table) => table.get(part),
            });
            let kind = match value.unwrap() {
                toml::Value::Array(_) => List,
                toml::Value::Boolean(_) => Switch,
                toml::Value::Integer(_) => Number,
                _ => Text,
            };
            assert_eq!(opt.kind, kind, "{}", opt.key);
        }
    }

    #[test]
    fn a_verb_has_each_long_option_once() {
        for opt in OPTIONS {
            for verb in opt.verbs {
                let same = OPTIONS.iter().filter(|o| o.long == opt.long && o.verbs.contains(verb)).count();
                assert_eq!(same, 1, "{verb} --{}", opt.long);
            }
        }
    }

    #[test]
    fn names_of_variables_follow_the_key() {
        assert_eq!(Opt::of_key("gateway.listen").unwrap().env(), "PCDN_GATEWAY__LISTEN");
        assert_eq!(Opt::of_env("PCDN_NODE__UPLOAD_LIMIT").unwrap().key, "node.upload_limit");
    }

    #[test]
    fn a_key_without_its_section_finds_it() {
        assert_eq!(Opt::nearest_key("upload_limit"), Some("node.upload_limit"));
        assert_eq!(Opt::nearest_key("gatway.listen"), Some("gateway.listen"));
        assert_eq!(Opt::nearest_key("nodes"), Some("node"));
    }
}
