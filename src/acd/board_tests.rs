//! A board as it is shown things: what is published, recorded, withdrawn and told.

use std::path::Path;
use std::time::Duration;

use super::plan::tests::announced;
use super::wav::tests::{pcm, seconds as seconds_of, tone};
use super::*;
use crate::clock::Timestamp;

/// Texts are said by a shell that copies one sound for each, and notes in `calls` what it was asked to say.
fn talking(folder: &Path, script: &str) -> Settings {
    let sound = pcm(16_000, 1, &tone(16_000, 440.0, 1.5));
    std::fs::write(folder.join("sound"), sound).unwrap();
    let script = format!("cd {}; cat >> calls; {script}", folder.display());
    let command = ["sh", "-c", &script, "sh", FILE_MARK].map(str::to_owned).to_vec();
    Settings { tts: Some(TtsSettings { command, timeout: Duration::from_secs(60) }), ..Settings::default() }
}

const SPEAKS: &str = "cp sound \"$1\"";

fn calls(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().count()
}

/// Waits until what is published for `all` is like this.
fn until(board: &Board, is_it: impl Fn(&Published) -> bool) -> std::sync::Arc<Published> {
    for _ in 0..60_000 {
        if let Some(published) = board.queue(ALL).filter(|published| is_it(published)) {
            return published;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it never came");
}

fn is_ready(published: &Published) -> bool {
    published.recording == Recording::Ready
}

fn body(published: &Published, format: Format) -> String {
    String::from_utf8(published.document(format).expect("is published").body.to_vec()).unwrap()
}

fn seconds(published: &Published) -> f64 {
    let file = &published.document(Format::Wav).expect("is recorded").body;
    seconds_of(wav::samples(file).expect("is whole"))
}

#[test]
fn nothing_is_known_before_something_is_shown_and_what_is_withdrawn_is_gone() {
    let board = Board::start(Settings::default(), None).unwrap();
    assert!(board.queue(ALL).is_none());
    board.show(Timestamp(1), &[]);
    let silent = board.queue(ALL).unwrap();
    let served = |p: &Published| Format::ALL.map(|format| p.document(format).is_some());
    assert_eq!((served(&silent), silent.text.as_str()), ([false, false, true, false, false], ""));
    let a = announced(1, 1, 1, 10, "Calls abroad may fail.");
    board.show(Timestamp(2), std::slice::from_ref(&a));
    let said = board.queue(ALL).unwrap();
    assert_eq!(served(&said), [true, true, true, false, false]);
    assert_eq!(body(&said, Format::Text), "Calls abroad may fail.\n");
    assert!(body(&said, Format::Ssml).contains("<p>Calls abroad may fail.</p>"));
    assert!(body(&said, Format::VoiceXml).contains("<prompt><p>Calls abroad may fail.</p></prompt>"));
    assert_eq!((said.since, said.recording.clone()), (Timestamp(2), Recording::Off));
    // Shown again, also in twos, nothing changes.
    board.show(Timestamp(3), &[a.clone(), a.clone()]);
    assert_eq!(board.queue(ALL).unwrap().edition, said.edition);
    board.show(Timestamp(4), &[]);
    let over = board.queue(ALL).unwrap();
    assert_eq!((served(&over), over.since), (served(&silent), Timestamp(4)));
    assert!(over.said.is_empty() && over.messages().is_empty());
}

#[test]
fn an_update_with_the_same_words_is_another_announcement_of_the_same_document() {
    let board = Board::start(Settings::default(), None).unwrap();
    board.show(Timestamp(1), &[announced(1, 1, 2, 10, "The same.")]);
    let before = board.queue(ALL).unwrap();
    assert!(board.was_read(before.edition, ALL, ReadBack::Good(Timestamp(1))));
    board.show(Timestamp(2), &[announced(1, 2, 2, 20, "The same.")]);
    let after = board.queue(ALL).unwrap();
    assert_eq!((after.messages(), after.since, &after.read_back), (vec![2], Timestamp(1), &ReadBack::Waiting));
    let text = |p: &Published| p.document(Format::Text).map(|text| (text.tag.clone(), text.modified));
    assert_eq!(text(&before), text(&after));
    // Whoever looked at what was published before says nothing of this.
    assert!(!board.was_read(before.edition, ALL, ReadBack::Good(Timestamp(3))));
    assert_eq!(board.queue(ALL).unwrap().read_back, ReadBack::Waiting);
    board.show(Timestamp(3), &[announced(1, 3, 2, 30, "Another.")]);
    assert_ne!(text(&board.queue(ALL).unwrap()), text(&after));
}

#[test]
fn each_queue_hears_of_its_customers() {
    let queue = |name: &str, customers: Option<&[&str]>| QueueSettings {
        name: name.to_owned(),
        customers: customers.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        push: None,
    };
    let queues = vec![queue("odd", Some(&["c1"])), queue("all", None), queue("none", Some(&["c7"]))];
    let board = Board::start(Settings { queues, ..Settings::default() }, None).unwrap();
    assert_eq!(board.queues_for("c1"), ["odd", "all"]);
    assert_eq!(board.queues_for("c0"), ["all"]);
    board.show(Timestamp(1), &[announced(1, 1, 2, 10, "Odd."), announced(2, 2, 1, 10, "Even.")]);
    let text = |name: &str| board.queue(name).unwrap().text.clone();
    assert_eq!((text("odd"), text("all"), text("none")), ("Odd.".into(), "Even. Odd.".into(), String::new()));
    assert!(board.queue("other").is_none());
}

#[test]
fn what_is_said_is_recorded_and_two_recordings_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::start(talking(folder.path(), SPEAKS), Some(folder.path().to_owned())).unwrap();
    let (a, b) = (announced(1, 1, 1, 10, "One."), announced(2, 2, 2, 10, "Two."));
    board.show(Timestamp(1), std::slice::from_ref(&a));
    let one = until(&board, is_ready);
    assert!((seconds(&one) - 1.5).abs() < 0.01);
    let wav = &one.document(Format::Wav).unwrap().body;
    assert_eq!(wav::samples(wav), Some(&one.document(Format::MuLaw).unwrap().body[..]));
    let tag = &one.document(Format::Text).unwrap().tag;
    assert!(body(&one, Format::VoiceXml).contains(&format!("<audio src=\"all.wav?text={tag}\"")));
    board.show(Timestamp(2), &[a, b.clone()]);
    // Until the second is recorded, callers hear the first: it is as true as before.
    let both = until(&board, |published| published.texts.len() == 2 && is_ready(published));
    assert!((seconds(&both) - 3.5).abs() < 0.01, "two of 1.5 s and the pause");
    assert_eq!(calls(folder.path()), 2);
    // What is withdrawn takes nothing else with it, and nothing is said again.
    board.show(Timestamp(3), &[b]);
    let rest = board.queue(ALL).unwrap();
    assert_eq!((&rest.recording, rest.text.as_str()), (&Recording::Ready, "Two."));
    assert!((seconds(&rest) - 1.5).abs() < 0.01);
    board.show(Timestamp(4), &[]);
    assert!(board.queue(ALL).unwrap().document(Format::Wav).is_none());
    assert!(!folder.path().join("acd/said").exists());
}

#[test]
fn after_a_restart_what_was_recorded_is_heard_without_saying_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Board::start(talking(folder.path(), SPEAKS), Some(folder.path().to_owned())).unwrap();
    let a = announced(1, 1, 1, 10, "One.");
    let show = |board: &Board| {
        board.show(Timestamp(1), std::slice::from_ref(&a));
        until(board, is_ready)
    };
    let before = show(&start());
    assert_eq!(calls(folder.path()), 1);
    let after = show(&start());
    assert_eq!((calls(folder.path()), seconds(&after)), (1, seconds(&before)));
    // A file that is damaged is made again.
    let file = std::fs::read_dir(folder.path().join("acd")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let again = show(&start());
    assert_eq!((calls(folder.path()), seconds(&again)), (2, seconds(&before)));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
}

#[test]
fn where_nobody_can_say_it_the_text_is_published_and_no_recording_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let fails_second = "grep -q Two calls && exit 1; cp sound \"$1\"";
    let board = Board::start(talking(folder.path(), fails_second), Some(folder.path().to_owned())).unwrap();
    board.show(Timestamp(1), &[announced(1, 1, 1, 10, "One.")]);
    until(&board, is_ready);
    board.show(Timestamp(2), &[announced(1, 2, 1, 20, "Two.")]);
    let failed = until(&board, |published| matches!(published.recording, Recording::Failed(_)));
    assert_eq!(failed.recording, Recording::Failed("sh: exit status: 1: it did not say why".to_owned()));
    assert_eq!(body(&failed, Format::Text), "Two.\n");
    assert!(failed.document(Format::Wav).is_none(), "that of the text before is wrong now");
    assert!(!body(&failed, Format::VoiceXml).contains("<audio"));
}

