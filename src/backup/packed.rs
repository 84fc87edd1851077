//! A backup as one file: tar in zstd, readable by `tar --zstd -xf` without this program.
//!
//! Plain ustar with its GNU extension for long names, of regular files alone; what it names is compared with
//! `backup.json`, which comes first.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::contents::{self, Contents};
use super::restore::{Restored, restore};
use super::{beside, parent_of};
use crate::storage::Disk;

const BLOCK: usize = 512;
/// Text of a long name: longer ones no backup has.
const NAME_BYTES_MAX: u64 = 4096;
/// What tar programs fill the last of their blocks with, behind the end.
const REST_BYTES_MAX: u64 = 1 << 20;
const REGULAR: u8 = b'0';
const LONG_NAME: u8 = b'L';
/// Fast: most of a backup is packed already.
const LEVEL: i32 = 3;

/// Packs the folder of a backup into one file, which has its name once it is on the disk for good.
pub(super) fn pack(disk: &Disk, folder: &Path, contents: &Contents, to: &Path) -> anyhow::Result<()> {
    let part = beside(to, ".part");
    let packed = write(disk, folder, contents, &part).and_then(|()| {
        disk.rename(&part, to)?;
        Ok(disk.sync_folder(&parent_of(to))?)
    });
    if packed.is_err() {
        // It has no name a backup has.
        drop(disk.remove(&part));
    }
    packed
}

fn write(disk: &Disk, folder: &Path, contents: &Contents, part: &Path) -> anyhow::Result<()> {
    let file = disk.create(part).with_context(|| format!("cannot write {}", part.display()))?;
    disk.make_private(part)?;
    let mut out = zstd::Encoder::new(file, LEVEL)?;
    out.include_checksum(true)?;
    let names = std::iter::once(contents::FILE).chain(contents.files.iter().map(|kept| kept.path.as_str()));
    for name in names {
        let mut from = File::open(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        let bytes = from.metadata()?.len();
        append(&mut out, name, bytes, &mut from).with_context(|| format!("cannot pack {name}"))?;
    }
    out.write_all(&[0; 2 * BLOCK])?;
    Ok(out.finish()?.sync()?)
}

fn append(out: &mut impl Write, name: &str, bytes: u64, from: &mut impl Read) -> io::Result<()> {
    if name.len() >= 100 {
        let text = [name.as_bytes(), b"\0"].concat();
        out.write_all(&header("././@LongLink", LONG_NAME, text.len() as u64))?;
        out.write_all(&text)?;
        pad(out, text.len() as u64)?;
    }
    out.write_all(&header(name, REGULAR, bytes))?;
    let copied = io::copy(&mut from.take(bytes), out)?;
    if copied != bytes {
        return Err(io::Error::other("became shorter meanwhile"));
    }
    pad(out, bytes)
}

fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let rest = (bytes % BLOCK as u64) as usize;
    let zeros = [0; BLOCK];
    out.write_all(zeros.get(..(BLOCK - rest) % BLOCK).unwrap_or_default())
}

