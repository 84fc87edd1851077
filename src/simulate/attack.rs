//! Attacks as a file describes them, and the calls they make.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::event::{Attestation, Direction, Status};
use crate::simulate::call::{About, Call, Party, TRUNKS};
use crate::simulate::chance::Chance;
use crate::simulate::clean::from_trunk;
use crate::simulate::people::{COMPANY_NUMBERS, People, fill};

/// The attacks that ship.
const SHIPPED: &str = include_str!("../../rules/simulate/attacks.toml");
/// More calls than one attack of a file may make: a slip of the pen, not a plan.
const ATTACK_CALLS_MAX: u64 = 100_000_000;
/// TEST-NET-3 (RFC 5737): where attackers without an address of their own come from.
const ATTACKER_ADDRESS: u32 = 0xcb00_7142;

/// What an attack file says of one attack. Keys are explained at the head of `rules/simulate/attacks.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attack {
    pub name: String,
    pub what: String,
    pub source: String,
    /// Its number in the catalogue of patterns; for people.
    #[serde(default)]
    pub pattern: u8,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    direction: Way,
    #[serde(default)]
    after_hours: bool,
    caller: Who,
    callee: Who,
    diverting: Option<Who>,
    #[serde(default)]
    answered: f64,
    #[serde(default)]
    ring_s: [f64; 2],
    #[serde(default)]
    talk_s: [f64; 2],
    #[serde(default)]
    unanswered: Outcome,
    trunk: Option<String>,
    #[serde(default)]
    attestation: Signed,
    #[serde(default)]
    source_ips: Vec<std::net::Ipv4Addr>,
    #[serde(default)]
    sip_code: u16,
    #[serde(default)]
    user_agent: String,
    weak: Strength,
    medium: Strength,
    strong: Strength,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strength {
    calls: u64,
    over: String,
    callers: Option<u64>,
    callees: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    own: Option<Own>,
    #[serde(default)]
    prefixes: Vec<String>,
    digits: Option<u32>,
    numbers: Option<u64>,
    #[serde(default)]
    anonymous: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Own {
    Any,
    Company,
    Main,
    One,
    Sequence,
    Neighbour,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Call,
    Register,
    Options,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Inbound,
    Outbound,
    Internal,
    #[default]
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Busy,
    NoAnswer,
    Cancelled,
    Rejected,
    #[default]
    Failed,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Signed {
    A,
    B,
    C,
    #[serde(rename = "failed")]
    Failed,
    #[serde(rename = "none")]
    None,
    #[default]
    #[serde(rename = "unknown")]
    Unknown,
}

/// Whom of a call the file speaks of.
#[derive(Clone, Copy, Debug)]
enum Role {
    Caller,
    Callee,
    Diverting,
}

/// How strong an attack is; the file says what that means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Intensity {
    Weak,
    #[default]
    Medium,
    Strong,
}

impl Intensity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Intensity::Weak => "weak",
            Intensity::Medium => "medium",
            Intensity::Strong => "strong",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    attack: Vec<Attack>,
}

/// Every attack of the text; the shipped ones where there is none.
pub(crate) fn load(text: Option<&str>) -> Result<Vec<Attack>> {
    let file: File = toml::from_str(text.unwrap_or(SHIPPED)).context("attacks")?;
    for attack in &file.attack {
        attack.check().with_context(|| format!("attack `{}`", attack.name))?;
    }
    Ok(file.attack)
}

