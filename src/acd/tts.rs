//! One try of the text-to-speech program: a text in, a WAV file out, within bounds of time and size.
//!
//! The program is started as it stands in the settings, never through a shell: text reaches it on standard input only, so
//! that no name of a customer can be taken for an option or a command.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::TtsSettings;
use crate::clock::Clock;
use crate::limits::{TTS_SAID_BYTES_MAX, TTS_WAV_BYTES_MAX};
use crate::storage::Disk;

/// In an argument: where the program is to write its file.
pub(crate) const FILE_MARK: &str = "{wav}";
/// How often it is looked whether the program has ended.
const POLL: Duration = Duration::from_millis(10);
/// How long what a program wrote may take to arrive when it has ended: its children may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The program as it is set up.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) settings: TtsSettings,
    /// Made for each try, and nobody else's; holds the file that the program writes.
    pub(super) scratch: PathBuf,
}

impl Voice {
    /// The bytes of a WAV file that says the text, unchecked. Gives up when `stop` turns true.
    pub(super) fn say(&self, text: &str, stop: &AtomicBool) -> Result<Vec<u8>, String> {
        let disk = Disk::real();
        let file = self.settings.writes_file().then(|| self.scratch.join("said.wav"));
        if file.is_some() {
            let made = disk.remove_folder(&self.scratch).and_then(|()| disk.create_private_folder(&self.scratch));
            made.map_err(|e| format!("cannot make folder {}: {e}", self.scratch.display()))?;
        }
        let said = self.run(text, file.as_deref(), stop);
        let said = said.and_then(|said| match &file {
            None => Ok(said),
            Some(file) => {
                disk.read(file, TTS_WAV_BYTES_MAX as u64).map_err(|e| format!("it wrote no file that can be read: {e}"))
            }
        });
        if file.is_some()
            && let Err(error) = disk.remove_folder(&self.scratch)
        {
            tracing::warn!(folder = %self.scratch.display(), %error, "cannot remove what text-to-speech left");
        }
        said
    }

    /// What it wrote to standard output.
    fn run(&self, text: &str, file: Option<&Path>, stop: &AtomicBool) -> Result<Vec<u8>, String> {
        let place = file.map_or_else(String::new, |file| file.display().to_string());
        let mut words = self.settings.command.iter().map(|word| word.replace(FILE_MARK, &place));
        let program = words.next().ok_or("no program is set")?;
        let output = if file.is_some() { Stdio::null() } else { Stdio::piped() };
        // A group of its own, so that what it starts ends with it.
        let mut command = Command::new(&program);
        command.args(words).process_group(0).stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start {program}: {e}"))?;
        let heard = self.attend(&mut child, text, file, stop);
        if heard.is_err() {
            end(&mut child);
        }
        heard.map_err(|why| format!("{program}: {why}"))
    }

    fn attend(&self, child: &mut Child, text: &str, file: Option<&Path>, stop: &AtomicBool) -> Result<Vec<u8>, String> {
        let complaint = listen(child.stderr.take(), TTS_SAID_BYTES_MAX, true)?;
        let output = listen(child.stdout.take(), TTS_WAV_BYTES_MAX + 1, false)?;
        if let Some(mut input) = child.stdin.take() {
            let line = format!("{}\n", spoken(text));
            // A program that does not read it to its end says why itself.
            started(thread::Builder::new().spawn(move || drop(input.write_all(line.as_bytes()))))?;
        }
        let status = self.wait(child, file, stop)?;
        let complaint = complaint.recv_timeout(LAST_WORDS).unwrap_or_default();
        if !status.success() {
            return Err(format!("{status}: {}", shown(&complaint)));
        }
        let said = output.recv_timeout(LAST_WORDS).map_err(|_| "its output does not end with it".to_owned())?;
        if said.len() > TTS_WAV_BYTES_MAX {
            return Err(format!("it gave more than {TTS_WAV_BYTES_MAX} bytes"));
        }
        Ok(said)
    }

    fn wait(&self, child: &mut Child, file: Option<&Path>, stop: &AtomicBool) -> Result<ExitStatus, String> {
        let deadline = Clock.monotonic() + self.settings.timeout;
        let too_long = |file: &Path| file.metadata().is_ok_and(|file| file.len() > TTS_WAV_BYTES_MAX as u64);
        loop {
            if let Some(status) = child.try_wait().map_err(|e| format!("cannot wait for it: {e}"))? {
                return Ok(status);
            }
            if stop.load(Ordering::Relaxed) {
                return Err("the service stops".to_owned());
            }
            if Clock.monotonic() >= deadline {
                return Err(format!("it did not end in {:?}", self.settings.timeout));
            }
            if file.is_some_and(too_long) {
                return Err(format!("it wrote more than {TTS_WAV_BYTES_MAX} bytes"));
            }
            thread::sleep(POLL);
        }
    }
}

