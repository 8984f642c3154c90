//! DNS for the client, with every answer checked.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use pcdn_core::error::BoxError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Lane, is_global, is_link_local};

/// Addresses used of one answer. Real hosts have a few; more are no use to a client that tries them in turn.
const ADDRESSES_MAX: usize = 32;

/// Asks DNS.
#[async_trait]
pub(in crate::origin) trait Lookup: Send + Sync + fmt::Debug + 'static {
    /// All addresses of `name`.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug)]
pub(in crate::origin) struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).take(ADDRESSES_MAX).collect())
    }
}

/// A resolver that gives all of a name's addresses if all of them may be connected to, else none: a name with one private
/// address among public ones is an attack or a mistake.
#[derive(Clone, Debug)]
pub(in crate::origin) struct Checked {
    pub(in crate::origin) lookup: Arc<dyn Lookup>,
    pub(in crate::origin) lane: Lane,
}

/// A name leads to an address that is not connected to.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to {address}, which is not a public address; name the host with --origin to allow it")]
pub(in crate::origin) struct Refused {
    pub(in crate::origin) host: String,
    pub(in crate::origin) address: IpAddr,
}

impl Checked {
    /// The addresses of `name`, as DNS gives them; or why none of them is connected to.
    pub(in crate::origin) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        let found = self.lookup.lookup(name).await?;
        let allowed = |address: &IpAddr| match self.lane {
            Lane::Public => is_global(*address),
            Lane::Named => !is_link_local(*address),
        };
        match found.iter().find(|address| !allowed(address)) {
            Some(address) => Err(Refused { host: name.to_owned(), address: *address }.into()),
            None => Ok(found),
        }
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone();
        Box::pin(async move {
            let found = checked.addresses(name.as_str()).await?;
            // Port 0 is replaced by the URL's.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
