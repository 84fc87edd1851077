//! The calls of people who mean no harm: a working day of companies in Sweden.
//!
//! Shares and times are those of ordinary office traffic: 55 % inbound, two thirds answered, talk times log-normal
//! about a minute and a half, a main number in every company, now and then a call to 112. Beside it stands what is
//! taken for an attack most easily: call centres and the people who redial them, fax machines that try again, voice
//! mail that is hung up on, houses that work at night, staff on the road, calls that are forwarded, conferences,
//! reminders that a clinic's computer rings out, branch offices in dear countries, phones with an old password.
//! Nothing here knows any rule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::{Attestation, Direction, Status};
use crate::simulate::call::{About, Call, Party};
use crate::simulate::chance::{Chance, mix};
use crate::simulate::people::{COMPANY_NUMBERS, Outsider, People, fill};
use crate::simulate::profile::Profile;

/// Who rings out reminders, each many a minute for a while: numbers that the called people know, and what their carriers
/// sign.
const REMINDERS: [(u64, Attestation); 3] =
    [(46_771_234_500, Attestation::A), (46_771_234_501, Attestation::B), (46_771_234_502, Attestation::Unknown)];

/// Area, and digits that follow: where houses trade.
const FAR: [(u64, u32); 10] =
    [(9198, 8), (8190, 8), (2348, 9), (6681, 7), (5511, 8), (2711, 7), (86138, 8), (9053, 8), (2217, 7), (2136, 7)];
/// Where people call once in a while; some of it is dear.
const ANYWHERE: [(u64, u32); 30] = [
    (346, 8),
    (393, 8),
    (3519, 8),
    (306, 9),
    (905, 9),
    (668, 8),
    (849, 8),
    (639, 9),
    (628, 9),
    (601, 8),
    (923, 9),
    (9477, 7),
    (8801, 8),
    (9613, 6),
    (9647, 9),
    (98912, 7),
    (2547, 8),
    (2519, 8),
    (2126, 8),
    (2136, 8),
    (2217, 7),
    (2761, 7),
    (521, 9),
    (549, 9),
    (5511, 8),
    (569, 8),
    (3712, 7),
    (2526, 7),
    (535, 7),
    (9607, 6),
];

/// Why a call is as it is, beyond chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Habit {
    #[default]
    Ordinary,
    /// Tries again a few times.
    Redials,
    /// Tries again every ten seconds, to be the first in the queue.
    Insists,
    /// A machine that tries again every two minutes.
    Fax,
    /// A voice that says when to come, and hangs up.
    Reminder,
    Conference,
}

/// A call that another one leads to.
#[derive(Clone, Copy, Debug)]
struct Coming {
    call: Call,
    habit: Habit,
    /// How many more may follow it.
    tries: u32,
}

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
    /// Until when each desk is in a call that it made.
    busy_ms: Vec<i64>,
    /// Start of the next call that no other leads to.
    next_ms: Option<i64>,
    /// Start and place of what is to come.
    coming: BinaryHeap<Reverse<(i64, u64, usize)>>,
    calls: Vec<Coming>,
    free: Vec<usize>,
}

