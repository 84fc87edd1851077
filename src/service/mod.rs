//! The service: where the parts meet, start and stop.
//!
//! [`start`] wires them in one function, the last stage first, since each needs the next one's way in. A stop goes the other
//! way: no new connections, what was read is judged and answered, what was found is delivered.

mod admission;
mod archiver;
mod audit;
mod backfill;
mod calls;
mod data;
mod feeds;
mod files;
mod keeper;
mod lasting;
mod outgoing;
mod recovery;
mod reload;
mod watchdog;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::admission::admission;
use self::calls::Calls;
use self::data::DataFolder;
use self::feeds::Feeds;
use self::lasting::{Begun, Lasting, Parts};
use self::reload::Reloader;
pub use self::watchdog::Settings as HeartbeatSettings;
use crate::clock::Clock;
use crate::config::{Config, FeedSettings};
use crate::current::Current;
use crate::delivery::{self, Figures};
use crate::desk::Desk;
use crate::engine::Engine;
use crate::event::{Kind, Names, Reject};
use crate::findings::Drafter;
use crate::gateway::clocks::Clocks;
use crate::gateway::datagrams::{self, Datagrams};
use crate::gateway::durable::Durable;
use crate::gateway::judges::Judges;
use crate::gateway::listener::{Close, Listener};
use crate::gateway::post::Door;
use crate::gateway::sequence::Ledger;
use crate::gateway::{Feed, Sample};
use crate::incident::{self, IncidentState};
use crate::ingest::FeedContext;
use crate::journal::Journal;
use crate::metrics::{JournalFigures, Labels, Metrics, UPKEEP_EVERY};
use crate::notify::{Notifier, Observer, Totals, Workers};
use crate::people::People;
use crate::policy::{Action, Cause, Policy, Severity};
use crate::portal::api::Office;
use crate::portal::{Pages, Portal, Status};
use crate::reload::{Asker, Reloads};
use crate::store::Store;
use crate::upstream::Receivers;

/// How often idle keys are told that time passes.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// How long sinks may take to deliver what is left at a stop.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a service is made of.
pub struct Setup {
    pub config: Config,
    pub policy: Arc<Policy>,
    /// Looks on at every judged batch; the demo does.
    pub observer: Option<Observer>,
}

/// A service that accepts.
#[derive(Debug)]
pub struct Running {
    /// By name of the feed: the port the system gave where the settings say 0.
    pub feeds: Vec<(String, SocketAddr)>,
    pub http: Option<SocketAddr>,
    pub metrics_address: Option<SocketAddr>,
    pub metrics: Arc<Metrics>,
    office: Option<Arc<Office>>,
    stop: watch::Sender<bool>,
    ready: Arc<AtomicBool>,
    listeners: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    notifier: Arc<Notifier>,
    workers: Workers,
    engine: Engine,
    clocks: Arc<Clocks>,
    reloads: Reloads,
    reloader: Reloader,
    lasting: Option<Lasting>,
    stop_timeout: Duration,
}

/// `serve`: runs until a signal says stop. Blocks.
pub fn run(config: Config, policy: Arc<Policy>) -> anyhow::Result<()> {
    config.log.start();
    raise_file_limit();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Judges do the heavy work; these read, answer, and judge what little came at once. More of them would only wake
    // each other for it: at 200,000 verdicts a second on two cores, the 99th percentile was 1.2 ms with one, 3 with two.
    builder.enable_all().thread_name("ringfence").worker_threads(n_threads(&config).div_ceil(2));
    let runtime = builder.build().context("cannot start worker threads")?;
    let stopped = runtime.block_on(async {
        // Before anything listens: whoever sees us answer may tell us to stop.
        let mut signals = Signals::new().context("cannot listen for signals")?;
        let running = start(Setup { config, policy, observer: None }).await?;
        running.admin_token().as_deref().into_iter().for_each(ask_for_admin);
        signals.stop(Some(&running.reloads)).await;
        tracing::info!("stopping: no new connections, finishing what was read");
        tokio::select! {
            () = async { running.stop().await; } => Ok(()),
            () = signals.stop(None) => Err(anyhow!("told twice to stop: what was under way is lost")),
        }
    });
    // A write to a stuck terminal or disk must not keep a stopped process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    stopped
}

