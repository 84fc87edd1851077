//! The keys of one rule that one shard owns: an index, slots, and what happens when there is no more room.
//!
//! Every rule has its own keys, spread over [`crate::limits::PARTITIONS`] by their hash, so that limits and evictions are the same
//! whatever the number of shards. A look-up is one probe of an index of 8-byte entries (32 bits of hash, slot) and
//! one access to the slot, which holds the key and the window of quiet keys.

mod keys;
mod saved;
mod swap;
mod timed;

use hashbrown::HashMap;

pub(crate) use self::keys::Look;
use self::saved::Coming;
use self::timed::{Found, Timers};
use super::episode::{Clearing, Terms};
use super::judged::Watch;
use super::key::{KeptKey, Key, KeyBytes, KeyHasher};
use super::pending::Saving;
use crate::policy::Severity;
use crate::window::{Meter, Pool, Slab};

/// One event that one rule counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) hash: u64,
    pub(crate) key: Key,
    /// What the measure takes of it; `window::NOTHING` where it is absent.
    pub(crate) value: u64,
    /// Event time, ms.
    pub(crate) time: i64,
    pub(crate) event: u32,
    pub(crate) act: Act,
    /// Nobody is to be told of it; known only of rules that time may bring to fire, see [`Crossing::is_muted`].
    pub(crate) is_muted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Count,
    /// `concurrent`: the call is over.
    Remove,
    /// `concurrent`: the call is still up.
    Refresh,
}

/// What one hit did besides being counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Crossing {
    pub(crate) event: u32,
    pub(crate) level: Severity,
    pub(crate) time: i64,
    pub(crate) top: u64,
    pub(crate) bottom: u64,
    pub(crate) late: bool,
    /// Counted under `(other)` for want of room.
    pub(crate) other: bool,
    /// The episode it opened or made critical; it may be closed by the time anybody looks.
    pub(crate) episode: EpisodeId,
    pub(crate) slot: u32,
    /// Time brought it, not its event: the key it is about.
    pub(crate) timed: Option<Box<KeptKey>>,
    /// The episode goes on, and it is time to say so again.
    pub(crate) is_reminder: bool,
    /// Time brought it, and nobody was to be told of the key's last event.
    pub(crate) is_muted: bool,
    /// See [`crate::window::Reading::usual`].
    pub(crate) usual: Option<u64>,
}

/// What one visit to a table brought.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    pub(crate) crossings: Vec<Crossing>,
    /// Slot, its partition, and the instant from which its episode counts as closed.
    pub(crate) closed: Vec<(EpisodeId, i64)>,
    pub(crate) counted: u64,
    pub(crate) late: u64,
    pub(crate) too_late: u64,
    pub(crate) evicted: u64,
    /// What is noted below; stays from visit to visit.
    pub(crate) watch: Watch,
    pub(crate) seen: Vec<Seen>,
}

/// A hit that was counted under somebody's eyes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) event: u32,
    pub(crate) hash: u64,
    pub(crate) time: i64,
    pub(crate) top: u64,
    pub(crate) bottom: u64,
    pub(crate) counts: bool,
    pub(crate) level: Option<Severity>,
    pub(crate) other: bool,
}

/// Names an episode for its life: no two of a table have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EpisodeId {
    pub(crate) partition: u32,
    pub(crate) number: u64,
}

#[derive(Debug)]
struct Slot<M> {
    key: Key,
    meter: M,
}

#[derive(Debug)]
struct Partition<M: Meter> {
    /// Low half: slot + 1, 0 for a free place; high half: the low 32 bits of the hash. Linear probing.
    index: Vec<u64>,
    slots: Vec<Slot<M>>,
    /// Slots of keys that went to make room for bytes, not for another key.
    vacant: Vec<u32>,
    /// Where the next search for a key that may go begins.
    hand: u32,
    /// What is counted for want of room, a slot a customer.
    other: HashMap<u32, u32>,
    /// Of rules with levels that time alone may bring.
    timers: HashMap<u32, Timers>,
    pool: M::Pool,
    keys: Slab<Box<[u8]>>,
    episodes: HashMap<u32, Episode>,
    episodes_opened: u64,
    /// Of keys that are not inline.
    key_bytes: usize,
    saving: Saving,
    /// What has been read of it so far.
    coming: Option<Box<Coming<M>>>,
}

