//! The thread that has texts said, and the recordings it keeps: one file a text, in the data folder.
//!
//! Every announcement is recorded by itself, so that one that is withdrawn takes nothing else with it. A recording belongs
//! to its exact text and voice: none is ever used for another text, however near.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use sha2::{Digest, Sha256};

use super::board::Shared;
use super::tts::Voice;
use super::{TtsSettings, retry_wait, wav};
use crate::clock::Clock;
use crate::kit::speech;
use crate::limits::{ACD_RECORDINGS_MAX, ACD_WAV_SECONDS_MAX};
use crate::storage::Disk;

/// Below the data folder.
const FOLDER: &str = "acd";
/// Of how a recording is made. Another number, and those that are kept are made again.
const VERSION: &str = "1";
/// A recording that takes less of what its text should take was cut off. Voices may be set to speak fast.
const CUT_SHARE: f64 = 0.25;
/// Longest sleep; nothing is due then.
const IDLE: Duration = Duration::from_secs(3600);

/// The samples of a text, as a telephone carries them.
pub(super) type Samples = Arc<[u8]>;

/// See the module.
#[derive(Debug)]
pub(super) struct Recorder {
    voice: Voice,
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    /// Texts that could not be recorded, how often, and when they are tried again.
    failed: HashMap<String, (u32, Instant)>,
}

impl Recorder {
    /// `data`: the data folder.
    pub(super) fn new(settings: TtsSettings, data: Option<&Path>) -> Result<Recorder, String> {
        let folder = data.map(|data| data.join(FOLDER));
        if let Some(folder) = &folder {
            let made = Disk::real().create_folder(folder);
            made.map_err(|e| format!("cannot make folder {}: {e}", folder.display()))?;
        }
        let scratch = folder.as_ref().map_or_else(
            || {
                // Others write there too, and must not know the name beforehand.
                let random = RandomState::new().hash_one(0);
                std::env::temp_dir().join(format!("ringfence-acd-{random:016x}"))
            },
            |folder| folder.join("said"),
        );
        Ok(Recorder { voice: Voice { settings, scratch }, folder, failed: HashMap::new() })
    }

    /// Until the board goes, which `wake` tells by its end.
    pub(super) fn run(mut self, shared: &Shared, wake: &Receiver<()>) {
        while !shared.is_stopping() {
            let wanted = shared.unrecorded();
            self.failed.retain(|text, _| wanted.contains(text));
            let now = Clock.monotonic();
            let due = |text: &&String| self.failed.get(*text).is_none_or(|(_, at)| *at <= now);
            if let Some(text) = wanted.iter().find(due) {
                self.record(shared, text);
                continue;
            }
            let next = self.failed.values().map(|(_, at)| at.saturating_duration_since(now)).min();
            if wake.recv_timeout(next.unwrap_or(IDLE)) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn record(&mut self, shared: &Shared, text: &str) {
        let path = self.folder.as_ref().map(|folder| folder.join(format!("{}.wav", self.name(text))));
        if let Some(samples) = path.as_deref().and_then(kept) {
            return shared.recorded(text, &samples);
        }
        match self.say(shared, text) {
            Ok(samples) => {
                self.failed.remove(text);
                if let Some(path) = &path {
                    self.keep(path, &samples, shared);
                }
                shared.recorded(text, &samples);
            }
            Err(_) if shared.is_stopping() => {}
            Err(why) => {
                let n_failed = self.failed.get(text).map_or(0, |(n, _)| *n) + 1;
                if n_failed.is_power_of_two() {
                    tracing::error!(%why, n_failed, "an announcement has no recording; its text is published");
                }
                self.failed.insert(text.to_owned(), (n_failed, Clock.monotonic() + retry_wait(n_failed)));
                shared.not_recorded(text, why);
            }
        }
    }

    fn say(&self, shared: &Shared, text: &str) -> Result<Samples, String> {
        let sound = wav::read(&self.voice.say(text, shared.stop())?)?;
        if sound.is_silent() {
            return Err("it is silent".to_owned());
        }
        let (seconds, expected) = (sound.seconds(), speech::seconds(text));
        if seconds < expected * CUT_SHARE {
            return Err(format!("it takes {seconds:.1} s, and the text {expected:.1} s: it is not all of it"));
        }
        Ok(wav::telephone(&sound).into())
    }

    /// Of its file: a hash of the text and of who says it.
    fn name(&self, text: &str) -> String {
        let mut hash = Sha256::new();
        for part in [VERSION, text].into_iter().chain(self.voice.settings.command.iter().map(String::as_str)) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Without it, the next start has the text said again: no reason to keep callers waiting.
    fn keep(&self, path: &Path, samples: &[u8], shared: &Shared) {
        let disk = Disk::real();
        let kept = disk.replace_file(path, |file| file.write_all(&wav::file(samples)));
        let kept = kept.and_then(|()| self.make_room(&disk, &shared.texts()));
        if let Err(error) = kept {
            tracing::warn!(file = %path.display(), %error, "cannot keep a recording");
        }
    }

    /// Removes the oldest files above the bound, but none of what is announced.
    fn make_room(&self, disk: &Disk, texts: &[String]) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let in_use: Vec<String> = texts.iter().map(|text| format!("{}.wav", self.name(text))).collect();
        let mut files = Vec::new();
        for listed in disk.list(folder)?.into_iter().filter(|listed| listed.name.ends_with(".wav")) {
            let path = folder.join(&listed.name);
            files.push((path.metadata()?.modified()?, in_use.contains(&listed.name), path));
        }
        files.sort();
        let n_above = files.len().saturating_sub(ACD_RECORDINGS_MAX);
        for (_, _, path) in files.iter().filter(|(_, is_in_use, _)| !is_in_use).take(n_above) {
            disk.remove(path)?;
        }
        Ok(())
    }
}

/// What a file holds, where it is there and whole.
fn kept(path: &Path) -> Option<Samples> {
    // Head and samples, a byte each.
    let bytes_max = 1024 + (ACD_WAV_SECONDS_MAX + 1) * 8000;
    let bytes = Disk::real().read(path, bytes_max).ok()?;
    wav::samples(&bytes).map(Samples::from)
}
