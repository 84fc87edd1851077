//! What time alone brings: levels that must hold for a while (`for`), calls that grow old (`longest`), episodes that go
//! on (`remind`), and values that fall as a window empties (`< 40%`).
//!
//! Timers fire in the order of event time, before the next event of their key, or at a tick. A tick looks ahead on a
//! copy of the window: it moves no key's clock and drops nothing, so that what comes late still finds its place. Of what
//! it saw there it keeps what it told: episodes that opened, rose or ended, and reminders. Everything else is worked out
//! again when the key's next event comes, or the next tick.

use hashbrown::HashMap;

use super::{Act, Clearing, Crossing, Episode, EpisodeId, Hit, KeptKey, Partition, Slot, Yield};
use crate::engine::episode::Terms;
use crate::engine::key::Key;
use crate::policy::Severity;
use crate::window::{Meter, Reading};

/// How far the levels of a key have come without being reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timers {
    /// By severity: since when the level holds without a break.
    pub(super) since: [Option<i64>; 2],
    /// By severity: a tick saw that the level breaks off before it has held for long enough, unless another event comes.
    pub(super) breaks: [bool; 2],
    /// Ticks have looked at what happened up to here, since the key's last event.
    pub(super) seen: Option<i64>,
    /// A tick has told that the key's episode was over then: what held before has been told.
    pub(super) ended: Option<i64>,
    /// Nobody was to be told of the key's last event.
    pub(super) is_muted: bool,
}

/// Where a crossing is found: at an event, late or not, or at a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) event: u32,
    pub(super) late: bool,
    /// The partition.
    pub(super) global: u32,
    /// Time brought it, whatever event or tick let it be seen.
    pub(super) is_timed: bool,
}

/// What a timer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Level(Severity),
    /// The key is clear no longer, though nothing was counted: a call grew old.
    Again,
    Reminder,
}

/// A quiet key whose window empties is looked at so many times a window, and no more: a look costs a copy of it.
const LOOKS: i64 = 256;

impl<M: Meter> Partition<M> {
    /// Lets event time pass from the key's clock to `now`, instant by instant, as [`Clearing::advance`] does, and fires
    /// the timers on the way. Those due at an instant come before what leaves at it, and before its events.
    pub(super) fn pass(&mut self, slot: u32, terms: &Terms, now: i64, found: Found, out: &mut Yield) {
        let window = terms.width.window_ms;
        self.settle_at(slot, terms, self.slots[slot as usize].meter.head().clock(), found, out);
        loop {
            let oldest = self.slots[slot as usize].meter.oldest_before(&self.pool, now - window);
            let instant = oldest.map_or(now, |oldest| oldest.saturating_add(window));
            self.fire(slot, terms, instant, found, out);
            let Some(oldest) = oldest else { break };
            self.slots[slot as usize].meter.expire(&mut self.pool, oldest);
            let meter = &self.slots[slot as usize].meter;
            let reading = terms.reading(meter, &self.pool, instant);
            self.break_off(slot, terms, &reading, Some(instant));
            self.settle_at(slot, terms, instant, found, out);
        }
        if let Some(episode) = self.episodes.get_mut(&slot) {
            episode.clearing.close_before(terms, now);
        }
        self.close_if_over(slot, found, out);
        self.slots[slot as usize].meter.expire(&mut self.pool, now - window);
    }

    /// An event was counted: levels that hold now are reached, or begin to hold.
    pub(super) fn judge_timed(&mut self, slot: u32, terms: &Terms, hit: &Hit, found: Found, out: &mut Yield) {
        let meter = &self.slots[slot as usize].meter;
        let clock = meter.head().clock();
        let reading = terms.reading(meter, &self.pool, clock);
        self.begin_anew(slot, (hit.act == Act::Count).then_some(hit.is_muted));
        self.judge_at(slot, terms, &reading, clock, found, out);
    }

