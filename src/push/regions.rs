//! Which addresses are which region, as the operator says.

use std::net::IpAddr;
use std::str::FromStr;

use pcdn_core::superpeer::Region;

/// A table of regions: `NAME=ADDRESS/BITS`, the longest match decides. Addresses in none are region 0.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    names: Vec<String>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    base: u128,
    bits: u8,
    region: Region,
}

/// Regions at most: more than there are countries.
const REGIONS_MAX: usize = 1_000;

/// What is wrong with a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no region: {why}; write NAME=ADDRESS/BITS, such as eu=192.0.2.0/24")]
pub struct RegionError {
    text: String,
    why: &'static str,
}

impl Regions {
    /// From lines such as `eu=192.0.2.0/24`; a name may come again with more blocks.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse<'t>(lines: impl IntoIterator<Item = &'t str>) -> Result<Self, RegionError> {
        let mut regions = Self::default();
        lines.into_iter().try_for_each(|line| regions.add(line))?;
        Ok(regions)
    }

    fn add(&mut self, line: &str) -> Result<(), RegionError> {
        let bad = |why| RegionError { text: line.chars().take(80).collect(), why };
        let (name, block) = line.split_once('=').ok_or(bad("it has no addresses"))?;
        if name.is_empty() {
            return Err(bad("it has no name"));
        }
        let (ip, bits) = block.split_once('/').ok_or(bad("the addresses have no length"))?;
        let ip = IpAddr::from_str(ip).map_err(|_| bad("that is no address"))?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or(bad("that is no length"))?;
        let known = self.names.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        if self.names.len() > REGIONS_MAX {
            return Err(bad("there are too many"));
        }
        let bits = bits + (128 - most);
        self.blocks.push(Block { base: number(ip) & mask(bits), bits, region: Region(at as u16 + 1) });
        Ok(())
    }

    /// The region of an address.
    pub fn of(&self, ip: IpAddr) -> Region {
        let ip = number(ip);
        let holding = self.blocks.iter().filter(|block| ip & mask(block.bits) == block.base);
        holding.max_by_key(|block| block.bits).map_or(Region::default(), |block| block.region)
    }

    /// The region called `name`.
    pub fn called(&self, name: &str) -> Option<Region> {
        Some(Region(self.names.iter().position(|known| known == name)? as u16 + 1))
    }

    /// What a region is called.
    pub fn name(&self, region: Region) -> Option<&str> {
        self.names.get(usize::from(region.0).checked_sub(1)?).map(String::as_str)
    }

    /// All names.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// An address as a number; IPv4 as it is written in IPv6.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_decides() {
        let lines = ["eu=10.0.0.0/8", "us=10.1.0.0/16", "eu=2001:db8::/32", "all=::/0"];
        let regions = Regions::parse(lines).unwrap();
        let named = |ip: &str| regions.name(regions.of(ip.parse().unwrap())).unwrap_or("none").to_owned();
        assert_eq!(named("10.2.3.4"), "eu");
        assert_eq!(named("10.1.3.4"), "us");
        assert_eq!(named("::ffff:10.1.3.4"), "us");
        assert_eq!(named("2001:db8::1"), "eu");
        assert_eq!(named("192.0.2.1"), "all");
        assert_eq!(regions.called("us"), Some(Region(2)));
        assert_eq!((regions.called("mars"), regions.names().len()), (None, 3));
        assert_eq!(Regions::default().of([10, 0, 0, 1].into()), Region(0));
    }

    #[test]
    fn what_is_no_region_is_refused_with_the_form() {
        for bad in ["eu", "=10.0.0.0/8", "eu=10.0.0.0", "eu=ten/8", "eu=10.0.0.0/33", "eu=10.0.0.0/-1"] {
            let error = Regions::parse([bad]).unwrap_err().to_string();
            assert!(error.contains("NAME=ADDRESS/BITS") && error.contains(bad), "{error}");
        }
    }
}
