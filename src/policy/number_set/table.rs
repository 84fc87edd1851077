//! The hash table of exact numbers: filled once, read millions of times a second.

/// Set of 64-bit keys other than 0, each with a `u32`.
///
/// Keys are hashed by a bijection, so the table holds hashes alone and an equal hash is an equal key. The home of
/// a hash is its upper part scaled to the table's length, so homes rise with hashes and slots can be filled in
/// sorted order: a search ends at the first greater hash, and filling writes memory from front to back.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Hashes in rising order with gaps; 0 is a gap, and the last one always is.
    slots: Vec<u64>,
    /// Homes are `0..n_homes`; the slots after them take what the last homes push out.
    n_homes: u64,
    /// One a key, in the order of slots.
    values: Vec<u32>,
    /// How many keys stand before each block of [`BLOCK`] slots.
    ranks: Vec<u32>,
}

/// Slots per home and key: a search looks at two slots on average, and a key with its value costs 15 bytes.
const HOMES_NUMERATOR: u64 = 4;
const HOMES_DENOMINATOR: u64 = 3;
const BLOCK: usize = 64;
/// Look-ups whose first loads are issued together, so that the memory's latency is paid once for all.
pub(super) const LANES: usize = 32;

impl Table {
    /// Of equal keys the first wins.
    pub(super) fn new(keys: impl Iterator<Item = (u64, u32)>) -> Table {
        let mut hashed: Vec<(u64, u32)> = keys.map(|(key, value)| (hash(key), value)).collect();
        hashed.sort_by_key(|(h, _)| *h);
        hashed.dedup_by_key(|(h, _)| *h);
        if hashed.is_empty() {
            return Table::default();
        }
        let n_homes = (hashed.len() as u64 * HOMES_NUMERATOR).div_ceil(HOMES_DENOMINATOR);
        let mut table = Table {
            slots: Vec::with_capacity(n_homes as usize + 64),
            n_homes,
            values: hashed.iter().map(|(_, value)| *value).collect(),
            ranks: Vec::new(),
        };
        for (h, _) in &hashed {
            let home = table.home(*h);
            if table.slots.len() < home {
                table.slots.resize(home, 0);
            }
            table.slots.push(*h);
        }
        let len = table.slots.len().max(n_homes as usize) + 1;
        table.slots.resize(len, 0);
        table.slots.shrink_to_fit();
        let mut rank = 0;
        for block in table.slots.chunks(BLOCK) {
            table.ranks.push(rank);
            rank += block.iter().filter(|slot| **slot != 0).count() as u32;
        }
        table
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.slot(key).is_some()
    }

    /// The key's value.
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let slot = self.slot(key)?;
        let start = slot / BLOCK * BLOCK;
        let before = self.slots.get(start..slot)?.iter().filter(|s| **s != 0).count();
        self.values.get(*self.ranks.get(slot / BLOCK)? as usize + before).copied()
    }

    /// `contains` of up to [`LANES`] keys at once.
    pub(super) fn contains_lanes(&self, keys: &[u64; LANES]) -> [bool; LANES] {
        let (mut hashes, mut homes, mut firsts) = ([0u64; LANES], [0usize; LANES], [0u64; LANES]);
        for i in 0..LANES {
            hashes[i] = hash(keys[i]);
            homes[i] = self.home(hashes[i]);
        }
        // Loads that wait for nothing but each other's memory channel.
        for i in 0..LANES {
            firsts[i] = self.slots.get(homes[i]).copied().unwrap_or(0);
        }
        let mut found = [false; LANES];
        for i in 0..LANES {
            found[i] = match passed(firsts[i], hashes[i]) {
                true => false,
                false => firsts[i] == hashes[i] || self.search(homes[i] + 1, hashes[i]).is_some(),
            };
        }
        found
    }

    /// Touches the memory that [`Table::contains`] of these keys will read, so that their cache misses overlap.
    pub(super) fn warm(&self, keys: impl Iterator<Item = u64>) {
        let touched = keys.fold(0, |all, key| all ^ self.slots.get(self.home(hash(key))).copied().unwrap_or(0));
        std::hint::black_box(touched);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * 8 + (self.values.capacity() + self.ranks.capacity()) * 4
    }

    fn slot(&self, key: u64) -> Option<usize> {
        let h = hash(key);
        self.search(self.home(h), h)
    }

    fn search(&self, from: usize, h: u64) -> Option<usize> {
        let mut at = from;
        loop {
            let slot = *self.slots.get(at)?;
            if slot == h && h != 0 {
                return Some(at);
            }
            if passed(slot, h) {
                return None;
            }
            at += 1;
        }
    }

    fn home(&self, h: u64) -> usize {
        ((u128::from(h) * u128::from(self.n_homes)) >> 64) as usize
    }
}

/// A gap, or past where the hash would stand.
fn passed(slot: u64, h: u64) -> bool {
    slot.wrapping_sub(1) >= h
}

/// A bijection that leaves 0 at 0 (the finaliser of MurmurHash3 with Stafford's constants, mix 13).
/// Lists are the operator's own, so nobody chooses keys against it; events only read.
fn hash(key: u64) -> u64 {
    let mut h = key;
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_with_its_value_and_nothing_else() {
        for n in [0u64, 1, 2, 3, 63, 64, 65, 1000, 50_000] {
            let table = Table::new((1..=n).map(|k| (k * 7, k as u32)));
            assert_eq!(table.len(), n as usize);
            for k in 0..=n + 10 {
                assert_eq!(table.get(k * 7), (1..=n).contains(&k).then_some(k as u32));
                assert!(!table.contains(k * 7 + 1));
            }
        }
    }

    #[test]
    fn of_equal_keys_the_first_wins() {
        let table = Table::new([(5, 1), (6, 2), (5, 3)].into_iter());
        assert_eq!((table.len(), table.get(5), table.get(6)), (2, Some(1), Some(2)));
    }

    #[test]
    fn zero_is_never_a_member() {
        assert!(!Table::default().contains(0));
        assert!(!Table::new([(1, 1)].into_iter()).contains(0));
        assert_eq!(Table::new([(1, 1)].into_iter()).contains_lanes(&[0; LANES]), [false; LANES]);
    }

    #[test]
    fn a_key_with_its_value_costs_less_than_sixteen_bytes() {
        let table = Table::new((1..=100_000u64).map(|k| (k, 0)));
        assert!(table.memory_bytes() < 16 * 100_000, "{} bytes", table.memory_bytes());
    }
}