    /// What ticks saw ahead of an event no longer holds. `is_muted`: where the event says so or not.
    fn begin_anew(&mut self, slot: u32, is_muted: Option<bool>) {
        let clock = self.slots[slot as usize].meter.head().clock();
        if is_muted == Some(true) {
            self.timers.entry(slot).or_default();
        }
        if let Some(timers) = self.timers.get_mut(&slot) {
            let is_muted = is_muted.unwrap_or(timers.is_muted);
            let (since, ended) = (timers.since, timers.ended.filter(|ended| *ended > clock));
            *timers = Timers { since, ended, is_muted, ..Timers::default() };
            if *timers == Timers::default() {
                self.timers.remove(&slot);
            }
        }
    }

    fn judge_at(&mut self, slot: u32, terms: &Terms, reading: &Reading, at: i64, found: Found, out: &mut Yield) {
        let reached = terms.reached(reading);
        if terms.hold_ms == 0 && !terms.is_age {
            if let Some(level) = reached {
                self.reach(slot, terms, (level, at), found, out);
            }
            return;
        }
        if !terms.is_age {
            self.break_off(slot, terms, reading, None);
            for severity in Severity::ALL.iter().filter(|severity| reached >= Some(**severity)) {
                let has_level = match severity {
                    Severity::Warning => terms.warning.is_some(),
                    Severity::Critical => terms.critical.is_some(),
                };
                if has_level {
                    self.timers.entry(slot).or_default().since[*severity as usize].get_or_insert(at);
                }
            }
        }
        self.fire(slot, terms, at, found, out);
    }

    /// A call is over: what held with it may hold no longer, or hold by another one that is up, and there may be too few.
    /// `held`: since when levels held before, where they are of the age of calls.
    pub(super) fn leave(&mut self, slot: u32, terms: &Terms, held: [Option<i64>; 2], found: Found, out: &mut Yield) {
        let meter = &self.slots[slot as usize].meter;
        let clock = meter.head().clock();
        let reading = terms.reading(meter, &self.pool, clock);
        self.begin_anew(slot, None);
        if held != [None; 2] {
            self.timers.entry(slot).or_default().since = held;
        }
        self.break_off(slot, terms, &reading, None);
        if terms.is_downward {
            self.judge_at(slot, terms, &reading, clock, Found { is_timed: true, ..found }, out);
        }
    }

    /// A value turned out to have been known: what held by it holds no longer.
    pub(super) fn forget_held(&mut self, slot: u32, terms: &Terms) {
        let meter = &self.slots[slot as usize].meter;
        let reading = terms.reading(meter, &self.pool, meter.head().clock());
        self.break_off(slot, terms, &reading, None);
    }

    /// Since when levels hold that must hold for a while, where they are of the age of calls.
    pub(super) fn holding(&self, slot: u32, terms: &Terms) -> [Option<i64>; 2] {
        let timers = self.timers.get(&slot).copied().unwrap_or_default();
        if !terms.is_age || terms.hold_ms == 0 {
            return timers.since;
        }
        let meter = &self.slots[slot as usize].meter;
        let oldest = meter.oldest_before(&self.pool, i64::MAX);
        [&terms.warning, &terms.critical].map(|level| {
            let age = i64::try_from(level.as_ref()?.smallest()).unwrap_or(i64::MAX);
            let since = oldest?.saturating_add(age);
            // One that is over by now may have held it before.
            let before = timers.since[usize::from(std::ptr::eq(level, &terms.critical))];
            Some(before.map_or(since, |before| before.min(since)))
        })
    }

    /// Levels that hold no longer begin anew. `left_at`: the instant at which something left the window, which is nothing
    /// to a level that has held since a tick behind it.
    fn break_off(&mut self, slot: u32, terms: &Terms, reading: &Reading, left_at: Option<i64>) {
        let Some(timers) = self.timers.get_mut(&slot) else { return };
        let held = terms.held(reading);
        for (severity, since) in Severity::ALL.iter().zip(&mut timers.since) {
            let is_over = |since: &i64| left_at.is_none_or(|left| left >= *since);
            if held < Some(*severity) {
                *since = since.filter(|since| !is_over(since));
            }
        }
    }