/// Starts everything; returns when all feeds accept.
pub async fn start(setup: Setup) -> anyhow::Result<Running> {
    let Setup { config, policy, observer } = setup;
    let data = config.data.as_deref().map(DataFolder::open).transpose()?;
    let names = data.as_ref().map_or_else(|| Arc::new(Names::new()), DataFolder::names);
    let metrics = Arc::new(Metrics::new(&labels(&config, &policy)));
    let (stop, stopping) = watch::channel(false);

    // Sinks.
    let started =
        Notifier::start(&config.notify, Arc::clone(&policy), Arc::clone(&names), Arc::clone(&metrics), observer);
    let (notifier, workers) = started.map_err(|e| anyhow!(e))?;
    let notifier = Arc::new(notifier);

    // Engine, as it was left.
    let n_threads = n_threads(&config);
    let parts =
        Parts { config: &config, policy: &policy, names: &names, notifier: &notifier, metrics: &metrics, n_threads };
    let begun = match data {
        Some(data) => parts.begin_again(data)?,
        None => parts.begin_anew(RandomState::new().hash_one("ringfence")),
    };
    let Begun { engine, outlet, calls, ledger, durable, is_resumed, lasting } = begun;
    let (reloads, asked) = Reloads::new(&policy.version);

    // Feeds.
    let ready = Arc::new(AtomicBool::new(false));
    let status = Status { metrics: Arc::clone(&metrics), ready: Arc::clone(&ready) };
    let clocks = Arc::new(Clocks::new(Clock.now(), is_resumed));
    let judges = Arc::new(Judges::start(n_threads).context("cannot start threads")?);
    let feeds = Feeds { config: config.clone(), names: Arc::clone(&names), calls: calls.clone(), places: Vec::new() };
    let mut shared = Shared { engine: engine.clone(), judges, feeds, names, metrics, ledger, durable, calls };
    let entrances = shared.open(&config, &policy, &clocks)?;

    // HTTP.
    let counting = Counting { engine: engine.clone(), clocks: Arc::clone(&clocks), reloads: reloads.clone() };
    let (http, metrics_address, mut background, office) =
        start_http(&config, &status, &entrances.doors, (lasting.as_ref(), &counting), &stopping).await?;
    let (feeds, listeners) = entrances.run(&stopping)?;

    background.push(tokio::spawn(tick(engine.clone(), Arc::clone(&clocks), stopping.clone())));
    background.extend(lasting.iter().flat_map(|l| l.guard(&config, &notifier, &stopping)));
    background.extend(lasting.iter().map(|l| tokio::spawn(l.watch(Arc::clone(&notifier), stopping.clone()))));
    background.push(tokio::spawn(upkeep(
        Arc::clone(&shared.metrics),
        Arc::clone(&notifier),
        shared.calls.clone(),
        lasting.as_ref().map(Lasting::measured),
        office.as_ref().and_then(|office| office.receivers.clone()),
        stopping,
    )));
    let reloader = Reloader::start(reload::Charge {
        config: config.clone(),
        engine: engine.clone(),
        outlet,
        feeds: shared.feeds,
        clocks: Arc::clone(&clocks),
        metrics: Arc::clone(&shared.metrics),
        reloads: reloads.clone(),
        asked,
        lasting: lasting.as_ref().map(Lasting::readers),
    });
    let reloader = reloader.context("cannot start a thread")?;
    ready.store(true, Ordering::Relaxed);
    tracing::info!(?feeds, ?http, metrics = ?metrics_address, rules = policy.version, "ringfence is ready");
    Ok(Running {
        feeds,
        http,
        metrics_address,
        office,
        metrics: shared.metrics,
        stop,
        ready,
        listeners,
        background,
        notifier,
        workers,
        engine,
        clocks,
        reloads,
        reloader,
        lasting,
        stop_timeout: config.stop_timeout,
    })
}

impl Running {
    /// Where the feed of this name listens.
    pub fn feed(&self, name: &str) -> Option<SocketAddr> {
        self.feeds.iter().find(|(n, _)| n == name).map(|(_, address)| *address)
    }

    /// The file of the token that makes the first admin, while there is none and somebody could come by HTTP.
    pub fn admin_token(&self) -> Option<PathBuf> {
        self.office.as_ref().filter(|_| self.http.is_some())?.people.admin_token()
    }

    /// What has been judged and found so far.
    pub fn totals(&self) -> Totals {
        self.notifier.totals()
    }

    /// Who drafts what was found in an incident.
    pub fn drafter(&self) -> Option<&Drafter> {
        self.lasting.as_ref().map(|lasting| &*lasting.drafter)
    }

    /// Where incidents are made and where they stand, of a service whose data outlive it.
    pub fn desk(&self) -> Option<(&Desk, &Store)> {
        self.lasting.as_ref().map(|lasting| (&lasting.desk, &*lasting.store))
    }

