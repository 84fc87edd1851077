//! The API as people and programs meet it: a real service on port 0, real HTTP, and the commands beside it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use ringfence::config;
use ringfence::policy::{LoadOptions, RuleSource, load};
use ringfence::service::{self, Running, Setup};
use serde_json::{Value, json};

use crate::service::RULES;

const PASSWORD: &str = "correct horse battery";

/// A service that can be stopped and started again where it was.
pub(crate) struct House {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    pub(crate) folder: tempfile::TempDir,
    /// Beside the rules: customers' files.
    files: Vec<(&'static str, String)>,
}

impl House {
    fn start() -> House {
        House::with("", Vec::new())
    }

    /// `more`: lines of the settings, up to the first table; `files`: beside the rules.
    pub(crate) fn with(more: &str, files: Vec<(&'static str, String)>) -> House {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut house = House { runtime: runtime.expect("threads"), running: None, folder, files };
        house.begin(more);
        house
    }

    /// `more`: lines before the first table of the settings.
    fn begin(&mut self, more: &str) {
        let text = format!(
            "{more}\n[http]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://ringfence.example\"\n\
             [metrics]\nlisten = \"off\"\n[output]\nviolations = \"off\"\n\
             notices = \"notices\"\n[[feed]]\nlisten = \"127.0.0.1:0\"\n"
        );
        let (config, problems) = config::parse(&text, &self.folder.path().join("ringfence.toml"));
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        let policy = {
            let files = self.files.iter().map(|(path, text)| (*path, text.as_str()));
            load(&RuleSource::memory([("ruleset.toml", RULES)].into_iter().chain(files)), LoadOptions::default()).policy
        };
        let setup = Setup { config, policy: Arc::new(policy.expect("the rules are fine")), observer: None };
        self.running = Some(self.runtime.block_on(service::start(setup)).expect("starts"));
    }

    pub(crate) fn stop(&mut self) {
        self.runtime.block_on(self.running.take().expect("it runs").stop());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().and_then(|running| running.http).expect("there is HTTP")
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    fn setup_token(&self) -> String {
        let path = self.folder.path().join("ringfence-data/admin-token");
        std::fs::read_to_string(path).expect("a token of the first start").trim().to_owned()
    }

    /// The first admin, `anna`, and her token.
    pub(crate) fn with_anna(&self) -> Guest<'_> {
        let setup = Guest { house: self, headers: bearer(&self.setup_token()) };
        let order =
            json!({ "name": "anna", "roles": ["admin", "commander"], "password": PASSWORD, "with_token": true });
        let (status, user) = setup.post("/users", &order);
        assert_eq!(status, 201, "{user}");
        Guest { house: self, headers: bearer(user["token"].as_str().expect("a token")) }
    }

    /// Sends bytes as they are, and gives what comes back.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        // A refusal may cut off what was still being sent.
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value, String) {
        let n = body.len();
        let head = format!("{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
        let answer = self.raw(format!("{head}Content-Length: {n}\r\n\r\n{body}").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        (status, serde_json::from_str(body).unwrap_or(Value::Null), head.to_owned())
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n")
}

/// Somebody with credentials.
pub(crate) struct Guest<'h> {
    house: &'h House,
    pub(crate) headers: String,
}

impl Guest<'_> {
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let (status, value, _) = self.house.ask("GET", path, &self.headers, "");
        (status, value)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, value, _) = self.house.ask("POST", path, &self.headers, &body.to_string());
        (status, value)
    }

    /// What must be done.
    pub(crate) fn does(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.post(path, body);
        assert!(matches!(status, 200 | 201), "{path}: {status} {value}");
        value
    }

    /// What must be refused, and how.
    pub(crate) fn may_not(&self, path: &str, body: &Value, status: u16) -> String {
        let (got, value) = self.post(path, body);
        assert_eq!(got, status, "{path}: {value}");
        value["error"]["message"].as_str().expect("a sentence").to_owned()
    }

    pub(crate) fn sees(&self, path: &str) -> Value {
        let (status, value) = self.get(path);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    pub(crate) fn adds(&self, name: &str, roles: &[&str]) -> Guest<'_> {
        let user = self.does("/users", &json!({ "name": name, "roles": roles, "with_token": true }));
        Guest { house: self.house, headers: bearer(user["token"].as_str().expect("a token")) }
    }
}

