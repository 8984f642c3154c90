//! Rules as they are served, and which hosts are read.

use pcdn_core::glob::glob;
use pcdn_core::resource::Url;

use crate::node::Parts;
use crate::signed::{Kind, Signature, sign};
use crate::template::{RuleError, Template};

/// Rules as they are served.
#[derive(Debug)]
pub(in crate::node) struct Published {
    pub(in crate::node) rules: Template,
    pub(in crate::node) text: String,
    pub(in crate::node) signature: Signature,
    pub(in crate::node) etag: String,
}

impl Published {
    pub(super) fn new(text: String, parts: &Parts) -> Result<Self, RuleError> {
        let rules = Template::parse("rules", &text)?;
        let signature = sign(Kind::Rules, text.as_bytes(), &parts.key);
        let etag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex().as_str()[..32]);
        Ok(Self { rules, text, signature, etag })
    }
}

/// Whether a pattern of [`NodeConfig::allow`] names the host; without a port it names all ports.
pub(super) fn allows(pattern: &str, host: &str, url: &Url) -> bool {
    let bare = url.host_str().unwrap_or_default().trim_end_matches('.');
    glob(pattern, host)
        || glob(pattern, bare)
        || glob(pattern, &format!("{bare}:{}", url.port_or_known_default().unwrap_or(0)))
}

/// The rules of a node that was given none: it is asked about every content of the hosts it reads. A content that changed is
/// another swarm's, so that a manifest is never taken for what the origin had before.
pub(super) fn rules_for(allow: &[String], trackers: &[String]) -> String {
    if allow.is_empty() {
        // A file must have a rule; of this host there is nothing.
        return "[[rule]]\nhost = \"invalid.\"\nrid = \"url\"\n".to_owned();
    }
    let quoted = |list: &[String]| {
        list.iter().map(|text| toml::Value::from(text.as_str()).to_string()).collect::<Vec<_>>().join(", ")
    };
    // In a rule a host has no port, or one that is not the default.
    let as_in_rules = |host: &String| match host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")) {
        Some(bare) => vec![bare.to_owned()],
        None if host.contains(':') => vec![host.clone()],
        None => vec![host.clone(), format!("{host}:*")],
    };
    let with_ports: Vec<String> = allow.iter().flat_map(as_in_rules).collect();
    let trackers =
        if trackers.is_empty() { String::new() } else { format!("trackers = [{}]\n", quoted(trackers)) };
    let hosts = quoted(&with_ports);
    format!(
        "{trackers}[[rule]]\nname = \"allowed\"\nhost = [{hosts}]\nrid = \"url\"\nask = true\ngeneration = \"etag\"\n"
    )
}
