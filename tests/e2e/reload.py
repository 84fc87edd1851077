"""Rules change while calls flow: nothing is lost or doubled, and what does not change never notices.

A service is sent calls over TCP while its files change in every way that there is: edited in place, swapped as a folder by
a link, half-written, with a list that vanishes, with a list of a million numbers in place of another, by a signal, by the
API; and it is killed right before and right after. In the end the violations of the rules that never changed are those of
`ringfence replay` over the same events, each exactly once, and every verdict was given.

    tests/e2e/reload.py                 # as tests/all.sh does
    tests/e2e/reload.py --numbers 100000 --events 20000
"""
import argparse, collections, json, os, re, signal, socket, subprocess, time

from stage import RINGFENCE, Stage, free_port, get, lines_of, ringfence, wait_for

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--numbers", type=int, default=1_000_000, help="length of the list that is replaced")
arguments.add_argument("--events", type=int, default=60_000)
arguments.add_argument("--rate", type=int, default=2_000, help="events a second")
options = arguments.parse_args()

# These never change. A cooldown that outlives the test: no tick closes an episode that a replay would not.
BASE = """
[[threshold]]
id = "ips-callee"
on = "attempt"
measure = "count"
per = ["callee"]
window = "1h"
cooldown = "24h"
warning = ">= 40"
critical = ">= 90"
{base}
[[threshold]]
id = "ips-spread"
on = "attempt"
measure = "distinct(callee)"
per = ["caller"]
window = "1h"
cooldown = "24h"
warning = ">= 25"
"""
HEAD = """
ringfence = 1
default_action = "allow"
[lists]
bad = {{ type = "number", file = "lists/bad.txt" }}
{lists}
[[firewall]]
id = "fw-bad"
when = 'caller in $bad'
action = "block"
{more}
"""
MORE = """
[[firewall]]
id = "x-{n}"
mode = "monitor"
when = 'callee startswith +4681'
action = "block"
[[threshold]]
id = "x-ips-{n}"
on = "attempt"
measure = "count"
per = ["trunk"]
window = "{n}m"
warning = ">= 100000"
"""
STAYS = ("ips-callee", "ips-spread")
CUSTOMER = 'name = "Somebody"\n'
failures = []


def check(what, is_so):
    print(("ok    " if is_so else "FAIL  ") + what)
    if not is_so:
        failures.append(what)


def rules_text(lists="", more="", base=""):
    return HEAD.format(lists=lists, more=more) + BASE.format(base=base)


def write_rules(folder, text):
    """As an editor does that is careful: beside, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / ".ruleset.toml.new"
    beside.write_text(text)
    beside.rename(folder / "ruleset.toml")


def write_list(folder, first, n):
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    beside = folder / "lists/.bad.txt.new"
    with open(beside, "w") as file:
        file.writelines(f"+{base}\n" for base in range(first, first + n))
    beside.rename(folder / "lists/bad.txt")


def write_events(path, n, now_ms):
    """Callers that are on neither list, all within the last quarter of an hour and none of the future."""
    begin = now_ms - 900_000
    with open(path, "w") as out:
        for i in range(n):
            at = begin + i * 840_000 // n
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1000)) + f".{at % 1000:03}Z"
            event = {
                "kind": "attempt", "time": stamp, "call_id": f"call-{i}", "direction": "inbound", "trunk": f"t{i % 7}",
                "caller": f"+4670{1000000 + i * 7919 % 997}", "callee": f"+4681{1000000 + i * 104729 % 613}",
            }
            out.write(json.dumps(event) + "\n")


def told(lines):
    """Violations of the rules that never changed, by what they are, each as often as it was told."""
    of = lambda v: (v["rule"], v["level"], json.dumps(v["key"], sort_keys=True), v["time"], v["value"], v["call_id"])
    return collections.Counter(of(v) for v in lines if v["rule"] in STAYS)


class Service:
    def __init__(self, stage):
        self.stage = stage
        self.feed, self.http, self.metrics_port = free_port(), free_port(), free_port()
        self.config = stage.write("ringfence.toml", self.settings())
        self.token = None
        self.n_starts = 0

    def settings(self, more=""):
        return f"""
