//! PCP (RFC 6887), and NAT-PMP (RFC 6886) with routers that know only that.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use async_trait::async_trait;
use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig, natpmp};
use tokio::sync::Mutex;

use super::{Mapped, PortError, PortMapper, gateway, v4};

/// The router is one hop away.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// Asks the router of this machine's network.
#[derive(Debug, Default)]
pub struct Pcp(Mutex<Option<PortMapping>>);

#[async_trait]
impl PortMapper for Pcp {
    async fn map(&self, inside: SocketAddr, outside: u16, lifetime: Duration) -> Result<Mapped, PortError> {
        let mut held = self.0.lock().await;
        // Only with what it drew at first does PCP take a renewal for one.
        if let Some(mut mapping) = held.take()
            && mapping.internal_port().get() == inside.port()
            && mapping.renew().await.is_ok()
        {
            return Ok(mapped(held.insert(mapping)));
        }
        let ip = v4(inside)?;
        let port = NonZeroU16::new(inside.port()).ok_or(PortError::Silent)?;
        let options = PortMappingOptions {
            external_port: NonZeroU16::new(outside),
            lifetime_seconds: Some(lifetime.as_secs() as u32),
            timeout_config: Some(PATIENCE),
        };
        let router = gateway(ip).into();
        let mapping = match PortMapping::new(router, ip.into(), InternetProtocol::Udp, port, options).await {
            Ok(mapping) => mapping,
            // Some routers know NAT-PMP alone and are silent to anything else.
            Err(_) => natpmp::port_mapping(router, InternetProtocol::Udp, port, options)
                .await
                .map_err(|error| PortError::Refused(error.to_string()))?,
        };
        Ok(mapped(held.insert(mapping)))
    }

    async fn unmap(&self, _: SocketAddr, _: u16) {
        if let Some(mapping) = self.0.lock().await.take() {
            // It ends by itself where this does not reach.
            let _ = mapping.try_drop().await;
        }
    }
}

fn mapped(mapping: &PortMapping) -> Mapped {
    Mapped { port: mapping.external_port().get(), lifetime: Duration::from_secs(mapping.lifetime().into()) }
}
