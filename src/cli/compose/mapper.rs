//! What names contents, as `--mapper` has it.

use std::path::Path;
use std::sync::Arc;

use pcdn_core::id::PeerId;
use pcdn_core::mapping::Mapper;
use pcdn_core::resource::Url;
use pcdn_mapping::{FirstOf, Template, UrlHash};
use pcdn_transport::origin::Http;

use super::{http_config, origin};
use crate::cli::{Exit, Failure};
use crate::config::NodeConfig;

/// The mapper that asks each origin itself.
const WELL_KNOWN: &str = "well-known";

/// What names contents.
pub(crate) fn mapper(node: &NodeConfig) -> Result<FirstOf, Failure> {
    mapper_with(node, None)
}

/// The same; origins are asked for their word by `http`, over the connections that their contents will come by.
pub(super) fn mapper_with(node: &NodeConfig, http: Option<&Http>) -> Result<FirstOf, Failure> {
    let mut mappers: Vec<Arc<dyn Mapper>> = Vec::new();
    let fault = |text: &str, e: String| Failure::new(Exit::Config, format!("--mapper {text}: {e}"));
    for text in &node.mapper {
        if let Some(file) = text.strip_prefix("template:") {
            let template = Template::load(Path::new(file));
            mappers.push(Arc::new(template.map_err(|e| fault(text, e.to_string()))?));
        } else if let Some((url, key)) = mapping_node(text) {
            let file = node.data_dir.as_ref().map(|dir| Path::new(dir).join(rules_file(&url)));
            let remote = crate::mapping_node::mapper(&url, key, file, http_config(node)?);
            mappers.push(Arc::new(remote.map_err(|e| fault(text, e.to_string()))?));
        } else if text == WELL_KNOWN {
            let own = match http {
                Some(http) => http.clone(),
                None => origin(node)?,
            };
            mappers.push(Arc::new(crate::mapping_node::well_known(&own)));
        } else {
            mappers.push(Arc::new(UrlHash::default()));
        }
    }
    // A mapping node that is silent stops nobody.
    if !node.mapper.iter().any(|text| text == "url")
        && node.mapper.iter().any(|text| text == WELL_KNOWN || mapping_node(text).is_some())
    {
        mappers.push(Arc::new(UrlHash::default()));
    }
    Ok(FirstOf::new(mappers))
}

/// The mapping node that a mapper's text names, and its pinned key.
pub(super) fn mapping_node(text: &str) -> Option<(Url, Option<PeerId>)> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let key = url.fragment().and_then(|key| key.parse().ok());
    url.set_fragment(None);
    Some((url, key))
}

/// The file in the data directory that keeps a mapping node's rules.
fn rules_file(node: &Url) -> String {
    format!("mapping-{}.json", &blake3::hash(node.as_str().as_bytes()).to_hex().as_str()[..16])
}
