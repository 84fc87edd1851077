//! Puts IP fragments together: a bounded pool of datagrams that are not whole yet.
//!
//! Where fragments overlap the first to come wins, so a datagram that was captured twice is the same. Capture filters
//! by port see only the first fragment of a datagram; what never became whole is given back as far as it goes.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::link::{Fragment, Ip};
use crate::limits::{CAPTURE_DATAGRAMS_MAX, CAPTURE_FRAGMENT_AGE_US, CAPTURE_FRAGMENTS_MAX};

const DATAGRAM_BYTES_MAX: usize = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    identification: u32,
}

/// A datagram of which something is missing, or nothing any more.
#[derive(Debug)]
pub(super) struct Datagram {
    key: Key,
    /// Of the first fragment that came.
    pub time_us: i64,
    pub n_fragments: u64,
    bytes: Vec<u8>,
    /// What of `bytes` came: sorted, apart from each other.
    came: Vec<(usize, usize)>,
    total: Option<usize>,
}

impl Datagram {
    /// What came without a break from its beginning, and how much is missing: at least one byte where it is not whole.
    pub(super) fn ip(&self) -> Option<Ip<'_>> {
        let head = self.came.first().filter(|(start, _)| *start == 0).map_or(0, |(_, end)| *end);
        let missing = self.total.unwrap_or(head + 1).saturating_sub(head);
        let Key { source, destination, protocol, .. } = self.key;
        let empty = Ip { source, destination, protocol, payload: &[], missing: 0, fragment: None };
        empty.with_payload(self.bytes.get(..head)?, missing)
    }

    fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| self.came == [(0, total)])
    }

    /// `false`: it does not fit what came before.
    fn add(&mut self, fragment: Fragment, payload: &[u8]) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + payload.len());
        let total = self.total.or((!fragment.has_more).then_some(end));
        let contradicts = total.is_some_and(|total| end > total || self.bytes.len() > total);
        if contradicts || payload.is_empty() || end > DATAGRAM_BYTES_MAX {
            return false;
        }
        self.total = total;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // The gaps between what came before are filled; what came stays.
        let mut at = start;
        for (came_start, came_end) in self.came.iter().copied().chain([(end, end)]) {
            let until = came_start.min(end);
            if at < until {
                let fresh = payload.get(at - start..until - start).unwrap_or(&[]);
                if let Some(space) = self.bytes.get_mut(at..until) {
                    space.copy_from_slice(fresh);
                }
            }
            at = at.max(came_end);
        }
        self.came.push((start, end));
        self.came.sort_unstable();
        self.came.dedup_by(|next, last| {
            let touches = next.0 <= last.1;
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
        true
    }
}

/// The datagrams that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    open: HashMap<Key, Datagram>,
    /// In the order they were opened. Some are whole and gone since.
    order: VecDeque<(Key, i64)>,
    /// Fragments that did not fit their datagram.
    pub n_refused: u64,
}

impl Fragments {
    /// Takes a fragment; gives its datagram when it is whole. Call [`Fragments::expire`] before.
    pub(super) fn add(&mut self, time_us: i64, ip: &Ip<'_>, fragment: Fragment) -> Option<Datagram> {
        let identification = fragment.identification;
        let key = Key { source: ip.source, destination: ip.destination, protocol: ip.protocol, identification };
        let order = &mut self.order;
        let datagram = self.open.entry(key).or_insert_with(|| {
            order.push_back((key, time_us));
            Datagram { key, time_us, n_fragments: 0, bytes: Vec::new(), came: Vec::new(), total: None }
        });
        // A cut fragment is of use as far as it goes; that it is not the last one is then all that it says.
        let is_cut = ip.missing > 0;
        let fits = datagram.n_fragments < CAPTURE_FRAGMENTS_MAX
            && datagram.add(Fragment { has_more: fragment.has_more || is_cut, ..fragment }, ip.payload);
        if fits {
            datagram.n_fragments += 1;
        } else {
            self.n_refused += 1;
        }
        if datagram.is_whole() { self.open.remove(&key) } else { None }
    }