#[derive(Clone, Copy, Debug)]
struct Episode {
    number: u64,
    clearing: Clearing,
    /// Kept until the key changes; an answer costs a walk over its window.
    closes_at: Option<i64>,
    /// When it was last told of.
    reminded: i64,
}

/// Keys a search for one that may go looks at.
const SEARCH: usize = 16;
const INDEX_MIN: usize = 8;
/// Instants below which half of a key's items is not worth keeping.
const SHORTEST: usize = 4;

/// What a window shows at the instants at which its items leave.
#[cfg(test)]
pub(crate) type Shown = Vec<(i64, crate::window::Reading)>;

/// The keys of one rule in one shard.
#[derive(Debug)]
pub(crate) struct Table<M: Meter> {
    partitions: Vec<Partition<M>>,
    /// Shards are a power of two; partition p is number `p >> shards_log2` of its shard.
    shards_log2: u32,
    terms: Terms,
    hasher: KeyHasher,
    /// A save is under way that has not written all of it.
    is_saving: bool,
}

/// A partition is the top six bits of a key's hash.
pub(crate) fn partition_of(hash: u64) -> u32 {
    (hash >> 58) as u32
}

impl<M: Meter> Table<M> {
    /// The partitions p with `p % n_shards` = the shard.
    pub(crate) fn new(terms: Terms, hasher: KeyHasher, n_partitions: usize, n_shards: u32) -> Table<M> {
        debug_assert!(n_shards.is_power_of_two());
        let partitions = (0..n_partitions).map(|_| Partition::new()).collect();
        Table { partitions, shards_log2: n_shards.trailing_zeros(), terms, hasher, is_saving: false }
    }

    /// Whether what is counted from now on is tested for crossings.
    pub(crate) fn set_quiet(&mut self, is_quiet: bool) {
        self.terms.is_quiet = is_quiet;
    }

    /// Counts hits in order. Hits of other partitions than this shard's are the caller's mistake.
    pub(crate) fn run(&mut self, hits: &[Hit], bytes: &KeyBytes, out: &mut Yield) {
        for chunk in hits.chunks(32) {
            self.warm(chunk);
            for hit in chunk {
                self.visit(hit, bytes, out);
            }
        }
    }

    /// Touches index and slots of a chunk, so that their cache misses overlap.
    fn warm(&self, chunk: &[Hit]) {
        let mut slots = [(0u32, 0u32); 32];
        for (place, hit) in slots.iter_mut().zip(chunk) {
            let p = partition_of(hit.hash) >> self.shards_log2;
            let part = &self.partitions[p as usize];
            let mask = part.index.len().wrapping_sub(1);
            let entry = part.index.get(hit.hash as u32 as usize & mask).copied().unwrap_or(0);
            *place = (p, entry as u32);
        }
        // Each pass only loads, for all hits of the chunk: slots, what the pool holds for them, the items there.
        let mut touched = 0u64;
        let places = &slots[..chunk.len()];
        let slot_of = |(p, slot): &(u32, u32)| {
            let part = &self.partitions[*p as usize];
            part.slots.get((*slot as usize).wrapping_sub(1)).map(|s| (s, &part.pool))
        };
        for (slot, _) in places.iter().filter_map(slot_of) {
            touched ^= slot.key.bits();
        }
        for (slot, pool) in places.iter().filter_map(slot_of) {
            touched ^= slot.meter.touch(pool);
        }
        for (slot, pool) in places.iter().filter_map(slot_of) {
            touched ^= slot.meter.touch_items(pool);
        }
        std::hint::black_box(touched);
    }

    /// Counts one hit; a level that now holds and did not before is a crossing. Where the key's episode is open, its id,
    /// its slot and the earliest instant at which it may close.
    pub(crate) fn observe(&mut self, hit: &Hit, bytes: &KeyBytes, out: &mut Yield) -> Option<(EpisodeId, u32, i64)> {
        let slot = self.visit(hit, bytes, out)?;
        let global = partition_of(hit.hash);
        self.partitions[(global >> self.shards_log2) as usize].open_at(slot, &self.terms, global)
    }

