//! Tokens of a tracker that serves an application's users only.
//!
//! The application's backend signs them with its Ed25519 key and hands them to its users; the tracker knows the public key alone.
//! A token is a JWT (RFC 7519) with `"alg": "EdDSA"` (RFC 8037) and these claims, all but `exp` optional:
//!
//! | claim | value | default |
//! |---|---|---|
//! | `exp` | seconds since 1970, at most a day ahead | |
//! | `node` | hex of the peer's id, or `*` | `*` |
//! | `swarm` | the first hex digits of the swarms' keys, or `*` | `*` |
//! | `caps` | list of `announce`, `find` | both |
//! | `app` | whatever the backend likes to see in its logs | |
//!
//! It travels in a field of native requests, in the URL options of BEP 41 or the query as `token=…`, and as a bearer token of the
//! JSON API. A token is verified once and then known by its hash.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::unit::Time;
use serde::{Deserialize, Serialize};

use super::wire::InfoHash;

/// Longest token read.
pub const TOKEN_BYTES_MAX: usize = 700;
/// How far ahead a token may expire: a stolen one is of use for a day.
pub const LIFE_MAX_S: u64 = 24 * 3600;
/// Clocks of backend and tracker may differ by this much.
const CLOCK_TOLERANCE_S: u64 = 120;
/// Tokens remembered, about 150 bytes each. When full, all are forgotten: verifying one anew takes 50 µs.
const KNOWN_MAX: usize = 200_000;

/// What a token may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// To take part.
    Announce,
    /// To ask who takes part.
    Find,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Until when, in seconds since 1970.
    pub exp: u64,
    /// Who may use it.
    #[serde(default = "any")]
    pub node: String,
    /// Where.
    #[serde(default = "any")]
    pub swarm: String,
    /// For what.
    #[serde(default = "all")]
    pub caps: Vec<Capability>,
}

/// Why a token is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// Not a JWT that the application signed.
    #[error("it is not signed by this tracker's application")]
    Forged,
    /// Its time is over, or farther off than a day.
    #[error("it has expired, or lasts longer than a day")]
    Expired,
    /// It is for another peer, other swarms or other requests.
    #[error("it does not allow this")]
    Other,
}

/// Checks tokens.
pub struct Tokens {
    key: PeerId,
    /// Seconds since 1970 when the tracker's clock began.
    began: u64,
    known: DashMap<[u8; 16], Claims>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

impl Tokens {
    /// Of the application with this public key, on a clock that began `began` seconds after 1970.
    pub fn new(key: PeerId, began: u64) -> Self {
        Self { key, began, known: DashMap::new() }
    }

    /// Whether `token` allows `peer` (if it says who it is) this in `swarm`.
    pub fn check(
        &self,
        now: Time,
        token: Option<&[u8]>,
        peer: Option<&PeerId>,
        swarms: &[InfoHash],
        wanted: Capability,
    ) -> Result<(), TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let claims = self.claims(token)?;
        let unix = self.began + now.0 / 1_000_000;
        if claims.exp.saturating_add(CLOCK_TOLERANCE_S) < unix
            || claims.exp > unix + LIFE_MAX_S + CLOCK_TOLERANCE_S
        {
            return Err(TokenError::Expired);
        }
        let node = claims.node == "*" || peer.is_none_or(|peer| claims.node == peer.to_string());
        let within = |swarm: &InfoHash| in_prefix(swarm, &claims.swarm);
        let allowed = node && claims.caps.contains(&wanted) && swarms.iter().all(within);
        if allowed { Ok(()) } else { Err(TokenError::Other) }
    }

    fn claims(&self, token: &[u8]) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let mut name = [0; 16];
        name.copy_from_slice(&blake3::hash(token).as_bytes()[..16]);
        if let Some(known) = self.known.get(&name) {
            return Ok(known.clone());
        }
        let claims = verify(&self.key, token).ok_or(TokenError::Forged)?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name, claims.clone());
        Ok(claims)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens(of {})", self.key.short())
    }
}

