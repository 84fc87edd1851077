//! Keys: the customer and the `per` values of an event, exactly, in eight bytes where they fit.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use crate::codec::{Malformed, Put, Take, require};
use crate::event::Number;
use crate::policy::predicate::{Value, write_value};
use crate::window::Slab;

/// A key of a table or of a hit.
///
/// Inline: a customer below 255 and one number, or one text of up to six bytes. Everything else stands in bytes: of the
/// batch while it is carried by a hit ([`KeyBytes`]), of the partition once it is kept. Two keys are the same iff all
/// their bytes are; a hash never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

/// Bytes of the keys of one batch that do not fit inline, and of the values that rules of several measures take.
#[derive(Debug, Default)]
pub(crate) struct KeyBytes(pub(crate) Vec<u8>);

/// A key beyond its partition, to be read by people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptKey {
    key: Key,
    long: Box<[u8]>,
    customer: u32,
}

impl KeptKey {
    /// `other`: whose key it is, where it is [`Key::OTHER`].
    pub(crate) fn new(key: Key, kept: &Slab<Box<[u8]>>, other: u32) -> KeptKey {
        let long: Box<[u8]> = if key.is_long() { key.kept_bytes(kept).into() } else { Box::default() };
        let customer = match long.first_chunk::<4>() {
            Some(id) => u32::from_le_bytes(*id),
            None if key == Key::OTHER => other,
            None => (key.0 >> CUSTOMER_SHIFT & 0xff) as u32,
        };
        KeptKey { key, long, customer }
    }

    pub(crate) fn customer(&self) -> u32 {
        self.customer
    }

    /// Its parts as violations show them, as many as there are; [`prepare`](super::prepare) wrote them.
    pub(crate) fn parts(&self) -> Vec<KeyValue> {
        if self.key == Key::OTHER {
            return Vec::new();
        }
        if self.key.is_long() {
            let mut rest = self.long.get(4..).unwrap_or_default();
            return std::iter::from_fn(|| KeyValue::take(&mut rest)).collect();
        }
        let payload = self.key.0 & PAYLOAD;
        if self.key.0 & TEXT == 0 {
            return vec![KeyValue::Digits(payload >> 4, payload & 1 == 1)];
        }
        let n = (payload >> 48) as usize & 7;
        let bytes = payload.to_be_bytes();
        vec![KeyValue::Text(bytes.get(8 - n.min(TEXT_INLINE_MAX)..).unwrap_or_default().into())]
    }
}

/// One part of a kept key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyValue {
    Missing,
    /// Of an E.164 number, and whether it is cut to a prefix.
    Digits(u64, bool),
    /// With its text, where the bits do not say it all.
    Number(Number, Box<[u8]>),
    Text(Box<[u8]>),
}

