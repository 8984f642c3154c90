//! What a request must pass before anything looks at it: unambiguous framing, a `Host` that is ours, a known method.
//!
//! The `Host` check is what stops DNS rebinding: a page at `evil.example` whose name now points to 127.0.0.1 still sends its
//! own name. An address cannot be rebound, so the address the client connected to is always ours.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Request, Response, StatusCode, header};

use super::{Body, text};

/// Names this server may be called by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Names beside the loopback ones, lower case, without a port.
    pub(crate) extra: Vec<String>,
}

/// Refuses what is ambiguous or not meant for us. `local` is the address the client connected to.
pub(crate) fn check<B>(
    request: &Request<B>,
    names: &Names,
    local: SocketAddr,
) -> Result<(), Box<Response<Body>>> {
    framing(request.headers())?;
    if request.uri().authority().is_some() {
        // A proxy request: its target is the authority, and a web page cannot make one.
        return Ok(());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => return refuse(StatusCode::BAD_REQUEST, "a request needs exactly one Host header"),
    };
    if names.own(host, local) {
        return Ok(());
    }
    refuse(
        StatusCode::MISDIRECTED_REQUEST,
        "this Host is not ours: call 127.0.0.1 or localhost with our port, or allow the name with --gateway-host or --admin-host",
    )
}

/// `Transfer-Encoding` has no use here and is what request smuggling is made of.
fn framing(headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return refuse(StatusCode::BAD_REQUEST, "Transfer-Encoding is not accepted in a request");
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let empty = lengths.next().is_none_or(|len| len.as_bytes() == b"0");
    if empty && lengths.next().is_none() {
        return Ok(());
    }
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body")
}

fn refuse(status: StatusCode, why: &str) -> Result<(), Box<Response<Body>>> {
    let mut response = text(status, why);
    response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    Err(Box::new(response))
}

impl Names {
    /// Whether `host` (a `Host` header) is one of our names with our port.
    pub(crate) fn own(&self, host: &str, local: SocketAddr) -> bool {
        let (name, port) = split(host);
        let port = match port {
            None => Some(80),
            Some(text) => text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())),
        };
        port == Some(local.port()) && self.known(&name.to_ascii_lowercase(), local.ip())
    }

    fn known(&self, name: &str, local: IpAddr) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(ip) => ip.to_canonical() == local.to_canonical() || matches!(name, "127.0.0.1" | "[::1]"),
            Err(_) => name == "localhost" || self.extra.iter().any(|extra| extra.eq_ignore_ascii_case(name)),
        }
    }
}

/// `host:port` into its parts; an IPv6 address keeps its brackets.
fn split(host: &str) -> (&str, Option<&str>) {
    let after = host.rfind(']').map_or(0, |at| at + 1);
    match host[after..].find(':') {
        Some(colon) => (&host[..after + colon], Some(&host[after + colon + 1..])),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_host(host: &str, local: &str, want: bool) {
        let names = Names { extra: vec!["box.lan".into()] };
        assert_eq!(names.own(host, local.parse().unwrap()), want, "{host} at {local}");
    }

    #[test]
    fn loopback_names_with_our_port_are_ours() {
        for host in ["127.0.0.1:7400", "localhost:7400", "LOCALHOST:7400", "[::1]:7400", "box.lan:7400"] {
            check_host(host, "127.0.0.1:7400", true);
        }
        check_host("192.168.1.5:7400", "192.168.1.5:7400", true);
        check_host("localhost", "127.0.0.1:80", true);
    }

    #[test]
    fn all_other_names_are_not() {
        for host in [
            "evil.example:7400",
            "evil.example",
            "localhost:7401",
            "localhost",
            "127.0.0.1.evil.example:7400",
            "192.168.1.5:7400",
            "localhost.:7400",
            "127.0.0.2:7400",
            "",
            ":7400",
            "localhost:+7400",
            "[::1",
            "]:7400",
        ] {
            check_host(host, "127.0.0.1:7400", false);
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let local = "127.0.0.1:7400".parse().unwrap();
        let request = |name: &str, value: &str| {
            let request =
                Request::builder().header("host", "localhost:7400").header(name, value).body(()).unwrap();
            check(&request, &Names::default(), local).map_err(|r| r.status().as_u16())
        };
        assert_eq!(request("transfer-encoding", "chunked"), Err(400));
        assert_eq!(request("content-length", "5"), Err(413));
        assert_eq!(request("content-length", "0"), Ok(()));
        assert_eq!(request("host", "localhost:7400"), Err(400));
    }
}