impl Attack {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.bytes().any(|b| !(b.is_ascii_alphanumeric() || b == b'-' || b == b'_')) {
            bail!("name: use letters, digits, `-` and `_`");
        }
        if self.user_agent.bytes().any(|b| b == b'"' || b == b'\\' || b < b' ') {
            bail!("user_agent: no quotes, backslashes or control characters");
        }
        if !(0.0..=1.0).contains(&self.answered) {
            bail!("answered: a share from 0 to 1");
        }
        for [low, high] in [self.ring_s, self.talk_s] {
            if !(0.0 <= low && low <= high && high <= 86_400.0) {
                bail!("ring_s, talk_s: seconds as [least, most], at most a day");
            }
        }
        if let Some(trunk) = &self.trunk
            && !TRUNKS.contains(&trunk.as_str())
        {
            bail!("trunk `{trunk}`: known are {}", TRUNKS.join(", "));
        }
        self.caller.check().context("caller")?;
        self.callee.check().context("callee")?;
        self.diverting.as_ref().map_or(Ok(()), Who::check).context("diverting")?;
        for strength in [&self.weak, &self.medium, &self.strong] {
            if !(1..=ATTACK_CALLS_MAX).contains(&strength.calls) {
                bail!("calls: from 1 to {ATTACK_CALLS_MAX}");
            }
            super::parse_span_ms(&strength.over).context("over")?;
        }
        Ok(())
    }

    fn strength(&self, intensity: Intensity) -> &Strength {
        match intensity {
            Intensity::Weak => &self.weak,
            Intensity::Medium => &self.medium,
            Intensity::Strong => &self.strong,
        }
    }

    pub(crate) fn is_after_hours(&self) -> bool {
        self.after_hours
    }
}

impl Who {
    fn check(&self) -> Result<()> {
        let ways =
            usize::from(self.own.is_some()) + usize::from(!self.prefixes.is_empty()) + usize::from(self.anonymous);
        if ways != 1 {
            bail!("set exactly one of `own`, `prefixes` and `anonymous`");
        }
        for prefix in &self.prefixes {
            let digits = prefix.strip_prefix('+').unwrap_or("");
            if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
                bail!("prefix `{prefix}`: write `+` and digits");
            }
            let whole = self.digits.unwrap_or(11) as usize;
            if !(digits.len() < whole && whole <= 15) {
                bail!("digits: more than the prefix `{prefix}` has, at most 15");
            }
        }
        Ok(())
    }
}

/// The calls of one attack, in order of their start.
#[derive(Debug)]
pub(crate) struct AttackCalls {
    attack: Attack,
    index: u16,
    chance: Chance,
    people: People,
    /// The company it is about, and one desk there.
    company: u64,
    desk: u64,
    /// Where all of it comes in.
    trunk: Option<u16>,
    begin_ms: i64,
    /// Calls starting from here on are cut off.
    end_ms: i64,
    over_ms: f64,
    calls: u64,
    callers: u64,
    callees: u64,
    made: u64,
    position: f64,
}

/// Where and when an attack takes place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub seed: u64,
    pub people: People,
    pub begin_ms: i64,
    pub end_ms: i64,
    pub intensity: Intensity,
}

impl AttackCalls {
    /// `label` is the name of this one attack in the run, and the seed of its chance.
    pub(crate) fn new(attack: &Attack, index: u16, label: &str, stage: Stage) -> Result<AttackCalls> {
        let mut chance = Chance::new(stage.seed, label);
        let strength = attack.strength(stage.intensity);
        let (company, desk) = (chance.below(stage.people.companies), 1 + chance.below(COMPANY_NUMBERS - 1));
        let kind = attack.trunk.as_ref().and_then(|name| TRUNKS.iter().position(|t| t == name));
        Ok(AttackCalls {
            company,
            desk,
            trunk: kind.map(|kind| stage.people.trunk(kind as u16, &mut chance)),
            chance,
            index,
            people: stage.people,
            begin_ms: stage.begin_ms,
            end_ms: stage.end_ms,
            over_ms: super::parse_span_ms(&strength.over)? as f64,
            calls: strength.calls,
            callers: strength.callers.or(attack.caller.numbers).unwrap_or(1).max(1),
            callees: strength.callees.or(attack.callee.numbers).unwrap_or(1).max(1),
            made: 0,
            position: 0.0,
            attack: attack.clone(),
        })
    }

