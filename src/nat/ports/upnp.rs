//! UPnP's Internet Gateway Device, versions 1 and 2: a search by multicast, a description, a call.
//!
//! Whoever answers in the home's network could send this node anywhere, so only the router itself is believed, by its address,
//! and all three steps are with that address. Answers are read up to [`BYTES_MAX`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use pcdn_core::resource::Url;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{Mapped, PortError, PortMapper, gateway, v4};

const MULTICAST: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);
/// How long answers to a search are awaited: it asks for them within one second.
const SEARCH: Duration = Duration::from_millis(1_500);
/// How long one HTTP exchange may take.
const CALL: Duration = Duration::from_secs(2);
/// Descriptions of large routers have about 20 KB.
const BYTES_MAX: usize = 256 << 10;
/// Ports tried if others are taken.
const TRIES: u16 = 3;
/// The services that open ports.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// A mapping with another inside stands there.
const CONFLICT: u16 = 718;
/// Mappings that end are not to be had.
const ONLY_PERMANENT: u16 = 725;

/// Asks the router of this machine's network.
#[derive(Debug, Default)]
pub struct Upnp(Mutex<Option<Service>>);

/// Where ports are opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    kind: &'static str,
    control: Url,
}

#[async_trait]
impl PortMapper for Upnp {
    async fn map(&self, inside: SocketAddr, outside: u16, lifetime: Duration) -> Result<Mapped, PortError> {
        let ip = v4(inside)?;
        let mut held = self.0.lock().await;
        // One that has moved is looked for the next time.
        let service = match held.take() {
            Some(service) => service,
            None => find(ip).await?,
        };
        let mut lifetime = lifetime;
        for nth in 0..TRIES {
            let port = outside.checked_add(nth * 101).unwrap_or(20_000 + nth).max(1_024);
            let answer = service.call("AddPortMapping", &add(ip, inside.port(), port, lifetime)).await;
            match answer {
                Err(Answer::Fault(ONLY_PERMANENT)) if !lifetime.is_zero() => {
                    // It is given back at the end, and asked for again as if it ended.
                    lifetime = Duration::ZERO;
                    service.call("AddPortMapping", &add(ip, inside.port(), port, lifetime)).await?;
                }
                Err(Answer::Fault(CONFLICT)) => continue,
                other => other?,
            }
            *held = Some(service);
            let lifetime = if lifetime.is_zero() { super::LIFETIME } else { lifetime };
            return Ok(Mapped { port, lifetime });
        }
        Err(PortError::Refused("the ports tried are taken".to_owned()))
    }

    async fn unmap(&self, _: SocketAddr, outside: u16) {
        if let Some(service) = self.0.lock().await.take() {
            let _ = service.call("DeletePortMapping", &which(outside)).await;
        }
    }
}

fn which(outside: u16) -> String {
    format!(
        "<NewRemoteHost></NewRemoteHost><NewExternalPort>{outside}</NewExternalPort><NewProtocol>UDP</NewProtocol>"
    )
}

fn add(ip: Ipv4Addr, inside: u16, outside: u16, lifetime: Duration) -> String {
    format!(
        "{}<NewInternalPort>{inside}</NewInternalPort><NewInternalClient>{ip}</NewInternalClient><NewEnabled>1</NewEnabled>\
         <NewPortMappingDescription>pcdn</NewPortMappingDescription><NewLeaseDuration>{}</NewLeaseDuration>",
        which(outside),
        lifetime.as_secs()
    )
}

/// The router's service, if it has one.
async fn find(inside: Ipv4Addr) -> Result<Service, PortError> {
    let router = gateway(inside);
    let silent = |_| PortError::Silent;
    let socket = UdpSocket::bind((inside, 0)).await.map_err(silent)?;
    socket.set_multicast_ttl_v4(2).map_err(silent)?;
    for version in [1, 2] {
        let search = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
             ST: urn:schemas-upnp-org:device:InternetGatewayDevice:{version}\r\n\r\n"
        );
        // By its address as well: some networks drop multicast.
        for to in [MULTICAST, (router, MULTICAST.1)] {
            let _ = socket.send_to(search.as_bytes(), to).await;
        }
    }
    let until = Instant::now() + SEARCH;
    let mut room = [0; 2048];
    while let Ok(Ok((len, from))) = timeout_at(until, socket.recv_from(&mut room)).await {
        let place = location(&room[..len]).filter(|url| is_at(url, router));
        if from.ip() == IpAddr::V4(router)
            && let Some(place) = place
            && let Ok((200, text)) = exchange(client()?.get(place.clone())).await
            && let Some(service) = service_in(&text, &place)
        {
            return Ok(service);
        }
    }
    Err(PortError::Silent)
}

