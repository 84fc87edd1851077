//! `ringfence simulate`: labelled synthetic traffic, for trying rules, for tests and for benches.
//!
//! Clean calls and attacks come from streams of chance of their own, merged by time. The same arguments give the
//! same bytes. Every event says in `label` what it belongs to: `clean` or the attack's name, with its intensity and a
//! running number (`wangiri:weak#2`) where the run has that attack more than once; the engine ignores that field as it
//! ignores every field it does not know.

mod attack;
pub(crate) mod call;
pub(crate) mod chance;
mod clean;
mod people;
mod profile;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use jiff::tz::TimeZone;

pub use attack::Intensity;

use crate::clock::Clock;
use crate::event::Kind;
use attack::{Attack, AttackCalls, Stage};
use call::{About, Call, Names};
use clean::Clean;
use people::People;
use profile::Profile;

/// Longest run: a year, by the minute, is half a million steps of the profile.
const DURATION_MS_MAX: i64 = 366 * 86_400_000;
const CUSTOMERS_MAX: usize = 10_000;
/// Their numbers take 16 bits.
const ATTACKS_MAX: usize = 10_000;

/// Make labelled synthetic traffic: ordinary calls, and attacks among them
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence simulate --calls 20000 --attack wangiri,tdos:strong@40m | ringfence replay --rules rules -
  ringfence simulate --calls 1000000 --duration 24h --seed 7 --time-zone Europe/Stockholm > day.ndjson
  ringfence simulate --list-attacks

The label of each event says what it belongs to, so what a rule finds can be compared with what was there:
  ringfence simulate --attack irsf | jq -r .label | sort | uniq -c

Every attack at three intensities, twice each, among a week of ten million clean calls; labels are then like
wangiri:weak#2:
  ringfence simulate --calls 10000000 --duration 7d --kind events --attack all --intensity weak,medium,strong --times 2")]
pub struct Args {
    /// Clean calls to make; the calls of the attacks come on top, at their own rates
    #[arg(long, default_value_t = 10_000)]
    pub calls: u64,
    /// Attacks among them: NAME, NAME:weak|medium|strong, NAME@OFFSET (when it begins), or all; separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME[:INTENSITY][@OFFSET]")]
    pub attack: Vec<String>,
    /// Strength of the attacks that do not say their own; of several, each attack comes at each
    #[arg(long, value_enum, value_delimiter = ',', default_value = "medium")]
    pub intensity: Vec<Intensity>,
    /// How often each attack comes, at other places each time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub times: u16,
    /// The same seed and arguments give the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// When the first call may come: RFC 3339, or so long ago, like -1h; a Monday morning unless said otherwise
    #[arg(long, default_value = "2026-03-02T08:00:00Z", value_name = "TIME", allow_hyphen_values = true)]
    pub start: String,
    /// Event time the calls are spread over
    #[arg(long, default_value = "1h", value_name = "SPAN")]
    pub duration: String,
    /// Where it is day and night: clean calls follow office hours there
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub time_zone: String,
    /// Customers the calls belong to, separated by commas; without it the events name none
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub customer: Vec<String>,
    /// `cdr`: one record a call, at its end; `events`: attempt, answer and end as they happen, and registrations
    #[arg(long, value_enum, default_value_t = Records::Cdr)]
    pub kind: Records,
    /// Attacks and their parameters from this file instead of the ones that ship
    #[arg(long, value_name = "FILE")]
    pub attacks: Option<PathBuf>,
    /// List the attacks that are known, with their sources, and make nothing
    #[arg(long)]
    pub list_attacks: bool,
}

/// What is written of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Records {
    Cdr,
    Events,
}

/// Writes the traffic, one JSON object a line, in order of time. A reader that goes away ends it quietly.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    match write_traffic(args, out) {
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(()),
        done => done,
    }
}

