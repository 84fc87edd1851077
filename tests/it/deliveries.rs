//! Deliveries, the call sheet and those on call, as people meet them: a real service, its API, its commands and the page
//! behind a link.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Guest, House, open, out, types};

/// Anna of the customer is phoned, Bo of ours gets mail, Cia is told of other severities; Maria is on call, then Lars.
const ACME: &str = r#"
name = "Acme Ltd"
time_zone = "Europe/Stockholm"
[[contact]]
id = "anna"
name = "Anna Berg"
mobile = "+4670000001"
mobile_verified = true
rights = ["receive"]
[[contact]]
id = "bo"
name = "Bo Chen"
email = "bo@operator.example"
email_verified = true
rights = ["receive"]
[[contact]]
id = "cia"
email = "cia@acme.example"
email_verified = true
rights = ["receive"]
[[contact]]
id = "maria"
name = "Maria <Lund>"
user = "maria"
mobile = "+4670000002"
mobile_verified = true
rights = ["receive"]
[[contact]]
id = "lars"
name = "Lars"
mobile = "+4670000003"
mobile_verified = true
rights = ["receive"]
[[distribution]]
severities = [1, 2]
audience = "customer"
to = ["anna"]
channels = ["call-sheet"]
[[distribution]]
severities = [1, 2]
audience = "staff"
to = ["bo"]
channels = ["mail"]
[[distribution]]
severities = [3, 4]
audience = "helpdesk"
to = ["cia"]
channels = ["mail"]
[[oncall]]
severities = [1, 2]
channels = ["sms"]
steps = [{ to = ["maria"] }, { to = ["lars"], after = "20m" }]
[command]
commanders = ["anna"]
[escalation]
name = "Desk"
phone = "+4684000100"
"#;

fn house() -> House {
    House::with("", vec![("customers/acme.toml", ACME.to_owned())])
}

/// Until it is so; what is waited for is on the disk of another thread.
pub(crate) fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "it did not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The holding notice of an incident, drafted by one and released by the other; its number.
fn releases(commander: &Guest<'_>, responder: &Guest<'_>, incident: &str) -> String {
    releases_this(commander, responder, incident, &json!({ "kit": "holding" }))
}

fn releases_this(commander: &Guest<'_>, responder: &Guest<'_>, incident: &str, draft: &Value) -> String {
    let done = responder.does(&format!("/incidents/{incident}/messages"), draft);
    let message = done["message"].as_str().expect("a number").to_owned();
    let hash = json!({ "hash": commander.sees(&format!("/messages/{message}"))["hash"] });
    commander.does(&format!("/messages/{message}/check"), &hash);
    commander.does(&format!("/messages/{message}/release"), &hash);
    message
}

fn rows<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value[name].as_array().expect("a list")
}

/// The notice's delivery by this channel, once it is in this state.
fn comes(guest: &Guest<'_>, message: &str, channel: &str, state: &str) -> Value {
    wait_for(&format!("{channel} {state}"), || {
        let list = guest.sees(&format!("/deliveries?message={message}&channel={channel}&state={state}"));
        list["deliveries"].as_array()?.first().cloned()
    })
}

