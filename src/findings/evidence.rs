//! Everything that is known of an incident's calls: read, counted, and put into the order of a draft.

use crate::clock::Timestamp;
use crate::customer::Customer;
use crate::event::Field;
use crate::incident::{Alert, AlertState, Incident, Message, incident_name};
use crate::limits::{
    FINDINGS_ALERTS_MAX, FINDINGS_CALLS_MAX, FINDINGS_HITS_MAX, FINDINGS_NORMAL_MS, FINDINGS_SAMPLES,
    FINDINGS_SPAN_MS_MAX,
};
use crate::policy::{DynamicLists, Measure, Mode};
use crate::store::{SubjectKind, SubjectQuery};

use super::ranking::Ranking;
use super::reading::{self, Wanted};
use super::series::{self, Meter, Peaks, Series};
use super::tally::{self, Call, Hit, Tally};
use super::watch::{Rule, Watch, Watched};
use super::{Draft, FindingsError, Recommendation, RuleFacts, Sources, plain};

/// Calls end some time after they were counted.
const AFTER_MS: i64 = 15 * 60_000;
/// How many digits tell where numbers come from, if so many do.
const PREFIX_DIGITS: [usize; 4] = [7, 6, 5, 4];

/// See the module.
pub(super) struct Evidence<'a> {
    pub(super) draft: Draft,
    pub(super) calls: Vec<Call>,
    pub(super) rules: Vec<Watched<'a>>,
    /// The rule of most violations; the first of `rules`.
    pub(super) meter: Option<Meter>,
    /// The highest value, in the unit of the rule's levels.
    pub(super) peak: u64,
    pub(super) good_addresses: std::collections::HashMap<String, u64>,
    pub(super) others: std::collections::HashMap<String, u64>,
    pub(super) own_seen: std::collections::HashSet<String>,
}

/// Reads and counts.
pub(super) fn gather<'a>(
    sources: &Sources<'a>,
    incident: &Incident,
    alerts: &[Alert],
) -> Result<Evidence<'a>, FindingsError> {
    let mut alerts: Vec<&Alert> = alerts.iter().collect();
    // The lead: critical ones before others, then those of most violations.
    alerts.sort_by_key(|alert| (!alert.is_critical, std::cmp::Reverse(alert.count), alert.id));
    let Some(lead) = alerts.first().copied() else { return Err(FindingsError::NoAlerts(incident_name(incident.id))) };
    let customer = sources.policy.customers.of(&incident.customer);
    let mut notes = Vec::new();
    if alerts.len() > FINDINGS_ALERTS_MAX {
        notes.push(format!("Of its {} alerts, the first {FINDINGS_ALERTS_MAX} were looked at.", alerts.len()));
        alerts.truncate(FINDINGS_ALERTS_MAX);
    }
    let of_alerts: Vec<Alert> = alerts.iter().map(|alert| (*alert).clone()).collect();
    let watch = Watch::new(sources.policy, &of_alerts);
    let span = Span::of(sources, &alerts, &watch);
    let nothing = DynamicLists::default();
    let wanted = Wanted { customer: &incident.customer, from: span.normal, to: span.to };
    let hear = |tally: &mut Tally, heard: &reading::Heard<'_>| {
        let view = tally::view(heard, sources.policy, sources.names, &nothing);
        tally.hear(&watch, view, heard);
    };
    let (mut tally, outcome) = reading::read(sources, &wanted, || Tally::new(span.from), hear);
    notes.extend(outcome.notes);
    tell_limits(&tally, &watch, sources, &mut notes);
    tally.hits.sort_unstable();
    tally.calls.sort_by(|a, b| (a.time, &a.call_id).cmp(&(b.time, &b.call_id)));
    let mut draft = begun(sources, incident, customer, &span);
    draft.notices = notices(sources, incident)?;
    draft.first_violation = alerts.iter().map(|alert| alert.first).min().unwrap_or(incident.first);
    draft.rules = rule_facts(&watch, &alerts);
    rank(&mut draft, &tally.calls);
    draft.risk = tally.risk();
    draft.samples = samples(&tally.calls);
    let is_long = span.to.0 - span.from.0 >= FINDINGS_SPAN_MS_MAX;
    if is_long && draft.last_call.is_some_and(|last| span.to.0 - last.0 < AFTER_MS) {
        let days = FINDINGS_SPAN_MS_MAX / 86_400_000;
        notes.push(format!("It lasts longer than {days} days: its calls were looked at up to then."));
    }
    let measured = measure(&mut draft, &watch, &tally, lead, &span);
    if tally.calls.is_empty() {
        let why = if outcome.n_events == 0 {
            "no calls of that time are kept here"
        } else {
            "no call kept here fits its rules"
        };
        notes.insert(0, format!("The calls themselves could not be looked at: {why}."));
    }
    draft.notes = notes.iter().map(|note| note.replace(['\r', '\n'], " ")).collect();
    let Tally { calls, good_addresses, others, own_seen, .. } = tally;
    let (meter, peak) = measured;
    Ok(Evidence { draft, calls, rules: watch.rules, meter, peak, good_addresses, others, own_seen })
}

