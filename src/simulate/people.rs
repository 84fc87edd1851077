//! Who calls whom: the customers' own numbers, laid out as companies of a hundred, and the world outside.
//!
//! The population grows with the traffic, so that a key's own rate stays what it is in life: a desk phone makes a
//! few calls an hour whether the run has a thousand calls or ten million.

use crate::event::Attestation;
use crate::simulate::call::{Call, Party};
use crate::simulate::chance::{Chance, mix};

/// Direct numbers of one company: one block as carriers hand them out. The first is its main number.
pub(crate) const COMPANY_NUMBERS: u64 = 100;

/// First own number: Stockholm, +46 8 400 00 00. A million and a half follow.
const OWN_FIRST: u64 = 4_684_000_000;
const OWN_NUMBERS_MAX: u64 = 1_500_000;
/// Subscribers of other carriers in the ten thousand numbers after the largest block of ours.
const NEIGHBOURS: u64 = 10_000;

/// The parties of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct People {
    pub companies: u64,
    pub outsiders: u64,
    pub customers: u64,
    /// Trunks of each kind of [`TRUNKS`](crate::simulate::call::TRUNKS).
    trunks: [u16; 6],
}

/// Calls that are up at once on one trunk in the busiest hour, on average. Trunks carry a hundred and come in pairs of
/// which either can take the other's calls, so each is less than half full.
const TRUNK_CALLS: f64 = 40.0;
/// Seconds that the average call, answered or not, keeps its trunk.
const TRUNK_SECONDS: f64 = 130.0;
/// Share of the calls that goes over each kind of trunk.
const TRUNK_SHARES: [f64; 6] = [0.09, 0.06, 0.06, 0.06, 0.54, 0.20];
/// One company in so many is a call centre.
const CENTRE_EVERY: u64 = 40;
/// One company in so many works day and night.
const NIGHT_EVERY: u64 = 25;

impl People {
    /// For so many calls an hour of an average working hour.
    pub(crate) fn for_rate(calls_per_hour: f64, customers: usize) -> People {
        let numbers = (calls_per_hour / 3.0).clamp(200.0, OWN_NUMBERS_MAX as f64) as u64;
        People {
            companies: (numbers / COMPANY_NUMBERS).max(customers as u64),
            outsiders: (calls_per_hour * 2.0).clamp(1_000.0, 20_000_000.0) as u64,
            customers: (customers as u64).max(1),
            trunks: TRUNK_SHARES.map(|share| {
                let at_once = calls_per_hour * share * TRUNK_SECONDS / 3_600.0;
                (at_once / TRUNK_CALLS).ceil().clamp(1.0, 10_000.0) as u16
            }),
        }
    }

    /// One of the trunks of a kind, whichever carries fewer calls just now.
    pub(crate) fn trunk(&self, kind: u16, chance: &mut Chance) -> u16 {
        let kind = kind % 6;
        let of_kind = u64::from(self.trunks[usize::from(kind)]);
        kind + 6 * if of_kind > 1 { chance.below(of_kind) as u16 } else { 0 }
    }

    /// A call centre: the largest have sixty seats.
    pub(crate) fn centre(&self, chance: &mut Chance) -> u64 {
        let centres = (self.companies / CENTRE_EVERY).max(1);
        (chance.popular(centres, 1.3) * CENTRE_EVERY + 7) % self.companies
    }

    /// A company where people work at this hour: at night a hospital or a haulier far more often than an office.
    pub(crate) fn awake(&self, office_hours: bool, chance: &mut Chance) -> u64 {
        if office_hours || chance.happens(0.4) {
            return self.company(chance);
        }
        let all_night = (self.companies / NIGHT_EVERY).max(1);
        (chance.below(all_night) * NIGHT_EVERY + 3) % self.companies
    }

    /// Somebody who lives next to our own numbers.
    pub(crate) fn neighbour(which: u64) -> u64 {
        OWN_FIRST + OWN_NUMBERS_MAX + which % NEIGHBOURS
    }

    /// A company by size: some have ten times the calls of others.
    pub(crate) fn company(&self, chance: &mut Chance) -> u64 {
        chance.popular(self.companies, 1.5)
    }

    /// An own number: of a company, by its place in the block.
    pub(crate) fn own(&self, company: u64, place: u64) -> u64 {
        OWN_FIRST + (company * COMPANY_NUMBERS + place) % (self.companies * COMPANY_NUMBERS)
    }

    /// A desk of the company: never the main number.
    pub(crate) fn desk(&self, chance: &mut Chance) -> u64 {
        1 + chance.popular(COMPANY_NUMBERS - 1, 1.4)
    }

    /// Writes the company's marks into a call: whose it is and which PBX and phone stand behind it.
    pub(crate) fn sign(&self, call: &mut Call, company: u64, place: Option<u64>) {
        call.customer = (company % self.customers) as u16;
        call.account = (company + 1) as u32;
        call.extension = place.map_or(0, |p| 2100 + p as u32);
    }