fn write_traffic(args: &Args, out: &mut dyn Write) -> Result<()> {
    let text = match &args.attacks {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("cannot read attacks `{}`", path.display()))?)
        }
        None => None,
    };
    let known = attack::load(text.as_deref())?;
    if args.list_attacks {
        for attack in &known {
            let pattern = if attack.pattern > 0 { format!("pattern {}; ", attack.pattern) } else { String::new() };
            writeln!(out, "{:<20} {}\n{:<20}   {pattern}source: {}", attack.name, attack.what, "", attack.source)?;
        }
        return Ok(());
    }
    let plan = Plan::from_args(args, &known)?;
    let traffic = Traffic::new(&plan)?;
    let names = traffic.names.clone();
    let mut buffer = Vec::with_capacity(300 * 1024);
    for moment in Moments::new(traffic, args.kind) {
        names.write_line(&moment.call, moment.kind, &mut buffer);
        if buffer.len() >= 256 * 1024 {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)?;
    out.flush()?;
    Ok(())
}

/// What a run is made of, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub calls: u64,
    pub seed: u64,
    pub start_ms: i64,
    pub duration_ms: i64,
    pub zone: TimeZone,
    pub customers: Vec<String>,
    pub registers: bool,
    /// Calls come evenly, whatever the hour.
    pub even: bool,
    pub attacks: Vec<Planned>,
}

/// An attack of a run.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub attack: Attack,
    pub intensity: Intensity,
    /// After the start of the run; `None`: spread evenly, or when offices close.
    pub offset_ms: Option<i64>,
    /// Cut off after so long; `None`: when the attack or the run is over.
    pub length_ms: Option<i64>,
}

impl Plan {
    fn from_args(args: &Args, known: &[Attack]) -> Result<Plan> {
        let duration_ms = parse_span_ms(&args.duration).context("--duration")?;
        let zone = TimeZone::get(&args.time_zone)
            .with_context(|| format!("--time-zone `{}`: write a name like Europe/Stockholm", args.time_zone))?;
        if args.customer.len() > CUSTOMERS_MAX {
            bail!("--customer: at most {CUSTOMERS_MAX}");
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if let Some(bad) = args.customer.iter().find(|c| c.is_empty() || c.len() > 255 || !c.bytes().all(plain)) {
            bail!("--customer `{bad}`: use letters, digits, `-`, `_` and `.`");
        }
        let attacks = planned(args, known)?;
        Ok(Plan {
            calls: args.calls,
            seed: args.seed,
            start_ms: parse_start_ms(&args.start)?,
            duration_ms,
            zone,
            customers: args.customer.clone(),
            registers: args.kind == Records::Events,
            even: false,
            attacks,
        })
    }
}

/// The attacks of a run, all of one intensity before those of the next, so that the same attack comes again only long
/// after its last call.
fn planned(args: &Args, known: &[Attack]) -> Result<Vec<Planned>> {
    let texts: Vec<&str> = match args.attack.iter().any(|text| text == "all") {
        true => known.iter().map(|attack| attack.name.as_str()).collect(),
        false => args.attack.iter().map(String::as_str).collect(),
    };
    let mut attacks = Vec::new();
    for _ in 0..args.times {
        for (i, intensity) in args.intensity.iter().enumerate() {
            // What names its own intensity does not come at each of the others too.
            for text in texts.iter().filter(|text| i == 0 || !text.contains(':')) {
                attacks.push(Planned::parse(text, *intensity, known)?);
            }
        }
    }
    if attacks.len() > ATTACKS_MAX {
        bail!("{} attacks, limit is {ATTACKS_MAX}", attacks.len());
    }
    Ok(attacks)
}

/// What each attack of a run is called: its name, and where that is not enough its intensity and a running number.
fn labels(attacks: &[Planned]) -> Vec<String> {
    let same = |a: &Planned, b: &Planned| a.attack.name == b.attack.name;
    let alike = |a: &Planned, b: &Planned| same(a, b) && a.intensity == b.intensity;
    let label = |(i, one): (usize, &Planned)| {
        let name = &one.attack.name;
        let strength = one.intensity.as_str();
        match attacks.iter().filter(|other| alike(one, other)).count() {
            _ if attacks.iter().filter(|other| same(one, other)).count() == 1 => name.clone(),
            1 => format!("{name}:{strength}"),
            _ => format!("{name}:{strength}#{}", attacks[..=i].iter().filter(|other| alike(one, other)).count()),
        }
    };
    attacks.iter().enumerate().map(label).collect()
}

impl Planned {
    /// `NAME`, `NAME:INTENSITY`, `NAME@OFFSET` or both.
    fn parse(text: &str, intensity: Intensity, known: &[Attack]) -> Result<Planned> {
        let (text, offset) = text.split_once('@').map_or((text, None), |(t, o)| (t, Some(o)));
        let (name, strength) = text.split_once(':').map_or((text, None), |(n, s)| (n, Some(s)));
        let Some(attack) = known.iter().find(|a| a.name == name) else {
            let names: Vec<&str> = known.iter().map(|a| a.name.as_str()).collect();
            bail!("unknown attack `{name}`; known are {}", names.join(", "));
        };
        let intensity = match strength {
            None => intensity,
            Some("weak") => Intensity::Weak,
            Some("medium") => Intensity::Medium,
            Some("strong") => Intensity::Strong,
            Some(other) => bail!("attack `{name}`: intensity `{other}` is none of weak, medium, strong"),
        };
        let offset_ms = match offset {
            Some("0" | "0s") => Some(0),
            Some(offset) => Some(parse_span_ms(offset).with_context(|| format!("attack `{name}`"))?),
            None => None,
        };
        Ok(Planned { attack: attack.clone(), intensity, offset_ms, length_ms: None })
    }

