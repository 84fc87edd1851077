//! Country and class of a number, by longest prefix of the tables that ship under `rules/numbering`.
//!
//! Four CSV files make a [`Numbering`]: prefixes of countries, prefixes of classes, emergency numbers and dial
//! plans by country. They are compiled in, and a rules folder may replace any of them.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::Class;
use super::country::Country;
use super::number::{Number, NumberKind, POWERS};
use crate::limits::E164_DIGITS_MAX;

/// The tables, ready for look-ups.
#[derive(Debug)]
pub struct Numbering {
    /// Where the answer changes: first number of each piece, filled with zeros to 15 digits.
    starts: Vec<u64>,
    /// What holds from there to the next.
    cells: Vec<Cell>,
    /// Of each three leading digits, how many pieces start below.
    leads: Box<[u32]>,
    countries: Vec<Row<Country>>,
    classes: Vec<Row<Class>>,
    emergency: Vec<(Country, Box<str>)>,
    emergency_e164: Vec<Number>,
    plans: Vec<CountryPlan>,
}

/// The texts of the four files, in the format of those that ship.
#[derive(Clone, Copy, Debug)]
pub struct NumberingFiles<'a> {
    /// `prefix,country`
    pub countries: &'a str,
    /// `prefix,class,source`
    pub classes: &'a str,
    /// `country,number`
    pub emergency: &'a str,
    /// `country,country_code,international_prefixes,trunk_prefix,national_lengths,bare`
    pub dial_plans: &'a str,
}

/// How numbers are dialled in a country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryPlan {
    pub country: Country,
    pub country_code: Box<str>,
    pub international_prefixes: Vec<Box<str>>,
    /// Empty where there is none.
    pub trunk_prefix: Box<str>,
    /// Bit n: national numbers, without the trunk prefix, may have n digits.
    pub national_lengths: u32,
    /// Whether digits without any prefix are a whole national number.
    pub is_bare_national: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    country: Option<Country>,
    class: Option<Class>,
    /// Digits of the prefixes that say so; a shorter number is not theirs.
    country_digits: u8,
    class_digits: u8,
}

/// A prefix and what it stands for, ordered by `start`, then `digits`.
#[derive(Clone, Copy, Debug)]
struct Row<T> {
    start: u64,
    digits: u8,
    value: T,
}

impl NumberingFiles<'static> {
    /// What ships with this build.
    pub const BUILTIN: NumberingFiles<'static> = NumberingFiles {
        countries: include_str!("../../rules/numbering/countries.csv"),
        classes: include_str!("../../rules/numbering/classes.csv"),
        emergency: include_str!("../../rules/numbering/emergency.csv"),
        dial_plans: include_str!("../../rules/numbering/dialplans.csv"),
    };
}

/// Emergency numbers everywhere: 3GPP TS 22.101 has every mobile phone know these two.
pub const EMERGENCY_ALWAYS: [&str; 2] = ["112", "911"];

impl Numbering {
    /// The tables that ship.
    pub fn builtin() -> Arc<Numbering> {
        static BUILTIN: OnceLock<Arc<Numbering>> = OnceLock::new();
        let build = || Numbering::parse(NumberingFiles::BUILTIN).expect("the tables that ship are tested to parse");
        BUILTIN.get_or_init(|| Arc::new(build())).clone()
    }

    /// From the four texts, or every mistake in them: `classes.csv:12: unknown class `premum``.
    pub fn parse(files: NumberingFiles<'_>) -> Result<Numbering, Vec<String>> {
        let mut problems = Vec::new();
        let (mut countries, mut seen) = (Vec::new(), HashSet::new());
        table("countries.csv", "prefix,country", files.countries, &mut problems, |cells| {
            countries.push(row(cells, country_of(cells.get(1))?, &mut seen)?);
            Ok(())
        });
        let (mut classes, mut seen) = (Vec::new(), HashSet::new());
        table("classes.csv", "prefix,class,source", files.classes, &mut problems, |cells| {
            classes.push(row(cells, class_of(cells.get(1))?, &mut seen)?);
            Ok(())
        });
        let mut emergency = Vec::new();
        table("emergency.csv", "country,number", files.emergency, &mut problems, |cells| {
            emergency.push(emergency_of(cells)?);
            Ok(())
        });
        let mut plans = Vec::new();
        let header = "country,country_code,international_prefixes,trunk_prefix,national_lengths,bare";
        table("dialplans.csv", header, files.dial_plans, &mut problems, |cells| {
            plans.push(plan_of(cells)?);
            Ok(())
        });
        match problems.is_empty() {
            true => Ok(Numbering::build(countries, classes, emergency, plans)),
            false => Err(problems),
        }
    }

