//! From what a gateway writes to what it means: dial plans.

use std::ops::Range;

use serde::Deserialize;

use super::country::Country;
use super::number::Number;
use super::numbering::Numbering;

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
    pub short_forms: std::collections::BTreeMap<String, String>,
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
#[derive(Clone, Debug, Default)]
pub struct DialPlan {
    country: Option<Country>,
}

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
    /// Of what is no E.164 number.
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

impl DialPlan {
    /// Or every mistake in the settings: `dial_plan: unknown country `SWE``.
    pub fn new(settings: &DialPlanSettings, _numbering: &Numbering) -> Result<DialPlan, Vec<String>> {
        let country = settings.country.as_ref().and_then(|c| Country::parse(c.as_bytes()));
        Ok(DialPlan { country })
    }

    /// The country whose emergency numbers and prefixes hold.
    pub fn country(&self) -> Option<Country> {
        self.country
    }

    /// What `raw` means. Total: there is no input it does not take.
    pub fn normalise(&self, raw: &[u8], _scratch: &mut Scratch) -> Normalised {
        let plain = raw.strip_prefix(b"+").and_then(Number::e164);
        let (number, wording) = match plain {
            Some(number) => (number, Wording::Absent),
            None if raw.is_empty() => (Number::ABSENT, Wording::Absent),
            None if raw.len() <= 6 => (Number::short(raw).unwrap_or(Number::INVALID), Wording::Raw(0..raw.len())),
            None => (Number::national(raw).unwrap_or(Number::INVALID), Wording::Raw(0..raw.len())),
        };
        let emergency = raw == b"112" || raw == b"911" || raw == b"short:112";
        Normalised { number, wording, emergency, anonymous: false }
    }
}