fn header(name: &str, kind: u8, bytes: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        header.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    put(0, name.as_bytes().get(..100.min(name.len())).unwrap_or_default());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    // Beyond 8 GiB the length is binary, as GNU has it.
    match bytes < 1 << 33 {
        true => put(124, format!("{bytes:011o}\0").as_bytes()),
        false => {
            put(124, &[0x80]);
            put(128, &bytes.to_be_bytes());
        }
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(text.as_bytes()).for_each(|(place, byte)| *place = *byte);
    header
}

/// Unpacks beside the data folder, restores from there, and takes away what was unpacked.
pub(super) fn restore_packed(disk: &Disk, packed: &Path, data: &Path) -> anyhow::Result<Restored> {
    let folder = beside(data, ".unpacked");
    ensure!(!folder.exists(), "{}: is in the way, from a restore that was cut short; remove it", folder.display());
    disk.create_folder(&parent_of(data))?;
    disk.create_private_folder(&folder).with_context(|| format!("cannot write {}", folder.display()))?;
    let restored = unpack(disk, packed, &folder)
        .with_context(|| format!("backup {}", packed.display()))
        .and_then(|()| restore(disk, &folder, data));
    disk.remove_folder(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    restored
}

/// Files are taken that `backup.json` names, and of the length it says; their sums are compared later.
fn unpack(disk: &Disk, packed: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut from = zstd::Decoder::new(BufReader::new(File::open(packed)?)).context("is no zstd file")?;
    let (name, bytes) = next(&mut from)?.context("is empty")?;
    let is_ours = name == contents::FILE && bytes <= contents::BYTES_MAX;
    ensure!(is_ours, "does not begin with {}: it is no backup", contents::FILE);
    let mut encoded = Vec::new();
    (&mut from).take(bytes).read_to_end(&mut encoded).context("damaged")?;
    skip_padding(&mut from, bytes)?;
    let contents = Contents::decode(&encoded)?;
    disk.replace_file(&folder.join(contents::FILE), |file| file.write_all(&encoded))?;
    while let Some((name, bytes)) = next(&mut from)? {
        let kept = contents.files.binary_search_by(|kept| kept.path.cmp(&name)).ok();
        let kept = kept.and_then(|place| contents.files.get(place)).filter(|kept| kept.bytes == bytes);
        let kept = kept.with_context(|| format!("damaged: it has `{name}`, which {} does not say", contents::FILE))?;
        let to: PathBuf = folder.join(&kept.path);
        if let Some(above) = to.parent() {
            disk.create_folder(above)?;
        }
        disk.copy(&mut (&mut from).take(bytes), &to, bytes, |_| {}).with_context(|| format!("cannot unpack {name}"))?;
        skip_padding(&mut from, bytes)?;
    }
    // The sum over all of it stands behind the end.
    let mut rest = Vec::new();
    (&mut from).take(REST_BYTES_MAX + 1).read_to_end(&mut rest).context("damaged")?;
    let is_empty = rest.len() as u64 <= REST_BYTES_MAX && rest.iter().all(|byte| *byte == 0);
    ensure!(is_empty, "damaged: it goes on behind its end");
    Ok(())
}

/// The next file's name and length; `None` at the end.
fn next(from: &mut impl Read) -> anyhow::Result<Option<(String, u64)>> {
    let (kind, name, bytes) = match next_header(from)? {
        None => return Ok(None),
        Some(header) => header,
    };
    if kind != LONG_NAME {
        ensure!(kind == REGULAR, "damaged: `{name}` is no regular file");
        return Ok(Some((name, bytes)));
    }
    ensure!(bytes <= NAME_BYTES_MAX, "damaged: a name of {bytes} bytes");
    let mut text = Vec::new();
    from.take(bytes).read_to_end(&mut text).context("damaged")?;
    skip_padding(from, bytes)?;
    let name = String::from_utf8(text).ok().context("damaged: a name is no text")?;
    let (kind, _, bytes) = next_header(from)?.context("damaged: ends behind a name")?;
    ensure!(kind == REGULAR, "damaged: `{name}` is no regular file");
    Ok(Some((name.trim_end_matches('\0').to_owned(), bytes)))
}

fn next_header(from: &mut impl Read) -> anyhow::Result<Option<(u8, String, u64)>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block).context("damaged: ends before its end")?;
    if block == [0; BLOCK] {
        return Ok(None);
    }
    let field = |at: usize, n: usize| block.get(at..at + n).unwrap_or_default();
    let number = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        u64::from_str_radix(text.trim_matches(|c: char| c == '\0' || c == ' '), 8).ok()
    };
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = field(148, 8).iter().map(|byte| u64::from(*byte)).sum();
    ensure!(number(field(148, 8)) == Some(sum - own + 8 * u64::from(b' ')), "damaged: a header's sum is wrong");
    let length = field(124, 12);
    let bytes = match length.first() {
        Some(0x80) => length.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => number(length),
    };
    let name = field(0, 100).split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).ok().context("damaged: a name is no text")?;
    let kind = block.get(156).copied().unwrap_or_default();
    Ok(Some((kind, name.to_owned(), bytes.context("damaged: a length is no number")?)))
}

fn skip_padding(from: &mut impl Read, bytes: u64) -> anyhow::Result<()> {
    let n = (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK;
    let mut rest = [0; BLOCK];
    from.read_exact(rest.get_mut(..n).unwrap_or_default()).context("damaged: ends before its end")
}