impl Evidence<'_> {
    pub(super) fn into_draft(self, recommended: Vec<Recommendation>) -> Draft {
        Draft { recommended, ..self.draft }
    }
}

/// Which time is looked at.
struct Span {
    /// What came before the incident tells what is normal.
    normal: Timestamp,
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    fn of(sources: &Sources<'_>, alerts: &[&Alert], watch: &Watch<'_>) -> Span {
        let window = |rule: &Watched<'_>| match rule.rule {
            Rule::Threshold(rule) => rule.window_ms,
            _ => 60_000,
        };
        let window = watch.rules.iter().map(window).max().unwrap_or(60_000);
        let first = alerts.iter().map(|alert| alert.first).min().unwrap_or_default();
        let last = alerts.iter().map(|alert| alert.last).max().unwrap_or_default();
        // Violations come when a threshold is crossed, calls for as long as it stays so.
        let over = |alert: &&Alert| if alert.state == AlertState::Open { sources.now } else { alert.changed };
        let over = alerts.iter().map(over).max().unwrap_or_default().max(last);
        // An event exactly one window old has left it.
        let from = first.minus_ms(window - 1);
        let to = over.plus_ms(AFTER_MS).min(sources.now.max(last)).min(from.plus_ms(FINDINGS_SPAN_MS_MAX));
        Span { normal: from.minus_ms(FINDINGS_NORMAL_MS), from, to }
    }
}

/// What was left out of the counts.
fn tell_limits(tally: &Tally, watch: &Watch<'_>, sources: &Sources<'_>, notes: &mut Vec<String>) {
    if tally.n_calls_left_out > 0 {
        notes.push(format!(
            "More than {FINDINGS_CALLS_MAX} calls belong to it: the counts are of the first {FINDINGS_CALLS_MAX}."
        ));
    }
    if tally.n_hits_left_out > 0 {
        notes.push(format!("More than {FINDINGS_HITS_MAX} events were counted: what is said of values and of what is normal is a lower bound."));
    }
    for rule in &watch.rules {
        if matches!(rule.rule, Rule::Gone) {
            notes.push(format!("Rule {} is not there any more: its calls are those with the same key.", rule.id));
        } else if rule.asks_dynamic(sources.policy) {
            notes.push(format!("Rule {} asks what was on an automatic list at the time, which is not kept: its calls are counted as if the list had been empty.", rule.id));
        }
    }
    if watch.n_unknown_keys > 0 {
        notes.push(format!("{} of its alerts have keys that cannot be looked for in the calls.", watch.n_unknown_keys));
    }
}