    /// A shipped attack by name, for a while: for the demo.
    pub(crate) fn shipped(name: &str, intensity: Intensity, offset_ms: i64, length_ms: i64) -> Result<Planned> {
        let planned = Planned::parse(name, intensity, &attack::load(None)?)?;
        Ok(Planned { offset_ms: Some(offset_ms), length_ms: Some(length_ms), ..planned })
    }
}

/// An instant, or a span before now.
fn parse_start_ms(text: &str) -> Result<i64> {
    if let Some(ago) = text.strip_prefix('-') {
        return Ok(Clock.now().minus_ms(parse_span_ms(ago).context("--start")?).0);
    }
    let start: jiff::Timestamp =
        text.parse().with_context(|| format!("--start `{text}`: write 2026-03-02T08:00:00Z or -1h"))?;
    Ok(start.as_millisecond())
}

/// A span as rules write it: `90s`, `1h30m`, `2d`. At least a second, at most [`DURATION_MS_MAX`].
pub(crate) fn parse_span_ms(text: &str) -> Result<i64> {
    let mut total = 0i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).unwrap_or(("", rest));
        let unit_len = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(unit_len).unwrap_or(("", tail));
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => bail!("span `{text}`: write it like 90s, 1h30m or 2d"),
        };
        let Ok(number) = number.parse::<i64>() else { bail!("span `{text}`: write it like 90s, 1h30m or 2d") };
        total = total.saturating_add(number.saturating_mul(unit_ms));
        rest = tail;
    }
    if !(1_000..=DURATION_MS_MAX).contains(&total) {
        bail!("span `{text}`: from 1s to 366d");
    }
    Ok(total)
}

/// All calls of a run in order of their start: clean ones and attacks, merged.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) names: Names,
    sources: Vec<Source>,
    /// Start of each source's next call, and its place.
    due: BinaryHeap<Reverse<(i64, usize)>>,
}

#[derive(Debug)]
struct Source {
    calls: Calls,
    next: Option<Call>,
    user_agent: Option<&'static str>,
}

#[derive(Debug)]
enum Calls {
    Clean(Box<Clean>),
    Attack(Box<AttackCalls>),
}

