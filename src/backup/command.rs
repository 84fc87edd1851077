//! `ringfence backup` and `ringfence restore` on the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::{Request, beside, packed, restore, take};
use crate::clock::Clock;
use crate::config;
use crate::policy::RuleSource;
use crate::storage::Disk;

/// Ends the name of a backup that is one file.
const PACKED: &str = ".tar.zst";
const FINDINGS: u8 = 1;

/// Copy everything that must not be lost, while the service runs
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence backup --config /etc/ringfence/ringfence.toml --to /backups/ringfence-monday
  ringfence backup --config /etc/ringfence/ringfence.toml --to /backups/monday.tar.zst      as one file

What is in it: the newest snapshot and the journal behind it, the store, the archive with the key of its pseudonyms, the
settings and the rules: all of one moment, as a loss of power would have left them, and read back before it is done. The
service is not asked and does not wait. On the disk of the data folder, files of the archive are linked and take no room.
What is not in it: the secrets that the settings name, such as tokens, keys and certificates.

It holds the numbers of those who called: only its owner may look into it.

Exit codes: 0 done, 1 done, but part of what was copied is damaged, 2 it could not be done, and nothing is left behind.")]
pub struct BackupArgs {
    /// Settings of the service; without them it is the service that runs in this folder without settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder that is not there yet, or a file NAME.tar.zst; ringfence-backup-TIME here unless set
    #[arg(long, value_name = "FOLDER|FILE")]
    to: Option<PathBuf>,
}

/// Put a backup onto an empty machine
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence restore /backups/ringfence-monday --data /var/lib/ringfence
  ringfence restore /backups/monday.tar.zst --data /var/lib/ringfence

Compares every file with its sum before anything has its place, and never writes over a data folder. The service then
goes on at the last record of the backup: gateways that send again what was not acknowledged since lose nothing.

Exit codes: 0 restored, 2 the backup is damaged or the folder not empty; nothing was changed.")]
pub struct RestoreArgs {
    /// The folder or file that `ringfence backup` wrote
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The data folder: empty, or not there yet
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
}

/// Takes a backup and says what is in it.
pub fn run_backup(args: &BackupArgs, say: &mut dyn FnMut(&str)) -> anyhow::Result<ExitCode> {
    let config = config::of_command(args.config.as_deref())?;
    let data = config
        .data
        .context("data is `off` in the settings: nothing outlives the service, so nothing can be backed up")?;
    let rules = config.rules.map(|path| match RuleSource::at(&path).prefix() {
        prefix if prefix.is_empty() => PathBuf::from("."),
        prefix => PathBuf::from(prefix),
    });
    let to = args.to.clone().unwrap_or_else(usual_name);
    let packs = to.to_string_lossy().ends_with(PACKED);
    let folder = if packs { beside(&to, ".folder") } else { to.clone() };
    anyhow::ensure!(!to.exists(), "backup {}: is there already; name one that is not", to.display());
    let disk = Disk::real();
    let request = Request { data: &data, settings: args.config.as_deref(), rules: rules.as_deref(), to: &folder };
    let taken = take(&disk, &request)?;
    if packs {
        let done = packed::pack(&disk, &folder, &taken.contents, &to);
        disk.remove_folder(&folder).context("cannot remove what was packed")?;
        done.context("cannot pack the backup")?;
    }
    let contents = &taken.contents;
    let (n, size) = (contents.files.len(), told_size(contents.bytes()));
    say(&format!(
        "{}: {n} files, {size}, up to record {} (the next event has position {}), read back and whole",
        to.display(),
        contents.record,
        contents.next_position
    ));
    say("not in it: tokens, keys and certificates that the settings name");
    taken.problems.iter().for_each(|problem| eprintln!("{problem}"));
    Ok(if taken.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// Restores a backup and says what to do next.
pub fn run_restore(args: &RestoreArgs, say: &mut dyn FnMut(&str)) -> anyhow::Result<ExitCode> {
    let disk = Disk::real();
    let (backup, data) = (&args.backup, &args.data);
    let restored = match backup.is_file() {
        true => packed::restore_packed(&disk, backup, data)?,
        false => restore(&disk, backup, data)?,
    };
    let (contents, data) = (&restored.contents, data.display());
    let (n, size, taken_at) = (contents.files.len(), told_size(contents.bytes()), &contents.taken_at);
    say(&format!("{data}: restored {n} files, {size}, as they were at {taken_at}, up to record {}", contents.record));
    say("next:");
    if let Some(settings) = &restored.settings {
        let settings = settings.display();
        say(&format!("  settings and rules of the backup are in {settings}: put them where they belong"));
    }
    say("  put back the tokens, keys and certificates that the settings name; they are in no backup");
    say(&format!("  let the service's user own it, such as: chown -R ringfence: {data}"));
    say("  look at it with `ringfence doctor --config FILE`, then start `ringfence serve --config FILE`");
    Ok(ExitCode::SUCCESS)
}

/// `ringfence-backup-20260302T100000Z`: names sort by time.
fn usual_name() -> PathBuf {
    let now = Clock.now().to_string();
    let seconds: String = now.split('.').next().unwrap_or_default().chars().filter(|c| !"-:".contains(*c)).collect();
    Path::new(&format!("ringfence-backup-{seconds}Z")).to_owned()
}

/// `1.4 GiB`.
pub(crate) fn told_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["bytes", "KiB", "MiB", "GiB"].iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while size >= 1024.0
        && let Some(next) = units.next()
    {
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {unit}") }
}