    /// Fires what is due up to `until`, in order of time.
    fn fire(&mut self, slot: u32, terms: &Terms, until: i64, found: Found, out: &mut Yield) {
        let found = Found { is_timed: true, late: false, ..found };
        loop {
            let held = self.holding(slot, terms);
            let Some((at, due)) = self.next_due(slot, terms, held).filter(|(at, _)| *at <= until) else { return };
            match due {
                Due::Level(level) => self.reach(slot, terms, (level, at), found, out),
                Due::Again => {
                    if let Some(episode) = self.episodes.get_mut(&slot) {
                        episode.clearing.close_if_due(terms, at);
                    }
                    if self.close_if_over(slot, found, out) {
                        continue;
                    }
                    if let Some(episode) = self.episodes.get_mut(&slot) {
                        episode.clearing.since = None;
                    }
                }
                Due::Reminder => {
                    let Some(episode) = self.episodes.get_mut(&slot) else { return };
                    episode.reminded = at;
                    let is_clear = episode.clearing.since.is_some_and(|since| since < at);
                    let is_critical = self.slots[slot as usize].meter.head().is_critical();
                    let level = if is_critical { Severity::Critical } else { Severity::Warning };
                    if !is_clear {
                        self.cross(slot, terms, (level, at), found, true, out);
                    }
                }
            }
        }
    }