impl Traffic {
    pub(crate) fn new(plan: &Plan) -> Result<Traffic> {
        let zone = (!plan.even).then_some(&plan.zone);
        let profile = Profile::new(plan.start_ms, plan.duration_ms, zone);
        let busy_hours = (profile.busy_minutes() / 60.0).max(1.0 / 60.0);
        let people = People::for_rate(plan.calls as f64 / busy_hours, plan.customers.len().max(1));
        let end_ms = plan.start_ms + plan.duration_ms;
        let labels = labels(&plan.attacks);
        let mut sources = Vec::new();
        for (i, planned) in plan.attacks.iter().enumerate() {
            let slot = plan.duration_ms * (i as i64 + 1) / (plan.attacks.len() as i64 + 1);
            let begin_ms = plan.start_ms + planned.offset_ms.unwrap_or(slot);
            let waits = planned.attack.is_after_hours() && planned.offset_ms.is_none();
            let begin_ms = if waits { profile.after_hours(begin_ms) } else { begin_ms };
            let end_ms = planned.length_ms.map_or(end_ms, |length| end_ms.min(begin_ms + length));
            let stage = Stage { seed: plan.seed, people, begin_ms, end_ms, intensity: planned.intensity };
            let calls = AttackCalls::new(&planned.attack, i as u16, &labels[i], stage)?;
            // Leaked once an attack and run, so that a call stays plain old data.
            let user_agent: &'static str = Box::leak(calls.user_agent().to_owned().into_boxed_str());
            sources.push(Source { calls: Calls::Attack(Box::new(calls)), next: None, user_agent: Some(user_agent) });
        }
        let clean = Clean::new(plan.calls, plan.seed, profile, people, plan.registers);
        sources.push(Source { calls: Calls::Clean(Box::new(clean)), next: None, user_agent: None });
        let mut due = BinaryHeap::new();
        for (place, source) in sources.iter_mut().enumerate() {
            source.advance();
            due.extend(source.next.map(|call| Reverse((call.start_ms, place))));
        }
        let names = Names { customers: plan.customers.clone(), attacks: labels, seed: plan.seed };
        Ok(Traffic { names, sources, due })
    }
}

impl Source {
    fn advance(&mut self) {
        self.next = match &mut self.calls {
            Calls::Clean(calls) => calls.next(),
            Calls::Attack(calls) => calls.next(),
        };
        if let (Some(call), Some(user_agent)) = (&mut self.next, self.user_agent) {
            call.user_agent = user_agent;
        }
    }
}

impl Iterator for Traffic {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        let Reverse((_, place)) = self.due.pop()?;
        let source = &mut self.sources[place];
        let call = source.next;
        source.advance();
        self.due.extend(source.next.map(|call| Reverse((call.start_ms, place))));
        call
    }
}

/// One line to be written: a moment of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub kind: Kind,
    pub call: Call,
}

/// The moments of all calls in order of time. Holds the calls that have begun and not ended, no more.
#[derive(Debug)]
pub(crate) struct Moments {
    traffic: Traffic,
    records: Records,
    upcoming: Option<Call>,
    /// Time, order of arrival (ties keep it), kind, place of the call.
    waiting: BinaryHeap<Reverse<(i64, u64, u8, u32)>>,
    calls: Vec<Call>,
    free: Vec<u32>,
    order: u64,
}

impl Moments {
    pub(crate) fn new(mut traffic: Traffic, records: Records) -> Moments {
        let upcoming = traffic.next();
        let (waiting, calls, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Moments { traffic, records, upcoming, waiting, calls, free, order: 0 }
    }

    /// Puts the moments of a call into the order.
    pub(crate) fn add(&mut self, call: Call) {
        let kinds: &[Kind] = match (call.about, self.records) {
            (About::Register, _) => &[Kind::Register],
            (About::Options, _) => &[Kind::Options],
            (About::Call, Records::Cdr) => &[Kind::Cdr],
            (About::Call, Records::Events) if call.answered() => &[Kind::Attempt, Kind::Answer, Kind::End],
            (About::Call, Records::Events) => &[Kind::Attempt, Kind::End],
        };
        for kind in kinds {
            let place = match self.free.pop() {
                Some(place) => {
                    self.calls[place as usize] = call;
                    place
                }
                None => {
                    self.calls.push(call);
                    (self.calls.len() - 1) as u32
                }
            };
            self.waiting.push(Reverse((call.time_of(*kind), self.order, *kind as u8, place)));
            self.order += 1;
        }
    }
}

impl Iterator for Moments {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        while let Some(call) = self.upcoming {
            // What waits comes before every call yet to begin.
            if self.waiting.peek().is_some_and(|Reverse((time, ..))| *time <= call.start_ms) {
                break;
            }
            self.add(call);
            self.upcoming = self.traffic.next();
        }
        let Reverse((_, _, kind, place)) = self.waiting.pop()?;
        self.free.push(place);
        Some(Moment {
            kind: Kind::ALL.get(usize::from(kind)).copied().unwrap_or(Kind::Cdr),
            call: self.calls[place as usize],
        })
    }
}

#[cfg(test)]
mod tests;