    /// `None` for what is no E.164 number, for unassigned and for shared country codes.
    pub fn country(&self, number: Number) -> Option<Country> {
        let (value, len) = number.digits()?;
        let cell = self.cell(value, len)?;
        match u32::from(cell.country_digits) <= len {
            true => cell.country,
            false => longest(&self.countries, value, len),
        }
    }

    /// E.164 numbers: as the longest prefix says; `emergency` where a country code stands before one of its
    /// emergency numbers; else `geographic` in a known country. 112 and 911 as short codes are `emergency` too.
    /// All else is `unknown`.
    pub fn class(&self, number: Number) -> Class {
        let Some((value, len)) = number.digits() else {
            let is_emergency = number.kind() == Some(NumberKind::Short) && is_emergency_everywhere(number);
            return if is_emergency { Class::Emergency } else { Class::Unknown };
        };
        if len <= EMERGENCY_E164_DIGITS_MAX && self.emergency_e164.binary_search(&number).is_ok() {
            return Class::Emergency;
        }
        let Some(cell) = self.cell(value, len) else { return Class::Unknown };
        let class = match u32::from(cell.class_digits) <= len {
            true => cell.class,
            false => longest(&self.classes, value, len),
        };
        class.unwrap_or(match self.country(number) {
            Some(_) => Class::Geographic,
            None => Class::Unknown,
        })
    }

    /// A country code and right behind it 112, 911 or one of that country's emergency numbers. No subscriber has
    /// so short a number, so nothing else is meant. Sorted.
    pub(crate) fn emergency_e164(&self) -> &[Number] {
        &self.emergency_e164
    }

    pub(super) fn plans(&self) -> impl Iterator<Item = &CountryPlan> {
        self.plans.iter()
    }

    /// The country's own, besides [`EMERGENCY_ALWAYS`].
    pub fn emergency_numbers(&self, country: Country) -> impl Iterator<Item = &str> {
        self.emergency.iter().filter(move |(c, _)| *c == country).map(|(_, number)| &**number)
    }

    pub fn plan(&self, country: Country) -> Option<&CountryPlan> {
        self.plans.iter().find(|plan| plan.country == country)
    }

    fn build(
        mut countries: Vec<Row<Country>>,
        mut classes: Vec<Row<Class>>,
        emergency: Vec<(Country, Box<str>)>,
        plans: Vec<CountryPlan>,
    ) -> Numbering {
        countries.sort_by_key(|row| (row.start, row.digits));
        classes.sort_by_key(|row| (row.start, row.digits));
        let (by_country, by_class) = (changes(&countries), changes(&classes));
        let (mut starts, mut cells) = (Vec::new(), Vec::new());
        let mut cell = Cell { country: None, class: None, country_digits: 0, class_digits: 0 };
        let (mut i, mut j) = (0, 0);
        loop {
            let (a, b) = (by_country.get(i), by_class.get(j));
            let Some(start) = a.map(|c| c.0).into_iter().chain(b.map(|c| c.0)).min() else { break };
            if let Some((_, value, digits)) = a.filter(|c| c.0 == start) {
                (cell.country, cell.country_digits) = (*value, *digits);
                i += 1;
            }
            if let Some((_, value, digits)) = b.filter(|c| c.0 == start) {
                (cell.class, cell.class_digits) = (*value, *digits);
                j += 1;
            }
            starts.push(start);
            cells.push(cell);
        }
        let lead = |digits: u64| starts.partition_point(|start| *start < digits * LEAD) as u32;
        let leads = (0..=1000).map(lead).collect();
        let emergency_e164 = emergency_behind_codes(&emergency, &plans);
        Numbering { starts, cells, leads, countries, classes, emergency, emergency_e164, plans }
    }

    fn cell(&self, value: u64, len: u32) -> Option<&Cell> {
        let full = aligned(value, len)?;
        let lead = (full / LEAD) as usize;
        let (from, to) = (*self.leads.get(lead)? as usize, *self.leads.get(lead + 1)? as usize);
        let at = from + self.starts.get(from..to)?.partition_point(|start| *start <= full);
        self.cells.get(at.checked_sub(1)?)
    }
}