/// Where the description is, by an answer to a search.
fn location(answer: &[u8]) -> Option<Url> {
    let text = std::str::from_utf8(answer).ok()?;
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then_some(value.trim())
    });
    Url::parse(value?).ok().filter(|url| url.scheme() == "http")
}

fn is_at(url: &Url, router: Ipv4Addr) -> bool {
    url.host_str().and_then(|host| host.parse().ok()) == Some(router)
}

/// The best service that a description names, at the same host as that.
fn service_in(description: &str, place: &Url) -> Option<Service> {
    let at = |kind: &'static str| {
        let mut services = description.split("<service>").skip(1);
        let service = services.find(|service| element(service, "serviceType") == Some(kind))?;
        let control = place.join(element(service, "controlURL")?).ok()?;
        (control.host_str() == place.host_str() && control.scheme() == "http")
            .then_some(Service { kind, control })
    };
    SERVICES.into_iter().find_map(at)
}

/// The text of the first element of this name.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(value, _)| value.trim())
}

/// Why a call was not done.
#[derive(Debug)]
enum Answer {
    /// The number UPnP gives it.
    Fault(u16),
    Error(PortError),
}

impl From<Answer> for PortError {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Fault(number) => Self::Refused(format!("UPnP error {number}")),
            Answer::Error(error) => error,
        }
    }
}

impl Service {
    async fn call(&self, action: &str, arguments: &str) -> Result<(), Answer> {
        let kind = self.kind;
        let body = format!(
            "<?xml version=\"1.0\"?>\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{kind}\">{arguments}\
             </u:{action}></s:Body></s:Envelope>"
        );
        let request = client()
            .map_err(Answer::Error)?
            .post(self.control.clone())
            .header("content-type", "text/xml; charset=\"utf-8\"")
            .header("soapaction", format!("\"{kind}#{action}\""))
            .body(body);
        match exchange(request).await.map_err(Answer::Error)? {
            (200, _) => Ok(()),
            (status, text) => match element(&text, "errorCode").and_then(|number| number.parse().ok()) {
                Some(number) => Err(Answer::Fault(number)),
                None => Err(Answer::Error(PortError::Refused(format!("HTTP status {status}")))),
            },
        }
    }
}

fn client() -> Result<reqwest::Client, PortError> {
    // Process-wide and only once; a program that installed its own before keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(CALL)
        .build();
    client.map_err(|_| PortError::Silent)
}

/// Status and text of an answer.
async fn exchange(request: reqwest::RequestBuilder) -> Result<(u16, String), PortError> {
    let silent = |_| PortError::Silent;
    let mut answer = request.send().await.map_err(silent)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(silent)? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(PortError::Refused("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "http://192.168.1.1:5000/rootDesc.xml";

    fn described(kind: &str, control: &str) -> Option<Service> {
        let text = format!(
            "<root><device><serviceList><service><serviceType>urn:other</serviceType><controlURL>/no</controlURL></service>\
             <service><serviceType>{kind}</serviceType><serviceId>x</serviceId><controlURL>{control}</controlURL></service>\
             </serviceList></device></root>"
        );
        service_in(&text, &PLACE.parse().unwrap())
    }

    #[test]
    fn the_service_is_found_at_the_host_that_described_it() {
        let found = described(SERVICES[1], "/ctl/IPConn").unwrap();
        assert_eq!(found.control.as_str(), "http://192.168.1.1:5000/ctl/IPConn");
        assert!(described(SERVICES[0], "http://192.168.1.1:49000/x").is_some());
        assert!(described(SERVICES[0], "http://203.0.113.1/x").is_none(), "it sends us elsewhere");
        assert!(described(SERVICES[0], "https://192.168.1.1/x").is_none());
        assert!(described("urn:schemas-upnp-org:service:WANIPConnection:9", "/x").is_none());
        assert!(service_in("<service><serviceType>", &PLACE.parse().unwrap()).is_none());
    }

    #[test]
    fn only_the_router_is_believed_in_a_search() {
        let answer = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {PLACE}\r\n\r\n");
        let url = location(answer.as_bytes()).unwrap();
        assert!(is_at(&url, "192.168.1.1".parse().unwrap()) && !is_at(&url, "192.168.1.2".parse().unwrap()));
        for bad in ["", "LOCATION", "LOCATION: file:///etc/passwd", "LOCATION: nonsense"] {
            assert!(location(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
