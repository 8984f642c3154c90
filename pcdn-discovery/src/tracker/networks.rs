//! Which network and region an address belongs to, by the operator's own table.
//!
//! A line is `CIDR NETWORK [REGION]`, for instance `203.0.113.0/24 as64500 eu-west`; `#` begins a comment. The longest prefix
//! that holds an address counts. Names are only compared, so any will do: AS numbers, the names of sites, of racks.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// Lines of one table at most: twice the prefixes of the whole Internet's routing table.
pub const PREFIXES_MAX: usize = 2_000_000;
/// Bytes of a file at most: 64 a line.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// A network by its number in a [`Networks`]. 0 is the network of everyone the table does not name, which is near to nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u16);

/// An operator's table. Empty by default: then nobody is near to anybody.
#[derive(Clone, Default)]
pub struct Networks {
    /// Where each stretch of addresses begins, in order, and whose it is. IPv4 lies in the mapped range of IPv6.
    starts: Vec<(u128, NetworkId)>,
    /// Region of each network; 0 is none.
    regions: Vec<u16>,
}

/// Why a table is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// A line that cannot be read.
    #[error("line {line}: {what}; write CIDR NETWORK [REGION]")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// More than [`PREFIXES_MAX`] lines, 65,535 networks or 65,535 regions.
    #[error("more {0} than fit into one table")]
    TooMany(&'static str),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// One line: first and last address, network.
type Stretch = (u128, u128, NetworkId);

impl Networks {
    /// Reads a table.
    pub fn load(path: &Path) -> Result<Self, NetworksError> {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(NetworksError::TooMany("bytes"));
        }
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Reads the text of a table.
    pub fn parse(text: &str) -> Result<Self, NetworksError> {
        let mut names = Names::default();
        let mut regions = vec![0];
        let mut stretches = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let bad = |what| NetworksError::Line { line: number + 1, what };
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(cidr) = words.next() else { continue };
            let (first, last) = range(cidr).ok_or_else(|| bad("no network in CIDR form"))?;
            let network = words.next().ok_or_else(|| bad("the network has no name"))?;
            let network = names.networks.number(network, "networks")?;
            regions.resize(regions.len().max(usize::from(network) + 1), 0);
            if let Some(region) = words.next() {
                regions[usize::from(network)] = names.regions.number(region, "regions")?;
            }
            if words.next().is_some() {
                return Err(bad("too many words"));
            }
            if stretches.len() == PREFIXES_MAX {
                return Err(NetworksError::TooMany("lines"));
            }
            stretches.push((first, last, NetworkId(network)));
        }
        Ok(Self { starts: flatten(stretches), regions })
    }

    /// The network of `ip`. A binary search: 21 steps in the largest table.
    pub fn network_of(&self, ip: IpAddr) -> NetworkId {
        let ip = number(ip);
        let after = self.starts.partition_point(|(start, _)| *start <= ip);
        after.checked_sub(1).map_or(NetworkId::default(), |at| self.starts[at].1)
    }

    /// The region of a network by its number; 0 if it is in none.
    pub fn region_of(&self, network: NetworkId) -> u16 {
        self.regions.get(usize::from(network.0)).copied().unwrap_or(0)
    }

    /// Whether both are of one region, of a known one.
    pub fn same_region(&self, a: NetworkId, b: NetworkId) -> bool {
        self.region_of(a) != 0 && self.region_of(a) == self.region_of(b)
    }

    /// Stretches of addresses it tells apart.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Networks({} stretches)", self.len())
    }
}

#[derive(Default)]
struct Names {
    networks: Numbers,
    regions: Numbers,
}

/// Names in the order of their first use, from 1.
#[derive(Default)]
struct Numbers(HashMap<String, u16>);

impl Numbers {
    fn number(&mut self, name: &str, what: &'static str) -> Result<u16, NetworksError> {
        if let Some(known) = self.0.get(name) {
            return Ok(*known);
        }
        let next = u16::try_from(self.0.len() + 1).map_err(|_| NetworksError::TooMany(what))?;
        self.0.insert(name.to_owned(), next);
        Ok(next)
    }
}

