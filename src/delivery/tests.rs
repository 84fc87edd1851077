//! The outbox over a real store, with providers that say what a test wants said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::link::Links;
use super::route::{CALL_SHEET, MAIL, Provider, SMS, Sender};
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::desk;
use crate::incident::{Actor, Command, Given, Purpose, Role, Roles, Severity, Terms};
use crate::kit::Kits;
use crate::policy::{LoadOptions, RuleSource, load};
use crate::store::{Change, DeliveryChange, DeliveryQuery, DeliveryRow, NewDelivery, SubjectKind, TransitionRow};

/// What a provider does with the parcels that come to it.
type Answer = Box<dyn Fn(&Parcel, usize) -> Outcome + Send + Sync>;

/// A provider whose answers a test writes, and that remembers what it got.
#[derive(Clone)]
pub(super) struct Script {
    answer: Arc<Answer>,
    found: Arc<Mutex<BTreeMap<String, Found>>>,
    got: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    fn new(answer: impl Fn(&Parcel, usize) -> Outcome + Send + Sync + 'static) -> Script {
        Script { answer: Arc::new(Box::new(answer)), found: Arc::default(), got: Arc::default() }
    }

    fn works() -> Script {
        Script::new(|_, n| Outcome::Handed { receipt: n.to_string() })
    }

    fn broken() -> Script {
        Script::new(|_, _| Outcome::Later("connection refused".into()))
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> Outcome {
        tokio::task::yield_now().await;
        let mut got = self.got.lock().unwrap();
        got.push(parcel.name.clone());
        (self.answer)(parcel, got.len())
    }

    pub(super) fn find(&self, name: &str) -> Found {
        let unclear = Found::Unclear("it cannot be asked".into());
        self.found.lock().unwrap().get(name).cloned().unwrap_or(unclear)
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

/// A desk and an outbox of one customer whose file is `text`.
struct Site {
    store: Arc<Store>,
    desk: Desk,
    outbox: Outbox,
}

const ACME: &str = r#"
name = "Acme"
[[contact]]
id = "anna"
name = "Anna Berg"
email = "anna@acme.example"
mobile = "+13125550111"
rights = ["receive"]
[[contact]]
id = "bo"
name = "Bo Chen"
email = "ANNA@acme.example"
rights = ["receive"]
[[distribution]]
severities = [1, 2, 3, 4]
audience = "customer"
to = ["anna"]
channels = ["mail"]
[[distribution]]
severities = [1, 2, 3, 4]
audience = "staff"
to = ["bo", "anna"]
channels = ["mail"]
[escalation]
name = "Desk"
phone = "+13125550999"
"#;

fn customers(text: &str) -> Arc<Customers> {
    let rules = tempfile::tempdir().unwrap();
    std::fs::create_dir(rules.path().join("customers")).unwrap();
    std::fs::write(rules.path().join("ruleset.toml"), "ringfence = 1\ndefault_action = 'allow'\n").unwrap();
    std::fs::write(rules.path().join("customers/acme.toml"), text).unwrap();
    let loaded = load(&RuleSource::at(rules.path()), LoadOptions::default());
    loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.problems)).customers
}

impl Site {
    fn begin(folder: &Path, file: Option<&str>, providers: &[(&str, &str, &Script)]) -> Site {
        Site::begin_where(folder, file, providers, &[])
    }

