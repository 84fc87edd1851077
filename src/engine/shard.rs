//! One shard of the engine: the windows of the keys whose partitions it owns.
//!
//! A shard never reads the clock and never blocks; time is the events' own, and the ticks that come as input. The
//! same inputs give the same outputs, which `replay` and recovery rely on.

use std::sync::Arc;

use super::answers::Answers;
use super::blocks::{Blocks, Origin};
use super::judged::{Closed, Observation, Put, RuleRef, Verdict, Violation};
use super::kept::Kept;
use super::plan::{Counter, MeterKind, Plan};
use super::prepare;
use super::saved::Marker;
use super::table::{Crossing, EpisodeId, Hit, Seen, Table, Yield};
use super::work::{Decided, Outcome, Tally, Work};
use crate::clock::Timestamp;
use crate::event::{CustomerId, Flags};
use crate::limits::PARTITIONS;
use crate::policy::dynamic::Listed;
use crate::policy::predicate::{Value, chained, write_value};
use crate::policy::{Action, Block, DynamicKind, ListContent, Mode, Severity, View};
use crate::window::{Concurrent, Count, Distinct, Joint, Ratio, Run, Sum};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shard {
    plan: Arc<Plan>,
    number: u32,
    tables: Vec<AnyTable>,
    /// Who the open episodes are about, by counter.
    open: Vec<Kept<EpisodeId, Subject>>,
    blocks: Blocks,
    /// Keys and bytes of each table as last told.
    told: Vec<(i64, i64)>,
    found: Yield,
    /// Hits of the event a coupled shard is at.
    pending: Vec<(u16, Hit)>,
    /// What a coupled shard said of calls that may be told of again.
    answers: Answers,
    /// Of the save that is under way here.
    marker: Option<Arc<Marker>>,
}

/// Who an open episode is about.
#[derive(Clone, Debug)]
struct Subject {
    customer: CustomerId,
    key: Arc<[(String, String)]>,
    slot: u32,
    /// Time of its first violation.
    since: i64,
    /// Nobody was told.
    is_muted: bool,
}

/// The table of a rule, by what it measures. Match on it outside the loop over hits.
#[derive(Debug)]
enum AnyTable {
    Count(Table<Count>),
    Distinct(Table<Distinct>),
    Sum(Table<Sum>),
    Ratio(Table<Ratio>),
    Run(Table<Run>),
    Concurrent(Table<Concurrent>),
    Joint(Table<Joint>),
}

macro_rules! each_table {
    ($any:expr, $table:ident => $do:expr) => {
        match $any {
            AnyTable::Count($table) => $do,
            AnyTable::Distinct($table) => $do,
            AnyTable::Sum($table) => $do,
            AnyTable::Ratio($table) => $do,
            AnyTable::Run($table) => $do,
            AnyTable::Concurrent($table) => $do,
            AnyTable::Joint($table) => $do,
        }
    };
}

mod keys;
mod saved;
mod swap;

pub(crate) use saved::restore_subjects;
pub(crate) use swap::hand_over;

