//! `ringfence fmt`: rule files in one form. Only arguments, files and printing; the form itself stands in
//! [`crate::policy::format`].

use std::fs::Metadata;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::limits::RULE_FILE_BYTES_MAX;
use crate::policy::RuleSource;
use crate::policy::format::format;
use crate::printed::print;
use crate::storage::{Disk, Staged};

/// Bring rule files into one form: spacing, quotes and commas; comments and order stay
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ringfence fmt rules/
  ringfence fmt rules/ips/wangiri.toml
  ringfence fmt --check rules/               for pipelines: what would change, and nothing is written
  ringfence fmt - < wangiri.toml             for editors: from standard input to standard output

One space around `=`, conditions in 'single quotes' with one space between words, other texts in \"double quotes\", a
comma behind every item of an array that spans lines, an empty line before every table. Comments, the order of tables
and keys, line breaks inside arrays and the spelling of numbers stay as their author has them. What a file means never
changes. Every file is replaced at once and whole.

Exit codes: 0 done, 1 with --check where files would change, 2 a file could not be read or is not TOML.")]
pub struct Args {
    /// Rule folders or single files; `-` is standard input
    #[arg(default_value = "rules", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Change nothing; print what would change
    #[arg(long)]
    check: bool,
}

const FINDINGS: u8 = 1;
const FAILURE: u8 = 2;
/// How far lines are looked for again behind a difference.
const AHEAD: usize = 8;

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut n_files, mut n_changed, mut n_failed) = (0, 0, 0);
    for path in &args.paths {
        if path == Path::new("-") {
            let text = whole(io::stdin())?;
            let formatted = format(&text).map_err(|e| anyhow::anyhow!("standard input: {e}"))?;
            let out = if args.check { difference("standard input", &text, &formatted) } else { formatted.clone() };
            print(&out)?;
            (n_files, n_changed) = (n_files + 1, n_changed + usize::from(formatted != text));
            continue;
        }
        for file in files(path)? {
            n_files += 1;
            match one(&file, args.check) {
                Ok(None) => {}
                Ok(Some(told)) => {
                    n_changed += 1;
                    print(&told)?;
                }
                Err(e) => {
                    n_failed += 1;
                    eprintln!("{}: {e:#}", file.display());
                }
            }
        }
    }
    let files = |n: usize| if n == 1 { "1 file".to_owned() } else { format!("{n} files") };
    let done = if args.check { "would change" } else { "formatted" };
    eprintln!("{} looked at, {n_changed} {done}, {n_failed} could not be", files(n_files));
    Ok(match (n_failed, args.check && n_changed > 0) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::from(FINDINGS),
        _ => ExitCode::from(FAILURE),
    })
}

/// Everything that comes in; what is too long to be a rule file is no half of one.
fn whole(from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = from.take(RULE_FILE_BYTES_MAX + 1).read_to_string(&mut text).context("cannot read standard input")?;
    anyhow::ensure!(read as u64 <= RULE_FILE_BYTES_MAX, "standard input: longer than {RULE_FILE_BYTES_MAX} bytes");
    Ok(text)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    anyhow::ensure!(path.exists(), "cannot read `{}`: there is no such file or folder", path.display());
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let all = RuleSource::at(path).all_toml().with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(all.into_iter().map(|file| path.join(file)).collect())
}

/// What is told of a file that changed, or would.
fn one(path: &Path, is_check: bool) -> anyhow::Result<Option<String>> {
    // The file itself, where a link leads to it.
    let path_in = path.canonicalize().context("cannot read it")?;
    let meta = std::fs::metadata(&path_in).context("cannot read it")?;
    anyhow::ensure!(meta.len() <= RULE_FILE_BYTES_MAX, "longer than {RULE_FILE_BYTES_MAX} bytes");
    let text = std::fs::read_to_string(&path_in).context("cannot read it")?;
    let formatted = format(&text).map_err(|e| anyhow::anyhow!("{e}"))?;
    if formatted == text {
        return Ok(None);
    }
    let shown = path.display().to_string();
    if is_check {
        return Ok(Some(difference(&shown, &text, &formatted)));
    }
    replace(&path_in, &formatted, &meta).context("cannot write it")?;
    Ok(Some(format!("{shown}\n")))
}