    /// The slot that the hit was counted in.
    #[inline]
    fn visit(&mut self, hit: &Hit, bytes: &KeyBytes, out: &mut Yield) -> Option<u32> {
        let global = partition_of(hit.hash);
        let part = &mut self.partitions[(global >> self.shards_log2) as usize];
        if self.is_saving {
            part.begin_save();
        }
        if hit.act == Act::Remove {
            return part.remove(hit, bytes, &self.terms, out, global);
        }
        let slot = part.find(hit, bytes).or_else(|| {
            (hit.act == Act::Count).then(|| part.insert(hit, bytes, &self.terms, &self.hasher, out, global))
        })?;
        let values = if self.terms.width.parts.is_some() { bytes.values(hit.value) } else { &[] };
        part.count(slot, (hit, values), &self.terms, &self.hasher, out, global);
        Some(slot)
    }

    /// Lets event time pass for idle keys: closes the episodes that end by `at`, and fires the timers that are due.
    pub(crate) fn tick(&mut self, shard: u32, at: i64, out: &mut Yield) {
        let is_timed = self.terms.is_timed;
        for (i, part) in self.partitions.iter_mut().enumerate() {
            if part.episodes.is_empty() && !is_timed {
                continue;
            }
            if self.is_saving {
                part.begin_save();
            }
            let global = ((i as u32) << self.shards_log2) + shard;
            if is_timed {
                part.tick_timed(&self.terms, at, global, out);
                continue;
            }
            // Most are too young to be over; only of the others is the end worked out.
            let mut due: Vec<(u64, u32)> = part.episodes.iter().map(|(slot, e)| (e.number, *slot)).collect();
            due.retain(|(_, slot)| part.earliest_end(*slot, &self.terms) <= at && part.is_over(*slot, &self.terms, at));
            due.sort_unstable();
            for (_, slot) in due {
                let closed_at = part.closes_at(slot, &self.terms);
                part.close(slot, closed_at, out, global);
            }
        }
    }

    /// What every key's window shows as its items leave, one instant after the other; keys by their hash.
    #[cfg(test)]
    pub(crate) fn windows(&self, edge: i64) -> Vec<(u64, Shown)> {
        let mut windows = Vec::new();
        for part in &self.partitions {
            for slot in part.slots.iter().filter(|slot| slot.key != Key::VACANT) {
                let mut pool = M::Pool::default();
                let mut meter = slot.meter.copy(&part.pool, &mut pool);
                meter.expire(&mut pool, edge);
                let mut shown = Vec::new();
                while let Some(oldest) = meter.oldest_before(&pool, i64::MAX) {
                    shown.push((oldest, meter.reading(&pool, &self.terms.width)));
                    meter.expire(&mut pool, oldest);
                }
                if !shown.is_empty() {
                    windows.push((self.hasher.hash_kept(slot.key, &part.keys), shown));
                }
            }
        }
        windows
    }

    /// When the episode closes if its key has no further event; `None` where it is closed.
    pub(crate) fn closes_at(&mut self, id: EpisodeId, slot: u32) -> Option<i64> {
        let part = &mut self.partitions[(id.partition >> self.shards_log2) as usize];
        let number = part.episodes.get(&slot)?.number;
        (number == id.number).then(|| part.closes_at(slot, &self.terms))
    }

    pub(crate) fn keys(&self) -> u64 {
        self.partitions.iter().map(|p| (p.slots.len() - p.vacant.len()) as u64).sum()
    }

    /// Bytes held, of all partitions.
    pub(crate) fn bytes(&self) -> usize {
        self.partitions.iter().map(Partition::bytes).sum()
    }
}

impl<M: Meter> Partition<M> {
    fn new() -> Partition<M> {
        Partition {
            index: Vec::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
            other: HashMap::new(),
            timers: HashMap::new(),
            pool: M::Pool::default(),
            keys: Slab::default(),
            episodes: HashMap::new(),
            episodes_opened: 0,
            key_bytes: 0,
            saving: Saving::Untouched,
            coming: None,
        }
    }

    fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot<M>>()
            + self.index.len() * 8
            + self.pool.bytes()
            + self.key_bytes
            + self.timers.len() * size_of::<(u32, Timers)>()
    }

    fn find(&self, hit: &Hit, bytes: &KeyBytes) -> Option<u32> {
        let mask = self.index.len().checked_sub(1)?;
        let hash = hit.hash as u32;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.index[at];
            if entry == 0 {
                return None;
            }
            if (entry >> 32) as u32 == hash {
                let slot = entry as u32 - 1;
                if hit.key.is_same(bytes, self.slots[slot as usize].key, &self.keys) {
                    return Some(slot);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// A slot for a new key: a fresh one, that of a key which may go, or that of `(other)`.
    fn insert(
        &mut self,
        hit: &Hit,
        bytes: &KeyBytes,
        terms: &Terms,
        hasher: &KeyHasher,
        out: &mut Yield,
        global: u32,
    ) -> u32 {
        let held = self.slots.len() - self.vacant.len() - self.other.len();
        let full = held >= terms.keys_max || held > 0 && self.bytes() + size_of::<Slot<M>>() > terms.bytes_max;
        if full && !self.evict(hit.time, None, terms, hasher, out, global) {
            return self.other(hit.key.customer(bytes), hit.time, terms);
        }
        let (key, kept) = hit.key.keep(bytes, &mut self.keys);
        self.key_bytes += kept;
        let mut slot = Slot { key, meter: M::empty(hit.time) };
        if let Some(weeks) = &terms.usual {
            slot.meter.set_week(weeks.of(&KeptKey::new(key, &self.keys, 0)));
        }
        let place = match self.vacant.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // Eighths, not doubling: at millions of keys the slack would be the largest part.
                    self.slots.reserve_exact((self.slots.len() / 8).max(4));
                }
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.index_add(hit.hash as u32, place);
        place
    }

    fn index_add(&mut self, hash: u32, slot: u32) {
        let used = self.slots.len() - self.vacant.len();
        if (used + 1) * 5 > self.index.len() * 4 {
            let size = (self.index.len() * 2).max(INDEX_MIN);
            let old = std::mem::replace(&mut self.index, vec![0; size]);
            for entry in old.into_iter().filter(|e| *e != 0) {
                self.index_place(entry);
            }
        }
        self.index_place(u64::from(hash) << 32 | u64::from(slot + 1));
    }

    fn index_place(&mut self, entry: u64) {
        let mask = self.index.len() - 1;
        let mut at = (entry >> 32) as usize & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = entry;
    }

    /// Takes an entry out and closes the gap, so that no search ends early.
    fn index_remove(&mut self, hash: u32, slot: u32) {
        let mask = self.index.len() - 1;
        let entry = u64::from(hash) << 32 | u64::from(slot + 1);
        let mut gap = hash as usize & mask;
        while self.index[gap] != entry {
            if self.index[gap] == 0 {
                return;
            }
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let moved = self.index[at];
            if moved == 0 {
                break;
            }
            let home = (moved >> 32) as usize & mask;
            // Does the entry's home lie cyclically at or before the gap?
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.index[gap] = moved;
                gap = at;
            }
        }
        self.index[gap] = 0;
    }

    /// Makes one slot vacant, by the rule of 2-rules 2.9 point 19. `keep` is never the one that goes.
    fn evict(
        &mut self,
        now: i64,
        keep: Option<u32>,
        terms: &Terms,
        hasher: &KeyHasher,
        out: &mut Yield,
        global: u32,
    ) -> bool {
        let n = self.slots.len();
        let (mut looked, mut steps) = (0, 0);
        let mut lowest: Option<(u32, u64, u64)> = None;
        let mut goes = None;
        while looked < SEARCH && steps < n {
            let slot = (self.hand as usize + steps) as u32 % n as u32;
            steps += 1;
            if keep == Some(slot) || self.slots[slot as usize].key == Key::OTHER {
                continue;
            }
            if self.slots[slot as usize].key == Key::VACANT {
                continue;
            }
            looked += 1;
            let head = self.slots[slot as usize].meter.head();
            if head.is_open() {
                let closes_at = self.closes_at(slot, terms);
                if closes_at > now {
                    continue;
                }
                self.close(slot, closes_at, out, global);
            }
            let meter = &self.slots[slot as usize].meter;
            // What remembers values is of use when its window is empty, too.
            let reach_ms = terms.width.reach_ms();
            let is_empty = || reach_ms == terms.width.window_ms && meter.is_empty(&self.pool);
            if head.clock() <= now - reach_ms || is_empty() {
                goes = Some(slot);
                break;
            }
            let reading = meter.reading(&self.pool, &terms.width);
            let lower = lowest.is_none_or(|(_, top, bottom)| {
                u128::from(reading.top) * u128::from(bottom) < u128::from(top) * u128::from(reading.bottom)
            });
            if lower {
                lowest = Some((slot, reading.top, reading.bottom));
            }
        }
        let Some(slot) = goes.or(lowest.map(|(slot, ..)| slot)) else { return false };
        self.keep(slot);
        self.hand = (slot + 1) % n as u32;
        let gone = &mut self.slots[slot as usize];
        gone.meter.release(&mut self.pool);
        self.timers.remove(&slot);
        let key = std::mem::replace(&mut gone.key, Key::VACANT);
        self.index_remove(hasher.hash_kept(key, &self.keys) as u32, slot);
        self.key_bytes -= key.discard(&mut self.keys);
        self.vacant.push(slot);
        out.evicted += 1;
        true
    }

    fn other(&mut self, customer: u32, now: i64, terms: &Terms) -> u32 {
        let (slots, keys) = (&mut self.slots, &self.keys);
        *self.other.entry(customer).or_insert_with(|| {
            let mut meter = M::empty(now);
            let week = terms.usual.as_ref().and_then(|weeks| weeks.of(&KeptKey::new(Key::OTHER, keys, customer)));
            meter.set_week(week);
            slots.push(Slot { key: Key::OTHER, meter });
            (slots.len() - 1) as u32
        })
    }

    /// `values`: what rules of several measures take.
    fn count(
        &mut self,
        slot: u32,
        (hit, values): (&Hit, &[u8]),
        terms: &Terms,
        hasher: &KeyHasher,
        out: &mut Yield,
        global: u32,
    ) {
        self.keep(slot);
        let meter = &mut self.slots[slot as usize].meter;
        let head = meter.head();
        let (clock, now) = (head.clock(), hit.time);
        if hit.act == Act::Refresh && !meter.holds(&self.pool, hit.value) {
            // It was blocked, or is too old to be up.
            return;
        }
        let late = now < clock;
        if late && now <= clock - terms.width.window_ms {
            out.too_late += 1;
            meter.remember(&mut self.pool, &terms.width, now, values);
            if terms.is_timed {
                self.forget_held(slot, terms);
            }
            return;
        }
        out.late += u64::from(late);
        out.counted += u64::from(hit.act == Act::Count);
        let before = self.pool.bytes();
        let found = Found { event: hit.event, late, global, is_timed: false };
        if now > clock {
            self.let_pass(slot, terms, now, found, out);
        }
        let meter = &mut self.slots[slot as usize].meter;
        if hit.act == Act::Refresh && terms.is_age {
            // A call is as old as its beginning.
            meter.head_mut().advance(now);
            return;
        }
        if values.is_empty() {
            meter.insert(&mut self.pool, &terms.width, now, hit.value);
        } else {
            meter.insert_all(&mut self.pool, &terms.width, now, values);
        }
        let head = meter.head();
        if terms.is_timed {
            self.judge_timed(slot, terms, hit, found, out);
        } else if let Some(level) = terms.reached(&terms.reading(meter, &self.pool, head.clock()))
            && (!head.is_open() || level == Severity::Critical && !head.is_critical())
        {
            self.cross(slot, terms, (level, head.clock()), found, false, out);
        }
        if out.watch != Watch::Nothing && hit.act == Act::Count {
            self.note(slot, hit, terms, out);
        }
        if head.is_open()
            && now <= clock
            && let Some(episode) = self.episodes.get_mut(&slot)
        {
            episode.closes_at = None;
        }
        if self.pool.bytes() > before && self.bytes() > terms.bytes_max {
            while self.bytes() > terms.bytes_max && self.evict(now, Some(slot), terms, hasher, out, global) {}
            if self.bytes() > terms.bytes_max {
                self.shorten(slot);
            }
        }
    }

    #[cold]
    fn note(&self, slot: u32, hit: &Hit, terms: &Terms, out: &mut Yield) {
        let Slot { key, meter } = &self.slots[slot as usize];
        let head = meter.head();
        let level = head.is_open().then_some(if head.is_critical() { Severity::Critical } else { Severity::Warning });
        if out.watch == Watch::Open && level.is_none() {
            return;
        }
        let reading = terms.reading(meter, &self.pool, head.clock());
        out.seen.push(Seen {
            event: hit.event,
            hash: hit.hash,
            time: head.clock(),
            top: reading.top,
            bottom: reading.bottom,
            counts: reading.known && reading.items >= terms.min_count,
            level,
            other: *key == Key::OTHER,
        });
    }

    /// Event time passes from the key's clock to `now`.
    #[inline]
    fn let_pass(&mut self, slot: u32, terms: &Terms, now: i64, found: Found, out: &mut Yield) {
        let meter = &mut self.slots[slot as usize].meter;
        if terms.is_timed {
            self.pass(slot, terms, now, found, out);
        } else if meter.head().is_open() {
            self.advance_open(slot, terms, now, out, found.global);
        } else {
            meter.expire(&mut self.pool, now - terms.width.window_ms);
        }
    }

    /// No other key may go: this one forgets the older half of its items and under-counts. Half, so that it is long
    /// before it grows again.
    fn shorten(&mut self, slot: u32) {
        let meter = &mut self.slots[slot as usize].meter;
        let mut elsewhere = M::Pool::default();
        let mut copy = meter.copy(&self.pool, &mut elsewhere);
        let mut instants = Vec::new();
        while let Some(oldest) = copy.oldest_before(&elsewhere, i64::MAX) {
            copy.expire(&mut elsewhere, oldest);
            instants.push(oldest);
        }
        match instants.get(instants.len() / 2) {
            Some(newest) if instants.len() > SHORTEST => meter.expire(&mut self.pool, *newest),
            _ => meter.release(&mut self.pool),
        }
        meter.shrink(&mut self.pool);
    }

    fn advance_open(&mut self, slot: u32, terms: &Terms, now: i64, out: &mut Yield, global: u32) {
        let Some(episode) = self.episodes.get_mut(&slot) else { return };
        let meter = &mut self.slots[slot as usize].meter;
        episode.clearing.advance(terms, meter, &mut self.pool, now);
        episode.closes_at = None;
        if let Some(closed_at) = episode.clearing.closed_at {
            self.close(slot, closed_at, out, global);
        }
    }

    fn closes_at(&mut self, slot: u32, terms: &Terms) -> i64 {
        let Some(episode) = self.episodes.get_mut(&slot) else { return i64::MIN };
        let meter = &self.slots[slot as usize].meter;
        let pool = &self.pool;
        *episode.closes_at.get_or_insert_with(|| episode.clearing.closes_at(terms, meter, pool))
    }

    /// Is the episode over at an instant, whatever is yet to come of it? Without a cooldown it ends when the instant is over.
    fn is_over(&mut self, slot: u32, terms: &Terms, at: i64) -> bool {
        let closes_at = self.closes_at(slot, terms);
        if terms.cooldown_ms == 0 { closes_at < at } else { closes_at <= at }
    }

    fn close(&mut self, slot: u32, closed_at: i64, out: &mut Yield, global: u32) {
        self.keep(slot);
        self.slots[slot as usize].meter.head_mut().set_episode(false, false);
        if let Some(episode) = self.episodes.remove(&slot) {
            out.closed.push((EpisodeId { partition: global, number: episode.number }, closed_at));
        }
    }

    /// A call is over: event time passes up to its end, then it is up no more.
    fn remove(&mut self, hit: &Hit, bytes: &KeyBytes, terms: &Terms, out: &mut Yield, global: u32) -> Option<u32> {
        let slot = self.find(hit, bytes)?;
        self.keep(slot);
        if hit.time > self.slots[slot as usize].meter.head().clock() {
            self.let_pass(slot, terms, hit.time, Found { event: hit.event, late: false, global, is_timed: false }, out);
            self.slots[slot as usize].meter.head_mut().advance(hit.time);
        }
        let held = if terms.is_timed { self.holding(slot, terms) } else { [None; 2] };
        let meter = &mut self.slots[slot as usize].meter;
        meter.remove(&mut self.pool, hit.value);
        if terms.is_timed {
            let found = Found { event: hit.event, late: false, global, is_timed: false };
            self.leave(slot, terms, held, found, out);
        }
        if let Some(episode) = self.episodes.get_mut(&slot) {
            episode.closes_at = None;
        }
        Some(slot)
    }

    fn open_at(&self, slot: u32, terms: &Terms, global: u32) -> Option<(EpisodeId, u32, i64)> {
        let head = self.slots[slot as usize].meter.head();
        if !head.is_open() {
            return None;
        }
        let number = self.episodes.get(&slot)?.number;
        Some((EpisodeId { partition: global, number }, slot, self.earliest_end(slot, terms)))
    }

    /// No later than [`Partition::closes_at`], without a walk over the window.
    fn earliest_end(&self, slot: u32, terms: &Terms) -> i64 {
        let clock = self.slots[slot as usize].meter.head().clock();
        let since = self.episodes.get(&slot).and_then(|e| e.clearing.since);
        since.unwrap_or(clock).saturating_add(terms.cooldown_ms)
    }
}