    /// Rules that are warming: their windows lack some of the past. They may count too little.
    pub fn warming(&self) -> usize {
        self.lasting.as_ref().map_or(0, |lasting| lasting.warming().load(Ordering::Relaxed))
    }

    /// Stops in order; nothing that was accepted is lost, unless it takes longer than the settings allow.
    pub async fn stop(self) -> Totals {
        self.ready.store(false, Ordering::Relaxed);
        self.stop.send_replace(true);
        let (engine, reloader) = (self.engine.clone(), self.reloader);
        if tokio::task::spawn_blocking(move || reloader.stop()).await.is_err() {
            tracing::error!("a reload that was under way failed");
        }
        let deadline = tokio::time::Instant::from_std(Clock.monotonic() + self.stop_timeout);
        for mut task in self.listeners.into_iter().chain(self.background) {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::error!(timeout = ?self.stop_timeout, "connections did not end in time and are cut off");
                task.abort();
            }
        }
        // As a replay does at the end of its input: what is over by now is told.
        engine.tick(self.clocks.reached(Clock.now(), engine.policy().lateness_ms));
        if let Some(lasting) = self.lasting {
            let Totals { judged, violations } = self.notifier.totals();
            audit::stopped(&lasting.store, judged, violations);
            let ended = tokio::task::spawn_blocking(move || lasting.end());
            if ended.await.is_err() {
                tracing::error!("the last snapshot failed; the next start takes longer");
            }
        }
        self.notifier.close();
        if !self.workers.finish(DELIVERY_TIMEOUT).await {
            tracing::error!(timeout = ?DELIVERY_TIMEOUT, "not everything that was found could be delivered");
        }
        let totals = self.notifier.totals();
        tracing::info!(events = totals.judged, violations = totals.violations, "stopped");
        totals
    }
}

/// Where events come in. All are bound before anything runs.
#[derive(Default)]
struct Entrances {
    listeners: Vec<(String, Listener)>,
    sockets: Vec<(String, Datagrams)>,
    doors: Vec<Arc<Door>>,
    /// Feeds whose calls are looked at when nothing comes.
    signalling: Vec<Arc<Feed>>,
}

impl Entrances {
    /// Where each feed listens, and the tasks that serve it until `stopping` turns true.
    fn run(self, stopping: &watch::Receiver<bool>) -> anyhow::Result<(Addresses, Vec<JoinHandle<()>>)> {
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for (name, listener) in self.listeners {
            addresses.push((name, listener.address()?));
            tasks.push(tokio::spawn(listener.run(stopping.clone())));
        }
        for (name, socket) in self.sockets {
            addresses.push((name, socket.address()?));
            tasks.push(tokio::spawn(socket.run(stopping.clone())));
        }
        tasks.extend(self.doors.into_iter().map(|door| tokio::spawn(door.close(stopping.clone()))));
        let settle = |feed| tokio::spawn(datagrams::settle(feed, stopping.clone()));
        tasks.extend(self.signalling.into_iter().map(settle));
        Ok((addresses, tasks))
    }
}

type Addresses = Vec<(String, SocketAddr)>;

/// What every feed is given.
struct Shared {
    engine: Engine,
    judges: Arc<Judges>,
    calls: Calls,
    feeds: Feeds,
    names: Arc<Names>,
    metrics: Arc<Metrics>,
    ledger: Arc<Ledger>,
    durable: Durable,
}

impl Shared {
    fn open(&mut self, config: &Config, policy: &Policy, clocks: &Arc<Clocks>) -> anyhow::Result<Entrances> {
        let mut entrances = Entrances::default();
        self.feeds.places = self.feeds.contexts(policy)?.into_iter().map(Current::from).collect();
        for ((index, settings), context) in config.feeds.iter().enumerate().zip(&self.feeds.places) {
            let delay_ms = settings.delay_ms(policy.lateness_ms);
            let feed = Arc::new(self.feed((index, settings), (context.clone(), delay_ms), config, clocks)?);
            let name = || settings.name.clone();
            if settings.over_http {
                entrances.doors.push(Arc::new(Door::new(Arc::clone(&feed), settings.listener.slow_timeout)));
            }
            let mut address = settings.listener.listen;
            if settings.over_tcp {
                let listener = Listener::bind(settings.listener.clone(), Arc::clone(&feed)).map_err(|e| anyhow!(e))?;
                // Datagrams come to the same port, also where the system chose it.
                address = listener.address()?;
                entrances.listeners.push((name(), listener));
            }
            if settings.over_udp {
                let socket = Datagrams::bind(address, Arc::clone(&feed)).map_err(|e| anyhow!(e))?;
                entrances.sockets.push((name(), socket));
            }
            if settings.format.is_signalling() {
                entrances.signalling.push(feed);
            }
        }
        Ok(entrances)
    }

