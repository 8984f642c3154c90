//! What the demo's contents are called: a mapping node, whose rule says that viewers' own URLs mean the same content.

use std::sync::Arc;

use pcdn_core::id::PeerId;
use pcdn_core::resource::Url;
use pcdn_mapping::node::{NodeConfig, Tokens, store::Memory};
use pcdn_mapping::{FirstOf, UrlHash};
use pcdn_transport::origin::HttpConfig;

use super::{DemoError, DemoOrigin, failed};
use crate::mapping_node::{self, MappingConfig, MappingNode};

/// A running mapping node.
#[derive(Debug)]
pub(super) struct Names(MappingNode);

impl Names {
    pub(super) async fn start(origin: &DemoOrigin) -> Result<Self, DemoError> {
        let host = origin.addr().to_string();
        let rules = format!(
            "version = 1\nnamespace = \"demo\"\n\n[[rule]]\nname = \"film\"\nhost = \"{host}\"\npath = '/(?<name>[^/]+)'\n\
             key = \"{{name}}\"\ndrop = [\"viewer\"]\n"
        );
        let config = MappingConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            node: NodeConfig { allow: vec![host], rules: Some(rules), ..NodeConfig::default() },
            key: crate::identity::ephemeral().map_err(failed("the mapping node's key"))?,
            store: Arc::new(Memory::new()),
            tokens: Tokens::default(),
            http: HttpConfig::default(),
        };
        Ok(Self(MappingNode::start(config).await.map_err(failed("the mapping node"))?))
    }

    /// A viewer's mapper: should the node be silent, the URL itself decides.
    pub(super) fn mapper(&self) -> Result<FirstOf, DemoError> {
        let (url, key): (Url, PeerId) = (self.0.url(), self.0.key());
        let asks = mapping_node::mapper(&url, Some(key), None, HttpConfig::default());
        Ok(FirstOf::default().or(asks.map_err(failed("the mapper"))?).or(UrlHash::default()))
    }

    pub(super) async fn end(self) {
        self.0.shutdown().await;
    }
}
