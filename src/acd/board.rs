//! What is published for each queue, from being shown what there is until it is withdrawn.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use crossbeam::channel::{Sender, TrySendError, bounded};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::plan::{Announcement, Plan, Unsaid};
use super::push::Listener;
use super::recordings::{Recorder, Samples};
use super::{QueueSettings, Settings, ssml, vxml, wav};
use crate::clock::{Clock, Timestamp};

/// In what form something is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Ssml,
    VoiceXml,
    Wav,
    /// The samples of the recording alone: Asterisk takes mu-law in no WAV file.
    MuLaw,
}

impl Format {
    pub const ALL: [Format; 5] = [Format::Text, Format::Ssml, Format::VoiceXml, Format::Wav, Format::MuLaw];

    /// Ending of its file.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Ssml => "ssml",
            Format::VoiceXml => "vxml",
            Format::Wav => "wav",
            Format::MuLaw => "ulaw",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; charset=utf-8",
            Format::Ssml => "application/ssml+xml",
            Format::VoiceXml => "application/voicexml+xml",
            Format::Wav => "audio/wav",
            Format::MuLaw => "audio/basic",
        }
    }
}

/// What is served in one format.
#[derive(Clone, Debug)]
pub struct Document {
    pub body: Bytes,
    /// Of the bytes, without quotes: another body has another one.
    pub tag: String,
    /// Since when it is this.
    pub modified: Timestamp,
}

impl Document {
    fn new(body: Vec<u8>, before: Option<&Document>, now: Timestamp) -> Document {
        let tag: String = Sha256::digest(&body).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let modified = before.filter(|before| before.tag == tag).map_or(now, |before| before.modified);
        Document { body: body.into(), tag, modified }
    }
}

/// How far the recording is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// There is nothing to say, or nobody to say it.
    Off,
    /// It is being made.
    Waiting,
    Ready,
    /// Why there is none, or not of everything; it is tried again.
    Failed(String),
}

/// Whether what telephone systems fetch is what was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBack {
    Waiting,
    Good(Timestamp),
    /// It is tried again.
    Failed(String),
}

/// Whether whoever wants to be told of changes was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Nobody wants to.
    Off,
    Waiting,
    Done(Timestamp),
    /// It is tried again.
    Failed(String),
}

/// What is published for a queue.
#[derive(Clone, Debug)]
pub struct Published {
    pub queue: String,
    /// What is announced, in the order in which it is said.
    pub said: Vec<Announcement>,
    /// What is not, and why: the first of it.
    pub left_out: Vec<(Announcement, Unsaid)>,
    pub n_left_out: usize,
    /// What callers hear; empty where there is nothing.
    pub text: String,
    /// To say it, as kits reckon.
    pub seconds: f64,
    /// Since when the text is this.
    pub since: Timestamp,
    pub recording: Recording,
    pub read_back: ReadBack,
    pub pushed: Pushed,
    /// Grows with everything that is newly announced, left out or withdrawn.
    pub(super) edition: u64,
    pub(super) texts: Vec<String>,
    documents: [Option<Document>; 5],
}

impl Published {
    /// `None`: there is nothing to say, or it is not recorded. There is always VoiceXML: a document that says nothing.
    pub fn document(&self, format: Format) -> Option<&Document> {
        self.documents.get(format as usize)?.as_ref()
    }

    /// Numbers of the messages that are announced.
    pub fn messages(&self) -> Vec<i64> {
        self.said.iter().map(Announcement::message).collect()
    }
}

/// See the module. It is shown things by one, and asked by many.
#[derive(Debug)]
pub struct Board {
    shared: Arc<Shared>,
    /// Of the thread that records; it ends when this goes.
    wake: Option<Sender<()>>,
    listeners: Vec<Arc<Listener>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// Counts changes of what is announced.
    changes: watch::Sender<u64>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Empty until something is shown, be it nothing: then every queue is in it.
    queues: BTreeMap<String, Arc<Published>>,
    /// Of the texts that are announced, and no others.
    recordings: HashMap<String, Result<Samples, String>>,
}

