//! Writing what thresholds have put on lists while they go on doing so, and reading it again.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::{Blocks, Holders, Made, Origin};
use crate::clock::Timestamp;
use crate::codec::{Malformed, Put, Take, Written, require};
use crate::engine::numbers::NO_NUMBER;
use crate::engine::saved::frames::{Frames, Kind};
use crate::engine::table::EpisodeId;
use crate::event::Number;
use crate::policy::dynamic::Listed;

/// Where rules and lists that saved state knows by other numbers are now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) rules: &'a [Option<u16>],
    pub(crate) lists: &'a [Option<u16>],
}

/// The form of a listed value. The numbers are part of the format.
const NUMBER: u8 = 0;
const PREFIX: u8 = 1;
const V4: u8 = 2;
const V6: u8 = 3;
const TEXT: u8 = 4;

impl Written for (usize, Listed) {
    fn put(&self, out: &mut Put<'_>) {
        out.u32(self.0 as u32);
        match &self.1 {
            Listed::Number(number) => {
                out.u8(NUMBER);
                out.u64(number.bits());
            }
            Listed::Prefix(digits) => {
                out.u8(PREFIX);
                out.u64(digits.bits());
            }
            Listed::Address(IpAddr::V4(ip)) => {
                out.u8(V4);
                out.u32(ip.to_bits());
            }
            Listed::Address(IpAddr::V6(ip)) => {
                out.u8(V6);
                out.0.extend_from_slice(&ip.octets());
            }
            Listed::Text(text) => {
                out.u8(TEXT);
                out.bytes(text);
            }
        }
    }
}

/// A list that is there no more is `None`.
fn take_listed(from: &mut Take<'_>, places: Places<'_>) -> Result<(Option<usize>, Listed), Malformed> {
    let list = places.lists.get(from.u32()? as usize).ok_or(Malformed)?.map(usize::from);
    let value = match from.u8()? {
        NUMBER => Listed::Number(Number::from_bits(from.u64()?)),
        PREFIX => Listed::Prefix(Number::from_bits(from.u64()?)),
        V4 => Listed::Address(IpAddr::V4(from.u32()?.into())),
        V6 => Listed::Address(IpAddr::V6(<[u8; 16]>::try_from(from.exact(16)?).map_err(|_| Malformed)?.into())),
        TEXT => Listed::Text(from.bytes()?.into()),
        _ => return Err(Malformed),
    };
    Ok((list, value))
}

impl Written for Made {
    fn put(&self, out: &mut Put<'_>) {
        out.u16(self.origin.rule);
        out.u32(self.origin.episode.partition);
        out.u64(self.origin.episode.number);
        out.u32(self.origin.slot);
        out.i64(self.bound);
        out.option(self.closes_at);
        out.len(self.entries.len());
        for (list, value, ttl_ms) in &self.entries {
            (*list, value.clone()).put(out);
            out.i64(*ttl_ms);
        }
    }
}

impl Written for Holders {
    fn put(&self, out: &mut Put<'_>) {
        out.i64(self.until);
        out.option(self.listed);
        out.len(self.open.len());
        self.open.iter().for_each(|number| out.u64(*number));
    }
}

impl Blocks {
    /// From here on, all is written as it is now.
    pub(crate) fn mark(&mut self) {
        let mut head = Vec::new();
        let mut put = Put(&mut head);
        put.u64(self.next);
        let mut full: Vec<(usize, i64)> = self.full_until.iter().map(|(list, until)| (*list, *until)).collect();
        full.sort_unstable();
        put.len(full.len());
        for (list, until) in full {
            put.u32(list as u32);
            put.i64(until);
        }
        self.saving = Some(head);
        self.made.mark();
        self.holders.mark();
    }

    /// Ends a save, complete or not.
    pub(crate) fn forget_save(&mut self) {
        self.saving = None;
        self.made.forget_save();
        self.holders.forget_save();
    }

    /// Writes a piece; true when there is no more.
    pub(crate) fn save_some(&mut self, out: &mut Frames<'_>) -> bool {
        if let Some(head) = self.saving.take() {
            out.frame(Kind::Lists, |put, _| put.0.extend_from_slice(&head));
        }
        self.made.save_some(Kind::Made, &[], out) && self.holders.save_some(Kind::Holders, &[], out)
    }

    pub(crate) fn restore_lists(&mut self, from: &mut Take<'_>, places: Places<'_>) -> Result<(), Malformed> {
        require(self.next == 0)?;
        self.next = from.u64()?;
        require(self.next < 1 << 63)?;
        for _ in 0..from.len(12)? {
            let (list, until) = (places.lists.get(from.u32()? as usize).ok_or(Malformed)?, from.i64()?);
            if let Some(list) = list {
                self.full_until.insert(usize::from(*list), until);
            }
        }
        from.end()
    }

    pub(crate) fn restore_made(&mut self, from: &mut Take<'_>, places: Places<'_>) -> Result<(), Malformed> {
        while !from.is_empty() {
            let number = from.u64()?;
            let rule = *places.rules.get(usize::from(from.u16()?)).ok_or(Malformed)?;
            let episode = EpisodeId { partition: from.u32()?, number: from.u64()? };
            let slot = from.u32()?;
            let (bound, closes_at) = (from.i64()?, from.option()?);
            let mut entries = Vec::new();
            for _ in 0..from.len(17)? {
                let ((list, value), ttl_ms) = (take_listed(from, places)?, from.i64()?);
                entries.extend(list.map(|list| (list, value, ttl_ms)));
            }
            // Of a rule that is no longer the same there is no episode: its entries end as if it had closed as soon as
            // it could, see [`Blocks::finish_restore`].
            let origin = Origin { rule: rule.unwrap_or(NO_NUMBER), episode, slot };
            require(number <= self.next && !self.made.contains_key(&number))?;
            self.made.add(number, Made { origin, entries, bound, closes_at });
        }
        Ok(())
    }

    pub(crate) fn restore_holders(&mut self, from: &mut Take<'_>, places: Places<'_>) -> Result<(), Malformed> {
        while !from.is_empty() {
            let (list, value) = take_listed(from, places)?;
            let (until, listed) = (from.i64()?, from.option()?);
            let n = from.len(8)?;
            let open = (0..n).map(|_| from.u64()).collect::<Result<Vec<u64>, Malformed>>()?;
            let Some(list) = list else { continue };
            require(!self.holders.contains_key(&(list, value.clone())))?;
            if let Some(until) = listed {
                self.lists.set(list, &value, Timestamp(until));
            }
            self.holders.add((list, value), Holders { open, until, listed });
        }
        Ok(())
    }

    /// Everything is read: what follows from it is made. `is_open` knows the episodes there are.
    pub(crate) fn finish_restore(&mut self, is_open: impl Fn(&Origin) -> bool) {
        let mut gone = Vec::new();
        for (number, made) in self.made.iter() {
            if !is_open(&made.origin) {
                gone.push(*number);
                continue;
            }
            self.numbers.insert(made.origin, *number);
            if made.closes_at.is_none() {
                self.ends.push(Reverse((made.bound, *number)));
            }
        }
        for number in gone {
            let Some(made) = self.made.remove(&number) else { continue };
            let closed_at = if made.bound < i64::MAX { made.bound } else { i64::MIN };
            self.close_entries(number, made, closed_at);
        }
    }
}