/// With all that it started.
fn end(child: &mut Child) {
    let group = kill_process_group(Pid::from_child(child), Signal::KILL);
    if group.is_err() {
        // It has ended already, or is about to.
        drop(child.kill());
    }
    drop(child.wait());
}

/// Reads on a thread of its own up to so many bytes. Then, or at the end, they can be received. What comes behind them is
/// read and forgotten where the program is to go on.
fn listen(
    from: Option<impl Read + Send + 'static>,
    bytes_max: usize,
    go_on: bool,
) -> Result<Receiver<Vec<u8>>, String> {
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        let mut bytes = Vec::new();
        let Some(mut from) = from else { return drop(sender.send(bytes)) };
        // What was read before an error counts.
        drop(from.by_ref().take(bytes_max as u64).read_to_end(&mut bytes));
        drop(sender.send(bytes));
        if go_on {
            drop(io::copy(&mut from, &mut io::sink()));
        }
    };
    started(thread::Builder::new().spawn(read))?;
    Ok(receiver)
}

fn started<T>(thread: io::Result<T>) -> Result<(), String> {
    thread.map(drop).map_err(|e| format!("cannot start a thread: {e}"))
}

/// Brackets mark phonemes for some programs.
fn spoken(text: &str) -> String {
    text.replace(['[', ']'], " ")
}

/// Of what a program complains, a line for the log.
fn shown(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.is_empty() { "it did not say why".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(script: &str, timeout: Duration, text: &str) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let command = ["sh", "-c", script, "sh", FILE_MARK].map(str::to_owned).to_vec();
        let command = if script.contains("$1") { command } else { command[..3].to_vec() };
        let scratch = folder.path().join("scratch");
        let said =
            Voice { settings: TtsSettings { command, timeout }, scratch: scratch.clone() }.say(text, &false.into());
        assert!(!scratch.exists());
        said
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn text_goes_in_as_it_is_and_what_comes_out_is_taken_from_the_pipe_or_the_file() {
        let text = "-w x; $(false) [[p]] Zürich";
        let line = "-w x; $(false)   p   Zürich\n";
        assert_eq!(say("cat", LONG, text).unwrap(), line.as_bytes());
        assert_eq!(say("cat > \"$1\"; echo not this", LONG, text).unwrap(), line.as_bytes());
        // One that asks for nothing is not kept waiting, nor is one that complains a lot.
        assert_eq!(say("exec <&-; echo said", LONG, &"word ".repeat(100_000)).unwrap(), b"said\n");
        assert_eq!(say("head -c 1000000 /dev/zero >&2; echo said", LONG, "a").unwrap(), b"said\n");
    }

    #[test]
    fn a_program_that_fails_hangs_or_never_ends_its_output_is_ended_with_a_reason() {
        let why = |script| say(script, Duration::from_millis(300), "a").unwrap_err();
        assert_eq!(why("echo 'no\tvoice' >&2; exit 3"), "sh: exit status: 3: no voice");
        assert_eq!(why("exit 1"), "sh: exit status: 1: it did not say why");
        assert_eq!(why("sleep 1000"), "sh: it did not end in 300ms");
        assert!(why("cat > /dev/null; : $1").starts_with("it wrote no file that can be read: "));
        let endless = say("cat /dev/zero", LONG, "a").unwrap_err();
        // It ends by the pipe that nobody reads any more, which shells tell in two ways.
        assert!(endless.contains("signal: 13") || endless.contains("status: 141"), "{endless}");
        let filling = say("while :; do head -c 1000000 /dev/zero >> \"$1\"; done", LONG, "a").unwrap_err();
        assert!(filling.contains("it wrote more than"), "{filling}");
        // Whatever it left running holds nobody up.
        assert_eq!(why("sleep 1000 & echo said"), "sh: its output does not end with it");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let settings = TtsSettings { command: vec!["/no/such-voice".to_owned()], timeout: LONG };
        let voice = Voice { settings, scratch: PathBuf::new() };
        let why = voice.say("a", &false.into()).unwrap_err();
        assert!(why.starts_with("cannot start /no/such-voice: "), "{why}");
        let settings = TtsSettings { command: vec!["sleep".to_owned(), "1000".to_owned()], timeout: LONG };
        let voice = Voice { settings, scratch: PathBuf::new() };
        assert_eq!(voice.say("a", &true.into()).unwrap_err(), "sleep: the service stops");
    }
}