pub(crate) fn open(guest: &Guest<'_>, severity: u8) -> String {
    let order = json!({ "customer": "acme", "what": "calls fail", "severity": severity, "why": "a call to the desk" });
    guest.does("/incidents", &order)["incident"].as_str().expect("a number").to_owned()
}

#[test]
fn an_incident_lives_its_whole_life_by_the_hands_of_three_people() {
    let house = House::start();
    let anna = house.with_anna();
    let (bert, vera) = (anna.adds("bert", &["responder"]), anna.adds("vera", &["viewer"]));
    let id = open(&bert, 1);
    assert_eq!(id, "INC-000001");
    let at = |rest: &str| format!("/incidents/{id}{rest}");
    assert_eq!(vera.sees(&at(""))["incident"]["certainty"], "suspected");
    vera.may_not(&at("/confirm"), &json!({}), 403);
    bert.does(&at("/confirm"), &json!({ "why": "seen in the trace" }));
    bert.does(&at("/assign"), &json!({ "position": "commander", "person": "anna" }));
    let wrong = bert.may_not(&at("/messages"), &json!({ "kit": "confirmed", "texts": { "scpoe": "x" } }), 422);
    assert!(wrong.contains("no `scpoe`") && wrong.contains("scope"), "{wrong}");
    let draft = json!({ "kit": "confirmed", "texts": { "scope": "all of acme" } });
    let message = bert.does(&at("/messages"), &draft)["message"].as_str().expect("a number").to_owned();
    let of = |rest: &str| format!("/messages/{message}{rest}");
    let hash = |text: &Value| json!({ "hash": text["hash"].as_str().expect("a hash").get(..8).expect("long") });
    let first = vera.sees(&of(""));
    // Whoever wrote it does not check it, and nobody releases what nobody checked.
    bert.may_not(&of("/check"), &hash(&first), 403);
    anna.may_not(&of("/release"), &hash(&first), 409);
    anna.does(&of("/return"), &json!({ "comment": "say which offices" }));
    bert.does(&of("/redraft"), &json!({ "hash": first["hash"], "texts": { "scope": "the office in Dallas" } }));
    anna.may_not(&of("/check"), &hash(&first), 409);
    let second = vera.sees(&of(""));
    assert!(second["forms"]["mail"].as_str().expect("a mail").contains("Dallas"), "{second}");
    anna.does(&of("/check"), &hash(&second));
    anna.does(&of("/release"), &hash(&second));
    for _ in 0..100 {
        if vera.sees(&at(""))["incident"]["notified"].is_string() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bert.does(&at("/severity"), &json!({ "severity": 2, "why": "one office only" }));
    bert.does(&at("/monitor"), &json!({}));
    assert!(bert.may_not(&at("/resolve"), &json!({}), 409).contains("findings"));
    bert.does(&at("/findings"), &json!({ "findings": "a trunk was down", "recommendations": "watch it" }));
    bert.does(&at("/resolve"), &json!({ "why": "quiet for an hour" }));
    anna.does(&at("/review"), &json!({}));
    let page = vera.sees(&at(""));
    assert_eq!((&page["incident"]["state"], &page["incident"]["commander"]), (&json!("reviewed"), &json!("anna")));
    let steps = page["transitions"].as_array().expect("steps").len();
    let listed = vera.sees(&at("/transitions?limit=3"));
    assert!(steps > 12 && listed["transitions"].as_array().map(Vec::len) == Some(3), "{listed}");
    let rest = vera.sees(&at(&format!("/transitions?cursor={}", listed["next"].as_str().expect("more"))));
    assert_eq!(rest["transitions"].as_array().map(Vec::len), Some(steps - 3));
    let notices = std::fs::read_to_string(house.folder.path().join("notices")).expect("the notices");
    assert!(notices.contains("Dallas"), "{notices}");
}

#[test]
fn a_restart_keeps_people_tokens_and_incidents_and_ends_sessions() {
    let mut house = House::start();
    let anna = house.with_anna();
    let id = open(&anna, 3);
    let (headers, setup) = (anna.headers.clone(), house.setup_token_gone());
    let (_, _, head) = house.ask("POST", "/sessions", "Content-Type: application/json\r\n", &login("anna", PASSWORD));
    let cookie = cookie_of(&head);
    house.stop();
    house.begin("");
    assert!(setup && house.setup_token_gone());
    let anna = Guest { house: &house, headers };
    assert_eq!(anna.sees(&format!("/incidents/{id}"))["incident"]["severity"], 3);
    assert_eq!(anna.sees("/me")["name"], "anna");
    assert_eq!(house.ask("GET", "/me", &cookie, "").0, 401);
}

impl House {
    fn setup_token_gone(&self) -> bool {
        !self.folder.path().join("ringfence-data/admin-token").exists()
    }
}

fn login(name: &str, password: &str) -> String {
    json!({ "name": name, "password": password }).to_string()
}

fn cookie_of(head: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).expect("a cookie");
    assert!(line.contains("HttpOnly") && line.contains("SameSite=Strict"), "{line}");
    let pair = line.split([':', ';']).nth(1).expect("a pair").trim();
    format!("Cookie: {pair}\r\nContent-Type: application/json\r\n")
}