#[test]
fn a_notice_by_telephone_counts_as_told_once_somebody_was_reached() {
    let house = house();
    let anna = house.with_anna();
    let (bert, vera) = (anna.adds("bert", &["responder"]), anna.adds("vera", &["viewer"]));
    let incident = open(&bert, 1);
    let message = releases(&anna, &bert, &incident);
    let by_phone = comes(&vera, &message, "call-sheet", "handed");
    comes(&vera, &message, "mail", "handed");
    let id = by_phone["id"].as_str().expect("a number");
    let told = |guest: &Guest<'_>| guest.sees(&format!("/incidents/{incident}"))["incident"]["notified"].clone();
    assert_eq!((&by_phone["person"], &by_phone["address"]), (&json!("Anna Berg"), &json!("+4670000001")));
    assert!(told(&vera).is_null(), "nobody of the customer has heard");
    let sheet = vera.sees("/callsheet");
    let call = &rows(&sheet, "calls")[0];
    assert_eq!((&call["id"], &call["number"]), (&by_phone["id"], &json!("+4670000001")));
    let text = call["text"].as_str().expect("what to read out");
    assert!(text.contains(&incident) && call["warning"].is_null(), "{call}");
    assert_eq!(call["why"], "audience customer, severity 1");
    // Who looks, looks.
    let reached = json!({ "reached": true, "note": "she tells her team" });
    let refused = vera.may_not(&format!("/callsheet/{id}"), &reached, 403);
    assert!(refused.contains("responder or a commander") && refused.contains("vera"), "{refused}");
    bert.may_not(&format!("/callsheet/{id}"), &json!({ "note": "x" }), 422);
    bert.may_not("/callsheet/DLV-000999", &reached, 404);
    let done = bert.does(&format!("/callsheet/{id}"), &reached);
    assert_eq!(done["delivery"]["became"], "was reached by phone by bert: she tells her team");
    wait_for("told", || told(&vera).as_str().map(str::to_owned));
    assert!(bert.may_not(&format!("/callsheet/{id}"), &reached, 409).contains("only what stands on the call sheet"));
    assert!(rows(&vera.sees("/callsheet"), "calls").is_empty());
    let page = vera.sees(&format!("/deliveries/{id}"));
    let steps: Vec<&str> = rows(&page, "steps").iter().filter_map(|step| step["what"].as_str()).collect();
    assert_eq!(steps, ["queued", "leased", "handed", "reached"]);
    assert_eq!((&page["steps"][3]["who"], &page["steps"][3]["came_from"]), (&json!("bert"), &json!("local")));
    drop(house);
}

#[test]
fn whoever_phones_says_only_what_is_still_so() {
    let house = house();
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let incident = open(&bert, 1);
    let first = releases(&anna, &bert, &incident);
    comes(&bert, &first, "call-sheet", "handed");
    bert.does(&format!("/incidents/{incident}/confirm"), &json!({ "why": "seen" }));
    let draft = json!({ "kit": "confirmed", "texts": { "scope": "the office in Dallas" } });
    let second = releases_this(&anna, &bert, &incident, &draft);
    comes(&bert, &second, "call-sheet", "handed");
    let sheet = bert.sees("/callsheet");
    let calls = rows(&sheet, "calls");
    assert_eq!(calls.len(), 1, "what the later notice says more of stands there no more: {sheet}");
    assert_eq!(calls[0]["message"], json!(second));
    assert!(calls[0]["warning"].is_null() && calls[0]["text"].as_str().is_some_and(|text| text.contains("Dallas")));
    comes(&bert, &first, "call-sheet", "superseded");
    drop(house);
}

#[test]
fn why_says_of_everybody_what_became_of_each_way() {
    let house = house();
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let incident = open(&bert, 1);
    let before = bert.sees(&format!("/incidents/{incident}/told"));
    assert_eq!(before["is_released"], false);
    let message = releases(&anna, &bert, &incident);
    comes(&bert, &message, "mail", "handed");
    comes(&bert, &message, "call-sheet", "handed");
    let told = bert.sees(&format!("/messages/{message}/told"));
    let of = |told: &Value, name: &str| {
        let person = rows(told, "people").iter().find(|person| person["person"] == name).cloned();
        person.unwrap_or_else(|| panic!("{name} in {told}"))
    };
    let became = |person: &Value| person["ways"][0]["became"].as_str().expect("a sentence").to_owned();
    assert_eq!(became(&of(&told, "Bo Chen")), "standard output took it");
    assert_eq!(of(&told, "Bo Chen")["ways"][0]["why"], "audience staff, severity 1");
    let stands = |name: &str| of(&told, name)["stands"].as_str().expect("a word").to_owned();
    assert_eq!(["Bo Chen", "Anna Berg", "Lars"].map(stands), ["told", "waiting", "not-meant"]);
    assert_eq!(became(&of(&told, "cia")), "is told of severity 3 and 4 only, and this is 1");
    assert_eq!(became(&of(&told, "Lars")), "no distribution of the customer's file names them");
    // Of the incident, those on call as well.
    let whole = bert.sees(&format!("/incidents/{incident}/told"));
    let lars = of(&whole, "Lars");
    let call = rows(&lars, "ways").iter().find(|way| way["purpose"] == "page").cloned().expect("a call to come");
    assert!(call["at"].is_string() && call["became"].as_str().is_some_and(|s| s.contains("unless")), "{call}");
    assert_eq!(bert.get("/incidents/INC-000999/told").0, 404);
    assert_eq!(bert.get("/messages/MSG-000999/told").0, 404);
    drop(house);
}

