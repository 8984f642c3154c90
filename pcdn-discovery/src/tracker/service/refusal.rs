//! Why a tracker will not do what it is asked.

use crate::tracker::token::TokenError;
use crate::tracker::wire::WireError;

/// Why a tracker will not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The connection id is too old, of another address, or was never issued.
    #[error("connection id is not valid here and now")]
    Cookie,
    /// The address asks too often.
    #[error("too many requests from this address, ask less often")]
    TooFast,
    /// Too many peers behind one address.
    #[error("too many peers behind this address")]
    TooManyIds,
    /// One peer in too many swarms.
    #[error("this peer is in too many swarms")]
    TooManySwarms,
    /// Nothing to tell others.
    #[error("announce at least one UDP or QUIC port from 1024 up")]
    NoPort,
    /// A bound of the whole tracker is reached.
    #[error("this tracker is full")]
    Full,
    /// The private tracker's secret is missing or wrong.
    #[error("this tracker is private: the request proves no knowledge of its secret")]
    Secret,
    /// Not a request this tracker understands.
    #[error("malformed request")]
    Malformed,
    /// The application's token is missing or does not allow it.
    #[error("this tracker wants a token of its application: {0}")]
    Token(TokenError),
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Refusal; 9] = [
        Self::Cookie,
        Self::TooFast,
        Self::TooManyIds,
        Self::TooManySwarms,
        Self::NoPort,
        Self::Full,
        Self::Secret,
        Self::Malformed,
        Self::Token(TokenError::Missing),
    ];

    /// Its place among them.
    pub(super) fn place(self) -> usize {
        match self {
            Self::Cookie => 0,
            Self::TooFast => 1,
            Self::TooManyIds => 2,
            Self::TooManySwarms => 3,
            Self::NoPort => 4,
            Self::Full => 5,
            Self::Secret => 6,
            Self::Malformed => 7,
            Self::Token(_) => 8,
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::TooFast => "too_fast",
            Self::TooManyIds => "too_many_ids",
            Self::TooManySwarms => "too_many_swarms",
            Self::NoPort => "no_port",
            Self::Full => "full",
            Self::Secret => "secret",
            Self::Malformed => "malformed",
            Self::Token(_) => "token",
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        if error == WireError::Tag { Self::Secret } else { Self::Malformed }
    }
}
