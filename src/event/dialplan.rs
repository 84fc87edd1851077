//! From what a gateway writes to what it means: dial plans.
//!
//! Nothing is guessed: what a plan does not map stays what it is, by kind `short`, `national` or `invalid`.
//! Only for emergency numbers every reading counts, since a call too many that passes costs less than a life.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use super::address::{Address, Scheme};
use super::country::Country;
use super::number::Number;
use super::number_pattern::is_separator;
use super::numbering::{EMERGENCY_ALWAYS, EMERGENCY_E164_DIGITS_MAX, Numbering};
use crate::limits::E164_DIGITS_MAX;

/// The `dial_plan` table of a feed or customer. Everything left out comes from `country`; without a country
/// national forms stay as they are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct DialPlanSettings {
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Digits, without `+`.
    pub country_code: Option<String>,
    /// Digits that stand for `+`.
    pub international_prefixes: Option<Vec<String>>,
    /// Stands before a national number and is dropped; empty: none.
    pub trunk_prefix: Option<String>,
    /// Digits a national number may have without its trunk prefix; empty: any.
    pub national_lengths: Option<Vec<u32>>,
    /// What digits without any prefix are, where they are no short code.
    pub bare: Option<Bare>,
    /// Put before local numbers, which have `local_lengths` digits.
    pub area_code: Option<String>,
    pub local_lengths: Vec<u32>,
    /// Digits of the longest short code or extension.
    pub short_digits_max: Option<u32>,
    /// Short national forms and their full ones: `"4???" = "+4684004???"`.
    pub short_forms: BTreeMap<String, String>,
    /// Dialled to reach a line: `"9"`. Dropped where what follows makes sense without it.
    pub outside_line: Vec<String>,
    /// Emergency numbers besides 112, 911 and the country's.
    pub emergency: Vec<String>,
}

/// See [`DialPlanSettings::bare`].
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Bare {
    /// Of kind `national`, as they came.
    Keep,
    /// A national number without its trunk prefix.
    National,
    /// An international number without its `+`.
    E164,
}

/// How one feed writes numbers.
#[derive(Clone, Debug)]
pub struct DialPlan {
    country: Option<Country>,
    country_code: Digits,
    /// Longest first.
    international: Vec<Digits>,
    trunk: Digits,
    /// Bit n: n digits are allowed; 0: any count.
    national_lengths: u32,
    bare: Bare,
    area_code: Digits,
    local_lengths: u32,
    short_digits_max: usize,
    forms: Vec<ShortForm>,
    outside_line: Vec<Digits>,
    emergency_short: Vec<Digits>,
    /// Sorted.
    emergency_e164: Vec<Number>,
    /// Trunk prefix by country code, for numbers that say their `phone-context`.
    trunks: Vec<(Digits, Digits)>,
}

type Digits = Box<[u8]>;

/// `4??? = +4684004???`: `head` and `open` more digits stand for `full` and the same digits.
#[derive(Clone, Debug)]
struct ShortForm {
    head: Digits,
    open: usize,
    full: Digits,
}

/// Digits of the longest short code unless set otherwise: longer ones are dialled nowhere but as star codes.
const SHORT_DIGITS_MAX: u32 = 6;
/// Symbols of a number looked at: a national or international one with every prefix before it is shorter, and
/// what is longer is no number.
const SYMBOLS_MAX: usize = 32;
/// Digits of the longest form that may be a number with all its prefixes.
const NATIONAL_DIGITS_MAX: usize = 20;
/// International prefixes under which an emergency number is recognised whatever the plan says.
const INTERNATIONAL_EVERYWHERE: [&[u8]; 2] = [b"00", b"011"];

/// Buffers of [`DialPlan::normalise`], kept from call to call. Bounded by the longest text that comes in.
#[derive(Debug, Default)]
pub struct Scratch {
    built: Vec<u8>,
}

impl Scratch {
    /// The text of a [`Wording::Built`], until the next call.
    pub fn built(&self) -> &[u8] {
        &self.built
    }
}

/// What a number means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalised {
    pub number: Number,
    /// Of what is no E.164 number. An anonymous party's is the word the gateway wrote, or `anonymous`.
    pub wording: Wording,
    /// An emergency number; to be heeded for the callee.
    pub emergency: bool,
    /// The caller's number is withheld.
    pub anonymous: bool,
}

