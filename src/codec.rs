//! Values as little-endian bytes, and back: what saved state is written in.
//!
//! [`Take`] reads what may be damaged or of another version: it never panics, and nothing is allocated by a number that
//! the bytes themselves do not bear out.

/// Appends values to bytes.
#[derive(Debug)]
pub(crate) struct Put<'a>(pub(crate) &'a mut Vec<u8>);

impl Put<'_> {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A count of what follows, for [`Take::len`].
    pub(crate) fn len(&mut self, n: usize) {
        debug_assert!(u32::try_from(n).is_ok());
        self.u32(n as u32);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn option(&mut self, value: Option<i64>) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.i64(value);
        }
    }
}

/// What can be written.
pub(crate) trait Written {
    fn put(&self, out: &mut Put<'_>);
}

impl Written for () {
    fn put(&self, _out: &mut Put<'_>) {}
}

impl Written for u64 {
    fn put(&self, out: &mut Put<'_>) {
        out.u64(*self);
    }
}

impl Written for [u64; 2] {
    fn put(&self, out: &mut Put<'_>) {
        self.iter().for_each(|word| out.u64(*word));
    }
}

impl Written for (u32, u64) {
    fn put(&self, out: &mut Put<'_>) {
        out.u32(self.0);
        out.u64(self.1);
    }
}

/// The bytes do not say what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// An error unless it holds.
pub(crate) fn require(holds: bool) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed) }
}

/// Reads what [`Put`] wrote.
#[derive(Clone, Debug)]
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Take<'a> {
        Take(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (value, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*value)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// A count of items that take `item_bytes` each at the least, and so are there.
    pub(crate) fn len(&mut self, item_bytes: usize) -> Result<usize, Malformed> {
        let n = self.u32()? as usize;
        require(n <= self.0.len() / item_bytes.max(1))?;
        Ok(n)
    }

    /// The next `n` bytes.
    pub(crate) fn exact(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = self.len(1)?;
        self.exact(n)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn option(&mut self) -> Result<Option<i64>, Malformed> {
        Ok(if self.bool()? { Some(self.i64()?) } else { None })
    }

    pub(crate) fn u32s(&mut self) -> Result<Vec<u32>, Malformed> {
        let n = self.len(4)?;
        (0..n).map(|_| self.u32()).collect()
    }

    /// Nothing is left over.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        require(self.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_and_no_cut_of_it_is() {
        let mut bytes = Vec::new();
        let mut put = Put(&mut bytes);
        put.u8(7);
        put.u16(300);
        put.u32(70_000);
        put.u64(1 << 40);
        put.i64(-5);
        put.bytes(b"text");
        put.option(Some(3));
        put.option(None);
        let take = |bytes: &[u8]| -> Result<(), Malformed> {
            let mut take = Take::new(bytes);
            require(take.u8()? == 7 && take.u16()? == 300 && take.u32()? == 70_000)?;
            require(take.u64()? == 1 << 40 && take.i64()? == -5 && take.text()? == "text")?;
            require(take.option()? == Some(3) && take.option()?.is_none())?;
            take.end()
        };
        assert_eq!(take(&bytes), Ok(()));
        for n in 0..bytes.len() {
            assert_eq!(take(&bytes[..n]), Err(Malformed), "cut after {n}");
        }
    }

    #[test]
    fn a_count_that_the_bytes_do_not_bear_out_is_refused() {
        let bytes = [255, 255, 255, 255, 1, 2, 3, 4];
        assert_eq!(Take::new(&bytes).len(1), Err(Malformed));
        assert_eq!(Take::new(&bytes).u32s(), Err(Malformed));
    }
}
