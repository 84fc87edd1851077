//! What the integration tests share: where things stand, running the program, seeded random numbers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The project's own folder.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of specifications, data and oracle that lies beside the project, or `None` after saying so.
pub(crate) fn shared(test: &str) -> Option<PathBuf> {
    let place = std::env::var_os("RINGFENCE_SHARED").map_or_else(|| project().join("../shared"), PathBuf::from);
    if place.join("oracle/oracle.py").is_file() {
        return Some(place);
    }
    eprintln!("NOT RUN: {test}: no shared folder at {} (set RINGFENCE_SHARED)", place.display());
    None
}

/// Runs the built program to its end.
pub(crate) fn ringfence<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence")).args(args).output().expect("the built program starts")
}

/// Runs `replay` and gives its standard output; any exit code but 0 fails the test with what it said.
pub(crate) fn replay(rules: &Path, events: &Path, output: &str, more: &[&str]) -> String {
    let mut args =
        vec!["replay".into(), "--rules".into(), rules.as_os_str().to_owned(), "--output".into(), output.into()];
    args.extend(more.iter().map(Into::into));
    args.push(events.as_os_str().to_owned());
    let out = ringfence(&args);
    assert!(
        out.status.success(),
        "replay {}: {}\n{}",
        events.display(),
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).expect("replay prints UTF-8")
}

/// SplitMix64: small, seeded, the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `from <= result <= to`.
    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        assert!(from <= to, "an empty range: {from}..={to}");
        from + (self.bits() % (to - from + 1) as u64) as i64
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[(self.bits() % from.len() as u64) as usize].clone()
    }
}
