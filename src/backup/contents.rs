//! `backup.json`: what a backup holds, each file with its length and sum. It is written last, so that without it there is
//! no backup.

use std::io::{self, Read};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Newest format this build reads, and the one it writes.
const FORMAT: u32 = 1;
/// Its name in a backup.
pub(super) const FILE: &str = "backup.json";
/// A line of some 150 bytes a file: an archive of ten years of a thousand customers.
pub(super) const BYTES_MAX: u64 = 1 << 30;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub format: u32,
    /// Of the program that took it.
    pub ringfence: String,
    pub taken_at: String,
    /// The snapshot that a restart begins from, by the last record it contains; the journal goes on behind it.
    pub snapshot: Option<u64>,
    /// The last record, and the position of the event that comes next.
    pub record: u64,
    pub next_position: u64,
    /// Sorted by path.
    pub files: Vec<Kept>,
    /// Over all the above.
    pub sha256: String,
}

/// One file, by its path below the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

impl Contents {
    pub(super) fn new(taken_at: String, snapshot: Option<u64>, record: u64, next_position: u64) -> Contents {
        let ringfence = env!("CARGO_PKG_VERSION").to_owned();
        let (files, sha256) = (Vec::new(), String::new());
        Contents { format: FORMAT, ringfence, taken_at, snapshot, record, next_position, files, sha256 }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// As it stands in the file, with its own sum.
    pub(super) fn encode(&mut self) -> anyhow::Result<Vec<u8>> {
        self.sha256 = self.sum()?;
        Ok(serde_json::to_vec_pretty(self)?)
    }

    /// Refuses what is damaged, newer than this build, or leads out of the folder it is restored to.
    pub(super) fn decode(bytes: &[u8]) -> anyhow::Result<Contents> {
        let form: Form = serde_json::from_slice(bytes).with_context(|| format!("{FILE}: damaged"))?;
        let newer = form.format > FORMAT;
        anyhow::ensure!(!newer, "{FILE}: format {} is newer than this build reads ({FORMAT})", form.format);
        let contents: Contents = serde_json::from_slice(bytes).with_context(|| format!("{FILE}: damaged"))?;
        anyhow::ensure!(contents.sum()? == contents.sha256, "{FILE}: damaged: its sum is wrong");
        let is_sorted = contents.files.is_sorted_by(|a, b| a.path < b.path);
        anyhow::ensure!(is_sorted, "{FILE}: damaged: its files are not in order");
        for file in &contents.files {
            anyhow::ensure!(is_plain(&file.path), "{FILE}: names `{}`, which is no path below a backup", file.path);
        }
        Ok(contents)
    }

    fn sum(&self) -> anyhow::Result<String> {
        let bare = Contents { sha256: String::new(), ..self.clone() };
        Ok(hex(&Sha256::digest(serde_json::to_vec(&bare)?)))
    }
}

/// What every format has.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// Does it stay below the folder it is joined to?
fn is_plain(path: &str) -> bool {
    !path.contains('\\') && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Length and sum of what is read.
pub(super) fn sum_of(mut from: impl Read) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut from, &mut hasher)?;
    Ok((bytes, hex(&hasher.finalize())))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let mut contents = Contents::new("2026-03-02T10:00:00.000Z".into(), Some(7), 9, 12);
        contents.files.push(Kept { path: "data/names".into(), bytes: 3, sha256: "00ff".into() });
        contents
    }

    #[test]
    fn every_cut_and_flipped_bit_is_found_or_changes_nothing() {
        let bytes = contents().encode().expect("encodes");
        let whole = Contents::decode(&bytes).expect("whole");
        assert_eq!(whole.files, contents().files);
        assert!((0..bytes.len()).all(|n| Contents::decode(&bytes[..n]).is_err()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Contents::decode(&flipped) {
                assert_eq!(read, whole, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_format_and_paths_that_lead_elsewhere_are_refused() {
        let newer = Contents { format: 2, ..contents() }.encode().expect("encodes");
        let said = Contents::decode(&newer).expect_err("newer").to_string();
        assert_eq!(said, "backup.json: format 2 is newer than this build reads (1)");
        for path in ["/etc/passwd", "../x", "a/../../x", "a//b", "", ".", "a\\..\\b"] {
            let mut contents = contents();
            contents.files[0].path = path.to_owned();
            let bytes = contents.encode().expect("encodes");
            assert!(Contents::decode(&bytes).is_err(), "{path}");
        }
    }
}
