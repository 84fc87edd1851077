//! A segment's name and how it opens: whose journal it is of, and what the numbers in its records stand for.

use std::path::{Path, PathBuf};

use super::bytes::{Bytes, push};
use super::record::Context;
use crate::limits::RULES_MAX;
use crate::storage::Disk;

/// Which journal this is, and what must be as it was when it is read again. Made once for a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: [u8; 16],
    /// Seed of the hash that spreads keys over partitions.
    pub hash_seed: u64,
}

/// A segment of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of its first record; its name.
    pub first: u64,
    pub bytes: u64,
    pub path: PathBuf,
}

const SUFFIX: &str = ".seg";

/// The segments of a folder in order.
pub fn segments(disk: &Disk, folder: &Path) -> std::io::Result<Vec<Segment>> {
    let number = |name: &str| {
        let digits = name.strip_suffix(SUFFIX)?;
        (digits.len() == 20).then(|| digits.parse().ok())?
    };
    let found = disk.list(folder)?;
    // Of one length, so the order of names is that of numbers.
    let segments = found.into_iter().filter_map(|file| {
        Some(Segment { first: number(&file.name)?, bytes: file.bytes, path: folder.join(&file.name) })
    });
    Ok(segments.collect())
}

/// Where the segment that begins with this record stands.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

pub(super) fn encode_identity(identity: &Identity, out: &mut Vec<u8>) {
    out.extend_from_slice(&identity.id);
    out.extend_from_slice(&identity.hash_seed.to_le_bytes());
}

pub(super) fn decode_identity(bytes: &mut Bytes<'_>) -> Option<Identity> {
    Some(Identity { id: bytes.array()?, hash_seed: u64::from_le_bytes(bytes.array()?) })
}

pub(super) fn encode_context(context: &Context, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        push(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    };
    text(&context.policy_version, out);
    for names in [&context.feeds, &context.firewall, &context.thresholds] {
        push(out, names.len() as u64);
        names.iter().for_each(|name| text(name, out));
    }
}

pub(super) fn decode_context(bytes: &mut Bytes<'_>) -> Option<Context> {
    let policy_version = text(bytes)?;
    let [feeds, firewall, thresholds] = [texts(bytes)?, texts(bytes)?, texts(bytes)?];
    Some(Context { policy_version, feeds, firewall, thresholds })
}

fn text(bytes: &mut Bytes<'_>) -> Option<String> {
    let len = bytes.small()?;
    String::from_utf8(bytes.take(len)?.to_vec()).ok()
}

fn texts(bytes: &mut Bytes<'_>) -> Option<Vec<String>> {
    let n: usize = bytes.small()?;
    // A byte each at the least.
    if n > RULES_MAX + 1 || n > bytes.rest().len() {
        return None;
    }
    (0..n).map(|_| text(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_context_are_read_as_written_and_refused_when_cut() {
        let identity = Identity { id: *b"0123456789abcdef", hash_seed: 99 };
        let names = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let context = Context {
            policy_version: "7f3c2a1".into(),
            feeds: names(&["east", "väst"]),
            firewall: names(&["fw-harassers"]),
            thresholds: Vec::new(),
        };
        let mut bytes = Vec::new();
        encode_identity(&identity, &mut bytes);
        encode_context(&context, &mut bytes);
        let read = |bytes: &[u8]| {
            let mut bytes = Bytes::new(bytes);
            Some((decode_identity(&mut bytes)?, decode_context(&mut bytes)?))
        };
        assert_eq!(read(&bytes), Some((identity, context)));
        assert!((0..bytes.len()).all(|cut| read(&bytes[..cut]).is_none()));
    }

    #[test]
    fn only_files_named_by_a_number_are_segments() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["00000000000000000012.seg", "00000000000000000001.seg", "1.seg", "names", "x.seg.new"] {
            Disk::real().replace_file(&folder.path().join(name), |_| Ok(())).expect("created");
        }
        let found = segments(&Disk::real(), folder.path()).expect("lists");
        assert_eq!(found.iter().map(|s| s.first).collect::<Vec<_>>(), [1, 12]);
        assert_eq!(found[1].path, path(folder.path(), 12));
        assert_eq!(segments(&Disk::real(), &folder.path().join("none")).expect("lists"), []);
    }
}
