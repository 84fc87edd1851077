//! Episodes: from the first crossing of a level until it has been clear for long enough (2-rules 2.9 point 8).

use std::sync::Arc;

use super::key::{KeptKey, KeyValue};
use crate::clock::Timestamp;
use crate::event::{CustomerId, Names};
use crate::policy::{Level, Severity, Usual};
use crate::window::{Meter, Reading, Width};

/// Everything a table needs to know of its rule.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) width: Width,
    pub(crate) warning: Option<Level>,
    pub(crate) critical: Option<Level>,
    pub(crate) clear: Option<Level>,
    pub(crate) cooldown_ms: i64,
    /// How long a level must hold without a break before it counts as reached.
    pub(crate) hold_ms: i64,
    pub(crate) remind_ms: Option<i64>,
    /// The value is the age of the oldest item, ms.
    pub(crate) is_age: bool,
    /// Time alone may bring crossings: any of the four above and below.
    pub(crate) is_timed: bool,
    /// What must hold beside the level, of the measures behind the first.
    pub(crate) also: Vec<AlsoTerms>,
    /// The levels are values to fall below.
    pub(crate) is_downward: bool,
    /// 0 but for `share` and `avg`.
    pub(crate) min_count: u64,
    /// What a reading is multiplied with before it is held against a level: [`Level::SHARE_SCALE`] for shares.
    pub(crate) scale: i128,
    /// Whole readings below it meet no level.
    pub(crate) lowest: u64,
    /// What levels such as `>= 3x` are held against; without it they never hold.
    pub(crate) usual: Option<Weeks>,
    /// Below it, none of them holds.
    pub(crate) least: i128,
    /// Keys and bytes a partition may hold.
    pub(crate) keys_max: usize,
    pub(crate) bytes_max: usize,
    /// No level is tested: what is counted opens no episode.
    pub(crate) is_quiet: bool,
}

/// What is usual of the keys of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Weeks {
    pub(crate) usual: Arc<Usual>,
    pub(crate) names: Arc<Names>,
}

impl Weeks {
    /// Where the week of a key stands, for [`Meter::set_week`].
    pub(crate) fn of(&self, key: &KeptKey) -> Option<u32> {
        let values: Vec<String> = key.parts().iter().map(KeyValue::shown).collect();
        self.usual.week(self.names.customer_text(CustomerId(key.customer())), &values.join("|"))
    }
}

/// Do the two hold for the same values?
fn is_same(a: &Option<Level>, b: &Option<Level>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a.operator, a.limit, a.is_of_usual) == (b.operator, b.limit, b.is_of_usual),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// One of `also`.
#[derive(Clone, Debug)]
pub(crate) struct AlsoTerms {
    pub(crate) level: Level,
    pub(crate) scale: i128,
    pub(crate) min_count: u64,
}

impl AlsoTerms {
    fn holds(&self, reading: &Reading) -> bool {
        reading.known
            && reading.items >= self.min_count
            && self.level.holds(i128::from(reading.top) * self.scale, i128::from(reading.bottom))
    }
}

impl Terms {
    /// What the window shows at an instant, from which on nothing was counted.
    pub(crate) fn reading<M: Meter>(&self, meter: &M, pool: &M::Pool, instant: i64) -> Reading {
        let mut reading = meter.reading(pool, &self.width);
        if let Some(weeks) = &self.usual {
            reading.usual = meter.week().and_then(|week| weeks.usual.at(week, Timestamp(instant)));
        }
        // An empty window is clear for every measure.
        if self.is_downward && meter.is_empty(pool) {
            reading.known = false;
        }
        if self.also.is_empty() && !self.is_age {
            return reading;
        }
        let holds = |(i, also): (usize, &AlsoTerms)| also.holds(&meter.reading_of(pool, &self.width, i + 1));
        reading.joined = self.also.iter().enumerate().all(holds);
        if !self.is_age {
            return reading;
        }
        let oldest = meter.oldest_before(pool, i64::MAX).unwrap_or(instant);
        Reading { top: u64::try_from(instant - oldest).unwrap_or(0), ..reading }
    }

    /// Does an episode close under these as it does under the others?
    pub(crate) fn closes_like(&self, other: &Terms) -> bool {
        let lowest = |terms: &Terms| {
            let level = terms.clear.as_ref().or(terms.warning.as_ref()).or(terms.critical.as_ref());
            level.map(|level| (level.operator, level.limit, level.is_of_usual))
        };
        lowest(self) == lowest(other)
            && self.has_also_of(other)
            && self.clear.is_some() == other.clear.is_some()
            && self.least == other.least
            && (self.cooldown_ms, self.min_count, self.lowest) == (other.cooldown_ms, other.min_count, other.lowest)
    }

    /// Does what held under these since an instant hold under the others since then?
    pub(crate) fn holds_like(&self, other: &Terms) -> bool {
        is_same(&self.warning, &other.warning)
            && is_same(&self.critical, &other.critical)
            && self.has_also_of(other)
            && (self.min_count, self.is_downward) == (other.min_count, other.is_downward)
            && (self.hold_ms > 0) == (other.hold_ms > 0)
    }

    fn has_also_of(&self, other: &Terms) -> bool {
        let same = |(a, b): (&AlsoTerms, &AlsoTerms)| {
            (a.level.operator, a.level.limit, a.min_count) == (b.level.operator, b.level.limit, b.min_count)
        };
        self.also.len() == other.also.len() && self.also.iter().zip(&other.also).all(same)
    }