/// Where the normalised text stands. UTF-8 where what came was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wording {
    /// An E.164 number, or nothing at all.
    Absent,
    /// These bytes of what came.
    Raw(Range<usize>),
    /// In [`Scratch::built`].
    Built,
}

/// Without settings: nothing but `+` is mapped, 112 and 911 are recognised.
impl Default for DialPlan {
    fn default() -> DialPlan {
        DialPlan::without_country(&Numbering::builtin())
    }
}

impl DialPlan {
    /// Or every mistake in the settings: ``country: unknown country `SWE`; write its ISO 3166 code``.
    pub fn new(settings: &DialPlanSettings, numbering: &Numbering) -> Result<DialPlan, Vec<String>> {
        let mut check = Check::default();
        let mut plan = DialPlan::without_country(numbering);
        if let Some(code) = &settings.country {
            match Country::parse(code.as_bytes()) {
                Some(country) => plan.adopt(country, numbering),
                None => check.add(format!("country: unknown country `{code}`; write its ISO 3166 code, as SE")),
            }
        }
        if let Some(code) = &settings.country_code {
            plan.country_code = check.digits("country_code", code, 1..=3);
        }
        if let Some(prefixes) = &settings.international_prefixes {
            plan.international = prefixes.iter().map(|p| check.digits("international_prefixes", p, 1..=8)).collect();
        }
        plan.international.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        if let Some(prefix) = &settings.trunk_prefix {
            plan.trunk = check.digits("trunk_prefix", prefix, 0..=8);
        }
        if let Some(lengths) = &settings.national_lengths {
            plan.national_lengths = check.lengths("national_lengths", lengths);
        }
        plan.bare = settings.bare.unwrap_or(plan.bare);
        if let Some(code) = &settings.area_code {
            plan.area_code = check.digits("area_code", code, 1..=8);
        }
        plan.local_lengths = check.lengths("local_lengths", &settings.local_lengths);
        plan.short_digits_max = check.short_digits_max(settings.short_digits_max);
        plan.outside_line = settings.outside_line.iter().map(|p| check.digits("outside_line", p, 1..=4)).collect();
        plan.forms = settings.short_forms.iter().filter_map(|(form, full)| check.form(form, full)).collect();
        for number in &settings.emergency {
            let digits = check.digits("emergency", number, 2..=6);
            plan.add_emergency(&digits);
        }
        plan.emergency_e164.sort_unstable();
        let needs_code = (!plan.trunk.is_empty() || !plan.area_code.is_empty() || plan.bare == Bare::National)
            && plan.country_code.is_empty();
        if needs_code {
            check.add("national numbers can only be mapped with `country` or `country_code`".into());
        }
        match check.problems.is_empty() {
            true => Ok(plan),
            false => Err(check.problems),
        }
    }

    /// The country whose emergency numbers and prefixes hold.
    pub fn country(&self) -> Option<Country> {
        self.country
    }

    /// What `raw` means. Total: there is no input it does not take.
    pub fn normalise(&self, raw: &[u8], scratch: &mut Scratch) -> Normalised {
        match self.international_number(raw) {
            Some((number, emergency)) => Normalised { number, wording: Wording::Absent, emergency, anonymous: false },
            None => self.address(raw, scratch),
        }
    }

    /// The commonest forms there are, `+` and digits, alone or as the user of a SIP URI, and whether it is an emergency
    /// number; `None` for every other. Gives what [`DialPlan::normalise`] gives.
    #[inline]
    pub(crate) fn international_number(&self, raw: &[u8]) -> Option<(Number, bool)> {
        let number = match raw.split_first()? {
            (b'+', digits) => Number::e164(digits)?,
            _ => {
                let after = raw.strip_prefix(b"sip:+")?;
                let (number, len) = Number::leading_e164(after)?;
                // Whatever stands with the number may mean something, and so may a host: `anonymous.invalid`.
                let is_plain = matches!(after.get(len..)?, [b'@', host, ..] if !host.eq_ignore_ascii_case(&b'a'));
                return (is_plain && len > EMERGENCY_E164_DIGITS_MAX as usize).then_some((number, false));
            }
        };
        Some((number, self.is_emergency_e164(number)))
    }