impl AnyTable {
    fn new(counter: &Counter, plan: &Plan, n_partitions: usize) -> AnyTable {
        let (terms, hasher, n) = (counter.terms.clone(), plan.hasher, plan.n_shards);
        match counter.meter {
            MeterKind::Count => AnyTable::Count(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Distinct => AnyTable::Distinct(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Sum => AnyTable::Sum(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Ratio => AnyTable::Ratio(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Run => AnyTable::Run(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Concurrent => AnyTable::Concurrent(Table::new(terms, hasher, n_partitions, n)),
            MeterKind::Joint => AnyTable::Joint(Table::new(terms, hasher, n_partitions, n)),
        }
    }
}

impl Shard {
    pub(crate) fn new(plan: Arc<Plan>, number: u32) -> Shard {
        let n_partitions = PARTITIONS / plan.n_shards as usize;
        Shard {
            tables: plan.counters.iter().map(|c| AnyTable::new(c, &plan, n_partitions)).collect(),
            open: plan.counters.iter().map(|_| Kept::default()).collect(),
            blocks: Blocks::new(&plan.list_numbers),
            told: vec![(0, 0); plan.counters.len()],
            found: Yield { watch: plan.watch, ..Yield::default() },
            pending: Vec::new(),
            answers: Answers::default(),
            marker: None,
            number,
            plan,
        }
    }

    /// Counts this shard's part of a batch.
    pub(crate) fn apply(&mut self, work: &Work) -> Outcome {
        let mut out = Outcome::default();
        if let Some(marker) = &work.marker {
            self.mark(marker);
        } else if let Some(at) = work.tick {
            self.tick(at, work, &mut out);
        } else if let Some(reset) = &work.reset {
            self.reset(reset, work, &mut out);
        } else if self.plan.is_coupled && work.past.is_none() {
            self.judge_and_count(work, &mut out);
        } else {
            let n_shards = self.plan.n_shards;
            let mut lists: Vec<u32> =
                work.touched.iter().copied().filter(|list| list & (n_shards - 1) == self.number).collect();
            lists.sort_unstable();
            for list in lists {
                let counter = (list / n_shards) as u16;
                let hits = &work.hits[list as usize];
                let found = &mut self.found;
                let table = &mut self.tables[counter as usize];
                each_table!(table, t => t.set_quiet(work.is_quiet(counter)));
                each_table!(table, t => t.run(hits, &work.key_bytes, found));
                let counted = std::mem::take(&mut self.found.counted);
                self.collect(counter, counted, work, &mut out);
            }
        }
        out
    }

    #[cfg(test)]
    pub(crate) fn windows(&self, counter: u16, edge: i64) -> Vec<(u64, super::table::Shown)> {
        each_table!(&self.tables[counter as usize], t => t.windows(edge))
    }

    fn tick(&mut self, at: i64, work: &Work, out: &mut Outcome) {
        for counter in 0..self.tables.len() as u16 {
            let (found, shard) = (&mut self.found, self.number);
            let table = &mut self.tables[counter as usize];
            each_table!(table, t => t.set_quiet(work.is_quiet(counter)));
            each_table!(table, t => t.tick(shard, at, found));
            if !self.found.closed.is_empty() || !self.found.crossings.is_empty() {
                self.collect(counter, 0, work, out);
            }
            self.tell_size(counter, out);
        }
    }

    /// One event after the other, since each may put on a list what the next one is judged by.
    fn judge_and_count(&mut self, work: &Work, out: &mut Outcome) {
        let plan = Arc::clone(&self.plan);
        let mut decided = Decided { matched: vec![0; plan.policy.firewall.len()], ..Decided::default() };
        let mut key_bytes = super::key::KeyBytes(work.key_bytes.0.clone());
        let mut calls = work.call_hits.iter().peekable();
        let mut counted = vec![0u64; plan.counters.len()];
        for (counter, table) in self.tables.iter_mut().enumerate() {
            each_table!(table, t => t.set_quiet(work.is_quiet(counter as u16)));
        }
        let mut told = work.recorded.as_ref().map(|recorded| prepare::Told::new(recorded, &plan));
        for (i, event) in work.batch.events.iter().enumerate() {
            let index = i as u32;
            self.settle(event.time.0);
            let mut pending = std::mem::take(&mut self.pending);
            let view = View {
                event,
                batch: &work.batch,
                policy: &plan.policy,
                names: &plan.names,
                dynamic: &self.blocks.lists,
            };
            let mut put = |counter: u16, hit: Hit| pending.push((counter, hit));
            let mut verdict = match &mut told {
                None => prepare::judge(&view, &plan, index, &mut decided, &mut key_bytes, &mut put),
                Some(told) => told.next(&view, index, &mut decided, &mut key_bytes, &mut put),
            };
            let final_verdict = told.is_some().then_some(verdict);
            if told.is_some() && event.flags.has(Flags::OWN_BLOCK) {
                verdict = Verdict::default();
            }
            let slot = work.slots.get(i).copied().unwrap_or(Work::NO_SLOT);
            let counted_as = if verdict.rule == RuleRef::Default && event.flags.has(Flags::REPEATED) {
                self.answers.get(slot).0
            } else {
                verdict
            };
            prepare::count(&view, &plan, (index, counted_as), |_| true, &mut key_bytes, &mut put);
            while let Some((counter, hit)) = calls.next_if(|(_, hit)| hit.event == index) {
                if prepare::is_up(verdict, hit.act) {
                    pending.push((*counter, *hit));
                }
            }
            let mut added = false;
            for (counter, hit) in pending.drain(..) {
                added |= self.observe(counter, &hit, &key_bytes, work, out);
                counted[counter as usize] += std::mem::take(&mut self.found.counted);
            }
            if let Some(told) = final_verdict {
                verdict = told;
            } else if added && verdict.action != Action::Block {
                verdict = self.judge_again(work, index, verdict, &mut decided, &mut key_bytes, &mut pending);
                for (counter, hit) in pending.drain(..) {
                    self.observe(counter, &hit, &key_bytes, work, out);
                    counted[counter as usize] += std::mem::take(&mut self.found.counted);
                }
            }
            self.pending = pending;
            if slot != Work::NO_SLOT && !event.flags.has(Flags::REPEATED) {
                self.answers.set(slot, verdict, Box::default());
            }
            decided.verdicts.push(verdict);
        }
        for (counter, n) in counted.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            out.tallies.push((counter as u16, Tally { counted: n, ..Tally::default() }));
        }
        out.decided = Some(decided);
    }

    /// The event's own crossing put it on a list: what the firewall says now is the answer.
    fn judge_again(
        &mut self,
        work: &Work,
        index: u32,
        first: Verdict,
        decided: &mut Decided,
        key_bytes: &mut super::key::KeyBytes,
        pending: &mut Vec<(u16, Hit)>,
    ) -> Verdict {
        let plan = Arc::clone(&self.plan);
        let event = &work.batch.events[index as usize];
        let view =
            View { event, batch: &work.batch, policy: &plan.policy, names: &plan.names, dynamic: &self.blocks.lists };
        decided.flags.retain(|(event, _)| *event != index);
        decided.would.retain(|(event, _)| *event != index);
        let n_tracked = decided.tracked.len();
        let before = decided.matched.clone();
        let verdict = prepare::judge(&view, &plan, index, decided, key_bytes, &mut |c, hit| pending.push((c, hit)));
        // What is met twice counts once, and what decided at first counts only if it decides still.
        decided.matched = before;
        if let RuleRef::Firewall(rule) = first.rule {
            decided.matched[rule as usize] -= 1;
        }
        if let RuleRef::Firewall(rule) = verdict.rule {
            decided.matched[rule as usize] += 1;
        }
        // One that decides still was counted already.
        let is_new = |rule: RuleRef| rule == verdict.rule && rule != first.rule;
        pending.retain(|(c, _)| is_new(plan.counters[*c as usize].rule));
        let mut at = 0;
        decided.tracked.retain(|(_, rule)| {
            at += 1;
            at <= n_tracked || is_new(RuleRef::Firewall(*rule))
        });
        if verdict.action == Action::Block {
            decided.own_blocks.push(index);
        }
        verdict
    }

    fn observe(
        &mut self,
        counter: u16,
        hit: &Hit,
        key_bytes: &super::key::KeyBytes,
        work: &Work,
        out: &mut Outcome,
    ) -> bool {
        let found = &mut self.found;
        let open = each_table!(&mut self.tables[counter as usize], t => t.observe(hit, key_bytes, found));
        let added = self.collect(counter, 0, work, out);
        if let Some((episode, slot, bound)) = open {
            // What this episode has put on lists holds a while longer.
            let rule = self.plan.rule_numbers.of(usize::from(counter));
            self.blocks.counted(&Origin { rule, episode, slot }, bound);
        }
        added
    }

    fn settle(&mut self, now: i64) {
        let (tables, plan) = (&mut self.tables, &self.plan);
        self.blocks.settle(now, |origin| {
            let counter = plan.rule_numbers.place(origin.rule)?;
            each_table!(&mut tables[counter as usize], t => t.closes_at(origin.episode, origin.slot))
        });
    }

    /// Turns what a table found into violations, closed episodes and list entries. True where an entry was added.
    fn collect(&mut self, counter: u16, counted: u64, work: &Work, out: &mut Outcome) -> bool {
        let plan = Arc::clone(&self.plan);
        let rule = &plan.counters[counter as usize];
        let mut found = std::mem::take(&mut self.found);
        let mut tally = Tally {
            counted,
            late: std::mem::take(&mut found.late),
            too_late: std::mem::take(&mut found.too_late),
            evicted: std::mem::take(&mut found.evicted),
            ..Tally::default()
        };
        let mut added = false;
        // Time goes on for keys whose events another rule counts by now.
        found.crossings.retain(|crossing| {
            let of = crossing.timed.as_ref().map(|kept| CustomerId(kept.customer()));
            of.is_none_or(|customer| plan.concerns(rule, customer, Timestamp(crossing.time)))
        });
        // An episode may open and close within one batch: those that opened first, then those that closed.
        let violations: Vec<Violation> =
            found.crossings.iter().map(|crossing| self.violation(counter, crossing, work)).collect();
        let number = plan.rule_numbers.of(usize::from(counter));
        for (id, closed_at) in found.closed.iter().copied() {
            if let Some(subject) = self.open[counter as usize].remove(&id) {
                self.blocks.closed(&Origin { rule: number, episode: id, slot: subject.slot }, closed_at);
                let Subject { customer, key, .. } = subject;
                out.closed.push(Closed { rule: rule.rule, customer, key, time: Timestamp(closed_at) });
            }
        }
        for (crossing, violation) in found.crossings.drain(..).zip(violations) {
            match self.react(counter, &crossing, &violation, work) {
                Ok(None) => {}
                Ok(Some(put)) => {
                    added = true;
                    out.listed.push(put);
                    // One that time opened may be over already.
                    if let Some((_, closed_at)) = found.closed.iter().find(|(id, _)| *id == crossing.episode) {
                        let origin = Origin { rule: number, episode: crossing.episode, slot: crossing.slot };
                        self.blocks.closed(&origin, *closed_at);
                    }
                }
                Err(Refused) => tally.refused += 1,
            }
            tally.refused += self.note_for_followers(&violation);
            out.violations.push((rule.position, violation));
        }
        let observation = |seen: Seen| Observation {
            event: seen.event,
            rule: rule.rule,
            key: seen.hash,
            time: Timestamp(seen.time),
            top: seen.top,
            bottom: seen.bottom,
            counts: seen.counts,
            level: seen.level,
            other: seen.other,
        };
        out.observed.extend(found.seen.drain(..).map(|seen| (rule.position, observation(seen))));
        found.closed.clear();
        self.found = found;
        if tally != Tally::default() {
            out.tallies.push((counter, tally));
        }
        added
    }

    /// What the rule puts on a list for a crossing.
    fn react(
        &mut self,
        counter: u16,
        crossing: &Crossing,
        violation: &Violation,
        work: &Work,
    ) -> Result<Option<Put>, Refused> {
        let plan = Arc::clone(&self.plan);
        let rule = &plan.counters[counter as usize];
        let block = reaction_block(&plan, rule, crossing.level);
        let Some(block) = block.filter(|_| rule.mode == Mode::Enforce && !crossing.is_reminder) else {
            return Ok(None);
        };
        let value = self.block(counter, block, crossing, work)?;
        let Violation { event, rule, customer, ref key, .. } = *violation;
        let found_at = work.batch.events.get(event as usize).filter(|_| crossing.timed.is_none());
        let time = found_at.map_or(violation.time, |event| event.time);
        let (key, list, ttl_ms) = (Arc::clone(key), block.list, block.ttl_ms);
        Ok(Some(Put { event, time, rule, customer, key, list, value, ttl_ms }))
    }

    /// Rules that follow this one look for what its violations note; how often there was no room for it.
    fn note_for_followers(&mut self, violation: &Violation) -> u64 {
        let RuleRef::Threshold(rule) = violation.rule else { return 0 };
        let plan = Arc::clone(&self.plan);
        let mut refused = 0;
        for chain in &plan.policy.thresholds[usize::from(rule)].chains {
            let values =
                chain.parts.iter().filter_map(|part| violation.key.get(*part)).map(|(_, value)| value.as_str());
            let value = Listed::Text(chained(violation.customer, values).into());
            let entries_max = plan.policy.lists.get(chain.list).and_then(|list| list.max_entries);
            let at = violation.time.0;
            refused +=
                u64::from(!self.blocks.note(chain.list, value, at, at.saturating_add(chain.within_ms), entries_max));
        }
        refused
    }

    /// Keys and bytes of a rule, with the ticks: adding them up costs more than a small batch does.
    fn tell_size(&mut self, counter: u16, out: &mut Outcome) {
        let (keys, bytes) = each_table!(&self.tables[counter as usize], t => (t.keys() as i64, t.bytes() as i64));
        let told = std::mem::replace(&mut self.told[counter as usize], (keys, bytes));
        if told != (keys, bytes) {
            let tally = Tally { keys: keys - told.0, bytes: bytes - told.1, ..Tally::default() };
            out.tallies.push((counter, tally));
        }
    }

    fn violation(&mut self, counter: u16, crossing: &Crossing, work: &Work) -> Violation {
        let plan = Arc::clone(&self.plan);
        let rule = &plan.counters[counter as usize];
        let (customer, key, is_muted) = match &crossing.timed {
            Some(kept) => {
                let key = prepare::kept_key_text(kept, &plan, rule);
                let is_muted = crossing.is_muted && plan.may_mute(rule, Timestamp(crossing.time))
                    || prepare::mutes_kept(kept, &plan, rule, crossing.time);
                (CustomerId(kept.customer()), key, is_muted)
            }
            None => {
                let view = self.view(&plan, work, crossing.event);
                let key = prepare::key_text(&view, &plan, rule, crossing.other);
                (view.event.customer, key, plan.mutes(rule, &view))
            }
        };
        let key: Arc<[(String, String)]> = key.into();
        if !crossing.is_reminder {
            let (slot, since) = (crossing.slot, crossing.time);
            let subject = Subject { customer, key: Arc::clone(&key), slot, since, is_muted };
            let open = &mut self.open[counter as usize];
            match open.get_mut(&crossing.episode) {
                // Somebody is told of it from now on.
                Some(subject) => subject.is_muted &= is_muted,
                None => open.add(crossing.episode, subject),
            }
        }
        Violation {
            event: crossing.event,
            is_timed: crossing.timed.is_some(),
            is_reminder: crossing.is_reminder,
            rule: rule.rule,
            level: crossing.level,
            time: Timestamp(crossing.time),
            value: crossing.top as f64 / crossing.bottom as f64,
            usual: crossing.usual,
            late: crossing.late,
            is_muted,
            customer,
            key,
        }
    }

    fn view<'a>(&'a self, plan: &'a Plan, work: &'a Work, event: u32) -> View<'a> {
        let event = &work.batch.events[event as usize];
        View { event, batch: &work.batch, policy: &plan.policy, names: &plan.names, dynamic: &self.blocks.lists }
    }

    /// Puts the value of the block's field on its list, unless it is one that never may be there.
    fn block(&mut self, counter: u16, block: &Block, crossing: &Crossing, work: &Work) -> Result<String, Refused> {
        let plan = Arc::clone(&self.plan);
        let list = plan.policy.lists.get(block.list).ok_or(Refused)?;
        let ListContent::Dynamic(kind) = list.content else { return Err(Refused) };
        let view;
        let part;
        let (value, customer, now) = match &crossing.timed {
            Some(kept) => {
                part =
                    prepare::kept_part(kept, &plan, &plan.counters[counter as usize], &block.field).ok_or(Refused)?;
                (part.value().ok_or(Refused)?, CustomerId(kept.customer()), crossing.time)
            }
            None => {
                view = self.view(&plan, work, crossing.event);
                (block.field.value(&view).ok_or(Refused)?, view.event.customer, view.event.time.0)
            }
        };
        let mut shown = Vec::new();
        write_value(&value, &mut shown);
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let value = listed(value, kind).ok_or(Refused)?;
        if let Listed::Number(number) = &value
            && plan.policy.is_protected_for(*number, plan.names.customer_text(customer), Timestamp(now))
        {
            return Err(Refused);
        }
        if !plan.is_coupled {
            // No rule reads any such list; kept by shard, it would be full sooner or later with their number.
            return Ok(shown);
        }
        let rule = plan.rule_numbers.of(usize::from(counter));
        let origin = Origin { rule, episode: crossing.episode, slot: crossing.slot };
        let entry = (block.list, value, block.ttl_ms);
        if self.blocks.add(entry, origin, now, list.max_entries) { Ok(shown) } else { Err(Refused) }
    }
}

/// A value that was not put on a list: full, of another type, or an own number.
#[derive(Debug)]
struct Refused;

fn reaction_block<'a>(plan: &'a Plan, counter: &Counter, level: Severity) -> Option<&'a Block> {
    let RuleRef::Threshold(i) = counter.rule else { return None };
    let rule = &plan.policy.thresholds[i as usize];
    match level {
        Severity::Warning => rule.on_warning.block.as_ref(),
        Severity::Critical => rule.on_critical.block.as_ref(),
    }
}

fn listed(value: Value<'_>, kind: DynamicKind) -> Option<Listed> {
    match (value, kind) {
        (Value::Number(number, text), DynamicKind::Numbers) if number.is_text() => Some(Listed::Text(text.into())),
        (Value::Number(number, _), DynamicKind::Numbers) => Some(Listed::Number(number)),
        (Value::Prefix(digits), DynamicKind::Numbers) => Some(Listed::Prefix(digits)),
        (Value::Ip(ip), DynamicKind::Addresses) => Some(Listed::Address(ip)),
        (Value::Text(text), DynamicKind::Texts) => Some(Listed::Text(text.into())),
        // Of a kept key, where an address is what it is written as.
        (Value::Text(text), DynamicKind::Addresses) => {
            std::str::from_utf8(text).ok()?.parse().ok().map(Listed::Address)
        }
        _ => None,
    }
}