rules = "current"
threads = 2
[[feed]]
name = "gateway"
listen = "127.0.0.1:{self.feed}"
format = "ndjson"
[http]
listen = "127.0.0.1:{self.http}"
[metrics]
listen = "127.0.0.1:{self.metrics_port}"
[output]
violations = "violations.ndjson"
{more}
"""

    def start(self):
        self.n_starts += 1
        self.program = self.stage.start(f"serve-{self.n_starts}", RINGFENCE, "serve", "--config", self.config)

        def is_ready():
            if self.program.poll() is not None:
                raise SystemExit(f"serve ended at its start, exit code {self.program.returncode}")
            return get(f"http://127.0.0.1:{self.http}/readyz") == "ready\n"
        wait_for("serve to be ready", is_ready, 120)

    def kill(self):
        self.program.send_signal(signal.SIGKILL)
        self.program.wait()

    def command(self, *args, token=None, check=False):
        more = {**os.environ, "RINGFENCE_URL": f"http://127.0.0.1:{self.http}", "RINGFENCE_TOKEN": token or self.token,
                "HOME": str(self.stage.folder)}
        return ringfence(*args, check=check, env=more)

    def standing(self):
        done = self.command("reload", "--status", "--format", "json")
        return json.loads(done.stdout)

    def metric(self, name):
        text = get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + "{", name + " ")))

    def reloads(self, outcome):
        name = f'ringfence_reloads_total{{outcome="{outcome}"}} '
        lines = get(f"http://127.0.0.1:{self.metrics_port}/metrics").splitlines()
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def version(self):
        return re.search(r'ringfence_policy_info{version="(\w+)"} 1', get(f"http://127.0.0.1:{self.metrics_port}/metrics"))[1]


def changed_by_itself(service, what, change, outcome="done", stale=0.0):
    """Makes a change and waits until the service has noticed."""
    before, version = service.reloads(outcome), service.version()
    change()
    wait_for(f"the service to notice: {what}", lambda: service.reloads(outcome) > before, 120)
    # Whatever is half done is done a moment later.
    wait_for("its mark", lambda: service.metric("ringfence_policy_stale") == stale, 30)
    is_other = service.version() != version
    check(f"{what}: {outcome}", is_other == (outcome == "done"))


def send(stage, service, path, rate, gateway="g1", reply="verdict"):
    log = open(stage.folder / f"{path.stem}.send", "w")
    return subprocess.Popen(
        [RINGFENCE, "send", "--to", f"127.0.0.1:{service.feed}", "--gateway", gateway, "--reply", reply, "--rate", str(rate), str(path)],
        stdout=subprocess.DEVNULL, stderr=log)


def verdict_of(stage, service, caller, call_id):
    """What is said of one call now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
    event = {"kind": "attempt", "time": now, "call_id": call_id, "direction": "inbound", "caller": caller, "callee": "+46855"}
    with socket.create_connection(("127.0.0.1", service.feed), 10) as s:
        stream = s.makefile("rw")
        stream.write(json.dumps({"hello": {"gateway": "probe", "reply": "verdict"}}) + "\n")
        stream.flush()
        stream.readline()
        stream.write(json.dumps({**event, "seq": 1}) + "\n")
        stream.flush()
        return json.loads(stream.readline())["action"]


