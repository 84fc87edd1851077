//! A backup put back: every sum compared before anything has its place, onto a folder that holds nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::contents::{self, Contents, sum_of};
use super::{DATA, SECRETS};
use crate::limits::BACKUP_FILES_MAX;
use crate::storage::{Disk, FolderLock};

/// Where files stand until all of them are there.
pub(crate) const STAGE: &str = "restoring";
/// Settings and rules of the backup go here, for people.
const SETTINGS_OF_BACKUP: &str = "settings-of-backup";
/// Mistakes that are told one by one.
const TOLD_MAX: usize = 20;

/// What was put back.
#[derive(Debug)]
pub struct Restored {
    pub contents: Contents,
    /// Where settings and rules of the backup are, if it has any.
    pub settings: Option<PathBuf>,
}

/// Puts a backup into an empty folder, or one that is not there yet. Compares every sum first, and again what it wrote.
pub fn restore(disk: &Disk, backup: &Path, data: &Path) -> anyhow::Result<Restored> {
    ensure!(backup.exists(), "backup {}: there is no such folder", backup.display());
    let whole = backup.join(contents::FILE).is_file();
    ensure!(whole, "backup {}: has no {}: it is none, or was cut short", backup.display(), contents::FILE);
    let encoded = disk.read(&backup.join(contents::FILE), contents::BYTES_MAX).context("cannot read the backup")?;
    let contents = Contents::decode(&encoded).with_context(|| format!("backup {}", backup.display()))?;
    verify(disk, backup, &contents)?;

    refuse_what_is_there(data, &contents)?;
    let lock = FolderLock::take(data).with_context(|| format!("cannot use the data folder {}", data.display()))?;
    let stage = data.join(STAGE);
    clear(disk, data, &contents).context("cannot clear what a restore before this one left")?;
    disk.create_private_folder(&stage).with_context(|| format!("cannot write to {}", data.display()))?;
    let settings = put(disk, backup, &contents, &stage).and_then(|settings| {
        disk.sync_folders(&stage)?;
        Ok(settings)
    });
    if settings.is_err() {
        // A full disk has its room back. What stays is cleared by the next restore.
        drop(disk.remove_folder(&stage));
    }
    let settings = settings?;
    // From here on it is renaming alone. The journal comes last: without it nothing begins anew on half of the rest.
    let mut names: Vec<String> = names_in(&stage)?;
    names.sort_by_key(|name| name == "journal");
    for name in names {
        disk.rename(&stage.join(&name), &data.join(&name))?;
    }
    disk.remove_folder(&stage)?;
    disk.sync_folder(data)?;
    drop(lock);
    Ok(Restored { contents, settings: settings.then(|| data.join(SETTINGS_OF_BACKUP)) })
}

/// Every file against its length and sum, and nothing missing; all mistakes at once.
fn verify(disk: &Disk, backup: &Path, contents: &Contents) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for kept in &contents.files {
        let path = &kept.path;
        match File::open(backup.join(path)).and_then(sum_of) {
            Err(e) => wrong.push(format!("{path}: cannot be read: {e}")),
            Ok((bytes, _)) if bytes != kept.bytes => {
                wrong.push(format!("{path}: has {bytes} bytes instead of {}", kept.bytes));
            }
            Ok((_, sha256)) if sha256 != kept.sha256 => wrong.push(format!("{path}: is not what was written")),
            Ok(_) => {}
        }
    }
    // Nothing of it is taken, but whoever added it should know.
    for path in disk.list_below(backup, BACKUP_FILES_MAX)? {
        if path != contents::FILE && contents.files.binary_search_by(|kept| kept.path.cmp(&path)).is_err() {
            wrong.push(format!("{path}: is no part of the backup"));
        }
    }
    let n = wrong.len();
    wrong.truncate(TOLD_MAX);
    ensure!(
        n == 0,
        "backup {}: damaged in {n} places, nothing was restored:\n  {}",
        backup.display(),
        wrong.join("\n  ")
    );
    Ok(())
}

/// A data folder that is in use, or was, is never written over. One in which a restore was cut short holds the stage, and
/// of the rest only what that restore had put in its place; the journal, which comes last, is not among it.
fn refuse_what_is_there(data: &Path, contents: &Contents) -> anyhow::Result<()> {
    if !data.exists() {
        return Ok(());
    }
    let mut there = names_in(data)?;
    let was_cut_short = was_cut_short(data);
    there.retain(|name| name != "lock" && name != "lost+found" && name != STAGE);
    there.retain(|name| !(was_cut_short && is_of(name, contents)));
    there.sort();
    let n = there.len();
    there.truncate(TOLD_MAX);
    let there = there.join(", ");
    ensure!(
        n == 0,
        "data folder {}: is not empty, it has {there}; name an empty one, or move these away",
        data.display()
    );
    Ok(())
}

fn was_cut_short(data: &Path) -> bool {
    data.join(STAGE).is_dir() && !data.join("journal").exists()
}

/// Does a restore of this backup put something of this name into the data folder?
fn is_of(name: &str, contents: &Contents) -> bool {
    let top = |path: &str| place_of(path).split('/').next().is_some_and(|top| top == name);
    contents.files.iter().any(|kept| top(&kept.path))
}

/// Takes away what a restore that was cut short had put in its place.
fn clear(disk: &Disk, data: &Path, contents: &Contents) -> anyhow::Result<()> {
    if was_cut_short(data) {
        for name in names_in(data)?.iter().filter(|name| is_of(name, contents)) {
            let path = data.join(name);
            if path.is_dir() { disk.remove_folder(&path)? } else { disk.remove(&path)? }
        }
    }
    Ok(disk.remove_folder(&data.join(STAGE))?)
}

/// Where a file of a backup goes, below the data folder.
fn place_of(path: &str) -> String {
    let below = |top: &str| path.strip_prefix(top).and_then(|path| path.strip_prefix('/'));
    match below(DATA) {
        Some(path) => path.to_owned(),
        None => format!("{SETTINGS_OF_BACKUP}/{}", below(super::SETTINGS).unwrap_or(path)),
    }
}

fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let unreadable = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(unreadable)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<Vec<String>>>().with_context(unreadable)
}

/// Copies all files below `stage`, each compared again while it is. Whether there were settings among them.
fn put(disk: &Disk, backup: &Path, contents: &Contents, stage: &Path) -> anyhow::Result<bool> {
    use sha2::{Digest, Sha256};
    let mut has_settings = false;
    for kept in &contents.files {
        let below = place_of(&kept.path);
        has_settings |= below.starts_with(SETTINGS_OF_BACKUP);
        let to = stage.join(&below);
        if let Some(folder) = to.parent() {
            disk.create_folder(folder)?;
        }
        let what = || format!("cannot restore {}", kept.path);
        let mut from = File::open(backup.join(&kept.path)).with_context(what)?;
        let mut hasher = Sha256::new();
        let bytes = disk.copy(&mut from, &to, kept.bytes, |piece| hasher.update(piece)).with_context(what)?;
        let is_same = bytes == kept.bytes && contents::hex(&hasher.finalize()) == kept.sha256;
        ensure!(is_same, "{}: changed while it was restored", kept.path);
        if SECRETS.contains(&below.as_str()) {
            disk.make_private(&to)?;
        }
    }
    Ok(has_settings)
}