/// Puts a text in the place of a file, which stays its owner's and its group's and as open as it was; where that cannot be,
/// the file stays as it is.
fn replace(path: &Path, text: &str, was: &Metadata) -> anyhow::Result<()> {
    let disk = Disk::from_environment();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // No reader of rules looks at files whose names begin with a dot.
    let beside = folder.join(format!(".{name}.fmt"));
    let mut file = Staged::create(&disk, &beside)?;
    file.write_all(text.as_bytes())?;
    let is = std::fs::metadata(&beside)?;
    if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
        chown(&beside, Some(was.uid()), Some(was.gid())).context("its owner cannot be kept")?;
    }
    std::fs::set_permissions(&beside, was.permissions()).context("its permissions cannot be kept")?;
    file.commit(path)?;
    disk.sync_folder(folder)?;
    Ok(())
}

/// Lines that go (`-`) and lines that come (`+`), each group with its first line's number.
fn difference(path: &str, before: &str, after: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let (mut i, mut j) = (0, 0);
    let mut out = String::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && a.get(i) == b.get(j) {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest place where both go on alike.
        let is_alike =
            |x: usize, y: usize| i + x < a.len() && a.get(i + x) == b.get(j + y) && a.get(i + x) != Some(&"");
        let ways =
            (1..=2 * AHEAD).flat_map(|n| (0..=n.min(AHEAD)).map(move |x| (x, n - x))).filter(|(_, y)| *y <= AHEAD);
        let (x, y) = ways.into_iter().find(|(x, y)| is_alike(*x, *y)).unwrap_or((1, 1));
        out += &format!("{path}:{}\n", i + 1);
        for (sign, lines, from, n) in [('-', &a, i, x), ('+', &b, j, y)] {
            for line in lines.iter().skip(from).take(n) {
                out += format!("{sign} {line}").trim_end();
                out.push('\n');
            }
        }
        (i, j) = (i + x, j + y);
    }
    if out.is_empty() && before != after { format!("{path}: the ends of lines\n") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_keeps_its_mode_and_is_left_alone_the_next_time() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("ips")).unwrap();
        let path = folder.path().join("ips/a.toml");
        std::fs::write(&path, "a=1 # one\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let all = files(folder.path()).unwrap();
        assert_eq!(all, std::slice::from_ref(&path));
        let told = one(&path, true).unwrap().unwrap();
        assert_eq!(told, format!("{0}:1\n- a=1 # one\n+ a = 1 # one\n", path.display()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=1 # one\n", "nothing is written");
        assert!(one(&path, false).unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a = 1 # one\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(one(&path, false).unwrap(), None);
        std::fs::write(&path, "a = = 1\n").unwrap();
        assert!(one(&path, false).unwrap_err().to_string().starts_with("line 1: "));
    }

    #[test]
    fn a_file_stays_its_owners_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a=1\n").unwrap();
        // Only root may give files away; anybody else still sees that nothing changes.
        let is_root = chown(&path, Some(65_534), Some(65_534)).is_ok();
        let before = std::fs::metadata(&path).unwrap();
        assert!(one(&path, false).unwrap().is_some());
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()), "{is_root}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_too_long_is_refused_whole() {
        assert_eq!(whole("a=1\n".as_bytes()).unwrap(), "a=1\n");
        let error = whole(io::repeat(b'#').take(RULE_FILE_BYTES_MAX + 5)).unwrap_err().to_string();
        assert!(error.contains("longer than"), "{error}");
    }

    #[test]
    fn a_difference_shows_the_lines_that_go_and_come() {
        let before = "a\nb\nc\nd\ne\n";
        assert_eq!(difference("f", before, "a\nb\nx\nd\ne\n"), "f:3\n- c\n+ x\n");
        assert_eq!(difference("f", before, "a\n\nb\nc\nd\n"), "f:2\n+\nf:5\n- e\n");
        assert_eq!(difference("f", before, before), "");
    }
}
