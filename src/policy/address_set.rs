//! A list of addresses and networks, v4 and v6 alike.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::clock::Timestamp;

/// Addresses from one to another, both included. IPv4 is held as IPv4-mapped IPv6, so that a v4 peer of a
/// v6 socket is the same peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    low: u128,
    high: u128,
}

impl AddressRange {
    /// `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`. What is wrong is said as a phrase.
    pub fn parse(text: &str) -> Result<AddressRange, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| format!("`{text}` is no IP address"))?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let at = place(ip);
        let Some(bits) = bits else { return Ok(AddressRange { low: at, high: at }) };
        let bits: u32 = bits
            .parse()
            .ok()
            .filter(|b| *b <= width)
            .ok_or_else(|| format!("`/{bits}` is no prefix length: 0 to {width}"))?;
        let hosts = u128::MAX.checked_shr(128 - width + bits).unwrap_or(0);
        if at & hosts != 0 {
            let network = Ipv6Addr::from(at & !hosts).to_canonical();
            return Err(format!("`{text}` has bits beyond its prefix; the network is {network}/{bits}"));
        }
        Ok(AddressRange { low: at, high: at | hosts })
    }

    /// From the first address of one to the last of the other.
    pub fn span(from: AddressRange, to: AddressRange) -> Result<AddressRange, String> {
        let mapped = |r: &AddressRange| Ipv6Addr::from(r.low).to_ipv4_mapped().is_some();
        if mapped(&from) != mapped(&to) {
            return Err("a range needs two addresses of one family".to_owned());
        }
        if from.low > to.high {
            return Err("the range ends before it begins".to_owned());
        }
        Ok(AddressRange { low: from.low, high: to.high })
    }
}

/// `192.0.2.1`, `10.0.0.0/8`, and `10.0.0.1..10.0.0.7` where it is no network.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (Ipv6Addr::from(self.low).to_canonical(), Ipv6Addr::from(self.high).to_canonical());
        let hosts = self.high - self.low;
        let bits = hosts.count_ones();
        match hosts {
            0 => write!(f, "{low}"),
            _ if hosts & hosts.wrapping_add(1) == 0 && self.low & hosts == 0 => {
                write!(f, "{low}/{}", if low.is_ipv4() { 32u32.saturating_sub(bits) } else { 128 - bits })
            }
            _ => write!(f, "{low}..{high}"),
        }
    }
}

fn place(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Ranges of addresses, each with the time from which it no longer counts.
#[derive(Debug, Default)]
pub struct AddressSet {
    /// `(range, highest end so far, expires)`, by the range's start.
    ranges: Vec<(AddressRange, u128, Timestamp)>,
}

impl AddressSet {
    pub fn new(mut ranges: Vec<(AddressRange, Option<Timestamp>)>) -> AddressSet {
        ranges.sort_unstable_by_key(|(range, expires)| (*range, std::cmp::Reverse(*expires)));
        let mut reach = 0;
        let ranges = ranges
            .into_iter()
            .map(|(range, expires)| {
                reach = range.high.max(reach);
                (range, reach, expires.unwrap_or(Timestamp::MAX))
            })
            .collect();
        AddressSet { ranges }
    }

    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The narrowest of the ranges that hold the address.
    pub fn entry(&self, ip: IpAddr, at: Timestamp) -> Option<AddressRange> {
        let ip = place(ip);
        let holding = self.ranges.iter().filter(|(range, _, until)| range.low <= ip && ip <= range.high && at < *until);
        holding.map(|(range, ..)| *range).min_by_key(|range| (range.high - range.low, range.low))
    }

    /// First and last address of each range; `None` where some expire.
    pub(super) fn lasting_spans(&self) -> Option<Vec<(u128, u128)>> {
        let span = |(range, _, until): &(AddressRange, u128, Timestamp)| {
            (*until == Timestamp::MAX).then_some((range.low, range.high))
        };
        self.ranges.iter().map(span).collect()
    }

    pub fn contains(&self, ip: IpAddr, at: Timestamp) -> bool {
        let ip = place(ip);
        let after = self.ranges.partition_point(|(range, ..)| range.low <= ip);
        let before = self.ranges.get(..after).unwrap_or_default();
        // Back from the nearest start, as long as any range that starts earlier reaches so far.
        before
            .iter()
            .rev()
            .take_while(|(_, reach, _)| *reach >= ip)
            .any(|(range, _, until)| range.high >= ip && at < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[(&str, Option<i64>)]) -> AddressSet {
        AddressSet::new(
            texts.iter().map(|(t, until)| (AddressRange::parse(t).unwrap(), until.map(Timestamp))).collect(),
        )
    }

    fn holds(set: &AddressSet, ip: &str, at: i64) -> bool {
        set.contains(ip.parse().unwrap(), Timestamp(at))
    }

    #[test]
    fn networks_hold_their_first_and_last_address_and_nothing_beside() {
        let set = set(&[("10.1.0.0/16", None), ("10.0.0.0/8", Some(50)), ("192.0.2.7", None), ("2001:db8::/32", None)]);
        assert!(holds(&set, "10.1.0.0", 99) && holds(&set, "10.1.255.255", 99));
        assert!(holds(&set, "10.2.0.0", 49) && !holds(&set, "10.2.0.0", 50) && !holds(&set, "11.0.0.0", 0));
        assert!(holds(&set, "::ffff:192.0.2.7", 0) && !holds(&set, "192.0.2.8", 0) && !holds(&set, "192.0.2.6", 0));
        assert!(holds(&set, "2001:db8:ffff::1", 0) && !holds(&set, "2001:db9::", 0));
        assert!(holds(&super::tests::set(&[("0.0.0.0/0", None)]), "255.1.1.1", 0));
        assert!(!holds(&super::tests::set(&[("0.0.0.0/0", None)]), "::1", 0));
        assert!(holds(&super::tests::set(&[("::/0", None)]), "9.9.9.9", 0));
    }

    #[test]
    fn a_mistyped_network_is_told_apart() {
        let wrong = |text| AddressRange::parse(text).unwrap_err();
        assert_eq!(wrong("10.0.0.300"), "`10.0.0.300` is no IP address");
        assert_eq!(wrong("10.0.0.0/33"), "`/33` is no prefix length: 0 to 32");
        assert_eq!(wrong("10.0.0.1/8"), "`10.0.0.1/8` has bits beyond its prefix; the network is 10.0.0.0/8");
    }
}
