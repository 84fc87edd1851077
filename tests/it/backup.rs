//! Backups of a service that runs under load, and their way back: nothing acknowledged is missing, nothing half is taken
//! for whole.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfence::archive::Archive;
use ringfence::backup::{Request, Taken, restore, take};
use ringfence::storage::Disk;
use serde_json::{Value, json};

use crate::doctor::{errors_of, examine};
use crate::service::Fixture;
use crate::support::ringfence;

/// Segments, snapshots and rounds of the archive come and go all the time.
const BUSY: &str = "[snapshot]\nevery_s = 1\nevery_mib = 1\n[journal]\nsegment_mib = 1\n[archive]\nevery_s = 1\n";

/// An attempt. A few callers come back often enough to be told of.
fn attempt(seq: u64) -> String {
    let time = 1_767_225_600_000 + seq;
    let caller = if seq.is_multiple_of(7) { seq % 70 } else { seq };
    format!(
        "{{\"time\":{time},\"seq\":{seq},\"kind\":\"attempt\",\"call_id\":\"c{seq}\",\"caller\":\"+4670{caller:07}\",\
         \"callee\":\"+4684000{:04}\"}}\n",
        seq % 10_000
    )
}

/// A gateway that asks for acknowledgements, and what the service holds of it.
fn connect(fixture: &Fixture) -> (BufReader<TcpStream>, u64) {
    let mut stream = BufReader::new(fixture.tcp());
    writeln!(stream.get_mut(), "{}", json!({ "hello": { "gateway": "load", "reply": "ack" } })).expect("sends");
    let mut line = String::new();
    stream.read_line(&mut line).expect("a welcome");
    let welcome: Value = serde_json::from_str(&line).expect("JSON");
    (stream, welcome["welcome"]["last_seq"].as_u64().expect("a number"))
}

fn read_ack(stream: &mut BufReader<TcpStream>) -> Option<u64> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    serde_json::from_str::<Value>(&line).ok()?["ack"].as_u64()
}

/// Sends what follows `last` and waits until it is acknowledged.
pub(crate) fn feed(fixture: &Fixture, n: u64) -> u64 {
    let (mut stream, last) = connect(fixture);
    let lines: String = (last + 1..=last + n).map(attempt).collect();
    stream.get_mut().write_all(lines.as_bytes()).expect("sends");
    while read_ack(&mut stream).expect("an acknowledgement") < last + n {}
    last + n
}