    fn meets(&self, level: &Level, reading: &Reading) -> bool {
        let value = i128::from(reading.top) * self.scale;
        let bottom = i128::from(reading.bottom);
        reading.known
            && reading.items >= self.min_count
            && if !level.is_of_usual {
                level.holds(value, bottom)
            } else {
                self.is_enough(level, reading)
                    && reading.usual.is_some_and(|usual| level.holds_of(usual, value, bottom))
            }
    }

    /// Is a value, or what is usual where values may be too low, as large as `min_value`?
    fn is_enough(&self, level: &Level, reading: &Reading) -> bool {
        if level.is_upward() {
            i128::from(reading.top) * self.scale >= self.least * i128::from(reading.bottom)
        } else {
            reading.usual.is_some_and(|usual| i128::from(usual) >= self.least * Usual::SCALE)
        }
    }

    /// Is it a whole number too small for any level? Decides for nearly every event.
    fn is_below(&self, reading: &Reading) -> bool {
        reading.bottom == 1 && self.scale == 1 && reading.top < self.lowest
    }

    /// The highest level that is to be told of.
    #[inline]
    pub(crate) fn reached(&self, reading: &Reading) -> Option<Severity> {
        if self.is_quiet { None } else { self.held(reading) }
    }

    /// The highest level that holds.
    #[inline]
    pub(crate) fn held(&self, reading: &Reading) -> Option<Severity> {
        if self.is_below(reading) || !reading.joined {
            return None;
        }
        let meets = |level: &Option<Level>| level.as_ref().is_some_and(|l| self.meets(l, reading));
        if meets(&self.critical) {
            Some(Severity::Critical)
        } else if meets(&self.warning) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// Is a window that is not empty clear? Below `min_count` it neither fires nor clears.
    pub(crate) fn is_clear(&self, reading: &Reading) -> bool {
        if !reading.known || reading.items < self.min_count {
            return false;
        }
        if self.clear.is_none() && self.is_below(reading) {
            return true;
        }
        match (&self.clear, self.warning.as_ref().or(self.critical.as_ref())) {
            // Too small to be alarming is clear, whatever is usual.
            (Some(clear), Some(lowest)) if clear.is_of_usual => {
                !self.is_enough(lowest, reading)
                    || reading.usual.is_none_or(|usual| {
                        clear.holds_of(usual, i128::from(reading.top) * self.scale, i128::from(reading.bottom))
                    })
            }
            (Some(clear), _) => self.meets(clear, reading),
            (None, Some(lowest)) => !(reading.joined && self.meets(lowest, reading)),
            (None, None) => true,
        }
    }
}

/// How far an open episode has got on its way to being closed. Times in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clearing {
    /// Clear without a break from this instant on.
    pub(crate) since: Option<i64>,
    /// Closed from this instant on.
    pub(crate) closed_at: Option<i64>,
    /// Where time has brought the episode: what was before it says nothing of its end.
    pub(crate) not_before: Option<i64>,
}

impl Clearing {
    pub(crate) fn close_if_due(&mut self, terms: &Terms, now: i64) {
        if self.closed_at.is_none()
            && let Some(since) = self.since
            && since.saturating_add(terms.cooldown_ms) <= now
        {
            self.closed_at = Some(since.saturating_add(terms.cooldown_ms));
        }
    }

    /// The same where what happens at `now` is yet to come: of an episode that time has brought to that very instant, what was
    /// before it says nothing.
    pub(crate) fn close_before(&mut self, terms: &Terms, now: i64) {
        if self.not_before.is_none_or(|from| from < now) {
            self.close_if_due(terms, now);
        }
    }

    /// Nothing more happens at `instant`: is the key clear there, and has it been for long enough?
    pub(crate) fn settle<M: Meter>(&mut self, terms: &Terms, meter: &M, pool: &M::Pool, instant: i64) {
        let is_clear = |at| meter.is_empty(pool) || terms.is_clear(&terms.reading(meter, pool, at));
        match self.not_before.filter(|from| instant <= *from) {
            // Before then it is clear only where it stays so.
            Some(from) => self.since = is_clear(from).then_some(from),
            None => {
                self.close_if_due(terms, instant);
                self.since = if is_clear(instant) { self.since.or(Some(instant)) } else { None };
            }
        }
        self.close_if_due(terms, instant);
    }

    /// Lets event time pass from the key's clock to `now`, instant by instant as items leave, until the episode is
    /// closed. What leaves at `now` itself is dropped without judgement: an event of that instant makes no dip.
    pub(crate) fn advance<M: Meter>(&mut self, terms: &Terms, meter: &mut M, pool: &mut M::Pool, now: i64) {
        let window = terms.width.window_ms;
        let clock = meter.head().clock();
        if window == 0 {
            // `match`: nothing is left of an event when its instant is over, and it was not clear in that instant.
            meter.expire(pool, clock);
            self.since = None;
        }
        self.settle(terms, meter, pool, clock);
        while self.closed_at.is_none() {
            let Some(oldest) = meter.oldest_before(pool, now - window) else { break };
            meter.expire(pool, oldest);
            self.settle(terms, meter, pool, oldest + window);
        }
        self.close_before(terms, now);
        meter.expire(pool, now - window);
    }

    /// The instant at which the episode closes if nothing more is counted.
    pub(crate) fn closes_at<M: Meter>(&self, terms: &Terms, meter: &M, pool: &M::Pool) -> i64 {
        let mut elsewhere = M::Pool::default();
        let mut copy = meter.copy(pool, &mut elsewhere);
        let mut ahead = *self;
        ahead.advance(terms, &mut copy, &mut elsewhere, i64::MAX / 2);
        ahead.closed_at.unwrap_or(i64::MAX / 2)
    }
}