impl Clean {
    pub(crate) fn new(calls: u64, seed: u64, profile: Profile, people: People, registers: bool) -> Clean {
        Clean {
            chance: Chance::new(seed, "clean"),
            profile,
            people,
            position: 0.0,
            left: calls,
            number: 0,
            registers,
            busy_ms: vec![i64::MIN; (people.companies * COMPANY_NUMBERS) as usize],
            next_ms: None,
            coming: BinaryHeap::new(),
            calls: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Lets a call come later, unless the run is over by then.
    fn later(&mut self, start_ms: i64, coming: Coming) {
        if start_ms >= self.profile.end_ms() {
            return;
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.calls[place] = coming;
                place
            }
            None => {
                self.calls.push(coming);
                self.calls.len() - 1
            }
        };
        // The number of calls so far keeps those of one instant in their order.
        self.coming.push(Reverse((start_ms, self.number, place)));
    }

    /// One call of this moment. The share of each direction is that of the whole day.
    fn call(&mut self, start_ms: i64) -> Call {
        let mut call = Call { number: self.number, start_ms, ..Call::BLANK };
        if self.registers && self.chance.happens(0.08) {
            self.register(&mut call);
            return call;
        }
        let habit = match self.chance.below(100) {
            0..55 => self.inbound(&mut call),
            55..90 => self.outbound(&mut call),
            _ => self.internal(&mut call),
        };
        if call.callee != Party::Short(112) {
            self.outcome(&mut call, habit);
            self.occupy(&call);
            let tries = match habit {
                Habit::Fax => 5,
                Habit::Insists => 30,
                _ => 12,
            };
            self.follow(call, habit, tries);
        }
        call
    }

    /// Whoever made the call is in it.
    fn occupy(&mut self, call: &Call) {
        if call.direction == Direction::Outbound && call.diverting.is_none() {
            let desk = u64::from(call.account.saturating_sub(1)) * COMPANY_NUMBERS
                + u64::from(call.extension.saturating_sub(2_100));
            if let Some(busy_ms) = self.busy_ms.get_mut(desk as usize) {
                *busy_ms = call.end_ms().max(*busy_ms);
            }
        }
    }

    /// What comes of a call: another try, the other guests of a conference, the rest of a list of people to remind.
    fn follow(&mut self, call: Call, habit: Habit, tries: u32) {
        let chance = &mut self.chance;
        let unserved = matches!(call.status, Status::Busy | Status::NoAnswer);
        let (wait_s, again) = match habit {
            Habit::Fax if unserved => (chance.between(60, 180) as f64, true),
            Habit::Insists if unserved => (chance.between(8, 15) as f64, true),
            Habit::Ordinary if unserved && chance.happens(0.35) => (chance.log_normal(90.0, 1.0).max(6.0), true),
            Habit::Redials if unserved && chance.happens(0.5) => (chance.log_normal(60.0, 0.8).max(6.0), true),
            Habit::Reminder => (chance.log_normal(3.0, 0.5).clamp(1.0, 20.0), true),
            _ => (0.0, false),
        };
        if again && tries > 0 {
            let habit = if habit == Habit::Ordinary { Habit::Redials } else { habit };
            // Nobody redials before having hung up; a computer has more lines than one.
            let free_ms = if habit == Habit::Reminder { call.start_ms } else { call.end_ms() };
            self.later(free_ms + (wait_s * 1000.0) as i64, Coming { call, habit, tries: tries - 1 });
        }
    }

    /// A call that another led to.
    fn resumed(&mut self, start_ms: i64, coming: Coming) -> Call {
        let Coming { call, habit, tries } = coming;
        let mut call = Call { number: self.number, start_ms, ..call };
        if call.about == About::Register {
            self.follow_register(call, tries);
            return call;
        }
        if habit == Habit::Reminder {
            self.remind(&mut call);
        }
        self.outcome(&mut call, habit);
        if habit != Habit::Conference {
            self.follow(call, habit, tries);
        }
        call
    }

    fn inbound(&mut self, call: &mut Call) -> Habit {
        let office = self.profile.is_office(call.start_ms);
        call.direction = Direction::Inbound;
        let what = self.chance.below(100_000);
        let outsider = self.people.outsider(&mut self.chance);
        call.caller = if self.chance.happens(0.03) { Party::Anonymous } else { outsider.party() };
        call.attestation = outsider.attestation();
        let trunk = outsider.trunk();
        let company = self.people.awake(office, &mut self.chance);
        let mut place = if self.chance.happens(0.15) { 0 } else { self.people.desk(&mut self.chance) };
        let mut habit = if self.chance.happens(0.003) { Habit::Insists } else { Habit::Ordinary };
        let mut company_called = company;
        match what {
            // The queue of a call centre.
            0..3_000 => (company_called, place) = (self.people.centre(&mut self.chance), 1),
            // A fax for the machine at the end of the block.
            3_000..4_000 => (place, habit) = (COMPANY_NUMBERS - 1, Habit::Fax),
            // Staff on the road whose carrier shows the desk's number; most carriers sign it.
            4_000..4_150 => {
                call.caller = Party::Number(self.people.own(company, self.people.desk(&mut self.chance)));
                call.attestation = self.chance.pick(&[(98, Attestation::A), (2, Attestation::Unknown)]);
            }
            // Forwarded from a desk, and back to a colleague of the same house.
            4_150..4_300 => {
                let desk = self.people.own(company, self.people.desk(&mut self.chance));
                (call.caller, call.diverting) = (Party::Number(desk), Some(desk));
                call.attestation = Attestation::None;
            }
            4_300..4_600 => call.caller = Party::Number(People::neighbour(self.chance.bits())),
            // An extension or a short code that slipped through somebody's PBX.
            4_600..4_650 => call.caller = Party::Short(self.chance.between(200, 99_999)),
            4_650..4_680 if office => self.conference(call, company),
            4_680..4_690 if office => {
                let (number, attestation) = self.chance.pick(&REMINDERS.map(|reminder| (1, reminder)));
                (call.caller, call.attestation, habit) = (Party::Number(number), attestation, Habit::Reminder);
            }
            _ => {}
        }
        call.callee = Party::Number(self.people.own(company_called, place));
        if habit == Habit::Reminder {
            let list = Coming { call: *call, habit, tries: self.chance.between(60, 400) as u32 };
            self.later(call.start_ms + 2_000, list);
            habit = Habit::Ordinary;
        }
        from_trunk(call, self.people.trunk(trunk, &mut self.chance));
        self.people.sign(call, company_called, Some(place));
        habit
    }

    /// The next of the people to remind.
    fn remind(&mut self, call: &mut Call) {
        let company = self.people.company(&mut self.chance);
        let place = self.people.desk(&mut self.chance);
        call.callee = Party::Number(self.people.own(company, place));
        self.people.sign(call, company, Some(place));
    }

    /// The others who dial in to a conference, within minutes.
    fn conference(&mut self, call: &Call, company: u64) {
        let room = self.people.own(company, 2);
        for _ in 0..self.chance.between(4, 40) {
            let guest = self.people.outsider(&mut self.chance);
            let mut coming = Call { caller: guest.party(), callee: Party::Number(room), ..*call };
            coming.attestation = guest.attestation();
            from_trunk(&mut coming, self.people.trunk(guest.trunk(), &mut self.chance));
            self.people.sign(&mut coming, company, Some(2));
            let wait_ms = self.chance.between(1_000, 180_000) as i64;
            self.later(call.start_ms + wait_ms, Coming { call: coming, habit: Habit::Conference, tries: 0 });
        }
    }

    fn outbound(&mut self, call: &mut Call) -> Habit {
        let office = self.profile.is_office(call.start_ms);
        let company = self.people.awake(office, &mut self.chance);
        let place = self.free_desk(company, call.start_ms);
        call.direction = Direction::Outbound;
        call.caller = Party::Number(self.people.own(company, place));
        self.people.sign(call, company, Some(place));
        call.attestation = Attestation::A;
        if self.chance.happens(1.0 / 1_500.0) {
            call.callee = Party::Short(112);
            from_trunk(call, self.people.trunk(0, &mut self.chance));
            call.ring_ms = self.chance.between(2_000, 6_000) as u32;
            call.setup_ms = 900;
            call.talk_ms = self.chance.between(40_000, 240_000) as u32;
            call.come_out(Status::Answered);
            return Habit::Ordinary;
        }
        let mut habit = Habit::Ordinary;
        let (callee, trunk) = match self.chance.below(1_000) {
            // Agents of a call centre show its queue.
            0..40 if office => {
                let centre = self.people.centre(&mut self.chance);
                call.caller = Party::Number(self.people.own(centre, 1));
                self.people.sign(call, centre, Some(place));
                let outsider = Outsider::any(self.chance.bits() % self.people.outsiders);
                if outsider.trunk() == 5 { self.home() } else { (outsider.party(), outsider.trunk()) }
            }
            40..55 => {
                (habit, call.extension) = (Habit::Fax, 2_100 + COMPANY_NUMBERS as u32 - 1);
                call.caller = Party::Number(self.people.own(company, COMPANY_NUMBERS - 1));
                self.home()
            }
            55..65 => self.forwarded(call, company, place),
            _ => self.destination(company),
        };
        call.callee = callee;
        from_trunk(call, self.people.trunk(trunk, &mut self.chance));
        habit
    }

    /// Somebody who is not in a call of his own, or holds it to make another.
    fn free_desk(&mut self, company: u64, at_ms: i64) -> u64 {
        let mut place = self.people.desk(&mut self.chance);
        for _ in 0..10 {
            let busy_ms = self.busy_ms.get((company * COMPANY_NUMBERS + place) as usize).copied().unwrap_or(i64::MIN);
            if busy_ms <= at_ms || self.chance.happens(0.03) {
                break;
            }
            place = self.people.desk(&mut self.chance);
        }
        place
    }

    /// Somebody in the country.
    fn home(&mut self) -> (Party, u16) {
        loop {
            let outsider = self.people.outsider(&mut self.chance);
            if outsider.trunk() != 5 {
                return (outsider.party(), outsider.trunk());
            }
        }
    }

    /// From a desk to a mobile; now and then its owner is abroad.
    fn forwarded(&mut self, call: &mut Call, company: u64, place: u64) -> (Party, u16) {
        let desk = self.people.own(company, place);
        call.caller = self.people.outsider(&mut self.chance).party();
        call.diverting = Some(desk);
        if self.chance.happens(0.03) {
            let (area, digits) = self.chance.pick(&[(4, (346, 8)), (2, (668, 8)), (4, (44771, 7)), (3, (35840, 7))]);
            return (Party::Number(fill(area, digits, mix(desk))), 5);
        }
        (Party::Number(fill(4670, 7, mix(desk))), 4)
    }

    /// Whom offices ring: mobiles and towns, abroad seldom unless they trade there, hardly ever where it is dear.
    fn destination(&mut self, company: u64) -> (Party, u16) {
        let (trades, branch) = (company % 10 == 4, mix(company).is_multiple_of(50));
        let chance = &mut self.chance;
        match chance.below(10_000) {
            0..500 => (Party::Short(chance.pick(&[(5, 118_118), (5, 1177), (4, 11_414), (3, 11_313), (2, 90_510)])), 0),
            500..900 => (Party::Number(fill(4620, 6, chance.popular(2_000, 2.0))), 0),
            900..1_400 => {
                let (area, digits) = chance.pick(&[
                    (9, (4791, 6)),
                    (9, (4520, 6)),
                    (6, (35840, 7)),
                    (8, (4930, 8)),
                    (8, (4420, 8)),
                    (5, (1212, 7)),
                    (3, (4822, 7)),
                    (3, (3312, 7)),
                ]);
                (Party::Number(fill(area, digits, mix(chance.popular(3_000, 2.0)))), 5)
            }
            // Each house that trades far away has its own country there, and a few dozen numbers.
            1_400..3_400 if trades => {
                let (area, digits) = FAR[(mix(company) % 10) as usize];
                (Party::Number(fill(area, digits, mix(company * 1_000 + chance.popular(40, 2.0)))), 5)
            }
            // Dear and rare, and yet business: a branch office in Havana or on the Maldives, whose numbers the carrier
            // knows, and ships, whose numbers it does not.
            3_400..3_425 if branch => match mix(company ^ 7) % 3 {
                0 => (Party::Number(fill(537_833, 4, chance.below(12))), 5),
                1 => (Party::Number(fill(960_330, 4, chance.below(12))), 5),
                _ => (Party::Number(fill(8816, 8, mix(company * 1_000 + chance.below(12)))), 5),
            },
            // A phone-in vote, a helpline that costs.
            3_425..3_427 => (Party::Number(fill(46_939, 5, chance.below(200))), 5),
            // Family, travel, a supplier once a year: anywhere.
            3_427..3_437 => {
                let (area, digits) = ANYWHERE[chance.below(ANYWHERE.len() as u64) as usize];
                (Party::Number(fill(area, digits, chance.bits() >> 8)), 5)
            }
            _ => {
                let outsider: Outsider = self.people.outsider(chance);
                (outsider.party(), outsider.trunk())
            }
        }
    }

    fn internal(&mut self, call: &mut Call) -> Habit {
        let company = self.people.company(&mut self.chance);
        let (from, to) = (self.people.desk(&mut self.chance), self.people.desk(&mut self.chance));
        call.direction = Direction::Internal;
        call.caller = Party::Short(2100 + from);
        call.callee = Party::Short(2100 + to);
        call.source_ip = self.people.phone_address(company, from);
        self.people.sign(call, company, Some(from));
        Habit::Ordinary
    }

    fn register(&mut self, call: &mut Call) {
        let company = self.people.company(&mut self.chance);
        let place = self.people.desk(&mut self.chance);
        call.about = About::Register;
        call.caller = Party::Short(2100 + place);
        call.callee = call.caller;
        call.source_ip = self.people.phone_address(company, place);
        call.user_agent = "Yealink SIP-T46U 108.86";
        if self.chance.happens(0.02) {
            // A softphone in a hotel or a train.
            call.source_ip = 0x5e00_0000 | (self.chance.bits() as u32 & 0x00ff_ffff);
            call.user_agent = "Bria 6 release 6.5";
        }
        self.people.sign(call, company, Some(place));
        // A new phone with a mistyped password; some stay on their desk and try again and again.
        call.auth_failed = self.chance.happens(0.003);
        call.sip_code = if call.auth_failed { 403 } else { 200 };
        if call.auth_failed && self.chance.happens(0.05) {
            self.follow_register(*call, 40);
        }
    }

    /// The next try of a phone that has the wrong password.
    fn follow_register(&mut self, call: Call, tries: u32) {
        if tries > 0 {
            let wait_ms = self.chance.between(30_000, 60_000) as i64;
            self.later(call.start_ms + wait_ms, Coming { call, habit: Habit::Ordinary, tries: tries - 1 });
        }
    }

    /// Rings, then talks or not.
    fn outcome(&mut self, call: &mut Call, habit: Habit) {
        use Status::{Answered, Busy, Cancelled, Failed, NoAnswer, Rejected};
        let chance = &mut self.chance;
        let status = match (habit, call.direction) {
            (Habit::Conference, _) => Answered,
            // The line that everybody tries to get is busy.
            (Habit::Insists, _) => chance.pick(&[(85, Busy), (15, Answered)]),
            (Habit::Fax, _) => chance.pick(&[(78, Answered), (14, Busy), (6, NoAnswer), (2, Failed)]),
            (_, Direction::Inbound) => {
                chance.pick(&[(68, Answered), (15, NoAnswer), (6, Busy), (8, Cancelled), (2, Rejected), (1, Failed)])
            }
            (_, Direction::Outbound) => {
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
        let talk_s = match habit {
            Habit::Conference => chance.log_normal(2_400.0, 0.4),
            Habit::Fax => chance.log_normal(55.0, 0.6),
            Habit::Reminder => chance.log_normal(18.0, 0.4),
            // Voice mail, and the caller does not wait for the tone.
            _ if call.direction != Direction::Internal && chance.happens(0.06) => chance.log_normal(4.0, 0.6),
            // Some dial a conference at the other end.
            _ if chance.happens(0.002) => chance.log_normal(2_700.0, 0.4),
            _ => chance.log_normal(92.0, 1.15),
        };
        // A clamp at four hours: the longest conference of the day.
        call.talk_ms = (talk_s.clamp(1.0, 14_400.0) * 1000.0) as u32;
        call.come_out(status);
    }
}

/// Sets the trunk and the address of its border controller.
pub(crate) fn from_trunk(call: &mut Call, trunk: u16) {
    call.trunk = Some(trunk);
    // 198.51.100.0/24 (TEST-NET-2, RFC 5737); what does not fit there 198.18.0.0/15 (RFC 2544).
    call.source_ip = if trunk < 240 { 0xc633_640a + u32::from(trunk) } else { 0xc612_0000 + u32::from(trunk) };
}

impl Iterator for Clean {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.left == 0 {
            return None;
        }
        let next_ms = match self.next_ms {
            Some(next_ms) => next_ms,
            None => {
                // The smallest of `left` uniform positions in what remains of the run: sorted as drawn, and as random
                // as independent calls are.
                let gap = 1.0 - (1.0 - self.chance.unit()).powf(1.0 / self.left as f64);
                self.position += (1.0 - self.position) * gap;
                *self.next_ms.insert(self.profile.instant(self.position))
            }
        };
        self.left -= 1;
        self.number += 1;
        if let Some(Reverse((start_ms, _, place))) = self.coming.peek().copied()
            && start_ms <= next_ms
        {
            self.coming.pop();
            self.free.push(place);
            let coming = self.calls[place];
            return Some(self.resumed(start_ms, coming));
        }
        self.next_ms = None;
        Some(self.call(next_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use jiff::tz::TimeZone;

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
        assert!((0.60..0.70).contains(&share(&Call::answered)), "{}", share(&Call::answered));
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

    #[test]
    fn clean_traffic_has_what_is_taken_for_an_attack() {
        let calls = hour(60_000);
        let count = |is: &dyn Fn(&Call) -> bool| calls.iter().filter(|c| is(c)).count();
        // Voice mail that is hung up on, forwarded calls, calls of neighbours, reminders, calls abroad.
        assert!(count(&|c| c.answered() && c.talk_ms < 6_000) > 1_000);
        assert!(count(&|c| c.diverting.is_some()) > 100);
        let neighbours = People::neighbour(0)..=People::neighbour(9_999);
        assert!(count(&|c| matches!(c.caller, Party::Number(n) if neighbours.contains(&n))) > 20);
        assert!(count(&|c| REMINDERS.iter().any(|(number, _)| c.caller == Party::Number(*number))) > 50);
        // Somebody redials the same number again and again, and never before having hung up.
        let mut pairs: HashMap<(u64, u64), Vec<&Call>> = HashMap::new();
        for call in &calls {
            if let (Party::Number(caller), Party::Number(callee)) = (call.caller, call.callee) {
                pairs.entry((caller, callee)).or_default().push(call);
            }
        }
        assert!(pairs.values().any(|calls| calls.len() > 10));
        // A conference: many different people in one room, most of an hour.
        let mut rooms: HashMap<u64, HashSet<u64>> = HashMap::new();
        for call in calls.iter().filter(|c| c.direction == Direction::Inbound && c.talk_ms > 1_200_000) {
            if let (Party::Number(caller), Party::Number(callee)) = (call.caller, call.callee) {
                rooms.entry(callee).or_default().insert(caller);
            }
        }
        assert!(rooms.values().any(|guests| guests.len() > 5));
    }

    #[test]
    fn a_desk_seldom_makes_two_calls_at_once() {
        let calls = hour(20_000);
        let mut until: HashMap<u64, i64> = HashMap::new();
        let (mut all, mut twice) = (0, 0);
        for call in calls.iter().filter(|c| c.direction == Direction::Outbound && c.diverting.is_none()) {
            let Party::Number(desk) = call.caller else { continue };
            all += 1;
            let busy_ms = until.entry(desk).or_insert(i64::MIN);
            twice += u32::from(*busy_ms > call.start_ms);
            *busy_ms = call.end_ms().max(*busy_ms);
        }
        assert!(twice * 20 < all, "{twice} of {all}");
    }
}