/// Signs a token as a backend would.
pub fn mint(key: &Identity, claims: &Claims) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let claims = serde_json::to_vec(claims).expect("claims are plain values");
    let signed = format!("{}.{}", encode(br#"{"alg":"EdDSA","typ":"JWT"}"#), encode(&claims));
    let signature = encode(&key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn verify(key: &PeerId, token: &[u8]) -> Option<Claims> {
    let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).ok();
    let dot = token.iter().rposition(|byte| *byte == b'.')?;
    let (signed, signature) = (&token[..dot], decode(&token[dot + 1..])?);
    let mut parts = signed.split(|byte| *byte == b'.');
    let header: Header = serde_json::from_slice(&decode(parts.next()?)?).ok()?;
    let claims = decode(parts.next()?)?;
    let right = header.alg == "EdDSA"
        && parts.next().is_none()
        && key.verify(signed, signature.as_slice().try_into().ok()?);
    right.then(|| serde_json::from_slice(&claims).ok())?
}

fn in_prefix(swarm: &InfoHash, prefix: &str) -> bool {
    // On the wire of BEP 15 a key has 40 digits.
    let prefix = prefix.get(..40).unwrap_or(prefix);
    prefix == "*" || swarm.to_string().starts_with(prefix)
}

fn any() -> String {
    "*".to_owned()
}

fn all() -> Vec<Capability> {
    vec![Capability::Announce, Capability::Find]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: u64 = 1_700_000_000;
    const SWARM: InfoHash = InfoHash([0xab; 20]);

    fn key() -> Identity {
        Identity::from_secret([1; 32])
    }

    fn claims() -> Claims {
        Claims { exp: BEGAN + 3600, node: any(), swarm: any(), caps: all() }
    }

    fn check(claims: &Claims, second: u64) -> Result<(), TokenError> {
        let tokens = Tokens::new(key().peer_id(), BEGAN);
        let token = mint(&key(), claims);
        let check = || {
            let me = PeerId([2; 32]);
            tokens.check(
                Time::from_secs(second),
                Some(token.as_bytes()),
                Some(&me),
                &[SWARM],
                Capability::Announce,
            )
        };
        let first = check();
        assert_eq!(check(), first, "a known one is not treated otherwise");
        first
    }

    #[test]
    fn a_token_allows_what_it_says_while_it_lasts() {
        assert_eq!(check(&claims(), 0), Ok(()));
        assert_eq!(check(&claims(), 4000), Err(TokenError::Expired));
        assert_eq!(check(&Claims { exp: BEGAN + 3 * LIFE_MAX_S, ..claims() }, 0), Err(TokenError::Expired));
        for (node, swarm, right) in [
            (PeerId([2; 32]).to_string(), "abab".to_owned(), true),
            (PeerId([3; 32]).to_string(), any(), false),
            (any(), "abac".to_owned(), false),
            (any(), "ab".repeat(32), true),
        ] {
            let result = check(&Claims { node, swarm, ..claims() }, 0);
            assert_eq!(result, if right { Ok(()) } else { Err(TokenError::Other) });
        }
        assert_eq!(check(&Claims { caps: vec![Capability::Find], ..claims() }, 0), Err(TokenError::Other));
    }

    #[test]
    fn nobody_else_makes_one() {
        let tokens = Tokens::new(key().peer_id(), BEGAN);
        let ask = |token: &[u8]| tokens.check(Time::ZERO, Some(token), None, &[SWARM], Capability::Find);
        let right = mint(&key(), &claims());
        assert_eq!(ask(right.as_bytes()), Ok(()));
        assert_eq!(ask(mint(&Identity::from_secret([2; 32]), &claims()).as_bytes()), Err(TokenError::Forged));
        for at in 0..right.len() {
            let mut bent = right.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ask(&bent), Err(TokenError::Forged), "byte {at}");
        }
        // "none", and an algorithm of the forger's choice.
        let none =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#), right.split('.').nth(1).unwrap());
        assert_eq!(ask(none.as_bytes()), Err(TokenError::Forged));
        assert_eq!(tokens.check(Time::ZERO, None, None, &[], Capability::Find), Err(TokenError::Missing));
        assert_eq!(ask(&vec![b'.'; TOKEN_BYTES_MAX + 1]), Err(TokenError::Forged));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_no_token(bytes in proptest::collection::vec(0u8.., 0..300)) {
            let tokens = Tokens::new(key().peer_id(), BEGAN);
            let result = tokens.check(Time::ZERO, Some(&bytes), None, &[], Capability::Find);
            proptest::prop_assert_eq!(result, Err(TokenError::Forged));
        }
    }
}