    fn without_country(numbering: &Numbering) -> DialPlan {
        DialPlan {
            country: None,
            country_code: Digits::default(),
            international: Vec::new(),
            trunk: Digits::default(),
            national_lengths: 0,
            bare: Bare::Keep,
            area_code: Digits::default(),
            local_lengths: 0,
            short_digits_max: SHORT_DIGITS_MAX as usize,
            forms: Vec::new(),
            outside_line: Vec::new(),
            emergency_short: EMERGENCY_ALWAYS.iter().map(|n| n.as_bytes().into()).collect(),
            emergency_e164: numbering.emergency_e164().to_vec(),
            trunks: numbering.plans().map(|p| (bytes(&p.country_code), bytes(&p.trunk_prefix))).collect(),
        }
    }

    fn adopt(&mut self, country: Country, numbering: &Numbering) {
        self.country = Some(country);
        self.emergency_short.extend(numbering.emergency_numbers(country).map(bytes));
        let Some(plan) = numbering.plan(country) else { return };
        self.country_code = bytes(&plan.country_code);
        self.international = plan.international_prefixes.iter().map(|p| bytes(p)).collect();
        self.trunk = bytes(&plan.trunk_prefix);
        self.national_lengths = plan.national_lengths;
        self.bare = if plan.is_bare_national { Bare::National } else { Bare::Keep };
    }

    fn add_emergency(&mut self, digits: &[u8]) {
        self.emergency_short.push(digits.into());
        if !self.country_code.is_empty() {
            self.emergency_e164.extend(joined(&self.country_code, digits));
        }
    }

    #[inline]
    pub(crate) fn is_emergency_e164(&self, number: Number) -> bool {
        number.digits().is_some_and(|(_, n)| n <= EMERGENCY_E164_DIGITS_MAX)
            && self.emergency_e164.binary_search(&number).is_ok()
    }

    fn address(&self, raw: &[u8], scratch: &mut Scratch) -> Normalised {
        let address = Address::parse(raw);
        let mut user = raw.get(address.user.clone()).unwrap_or(&[]);
        let plain = |number, wording| Normalised { number, wording, emergency: false, anonymous: false };
        if user.is_empty() {
            return plain(Number::ABSENT, Wording::Absent);
        }
        if address.scheme == Scheme::Sos {
            return Normalised { emergency: true, ..plain(Number::INVALID, Wording::Raw(address.user)) };
        }
        if is_anonymous(user, raw.get(address.host.clone()).unwrap_or(&[])) {
            return anonymous(user, address.user, scratch);
        }
        let is_decoded = user.contains(&b'%') && percent_decode(user, &mut scratch.built);
        if is_decoded {
            user = &scratch.built;
        }
        // `sip:10.0.0.1` names a host, not an extension with dots in it.
        let is_host = address.scheme == Scheme::Sip && address.host.is_empty() && user.contains(&b'.');
        let symbols = if is_host { None } else { Symbols::read(user) };
        let meaning = symbols.as_ref().and_then(|symbols| match address.scheme {
            Scheme::Short if symbols.plus => None,
            Scheme::Short => self.short(symbols.as_slice()),
            _ => self.meaning(symbols, raw.get(address.context.clone()).unwrap_or(&[])),
        });
        let Some(meaning) = meaning else {
            let wording = if is_decoded { Wording::Built } else { Wording::Raw(address.user) };
            return plain(Number::INVALID, wording);
        };
        let wording = match meaning.text {
            None => Wording::Absent,
            // Stripping nothing, or only what stands before, leaves bytes of what came.
            Some(text) if !is_decoded && user.ends_with(text) => {
                Wording::Raw(address.user.end - text.len()..address.user.end)
            }
            Some(text) => {
                scratch.built.clear();
                scratch.built.extend_from_slice(text);
                Wording::Built
            }
        };
        Normalised { emergency: meaning.emergency, ..plain(meaning.number, wording) }
    }

