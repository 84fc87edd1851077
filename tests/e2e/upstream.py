"""Alerts of other programs: a real Alertmanager posts its webhooks to a service, which makes one incident of them, hears of
the end, puts it off while its store is held by somebody else and takes it when it comes again; it posts events of
PagerDuty's format, too, and a real Prometheus takes the service for an Alertmanager. Then senders of all three kinds post
while the service is killed at random moments: nothing that was acknowledged is lost.

    tests/e2e/upstream.py                 # 12 kills, as tests/all.sh does
    tests/e2e/upstream.py --kills 300 --seed 7
"""
import argparse, collections, contextlib, datetime, http.client, json, os, pathlib, random, re, signal, sqlite3, subprocess
import tempfile, threading, time, urllib.error, urllib.request

import gateway
from people import hire
from stage import Stage, free_port, get, need, ringfence, wait_for

TOKEN = "a-token-of-the-noc"
# Alerts of one receiver that the incident book tells apart.
ALERTS_MAX = 1000
RULES = "ringfence = 1\ndefault_action = 'allow'\n"


class Service(gateway.Service):
    """One whose address for HTTP stays the same over its lives."""

    def __init__(self, folder):
        super().__init__(folder)
        self.http_port = free_port()
        (self.folder / "rules").mkdir()
        (self.folder / "rules/ruleset.toml").write_text(RULES)
        (self.folder / "token").write_text(TOKEN + "\n")
        (self.folder / "ringfence.toml").write_text(f"""
data = "data"
rules = "rules"
threads = 1
[archive]
enabled = false
[[feed]]
name = "calls"
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:{self.http_port}"
[metrics]
listen = "off"
[output]
violations = "off"
notices = "off"
[receiver.noc]
customer = "acme"
token_file = "token"
""")

    def database(self):
        return sqlite3.connect(f"file:{self.folder}/data/ringfence.db?mode=ro", uri=True, timeout=10)

    def rows(self, sql, *values):
        with contextlib.closing(self.database()) as db:
            return db.execute(sql, values).fetchall()

    def incidents(self):
        tokens = json.loads((self.folder / "tokens.json").read_text())
        listed = ringfence("incident", "list", "--format", "json", "--url", f"http://127.0.0.1:{self.http_port}",
                           env={**os.environ, "RINGFENCE_TOKEN": tokens["anna"]})
        return json.loads(listed.stdout)["incidents"]

    def alerts(self):
        """Open alerts of the incident book, by their key."""
        bodies = [json.loads(body) for body, in self.rows("SELECT body FROM subjects WHERE kind = 'alert'")]
        return {str(dict(body["key"])): body["state"] for body in bodies}

    def post(self, path, body, timeout=40):
        """Status and headers; an OSError where there is no answer."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        line = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            line.request("POST", path, json.dumps(body), headers)
            answer = line.getresponse()
            answer.read()
            return answer.status, dict(answer.getheaders())
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            line.close()


def instant(seconds=0.0):
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


class Alertmanager:
    def __init__(self, stage, service):
        program, self.port = need("prometheus-alertmanager"), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = stage.write("alertmanager.yml", f"""
route:
  receiver: ringfence
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 2s
  routes: [{{ receiver: pager, matchers: ['team="pager"'] }}]
receivers:
  - name: ringfence
    webhook_configs:
      - url: "http://127.0.0.1:{service.http_port}/receive/alertmanager"
        send_resolved: true
        http_config: {{ authorization: {{ credentials_file: "{service.folder}/token" }} }}
  - name: pager
    pagerduty_configs:
      - url: "http://127.0.0.1:{service.http_port}/v2/enqueue"
        routing_key: "{TOKEN}"
        send_resolved: true
""")
        stage.start("alertmanager", program, f"--config.file={config}", f"--storage.path={stage.folder}/am",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=", "--log.level=warn")
        wait_for("Alertmanager to be ready", lambda: get(f"{self.url}/-/ready"))

    def post(self, *alerts):
        request = urllib.request.Request(f"{self.url}/api/v2/alerts", json.dumps(alerts).encode(),
                                         {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()

    def notified(self, outcome):
        """How many webhooks went out, or failed."""
        name = {"all": "alertmanager_notifications_total", "failed": "alertmanager_notifications_failed_total"}[outcome]
        return sum(float(line.rsplit(" ", 1)[1]) for line in get(f"{self.url}/metrics").splitlines()
                   if line.startswith(name + "{") and 'integration="webhook"' in line)


def with_pager(alertmanager, service):
    """Alertmanager as a sender of PagerDuty events."""
    alert = lambda ends: {"labels": {"alertname": "Fan", "team": "pager", "severity": "error"}, "startsAt": begun,
                          "annotations": {"summary": "a fan is down"}, "endsAt": ends}
    begun = instant(-5)
    found = lambda: service.rows("SELECT what, level, key FROM violations WHERE key LIKE '%dedup_key%'")
    before = len(service.incidents())
    alertmanager.post(alert(instant(600)))
    wait_for("the event in the book", lambda: len(service.incidents()) == before + 1)
    time.sleep(3)
    (what, level, key), = found()
    assert "Fan" in what and level == "critical", found()
    alertmanager.post(alert(instant()))
    wait_for("the end of the event", lambda: service.alerts().get(str(json.loads(key))) == "quiet")
    print("PagerDuty events of Alertmanager:", what)


def with_prometheus(stage, service):
    """A Prometheus that takes us for an Alertmanager, as one of two that say the same."""
    program, port, ends = need("prometheus"), free_port(), time.time() + 15
    stage.write("rules.yml", f"""