    fn feed(
        &self,
        (index, settings): (usize, &FeedSettings),
        (context, delay_ms): (Current<FeedContext>, i64),
        config: &Config,
        clocks: &Arc<Clocks>,
    ) -> anyhow::Result<Feed> {
        let counters = self.metrics.feed(index).context("every feed has its metrics")?;
        Ok(Feed {
            format: settings.format.clone(),
            context,
            gateway: settings.gateway.clone(),
            tokens: settings.tokens.clone(),
            merge: settings.merge,
            dedup: settings.dedup,
            both_legs: settings.both_legs,
            delay_ms,
            verdict_deadline: config.verdict_deadline,
            engine: self.engine.clone(),
            judges: Arc::clone(&self.judges),
            names: Arc::clone(&self.names),
            metrics: Arc::clone(&self.metrics),
            counters: Arc::clone(counters),
            ledger: Arc::clone(&self.ledger),
            number: u16::try_from(index).context("too many feeds in the settings")?,
            durable: self.durable.clone(),
            clocks: Arc::clone(clocks),
            sample: Sample::default(),
            problems: Sample::default(),
        })
    }
}

type Http = (Option<SocketAddr>, Option<SocketAddr>, Vec<JoinHandle<()>>, Option<Arc<Office>>);

/// What counts, and who changes the rules it counts by.
struct Counting {
    engine: Engine,
    clocks: Arc<Clocks>,
    reloads: Reloads,
}

/// What the API works with.
fn office(lasting: &Lasting, config: &Config, counting: &Counting) -> anyhow::Result<Arc<Office>> {
    let folder = config.data.as_deref().context("what lasts has a folder")?;
    let people =
        People::open(Arc::clone(&lasting.store), folder, Clock.now()).context("cannot open the list of users")?;
    Ok(Arc::new(Office {
        store: Arc::clone(&lasting.store),
        desk: lasting.desk.clone(),
        terms: lasting.terms.clone(),
        engine: counting.engine.clone(),
        clocks: Arc::clone(&counting.clocks),
        wants_snapshot: lasting.wants_snapshot(),
        reloads: counting.reloads.clone(),
        people,
        drafter: Arc::clone(&lasting.drafter),
        receivers: (!config.receivers.is_empty()).then(|| Arc::new(Receivers::new(&config.receivers, &lasting.store))),
        acd: Arc::clone(&lasting.outgoing.board),
        receipts: lasting.outgoing.receipts.clone(),
        outbox: lasting.outgoing.outbox.clone(),
        links: lasting.outgoing.links.clone(),
        is_https: config.public_url.as_ref().is_some_and(|url| url.starts_with("https://")),
    }))
}

/// Says how somebody becomes the first who can let people in.
fn ask_for_admin(token: &Path) {
    let token = token.display();
    tracing::warn!(%token, "nobody can log in yet");
    eprintln!(
        "ringfence: nobody can log in yet. Within 24 hours, on this machine and as the user who can read {token}:\n\
         \n    ringfence user add NAME --roles admin,commander --save\n\n\
         That token is good for one use: it makes the first admin."
    );
}

