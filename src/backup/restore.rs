//! A backup put back: every sum compared before anything has its place, onto a folder that holds nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::contents::{self, Contents, sum_of};
use super::{DATA, SECRETS};
use crate::limits::BACKUP_FILES_MAX;
use crate::storage::{Disk, FolderLock};

/// Where files stand until all of them are there.
const STAGE: &str = "restoring";
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

    refuse_what_is_there(data)?;
    let lock = FolderLock::take(data).with_context(|| format!("cannot use the data folder {}", data.display()))?;
    let stage = data.join(STAGE);
    disk.remove_folder(&stage).context("cannot clear what a restore before this one left")?;
    disk.create_private_folder(&stage).with_context(|| format!("cannot write to {}", data.display()))?;
    let settings = put(disk, backup, &contents, &stage)?;
    disk.sync_folders(&stage)?;
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

/// A data folder that is in use, or was, is never written over.
fn refuse_what_is_there(data: &Path) -> anyhow::Result<()> {
    if !data.exists() {
        return Ok(());
    }
    let ours = ["lock", STAGE, "lost+found"];
    let mut there: Vec<String> = names_in(data)?.into_iter().filter(|name| !ours.contains(&name.as_str())).collect();
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
        let below = match kept.path.strip_prefix(DATA).and_then(|path| path.strip_prefix('/')) {
            Some(path) => path.to_owned(),
            None => {
                has_settings = true;
                let path = kept.path.strip_prefix(super::SETTINGS).unwrap_or(&kept.path);
                format!("{SETTINGS_OF_BACKUP}/{}", path.trim_start_matches('/'))
            }
        };
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