/// Nested prefixes as stretches beside each other: where a stretch begins, and whose it is.
fn flatten(mut prefixes: Vec<Stretch>) -> Vec<(u128, NetworkId)> {
    // Wider ones first among those that begin together; of equal ones the later line counts.
    prefixes.sort_by_key(|(first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut starts: Vec<(u128, NetworkId)> = Vec::new();
    let mut open: Vec<Stretch> = Vec::new();
    let begin = |starts: &mut Vec<(u128, NetworkId)>, at: u128, network: NetworkId| match starts
        .last_mut()
        .filter(|(start, _)| *start == at)
    {
        Some(last) => last.1 = network,
        None => starts.push((at, network)),
    };
    let close = |open: &mut Vec<Stretch>, starts: &mut Vec<(u128, NetworkId)>| {
        if let Some((_, last, _)) = open.pop()
            && let Some(next) = last.checked_add(1)
        {
            begin(starts, next, open.last().map_or(NetworkId::default(), |(_, _, network)| *network));
        }
    };
    for prefix in prefixes {
        while open.last().is_some_and(|(_, last, _)| *last < prefix.0) {
            close(&mut open, &mut starts);
        }
        begin(&mut starts, prefix.0, prefix.2);
        open.push(prefix);
    }
    while !open.is_empty() {
        close(&mut open, &mut starts);
    }
    starts
}

/// First and last address of a prefix.
fn range(cidr: &str) -> Option<(u128, u128)> {
    let (ip, bits) = match cidr.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits)),
        None => (cidr, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let width: u32 = if ip.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits.map_or(Some(width), |bits| bits.parse().ok())?;
    let free = width.checked_sub(bits)?;
    let hosts = if free == 128 { u128::MAX } else { (1 << free) - 1 };
    let first = number(ip) & !hosts;
    Some((first, first | hosts))
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Networks {
        Networks::parse(
            "# sites\n10.0.0.0/8 home eu\n10.1.0.0/16 work eu # nested\n10.1.2.0/24 lab us\n\
             2001:db8::/32 six eu\n192.0.2.7 one\n\n",
        )
        .unwrap()
    }

    fn of(table: &Networks, ip: &str) -> u16 {
        table.network_of(ip.parse().unwrap()).0
    }

    #[test]
    fn the_longest_prefix_counts() {
        let table = table();
        let all = ["10.0.0.1", "10.1.0.1", "10.1.2.3", "10.1.3.0", "10.2.0.0", "11.0.0.0", "9.255.255.255"];
        assert_eq!(all.map(|ip| of(&table, ip)), [1, 2, 3, 2, 1, 0, 0]);
        assert_eq!(
            ["2001:db8:1::1", "2001:db9::", "192.0.2.7", "192.0.2.8"].map(|ip| of(&table, ip)),
            [4, 0, 5, 0]
        );
    }

    #[test]
    fn regions_join_networks_and_nobody_is_near_by_default() {
        let table = table();
        let id = NetworkId;
        assert!(table.same_region(id(1), id(4)));
        assert!(!table.same_region(id(1), id(3)));
        assert!(!table.same_region(id(5), id(5)), "no region is no region in common");
        assert!(!Networks::default().same_region(id(0), id(0)));
        assert_eq!(of(&Networks::default(), "10.0.0.1"), 0);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [("10.0.0.0/33 a", 1), ("10.0.0.0/8", 1), ("\nx a", 2), ("10.0.0.0/8 a b c", 1)] {
            let error = Networks::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line {line}:")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn flattened_it_says_what_a_search_of_all_prefixes_says(
            prefixes in proptest::collection::vec((any::<u32>(), 0u32..=8), 0..20), asked: u32
        ) {
            // Of 16 addresses apart, so that prefixes nest often.
            let ip = |n: u32| std::net::Ipv4Addr::from(n << 4 & 0xff);
            let line = |(at, (n, bits)): (usize, &(u32, u32))| format!("{}/{} n{at}\n", ip(*n), 32 - bits);
            let text: String = prefixes.iter().enumerate().map(line).collect();
            let table = Networks::parse(&text).unwrap();
            let holds = |(n, bits): &(u32, u32)| u32::from(ip(*n)) >> bits == u32::from(ip(asked)) >> bits;
            let best = prefixes.iter().enumerate().filter(|(_, prefix)| holds(prefix));
            let best = best.min_by_key(|(at, (_, bits))| (*bits, std::cmp::Reverse(*at)));
            prop_assert_eq!(table.network_of(ip(asked).into()).0, best.map_or(0, |(at, _)| at as u16 + 1));
        }
    }
}