/// One address for both kinds of pages where the settings say so.
async fn start_http(
    config: &Config,
    status: &Status,
    doors: &[Arc<Door>],
    (lasting, counting): (Option<&Lasting>, &Counting),
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<Http> {
    let office = lasting.map(|lasting| office(lasting, config, counting)).transpose()?;
    let mut tasks = Vec::new();
    let mut serve = async |address: Option<SocketAddr>, pages: Pages| -> anyhow::Result<Option<SocketAddr>> {
        let Some(address) = address else { return Ok(None) };
        let doors = if pages.health { doors } else { &[] };
        let portal = Portal::bind(address, pages, status.clone(), doors, office.clone()).await;
        let portal = portal.with_context(|| format!("cannot bind HTTP to {address}"))?;
        let address = portal.address()?;
        tasks.push(tokio::spawn(portal.run(stopping.clone())));
        Ok(Some(address))
    };
    let same = config.http.is_some() && config.http == config.metrics && config.http.is_some_and(|a| a.port() != 0);
    let http = serve(config.http, Pages { health: true, metrics: same }).await?;
    let metrics = if same { http } else { serve(config.metrics, Pages { health: false, metrics: true }).await? };
    tasks.extend(lasting.iter().flat_map(|lasting| lasting.outgoing.watch(http, stopping)));
    Ok((http, metrics, tasks, office))
}

fn labels(config: &Config, policy: &Policy) -> Labels {
    let firewall = policy.firewall.iter().map(|r| r.id.clone());
    Labels {
        feeds: config.feeds.iter().map(|f| f.name.clone()).collect(),
        kinds: Kind::ALL.iter().map(|k| k.as_str()).collect(),
        reject_reasons: Reject::ALL.iter().map(|r| r.as_str()).collect(),
        close_reasons: Close::ALL.iter().map(|c| c.as_str()).collect(),
        actions: Action::ALL.iter().map(|a| a.as_str()).collect(),
        causes: Cause::ALL.iter().map(|c| c.as_str()).collect(),
        levels: Severity::ALL.iter().map(|s| s.as_str()).collect(),
        rules: firewall.chain(policy.thresholds.iter().map(|r| r.id.clone())).collect(),
        n_firewall_rules: policy.firewall.len(),
        channels: config.notify.channels(),
        delivery_channels: delivery::channels(config.notify.webhooks.keys()),
        n_severities: incident::Severity::ALL.len() as u8,
        incident_states: IncidentState::ALL.iter().map(|s| s.as_str()).collect(),
        policy_version: policy.version.clone(),
    }
}

fn n_threads(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    config.threads.unwrap_or_else(cores)
}

async fn tick(engine: Engine, clocks: Arc<Clocks>, mut stopping: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => engine.tick(clocks.reached(Clock.now(), engine.policy().lateness_ms)),
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

async fn upkeep(
    metrics: Arc<Metrics>,
    notifier: Arc<Notifier>,
    calls: Calls,
    lasting: Option<lasting::Measured>,
    receivers: Option<Arc<Receivers>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {
                metrics.run_upkeep();
                let figures = lasting.as_ref().map(|(.., outbox)| outbox.take_figures()).unwrap_or_default();
                notifier.measure(Duration::from_millis(figures.oldest_ms.unsigned_abs()));
                measure_deliveries(&metrics, &figures);
                if let Some(counts) = receivers.as_ref().map(|receivers| receivers.counts()) {
                    metrics.upstream.measure(counts.taken, counts.strangers, counts.put_off);
                }
                let mut held = 0;
                for counts in calls.tables.iter().map(|(_, table)| table.take_counts()) {
                    held += counts.held;
                    metrics.calls_expired.increment(counts.expired);
                    metrics.calls_evicted.increment(counts.evicted);
                }
                metrics.calls.set(held as f64);
                if let Some((journal, warming, desk, _)) = &lasting {
                    measure_desk(&metrics, desk);
                    metrics.journal.measure(&journal_figures(journal));
                    metrics.journal.rules_warming.set(warming.load(Ordering::Relaxed) as f64);
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

fn measure_deliveries(metrics: &Metrics, figures: &Figures) {
    let of = &metrics.deliveries;
    figures.outcomes.iter().for_each(|(channel, state, n)| of.outcome(channel, state, *n));
    of.waiting.set(figures.waiting as f64);
    of.providers_down.set(figures.down.len() as f64);
    of.mail_down.set(f64::from(u8::from(figures.is_mail_down)));
}

fn measure_desk(metrics: &Metrics, desk: &Desk) {
    let counts = desk.counts();
    let place = |state: IncidentState| IncidentState::ALL.iter().position(|s| *s == state).unwrap_or_default();
    let incidents = counts.incidents.iter().map(|(severity, state, n)| (severity.number(), place(*state), *n));
    metrics.incidents.measure(incidents, counts.objective_left_ms, desk.breaches());
}

fn journal_figures(journal: &Journal) -> JournalFigures {
    let counts = journal.counts();
    JournalFigures {
        bytes: counts.bytes,
        records: counts.records,
        failures: counts.failures,
        outside: counts.outside,
        backlog_bytes: counts.backlog_bytes,
        is_stuck: journal.stuck().is_some(),
    }
}

/// A descriptor a connection: as many as the system lets us have without asking.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
}

/// What an operator says by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until told to stop; meanwhile has rules read again when told so.
    async fn stop(&mut self, reloads: Option<&Reloads>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reloads.into_iter().for_each(|reloads| reloads.ask(Asker::Signal)),
            }
        }
    }
}