fn begun(sources: &Sources<'_>, incident: &Incident, customer: &Customer, span: &Span) -> Draft {
    let name = if customer.name == "default" { &incident.customer } else { &customer.name };
    Draft {
        incident: incident_name(incident.id),
        customer: plain(name),
        time_zone: customer.time_zone.iana_name().unwrap_or("UTC").to_owned(),
        made: sources.now,
        from: span.from,
        to: span.to,
        rules: Vec::new(),
        calls: 0,
        answered: 0,
        blocked: 0,
        first_call: None,
        last_call: None,
        first_violation: incident.first,
        first_block: None,
        notices: Vec::new(),
        keys: Ranking::default(),
        callers: Ranking::default(),
        caller_prefixes: Ranking::default(),
        callees: Ranking::default(),
        callee_prefixes: Ranking::default(),
        accounts: Ranking::default(),
        trunks: Ranking::default(),
        addresses: Ranking::default(),
        blocked_by: Ranking::default(),
        risk: Default::default(),
        samples: Vec::new(),
        series: Series::default(),
        normal: None,
        recommended: Vec::new(),
        notes: Vec::new(),
    }
}

/// When notices were released, as the store has them.
fn notices(sources: &Sources<'_>, incident: &Incident) -> Result<Vec<Timestamp>, FindingsError> {
    if incident.messages.is_empty() {
        return Ok(Vec::new());
    }
    let query = SubjectQuery { ids: Some(incident.messages.clone()), ..SubjectQuery::default() };
    let rows = sources.store.subjects(SubjectKind::Message, &query)?.rows;
    let released = |body: &str| serde_json::from_str::<Message>(body).ok().and_then(|message| message.released);
    let mut times: Vec<Timestamp> = rows.iter().filter_map(|row| released(&row.body)).collect();
    times.sort();
    Ok(times)
}

fn rule_facts(watch: &Watch<'_>, alerts: &[&Alert]) -> Vec<RuleFacts> {
    let mut facts: Vec<RuleFacts> = Vec::new();
    for rule in &watch.rules {
        if facts.iter().any(|known| known.id == rule.id) {
            continue;
        }
        let of_rule = || alerts.iter().filter(|alert| alert.rule == rule.id);
        let (n, violations) = (of_rule().count() as u64, of_rule().map(|alert| alert.count).sum());
        let mut fact = RuleFacts {
            id: rule.id.clone(),
            description: String::new(),
            measure: String::new(),
            window: String::new(),
            warning: None,
            critical: None,
            is_monitor: false,
            alerts: n,
            violations,
        };
        match rule.rule {
            Rule::Threshold(rule) => {
                fact.description = rule.description.as_deref().map(plain_sentence).unwrap_or_default();
                fact.measure = rule.measure.as_str().to_owned();
                fact.window.clone_from(&rule.window_text);
                fact.warning = rule.levels.warning.as_ref().map(|level| level.text.clone());
                fact.critical = rule.levels.critical.as_ref().map(|level| level.text.clone());
                fact.is_monitor = rule.mode == Mode::Monitor;
            }
            Rule::Firewall(rule) => {
                fact.measure = "match".to_owned();
                fact.is_monitor = rule.mode == Mode::Monitor;
            }
            Rule::Gone => {}
        }
        facts.push(fact);
    }
    facts
}