    /// `mail_groups`: incidents of these concern mail itself.
    fn begin_where(
        folder: &Path,
        file: Option<&str>,
        providers: &[(&str, &str, &Script)],
        mail_groups: &[&str],
    ) -> Site {
        let store = Arc::new(Store::open(folder).unwrap().0);
        let customers = file.map_or_else(|| Arc::new(Customers::open(TimeZone::UTC)), customers);
        let terms =
            Terms { customers: Arc::clone(&customers), kits: Arc::new(Kits::shipped()), own_kits: BTreeMap::new() };
        let (rules, renamed, whats) = Default::default();
        let charge = desk::Charge { store: Arc::clone(&store), terms, rules, renamed, whats };
        let desk = Desk::start(charge).unwrap();
        let mut routes: BTreeMap<String, Vec<Provider>> = BTreeMap::new();
        routes.insert(CALL_SHEET.into(), vec![Provider::new(CALL_SHEET, Sender::Sheet)]);
        for (channel, name, script) in providers {
            routes
                .entry((*channel).to_owned())
                .or_default()
                .push(Provider::new(*name, Sender::Script((*script).clone())));
        }
        let links = Links::open(folder, Some("https://ringfence.example".into())).unwrap();
        let board = Board::start(crate::acd::Settings::default(), None).unwrap();
        let board = Arc::new(board);
        let charge =
            Charge { store: Arc::clone(&store), desk: desk.clone(), customers: customers.into(), links, board };
        let outbox = Outbox::run(
            with_providers(routes),
            mail_groups.iter().map(|group| (*group).to_owned()).collect(),
            charge,
            Handle::current(),
        )
        .unwrap();
        Site { store, desk, outbox }
    }

    fn stop(self) {
        self.outbox.stop();
        self.desk.stop();
        self.store.close();
    }

    /// Opens an incident of this severity, and releases its holding notice.
    fn release(&self, severity: Severity, kit: &str) -> i64 {
        let open = Command::Open { customer: "acme".into(), what: "noise".into(), severity, why: String::new() };
        let incident = self.desk.order(person("anna"), open).unwrap().incident.unwrap();
        self.say(incident, kit);
        incident
    }

    fn say(&self, incident: i64, kit: &str) -> i64 {
        let mut given = Given::default();
        if kit == "resolved" {
            given.texts.insert("changed".into(), "the trunk is closed".into());
        }
        let draft = Command::Draft { incident, kit: kit.into(), given };
        let message = self.desk.order(person("anna"), draft).unwrap().message.unwrap();
        self.finish(message);
        message
    }

    fn finish(&self, message: i64) {
        let body = self.store.subject(SubjectKind::Message, message).unwrap().unwrap().body;
        let hash = serde_json::from_str::<serde_json::Value>(&body).unwrap()["hash"].as_str().unwrap().to_owned();
        self.desk.order(person("carl"), Command::Check { message, hash: hash.clone() }).unwrap();
        self.desk.order(person("carl"), Command::Release { message, hash }).unwrap();
    }

    fn rows(&self) -> Vec<DeliveryRow> {
        let mut rows = self.store.deliveries(&DeliveryQuery::default()).unwrap().rows;
        rows.reverse();
        rows
    }

    fn notices(&self) -> Vec<DeliveryRow> {
        self.rows().into_iter().filter(|row| about(row).purpose == Purpose::Notice).collect()
    }

    fn is_told(&self, incident: i64) -> bool {
        let body = self.store.subject(SubjectKind::Incident, incident).unwrap().unwrap().body;
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["notified"].is_string()
    }

