//! Where a file stands: a folder for each customer, day and hour, in the way that hive partitions are written.
//!
//! `customer_id=acme/date=2026-03-02/hour=10/1-5000.parquet`: DuckDB, pandas and others take the folders for columns, and
//! guess their types. So no folder has the name of a column: customer `007` stays what it is in `customer`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::clock::{Timestamp, civil_from_days};

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// Start of the hour, UTC.
pub(crate) fn hour_of(time: Timestamp) -> i64 {
    time.0.clamp(Timestamp::MIN.0, Timestamp::MAX.0).div_euclid(HOUR_MS)
}

/// The folder of one hour of a customer.
pub(crate) fn folder(customer: &str, hour: i64) -> String {
    let (year, month, day) = civil_from_days(hour.div_euclid(24));
    format!("customer_id={}/date={year:04}-{month:02}-{day:02}/hour={:02}", encode(customer), hour.rem_euclid(24))
}

/// A file of that folder. `generation` counts how often it was written anew: with pseudonyms, without a number.
pub(crate) fn file(folder: &str, first: u64, last: u64, generation: u32) -> String {
    match generation {
        0 => format!("{folder}/{first}-{last}.parquet"),
        n => format!("{folder}/{first}-{last}.{n}.parquet"),
    }
}

/// First and last position, by the name of a file.
pub(crate) fn positions(path: &str) -> Option<(u64, u64)> {
    let stem = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let stem = stem.split_once('.').map_or(stem, |(stem, _)| stem);
    let (first, last) = stem.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Letters, digits, `_`, `-` and `.` as they are, every other byte as `%XX`; and so the dot that a name begins with,
/// since such folders are hidden. A name that is too long then is cut, and told apart by its hash: the column
/// `customer` has it whole.
fn encode(name: &str) -> String {
    let mut out = String::new();
    for (i, b) in name.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(b)),
            b'.' if i > 0 => out.push('.'),
            _ => write!(out, "%{b:02X}").unwrap_or_default(),
        }
    }
    let room = NAME_BYTES_MAX - "customer_id=".len();
    if out.len() > room {
        let hash: String = Sha256::digest(name).iter().take(8).map(|b| format!("{b:02x}")).collect();
        out.truncate(room - hash.len() - 1);
        out = format!("{out}~{hash}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_by_customer_and_hour_in_utc() {
        assert_eq!(folder("acme", hour_of(Timestamp(1_767_225_600_000))), "customer_id=acme/date=2026-01-01/hour=00");
        assert_eq!(folder("a/b c=ü", hour_of(Timestamp(-1))), "customer_id=a%2Fb%20c%3D%C3%BC/date=1969-12-31/hour=23");
        assert_eq!(encode("../x"), "%2E.%2Fx");
        assert_eq!(encode("."), "%2E");
    }

    #[test]
    fn long_names_stay_short_enough_and_apart() {
        let (a, b) = (encode(&format!("{}a", "ü".repeat(120))), encode(&format!("{}b", "ü".repeat(120))));
        assert!(a.len() + "customer_id=".len() <= NAME_BYTES_MAX && a != b);
    }

    #[test]
    fn the_name_of_a_file_tells_its_positions() {
        let path = file("customer_id=a.1-2/date=2026-01-01/hour=00", 12, 345, 0);
        assert_eq!(positions(&path), Some((12, 345)));
        assert_eq!(positions(&file("x", 12, 345, 3)), Some((12, 345)));
        assert_eq!(positions("x/notes.txt"), None);
    }
}