    /// The next datagram that has waited too long at `now_us`, or that has to make room.
    pub(super) fn expire(&mut self, now_us: i64) -> Option<Datagram> {
        while let Some((_, opened_us)) = self.order.front() {
            // A time long before the opening is that of a clock set back: it is not waited for.
            let is_young = now_us.saturating_sub(*opened_us).unsigned_abs() < CAPTURE_FRAGMENT_AGE_US;
            if is_young && self.order.len() < CAPTURE_DATAGRAMS_MAX {
                return None;
            }
            if let Some(lost) = self.pop() {
                return Some(lost);
            }
        }
        None
    }

    /// The next datagram that is not whole, at the end of the file.
    pub(super) fn finish(&mut self) -> Option<Datagram> {
        while !self.order.is_empty() {
            if let Some(lost) = self.pop() {
                return Some(lost);
            }
        }
        None
    }

    /// Removes what was opened first, unless it is whole since, and perhaps opened again under the same number.
    fn pop(&mut self) -> Option<Datagram> {
        let (key, opened_us) = self.order.pop_front()?;
        self.open.get(&key).filter(|datagram| datagram.time_us == opened_us)?;
        self.open.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(offset: usize, has_more: bool) -> Fragment {
        Fragment { identification: 7, offset, has_more }
    }

    fn packet(payload: &[u8]) -> Ip<'_> {
        let ip = std::net::Ipv4Addr::LOCALHOST.into();
        Ip { source: ip, destination: ip, protocol: 17, payload, missing: 0, fragment: None }
    }

    fn add(pool: &mut Fragments, offset: usize, has_more: bool, payload: &[u8]) -> Option<Vec<u8>> {
        let whole = pool.add(0, &packet(payload), fragment(offset, has_more))?;
        let ip = whole.ip().unwrap();
        assert_eq!(ip.missing, 0);
        Some(ip.payload.to_vec())
    }

    #[test]
    fn fragments_make_a_datagram_in_any_order_and_twice() {
        let mut pool = Fragments::default();
        for _ in 0..2 {
            assert_eq!(add(&mut pool, 16, false, b"end"), None);
            assert_eq!(add(&mut pool, 0, true, b"01234567"), None);
            assert_eq!(add(&mut pool, 0, true, b"01234567"), None);
            assert_eq!(add(&mut pool, 8, true, b"89abcdef").unwrap(), b"0123456789abcdefend");
        }
        assert!(pool.open.is_empty());
    }

    #[test]
    fn the_first_of_two_that_overlap_wins_and_what_does_not_fit_is_refused() {
        let mut pool = Fragments::default();
        add(&mut pool, 8, true, b"BBBBBBBB");
        add(&mut pool, 0, true, b"aaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(add(&mut pool, 24, false, b"c").unwrap(), b"aaaaaaaaBBBBBBBBaaaaaaaac");
        add(&mut pool, 0, true, b"aaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(add(&mut pool, 8, false, b"short"), None);
        assert_eq!(add(&mut pool, 65_528, true, b"too far"), None);
        assert_eq!(add(&mut pool, 65_528, true, b"too far!"), None);
        assert_eq!(pool.n_refused, 2);
    }

    #[test]
    fn what_never_becomes_whole_is_given_back_as_far_as_it_goes() {
        let mut pool = Fragments::default();
        add(&mut pool, 0, true, b"01234567");
        add(&mut pool, 16, false, b"x");
        assert!(pool.expire(CAPTURE_FRAGMENT_AGE_US as i64 - 1).is_none());
        let lost = pool.expire(CAPTURE_FRAGMENT_AGE_US as i64).unwrap();
        let ip = lost.ip().unwrap();
        assert_eq!((ip.payload, ip.missing, lost.n_fragments), (&b"01234567"[..], 9, 2));
        add(&mut pool, 16, false, b"x");
        assert_eq!(pool.finish().unwrap().ip().unwrap().payload, b"");
    }

    #[test]
    fn the_pool_never_holds_more_than_its_bound() {
        let mut pool = Fragments::default();
        let mut n_lost = 0;
        for identification in 0..3 * CAPTURE_DATAGRAMS_MAX as u32 {
            n_lost += usize::from(pool.expire(0).is_some());
            pool.add(0, &packet(b"01234567"), Fragment { identification, offset: 0, has_more: true });
            assert!(pool.open.len() <= CAPTURE_DATAGRAMS_MAX && pool.order.len() <= CAPTURE_DATAGRAMS_MAX);
        }
        assert!(n_lost >= 2 * CAPTURE_DATAGRAMS_MAX);
    }
}