    /// What time brings next, if nothing more is counted and nothing leaves. `held`: since when the levels hold.
    fn next_due(&self, slot: u32, terms: &Terms, held: [Option<i64>; 2]) -> Option<(i64, Due)> {
        if terms.is_quiet {
            return None;
        }
        let meter = &self.slots[slot as usize].meter;
        let head = meter.head();
        let oldest = if terms.is_age { meter.oldest_before(&self.pool, i64::MAX) } else { None };
        let since = |severity: Severity| match (&terms.warning, &terms.critical, severity) {
            (Some(level), _, Severity::Warning) | (_, Some(level), Severity::Critical)
                if terms.is_age && terms.hold_ms == 0 =>
            {
                oldest.map(|oldest| oldest.saturating_add(i64::try_from(level.smallest()).unwrap_or(i64::MAX)))
            }
            _ => held[severity as usize],
        };
        // What comes late cannot bring again what a tick has told and seen the end of.
        let ended = self.timers.get(&slot).and_then(|timers| timers.ended);
        let due = |severity: Severity| {
            let due = since(severity)?.saturating_add(terms.hold_ms);
            Some(ended.map_or(due, |ended| due.max(ended + 1)))
        };
        let (warning, critical) = (due(Severity::Warning), due(Severity::Critical));
        let of_critical = critical.filter(|_| !head.is_critical()).map(|at| (at, Due::Level(Severity::Critical)));
        // What reaches both at once is critical alone.
        let is_first = |at: &i64| critical.is_none_or(|critical| *at < critical);
        let of_warning =
            warning.filter(|at| !head.is_open() && is_first(at)).map(|at| (at, Due::Level(Severity::Warning)));
        let episode = self.episodes.get(&slot).filter(|_| head.is_open());
        let again = episode.and_then(|episode| {
            let clear_since = episode.clearing.since.filter(|_| terms.is_age)?;
            let level = terms.clear.as_ref().or(terms.warning.as_ref()).or(terms.critical.as_ref())?;
            let at = oldest?.saturating_add(i64::try_from(level.smallest()).unwrap_or(i64::MAX));
            (at > clear_since).then_some((at, Due::Again))
        });
        let reminder = episode
            .and_then(|episode| Some((episode.reminded.saturating_add(terms.remind_ms?), Due::Reminder)))
            .filter(|(at, _)| episode.is_none_or(|e| e.clearing.closed_at.is_none_or(|closed| *at < closed)));
        [of_critical, of_warning, again, reminder].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn reach(&mut self, slot: u32, terms: &Terms, (level, at): (Severity, i64), found: Found, out: &mut Yield) {
        let head = self.slots[slot as usize].meter.head();
        if !head.is_open() || level == Severity::Critical && !head.is_critical() {
            self.cross(slot, terms, (level, at), found, false, out);
        }
    }

    /// Opens the key's episode, or raises it, and tells of it.
    pub(super) fn cross(
        &mut self,
        slot: u32,
        terms: &Terms,
        (level, time): (Severity, i64),
        found: Found,
        is_reminder: bool,
        out: &mut Yield,
    ) {
        let meter = &mut self.slots[slot as usize].meter;
        let reading = terms.reading(meter, &self.pool, time);
        let is_open = meter.head().is_open();
        meter.head_mut().set_episode(true, level == Severity::Critical);
        if !is_open {
            self.episodes_opened += 1;
            let clearing = Clearing { not_before: found.is_timed.then_some(time), ..Clearing::default() };
            let episode = Episode { number: self.episodes_opened, clearing, closes_at: None, reminded: time };
            self.episodes.insert(slot, episode);
        }
        let number = self.episodes.get(&slot).map_or(0, |e| e.number);
        let key = self.slots[slot as usize].key;
        out.crossings.push(Crossing {
            event: found.event,
            level,
            time,
            top: reading.top,
            bottom: reading.bottom,
            usual: reading.usual,
            late: found.late,
            other: key == Key::OTHER,
            episode: EpisodeId { partition: found.global, number },
            slot,
            timed: found.is_timed.then(|| Box::new(KeptKey::new(key, &self.keys, other_customer(&self.other, slot)))),
            is_reminder,
            is_muted: found.is_timed && self.timers.get(&slot).is_some_and(|timers| timers.is_muted),
        });
    }

    /// Nothing more happens at `instant`: is the episode on its way to its end?
    fn settle_at(&mut self, slot: u32, terms: &Terms, instant: i64, found: Found, out: &mut Yield) {
        let Some(episode) = self.episodes.get_mut(&slot) else { return };
        let meter = &self.slots[slot as usize].meter;
        episode.clearing.settle(terms, meter, &self.pool, instant);
        episode.closes_at = None;
        self.close_if_over(slot, found, out);
    }

    fn close_if_over(&mut self, slot: u32, found: Found, out: &mut Yield) -> bool {
        let closed_at = self.episodes.get(&slot).and_then(|episode| episode.clearing.closed_at);
        if let Some(closed_at) = closed_at {
            self.close(slot, closed_at, out, found.global);
        }
        closed_at.is_some()
    }

    /// Event time passes for idle keys, up to `at`.
    pub(super) fn tick_timed(&mut self, terms: &Terms, at: i64, global: u32, out: &mut Yield) {
        let mut slots: Vec<u32> = if terms.is_downward || terms.is_age {
            (0..self.slots.len() as u32).collect()
        } else {
            self.timers.keys().chain(self.episodes.keys()).copied().collect()
        };
        slots.sort_unstable();
        slots.dedup();
        let found = Found { event: 0, late: false, global, is_timed: true };
        for slot in slots {
            let Slot { key, meter } = &self.slots[slot as usize];
            let is_over = meter.is_empty(&self.pool) && !meter.head().is_open();
            if *key != Key::VACANT && !is_over && self.may_change(slot, terms, at) {
                self.keep(slot);
                self.look_ahead(slot, terms, at, found, out);
            }
        }
    }

    /// May anything have happened to the key by `at`? Decides without a walk over its window.
    fn may_change(&mut self, slot: u32, terms: &Terms, at: i64) -> bool {
        let clock = self.slots[slot as usize].meter.head().clock();
        if at <= clock {
            return false;
        }
        let timers = self.timers.get(&slot).copied().unwrap_or_default();
        let holding = self.holding(slot, terms);
        let held = std::array::from_fn(|i| holding[i].filter(|_| !timers.breaks[i]));
        if self.next_due(slot, terms, held).is_some_and(|(due, _)| due <= at) {
            return true;
        }
        // The age of calls falls and grows on its way; where nothing else brings an end, it is worked out once.
        if self.earliest_end(slot, terms) <= at
            && self.episodes.contains_key(&slot)
            && (terms.is_age || self.is_over(slot, terms, at))
        {
            return true;
        }
        let window = terms.width.window_ms;
        let (is_time, is_all_gone) = timers
            .seen
            .map_or((true, false), |seen| (at - seen >= (window / LOOKS).max(1), seen >= clock.saturating_add(window)));
        let meter = &self.slots[slot as usize].meter;
        terms.is_downward && is_time && !is_all_gone && meter.oldest_before(&self.pool, at - window + 1).is_some()
    }

    fn look_ahead(&mut self, slot: u32, terms: &Terms, at: i64, found: Found, out: &mut Yield) {
        let (timers, episode) =
            (self.timers.get(&slot).copied().unwrap_or_default(), self.episodes.get(&slot).copied());
        let n_closed = out.closed.len();
        let mut elsewhere = M::Pool::default();
        let copy = self.slots[slot as usize].meter.copy(&self.pool, &mut elsewhere);
        std::mem::swap(&mut self.pool, &mut elsewhere);
        let own = std::mem::replace(&mut self.slots[slot as usize].meter, copy);
        self.pass(slot, terms, at, found, out);
        if terms.is_downward && !self.slots[slot as usize].meter.is_empty(&self.pool) {
            let reading = terms.reading(&self.slots[slot as usize].meter, &self.pool, at);
            self.judge_falling(slot, terms, &reading, at, found, out);
        }
        std::mem::swap(&mut self.pool, &mut elsewhere);
        let ahead = std::mem::replace(&mut self.slots[slot as usize].meter, own).head();
        self.slots[slot as usize].meter.head_mut().set_episode(ahead.is_open(), ahead.is_critical());
        let ended = out.closed.get(n_closed..).and_then(|closed| closed.last()).map(|(_, closed_at)| *closed_at);
        self.come_back(slot, (timers, episode), ended, at);
    }

    /// After a look ahead: how far the key was on its way, without what the look told meanwhile.
    fn come_back(&mut self, slot: u32, (timers, episode): (Timers, Option<Episode>), ended: Option<i64>, at: i64) {
        if let Some(open) = self.episodes.get_mut(&slot) {
            match episode.filter(|episode| episode.number == open.number) {
                Some(before) => (open.clearing, open.closes_at) = (before.clearing, before.closes_at),
                None => open.clearing = Clearing { not_before: open.clearing.not_before, ..Clearing::default() },
            }
        }
        let ahead = self.timers.entry(slot).or_default();
        let mut back = Timers { seen: Some(at), ended: ended.or(timers.ended), ..timers };
        for (i, since) in back.since.iter_mut().enumerate() {
            // What held until an episode ended has been told. What holds since this tick, no event says.
            let is_new = ahead.since[i].is_some_and(|began| *since != Some(began));
            if ended.is_some() || is_new {
                *since = ahead.since[i];
            }
            back.breaks[i] = since.is_some() && ahead.since[i].is_none();
        }
        *ahead = back;
    }

    /// A tick is no event: what it finds is told with the key alone.
    fn judge_falling(&mut self, slot: u32, terms: &Terms, reading: &Reading, at: i64, found: Found, out: &mut Yield) {
        match terms.reached(reading) {
            Some(level) if terms.hold_ms == 0 => self.reach(slot, terms, (level, at), found, out),
            _ => self.judge_at(slot, terms, reading, at, found, out),
        }
    }
}

/// Whose the slot is, among those that count for want of room.
pub(super) fn other_customer(others: &HashMap<u32, u32>, slot: u32) -> u32 {
    others.iter().find(|(_, place)| **place == slot).map_or(0, |(customer, _)| *customer)
}
