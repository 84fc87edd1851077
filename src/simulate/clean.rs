//! The calls of people who mean no harm: a working day of companies in Sweden.
//!
//! Shares and times are those of ordinary office traffic: 55 % inbound, two thirds answered, talk times log-normal
//! about a minute and a half, redials after a busy tone, a main number in every company, now and then a call to
//! 112. Nothing here knows any rule.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use crate::event::{Attestation, Direction, Status};
use crate::simulate::call::{About, Call, Party};
use crate::simulate::chance::Chance;
use crate::simulate::people::{Outsider, People, fill};

const MINUTE_MS: i64 = 60_000;

/// Weight of each hour of a working day, local time; calls an hour against the busiest.
const WORKDAY: [f64; 24] = [
    0.02, 0.01, 0.01, 0.01, 0.02, 0.05, 0.2, 0.5, 0.85, 1.0, 1.0, 0.9, 0.7, 0.9, 0.95, 0.9, 0.75, 0.5, 0.3, 0.22, 0.18,
    0.12, 0.07, 0.04,
];
/// A weekend hour against the same hour of a working day.
const WEEKEND: f64 = 0.25;

/// How likely a call comes at each minute of a run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    start_ms: i64,
    /// Weight of all minutes up to and with this one.
    up_to: Vec<f64>,
    office: Vec<bool>,
}