#[test]
fn deliveries_are_narrowed_and_tried_again_by_those_who_may() {
    let house = House::with(
        "",
        vec![("customers/acme.toml", ACME.replace("channels = [\"mail\"]", "channels = [\"mail\", \"webhook:noc\"]"))],
    );
    let anna = house.with_anna();
    let (bert, vera) = (anna.adds("bert", &["responder"]), anna.adds("vera", &["viewer"]));
    let incident = open(&bert, 1);
    let message = releases(&anna, &bert, &incident);
    comes(&bert, &message, "mail", "handed");
    let hook = comes(&bert, &message, "webhook:noc", "failed");
    assert_eq!(hook["became"], "failed for good: the settings have no provider for `webhook:noc`");
    let count = |query: &str| rows(&vera.sees(&format!("/deliveries?{query}")), "deliveries").len();
    assert_eq!(count(&format!("message={message}")), 3);
    assert_eq!((count("dead=true"), count("dead=true&state=expired"), count("state=failed")), (1, 0, 1));
    assert_eq!((count("person=bo%20chen"), count("person=BO"), count("person=%2B4670000001")), (1, 1, 1));
    assert_eq!((count("customer=beta"), count("incident=INC-000009"), count("channel=mail")), (0, 0, 1));
    let first = vera.sees("/deliveries?limit=1");
    let rest = vera.sees(&format!("/deliveries?cursor={}", first["next"].as_str().expect("more")));
    assert_ne!(first["deliveries"][0]["id"], rest["deliveries"][0]["id"]);
    for query in ["state=happy", "dead=perhaps", "dead=true&state=handed", "incident=MSG-1", "cursor=x", "limit=0"] {
        assert_eq!(vera.get(&format!("/deliveries?{query}")).0, 422, "{query}");
    }
    for path in ["/deliveries/0", "/deliveries/DLV-000999", "/deliveries/INC-000001", "/deliveries/%00"] {
        assert_eq!(vera.get(path).0, 404, "{path}");
    }
    let path = |id: &Value| format!("/deliveries/{}/retry", id.as_str().expect("a number"));
    vera.may_not(&path(&hook["id"]), &json!({}), 403);
    let again = bert.does(&path(&hook["id"]), &json!({}));
    assert_eq!(again["delivery"]["id"], hook["id"]);
    let came = comes(&bert, &message, "mail", "handed");
    assert!(bert.may_not(&path(&came["id"]), &json!({}), 409).contains("nothing to try again"));
    let steps = wait_for("tried again", || {
        let page = vera.sees(&format!("/deliveries/{}", hook["id"].as_str()?));
        (page["delivery"]["state"] == "failed").then(|| page["steps"].clone())
    });
    let steps = steps.as_array().expect("steps");
    assert!(steps.iter().any(|step| step["what"] == "retried by hand" && step["who"] == "bert"), "{steps:?}");
    drop(house);
}

/// The link in the call to Maria, without what stands before the path.
fn link(house: &House) -> String {
    let path = house.folder.path().join("notices");
    let line = wait_for("a call", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kit"] == "page").find_map(|line| line["link"].as_str().map(str::to_owned))
    });
    line.strip_prefix("https://ringfence.example").expect("it begins so").to_owned()
}

