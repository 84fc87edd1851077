//! Where the files of a rule set come from: a folder, or texts in memory.
//!
//! The thin reader between rule files and [`super::load()`]; it interprets nothing. Paths are relative to the
//! folder of `ruleset.toml` and written with `/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use crate::clock::Timestamp;

/// The file that names what a rule set consists of.
pub const RULESET: &str = "ruleset.toml";
/// How far above a rule file its `ruleset.toml` is looked for: `rules/ips/fraud/x.toml` finds `rules/`.
const PARENTS_MAX: usize = 4;
/// Names one folder may hold; more is not a rule folder.
const NAMES_MAX: usize = 100_000;

/// The files of one rule set.
#[derive(Clone, Debug)]
pub struct RuleSource {
    files: Files,
    /// The one file that was asked for, relative; problems of others are not its own.
    only: Option<String>,
    /// Files that were read.
    opened: Arc<Mutex<BTreeSet<PathBuf>>>,
}

#[derive(Clone, Debug)]
enum Files {
    Folder(PathBuf),
    Memory(BTreeMap<String, String>),
}

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) bytes: Vec<u8>,
    /// Where the file system tells it.
    pub(crate) modified: Option<Timestamp>,
}

impl RuleSource {
    /// A folder, its `ruleset.toml`, or one rule file, which is then read as part of the set around it.
    pub fn at(path: impl AsRef<Path>) -> RuleSource {
        let path = path.as_ref();
        if path.is_dir() {
            return RuleSource { files: Files::Folder(path.to_owned()), only: None, opened: Arc::default() };
        }
        let parent = |p: &Path| p.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let folder = parent(path);
        if path.file_name().is_some_and(|n| n == RULESET) {
            return RuleSource { files: Files::Folder(folder), only: None, opened: Arc::default() };
        }
        let mut root = folder.clone();
        for _ in 0..PARENTS_MAX {
            if root.join(RULESET).is_file()
                && let Ok(inside) = path.strip_prefix(&root)
            {
                return RuleSource { only: Some(slashes(inside)), files: Files::Folder(root), opened: Arc::default() };
            }
            let Some(up) = root.parent().filter(|p| !p.as_os_str().is_empty()) else { break };
            root = up.to_owned();
        }
        let name = path.file_name().map(|n| slashes(Path::new(n)));
        RuleSource { files: Files::Folder(folder), only: name, opened: Arc::default() }
    }

    /// Texts by path.
    pub fn memory<P: Into<String>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> RuleSource {
        let files = files.into_iter().map(|(path, text)| (path.into(), text.into())).collect();
        RuleSource { files: Files::Memory(files), only: None, opened: Arc::default() }
    }

    /// Every file that was read so far, or was to be, wherever it lies: what is loaded hangs on these.
    pub fn opened(&self) -> Vec<PathBuf> {
        self.opened.lock().unwrap_or_else(|e| e.into_inner()).iter().cloned().collect()
    }

    /// What to put before a relative path so that the operator's shell finds the file.
    pub fn prefix(&self) -> String {
        match &self.files {
            Files::Memory(_) => String::new(),
            Files::Folder(root) if root == Path::new(".") => String::new(),
            Files::Folder(root) => {
                let root = root.to_string_lossy();
                if root.ends_with('/') { root.into_owned() } else { format!("{root}/") }
            }
        }
    }

