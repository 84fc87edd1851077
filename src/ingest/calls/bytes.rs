//! Numbers as bytes, for what is kept of the call table outside of it. Reading is total: what is not there is `None`.

use super::Key;

/// In few bytes where it is small: seven bits each, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// How far a time is from another, whatever they are.
pub(super) fn put_distance(out: &mut Vec<u8>, from: i64, to: i64) {
    let distance = to.wrapping_sub(from);
    put_number(out, (distance << 1 ^ distance >> 63) as u64);
}

pub(super) fn distant(rest: &mut &[u8], from: i64) -> Option<i64> {
    let number = number(rest)?;
    Some(from.wrapping_add((number >> 1) as i64 ^ -((number & 1) as i64)))
}

/// A number of a smaller type.
pub(super) fn small<N: TryFrom<u64>>(rest: &mut &[u8]) -> Option<N> {
    N::try_from(number(rest)?).ok()
}

pub(super) fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, left) = rest.split_first()?;
    *rest = left;
    Some(*first)
}

pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*first)
}

pub(super) fn hash(rest: &mut &[u8]) -> Option<u32> {
    array(rest).map(u32::from_le_bytes)
}

pub(super) fn key(rest: &mut &[u8]) -> Option<Key> {
    array(rest).map(Key::from_le_bytes)
}

pub(super) fn split<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_distances_come_back() {
        let mut out = Vec::new();
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            put_number(&mut out, number);
        }
        let pairs = [(0, 0), (5, 3), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (-1, 1)];
        pairs.iter().for_each(|(from, to)| put_distance(&mut out, *from, *to));
        let mut rest = &out[..];
        for expected in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(number(&mut rest), Some(expected));
        }
        for (from, to) in pairs {
            assert_eq!(distant(&mut rest, from), Some(to));
        }
        assert_eq!(number(&mut rest), None);
        assert_eq!(number(&mut &[0xff; 20][..]), None);
        assert_eq!(small::<u16>(&mut &[0xff, 0xff, 0x7f][..]), None);
    }
}
