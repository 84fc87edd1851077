"""Whoever was told of a start is told of the end: a real Alertmanager behind a line that is slow and often refuses, and a
service that is killed between a start and its end, and at random moments. In the end no alert is active that should not be,
long before Alertmanager would have taken it for over by itself.

    tests/e2e/resolved.py                 # 12 kills, as tests/all.sh does
    tests/e2e/resolved.py --kills 200 --seed 7
"""
import argparse, contextlib, datetime, http.server, json, random, socket, sqlite3, threading, time, urllib.error, urllib.request

import gateway
from stage import Stage, free_port, get, get_json, need, wait_for

RULES = """
ringfence = 1
default_action = "allow"
lateness = "100ms"
[[threshold]]
id = "caller-rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "1s"
cooldown = "0s"
warning = ">= 3"
critical = ">= 6"
"""


class Line:
    """Between service and Alertmanager: passes posts on, late, or refuses them."""

    def __init__(self, target, seed):
        self.target, self.draw, self.is_open, self.told = target, random.Random(f"{seed}/line"), True, []
        line = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = line.carry(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def carry(self, path, body):
        time.sleep(self.draw.choice([0, 0, 0.05, 0.3]))
        if not self.is_open or self.draw.random() < 0.2:
            return 503
        request = urllib.request.Request(self.target + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        finally:
            now = datetime.datetime.now(datetime.UTC)
            for alert in json.loads(body):
                fires = datetime.datetime.fromisoformat(alert["endsAt"]) > now
                self.told.append((json.dumps(alert["labels"], sort_keys=True), fires))


class Gateway:
    """Sends calls of now; where the service is gone, they are lost."""

    def __init__(self, service):
        self.service, self.line, self.n = service, None, 0

    def call(self, caller):
        self.n += 1
        event = {"time": int(time.time() * 1000), "kind": "attempt", "call_id": f"{self.n}@resolved.example",
                 "caller": caller, "callee": "+46840000001"}
        with contextlib.suppress(OSError):
            if self.line is None:
                self.line = socket.create_connection(("127.0.0.1", self.service.ports["calls"]), 2)
                self.line.sendall(b'{"hello": {"gateway": "sbc", "reply": "none"}}\n')
            self.line.sendall(json.dumps(event).encode() + b"\n")
            return
        self.line = None

    def storm(self, draw):
        """A caller that crosses a threshold, or both."""
        caller = f"+467000{draw.randrange(8):05}"
        for _ in range(draw.choice([3, 4, 7])):
            self.call(caller)

    def pass_time(self, seconds):
        """What idles is over once others' calls have later times."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.call(f"+4670099{self.n % 10000:04}")
            time.sleep(0.1)


def settings(service, line):
    (service.folder / "rules").mkdir()
    (service.folder / "rules/ruleset.toml").write_text(RULES)
    (service.folder / "ringfence.toml").write_text(f"""
data = "data"
rules = "rules"
threads = 1
[snapshot]
every_s = 1
[archive]
enabled = false
[[feed]]
name = "calls"
listen = "127.0.0.1:0"
delay_s = 1
[http]
listen = "127.0.0.1:0"
[metrics]
listen = "off"
[output]
violations = "off"
notices = "off"
[alertmanager]
urls = ["{line.url}"]
""")


def rows(service, table):
    with contextlib.closing(sqlite3.connect(f"file:{service.folder}/data/ringfence.db?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def between_start_and_end(service, line, calls, active):
    for _ in range(3):
        calls.call("+46700000001")
    wait_for("the alert to fire", lambda: calls.pass_time(0.2) or active())
    line.is_open = False
    before = rows(service, "closings")
    wait_for("the episode to be over", lambda: calls.pass_time(0.5) or rows(service, "closings") > before, 60)
    service.kill()
    assert active(), "Alertmanager heard of the end over a closed line"
    line.is_open = True
    calls.line = None
    service.start()
    wait_for("the end to be told by the next process", lambda: not active(), 30)
    wait_for("the record to be empty", lambda: rows(service, "firing") == 0)
    print("killed between start and end: the end was told after the next start")


def at_random(service, calls, active, n_kills, seed):
    draw, n_active = random.Random(f"{seed}/kills"), 0
    for _ in range(n_kills):
        kill_at = time.monotonic() + draw.uniform(0.3, 3)
        while time.monotonic() < kill_at:
            calls.storm(draw)
            calls.pass_time(draw.choice([0, 0.2, 1]))
        service.kill()
        n_active += len(active())
        calls.line = None
        service.start()
    # Within the five minutes after which Alertmanager takes what it hears no more of for over.
    wait_for("everything to be over", lambda: calls.pass_time(1) or not active() and rows(service, "firing") == 0, 90)
    print(f"{n_kills} kills, {n_active} alerts active at them, none in the end")


parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=12)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
with Stage() as stage:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = stage.write("alertmanager.yml", "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n")
    stage.start("alertmanager", need("prometheus-alertmanager"), f"--config.file={config}",
                f"--storage.path={stage.folder}/am", f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=", "--log.level=warn")
    wait_for("Alertmanager to be ready", lambda: get(f"{url}/-/ready"))
    line = Line(url, args.seed)
    (stage.folder / "service").mkdir()
    with gateway.Service(stage.folder / "service") as service:
        settings(service, line)
        service.start()
        calls = Gateway(service)
        active = lambda: get_json(f"{url}/api/v2/alerts?active=true")
        try:
            between_start_and_end(service, line, calls, active)
            at_random(service, calls, active, args.kills, args.seed)
            service.stop()
        except BaseException:
            print(service.log().decode(errors="replace")[-3000:])
            raise
    fires = {}
    for alert, is_firing in line.told:
        if not is_firing and alert not in fires:
            raise SystemExit(f"an end was told that had no start: {alert}")
        fires[alert] = is_firing
    if any(fires.values()) or not fires:
        raise SystemExit(f"the end of these was never told: {[alert for alert, is_so in fires.items() if is_so]}")
    print(f"resolved: {len(fires)} alerts, {len(line.told)} posts of them, and the last word on each was its end")