/// Sends without end, and notes what was acknowledged.
struct Load {
    acked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(fixture: &Fixture) -> Load {
        let (mut stream, _) = connect(fixture);
        let mut out = stream.get_ref().try_clone().expect("a second handle");
        let (acked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, stopping) = (Arc::clone(&acked), Arc::clone(&stop));
        let reader = std::thread::spawn(move || {
            while let Some(seq) = read_ack(&mut stream) {
                told.store(seq, Ordering::SeqCst);
            }
        });
        let writer = std::thread::spawn(move || {
            let mut seq = 1;
            while !stopping.load(Ordering::SeqCst) {
                let lines: String = (seq..seq + 200).map(attempt).collect();
                seq += 200;
                if out.write_all(lines.as_bytes()).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(out.shutdown(std::net::Shutdown::Write));
        });
        Load { acked, stop, threads: vec![reader, writer] }
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

fn take_to(folder: &Path, to: &Path) -> Taken {
    let request = Request { data: &folder.join("ringfence-data"), settings: None, rules: None, to };
    take(&Disk::real(), &request).unwrap_or_else(|e| panic!("{e:#}"))
}

/// Puts it back into a folder of its own, with the data folder where the service looks for it.
fn restore_from(backup: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    restore(&Disk::real(), backup, &folder.path().join("ringfence-data")).unwrap_or_else(|e| panic!("{e:#}"));
    folder
}

fn first_segment(folder: &Path) -> u64 {
    let segments = ringfence::journal::segments(&Disk::real(), &folder.join("ringfence-data/journal"));
    segments.expect("lists").first().map_or(0, |segment| segment.first)
}

fn newest_snapshot(folder: &Path) -> u64 {
    let snapshots = ringfence::snapshot::list(&Disk::real(), &folder.join("ringfence-data/snapshots"));
    snapshots.expect("lists").first().map_or(0, |(record, _)| *record)
}

#[test]
fn what_was_acknowledged_is_in_a_backup_taken_under_load_and_the_restored_service_goes_on_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let mut fixture = Fixture::in_folder(folder, "", BUSY);
    let load = Load::start(&fixture);
    let begun = Instant::now();
    while first_segment(&path) <= 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing of the journal goes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let places = tempfile::tempdir().expect("a temporary folder");
    let first = newest_snapshot(&path);
    let backups: Vec<(u64, PathBuf, Taken)> = (0..4)
        .map(|n| {
            // The last one is of a later snapshot, however slow the machine is.
            while n == 3 && newest_snapshot(&path) <= first {
                assert!(begun.elapsed() < Duration::from_secs(60), "no snapshot is taken");
                std::thread::sleep(Duration::from_millis(20));
            }
            let (acked, to) = (load.acked(), places.path().join(format!("backup-{n}")));
            let taken = take_to(&path, &to);
            std::thread::sleep(Duration::from_millis(300));
            (acked, to, taken)
        })
        .collect();
    assert!(backups.last().expect("four").0 > backups[0].0, "calls came meanwhile");
    assert!(backups.last().expect("four").2.contents.snapshot > backups[0].2.contents.snapshot, "so did snapshots");
    load.stop();
    fixture.stop();
    for (acked, backup, taken) in backups.into_iter().step_by(3) {
        assert_eq!(taken.problems, [""; 0]);
        let held = taken.contents.next_position - 1;
        assert!(held >= acked, "{held} events of {acked} that were acknowledged");
        let folder = restore_from(&backup);
        assert_eq!(errors_of(&examine(folder.path(), true)), [""; 0]);
        let path = folder.path().to_owned();
        let mut restored = Fixture::in_folder(folder, "", BUSY);
        // Each event has a position, so both count the same.
        let (stream, last_seq) = connect(&restored);
        drop(stream);
        assert_eq!(last_seq, held);
        assert_eq!(feed(&restored, 100), held + 100);
        restored.stop();
        assert_eq!(errors_of(&examine(&path, true)), [""; 0]);
        let archive = Archive::read(&path.join("ringfence-data/archive")).expect("an archive");
        let rows: u64 = archive.files().map(|file| file.rows).sum();
        assert_eq!((rows, archive.next_position()), (held + 100, held + 101), "each event is in the archive once");
    }
}

/// A service that ran and was stopped, and a backup of it.
fn stopped() -> (Fixture, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    let mut fixture = Fixture::in_folder(folder, "", "");
    feed(&fixture, 3_000);
    fixture.stop();
    (fixture, path, tempfile::tempdir().expect("a temporary folder"))
}

#[test]
fn a_restored_folder_holds_the_very_state_that_was_backed_up() {
    let (_kept, path, places) = stopped();
    let taken = take_to(&path, &places.path().join("backup"));
    assert_eq!((taken.contents.next_position, taken.problems.len()), (3_001, 0));
    let folder = restore_from(&places.path().join("backup"));
    let (before, after) = (examine(&path, true), examine(folder.path(), true));
    assert_eq!(before.snapshots.first(), after.snapshots.first());
    assert_eq!(before.journal.next_position, after.journal.next_position);
    assert!(folder.path().join("ringfence-data/ringfence.db").is_file());
}

#[test]
fn restore_never_writes_over_what_is_there() {
    let (_kept, path, places) = stopped();
    let backup = places.path().join("backup");
    take_to(&path, &backup);
    let data = path.join("ringfence-data");
    let refused = restore(&Disk::real(), &backup, &data).expect_err("it is full").to_string();
    assert!(
        refused.contains("is not empty, it has admin-token, archive, journal, link.key, ringfence.db"),
        "{refused}"
    );
    let empty = places.path().join("empty");
    std::fs::create_dir(&empty).expect("creates");
    restore(&Disk::real(), &backup, &empty).expect("an empty one will do");
    let again = take(&Disk::real(), &Request { data: &data, settings: None, rules: None, to: &backup });
    assert!(again.expect_err("it is there").to_string().contains("is there already"));
}

#[test]
fn a_half_a_damaged_and_a_mended_backup_are_refused_and_change_nothing() {
    let (_kept, path, places) = stopped();
    let backup = places.path().join("backup");
    let taken = take_to(&path, &backup);
    let target = places.path().join("target");
    let refuse = |what: &str| {
        let refused = restore(&Disk::real(), &backup, &target).expect_err(what);
        assert!(!target.exists(), "{what}: {refused:#}");
        format!("{refused:#}")
    };
    let listed = backup.join("backup.json");
    let whole = std::fs::read(&listed).expect("reads");
    std::fs::remove_file(&listed).expect("removes");
    assert!(refuse("without its list").contains("it is none, or was cut short"));
    std::fs::write(&listed, &whole[..whole.len() / 2]).expect("writes");
    assert!(refuse("with half of its list").contains("backup.json: damaged"));
    std::fs::write(&listed, &whole).expect("writes");
    std::fs::write(backup.join("data/more"), "x").expect("writes");
    assert!(refuse("with more in it").contains("data/more: is no part of the backup"));
    std::fs::remove_file(backup.join("data/more")).expect("removes");
    for kept in taken.contents.files.iter().filter(|kept| kept.bytes > 0) {
        let file = backup.join(&kept.path);
        let bytes = std::fs::read(&file).expect("reads");
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 16;
            std::fs::write(&file, flipped).expect("writes");
            assert!(refuse("flipped").contains(&format!("{}: is not what was written", kept.path)));
            std::fs::write(&file, &bytes[..at]).expect("writes");
            assert!(refuse("cut").contains(&kept.path));
        }
        std::fs::remove_file(&file).expect("removes");
        assert!(refuse("deleted").contains(&format!("{}: cannot be read", kept.path)));
        std::fs::write(&file, &bytes).expect("writes");
    }
    restore(&Disk::real(), &backup, &target).expect("whole again");
}

#[test]
fn the_commands_back_up_into_one_file_and_restore_settings_and_rules_with_it() {
    let (_kept, path, places) = stopped();
    let text = |name: &str| places.path().join(name).to_str().expect("a plain path").to_owned();
    let settings = path.join("ringfence.toml");
    std::fs::create_dir(path.join("rules")).expect("creates");
    std::fs::write(path.join("rules/ruleset.toml"), crate::service::RULES).expect("writes");
    std::fs::write(path.join("rules/token"), "s3cret").expect("writes");
    std::fs::write(&settings, "rules = \"rules\"\n[http]\nlisten = \"off\"\n").expect("writes");
    let settings = settings.to_str().expect("a plain path");
    let (packed, data) = (text("b.tar.zst"), text("data"));
    let out = ringfence(&["backup", "--config", settings, "--to", &packed]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("the next event has position 3001") && said.contains("not in it: tokens"), "{said}");
    assert_eq!(std::fs::read_dir(places.path()).expect("lists").count(), 1, "nothing is left beside it");

    let whole = std::fs::read(&packed).expect("reads");
    let damaged = text("damaged.tar.zst");
    for (at, keeps) in [(0, true), (whole.len() / 3, true), (whole.len() / 2, false), (whole.len() - 1, true)] {
        let mut bytes = whole.clone();
        match keeps {
            true => bytes[at] ^= 1,
            false => bytes.truncate(at),
        }
        std::fs::write(&damaged, bytes).expect("writes");
        let out = ringfence(&["restore", &damaged, "--data", &data]);
        assert_eq!(out.status.code(), Some(2), "byte {at}");
        assert!(!Path::new(&data).exists(), "byte {at}");
    }
    let out = ringfence(&["restore", &packed, "--data", &data]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let rules = Path::new(&data).join("settings-of-backup/rules/ruleset.toml");
    assert_eq!(std::fs::read_to_string(rules).expect("the rules"), crate::service::RULES);
    assert!(!Path::new(&data).join("settings-of-backup/rules/token").exists(), "no secrets");
    assert_eq!(ringfence(&["restore", &packed, "--data", &data]).status.code(), Some(2), "it is full now");
}