    /// `None`: no number.
    fn meaning<'a>(&self, symbols: &'a Symbols, context: &[u8]) -> Option<Meaning<'a>> {
        let digits = symbols.as_slice();
        if symbols.plus {
            return Number::e164(digits).map(|number| self.e164(number));
        }
        if let Some(meaning) = self.emergency(digits) {
            return Some(meaning);
        }
        if digits.iter().any(|s| !s.is_ascii_digit()) {
            return self.short(digits);
        }
        if let Some(number) = self.forms.iter().find_map(|form| form.full_number(digits)) {
            return Some(self.e164(number));
        }
        if digits.len() <= self.short_digits_max {
            return self.short(digits);
        }
        let number = self.in_context(digits, context).or_else(|| self.full_number(digits)).or_else(|| {
            let lines = self.outside_line.iter().filter_map(|line| digits.strip_prefix(&**line));
            lines.into_iter().find_map(|rest| self.full_number(rest))
        });
        match number {
            Some(number) => Some(self.e164(number)),
            None if digits.len() > NATIONAL_DIGITS_MAX => None,
            None => Some(Meaning { number: Number::national(digits)?, text: Some(digits), emergency: false }),
        }
    }

    fn e164<'a>(&self, number: Number) -> Meaning<'a> {
        Meaning { number, text: None, emergency: self.is_emergency_e164(number) }
    }

    fn short<'a>(&self, symbols: &'a [u8]) -> Option<Meaning<'a>> {
        let emergency = self.emergency_short.iter().any(|n| **n == *symbols);
        Some(Meaning { number: Number::short(symbols)?, text: Some(symbols), emergency })
    }

    /// An emergency number as such, behind an outside-line prefix, behind a star code such as `#31#`, or behind an
    /// international prefix and a country code.
    fn emergency<'a>(&self, symbols: &'a [u8]) -> Option<Meaning<'a>> {
        let after_line = self.outside_line.iter().filter_map(|line| symbols.strip_prefix(&**line));
        // `*31#112` and `*67911` withhold the caller's number.
        let last_hash = symbols.iter().rposition(|s| *s == b'#').and_then(|at| symbols.get(at + 1..));
        let after_star = symbols.strip_prefix(b"*").and_then(|rest| rest.get(2..));
        let mut readings = std::iter::once(symbols).chain(after_line).chain(last_hash).chain(after_star);
        readings.find_map(|digits| {
            let short = self.short(digits).filter(|meaning| meaning.emergency);
            short.or_else(|| {
                let own = self.international.iter().map(|prefix| &**prefix);
                let rests = own.chain(INTERNATIONAL_EVERYWHERE).filter_map(|prefix| digits.strip_prefix(prefix));
                // At least a country code and a number: 00112 is an extension.
                let mut rests = rests.filter(|rest| rest.len() > 3);
                let number = rests.find_map(|rest| Number::e164(rest).filter(|n| self.is_emergency_e164(*n)));
                number.map(|number| self.e164(number))
            })
        })
    }

    /// Digits under a `phone-context` that is the beginning of a number; a domain says nothing about digits.
    fn in_context(&self, digits: &[u8], context: &[u8]) -> Option<Number> {
        let context = Symbols::read(context).filter(|context| context.plus)?;
        let code = context.as_slice();
        if *code == *self.country_code
            && let Some(number) = self.full_number(digits)
        {
            return Some(number);
        }
        let trunk = self.trunks.iter().find(|(c, trunk)| **c == *code && !trunk.is_empty()).map(|(_, trunk)| trunk);
        let rest = trunk.and_then(|trunk| digits.strip_prefix(&**trunk)).unwrap_or(digits);
        joined(code, rest)
    }

    /// International prefix, trunk prefix, local number, bare number: the first that fits decides.
    fn full_number(&self, digits: &[u8]) -> Option<Number> {
        if let Some(rest) = self.international.iter().find_map(|prefix| digits.strip_prefix(&**prefix)) {
            return Number::e164(rest);
        }
        let fits = |lengths: u32, digits: &[u8]| lengths >> digits.len().min(31) & 1 == 1;
        // No area code of North America begins with 0 or 1; elsewhere the length is all that is sure.
        let is_area = |digits: &[u8]| *self.country_code != *b"1" || matches!(digits.first(), Some(b'2'..=b'9'));
        let is_national =
            |digits: &[u8]| (self.national_lengths == 0 || fits(self.national_lengths, digits)) && is_area(digits);
        let trunk = (!self.trunk.is_empty()).then(|| digits.strip_prefix(&*self.trunk)).flatten();
        if let Some(rest) = trunk.filter(|rest| is_national(rest) && !(*self.trunk == *b"0" && rest.starts_with(b"0")))
        {
            return joined(&self.country_code, rest);
        }
        if !self.area_code.is_empty() && fits(self.local_lengths, digits) {
            let mut code = [0; E164_DIGITS_MAX];
            let len = self.country_code.len() + self.area_code.len();
            code.get_mut(..self.country_code.len())?.copy_from_slice(&self.country_code);
            code.get_mut(self.country_code.len()..len)?.copy_from_slice(&self.area_code);
            return joined(code.get(..len)?, digits);
        }
        match self.bare {
            Bare::National if is_national(digits) => joined(&self.country_code, digits),
            Bare::E164 => Number::e164(digits),
            _ => None,
        }
    }
}