    pub(crate) fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        match &self.files {
            Files::Folder(root) => root.join(path).is_file(),
            Files::Memory(files) => files.contains_key(path),
        }
    }

    /// A folder of that name is there, empty or not. Texts in memory have no empty one.
    pub(crate) fn has_folder(&self, path: &str) -> bool {
        match &self.files {
            Files::Folder(root) => root.join(path).is_dir(),
            Files::Memory(files) => {
                files.keys().any(|file| file.strip_prefix(path).is_some_and(|r| r.starts_with('/')))
            }
        }
    }

    /// The whole file; an error where it is longer than `bytes_max`.
    pub(crate) fn read(&self, path: &str, bytes_max: u64) -> io::Result<SourceFile> {
        let too_long = || io::Error::other(format!("longer than {bytes_max} bytes"));
        match &self.files {
            Files::Folder(root) => {
                let place = root.join(path);
                let file = fs::File::open(&place);
                self.opened.lock().unwrap_or_else(|e| e.into_inner()).insert(place);
                let file = file?;
                let meta = file.metadata()?;
                if meta.is_dir() {
                    return Err(io::Error::other("is a folder"));
                }
                let mut bytes = Vec::with_capacity(meta.len().min(bytes_max) as usize + 1);
                file.take(bytes_max + 1).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > bytes_max {
                    return Err(too_long());
                }
                let since = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                let modified = since.and_then(|s| i64::try_from(s.as_millis()).ok()).map(Timestamp);
                Ok(SourceFile { bytes, modified })
            }
            Files::Memory(files) => {
                let text = files.get(path).ok_or(io::ErrorKind::NotFound)?;
                if text.len() as u64 > bytes_max {
                    return Err(too_long());
                }
                Ok(SourceFile { bytes: text.clone().into_bytes(), modified: None })
            }
        }
    }

    /// The files a pattern names, sorted bytewise; `*` stands for any part of one name. A folder that is not
    /// there has no files.
    pub(crate) fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        if !pattern.contains('*') {
            return Ok(if self.exists(pattern) { vec![pattern.to_owned()] } else { Vec::new() });
        }
        let mut found = vec![String::new()];
        let mut segments = pattern.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            let mut next = Vec::new();
            for folder in &found {
                if !segment.contains('*') {
                    next.push(join(folder, segment));
                    continue;
                }
                let names = self.names(folder)?;
                let fitting = names.iter().filter(|(name, is_folder)| *is_folder != is_last && fits(segment, name));
                next.extend(fitting.map(|(name, _)| join(folder, name)));
            }
            found = next;
        }
        found.retain(|path| self.exists(path));
        found.sort_unstable();
        Ok(found)
    }

    /// Names in a folder, with whether each is a folder; nothing where there is none.
    fn names(&self, folder: &str) -> io::Result<BTreeSet<(String, bool)>> {
        let mut names = BTreeSet::new();
        match &self.files {
            Files::Folder(root) => {
                let entries = match fs::read_dir(root.join(folder)) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
                    entries => entries?,
                };
                for entry in entries.take(NAMES_MAX) {
                    let path = entry?.path();
                    if let Some(name) = path.file_name().and_then(|n| n.to_str()).filter(|n| !n.starts_with('.')) {
                        names.insert((name.to_owned(), path.is_dir()));
                    }
                }
            }
            Files::Memory(files) => {
                let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                for rest in files.keys().filter_map(|path| path.strip_prefix(&start)) {
                    names.insert(match rest.split_once('/') {
                        Some((folder, _)) => (folder.to_owned(), true),
                        None => (rest.to_owned(), false),
                    });
                }
            }
        }
        Ok(names)
    }

    /// Every `*.toml` in the folder and, up to three levels deep, below it, sorted bytewise.
    pub(crate) fn all_toml(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for pattern in ["*.toml", "*/*.toml", "*/*/*.toml", "*/*/*/*.toml"] {
            all.extend(self.glob(pattern)?);
        }
        all.sort_unstable();
        Ok(all)
    }
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

fn slashes(path: &Path) -> String {
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Does a name fit a pattern of one segment?
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_name_files_bytewise_sorted_and_a_missing_folder_is_empty() {
        let source = RuleSource::memory([
            ("ips/b.toml", ""),
            ("ips/B.toml", ""),
            ("ips/a.toml", ""),
            ("ips/deep/c.toml", ""),
            ("ips/a.test.toml", ""),
            ("lists/x.csv", ""),
        ]);
        let glob = |p: &str| source.glob(p).unwrap().join(" ");
        assert_eq!(glob("ips/*.toml"), "ips/B.toml ips/a.test.toml ips/a.toml ips/b.toml");
        assert_eq!(glob("*/x.csv"), "lists/x.csv");
        assert_eq!(glob("*/*/c*l"), "ips/deep/c.toml");
        assert_eq!(glob("firewall/*.toml"), "");
        assert_eq!(glob("ips/a.toml"), "ips/a.toml");
        assert_eq!(source.all_toml().unwrap().len(), 5);
    }

    #[test]
    fn a_star_is_any_part_of_one_name() {
        for (pattern, name, yes) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a*a", "a", false),
            ("ab", "abc", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_file_is_read_as_part_of_the_set_around_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("ips")).unwrap();
        fs::write(root.path().join(RULESET), "ringfence = 1").unwrap();
        fs::write(root.path().join("ips/x.toml"), "").unwrap();
        let source = RuleSource::at(root.path().join("ips/x.toml"));
        assert_eq!(source.only(), Some("ips/x.toml"));
        assert!(source.exists(RULESET));
        assert_eq!(RuleSource::at(root.path().join(RULESET)).only(), None);
        assert!(source.read("ips/none.toml", 10).is_err());
        assert!(source.read(RULESET, 3).unwrap_err().to_string().contains("longer than 3 bytes"));
    }
}