/// Head and body.
fn browse(house: &House, method: &str, path: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = house.raw(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn a_link_shows_and_only_its_button_acknowledges() {
    let house = house();
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let incident = open(&bert, 1);
    let path = link(&house);
    let called = |guest: &Guest<'_>| rows(&guest.sees("/oncall"), "now")[0].clone();
    for method in ["GET", "HEAD", "GET"] {
        let (head, body) = browse(&house, method, &path);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for header in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-robots-tag: noindex",
            "content-security-policy: default-src 'none'",
            "content-type: text/html; charset=utf-8",
        ] {
            assert!(head.contains(header), "{header} in {head}");
        }
        assert!(method == "HEAD" || body.contains("I look after it"), "{body}");
        assert!(!body.contains("<Lund>") && !body.contains("<script"), "{body}");
        assert_eq!(called(&bert)["state"], "calling", "looking changes nothing");
    }
    let (_, body) = browse(&house, "GET", &path);
    for said in [incident.as_str(), "Severity 1", "Acme Ltd", "calls fail", "Maria &lt;Lund&gt;"] {
        assert!(body.contains(said), "{said} in {body}");
    }
    let (head, body) = browse(&house, "POST", &path);
    assert!(head.starts_with("http/1.1 200") && body.contains("You look after INC-000001 now"), "{head} {body}");
    let now = called(&bert);
    assert_eq!((&now["state"], &now["acknowledged_by"]), (&json!("acknowledged"), &json!("Maria <Lund>")));
    assert!(browse(&house, "POST", &path).1.contains("You have looked after it since"));
    let steps = bert.sees(&format!("/incidents/{incident}/transitions"));
    let said: Vec<&Value> = rows(&steps, "transitions").iter().filter(|s| s["what"] == "acknowledged").collect();
    assert_eq!((said.len(), &said[0]["came_from"]), (1, &json!("link")));
    // Another is told who was first.
    let hints = bert.does(&format!("/incidents/{incident}/acknowledge"), &json!({}));
    assert!(hints["hints"][0].as_str().is_some_and(|hint| hint.starts_with("Maria <Lund> has looked after")));
    let (head, body) = browse(&house, "GET", &format!("{path}0"));
    assert!(head.starts_with("http/1.1 404") && body.contains("not one of ours"), "{head} {body}");
    for wrong in ["/ack/x", "/ack/1.2.3.4", "/ack/%3Cscript%3E", &format!("/ack/{}", "1".repeat(9000))] {
        let (head, body) = browse(&house, "POST", wrong);
        assert!(head.starts_with("http/1.1 404") && !body.contains("<script>"), "{wrong}: {head}");
    }
    drop(house);
}

#[test]
fn somebody_quicker_and_an_end_are_told_to_whoever_follows_the_link() {
    let house = house();
    let anna = house.with_anna();
    let (bert, vera) = (anna.adds("bert", &["responder"]), anna.adds("vera", &["viewer"]));
    let incident = open(&bert, 1);
    let path = link(&house);
    let at = |rest: &str| format!("/incidents/{incident}{rest}");
    vera.may_not(&at("/acknowledge"), &json!({}), 403);
    bert.does(&at("/acknowledge"), &json!({ "why": "I am at the desk" }));
    let (_, body) = browse(&house, "POST", &path);
    assert!(body.contains("bert was quicker"), "{body}");
    bert.does(&at("/dismiss"), &json!({ "why": "a test call" }));
    let (head, body) = browse(&house, "POST", &path);
    assert!(head.starts_with("http/1.1 409") && body.contains("There is nothing left to do"), "{head} {body}");
    assert!(!browse(&house, "GET", &path).1.contains("<button"));
    bert.may_not(&at("/acknowledge"), &json!({}), 409);
    drop(house);
}

#[test]
fn who_would_be_called_is_what_the_file_says() {
    let house = house();
    let anna = house.with_anna();
    let page = anna.sees("/oncall?customer=acme");
    let chains = rows(&page, "chains");
    assert_eq!((&chains[0]["severities"], &chains[0]["source"]), (&json!([1, 2]), &json!("oncall")));
    let calls: Vec<(&Value, &Value)> =
        rows(&chains[0], "calls").iter().map(|c| (&c["contact"], &c["after_s"])).collect();
    assert_eq!(calls, [(&json!("maria"), &json!(0)), (&json!("lars"), &json!(1200))]);
    assert_eq!(chains[0]["calls"][0]["by"], json!(["sms +4670000002"]));
    // `anna` commands, and no contact is her: nobody would be called.
    assert_eq!((&chains[1]["severities"], &chains[1]["source"]), (&json!([3, 4]), &json!("nobody")));
    assert_eq!(rows(&anna.sees("/oncall?severity=3"), "chains").len(), 1);
    assert_eq!(anna.get("/oncall?customer=nobody").0, 422);
    assert_eq!(anna.get("/oncall?severity=9").0, 422);
    drop(house);
}

#[test]
fn the_commands_tell_it_in_sentences() {
    let house = house();
    let home = tempfile::tempdir().expect("a home");
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let incident = open(&bert, 1);
    let token = bert.headers.split_whitespace().find(|word| word.starts_with("rf_")).expect("a token");
    let says = |args: &[&str]| says(&house, home.path(), token, args);
    let shown = says(&["oncall", "show", "--customer", "acme"]);
    assert!(shown.contains("NOBODY HAS ANSWERED; round 1") && shown.contains("after 20 min"), "{shown}");
    assert!(shown.contains("acme, severity 3, 4: NOBODY is called"), "{shown}");
    let message = releases(&anna, &bert, &incident);
    let by_phone = comes(&bert, &message, "call-sheet", "handed");
    comes(&bert, &message, "mail", "handed");
    let sheet = says(&["delivery", "callsheet"]);
    assert!(sheet.starts_with("1 to phone, the gravest first\n") && sheet.contains("+4670000001"), "{sheet}");
    let why = says(&["delivery", "why", &incident]);
    assert!(
        why.contains("Anna Berg (customer): does not have it yet\n  call-sheet to +4670000001: stands on the"),
        "{why}"
    );
    assert!(why.contains("mail to bo@operator.example: standard output took it ("), "{why}");
    let only = says(&["delivery", "why", &message, "cia", "nobody"]);
    assert!(
        only.contains("notice: is told of severity 3 and 4 only, and this is 1") && !only.contains("Anna"),
        "{only}"
    );
    assert!(only.contains("nobody\n  Neither"), "{only}");
    assert!(says(&["delivery", "why", "anna berg"]).contains("holding call-sheet to +4670000001"), "by person");
    let id = by_phone["id"].as_str().expect("a number");
    let done = says(&["delivery", "tick", id, "--reached", "--note", "knows"]);
    assert_eq!(done, format!("{id}: Anna Berg was told by phone.\n"));
    assert!(says(&["delivery", "show", id]).contains("Was reached by phone by bert: knows."));
    assert!(says(&["delivery", "list", "--incident", &incident]).contains("WHAT BECAME OF IT"));
    assert_eq!(says(&["delivery", "list", "--dead"]), "Nothing was given up.\n");
    assert_eq!(says(&["delivery", "callsheet"]), "Nobody has to be phoned.\n");
    let done = says(&["oncall", "acknowledge", "1"]);
    assert!(done.starts_with("INC-000001: somebody looks after it"), "{done}");
    assert!(says(&["incident", "acknowledge", "1"]).contains("bert has looked after INC-000001 since"));
    let value: Value = serde_json::from_str(&says(&["oncall", "show", "--format", "json"])).expect("JSON");
    assert_eq!(value["now"][0]["acknowledged_by"], "bert");
    let twice = types(&house, home.path(), Some(token), &["delivery", "tick", id, "--reached"]);
    assert_eq!(twice.status.code(), Some(1));
    let neither = types(&house, home.path(), Some(token), &["delivery", "tick", id]);
    assert_eq!(neither.status.code(), Some(2));
}

fn says(house: &House, home: &Path, token: &str, args: &[&str]) -> String {
    let output = types(house, home, Some(token), args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    out(&output)
}