def run(stage):
    folder = stage.folder
    for name in ("one", "two"):
        write_list(folder / name, 46_900_000_000, options.numbers)
    write_rules(folder / "one", rules_text())
    os.symlink("one", folder / "current")
    events = folder / "events.ndjson"
    write_events(events, options.events, int(time.time() * 1000))
    service = Service(stage)
    service.start()
    first = (folder / "ringfence-data/admin-token").read_text().strip()
    done = service.command("user", "add", "root", "--roles", "admin,analyst", token=first, check=True)
    service.token = next(word for word in done.stdout.split() if word.startswith("rf_"))
    done = service.command("user", "add", "guest", "--roles", "viewer", check=True)
    guest = next(word for word in done.stdout.split() if word.startswith("rf_"))

    sending = send(stage, service, events, options.rate)
    one, two = folder / "one", folder / "two"
    changed_by_itself(service, "rules edited", lambda: write_rules(one, rules_text(more=MORE.format(n=1))))
    changed_by_itself(service, "texts edited", lambda: write_rules(one, rules_text(base='message = "said otherwise"')))
    half = rules_text(more=MORE.format(n=2))
    changed_by_itself(service, "a file cut in the middle", lambda: (one / "ruleset.toml").write_text(half[:len(half) // 2 - 20]), "refused", 1.0)
    standing = service.standing()
    check("what is wrong is told with its place", standing["is_stale"] and any("ruleset.toml:" in p for p in standing["problems"]))
    check("`ringfence reload` says that the files are not in force", service.command("reload").returncode == 1)
    check("and does so with --status", service.command("reload", "--status").returncode == 1)
    changed_by_itself(service, "the rest of the file", lambda: (one / "ruleset.toml").write_text(half))
    check("nothing is stale any more", not service.standing()["is_stale"])

    def relink():
        write_rules(two, rules_text(lists='other = { type = "text", items = ["x"] }', more=MORE.format(n=3)))
        os.symlink("two", folder / "next")
        os.rename(folder / "next", folder / "current")
    changed_by_itself(service, "another folder by a link", relink)

    check("a number of the list is blocked", verdict_of(stage, service, "+46900000001", "p1") == "block")
    check("a number of the next list is not", verdict_of(stage, service, "+46950000001", "p2") == "allow")
    changed_by_itself(service, "a list that vanishes", lambda: (two / "lists/bad.txt").rename(two / "lists/away"), "refused", 1.0)
    check("the list that was in force still is", verdict_of(stage, service, "+46900000001", "p3") == "block")
    changed_by_itself(service, f"a list of {options.numbers} other numbers", lambda: write_list(two, 46_950_000_000, options.numbers))
    check("a number of the old list goes through", verdict_of(stage, service, "+46900000001", "p4") == "allow")
    check("a number of the new list is blocked", verdict_of(stage, service, "+46950000001", "p5") == "block")

    # By a signal and by hand: whichever is sooner sees the change, the others see nothing new.
    before = service.reloads("unchanged") + service.reloads("done")
    write_rules(two, rules_text(more=MORE.format(n=4)))
    service.program.send_signal(signal.SIGHUP)
    wait_for("the signal to be heard", lambda: service.reloads("unchanged") + service.reloads("done") > before)
    write_rules(two, rules_text(more=MORE.format(n=5)))
    done = service.command("reload")
    check("`ringfence reload` puts the files in force", done.returncode == 0 and "in force" in done.stdout)
    print("      " + done.stdout.strip().replace("\n", "\n      "))
    check("a guest may not", service.command("reload", token=guest).returncode == 1)

    service.config.write_text(service.settings('[verdict]\ndeadline_ms = 50\n'))
    done = service.command("reload")
    check("settings that take a restart are named", done.returncode == 1 and "`verdict`" in done.stdout)
    service.config.write_text(service.settings())
    check("and put back, all is well", service.command("reload").returncode == 0)

    # Reload after reload, as long as calls come.
    n = 6
    while sending.poll() is None:
        write_rules(two, rules_text(more=MORE.format(n=6 + n % 2)))
        check(f"reload {n}", service.command("reload").returncode == 0)
        n += 1
        time.sleep(0.5)
    log = (folder / "events.send").read_text()
    check(f"the gateway has its {options.events} verdicts: {log.strip().splitlines()[-1] if log.strip() else ''}", sending.returncode == 0)
    check("each event was counted once", service.metric("ringfence_ingest_events_total") == options.events + 5)
    pause = service.metric("ringfence_reload_pause_seconds")
    print(f"      the last swap took {pause * 1000:.2f} ms")

    # What rules hold, looked at and taken back: of a rule that does not stay.
    rule = f"x-ips-{6 + (n - 1) % 2}"
    keys = json.loads(service.command("keys", "--rule", "ips-callee", "--format", "json", "--limit", "5").stdout)
    largest = [key["value"] for key in keys["keys"]]
    check("keys are listed, the largest first", len(largest) == 5 and largest == sorted(largest, reverse=True) and keys["n"] > 5)
    name = keys["keys"][0]["name"]
    shown = service.command("keys", "show", "--rule", "ips-callee", name)
    check("one is shown", shown.returncode == 0 and name in shown.stdout)
    print("      " + shown.stdout.strip().replace("\n", "\n      "))
    check("one that is not there is not", service.command("keys", "show", "--rule", "ips-callee", "+1").returncode == 1)
    check("a rule that is not there neither", service.command("keys", "--rule", "nobody").returncode == 1)
    # It came into force when no more calls came: the archive tells it of them, in its own time.
    until = time.monotonic() + 90
    while len(held := json.loads(service.command("keys", "--rule", rule, "--format", "json").stdout)["keys"]) < 7:
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    check("a guest resets nothing", service.command("keys", "reset", "--rule", rule, "--all", token=guest).returncode == 1)
    check("a new rule was told of the past, or counts", len(held) == 7)
    done = service.command("keys", "reset", "--rule", rule, held[0]["name"] if held else "none")
    check("one key is reset", done.returncode == 0 and "1 key reset" in done.stdout)
    done = service.command("keys", "reset", "--rule", rule, "--all")
    check("then the others", done.returncode == 0 and "6 keys reset" in done.stdout)
    check("nothing is held any more", service.command("keys", "reset", "--rule", rule, "--all").returncode == 1)

    # Killed around a reload: what comes again is told by its id.
    more = folder / "more.ndjson"
    write_events(more, options.events // 4, int(time.time() * 1000))
    lines = more.read_text().replace('"call-', '"again-')
    more.write_text(lines)
    sending = send(stage, service, more, options.rate, "g2", "ack")
    for n in range(6):
        time.sleep(0.3)
        write_rules(two, rules_text(more=MORE.format(n=20 + n)))
        if n % 2:
            service.command("reload")
        elif n % 3:
            service.program.send_signal(signal.SIGHUP)
            time.sleep(n / 50)
        service.kill()
        service.start()
        check(f"killed around reload {n}, it goes on", service.metric("ringfence_policy_stale") == 0)
    check("the gateway has its acknowledgements", sending.wait(300) == 0)
    stage.end(service.program, 60)

    both = folder / "both.ndjson"
    both.write_text(events.read_text() + lines)
    write_rules(folder / "plain", rules_text())
    write_list(folder / "plain", 46_900_000_000, 10)
    expected = told(lines_of(ringfence("replay", "--rules", folder / "plain", both).stdout))
    found = lines_of((folder / "violations.ndjson").read_text())
    by_id = {v["id"]: v for v in found}
    check(f"the {len(expected)} violations of rules that stay are those of a replay", told(by_id.values()) == expected)
    n_twice = len(found) - len(by_id)
    print(f"      {n_twice} were told again, under their ids, after one of six kills")
    if told(by_id.values()) != expected:
        print("missing:", list((expected - told(by_id.values())).items())[:3])
        print("too many:", list((told(by_id.values()) - expected).items())[:3])


def customers(stage):
    """A customer who gets a file is known from the next block of a connection that is open."""
    write_rules(stage.folder / "rules", 'ringfence = 1\ndefault_action = "allow"\n')
    (stage.folder / "rules/customers").mkdir()
    stage.write("rules/customers/acme.toml", CUSTOMER)
    os.symlink("rules", stage.folder / "current")
    service = Service(stage)
    service.config.write_text(service.settings().replace('format = "ndjson"', 'format = "ndjson"\ncustomer = "event"'))
    service.start()
    with socket.create_connection(("127.0.0.1", service.feed), 10) as s:
        stream = s.makefile("rw")
        seq = 0

        def ask(customer):
            nonlocal seq
            seq += 1
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
            event = {"kind": "attempt", "time": now, "call_id": f"c{seq}", "direction": "inbound", "caller": "+4670123456",
                     "callee": "+46855", "customer": customer, "seq": seq}
            stream.write(json.dumps(event) + "\n")
            stream.flush()
            while "ack" in (answer := json.loads(stream.readline())):
                pass
            return answer
        stream.write(json.dumps({"hello": {"gateway": "g1", "reply": "verdict"}}) + "\n")
        stream.flush()
        stream.readline()
        first = ask("acme")
        check(f"a customer with a file is known: {first}", first.get("action") == "allow")
        first = ask("globex")
        check(f"one without is not: {first}", "action" not in first)
        changed_by_itself(service, "a customer's file", lambda: stage.write("rules/customers/globex.toml", CUSTOMER))
        first = ask("globex")
        check(f"the customer is known, on the connection that was open: {first}", first.get("action") == "allow")
        changed_by_itself(service, "a file that goes", lambda: (stage.folder / "rules/customers/globex.toml").unlink())
        first = ask("globex")
        check(f"and not any more: {first}", "action" not in first)


with Stage() as stage:
    customers(stage)
with Stage() as stage:
    run(stage)
    if failures:
        raise SystemExit("not as it should be: " + "; ".join(failures))
print("rules changed while calls flowed, and nothing was lost or doubled")
