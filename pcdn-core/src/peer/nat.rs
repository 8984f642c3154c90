//! What stands between a peer and the world, by what it does and not by what it is.

/// How others can reach a peer (RFC 4787's terms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nat {
    /// It does not know.
    #[default]
    Unknown,
    /// Anyone can reach it: no NAT, or one mapping that lets everybody in ("full cone").
    Open,
    /// One mapping for all others, and in comes only what was written to, by address and port ("port-restricted cone"):
    /// punching works with every other that has one mapping.
    Cone,
    /// Another mapping for each other: reached only by who lets in any port of its address.
    Symmetric,
    /// One mapping for all others, and in comes every port of an address that was written to ("restricted cone"): punching
    /// works with all.
    Restricted,
}

impl Nat {
    /// Its byte on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What a byte stands for; those of later versions say nothing.
    pub fn of(code: u8) -> Self {
        match code {
            1 => Self::Open,
            2 => Self::Cone,
            3 => Self::Symmetric,
            4 => Self::Restricted,
            _ => Self::Unknown,
        }
    }

    /// Whether two such peers can have a direct link, if both try at once. Who does not know is given the benefit of the doubt.
    pub fn meets(self, other: Self) -> bool {
        !matches!(
            (self, other),
            (Self::Symmetric, Self::Symmetric | Self::Cone) | (Self::Cone, Self::Symmetric)
        )
    }

    /// In words, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Open => "open",
            Self::Cone => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::Restricted => "address-restricted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Nat; 5] = [Nat::Unknown, Nat::Open, Nat::Cone, Nat::Symmetric, Nat::Restricted];

    #[test]
    fn codes_round_trip_and_later_ones_say_nothing() {
        ALL.into_iter().for_each(|nat| assert_eq!(Nat::of(nat.code()), nat));
        (5..=u8::MAX).for_each(|code| assert_eq!(Nat::of(code), Nat::Unknown));
    }

    #[test]
    fn three_of_all_pairs_cannot_meet() {
        let pairs = ALL.into_iter().flat_map(|a| ALL.map(|b| (a, b)));
        let apart: Vec<_> = pairs.filter(|(a, b)| !a.meets(*b)).collect();
        let (cone, symmetric) = (Nat::Cone, Nat::Symmetric);
        assert_eq!(apart, [(cone, symmetric), (symmetric, cone), (symmetric, symmetric)]);
    }
}