impl Board {
    /// `data`: the data folder, where recordings are kept. An error: that folder cannot be used, or somebody who wants to
    /// be told cannot be asked as it is set up.
    pub fn start(settings: Settings, data: Option<PathBuf>) -> Result<Board, String> {
        let listeners = Listener::all(&settings.queues)?;
        let recorder = settings.tts.clone().map(|tts| Recorder::new(tts, data.as_deref())).transpose()?;
        let changes = watch::Sender::new(0);
        let shared = Arc::new(Shared { settings, state: Mutex::default(), changes, stop: AtomicBool::new(false) });
        let mut wake = None;
        if let Some(recorder) = recorder {
            let (sender, receiver) = bounded(1);
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("acd".to_owned());
            let started = thread.spawn(move || recorder.run(&shared, &receiver));
            started.map_err(|e| format!("cannot start the thread that records announcements: {e}"))?;
            wake = Some(sender);
        }
        Ok(Board { shared, wake, listeners })
    }

    /// Publishes what is to be announced from now on: all of it, and nothing else. The same once more changes nothing.
    pub fn show(&self, now: Timestamp, all: &[Announcement]) {
        let is_changed = self.shared.show(now, all);
        if is_changed {
            self.shared.changes.send_modify(|n| *n += 1);
        }
        // Full: it is about to look anyway.
        if let Some(wake) = &self.wake
            && let Err(TrySendError::Disconnected(())) = wake.try_send(())
        {
            tracing::error!("announcements are not recorded any more: their thread has ended");
        }
    }

    /// Queues whose callers may hear of this customer's incidents.
    pub fn queues_for(&self, customer: &str) -> Vec<String> {
        let is_for = |queue: &&QueueSettings| {
            queue.customers.as_ref().is_none_or(|customers| customers.iter().any(|c| c == customer))
        };
        self.shared.settings.queues.iter().filter(is_for).map(|queue| queue.name.clone()).collect()
    }