    /// One of the parties the file means, the desk it belongs to, and its company.
    fn party(&mut self, role: Role) -> (Party, Option<(u64, u64)>) {
        let nobody = Who { anonymous: true, ..Who::default() };
        let (who, numbers) = match role {
            Role::Caller => (&self.attack.caller, self.callers),
            Role::Callee => (&self.attack.callee, self.callees),
            Role::Diverting => (self.attack.diverting.as_ref().unwrap_or(&nobody), 1),
        };
        let people = self.people;
        let Some(own) = who.own else {
            if who.anonymous || who.prefixes.is_empty() {
                return (Party::Anonymous, None);
            }
            let which = self.chance.below(numbers);
            let prefix = &who.prefixes[(which % who.prefixes.len() as u64) as usize];
            let head: u64 = prefix.trim_start_matches('+').parse().unwrap_or(1);
            let tail = (who.digits.unwrap_or(11) as usize).saturating_sub(prefix.len() - 1) as u32;
            // Steps of a prime, so that a range is used all over and not from its first number up.
            return (Party::Number(fill(head, tail, which.wrapping_mul(7919))), None);
        };
        let (company, place) = match own {
            Own::Any => (people.company(&mut self.chance), people.desk(&mut self.chance)),
            Own::Company => (self.company, people.desk(&mut self.chance)),
            Own::Main => (self.company, 0),
            Own::One => (self.company, self.desk),
            // Out of order within eight: dialers shuffle a little.
            Own::Sequence => (self.company, self.made ^ 5),
            Own::Neighbour => return (Party::Number(People::neighbour(self.chance.below(numbers))), None),
        };
        (Party::Number(people.own(company, place)), Some((company, place % COMPANY_NUMBERS)))
    }

    fn call(&mut self, start_ms: i64) -> Call {
        let mut call = Call {
            attack: Some(self.index),
            number: self.made,
            start_ms,
            direction: self.attack.direction.into(),
            attestation: self.attack.attestation.into(),
            ..Call::BLANK
        };
        let (caller, from) = self.party(Role::Caller);
        let (callee, to) = self.party(Role::Callee);
        let (diverting, by) = self.party(Role::Diverting);
        (call.caller, call.callee) = (caller, callee);
        call.diverting = if let Party::Number(number) = diverting { Some(number) } else { None };
        let ours = if call.direction == Direction::Inbound { to.or(from) } else { by.or(from).or(to) };
        let (company, place) = ours.unwrap_or((self.company, 0));
        self.people.sign(&mut call, company, Some(place));
        call.source_ip = ATTACKER_ADDRESS;
        if let Some(trunk) = self.trunk {
            from_trunk(&mut call, trunk);
        }
        if !self.attack.source_ips.is_empty() {
            let at = self.chance.below(self.attack.source_ips.len() as u64) as usize;
            call.source_ip = self.attack.source_ips[at].to_bits();
        }
        self.outcome(&mut call);
        call
    }

    fn outcome(&mut self, call: &mut Call) {
        call.about = match self.attack.kind {
            Kind::Call => About::Call,
            Kind::Register => About::Register,
            Kind::Options => About::Options,
        };
        if call.about != About::Call {
            call.sip_code = self.attack.sip_code;
            call.auth_failed = call.about == About::Register && matches!(call.sip_code, 401 | 403 | 407);
            return;
        }
        let span = |chance: &mut Chance, [low, high]: [f64; 2]| ((low + (high - low) * chance.unit()) * 1000.0) as u32;
        call.setup_ms = span(&mut self.chance, [0.2, 2.5]);
        call.ring_ms = span(&mut self.chance, self.attack.ring_s);
        call.talk_ms = span(&mut self.chance, self.attack.talk_s);
        let answered = self.chance.happens(self.attack.answered);
        call.come_out(if answered { Status::Answered } else { self.attack.unanswered.into() });
    }

    pub(crate) fn user_agent(&self) -> &str {
        &self.attack.user_agent
    }
}

impl Iterator for AttackCalls {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.made >= self.calls {
            return None;
        }
        let left = (self.calls - self.made) as f64;
        self.position += (1.0 - self.position) * (1.0 - (1.0 - self.chance.unit()).powf(1.0 / left));
        let start_ms = self.begin_ms + (self.position * self.over_ms) as i64;
        if start_ms >= self.end_ms {
            self.made = self.calls;
            return None;
        }
        let call = self.call(start_ms);
        self.made += 1;
        Some(call)
    }
}