#[test]
fn a_browser_changes_nothing_without_the_second_secret() {
    let house = House::start();
    house.with_anna();
    let json_type = "Content-Type: application/json\r\n";
    let (status, me, head) = house.ask("POST", "/sessions", json_type, &login("anna", PASSWORD));
    assert_eq!(status, 200, "{me}");
    let browser = Guest { house: &house, headers: cookie_of(&head) };
    assert_eq!(browser.sees("/me")["name"], "anna");
    let order = json!({ "customer": "acme", "what": "calls fail", "severity": 3 });
    browser.may_not("/incidents", &order, 403);
    let csrf = me["csrf"].as_str().expect("the second secret");
    let page = Guest { house: &house, headers: format!("{}X-CSRF-Token: {csrf}\r\n", browser.headers) };
    page.does("/incidents", &order);
    let other = Guest { house: &house, headers: format!("{}X-CSRF-Token: {csrf}x\r\n", browser.headers) };
    other.may_not("/incidents", &order, 403);
    // A form of another page cannot say that it is JSON.
    let form = page.headers.replace(json_type, "Content-Type: text/plain\r\n");
    assert_eq!(house.ask("POST", "/incidents", &form, &order.to_string()).0, 415);
    page.does("/sessions/end", &json!({}));
    assert_eq!(page.get("/me").0, 401);
}

#[test]
fn whoever_is_not_known_gets_nothing_but_the_description() {
    let house = House::start();
    let (status, described, _) = house.ask("GET", "/openapi.json", "", "");
    assert_eq!((status, &described["openapi"]), (200, &json!("3.1.0")));
    let mut n = 0;
    for (path, operations) in described["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let path = path.trim_start_matches("/api/v1").replace(['{', '}'], "");
            let (status, value, head) = house.ask(&method.to_uppercase(), &path, "", "");
            let is_open = operation["security"] == json!([]);
            assert_eq!(status, if is_open { 422 } else { 401 }, "{method} {path}: {value}");
            assert!(value["error"]["code"].is_string() && value["error"]["details"].is_array(), "{value}");
            assert!(head.to_lowercase().contains("cache-control: no-store"), "{head}");
            n += 1;
        }
    }
    assert!(n > 35, "{n} operations");
    for token in ["", "x", "rf_", "rf_000000000000_x", "rf_setup_x", &"rf_".repeat(5000)] {
        let status = house.ask("GET", "/incidents", &bearer(token), "").0;
        assert_eq!(status, 401, "{}", token.len());
    }
    assert_eq!(house.ask("GET", "/nothing", "", "").0, 404);
    assert_eq!(house.ask("PUT", "/incidents", "", "").0, 405);
}