/// Digits behind the first three of a number filled to 15.
const LEAD: u64 = POWERS[E164_DIGITS_MAX - 3];
/// A country code and an emergency number.
pub(super) const EMERGENCY_E164_DIGITS_MAX: u32 = 9;

fn is_emergency_everywhere(number: Number) -> bool {
    EMERGENCY_ALWAYS.iter().any(|digits| Number::short(digits.as_bytes()) == Some(number))
}

/// See [`Numbering::emergency_e164`]; with `+112` and `+911` themselves, which are nothing else either.
fn emergency_behind_codes(emergency: &[(Country, Box<str>)], plans: &[CountryPlan]) -> Vec<Number> {
    let mut numbers: Vec<Number> = EMERGENCY_ALWAYS.iter().filter_map(|n| Number::e164(n.as_bytes())).collect();
    for plan in plans {
        let own = emergency.iter().filter(|(country, _)| *country == plan.country).map(|(_, number)| &**number);
        numbers.extend(
            EMERGENCY_ALWAYS.into_iter().chain(own).filter_map(|number| {
                Number::e164([plan.country_code.as_bytes(), number.as_bytes()].concat().as_slice())
            }),
        );
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Filled with zeros to 15 digits.
fn aligned(value: u64, len: u32) -> Option<u64> {
    value.checked_mul(*POWERS.get(E164_DIGITS_MAX.checked_sub(len as usize)?)?)
}

/// `(from where, what, digits of the prefix)`, in rising order: prefixes nest, so a stack tells what holds after
/// one ends.
fn changes<T: Copy>(rows: &[Row<T>]) -> Vec<(u64, Option<T>, u8)> {
    let mut changes: Vec<(u64, Option<T>, u8)> = Vec::with_capacity(rows.len() * 2);
    let mut open: Vec<(u64, T, u8)> = Vec::new();
    let put = |changes: &mut Vec<(u64, Option<T>, u8)>, change: (u64, Option<T>, u8)| match changes
        .last_mut()
        .filter(|last| last.0 == change.0)
    {
        Some(last) => *last = change,
        None => changes.push(change),
    };
    let close = |changes: &mut Vec<_>, open: &mut Vec<(u64, T, u8)>, until: u64| {
        while let Some((end, _, _)) = open.last().copied().filter(|top| top.0 <= until) {
            open.pop();
            put(changes, open.last().map_or((end, None, 0), |(_, value, digits)| (end, Some(*value), *digits)));
        }
    };
    for row in rows {
        close(&mut changes, &mut open, row.start);
        put(&mut changes, (row.start, Some(row.value), row.digits));
        let end = row.start + POWERS[E164_DIGITS_MAX - usize::from(row.digits).min(E164_DIGITS_MAX)];
        open.push((end, row.value, row.digits));
    }
    close(&mut changes, &mut open, u64::MAX);
    changes
}

/// The value of the longest prefix that is not longer than the number.
fn longest<T: Copy>(rows: &[Row<T>], value: u64, len: u32) -> Option<T> {
    (1..=len).rev().find_map(|digits| {
        let start = aligned(value / POWERS[(len - digits) as usize], digits)?;
        let at = rows.binary_search_by_key(&(start, digits as u8), |row| (row.start, row.digits)).ok()?;
        rows.get(at).map(|row| row.value)
    })
}

/// Reads a CSV without quotes: `#` lines are comments, the first other line is the header.
fn table<'a>(
    name: &str,
    header: &str,
    text: &'a str,
    problems: &mut Vec<String>,
    mut take: impl FnMut(&[&'a str]) -> Result<(), String>,
) {
    let columns = header.split(',').count();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let first = lines.next().map(|(i, line)| (i + 1, line.trim().trim_start_matches('\u{feff}')));
    if let Some((line, _)) = first.filter(|(_, found)| *found != header) {
        problems.push(format!("{name}:{line}: expected the header `{header}`"));
    }
    let mut cells = Vec::new();
    for (i, line) in lines {
        cells.clear();
        cells.extend(line.split(',').map(str::trim));
        let taken = match cells.len() {
            n if n == columns => take(&cells),
            n => Err(format!("expected {columns} columns, found {n}")),
        };
        if let Err(problem) = taken {
            problems.push(format!("{name}:{}: {problem}", i + 1));
        }
    }
}

fn row<T>(cells: &[&str], value: T, seen: &mut HashSet<(u64, u8)>) -> Result<Row<T>, String> {
    let prefix = cells.first().copied().unwrap_or("");
    let number = Number::e164_prefix(prefix.as_bytes()).and_then(Number::digits);
    let Some((digits, len)) = number else {
        return Err(format!("`{prefix}` is no prefix of international numbers: 1 to 15 digits, the first not 0"));
    };
    let start = aligned(digits, len).ok_or("prefix too long")?;
    match seen.insert((start, len as u8)) {
        true => Ok(Row { start, digits: len as u8, value }),
        false => Err(format!("prefix `{prefix}` stands in an earlier line too")),
    }
}

fn country_of(cell: Option<&&str>) -> Result<Country, String> {
    let code = cell.copied().unwrap_or("");
    Country::parse(code.as_bytes()).ok_or_else(|| format!("unknown country `{code}`; write its ISO 3166 code, as SE"))
}

fn class_of(cell: Option<&&str>) -> Result<Class, String> {
    let word = cell.copied().unwrap_or("");
    let class = Class::parse(word.as_bytes()).filter(|class| !matches!(class, Class::Unknown | Class::Emergency));
    class.ok_or_else(|| {
        let words: Vec<_> =
            Class::ALL.iter().map(|c| c.as_str()).filter(|w| !matches!(*w, "unknown" | "emergency")).collect();
        format!("unknown class `{word}`; the classes are {}", words.join(", "))
    })
}

fn emergency_of(cells: &[&str]) -> Result<(Country, Box<str>), String> {
    let (country, number) = (country_of(cells.first())?, cells.get(1).copied().unwrap_or(""));
    match (2..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok((country, number.into())),
        false => Err(format!("emergency number `{number}` is not 2 to 6 digits")),
    }
}

fn plan_of(cells: &[&str]) -> Result<CountryPlan, String> {
    let [country, code, international, trunk, lengths, bare, ..] = cells else {
        return Err("too few columns".into());
    };
    let is_digits = |text: &str, max: usize| text.len() <= max && text.bytes().all(|b| b.is_ascii_digit());
    if code.is_empty() || !is_digits(code, 3) || code.starts_with('0') {
        return Err(format!("country code `{code}` is not 1 to 3 digits, the first not 0"));
    }
    if let Some(prefix) = international.split_whitespace().chain([*trunk]).find(|p| !is_digits(p, 8)) {
        return Err(format!("dialling prefix `{prefix}` is not up to 8 digits"));
    }
    Ok(CountryPlan {
        country: country_of(Some(country))?,
        country_code: (*code).into(),
        international_prefixes: international.split_whitespace().map(Into::into).collect(),
        trunk_prefix: (*trunk).into(),
        national_lengths: lengths_of(lengths)?,
        is_bare_national: match *bare {
            "national" => true,
            "keep" => false,
            other => return Err(format!("`{other}` is neither `keep` nor `national`")),
        },
    })
}

/// `7-9 11` as bits.
fn lengths_of(text: &str) -> Result<u32, String> {
    let mut bits = 0;
    for part in text.split_whitespace() {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        match (low.parse::<u32>(), high.parse::<u32>()) {
            (Ok(low), Ok(high)) if 1 <= low && low <= high && high <= E164_DIGITS_MAX as u32 => {
                bits |= (low..=high).fold(0, |bits, n| bits | 1 << n);
            }
            _ => return Err(format!("`{part}` is no length of a number; write 9 or 7-9")),
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(digits: &str) -> Number {
        Number::e164(digits.as_bytes()).unwrap()
    }

    fn country(digits: &str) -> &'static str {
        let country = Numbering::builtin().country(number(digits));
        country.map_or("", |c| Country::ALL[c.index()].0.as_str())
    }

    #[test]
    fn countries_are_told_by_the_longest_prefix() {
        for (digits, code) in [
            ("46701234567", "SE"),
            ("14155550100", "US"),
            ("14165550100", "CA"),
            ("18095550100", "DO"),
            ("18765550100", "JM"),
            ("16715550100", "GU"),
            ("18005550100", "US"),
            ("79161234567", "RU"),
            ("77011234567", "KZ"),
            ("442079460000", "GB"),
            ("441534123456", "JE"),
            ("441481123456", "GG"),
            ("441624123456", "IM"),
            ("393331234567", "IT"),
            ("390669812345", "VA"),
            ("358181234567", "AX"),
            ("4779123456", "SJ"),
            ("5999123456", "CW"),
            ("5993123456", "BQ"),
            ("262269123456", "YT"),
            ("61891641234", "CX"),
            ("61891621234", "CC"),
            ("38344123456", "XK"),
            ("24740000", "SH"),
            ("999123456", ""),
            ("881612345678", ""),
            ("870123456789", ""),
            ("80012345678", ""),
            ("210123456", ""),
        ] {
            assert_eq!(country(digits), code, "+{digits}");
        }
    }

    #[test]
    fn classes_are_told_by_the_longest_prefix_and_default_to_geographic() {
        let numbering = Numbering::builtin();
        for (digits, class) in [
            ("46701234567", Class::Mobile),
            ("4684000000", Class::Geographic),
            ("46200123456", Class::Tollfree),
            ("469001234567", Class::Premium),
            ("447400123456", Class::Mobile),
            ("442079460000", Class::Geographic),
            ("449012345678", Class::Premium),
            ("18005550100", Class::Tollfree),
            ("19005550100", Class::Premium),
            ("14155550100", Class::Geographic),
            ("870123456789", Class::Satellite),
            ("881612345678", Class::Satellite),
            ("881812345678", Class::Satellite),
            ("882161234567", Class::Satellite),
            ("882991234567", Class::International),
            ("80012345678", Class::Tollfree),
            ("979123456789", Class::Premium),
            ("878101234567", Class::International),
            ("5352345678", Class::Highcost),
            ("252612345678", Class::Highcost),
            ("22320201234", Class::Geographic),
            ("22355501234", Class::Mobile),
            ("999123456", Class::Unknown),
            ("46112", Class::Emergency),
            ("1911", Class::Emergency),
            ("44999", Class::Emergency),
            ("46110", Class::Geographic),
        ] {
            assert_eq!(numbering.class(number(digits)), class, "+{digits}");
        }
        assert_eq!(numbering.class(Number::short(b"112").unwrap()), Class::Emergency);
        assert_eq!(numbering.class(Number::short(b"2001").unwrap()), Class::Unknown);
        assert_eq!(numbering.class(Number::national(b"0701234567").unwrap()), Class::Unknown);
        assert_eq!(numbering.class(Number::ANONYMOUS), Class::Unknown);
        assert_eq!(numbering.class(Number::ABSENT), Class::Unknown);
    }

    #[test]
    fn dial_plans_and_emergency_numbers_are_there_for_most_countries() {
        let numbering = Numbering::builtin();
        let plan = numbering.plan(Country::parse(b"SE").unwrap()).unwrap();
        assert_eq!((&*plan.country_code, &*plan.trunk_prefix, plan.is_bare_national), ("46", "0", false));
        assert_eq!(plan.international_prefixes, ["00".into()]);
        assert!(numbering.plans.len() > 220);
        let of = |code: &[u8]| numbering.emergency_numbers(Country::parse(code).unwrap()).collect::<Vec<_>>();
        assert_eq!(of(b"DE"), ["110"]);
        assert!(of(b"GB").contains(&"999") && of(b"AU").contains(&"000") && of(b"FR").contains(&"15"));
    }

    #[test]
    fn every_mistake_in_a_table_is_told_with_its_line() {
        let header = "country,country_code,international_prefixes,trunk_prefix,national_lengths,bare";
        let plans = ["SE,046,00,0,7,keep", "SE,46,00,0,7-x,keep", "SE,46,+,0,7,keep", "SE,46,00,0,7,maybe"];
        let files = NumberingFiles {
            countries: "# c\nprefix,country\n46,SE\n0,SE\n47,NOR\n48\n46,NO\n",
            classes: "46,mobile,x\n46,premum,x\n,mobile,x\n46,unknown,x\n",
            emergency: "country,number\nSE,1\n",
            dial_plans: &format!("{header}\n{}", plans.join("\n")),
        };
        let problems = Numbering::parse(files).unwrap_err();
        let places: Vec<_> = problems.iter().filter_map(|p| p.split_once(": ")).map(|(place, _)| place).collect();
        let expected = "countries.csv:4 countries.csv:5 countries.csv:6 countries.csv:7 classes.csv:1 classes.csv:2 \
            classes.csv:3 classes.csv:4 emergency.csv:2 dialplans.csv:2 dialplans.csv:3 dialplans.csv:4 dialplans.csv:5";
        assert_eq!(places.join(" "), expected, "{problems:#?}");
    }

    /// libphonenumber's own example numbers, one a country and type.
    #[test]
    fn example_numbers_of_libphonenumber_get_their_country_and_class() {
        let shared = std::env::var("RINGFENCE_SHARED").unwrap_or_else(|_| "../shared".into());
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(shared);
        let Ok(text) = std::fs::read_to_string(root.join("data/numbering/example_numbers_by_type.csv")) else {
            eprintln!("did not run: no example_numbers_by_type.csv under {}", root.display());
            return;
        };
        let numbering = Numbering::builtin();
        let (mut n, mut countries, mut classes) = (0, 0, 0);
        for line in text.lines().skip(1) {
            let cells: Vec<_> = line.split(',').collect();
            let [code, region, kind, national] = cells[..] else { panic!("{line}") };
            let number = number(&format!("{code}{national}"));
            let expected = match kind {
                "MOBILE" => Class::Mobile,
                "TOLL_FREE" => Class::Tollfree,
                "PREMIUM_RATE" => Class::Premium,
                _ => Class::Geographic,
            };
            let class = numbering.class(number);
            n += 1;
            // Service numbers of shared codes belong to all; a code's own fixed lines to one.
            let found = numbering.country(number);
            let is_country = match kind {
                "FIXED_LINE" => found.is_some_and(|c| c.as_str() == region.replace("AC", "SH").replace("TA", "SH")),
                _ => found.is_some() || region == "001",
            };
            countries += u32::from(is_country);
            let is_class =
                class == expected || matches!(class, Class::Highcost | Class::Satellite | Class::International);
            classes += u32::from(is_class);
            if !is_country || !is_class {
                eprintln!("{line}: {found:?} {class:?}");
            }
        }
        assert!(n > 700 && countries + 3 >= n && classes * 100 >= n * 98, "{n} {countries} {classes}");
    }

    fn linear<T: Copy>(rows: &[(String, T)], digits: &str) -> Option<T> {
        rows.iter().filter(|(p, _)| digits.starts_with(p.as_str())).max_by_key(|(p, _)| p.len()).map(|(_, v)| *v)
    }

    proptest! {
        #[test]
        fn look_ups_equal_a_linear_scan(
            prefixes in proptest::collection::btree_map("[1-3][0-3]{0,5}", 0usize..4, 0..40),
            kinds in proptest::collection::btree_map("[1-3][0-3]{0,5}", 0usize..4, 0..40),
            digits in proptest::collection::vec("[1-4][0-4]{2,14}", 1..20),
        ) {
            let (codes, words) = (["SE", "NO", "DK", "FI"], ["mobile", "premium", "tollfree", "satellite"]);
            let lines = |header: &str, map: &std::collections::BTreeMap<String, usize>, words: [&str; 4]| {
                let more = if header.ends_with("source") { ",x" } else { "" };
                map.iter().fold(header.to_string(), |text, (p, v)| format!("{text}\n{p},{}{more}", words[*v]))
            };
            let (countries, classes) = (lines("prefix,country", &prefixes, codes), lines("prefix,class,source", &kinds, words));
            let files = NumberingFiles { countries: &countries, classes: &classes, emergency: "", dial_plans: "" };
            let numbering = Numbering::parse(files).unwrap();
            let prefixes: Vec<_> = prefixes.into_iter().collect();
            let kinds: Vec<_> = kinds.into_iter().collect();
            for digits in digits {
                let country = linear(&prefixes, &digits).map(|v| codes[v]);
                let found = numbering.country(number(&digits));
                prop_assert_eq!(found.as_ref().map(Country::as_str), country);
                let class = linear(&kinds, &digits).map(|v| words[v]);
                let default = if country.is_some() { "geographic" } else { "unknown" };
                if number(&digits).digits() != number("112").digits() {
                    prop_assert_eq!(numbering.class(number(&digits)).as_str(), class.unwrap_or(default));
                }
            }
        }
    }
}