/// What digits stand for; `text` is what is left of them where they are no E.164 number.
struct Meaning<'a> {
    number: Number,
    text: Option<&'a [u8]>,
    emergency: bool,
}

/// The symbols of a number without what only pleases the eye.
struct Symbols {
    symbols: [u8; SYMBOLS_MAX],
    len: usize,
    plus: bool,
}

impl Symbols {
    /// `None` where a sign is no part of a number, or there are too many.
    fn read(text: &[u8]) -> Option<Symbols> {
        let mut read = Symbols { symbols: [0; SYMBOLS_MAX], len: 0, plus: false };
        let mut rest = text;
        while let Some(&b) = rest.first() {
            let width = match b {
                b'+' if read.len == 0 && !read.plus => {
                    read.plus = true;
                    1
                }
                b'0'..=b'9' | b'*' | b'#' => {
                    *read.symbols.get_mut(read.len)? = b;
                    read.len += 1;
                    1
                }
                // +46 (0)8: the trunk prefix, shown to those who dial from inside the country.
                b'(' if read.plus && rest.starts_with(b"(0)") => 3,
                b if is_separator(b) => 1,
                _ => invisible(rest)?,
            };
            rest = rest.get(width..)?;
        }
        (read.len > 0).then_some(read)
    }

    fn as_slice(&self) -> &[u8] {
        self.symbols.get(..self.len).unwrap_or(&[])
    }
}

/// Bytes of a separator that copying from documents leaves: Unicode spaces, dashes, direction marks.
fn invisible(text: &[u8]) -> Option<usize> {
    match *text {
        [0xc2, 0xa0, ..] => Some(2),
        // U+2000 to U+2015, U+2028 to U+202F, U+205F to U+2069, U+2212, U+FEFF.
        [0xe2, 0x80, 0x80..=0x95 | 0xa8..=0xaf, ..] | [0xe2, 0x81, 0x9f..=0xa9, ..] => Some(3),
        [0xe2, 0x88, 0x92, ..] | [0xef, 0xbb, 0xbf, ..] => Some(3),
        _ => None,
    }
}

impl ShortForm {
    fn full_number(&self, digits: &[u8]) -> Option<Number> {
        let rest = digits.strip_prefix(&*self.head).filter(|rest| rest.len() == self.open)?;
        joined(&self.full, rest)
    }
}

fn bytes(text: &str) -> Digits {
    text.as_bytes().into()
}

/// The number of both halves one behind the other.
fn joined(head: &[u8], tail: &[u8]) -> Option<Number> {
    let mut digits = [0; E164_DIGITS_MAX];
    let len = head.len() + tail.len();
    digits.get_mut(..head.len())?.copy_from_slice(head);
    digits.get_mut(head.len()..len)?.copy_from_slice(tail);
    Number::e164(digits.get(..len)?)
}

/// RFC 3323's anonymous URI, and the words gateways write in its place.
fn is_anonymous(user: &[u8], host: &[u8]) -> bool {
    is_withheld_word(user) || host.eq_ignore_ascii_case(b"anonymous.invalid")
}

fn is_withheld_word(user: &[u8]) -> bool {
    [&b"anonymous"[..], b"restricted", b"unavailable"].iter().any(|word| user.eq_ignore_ascii_case(word))
}

/// Keeps the word the gateway chose, which rules may tell apart; any other user part hides nobody but changes with
/// every call, and becomes `anonymous`.
fn anonymous(user: &[u8], range: Range<usize>, scratch: &mut Scratch) -> Normalised {
    let wording = if is_withheld_word(user) {
        Wording::Raw(range)
    } else {
        scratch.built.clear();
        scratch.built.extend_from_slice(b"anonymous");
        Wording::Built
    };
    Normalised { number: Number::ANONYMOUS, wording, emergency: false, anonymous: true }
}

/// Decodes into `out`; false where nothing is encoded or the result would be no clean text: it stays as it came.
fn percent_decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    out.clear();
    let mut rest = text;
    while let Some((&b, after)) = rest.split_first() {
        match (b, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or(&[]);
            }
            _ => {
                out.push(b);
                rest = after;
            }
        }
    }
    out.len() < text.len() && std::str::from_utf8(out).is_ok_and(|text| !text.chars().any(char::is_control))
}