groups:
  - name: all
    interval: 1s
    rules:
      - {{ alert: Late, expr: "vector(time()) < {ends:.0f}", labels: {{ severity: page }}, annotations: {{ summary: "it is late" }} }}
      - {{ alert: Stays, expr: "vector(1)", labels: {{ severity: warning }} }}
""")
    for replica in ("a", "b"):
        config = stage.write(f"prometheus-{replica}.yml", f"""
global: {{ evaluation_interval: 1s, external_labels: {{ replica: {replica} }} }}
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{{ targets: ["127.0.0.1:{service.http_port}"] }}]
      authorization: {{ credentials_file: "{service.folder}/token" }}
""")
        stage.start(f"prometheus-{replica}", program, f"--config.file={config}",
                    f"--storage.tsdb.path={stage.folder}/tsdb-{replica}", "--rules.alert.resend-delay=1s",
                    f"--web.listen-address=127.0.0.1:{free_port()}", "--log.level=warn")
    state = lambda name, severity: service.alerts().get(str({"alertname": name, "severity": severity}))
    wait_for("both alerts in the book", lambda: state("Late", "page") == state("Stays", "warning") == "open")
    wait_for("the end of the first", lambda: state("Late", "page") == "quiet", 40)
    n = dict(service.rows("SELECT rule_group, count(*) FROM violations GROUP BY rule_group"))
    # Two that began to look at different moments may say two beginnings.
    assert 1 <= n["Late"] <= 2 and 1 <= n["Stays"] <= 2, n
    assert state("Stays", "warning") == "open"
    print("two Prometheus: one alert of each name, and an end", n)


def disk(host, **more):
    return {"labels": {"alertname": "DiskFull", "severity": "critical", "host": host},
            "annotations": {"summary": f"a disk is full,\nfirst seen on {host}"}, **more}


def with_alertmanager(stage, service):
    amtool = need("amtool")
    alertmanager = Alertmanager(stage, service)
    begun = instant(-60)
    alertmanager.post(*(disk(host, startsAt=begun, endsAt=instant(600)) for host in ["db1", "db2", "db3"]))
    n_open = lambda n: lambda: list(service.alerts().values()).count("open") == n
    wait_for("three alerts in the book", n_open(3))
    incident, = service.incidents()
    what = {name: incident[name] for name in ("customer", "group", "severity", "state")}
    assert what == {"customer": "acme", "group": "DiskFull", "severity": 2, "state": "suspected"}, incident
    assert incident["what"].startswith("a disk is full, first seen on db"), incident
    print("one incident:", incident["what"])

    before = alertmanager.notified("all")
    wait_for("Alertmanager to repeat itself", lambda: alertmanager.notified("all") >= before + 3)
    done = subprocess.run([amtool, f"--alertmanager.url={alertmanager.url}", "alert", "add", "DiskFull", "host=db4",
                           "severity=page", "--annotation=summary=another"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    wait_for("the fourth alert in the same incident", n_open(4))
    assert service.rows("SELECT count(*) FROM violations") == [(4,)], "repeats are not news"
    assert len(service.incidents()) == 1

    alertmanager.post(*(disk(host, startsAt=begun, endsAt=instant()) for host in ["db1", "db2", "db3"]))
    wait_for("three alerts to be over", n_open(1))
    print("repeats changed nothing, and the end was heard")

    # Somebody else holds the store: nothing can be written, so nothing is taken.
    failed = alertmanager.notified("failed")
    with contextlib.closing(sqlite3.connect(service.folder / "data/ringfence.db", isolation_level=None)) as thief:
        thief.execute("BEGIN IMMEDIATE")
        alertmanager.post(disk("db9", startsAt=instant(), endsAt=instant(600)))
        status, headers = service.post("/api/v2/alerts", [{"labels": {"alertname": "WhileHeld"}}])
        assert status == 503 and int(headers["retry-after"]) > 0, (status, headers)
        wait_for("Alertmanager to be put off", lambda: alertmanager.notified("failed") > failed)
        assert not any("db9" in key for key in service.alerts())
        thief.execute("ROLLBACK")
    wait_for("the alert to come again", n_open(3))
    n_db9 = service.rows("SELECT count(*) FROM violations WHERE key LIKE '%db9%'")
    assert n_db9 == [(1,)], n_db9
    assert service.post("/api/v2/alerts", [{"labels": {"alertname": "WhileHeld"}}])[0] == 200
    n_held = service.rows("SELECT count(*) FROM violations WHERE rule_group = 'WhileHeld'")
    assert n_held == [(1,)], ("put off, written all the same, and known again when it came again", n_held)
    print("put off while the store was held, and taken when it came again")
    with_pager(alertmanager, service)


class Sender(threading.Thread):
    """Posts alerts, each until it is acknowledged; ends some of them the same way."""

    def __init__(self, service, seed, kind):
        super().__init__(daemon=True)
        self.service, self.kind, self.draw = service, kind, random.Random(f"{seed}/{kind}")
        self.fired, self.over, self.n_again, self.is_going, self.wrong = {}, set(), 0, True, []

    def run(self):
        n = 0
        while self.is_going:
            n += 1
            name = f"{self.kind}-{n}"
            starts = instant()
            if not self.insist(name, starts, None):
                return
            self.fired[name] = starts
            if self.draw.random() < 0.5:
                if not self.insist(name, starts, instant()):
                    return
                self.over.add(name)

    def insist(self, name, starts, ends):
        while self.is_going:
            try:
                status, headers = self.service.post(*self.request(name, starts, ends), timeout=20)
            except OSError:
                status = None
            if status in (200, 202):
                return True
            if status not in (None, 503):
                self.wrong.append(f"{name}: {status}")
            self.n_again += 1
            time.sleep(0.02)
        return False

    def request(self, name, starts, ends):
        labels = {"alertname": name, "host": "x"}
        if self.kind == "webhook":
            status = "resolved" if ends else "firing"
            alert = {"status": status, "labels": labels, "annotations": {}, "startsAt": starts,
                     "endsAt": ends or "0001-01-01T00:00:00Z"}
            return "/receive/alertmanager", {"version": "4", "alerts": [alert]}
        if self.kind == "array":
            alert = {"labels": labels, "startsAt": starts}
            return "/api/v2/alerts", [alert | {"endsAt": ends} if ends else alert]
        event = {"routing_key": TOKEN, "dedup_key": name, "event_action": "resolve" if ends else "trigger"}
        return "/v2/enqueue", event if ends else event | {"payload": {"summary": name, "source": "x", "severity": "error"}}


def with_kills(service, n_kills, seed):
    draw = random.Random(f"{seed}/kills")
    senders = [Sender(service, seed, kind) for kind in ("webhook", "array", "event")]
    for sender in senders:
        sender.start()
    for _ in range(n_kills):
        time.sleep(draw.uniform(0, 0.7))
        service.kill()
        service.start()
    time.sleep(0.5)
    for sender in senders:
        sender.is_going = False
        sender.join()
    wait_for("the book to have taken all", lambda: service.rows("SELECT count(*) FROM inbox") == [(0,)])
    wrong = [why for sender in senders for why in sender.wrong]
    found = collections.Counter(group for group, in service.rows("SELECT rule_group FROM violations"))
    closed = [json.loads(key) for key, in service.rows("SELECT key FROM closings")]
    closed = {key.get("alertname") or key.get("dedup_key") for key in closed}
    alerts = {}
    known = service.alerts()
    for key, state in known.items():
        if "(others)" in key:
            continue
        alerts[re.search(r"'(?:alertname|dedup_key)': '([^']+)'", key)[1]] = state
    for sender in senders:
        for name in sender.fired:
            if found[name] != 1:
                wrong.append(f"{name} was acknowledged, and is there {found[name]} times")
            if name not in alerts and len(known) >= ALERTS_MAX:
                # Alerts past it have none of their own.
                continue
            if name in sender.over and (name not in closed or alerts.get(name) == "open"):
                wrong.append(f"{name} is over, that was acknowledged, and it is {alerts.get(name)}")
            if name not in sender.over and name not in closed and alerts.get(name) != "open":
                wrong.append(f"{name} fires, and is {alerts.get(name)}")
    fired, over = sum(len(s.fired) for s in senders), sum(len(s.over) for s in senders)
    print(f"{n_kills} kills: {fired} alerts and {over} ends acknowledged, {sum(s.n_again for s in senders)} posts came again")
    if wrong or not over:
        raise SystemExit("\n".join(wrong[:20] or ["nothing was acknowledged"]))


parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=12)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
with Stage() as stage:
    (stage.folder / "service").mkdir()
    with Service(stage.folder / "service") as service:
        service.start()
        hire(service.http_port, service.folder)
        try:
            with_alertmanager(stage, service)
            with_prometheus(stage, service)
            with_kills(service, args.kills, args.seed)
            service.stop()
        except BaseException:
            print(service.log().decode(errors="replace")[-3000:])
            raise
print("upstream: one incident, its end, and nothing that was acknowledged is lost")