#[test]
fn what_is_silent_or_cut_off_is_no_recording() {
    for (script, seconds, why) in [
        ("cp silence \"$1\"", 1.5, "it is silent"),
        (SPEAKS, 1.5, "it takes 1.5 s, and the text 16.0 s: it is not all of it"),
        ("echo sorry > \"$1\"", 1.5, "it is no WAV file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("silence"), pcm(8000, 1, &vec![3; (8000.0 * seconds) as usize])).unwrap();
        let board = Board::start(talking(folder.path(), script), None).unwrap();
        board.show(Timestamp(1), &[announced(1, 1, 1, 10, &"word ".repeat(40))]);
        let failed = until(&board, |published| matches!(published.recording, Recording::Failed(_)));
        assert_eq!(failed.recording, Recording::Failed(why.to_owned()));
    }
}

#[test]
fn so_many_recordings_are_kept_and_never_fewer_than_are_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("acd");
    std::fs::create_dir(&kept).unwrap();
    for n in 0..crate::limits::ACD_RECORDINGS_MAX + 5 {
        std::fs::write(kept.join(format!("{n}.wav")), "old").unwrap();
    }
    std::fs::write(kept.join("notes.txt"), "not ours").unwrap();
    let board = Board::start(talking(folder.path(), SPEAKS), Some(folder.path().to_owned())).unwrap();
    board.show(Timestamp(1), &[announced(1, 1, 1, 10, "One.")]);
    until(&board, is_ready);
    let files = std::fs::read_dir(&kept).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "wav")).collect();
    assert_eq!(files.len(), crate::limits::ACD_RECORDINGS_MAX);
    assert!(files.iter().any(|file| file.metadata().unwrap().len() > 100), "the new one is among them");
    assert!(kept.join("notes.txt").exists());
}