    /// The address of a desk phone.
    pub(crate) fn phone_address(&self, company: u64, place: u64) -> u32 {
        0x0a00_0000 | ((company as u32 & 0xffff) << 8) | (place as u32 & 0xff)
    }

    /// Somebody outside, by popularity: a few call often, most once.
    pub(crate) fn outsider(&self, chance: &mut Chance) -> Outsider {
        Outsider(chance.popular(self.outsiders, 2.0))
    }
}

/// One subscriber of the world outside; everything about one follows from the rank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outsider(u64);

/// Country code and area, and how many digits follow. Weights make a Swedish customer's usual callers.
const HOMES: [(u32, (u64, u32)); 22] = [
    (14, (4670, 7)),
    (14, (4673, 7)),
    (14, (4676, 7)),
    (10, (4672, 7)),
    (10, (4679, 7)),
    (12, (468, 7)),
    (4, (4631, 6)),
    (3, (4640, 6)),
    (2, (4618, 6)),
    (2, (469_014, 4)),
    (2, (4791, 6)),
    (2, (4520, 6)),
    (2, (35840, 7)),
    (2, (49151, 8)),
    (1, (4930, 8)),
    (1, (4420, 8)),
    (1, (44771, 7)),
    (1, (1212, 7)),
    (1, (1415, 7)),
    (1, (4822, 7)),
    (1, (3312, 7)),
    (1, (9198, 8)),
];

impl Outsider {
    pub(crate) fn any(rank: u64) -> Outsider {
        Outsider(rank)
    }

    pub(crate) fn party(self) -> Party {
        Party::Number(self.number())
    }

    pub(crate) fn number(self) -> u64 {
        let spread = mix(self.0);
        let total: u64 = HOMES.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut at = spread % total;
        for (weight, (area, digits)) in HOMES {
            if at < u64::from(weight) {
                return fill(area, digits, spread >> 8);
            }
            at -= u64::from(weight);
        }
        fill(468, 7, spread >> 8)
    }

    /// The trunk on which the outsider's carrier hands over: mobile, abroad, or one of the fixed ones.
    pub(crate) fn trunk(self) -> u16 {
        let number = self.number().to_string();
        match number.get(..3) {
            Some("467") => 4,
            Some(home) if home.starts_with("46") => (mix(self.0 ^ 1) % 4) as u16,
            _ => 5,
        }
    }

    /// What the outsider's carrier signs; most sign nothing that survives the way.
    pub(crate) fn attestation(self) -> Attestation {
        match mix(self.0 ^ 2) % 100 {
            0..35 => Attestation::A,
            35..50 => Attestation::B,
            50..54 => Attestation::C,
            54..58 => Attestation::None,
            _ => Attestation::Unknown,
        }
    }
}

/// `prefix` and so many more digits, taken from `bits`. A Stockholm number keeps off the own block.
pub(crate) fn fill(prefix: u64, digits: u32, bits: u64) -> u64 {
    let room = 10u64.pow(digits.min(14));
    let number = prefix * room + bits % room;
    let own = OWN_FIRST..OWN_FIRST + OWN_NUMBERS_MAX;
    if own.contains(&number) { number + OWN_NUMBERS_MAX } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outsiders_are_e164_and_never_one_of_the_own_numbers() {
        for rank in 0..50_000 {
            let number = Outsider(rank).number();
            assert!((9..=15).contains(&number.to_string().len()), "{number}");
            assert!(!(OWN_FIRST..OWN_FIRST + OWN_NUMBERS_MAX).contains(&number), "{number}");
        }
    }

    #[test]
    fn own_numbers_stay_inside_the_companies_blocks() {
        let people = People::for_rate(1_000.0, 1);
        assert_eq!(people.own(0, 0), OWN_FIRST);
        assert!(people.own(people.companies - 1, 250) < OWN_FIRST + people.companies * COMPANY_NUMBERS);
    }

    #[test]
    fn trunks_grow_with_the_traffic_and_a_small_run_has_one_of_each_kind() {
        let mut chance = Chance::new(1, "test");
        let of = |people: People, chance: &mut Chance| {
            (0..20_000).map(|_| people.trunk(4, chance)).collect::<std::collections::HashSet<u16>>()
        };
        assert_eq!(of(People::for_rate(1_000.0, 1), &mut chance), [4].into());
        let many = of(People::for_rate(200_000.0, 1), &mut chance);
        assert!((60..200).contains(&many.len()) && many.iter().all(|trunk| trunk % 6 == 4), "{}", many.len());
    }

    #[test]
    fn neighbours_are_not_our_own() {
        let people = People::for_rate(1_000.0, 1);
        assert!((0..NEIGHBOURS).all(|n| People::neighbour(n) > people.own(people.companies - 1, 99)));
    }

    #[test]
    fn the_population_grows_with_the_traffic() {
        let (small, large) = (People::for_rate(1_000.0, 1), People::for_rate(1e6, 1));
        assert!(large.companies > 100 * small.companies && large.outsiders > 100 * small.outsiders);
    }
}