    /// `None`: there is no such queue, or nothing was shown yet.
    pub fn queue(&self, name: &str) -> Option<Arc<Published>> {
        self.shared.state().queues.get(name).cloned()
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Those who want to be told of changes.
    pub(super) fn listeners(&self) -> &[Arc<Listener>] {
        &self.listeners
    }

    /// Counts whatever is newly announced or withdrawn.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What came of a look at what is served. `false`: something else is published by now.
    pub(super) fn was_read(&self, edition: u64, queue: &str, outcome: ReadBack) -> bool {
        self.shared.mark(edition, queue, |published| published.read_back = outcome)
    }

    /// What came of telling it. `false`: something else is published by now.
    pub(super) fn was_pushed(&self, edition: u64, queue: &str, outcome: Pushed) -> bool {
        self.shared.mark(edition, queue, |published| published.pushed = outcome)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// What a thread that panicked left is whole: every change is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, now: Timestamp, all: &[Announcement]) -> bool {
        let mut state = self.state();
        let mut is_changed = false;
        for queue in &self.settings.queues {
            let plan = Plan::of(queue.customers.as_deref(), all);
            let before = state.queues.get(&queue.name).cloned();
            if before.as_ref().is_some_and(|before| before.is(&plan)) {
                continue;
            }
            is_changed = true;
            if plan.n_left_out > 0 {
                tracing::warn!(queue = queue.name, n = plan.n_left_out, "callers do not hear of everything");
            }
            let published = self.published(queue, plan, before.as_deref(), &state.recordings, now);
            let (n, seconds) = (published.said.len(), published.seconds);
            tracing::info!(queue = queue.name, n, seconds, "what callers hear has changed");
            state.queues.insert(queue.name.clone(), Arc::new(published));
        }
        let State { queues, recordings } = &mut *state;
        recordings.retain(|text, _| queues.values().any(|queue| queue.texts.contains(text)));
        is_changed
    }

    fn published(
        &self,
        queue: &QueueSettings,
        plan: Plan,
        before: Option<&Published>,
        recordings: &HashMap<String, Result<Samples, String>>,
        now: Timestamp,
    ) -> Published {
        let (text, seconds) = (plan.text(), plan.seconds());
        let mut published = Published {
            queue: queue.name.clone(),
            since: before.filter(|before| before.text == text).map_or(now, |before| before.since),
            seconds,
            said: plan.said,
            left_out: plan.left_out,
            n_left_out: plan.n_left_out,
            recording: Recording::Off,
            read_back: ReadBack::Waiting,
            pushed: if queue.push.is_some() { Pushed::Waiting } else { Pushed::Off },
            edition: before.map_or(1, |before| before.edition + 1),
            texts: plan.texts,
            documents: before.map(|before| before.documents.clone()).unwrap_or_default(),
            text,
        };
        self.write(&mut published, recordings, now);
        published
    }

    /// Makes its documents, of its texts and what is recorded of them.
    fn write(&self, published: &mut Published, recordings: &HashMap<String, Result<Samples, String>>, now: Timestamp) {
        let texts = &published.texts;
        let recorded: Vec<&[u8]> =
            texts.iter().filter_map(|text| recordings.get(text)?.as_deref().ok()).map(AsRef::as_ref).collect();
        let failure = texts.iter().find_map(|text| recordings.get(text)?.as_ref().err());
        published.recording = match failure {
            _ if texts.is_empty() || self.settings.tts.is_none() => Recording::Off,
            _ if recorded.len() == texts.len() => Recording::Ready,
            Some(why) => Recording::Failed(why.clone()),
            None => Recording::Waiting,
        };
        let [text, ssml, voice_xml, wav, mu_law] = &published.documents;
        let is_said = !texts.is_empty();
        let document = |body: Vec<u8>, before: &Option<Document>| Document::new(body, before.as_ref(), now);
        let text = is_said.then(|| document(format!("{}\n", published.text).into_bytes(), text));
        let language = &self.settings.language;
        let ssml = is_said.then(|| document(ssml::document(texts, language).into_bytes(), ssml));
        // A recording of something else than this text, fetched a little later, would contradict the document.
        let place = text.as_ref().filter(|_| published.recording == Recording::Ready);
        let place = place.map(|text| format!("{}.wav?text={}", published.queue, text.tag));
        let voice_xml = document(vxml::document(texts, language, place.as_deref()).into_bytes(), voice_xml);
        let recorded = (!recorded.is_empty()).then(|| wav::joined(&recorded));
        let wav = recorded.as_ref().map(|samples| document(wav::file(samples), wav));
        let mu_law = recorded.map(|samples| document(samples, mu_law));
        published.documents = [text, ssml, Some(voice_xml), wav, mu_law];
    }

    /// Changes what is known of something that is published still.
    fn mark(&self, edition: u64, queue: &str, mark: impl FnOnce(&mut Published)) -> bool {
        let mut state = self.state();
        let published = state.queues.get_mut(queue).filter(|published| published.edition == edition);
        published.map(Arc::make_mut).map(mark).is_some()
    }

    /// A text is recorded, or failed to be.
    fn note(&self, text: &str, outcome: Result<Samples, String>) {
        let mut state = self.state();
        let State { queues, recordings } = &mut *state;
        if !queues.values().any(|queue| queue.texts.iter().any(|t| t == text)) {
            return;
        }
        recordings.insert(text.to_owned(), outcome);
        for queue in queues.values_mut().filter(|queue| queue.texts.iter().any(|t| t == text)) {
            self.write(Arc::make_mut(queue), recordings, Clock.now());
        }
    }

    pub(super) fn recorded(&self, text: &str, samples: &Samples) {
        self.note(text, Ok(Arc::clone(samples)));
    }

    pub(super) fn not_recorded(&self, text: &str, why: String) {
        self.note(text, Err(why));
    }

    /// Every text that is announced.
    pub(super) fn texts(&self) -> Vec<String> {
        let state = self.state();
        let mut texts: Vec<String> = state.queues.values().flat_map(|queue| queue.texts.iter().cloned()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    /// Those of them that nobody can hear yet.
    pub(super) fn unrecorded(&self) -> Vec<String> {
        let texts = self.texts();
        let state = self.state();
        texts.into_iter().filter(|text| !matches!(state.recordings.get(text), Some(Ok(_)))).collect()
    }

    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Published {
    fn is(&self, plan: &Plan) -> bool {
        self.said == plan.said && self.left_out == plan.left_out && self.n_left_out == plan.n_left_out
    }
}