impl KeyValue {
    fn take(from: &mut &[u8]) -> Option<KeyValue> {
        fn word(from: &mut &[u8]) -> Option<u64> {
            let (word, rest) = from.split_first_chunk::<8>()?;
            *from = rest;
            Some(u64::from_le_bytes(*word))
        }
        fn text(from: &mut &[u8]) -> Option<Box<[u8]>> {
            let (n, rest) = from.split_first_chunk::<4>()?;
            let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*n) as usize)?;
            *from = rest;
            Some(text.into())
        }
        let (tag, rest) = from.split_first()?;
        *from = rest;
        match tag {
            0 => Some(KeyValue::Missing),
            1 | 2 => Some(KeyValue::Digits(word(from)?, *tag == 2)),
            3 => {
                let number = Number::from_bits(word(from)?);
                let text = if number.is_text() { text(from)? } else { Box::default() };
                Some(KeyValue::Number(number, text))
            }
            _ => text(from).map(KeyValue::Text),
        }
    }

    pub(crate) fn value(&self) -> Option<Value<'_>> {
        match self {
            KeyValue::Missing => None,
            KeyValue::Digits(digits, is_cut) => {
                let number = Number::e164_from_value(*digits, digits.checked_ilog10()? + 1);
                Some(if *is_cut { Value::Prefix(number) } else { Value::Number(number, &[]) })
            }
            KeyValue::Number(number, text) => Some(Value::Number(*number, text)),
            KeyValue::Text(text) => Some(Value::Text(text)),
        }
    }

    /// As a violation shows it.
    pub(crate) fn shown(&self) -> String {
        let Some(value) = self.value() else { return "(none)".to_owned() };
        let mut shown = Vec::new();
        write_value(&value, &mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

impl KeyBytes {
    /// What stands from there on.
    pub(crate) fn values(&self, at: u64) -> &[u8] {
        usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default()
    }
}

const LONG: u64 = 1 << 63;
const TEXT: u64 = 1 << 62;
const CUSTOMER_SHIFT: u32 = 54;
const CUSTOMERS: u32 = 255;
const PAYLOAD: u64 = (1 << CUSTOMER_SHIFT) - 1;
const TEXT_INLINE_MAX: usize = 6;

impl Key {
    /// The key of what is counted for want of room. Customer 255 is never inline, so no real key is equal.
    pub(crate) const OTHER: Key = Key((CUSTOMERS as u64) << CUSTOMER_SHIFT);

    /// A slot that holds no key.
    pub(crate) const VACANT: Key = Key((CUSTOMERS as u64) << CUSTOMER_SHIFT | 1);

    /// Of the digits of an E.164 number, whole or cut to a prefix. The first digit is never 0, so the count of digits
    /// is told by their value.
    pub(crate) fn number(customer: u32, digits: u64, is_cut: bool) -> Option<Key> {
        (customer < CUSTOMERS).then(|| Key(u64::from(customer) << CUSTOMER_SHIFT | digits << 4 | u64::from(is_cut)))
    }

    pub(crate) fn text(customer: u32, text: &[u8]) -> Option<Key> {
        if customer >= CUSTOMERS || text.len() > TEXT_INLINE_MAX {
            return None;
        }
        let mut bits = 0u64;
        for b in text {
            bits = bits << 8 | u64::from(*b);
        }
        Some(Key(TEXT | u64::from(customer) << CUSTOMER_SHIFT | (text.len() as u64) << 48 | bits))
    }

    /// `bytes[at..at + len]` of the batch.
    pub(crate) fn long(at: usize, len: usize) -> Key {
        Key(LONG | (at as u64 & 0xffff_ffff) << 24 | len as u64 & 0xff_ffff)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The bytes of a hit's key that is not inline, to keep beyond its batch.
    pub(crate) fn long_bytes(self, bytes: &KeyBytes) -> Box<[u8]> {
        if self.is_long() { self.batch_bytes(bytes).into() } else { Box::default() }
    }

    /// The other way: a key kept with [`Key::long_bytes`], for a hit of another batch.
    pub(crate) fn restore(self, long: &[u8], bytes: &mut KeyBytes) -> Key {
        if !self.is_long() {
            return self;
        }
        let at = bytes.0.len();
        bytes.0.extend_from_slice(long);
        Key::long(at, long.len())
    }

    /// Whose key it is.
    pub(crate) fn customer(self, bytes: &KeyBytes) -> u32 {
        if !self.is_long() {
            return (self.0 >> CUSTOMER_SHIFT & 0xff) as u32;
        }
        self.batch_bytes(bytes).first_chunk::<4>().map_or(0, |id| u32::from_le_bytes(*id))
    }

    fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    /// Writes a key that a partition keeps.
    pub(crate) fn put(self, kept: &Slab<Box<[u8]>>, out: &mut Put<'_>) {
        self.put_with(if self.is_long() { self.kept_bytes(kept) } else { &[] }, out);
    }

    /// Writes a key whose bytes, where it is not inline, are `long`.
    pub(crate) fn put_with(self, long: &[u8], out: &mut Put<'_>) {
        if self.is_long() {
            out.u64(LONG);
            out.bytes(long);
        } else {
            out.u64(self.0);
        }
    }

    /// Reads what [`Key::put`] wrote, to be kept by a partition, and the bytes that takes.
    pub(crate) fn take(from: &mut Take<'_>, kept: &mut Slab<Box<[u8]>>) -> Result<(Key, usize), Malformed> {
        let (key, long) = Key::take_with(from)?;
        if !key.is_long() {
            return Ok((key, 0));
        }
        let n = long.len() + size_of::<Box<[u8]>>();
        Ok((Key(LONG | u64::from(kept.add(long.into()))), n))
    }

    /// Reads a key and its bytes, where it is not inline. The key itself then only says so.
    pub(crate) fn take_with<'a>(from: &mut Take<'a>) -> Result<(Key, &'a [u8]), Malformed> {
        let key = Key(from.u64()?);
        require(key != Key::VACANT && (!key.is_long() || key.0 == LONG))?;
        Ok((key, if key.is_long() { from.bytes()? } else { &[] }))
    }

    fn batch_bytes(self, bytes: &KeyBytes) -> &[u8] {
        let (at, len) = ((self.0 & !LONG) >> 24, self.0 & 0xff_ffff);
        bytes.0.get(at as usize..(at + len) as usize).unwrap_or(&[])
    }

    fn kept_bytes(self, kept: &Slab<Box<[u8]>>) -> &[u8] {
        kept.get((self.0 & 0xffff_ffff) as u32)
    }

    /// Is this key of a hit the `other` key of a partition?
    pub(crate) fn is_same(self, bytes: &KeyBytes, other: Key, kept: &Slab<Box<[u8]>>) -> bool {
        if self.is_long() {
            other.is_long() && self.batch_bytes(bytes) == other.kept_bytes(kept)
        } else {
            self == other
        }
    }

    /// The key as a partition keeps it, and the bytes that took.
    pub(crate) fn keep(self, bytes: &KeyBytes, kept: &mut Slab<Box<[u8]>>) -> (Key, usize) {
        if !self.is_long() {
            return (self, 0);
        }
        let own: Box<[u8]> = self.batch_bytes(bytes).into();
        let n = own.len() + size_of::<Box<[u8]>>();
        (Key(LONG | u64::from(kept.add(own))), n)
    }

    /// Frees a kept key; the bytes that gives back.
    pub(crate) fn discard(self, kept: &mut Slab<Box<[u8]>>) -> usize {
        if !self.is_long() {
            return 0;
        }
        kept.remove((self.0 & 0xffff_ffff) as u32).len() + size_of::<Box<[u8]>>()
    }
}

const _: () = assert!(PAYLOAD >> 4 >= 999_999_999_999_999);

/// Spreads keys over partitions and index places. Seeded, as keys are chosen by callers; stable, as the partition of
/// a key is part of the result when a rule is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher {
    seed: u64,
    secrets: RapidSecrets,
}

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> KeyHasher {
        KeyHasher { seed: seed ^ 0x9e37_79b9_7f4a_7c15, secrets: RapidSecrets::seed(seed) }
    }

    pub(crate) fn hash(self, key: Key, bytes: &KeyBytes) -> u64 {
        if key.is_long() { self.hash_bytes(key.batch_bytes(bytes)) } else { self.hash_bits(key.0) }
    }

    pub(crate) fn hash_kept(self, key: Key, kept: &Slab<Box<[u8]>>) -> u64 {
        if key.is_long() { self.hash_bytes(key.kept_bytes(kept)) } else { self.hash_bits(key.0) }
    }

    /// Folded multiplication, twice: one round leaves the top bits of small keys too regular.
    fn hash_bits(self, bits: u64) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        fold(fold(bits ^ self.seed, 0xa076_1d64_78bd_642f) ^ self.seed.rotate_left(32), 0xe703_7ed1_a0b4_28db)
    }

    /// 128 bits, where a hash stands for what it was made of: two of a billion differ but for one chance in 10^20.
    pub(crate) fn hash_wide(self, bytes: &[u8]) -> u128 {
        let other = RapidSecrets { seed: self.secrets.seed.rotate_left(23) ^ 0x5851_f42d_4c95_7f2d, ..self.secrets };
        u128::from(rapidhash_v3_seeded(bytes, &self.secrets)) << 64 | u128::from(rapidhash_v3_seeded(bytes, &other))
    }

    /// Of texts: values of `distinct`, call ids, long keys.
    pub(crate) fn hash_bytes(self, bytes: &[u8]) -> u64 {
        rapidhash_v3_seeded(bytes, &self.secrets)
    }
}