#[test]
fn the_token_of_a_first_start_makes_an_admin_and_nothing_else() {
    let house = House::start();
    let setup = Guest { house: &house, headers: bearer(&house.setup_token()) };
    setup.sees("/incidents");
    setup.may_not("/incidents", &json!({ "customer": "a", "what": "b", "severity": 3 }), 403);
    setup.may_not("/tokens", &json!({ "user": "anna" }), 403);
    setup.may_not("/users/anna/password", &json!({ "password": PASSWORD }), 403);
    setup.may_not("/users", &json!({ "name": "anna", "roles": ["viewer"] }), 422);
    setup.does("/users", &json!({ "name": "anna", "roles": ["admin"] }));
    assert_eq!(setup.get("/me").0, 401);
    assert!(house.setup_token_gone());
}

#[test]
fn what_is_hostile_is_refused_and_the_service_goes_on() {
    let house = House::start();
    let anna = house.with_anna();
    let id = open(&anna, 3);
    for path in [
        "/incidents/0",
        "/incidents/-1",
        "/incidents/99999999999999999999999",
        "/incidents/%00",
        "/incidents/INC-%F0%9F%92%A9",
        "/incidents/..%2f..%2fetc%2fpasswd",
        "/incidents/1'%20OR%20'1'='1",
        "/messages/INC-000001",
        "/kits/nothing",
        "/users/nobody/tokens",
    ] {
        let status = anna.get(path).0;
        assert!(matches!(status, 404 | 400), "{path}: {status}");
    }
    for query in ["limit=0", "limit=x", "limit=100000", "state=happy", "severity=9", "cursor=-1", "open=perhaps"] {
        assert_eq!(anna.get(&format!("/incidents?{query}")).0, 422, "{query}");
    }
    assert_eq!(anna.get(&format!("/incidents/{id}/violations?cursor=1.2")).0, 422);
    for body in ["{", "[]", "null", "{\"why\":1}", "{\"why\":\"x\",\"more\":1}", "\u{1}", &"[".repeat(100_000)] {
        let (status, value, _) = house.ask("POST", &format!("/incidents/{id}/confirm"), &anna.headers, body);
        assert_eq!(status, 422, "{}: {value}", body.len());
    }
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(300_000));
    assert_eq!(house.ask("POST", &format!("/incidents/{id}/notes"), &anna.headers, &long).0, 413);
    let chunked = format!("POST /api/v1/incidents/{id}/notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
    let chunks = format!("10000\r\n{}\r\n", " ".repeat(65_536)).repeat(5);
    let answer = house.raw(format!("{chunked}{}\r\n{chunks}", anna.headers).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{}", answer.lines().next().unwrap_or("nothing"));
    anna.does(&format!("/incidents/{id}/notes"), &json!({ "text": "\u{1b}[2J<script>alert(1)</script>\u{0}" }));
    anna.sees(&format!("/incidents/{id}"));
}

#[test]
fn of_two_commanders_who_check_at_once_one_is_told_that_it_was_done() {
    let house = House::start();
    let anna = house.with_anna();
    let (carl, bert) = (anna.adds("carl", &["commander"]), anna.adds("bert", &["responder"]));
    for round in 0..5 {
        let id = open(&bert, 1);
        let done = bert.does(&format!("/incidents/{id}/messages"), &json!({ "kit": "holding" }));
        let message = done["message"].as_str().expect("a number");
        let hash = json!({ "hash": bert.sees(&format!("/messages/{message}"))["hash"] });
        let path = format!("/messages/{message}/check");
        let both = std::thread::scope(|scope| {
            let one = scope.spawn(|| anna.post(&path, &hash));
            let other = scope.spawn(|| carl.post(&path, &hash));
            [one.join().expect("asked"), other.join().expect("asked")]
        });
        let mut statuses: Vec<u16> = both.iter().map(|(status, _)| *status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "round {round}: {both:?}");
        let steps = bert.sees(&format!("/incidents/{id}/transitions"));
        let checks = steps["transitions"].as_array().expect("steps").iter().filter(|s| s["what"] == "checked").count();
        assert_eq!(checks, 1);
    }
}

#[test]
fn logins_that_fail_wait_and_say_nothing_of_who_there_is() {
    let house = House::start();
    house.with_anna();
    let json_type = "Content-Type: application/json\r\n";
    let tried = |name: &str, password: &str| house.ask("POST", "/sessions", json_type, &login(name, password));
    let (known, stranger) = (tried("anna", "wrong"), tried("nobody", "wrong"));
    assert_eq!((known.0, &known.1), (401, &stranger.1));
    for _ in 0..4 {
        assert_eq!(tried("anna", "wrong").0, 401);
    }
    let (status, value, head) = tried("anna", PASSWORD);
    assert_eq!(status, 429, "{value}");
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
}

#[test]
fn rights_are_those_of_the_role_and_of_the_token() {
    let house = House::start();
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let order = json!({ "label": "wall board", "scopes": ["read"], "days": 1 });
    let made = bert.does("/tokens", &order);
    let board = Guest { house: &house, headers: bearer(made["text"].as_str().expect("its text")) };
    board.sees("/incidents");
    let refused = board.may_not("/incidents", &json!({ "customer": "a", "what": "b", "severity": 3 }), 403);
    assert!(refused.contains("scope `incidents`"), "{refused}");
    board.may_not("/tokens", &json!({ "scopes": ["incidents"] }), 422);
    bert.may_not("/users", &json!({ "name": "eve", "roles": ["admin"] }), 403);
    bert.may_not("/users/anna/password", &json!({ "password": PASSWORD }), 403);
    bert.may_not("/tokens", &json!({ "user": "anna" }), 403);
    bert.may_not("/users/bert/roles", &json!({ "roles": ["admin"] }), 403);
    assert_eq!(bert.sees("/tokens")["tokens"].as_array().map(Vec::len), Some(2));
    bert.does(&format!("/tokens/{}/revoke", made["token"]["id"].as_str().expect("an id")), &json!({}));
    assert_eq!(board.get("/incidents").0, 401);
    anna.does("/users/bert/disable", &json!({}));
    assert_eq!(bert.get("/me").0, 401);
    assert!(anna.may_not("/users/anna/disable", &json!({}), 409).contains("last admin"));
}

#[test]
fn without_a_data_folder_the_api_says_what_is_missing() {
    let mut house = House::start();
    house.stop();
    house.begin("data = \"off\"");
    let (status, value, _) = house.ask("GET", "/incidents", "", "");
    assert_eq!((status, &value["error"]["code"]), (503, &json!("no_data_folder")));
}

/// Does the value have what the schema asks for? Types, required fields, and no field that is not described.
pub(crate) fn assert_fits(value: &Value, schema: &Value, all: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => &all[reference.rsplit('/').next().expect("a name")],
        None => schema,
    };
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
        return assert_fits(value, choice.unwrap_or_else(|| panic!("{at}: {value} fits no choice")), all, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is) || (is == "integer" && types.contains(&"number")), "{at}: {is}, not {types:?}");
    for item in value.as_array().into_iter().flatten() {
        assert_fits(item, &schema["items"], all, at);
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(fields.contains_key(name), "{at}: lacks `{name}`");
    }
    for (name, field) in fields {
        let schema = known.get(name).unwrap_or_else(|| panic!("{at}: `{name}` is not described"));
        assert_fits(field, schema, all, &format!("{at}.{name}"));
    }
}