    fn steps(&self, id: i64) -> Vec<TransitionRow> {
        let page = self.store.transitions(SubjectKind::Delivery, id, 0, 0).unwrap();
        page.rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn person(name: &str) -> Actor {
    Actor { name: name.into(), roles: Roles::new([Role::Responder, Role::Commander]), from: "local".into() }
}

fn about(row: &DeliveryRow) -> crate::incident::About {
    serde_json::from_str(&row.body).unwrap()
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let until = Clock.monotonic() + Duration::from_secs(20);
    while !is_so() {
        assert!(Clock.monotonic() < until, "it did not come: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn states(rows: &[DeliveryRow]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row.channel.as_str(), row.state.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mail_for_each_person_of_overlapping_lists_and_the_customer_counts_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let mail = Script::works();
    let site = Site::begin(folder.path(), Some(ACME), &[(MAIL, "relay", &mail)]);
    let incident = site.release(Severity::MINOR, "holding");
    wait_for("told", || site.is_told(incident));
    // Anna stands on both lists, and Bo has her address.
    assert_eq!(states(&site.notices()), [("mail", "handed")]);
    assert_eq!(site.notices()[0].receipt, "1");
    let whats: Vec<String> = site.steps(site.notices()[0].id).into_iter().map(|step| step.what).collect();
    assert_eq!(whats, ["queued", "leased", "handed"]);
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn grave_notices_go_by_the_next_provider_then_by_text_then_to_the_call_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let (mail, one, two) = (Script::broken(), Script::broken(), Script::broken());
    let providers = [(MAIL, "relay", &mail), (SMS, "one", &one), (SMS, "two", &two)];
    let site = Site::begin(folder.path(), Some(ACME), &providers);
    let incident = site.release(Severity::DISASTER, "holding");
    let sheet = || site.notices().into_iter().find(|row| row.channel == CALL_SHEET);
    wait_for("on the call sheet", || sheet().is_some_and(|row| row.state == "handed"));
    assert!(!one.got().is_empty() && !two.got().is_empty(), "both were tried");
    assert!(!site.is_told(incident), "nobody has been told by standing on a sheet");
    let row = sheet().unwrap();
    assert_eq!((row.address.as_str(), about(&row).person.as_str()), ("+13125550111", "Anna Berg"));
    // Everybody can read why.
    assert!(site.steps(row.id)[0].why.contains("instead of"), "{:?}", site.steps(row.id));
    let tick = Order::Tick { delivery: row.id, tick: Tick::Reached, note: "she knows".into() };
    let outbox = site.outbox.clone();
    tokio::task::spawn_blocking(move || outbox.order(By::person("tom", "local"), tick)).await.unwrap().unwrap();
    wait_for("told by phone", || site.is_told(incident));
    assert_eq!(sheet().unwrap().state, "delivered");
    let audits = site.store.audits(&crate::store::Query::default()).unwrap().rows;
    let tick = audits.iter().map(|(_, audit)| audit).find(|audit| audit.action == "delivery reached").unwrap();
    let wanted = ("tom", "local", crate::incident::delivery_name(row.id));
    assert_eq!((tick.who.as_str(), tick.from.as_str(), tick.subject.clone()), wanted);
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_when_it_ended_is_asked_for_before_it_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Store::open(folder.path()).unwrap().0;
        for n in 1..=3 {
            let new = new_delivery(n, SMS, "+4670000000");
            write(&store, DeliveryChange { queue: vec![new], ..DeliveryChange::default() });
            let row = store.delivery(n).unwrap().unwrap();
            let mut step = By::person("ringfence", "local").step(&row, "leased", Clock.now(), "leased", "one");
            step.provider = Some("one".into());
            write(&store, DeliveryChange { steps: vec![step], ..DeliveryChange::default() });
        }
        store.close();
    }
    let one = Script::works();
    one.found.lock().unwrap().insert("DLV-000001".into(), Found::Handed { receipt: "x".into() });
    one.found.lock().unwrap().insert("DLV-000002".into(), Found::Absent);
    let site = Site::begin(folder.path(), Some(ACME), &[(SMS, "one", &one)]);
    wait_for("two are settled", || states(&site.rows())[..2] == [("sms", "handed"), ("sms", "handed")]);
    assert_eq!(one.got(), ["DLV-000002"], "only what certainly was not there is sent, and once");
    let third = &site.rows()[2];
    assert_eq!((third.state.as_str(), third.reason.as_str()), ("unknown", "one: it cannot be asked"));
    // Its receipt comes after all.
    let receipt = Receipt { delivery: 3, provider: "one".into(), is_delivered: true, failed: None };
    let outbox = site.outbox.clone();
    assert!(tokio::task::spawn_blocking(move || outbox.receipt(receipt)).await.unwrap());
    assert_eq!(site.rows()[2].state, "delivered");
    site.stop();
}

fn new_delivery(n: i64, channel: &str, address: &str) -> NewDelivery {
    let about = crate::incident::About {
        purpose: Purpose::Page,
        contact: String::new(),
        person: "Bo".into(),
        audience: "on-call".into(),
        kit: "page".into(),
        is_end: false,
        subject: "s".into(),
        text: "t".into(),
        instead_of: None,
    };
    let now = Clock.now();
    NewDelivery {
        once: format!("test/{n}/{channel}/{address}"),
        customer: "acme".into(),
        incident: Some(n),
        message: None,
        severity: 3,
        channel: channel.into(),
        address: address.into(),
        person: "/Bo".into(),
        is_contact: false,
        body: serde_json::to_string(&about).unwrap(),
        queued: now,
        due: now,
        valid_until: now.plus_ms(3_600_000),
        why: "a test".into(),
    }
}

fn write(store: &Store, change: DeliveryChange) {
    store.record(vec![Change::Deliveries(change)]).unwrap().wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_notice_takes_the_place_of_what_was_not_sent_and_everybody_told_hears_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mail = Script::broken();
    let site = Site::begin(folder.path(), Some(ACME), &[(MAIL, "relay", &mail)]);
    let incident = site.release(Severity::MINOR, "holding");
    wait_for("tried", || !mail.got().is_empty());
    wait_for("queued again", || site.notices()[0].state == "queued");
    site.desk.order(person("carl"), Command::Confirm { incident, why: String::new() }).unwrap();
    let given = Given { texts: [("scope".to_owned(), "one trunk".to_owned())].into(), next_update: None };
    let draft = Command::Draft { incident, kit: "confirmed".into(), given };
    let message = site.desk.order(person("anna"), draft).unwrap().message.unwrap();
    site.finish(message);
    wait_for("superseded", || states(&site.notices())[0] == ("mail", "superseded"));
    assert_eq!(site.notices()[0].reason, "MSG-000002 says more");
    site.stop();
    // By the end of it the file names nobody any more.
    let nobody = "name = 'Acme'\n[escalation]\nname = 'Desk'\nphone = '+13125550999'\n";
    let works = Script::works();
    let site = Site::begin(folder.path(), Some(nobody), &[(MAIL, "relay", &works), (SMS, "one", &works)]);
    site.desk.order(person("carl"), Command::Resolve { incident, why: "over".into() }).unwrap();
    let resolved = site.say(incident, "resolved");
    let of_end = || site.notices().into_iter().filter(|row| row.message == Some(resolved)).collect::<Vec<_>>();
    wait_for("sent", || of_end().iter().all(|row| row.state == "handed") && of_end().len() == 2);
    let addresses: BTreeSet<String> = of_end().into_iter().map(|row| row.address).collect();
    assert_eq!(addresses, ["+13125550999".to_owned(), "anna@acme.example".to_owned()].into());
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_texts_become_one_digest_but_never_those_of_severity_1() {
    let folder = tempfile::tempdir().unwrap();
    let text = ACME
        .replace("channels = [\"mail\"]", "channels = [\"sms\"]")
        .replace("to = [\"bo\", \"anna\"]", "to = [\"anna\"]");
    let sms = Script::works();
    let site = Site::begin(folder.path(), Some(&text), &[(SMS, "one", &sms)]);
    for _ in 0..8 {
        site.release(Severity::MINOR, "holding");
    }
    let count = |state: &str| site.notices().iter().filter(|row| row.state == state).count();
    wait_for("five sent", || (count("handed"), count("suppressed")) == (5, 3));
    let digests: Vec<DeliveryRow> =
        site.rows().into_iter().filter(|row| about(row).purpose == Purpose::Digest).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(digests[0].due > Clock.now().plus_ms(14 * 60_000));
    assert!(super::digest::text(&digests[0], &site.store).unwrap().starts_with("3 incidents have news: INC-"));
    let grave = site.release(Severity::DISASTER, "holding");
    wait_for("the gravest goes out", || site.is_told(grave));
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_nobody_serves_is_told_as_such_and_standard_output_stands_in_where_nobody_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = ACME.replacen("channels = [\"mail\"]", "channels = [\"mail\", \"webhook:noc\"]", 1);
    let works = Script::works();
    let site = Site::begin(folder.path(), Some(&text), &[(MAIL, "relay", &works)]);
    site.release(Severity::MINOR, "holding");
    let hook = || site.notices().into_iter().find(|row| row.channel == "webhook:noc").unwrap();
    wait_for("refused", || hook().state == "failed");
    assert_eq!(hook().reason, "the settings have no provider for `webhook:noc`");
    site.stop();
    let folder = tempfile::tempdir().unwrap();
    let site = Site::begin(folder.path(), None, &[(crate::incident::STDOUT, "out", &works)]);
    let incident = site.release(Severity::MINOR, "holding");
    wait_for("told", || site.is_told(incident));
    assert_eq!(states(&site.notices()), [("stdout", "handed")]);
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_fails_and_can_be_tried_again_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mail = Script::new(|_, n| match n {
        1 => Outcome::Never("550 no such user".into()),
        _ => Outcome::Handed { receipt: String::new() },
    });
    let site = Site::begin(folder.path(), Some(ACME), &[(MAIL, "relay", &mail)]);
    site.release(Severity::MINOR, "holding");
    wait_for("refused", || states(&site.notices()) == [("mail", "failed")]);
    assert_eq!(site.notices()[0].reason, "relay: 550 no such user");
    let outbox = site.outbox.clone();
    let retry = Order::Retry { delivery: site.notices()[0].id };
    tokio::task::spawn_blocking(move || outbox.order(By::person("tom", "local"), retry)).await.unwrap().unwrap();
    wait_for("handed", || states(&site.notices()) == [("mail", "handed")]);
    site.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_mail_itself_goes_by_text_too_though_mail_seems_to_work() {
    let folder = tempfile::tempdir().unwrap();
    let (mail, sms) = (Script::works(), Script::works());
    let providers = [(MAIL, "relay", &mail), (SMS, "one", &sms)];
    // What a person opens is of no group.
    let site = Site::begin_where(folder.path(), Some(ACME), &providers, &[""]);
    site.release(Severity::MINOR, "holding");
    site.release(Severity::MAJOR, "holding");
    let of = |channel: &str| site.notices().into_iter().filter(|row| row.channel == channel).collect::<Vec<_>>();
    wait_for("by both ways", || of(SMS).iter().any(|row| row.state == "handed") && of(MAIL).len() == 2);
    assert_eq!(of(SMS).len(), 1, "only what is grave");
    assert_eq!(of(MAIL).iter().map(|row| row.fell_back).collect::<Vec<_>>(), [false, true]);
    site.stop();
}

#[test]
fn a_provider_is_given_so_many_a_minute_and_the_gravest_never_wait() {
    let mut provider = Provider::new("one", Sender::Sheet).at_most(Some(2));
    let at = |ms: i64| Timestamp(1_000_000 + ms);
    provider.gave(at(0));
    provider.gave(at(10));
    let mut route = Route { providers: vec![provider], n_sending: 0, n_sending_max: 1 };
    assert_eq!((route.next("", 2, at(59_999)), route.next("", 1, at(59_999))), (None, Some(0)));
    assert_eq!(route.next("", 4, at(60_000)), Some(0));
    // One of severity 1 takes the place of the oldest.
    route.providers[0].gave(at(50_000));
    assert_eq!(route.next("", 2, at(60_000)), None);
    assert_eq!(route.next("", 2, at(60_010)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_came_is_a_second_try_at_most_and_what_is_too_old_expires() {
    let folder = tempfile::tempdir().unwrap();
    let mail = Script::new(|_, n| match n {
        1 => Outcome::Unknown("the connection broke after the text".into()),
        _ => Outcome::Handed { receipt: String::new() },
    });
    let site = Site::begin(folder.path(), Some(ACME), &[(MAIL, "relay", &mail)]);
    let mut old = new_delivery(1, MAIL, "late@acme.example");
    old.valid_until = Timestamp(old.queued.0 - 1);
    write(&site.store, DeliveryChange { queue: vec![old], ..DeliveryChange::default() });
    wait_for("expired", || site.rows()[0].state == "expired");
    assert!(mail.got().is_empty());
    write(&site.store, DeliveryChange { queue: vec![new_delivery(2, MAIL, "a@b.example")], ..Default::default() });
    wait_for("handed", || site.rows()[1].state == "handed");
    assert_eq!(mail.got().len(), 2);
    let whats: Vec<String> = site.steps(2).into_iter().map(|step| step.what).collect();
    assert_eq!(whats, ["queued", "leased", "unanswered", "requeued", "leased", "handed"]);
    site.stop();
}