/// What somebody wrote in a rule, as one line.
fn plain_sentence(text: &str) -> String {
    text.split_whitespace().map(plain).collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn rank(draft: &mut Draft, calls: &[Call]) {
    draft.calls = calls.len() as u64;
    draft.answered = calls.iter().filter(|call| call.is_answered).count() as u64;
    draft.blocked = calls.iter().filter(|call| call.blocked_by.is_some()).count() as u64;
    draft.first_call = calls.first().map(|call| call.time);
    draft.last_call = calls.last().map(|call| call.time);
    draft.first_block = calls.iter().find(|call| call.blocked_by.is_some()).map(|call| call.time);
    let of = |text: fn(&Call) -> &str| Ranking::of(calls.iter().map(text));
    draft.keys = of(|call| &call.key);
    draft.callers = of(|call| &call.caller);
    draft.callees = of(|call| &call.callee);
    draft.accounts = of(|call| &call.account);
    draft.trunks = of(|call| &call.trunk);
    draft.addresses = of(|call| &call.address);
    draft.blocked_by = of(|call| call.blocked_by.as_deref().unwrap_or_default());
    draft.caller_prefixes = beginnings(calls, |call| &call.caller);
    draft.callee_prefixes = beginnings(calls, |call| &call.callee);
}

/// How numbers begin: as many digits as some of them have in common, or nothing where they have not.
fn beginnings(calls: &[Call], number: fn(&Call) -> &str) -> Ranking {
    let of = |digits: &usize| Ranking::of(calls.iter().filter_map(|call| tally::prefix(number(call), *digits)));
    PREFIX_DIGITS.iter().map(of).find(Ranking::is_steep).unwrap_or_default()
}

/// Spread over the whole, with the first and the last.
fn samples(calls: &[Call]) -> Vec<Call> {
    let n = calls.len().min(FINDINGS_SAMPLES);
    let at = |i: usize| if n < 2 { 0 } else { i * (calls.len() - 1) / (n - 1) };
    (0..n).filter_map(|i| calls.get(at(i)).cloned()).collect()
}

/// Fills the series and what is normal; gives how the leading rule measures, and the highest value of its keys.
fn measure(draft: &mut Draft, watch: &Watch<'_>, tally: &Tally, lead: &Alert, span: &Span) -> (Option<Meter>, u64) {
    let to = draft.last_call.unwrap_or(span.to).max(lead.last);
    let from = draft.first_call.unwrap_or(lead.first).min(draft.first_violation);
    draft.series = series::buckets(&tally.calls, from, to);
    let Some((number, rule)) = watch.rules.iter().enumerate().find(|(_, rule)| rule.id == lead.rule) else {
        return (None, 0);
    };
    let series = &mut draft.series;
    series.rule.clone_from(&rule.id);
    series.key = plain(&lead.key_text());
    let Some(meter) = Meter::of(rule.rule) else { return (None, 0) };
    let is_request = tally.calls.first().is_some_and(|call| call.is_request);
    meter.unit(is_request).clone_into(&mut series.unit);
    if let Rule::Threshold(rule) = rule.rule {
        (series.warning, series.critical) =
            (meter.level(rule.levels.warning.as_ref()), meter.level(rule.levels.critical.as_ref()));
        series.window.clone_from(&rule.window_text);
        if let Measure::Distinct(operand) = &rule.measure {
            series.unit = match operand.field() {
                Field::Party(_) => "different numbers".to_owned(),
                _ => "different values".to_owned(),
            };
        }
    }
    let mut peaks = Vec::new();
    let mut lead_hits: (u64, &[Hit]) = (0, &[]);
    for hits in tally.hits.chunk_by(|a, b| (a.rule, a.key) == (b.rule, b.key)) {
        let Some(first) = hits.first().filter(|hit| usize::from(hit.rule) == number) else { continue };
        let is_alerted = tally.key_marks.get(first.key as usize).is_some_and(|(is_alerted, _)| *is_alerted);
        if is_alerted {
            let peak = series::peak(meter, hits.iter());
            if peak > lead_hits.0 {
                lead_hits = (peak, hits);
            }
        }
        let ordinary = hits.iter().filter(|hit| !is_alerted || hit.time < span.from.0);
        let peak = series::peak(meter, ordinary);
        if peak > 0 {
            peaks.push(peak);
        }
    }
    if let Some(hit) = lead_hits.1.first() {
        let key = tally.key_marks.get(hit.key as usize).map(|(_, key)| tally::key_text(key));
        series.key = key.unwrap_or_default();
        series::values(series, meter, lead_hits.1.iter());
    }
    draft.normal = series::peaks(meter, peaks, span.normal, span.to);
    (Some(meter), lead_hits.0)
}

/// For those who ask what a peak is held against.
impl Evidence<'_> {
    pub(super) fn lead(&self) -> Option<&Watched<'_>> {
        self.rules.iter().find(|rule| rule.id == self.draft.series.rule)
    }

    pub(super) fn normal(&self) -> Option<&Peaks> {
        self.draft.normal.as_ref()
    }
}
