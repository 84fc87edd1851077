//! Literals against a type: from `"6s"` and "a duration" to 6000.

use super::address_set::AddressRange;
use super::ast::Literal;
use super::field::Type;
use super::operand::WEEKDAYS;
use super::problem::{Problem, suggest};
use crate::calendar;
use crate::event::{Country, NumberPattern};

/// Why a literal is not what its place wants: the problem, without its place.
pub(super) type Fault = Box<Problem>;

fn fault(code: &'static str, message: impl Into<String>) -> Fault {
    Box::new(Problem::error(code, message))
}

fn fault_help(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Fault {
    Box::new(Problem::error(code, message).help(help))
}

/// As it was written, for messages.
pub(super) fn written(literal: &Literal) -> String {
    match literal {
        Literal::Number(text) | Literal::Figure(text) | Literal::Word(text) => text.clone(),
        Literal::Short(symbols) => format!("short:{symbols}"),
        Literal::Text(text) => format!("\"{text}\""),
    }
}

fn mismatch(literal: &Literal, wanted: &str, help: &str) -> Fault {
    let message = format!("`{}` is not {wanted}", written(literal));
    if help.is_empty() { fault("E045", message) } else { fault_help("E045", message, help) }
}

/// A number or pattern: `+46..`, `+4670*`, `short:112`, `"+46 8 400 00 00"`.
pub(super) fn number(literal: &Literal) -> Result<NumberPattern, Fault> {
    let text = match literal {
        Literal::Number(text) | Literal::Text(text) => text.clone(),
        Literal::Short(symbols) => format!("short:{symbols}"),
        Literal::Figure(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(Box::new(integer_for_number(digits)));
        }
        _ => {
            let help = "write +46701234567, +4670*, short:112 or \"+46 8 400 00 00\"";
            return Err(mismatch(literal, Type::Number.describe(), help));
        }
    };
    NumberPattern::parse(text.as_bytes()).map_err(|why| {
        let advice = match literal {
            Literal::Text(_) if !text.starts_with('+') => {
                "to compare with what the gateway wrote, use the field's `.raw`"
            }
            _ => "",
        };
        let problem = Problem::error("E052", format!("`{text}`: {why}"));
        Box::new(if advice.is_empty() { problem } else { problem.help(advice) })
    })
}

/// The E014 of an expression.
fn integer_for_number(digits: &str) -> Problem {
    let advice = match digits.as_bytes() {
        [b'0', b'0', ..] => format!("write it with `+`: +{}", digits.trim_start_matches('0')),
        [b'0', ..] => {
            "write it with its country code, like +46701234567: a national form could mean any country".to_owned()
        }
        _ if digits.len() <= SHORT_DIGITS_MAX => format!("write short:{digits} for a short code or an extension"),
        _ => format!("write +{digits}"),
    };
    Problem::error("E014", "phone number written as an integer")
        .label(format!("without its `+` this is only the integer {digits}"))
        .help(advice)
}

/// Up to here digits without a `+` are more likely a short code than a subscriber.
const SHORT_DIGITS_MAX: usize = 6;

/// What `startswith` takes of a number: its first digits.
pub(super) fn number_start(literal: &Literal) -> Result<NumberPattern, Fault> {
    match literal {
        Literal::Number(text) if !text.ends_with('*') => number(&Literal::Number(format!("{text}*"))),
        Literal::Text(text) if !text.ends_with('*') => {
            let plus = if text.starts_with('+') { "" } else { "+" };
            number(&Literal::Text(format!("{plus}{text}*")))
        }
        Literal::Short(_) => Err(fault_help(
            "E045",
            "a short code has no prefixes",
            "list the codes: `in {short:100, short:101}`, or look into the field's `.raw`",
        )),
        _ => number(literal),
    }
}

pub(super) fn text(literal: &Literal) -> Result<&str, Fault> {
    match literal {
        Literal::Text(text) => Ok(text),
        _ => Err(mismatch(literal, "a text", &format!("text stands in quotes: \"{}\"", written(literal)))),
    }
}

pub(super) fn country(literal: &Literal, field: &str) -> Result<Country, Fault> {
    let word = match literal {
        Literal::Word(word) | Literal::Text(word) => word,
        _ => return Err(mismatch(literal, Type::Country.describe(), "write the two letters of ISO 3166: SE")),
    };
    match Country::parse(word.as_bytes()) {
        Some(country) => Ok(country),
        None => Err(fault("E023", format!("`{word}` is not a value of `{field}`{}", near_country(word)))),
    }
}

/// `; did you mean NO (Norway)?`
pub(crate) fn near_country(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    // Codes that people write and ISO 3166 has otherwise.
    let code = match upper.as_str() {
        "UK" => "GB",
        "EL" => "GR",
        code => code,
    };
    let by_code = Country::parse(code.as_bytes());
    let named = |is: &dyn Fn(&str) -> bool| Country::ALL.iter().find(|(_, name)| is(name)).map(|(country, _)| *country);
    let by_name = || named(&|name| name.eq_ignore_ascii_case(word));
    let by_start = || upper.get(..2).and_then(|two| Country::parse(two.as_bytes()));
    let by_spelling = || {
        let meant = suggest(word, Country::ALL.iter().map(|(_, name)| *name))?;
        named(&|name| name == meant)
    };
    let short = word.len() <= 3;
    let near = by_code.or_else(by_name).or_else(|| if short { by_start() } else { by_spelling() });
    near.map_or_else(String::new, |c| format!("; did you mean {} ({})?", c.as_str(), c.name()))
}

/// The place of a word among `words`.
pub(super) fn word(literal: &Literal, field: &str, words: &[&str]) -> Result<u8, Fault> {
    let word = match literal {
        Literal::Word(word) => word,
        Literal::Text(word) if words.contains(&word.as_str()) => {
            let message = format!("the values of `{field}` are words, not texts");
            return Err(fault_help("E045", message, format!("write {word}, without quotes")));
        }
        _ => return Err(mismatch(literal, &format!("a value of `{field}`"), &one_of(words))),
    };
    if let Some(at) = words.iter().position(|w| w == word) {
        return Ok(at as u8);
    }
    let meant = suggest(word, words.iter().copied());
    let message = match meant {
        Some(meant) => format!("`{word}` is not a value of `{field}`; did you mean `{meant}`?"),
        None => format!("`{word}` is not a value of `{field}`"),
    };
    Err(match meant {
        Some(_) => fault("E023", message),
        None => fault_help("E023", message, one_of(words)),
    })
}

fn one_of(words: &[&str]) -> String {
    format!("it is one of {}", words.join(", "))
}

pub(super) fn address(literal: &Literal) -> Result<AddressRange, Fault> {
    match literal {
        Literal::Figure(text) | Literal::Text(text) => AddressRange::parse(text).map_err(|why| fault("E045", why)),
        _ => Err(mismatch(literal, Type::Ip.describe(), "write 192.0.2.1 or 10.0.0.0/8")),
    }
}

/// A literal of a type that is held as an integer.
pub(super) fn integer(literal: &Literal, ty: Type) -> Result<i64, Fault> {
    match (ty, literal) {
        (Type::Weekday, _) => weekday(literal),
        (Type::Time, Literal::Figure(text) | Literal::Text(text)) => {
            minute(text).ok_or_else(|| mismatch(literal, ty.describe(), "write it as 22:00"))
        }
        (Type::Date, Literal::Figure(text) | Literal::Text(text)) => {
            calendar::parse_date(text).map_err(|_| mismatch(literal, ty.describe(), "write it as 2026-12-24"))
        }
        (Type::Duration, Literal::Figure(text)) => duration(text).map_err(|why| Box::new(why.problem(text))),
        (Type::Money, Literal::Figure(text)) => decimal(text, 4)
            .ok_or_else(|| mismatch(literal, ty.describe(), "write it as 1.25; at most 4 decimals count")),
        (Type::Int, Literal::Figure(text)) => text.parse().map_err(|_| mismatch(literal, ty.describe(), "")),
        _ => Err(mismatch(literal, ty.describe(), "")),
    }
}

fn weekday(literal: &Literal) -> Result<i64, Fault> {
    if let Literal::Word(word) = literal
        && let Some(day) = WEEKDAYS.iter().position(|d| d == word)
    {
        return Ok(day as i64);
    }
    Err(mismatch(literal, Type::Weekday.describe(), "write Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
}

fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two =
        |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<i64>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// A decimal as an integer of `places` decimals; `None` where more of them are written.
pub(super) fn decimal(text: &str, places: u32) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > places as usize {
        return None;
    }
    let scale = 10i64.checked_pow(places - part.len() as u32)?;
    let part = part.parse::<i64>().ok()?.checked_mul(scale)?;
    whole.parse::<i64>().ok()?.checked_mul(10i64.checked_pow(places)?)?.checked_add(part)
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationFault {
    /// Only digits.
    NoUnit,
    Malformed,
    TooLong,
}

impl DurationFault {
    pub(super) fn problem(self, text: &str) -> Problem {
        match self {
            DurationFault::NoUnit => Problem::error("E046", format!("duration `{text}` without a unit"))
                .help(format!("write {text}s for seconds; units are ms, s, m, h and d")),
            DurationFault::Malformed => Problem::error("E045", format!("`{text}` is not a duration"))
                .help("write it like 90s, 1h30m or 250ms; units are ms, s, m, h and d"),
            DurationFault::TooLong => Problem::error("E045", format!("duration `{text}` is out of range")),
        }
    }
}

/// Milliseconds of `6s`, `1h30m`, `250ms`, `7d`.
pub fn duration(text: &str) -> Result<i64, DurationFault> {
    if text.is_empty() {
        return Err(DurationFault::Malformed);
    }
    let (mut rest, mut total) = (text, 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at_checked(digits).ok_or(DurationFault::Malformed)?;
        if count.is_empty() {
            return Err(DurationFault::Malformed);
        }
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at_checked(letters).ok_or(DurationFault::Malformed)?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if next.is_empty() => return Err(DurationFault::NoUnit),
            _ => return Err(DurationFault::Malformed),
        };
        let ms = count.parse::<i64>().ok().and_then(|n| n.checked_mul(unit_ms)).ok_or(DurationFault::TooLong)?;
        total = total.checked_add(ms).ok_or(DurationFault::TooLong)?;
        rest = next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_add_up() {
        assert_eq!(duration("1h30m"), Ok(5_400_000));
        assert_eq!(duration("250ms"), Ok(250));
        assert_eq!(duration("7d"), Ok(604_800_000));
        assert_eq!(duration("0s"), Ok(0));
        assert_eq!(duration("6"), Err(DurationFault::NoUnit));
        assert_eq!(duration("1m30"), Err(DurationFault::NoUnit));
        for wrong in ["", "s", "6 s", "6x", "-6s", "1.5s", "6S", "é"] {
            assert_eq!(duration(wrong), Err(DurationFault::Malformed), "{wrong}");
        }
        assert_eq!(duration("99999999999999999999d"), Err(DurationFault::TooLong));
        assert_eq!(duration("9999999999999999d"), Err(DurationFault::TooLong));
    }

    #[test]
    fn amounts_have_four_decimals_at_most() {
        assert_eq!(decimal("1.25", 4), Some(12_500));
        assert_eq!(decimal("0.0001", 4), Some(1));
        assert_eq!(decimal("12", 4), Some(120_000));
        for wrong in ["1.00001", "", ".5", "1.", "1.2.3", "1e3", "99999999999999999999"] {
            assert_eq!(decimal(wrong, 4), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_of_a_day() {
        assert_eq!(minute("23:59"), Some(1439));
        for wrong in ["24:00", "7:00", "12:60", "12:3", "1234", "+1:00"] {
            assert_eq!(minute(wrong), None, "{wrong}");
        }
    }
}