impl Profile {
    /// Office hours of a zone; without one, every minute is alike.
    pub(crate) fn new(start_ms: i64, duration_ms: i64, zone: Option<&TimeZone>) -> Profile {
        let minutes = ((duration_ms + MINUTE_MS - 1) / MINUTE_MS).max(1);
        let (mut up_to, mut office, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for minute in 0..minutes {
            let at = start_ms + minute * MINUTE_MS;
            let (hour, weekend) = zone.map_or((9, false), |zone| local_hour(at, zone));
            let last = (duration_ms - minute * MINUTE_MS).min(MINUTE_MS) as f64 / MINUTE_MS as f64;
            sum += WORKDAY[hour % 24] * if weekend { WEEKEND } else { 1.0 } * last;
            up_to.push(sum);
            office.push(!weekend && (7..18).contains(&hour));
        }
        Profile { start_ms, up_to, office }
    }

    /// Minutes of the busiest hour that the whole run weighs.
    pub(crate) fn busy_minutes(&self) -> f64 {
        self.up_to.last().copied().unwrap_or(1.0)
    }

    /// The instant before which this share of the calls comes.
    fn instant(&self, share: f64) -> i64 {
        let weight = share * self.busy_minutes();
        let minute = self.up_to.partition_point(|w| *w <= weight).min(self.up_to.len() - 1);
        let before = if minute == 0 { 0.0 } else { self.up_to[minute - 1] };
        let within = ((weight - before) / (self.up_to[minute] - before).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        self.start_ms + minute as i64 * MINUTE_MS + (within * (MINUTE_MS - 1) as f64) as i64
    }

    /// The first instant at or after `from_ms` at which offices are closed; `from_ms` where there is none.
    pub(crate) fn after_hours(&self, from_ms: i64) -> i64 {
        let from = usize::try_from((from_ms - self.start_ms) / MINUTE_MS).unwrap_or(0);
        match self.office.iter().enumerate().skip(from).find(|(_, office)| !**office) {
            Some((minute, _)) => from_ms.max(self.start_ms + minute as i64 * MINUTE_MS),
            None => from_ms,
        }
    }
}

fn local_hour(at_ms: i64, zone: &TimeZone) -> (usize, bool) {
    let Ok(at) = Instant::from_millisecond(at_ms) else { return (12, false) };
    let local = at.to_zoned(zone.clone());
    (usize::try_from(local.hour()).unwrap_or(0), local.weekday().to_monday_zero_offset() >= 5)
}

/// Callers who were not served and may try again.
const REDIALS: usize = 64;

/// The clean calls of a run, in order of their start.
#[derive(Debug)]
pub(crate) struct Clean {
    chance: Chance,
    profile: Profile,
    people: People,
    /// Position in the profile, 0 to 1, of the last call.
    position: f64,
    left: u64,
    number: u64,
    registers: bool,
    unserved: Vec<Call>,
}

impl Clean {
    pub(crate) fn new(calls: u64, seed: u64, profile: Profile, people: People, registers: bool) -> Clean {
        let chance = Chance::new(seed, "clean");
        Clean { chance, profile, people, position: 0.0, left: calls, number: 0, registers, unserved: Vec::new() }
    }

    /// One call of this moment. The share of each direction is that of the whole day.
    fn call(&mut self, start_ms: i64) -> Call {
        let mut call = Call { number: self.number, start_ms, ..Call::BLANK };
        if self.registers && self.chance.happens(0.08) {
            self.register(&mut call);
            return call;
        }
        if !self.unserved.is_empty() && self.chance.happens(0.06) {
            let at = self.chance.below(self.unserved.len() as u64) as usize;
            let again = self.unserved.swap_remove(at);
            // Nobody redials before having hung up.
            if start_ms > again.end_ms() + 5_000 {
                call = Call { number: self.number, start_ms, ..again };
                self.outcome(&mut call);
                return call;
            }
        }
        match self.chance.below(100) {
            0..55 => self.inbound(&mut call),
            55..90 => self.outbound(&mut call),
            _ => self.internal(&mut call),
        }
        if call.callee != Party::Short(112) {
            self.outcome(&mut call);
        }
        call
    }

    fn inbound(&mut self, call: &mut Call) {
        let outsider = self.people.outsider(&mut self.chance);
        let company = self.people.company(&mut self.chance);
        let place = if self.chance.happens(0.15) { 0 } else { self.people.desk(&mut self.chance) };
        call.direction = Direction::Inbound;
        call.caller = if self.chance.happens(0.03) { Party::Anonymous } else { outsider.party() };
        call.callee = Party::Number(self.people.own(company, place));
        call.attestation = outsider.attestation();
        from_trunk(call, outsider.trunk());
        self.people.sign(call, company, Some(place));
    }

    fn outbound(&mut self, call: &mut Call) {
        let company = self.people.company(&mut self.chance);
        let place = self.people.desk(&mut self.chance);
        call.direction = Direction::Outbound;
        call.caller = Party::Number(self.people.own(company, place));
        self.people.sign(call, company, Some(place));
        call.attestation = Attestation::A;
        if self.chance.happens(1.0 / 1_500.0) {
            call.callee = Party::Short(112);
            from_trunk(call, 0);
            call.ring_ms = self.chance.between(2_000, 6_000) as u32;
            call.setup_ms = 900;
            call.talk_ms = self.chance.between(40_000, 240_000) as u32;
            call.come_out(Status::Answered);
            return;
        }
        let (callee, trunk) = self.destination();
        call.callee = callee;
        from_trunk(call, trunk);
    }

    /// Whom offices ring: mobiles and towns, seldom abroad, hardly ever where it is dear.
    fn destination(&mut self) -> (Party, u8) {
        let chance = &mut self.chance;
        match chance.below(10_000) {
            0..500 => (Party::Short(chance.pick(&[(5, 118_118), (5, 1177), (4, 11_414), (3, 11_313), (2, 90_510)])), 0),
            500..900 => (Party::Number(fill(4620, 6, chance.popular(2_000, 2.0))), 0),
            900..1_700 => {
                let (area, digits) = chance.pick(&[
                    (9, (4791, 6)),
                    (9, (4520, 6)),
                    (6, (35840, 7)),
                    (8, (4930, 8)),
                    (8, (4420, 8)),
                    (5, (1212, 7)),
                    (3, (4822, 7)),
                    (3, (3312, 7)),
                    (2, (9198, 8)),
                    (1, (8190, 8)),
                    (1, (2348, 9)),
                ]);
                (Party::Number(fill(area, digits, crate::simulate::chance::mix(chance.popular(3_000, 2.0)))), 5)
            }
            // Dear and rare, and yet business: ships, a branch office in Havana, a phone-in vote.
            1_700..1_705 => {
                let (area, digits) = chance.pick(&[(3, (8816, 8)), (2, (537, 7)), (4, (46939, 5)), (1, (96033, 5))]);
                (Party::Number(fill(area, digits, chance.below(200))), 5)
            }
            _ => {
                let outsider: Outsider = self.people.outsider(chance);
                (outsider.party(), outsider.trunk())
            }
        }
    }

    fn internal(&mut self, call: &mut Call) {
        let company = self.people.company(&mut self.chance);
        let (from, to) = (self.people.desk(&mut self.chance), self.people.desk(&mut self.chance));
        call.direction = Direction::Internal;
        call.caller = Party::Short(2100 + from);
        call.callee = Party::Short(2100 + to);
        call.source_ip = self.people.phone_address(company, from);
        self.people.sign(call, company, Some(from));
    }

    fn register(&mut self, call: &mut Call) {
        let company = self.people.company(&mut self.chance);
        let place = self.people.desk(&mut self.chance);
        call.about = About::Register;
        call.caller = Party::Short(2100 + place);
        call.callee = call.caller;
        call.source_ip = self.people.phone_address(company, place);
        call.user_agent = "Yealink SIP-T46U 108.86";
        self.people.sign(call, company, Some(place));
        // A new phone with a mistyped password.
        call.auth_failed = self.chance.happens(0.003);
        call.sip_code = if call.auth_failed { 403 } else { 200 };
    }

    /// Rings, then talks or not.
    fn outcome(&mut self, call: &mut Call) {
        use Status::{Answered, Busy, Cancelled, Failed, NoAnswer, Rejected};
        let chance = &mut self.chance;
        let status = match call.direction {
            Direction::Inbound => {
                chance.pick(&[(68, Answered), (15, NoAnswer), (6, Busy), (8, Cancelled), (2, Rejected), (1, Failed)])
            }
            Direction::Outbound => {
                chance.pick(&[(62, Answered), (17, NoAnswer), (8, Busy), (10, Cancelled), (1, Rejected), (2, Failed)])
            }
            _ => chance.pick(&[(70, Answered), (18, NoAnswer), (6, Busy), (6, Cancelled)]),
        };
        let ring_s = match status {
            Answered => chance.log_normal(8.0, 0.6).clamp(0.5, 58.0),
            NoAnswer => chance.log_normal(28.0, 0.3).clamp(15.0, 90.0),
            Cancelled => chance.log_normal(13.0, 0.8).clamp(0.3, 60.0),
            Rejected => chance.log_normal(5.0, 0.6).clamp(0.5, 30.0),
            _ => 0.0,
        };
        call.ring_ms = (ring_s * 1000.0) as u32;
        call.setup_ms = (chance.log_normal(1.2, 0.5).clamp(0.1, 12.0) * 1000.0) as u32;
        // A clamp at four hours: the longest conference of the day.
        call.talk_ms = (chance.log_normal(92.0, 1.15).clamp(1.0, 14_400.0) * 1000.0) as u32;
        call.come_out(status);
        if matches!(status, Busy | NoAnswer) {
            if self.unserved.len() >= REDIALS {
                self.unserved.remove(0);
            }
            self.unserved.push(*call);
        }
    }
}

/// Sets the trunk and the address of its border controller.
pub(crate) fn from_trunk(call: &mut Call, trunk: u8) {
    call.trunk = Some(trunk);
    // 198.51.100.0/24 (TEST-NET-2, RFC 5737).
    call.source_ip = 0xc633_640a + u32::from(trunk);
}

impl Iterator for Clean {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.left == 0 {
            return None;
        }
        // The smallest of `left` uniform positions in what remains of the run: sorted as drawn, and as random as
        // independent calls are.
        let gap = 1.0 - (1.0 - self.chance.unit()).powf(1.0 / self.left as f64);
        self.position += (1.0 - self.position) * gap;
        self.left -= 1;
        self.number += 1;
        let start_ms = self.profile.instant(self.position);
        Some(self.call(start_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(calls: u64) -> Vec<Call> {
        // Monday 2026-03-02 09:00Z.
        let profile = Profile::new(1_772_442_000_000, 3_600_000, Some(&TimeZone::UTC));
        Clean::new(calls, 3, profile, People::for_rate(calls as f64, 1), false).collect()
    }

    #[test]
    fn clean_calls_come_in_order_and_as_many_as_asked_for() {
        let calls = hour(20_000);
        assert_eq!(calls.len(), 20_000);
        assert!(calls.is_sorted_by_key(|c| c.start_ms));
        assert!(calls.iter().all(|c| (1_772_442_000_000..1_772_445_600_000).contains(&c.start_ms)));
    }

    #[test]
    fn clean_calls_look_like_an_office() {
        let calls = hour(20_000);
        let share = |is: &dyn Fn(&Call) -> bool| calls.iter().filter(|c| is(c)).count() as f64 / calls.len() as f64;
        assert!((0.60..0.70).contains(&share(&Call::answered)));
        assert!((0.50..0.60).contains(&share(&|c| c.direction == Direction::Inbound)));
        assert!((0.005..0.03).contains(&share(&|c| c.caller == Party::Anonymous)));
        let emergencies = calls.iter().filter(|c| c.callee == Party::Short(112)).count();
        assert!((1..10).contains(&emergencies), "{emergencies}");
        let mut talks: Vec<u32> = calls.iter().filter(|c| c.answered()).map(|c| c.talk_ms).collect();
        talks.sort_unstable();
        let median = talks[talks.len() / 2];
        assert!((80_000..105_000).contains(&median), "{median}");
        assert!(calls.iter().all(|c| c.answered() || c.talk_ms == 0));
    }

    #[test]
    fn nights_are_quiet_and_after_hours_is_found() {
        // A whole Monday.
        let start = 1_772_409_600_000;
        let profile = Profile::new(start, 24 * 3_600_000, Some(&TimeZone::UTC));
        let calls: Vec<Call> = Clean::new(10_000, 3, profile.clone(), People::for_rate(1_000.0, 1), false).collect();
        let hour = |h: i64| calls.iter().filter(|c| (c.start_ms - start) / 3_600_000 == h).count();
        assert!(hour(10) > 20 * hour(3), "{} {}", hour(10), hour(3));
        assert_eq!(profile.after_hours(start + 12 * 3_600_000), start + 18 * 3_600_000);
        assert_eq!(profile.after_hours(start + 1), start + 1);
    }
}