impl From<Way> for Direction {
    fn from(way: Way) -> Direction {
        match way {
            Way::Inbound => Direction::Inbound,
            Way::Outbound => Direction::Outbound,
            Way::Internal => Direction::Internal,
            Way::Unknown => Direction::Unknown,
        }
    }
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Status {
        match outcome {
            Outcome::Busy => Status::Busy,
            Outcome::NoAnswer => Status::NoAnswer,
            Outcome::Cancelled => Status::Cancelled,
            Outcome::Rejected => Status::Rejected,
            Outcome::Failed => Status::Failed,
        }
    }
}

impl From<Signed> for Attestation {
    fn from(signed: Signed) -> Attestation {
        match signed {
            Signed::A => Attestation::A,
            Signed::B => Attestation::B,
            Signed::C => Attestation::C,
            Signed::Failed => Attestation::Failed,
            Signed::None => Attestation::None,
            Signed::Unknown => Attestation::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn calls(name: &str, intensity: Intensity) -> Vec<Call> {
        let attacks = load(None).expect("the shipped attacks are right");
        let attack = attacks.iter().find(|a| a.name == name).expect("it ships");
        let people = People::for_rate(10_000.0, 1);
        let stage = Stage { seed: 5, people, begin_ms: 0, end_ms: 24 * 3_600_000, intensity };
        AttackCalls::new(attack, 0, name, stage).expect("it is right").collect()
    }

    #[test]
    fn every_shipped_attack_makes_its_calls_in_order_and_more_of_them_the_stronger_it_is() {
        for attack in load(None).expect("the shipped attacks are right") {
            let of = |i| calls(&attack.name, i);
            let (weak, medium, strong) = (of(Intensity::Weak), of(Intensity::Medium), of(Intensity::Strong));
            assert!(weak.len() < medium.len() && medium.len() < strong.len(), "{}", attack.name);
            assert!(medium.is_sorted_by_key(|c| c.start_ms), "{}", attack.name);
            assert_eq!(strong.len() as u64, attack.strong.calls, "{}", attack.name);
            assert!(!attack.what.is_empty() && !attack.source.is_empty(), "{}", attack.name);
        }
    }

    #[test]
    fn wangiri_rings_many_of_our_numbers_shortly_from_one_range() {
        let calls = calls("wangiri", Intensity::Medium);
        let callees: HashSet<u64> =
            calls.iter().filter_map(|c| if let Party::Number(n) = c.callee { Some(n) } else { None }).collect();
        assert!(callees.len() > 1_000, "{}", callees.len());
        assert!(calls.iter().all(|c| matches!(c.caller, Party::Number(n) if n / 10_000 == 2_235_550)));
        assert!(calls.iter().all(|c| c.ring_ms <= 4_000));
        assert!(calls.iter().filter(|c| !c.answered()).count() * 10 > calls.len() * 9);
    }

    #[test]
    fn tdos_floods_one_number_and_war_dialing_walks_through_neighbours() {
        let flood = calls("tdos", Intensity::Medium);
        assert!(flood.iter().all(|c| c.callee == flood[0].callee));
        let walk: Vec<u64> = calls("war-dialing", Intensity::Weak)
            .iter()
            .filter_map(|c| if let Party::Number(n) = c.callee { Some(n) } else { None })
            .collect();
        assert!(walk.windows(2).filter(|w| w[0].abs_diff(w[1]) <= 16).count() > walk.len() * 8 / 10);
        assert!(!walk.is_sorted());
    }

    #[test]
    fn brute_force_is_refused_registers() {
        assert!(calls("reg-bruteforce", Intensity::Weak).iter().all(|c| c.about == About::Register && c.auth_failed));
    }

    #[test]
    fn a_file_with_a_slip_is_refused_with_the_attack_and_the_key() {
        let broken = SHIPPED.replacen("answered = 0.02", "answered = 2", 1);
        let said = format!("{:#}", load(Some(&broken)).expect_err("a share of 2"));
        assert!(said.contains("wangiri") && said.contains("answered"), "{said}");
        let unknown = SHIPPED.replacen("answered = 0.02", "answerd = 0.02", 1);
        let said = format!("{:#}", load(Some(&unknown)).expect_err("an unknown key"));
        assert!(said.contains("answerd"), "{said}");
    }
}