#[test]
fn what_is_answered_is_what_is_described() {
    let house = House::start();
    let anna = house.with_anna();
    let bert = anna.adds("bert", &["responder"]);
    let id = open(&bert, 2);
    let done = bert.does(&format!("/incidents/{id}/messages"), &json!({ "kit": "holding" }));
    let message = done["message"].as_str().expect("a number");
    let described = house.ask("GET", "/openapi.json", "", "").1;
    let all = &described["components"]["schemas"];
    let mut looked = BTreeSet::new();
    for (path, operations) in described["paths"].as_object().expect("paths") {
        let Some(get) = operations.get("get") else { continue };
        // One that a person opened has no calls to draft from, and says so.
        if path.ends_with("/findings/draft") {
            let asked = path.trim_start_matches("/api/v1").replace("{id}", &id);
            assert_eq!(anna.get(&asked).0, 409);
            continue;
        }
        // Nothing is released yet, so nothing is under way.
        if path.ends_with("/deliveries/{id}") {
            assert_eq!(anna.get("/deliveries/DLV-000999").0, 404);
            continue;
        }
        // It wants to know which call.
        if path.ends_with("/v1/explain") {
            assert_eq!(anna.get("/explain").0, 422);
            continue;
        }
        let of = if path.contains("/messages/") { message } else { &id };
        let asked = path
            .trim_start_matches("/api/v1")
            .replace("{id}", of)
            .replace("{kind}", "update")
            .replace("{queue}", "all")
            .replace("{rule}", "ips-many");
        let answer = anna.sees(&asked);
        let schema = &get["responses"]["2XX"]["content"]["application/json"]["schema"];
        assert_fits(&answer, schema, all, path);
        looked.insert(path.clone());
    }
    assert!(looked.len() >= 12, "{looked:?}");
    assert_fits(&done, &json!({ "$ref": "#/components/schemas/Done" }), all, "done");
    let refused = house.ask("GET", "/me", "", "").1;
    assert_fits(&refused, &json!({ "$ref": "#/components/schemas/ErrorAnswer" }), all, "error");
    let printed = Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("api").output().expect("runs");
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).expect("JSON"), described);
}