/// Collects what is wrong with settings.
#[derive(Default)]
struct Check {
    problems: Vec<String>,
}

impl Check {
    fn add(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn digits(&mut self, key: &str, text: &str, lengths: std::ops::RangeInclusive<usize>) -> Digits {
        if !lengths.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
            self.add(format!("{key}: `{text}` is not {} to {} digits", lengths.start(), lengths.end()));
        }
        bytes(text)
    }

    fn lengths(&mut self, key: &str, lengths: &[u32]) -> u32 {
        lengths.iter().fold(0, |bits, n| match (1..=E164_DIGITS_MAX as u32).contains(n) {
            true => bits | 1 << n,
            false => {
                self.add(format!("{key}: {n} is not 1 to {E164_DIGITS_MAX}"));
                bits
            }
        })
    }

    fn short_digits_max(&mut self, max: Option<u32>) -> usize {
        let max = max.unwrap_or(SHORT_DIGITS_MAX);
        if max > E164_DIGITS_MAX as u32 {
            self.add(format!("short_digits_max: {max} is above {E164_DIGITS_MAX}"));
        }
        max as usize
    }

    fn form(&mut self, form: &str, full: &str) -> Option<ShortForm> {
        let (head, tail) = (form.trim_end_matches('?'), full.trim_end_matches('?'));
        let open = form.len() - head.len();
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let plus = tail.strip_prefix('+').filter(|digits| is_digits(digits) && !digits.is_empty());
        match plus.filter(|_| is_digits(head) && full.len() - tail.len() == open && !form.is_empty()) {
            Some(digits) => Some(ShortForm { head: bytes(head), open, full: bytes(digits) }),
            None => {
                self.add(format!(
                    "short_forms: `{form}` = `{full}` is not of the form \"4???\" = \"+4684004???\", with as many `?` on both sides"
                ));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(settings: &str) -> DialPlan {
        DialPlan::new(&toml::from_str(settings).unwrap(), &Numbering::builtin()).unwrap()
    }

    /// `kind number [text] !` where `!` marks an emergency.
    fn said(plan: &DialPlan, raw: &str) -> String {
        let mut scratch = Scratch::default();
        let n = plan.normalise(raw.as_bytes(), &mut scratch);
        let text = match n.wording {
            Wording::Absent => String::new(),
            Wording::Raw(range) => format!(" [{}]", raw.get(range).unwrap()),
            Wording::Built => format!(" built [{}]", std::str::from_utf8(scratch.built()).unwrap()),
        };
        let kind = n.number.kind().map_or("absent", |kind| kind.as_str());
        assert_eq!(n.anonymous, kind == "anonymous");
        let number = if n.number.is_e164() { format!(" {}", n.number) } else { String::new() };
        format!("{kind}{number}{text}{}", if n.emergency { " !" } else { "" })
    }

    #[track_caller]
    fn check(plan: &DialPlan, cases: &[(&str, &str)]) {
        for (raw, expected) in cases {
            assert_eq!(said(plan, raw), *expected, "{raw:?}");
        }
    }

    #[test]
    fn without_a_plan_only_plus_numbers_are_mapped_and_nothing_is_guessed() {
        check(
            &DialPlan::default(),
            &[
                ("+46701234567", "e164 +46701234567"),
                ("+46 (0)70-123.45/67", "e164 +46701234567"),
                ("+46\u{a0}70\u{2011}1234567", "e164 +46701234567"),
                ("0701234567", "national [0701234567]"),
                ("08-400 00 00", "national built [084000000]"),
                ("0046701234567", "national [0046701234567]"),
                ("46701234567", "national [46701234567]"),
                ("2001", "short [2001]"),
                ("*21#", "short [*21#]"),
                ("*21*0701234567#", "short [*21*0701234567#]"),
                ("alice", "invalid [alice]"),
                ("alice.smith", "invalid [alice.smith]"),
                ("+0701234567", "invalid [+0701234567]"),
                ("+1234567890123456", "invalid [+1234567890123456]"),
                ("+46a", "invalid [+46a]"),
                ("++46701234567", "invalid [++46701234567]"),
                ("123456789012345678901", "invalid [123456789012345678901]"),
                ("", "absent"),
                ("  ", "absent"),
                ("-", "invalid [-]"),
            ],
        );
    }

    #[test]
    fn uris_contexts_escapes_and_display_names_are_understood() {
        check(
            &DialPlan::default(),
            &[
                ("tel:+46-70-123-45-67", "e164 +46701234567"),
                (r#""Bob" <sip:+46701234567@x;user=phone>"#, "e164 +46701234567"),
                ("sip:+46701234567@10.0.0.1:5060;user=phone", "e164 +46701234567"),
                ("sip:+46701234567:secret@10.0.0.1:5060", "e164 +46701234567"),
                ("sip:+46701234567@Anonymous.invalid", "anonymous built [anonymous]"),
                ("sip:+46112@sos.example", "e164 +46112 !"),
                ("sip:%2B46701234567@example.com", "e164 +46701234567"),
                ("sips:2001@pbx", "short [2001]"),
                ("sip:alice@example.com", "invalid [alice]"),
                ("sip:al%69ce@example.com", "invalid built [alice]"),
                ("sip:a%00b@example.com", "invalid [a%00b]"),
                ("sip:%ff@example.com", "invalid [%ff]"),
                ("sip:1%", "invalid [1%]"),
                ("<sip:10.0.0.1>", "invalid [10.0.0.1]"),
                ("sip:@x", "absent"),
                (r#""Alice" <2001>"#, "short [2001]"),
                ("short:112", "short [112] !"),
                ("short:2001", "short [2001]"),
                ("short:12345678", "short [12345678]"),
                ("tel:0701234567;phone-context=+46", "e164 +46701234567"),
                ("sip:5550100;phone-context=+1-914@x;user=phone", "e164 +19145550100"),
                ("tel:4155550100;phone-context=+1", "e164 +14155550100"),
                ("tel:7042;phone-context=+46", "short [7042]"),
                ("tel:70421234;phone-context=example.com", "national [70421234]"),
            ],
        );
    }

    #[test]
    fn withheld_numbers_are_anonymous_however_they_are_spelt() {
        check(
            &DialPlan::default(),
            &[
                ("anonymous", "anonymous [anonymous]"),
                ("Anonymous", "anonymous [Anonymous]"),
                ("RESTRICTED", "anonymous [RESTRICTED]"),
                ("unavailable", "anonymous [unavailable]"),
                ("anonymous@anonymous.invalid", "anonymous [anonymous]"),
                (r#""Anonymous" <sip:c8oqz84@Anonymous.Invalid>"#, "anonymous built [anonymous]"),
                ("anonymouse", "invalid [anonymouse]"),
            ],
        );
    }

    #[test]
    fn a_swedish_plan_maps_prefixes_and_leaves_what_does_not_fit() {
        check(
            &plan("country = 'SE'"),
            &[
                ("0701234567", "e164 +46701234567"),
                ("08-400 00 00", "e164 +4684000000"),
                ("0014155550100", "e164 +14155550100"),
                ("00046701234567", "national [00046701234567]"),
                ("701234567", "national [701234567]"),
                ("2001", "short [2001]"),
                ("112", "short [112] !"),
                ("90000", "short [90000] !"),
                ("999", "short [999]"),
                ("tel:0701234567;phone-context=+46", "e164 +46701234567"),
                ("tel:02079460000;phone-context=+44", "e164 +442079460000"),
            ],
        );
    }

    #[test]
    fn an_american_plan_maps_ten_digits_with_and_without_the_one() {
        check(
            &plan("country = 'US'\noutside_line = ['9']"),
            &[
                ("4155550100", "e164 +14155550100"),
                ("1 (415) 555-0100", "e164 +14155550100"),
                ("011442079460000", "e164 +442079460000"),
                ("9011442079460000", "e164 +442079460000"),
                ("914155550100", "e164 +14155550100"),
                ("5550100", "national [5550100]"),
                ("0155550100", "national [0155550100]"),
                ("9911", "short [911] !"),
            ],
        );
    }

    #[test]
    fn settings_map_short_local_and_bare_forms() {
        let plan = plan(
            "country = 'SE'\narea_code = '8'\nlocal_lengths = [7, 8]\nshort_digits_max = 4\nbare = 'e164'\nshort_forms = { '4???' = '+4684004???', '90' = '+46771567567' }\nemergency = ['1177']",
        );
        check(
            &plan,
            &[
                ("4711", "e164 +4684004711"),
                ("90", "e164 +46771567567"),
                ("5711", "short [5711]"),
                ("4000000", "e164 +4684000000"),
                ("46701234567", "e164 +46701234567"),
                ("1177", "short [1177] !"),
                ("+461177", "e164 +461177 !"),
            ],
        );
    }

    #[test]
    fn emergency_numbers_are_recognised_in_every_reading() {
        let lined = plan("country = 'GB'\noutside_line = ['9', '0']");
        check(
            &lined,
            &[
                ("112", "short [112] !"),
                ("911", "short [911] !"),
                ("999", "short [999] !"),
                ("9999", "short [999] !"),
                ("0112", "short [112] !"),
                ("+44999", "e164 +44999 !"),
                ("0044999", "e164 +44999 !"),
                ("90044999", "e164 +44999 !"),
                ("*31#112", "short [112] !"),
                ("#31#999", "short [999] !"),
                ("*67911", "short [911] !"),
                ("tel:112", "short [112] !"),
                ("tel:999;phone-context=+44", "short [999] !"),
                ("sip:911@10.0.0.1;user=phone", "short [911] !"),
                ("sip:112", "short [112] !"),
                ("1-1-2", "short built [112] !"),
                ("urn:service:sos", "invalid [urn:service:sos] !"),
                ("<URN:service:SOS.fire>", "invalid [URN:service:SOS.fire] !"),
                ("urn:service:test.sos", "invalid [urn:service:test.sos]"),
                ("110", "short [110]"),
                ("1120", "short [1120]"),
                ("*21*112#", "short [*21*112#]"),
                ("+441120000000", "e164 +441120000000"),
            ],
        );
        check(
            &DialPlan::default(),
            &[
                ("+46112", "e164 +46112 !"),
                ("+112", "e164 +112 !"),
                ("0046112", "e164 +46112 !"),
                ("001911", "e164 +1911 !"),
                ("01146112", "e164 +46112 !"),
                ("+49110", "e164 +49110 !"),
                ("9112", "short [9112]"),
                ("00112", "short [00112]"),
                ("999", "short [999]"),
            ],
        );
    }

    #[test]
    fn every_mistake_in_the_settings_is_told() {
        let settings: DialPlanSettings = toml::from_str(
            "country = 'SWE'\ncountry_code = '+46'\ntrunk_prefix = 'x'\nnational_lengths = [0]\noutside_line = ['']\nshort_forms = { '4??' = '+46?' }\nemergency = ['1']\nshort_digits_max = 16",
        )
        .unwrap();
        let problems = DialPlan::new(&settings, &Numbering::builtin()).unwrap_err();
        assert_eq!(problems.len(), 8, "{problems:#?}");
        let settings = DialPlanSettings { trunk_prefix: Some("0".into()), ..DialPlanSettings::default() };
        assert_eq!(
            DialPlan::new(&settings, &Numbering::builtin()).unwrap_err(),
            ["national numbers can only be mapped with `country` or `country_code`"]
        );
        assert!(toml::from_str::<DialPlanSettings>("cuontry = 'SE'").is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics_and_texts_stay_utf_8(raw in r#"[ -~\u{a0}\u{2010}é]{0,40}|(sips?:|tel:|"x" <)?[+0-9*#().;@%=<>-]{0,40}"#) {
            for plan in [DialPlan::default(), plan("country = 'SE'\nbare = 'national'\noutside_line = ['0']")] {
                let mut scratch = Scratch::default();
                let n = plan.normalise(raw.as_bytes(), &mut scratch);
                match n.wording {
                    Wording::Absent => prop_assert!(n.number.is_e164() || n.number.is_absent()),
                    Wording::Raw(range) => prop_assert!(!raw.get(range).unwrap().is_empty()),
                    Wording::Built => prop_assert!(std::str::from_utf8(scratch.built()).is_ok_and(|t| !t.is_empty())),
                }
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            plan("country = 'US'").normalise(&raw, &mut Scratch::default());
        }

        #[test]
        fn a_normalised_number_is_left_as_it_is(digits in "[1-9][0-9]{2,14}") {
            let plan = plan("country = 'SE'");
            let raw = format!("+{digits}");
            let n = plan.normalise(raw.as_bytes(), &mut Scratch::default());
            prop_assert_eq!(n.number.to_string(), raw);
        }
    }
}