/// A command as somebody types it, with a home of its own.
pub(crate) fn types(house: &House, home: &Path, token: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(args).env("HOME", home).env("RINGFENCE_URL", format!("http://{}", house.address()));
    command.env_remove("XDG_CONFIG_HOME").env_remove("RINGFENCE_TOKEN").current_dir(house.folder.path());
    if let Some(token) = token {
        command.env("RINGFENCE_TOKEN", token);
    }
    command.output().expect("runs")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn commands_work_on_a_fresh_install_and_say_what_to_do_next() {
    let house = House::start();
    let home = tempfile::tempdir().expect("a home");
    let anna = |args: &[&str]| types(&house, home.path(), None, args);
    let added = anna(&["user", "add", "anna", "--roles", "admin,commander", "--save"]);
    assert_eq!(added.status.code(), Some(0), "{}", String::from_utf8_lossy(&added.stderr));
    assert!(!out(&added).contains("rf_"), "the token is in its file");
    let added = out(&anna(&["user", "add", "bert", "--roles", "responder"]));
    let token = added.split_whitespace().find(|word| word.starts_with("rf_")).expect("a token");
    let bert = |args: &[&str]| types(&house, home.path(), Some(token), args);
    bert(&["incident", "open", "--customer", "acme", "--severity", "1", "--what", "calls fail"]);
    let list = out(&anna(&["incident", "list"]));
    assert!(list.contains("INC-000001  1 disaster  suspected?") && list.contains("calls fail"), "{list}");
    let drafted = out(&bert(&["incident", "draft", "1", "holding"]));
    let hash = drafted.lines().find_map(|line| line.split("--hash ").nth(1)).expect("a hash").trim().to_owned();
    assert_eq!(bert(&["incident", "check", "MSG-1", "--hash", &hash]).status.code(), Some(1));
    let checked = anna(&["incident", "check", "MSG-1", "--hash", &hash]);
    assert!(out(&checked).contains("--- SMS\n") && checked.status.success(), "{}", out(&checked));
    assert!(anna(&["incident", "release", "MSG-1", "--hash", &hash]).status.success());
    let page = out(&bert(&["incident", "show", "1"]));
    assert!(page.contains("released by anna") && page.contains("NEXT"), "{page}");
    let value: Value = serde_json::from_str(&out(&bert(&["incident", "show", "1", "--format", "json"]))).expect("JSON");
    assert_eq!(value["incident"]["id"], "INC-000001");
    let queues = out(&bert(&["acd", "list"]));
    assert!(queues.starts_with("all  "), "{queues}");
    assert!(out(&bert(&["acd", "show", "all"])).contains("  Recording  off\n"));
    assert_eq!(bert(&["acd", "show", "nobody"]).status.code(), Some(1));
    let bad = types(&house, home.path(), Some("rf_bad"), &["incident", "list"]);
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(bad.status.code() == Some(2) && said.contains("RINGFENCE_TOKEN"), "{said}");
    let nobody = bert(&["incident", "list", "--url", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert_eq!(anna(&["user", "disable", "anna"]).status.code(), Some(1));
}
