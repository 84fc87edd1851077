"""No delivery is lost, and none is doubled but out of `unknown`, whatever is killed when.

People open incidents, draft notices, check and release them while the providers of every channel refuse, hang up, fall
silent and come back, and while the service is killed at random moments and started again. In the end the providers
work, the service comes to rest, and `outbox.py` proves G1 to G7 from the store and from what the providers wrote down.
A run that nobody kills shows, on changed copies, that each of the proofs can fail.

    tests/e2e/deliveries.py                       # 60 kills, as tests/all.sh does
    tests/e2e/deliveries.py --kills 2000          # the full number
    tests/e2e/deliveries.py --seed 7 --only 21    # one run of them again; its folder stays
    tests/e2e/deliveries.py --backlog 100000      # how soon and how fast a backlog goes out after a kill
    tests/e2e/deliveries.py --combinations        # severity 1 with every three providers failing in every way

Waits of minutes and hours are skipped: once the providers work, the service gets a clock that is moved ahead.
"""
import argparse, collections, contextlib, copy, http.client, itertools, json, multiprocessing, os, pathlib, random
import shutil, signal, statistics, tempfile, threading, time, traceback

import people
from book import opened
from incidents import Service
from outbox import SINKS, Outbox, squeezed
from people import People, call, hire
from sinks import BROKEN, PROVIDERS, SILENT, Sinks
from stage import cannot_run

KILLS_A_RUN = 6
# Of those with failing providers, beside the kills.
COMBINATIONS = 6
STOP_S = 30
# A provider that is healthy again is tried again within so long.
REST_S = 40
# How long callers may go on hearing of what is over: two looks of the outbox, and some.
ACD_LAG_S = 6
CUSTOMERS = ["acme", "globex", "initech"]
people.DONE["acknowledge"] = "acknowledged"

COMMON = """
name = "{title} Ltd"
country = "SE"
time_zone = "Europe/Stockholm"
[command]
commanders = ["carl"]
deputies = ["dora"]
deputy_after = "{deputy}"
manager_after = "{manager}"
[calendars]
service = {{ open = ["Mon-Sun 00:00-24:00"] }}
response = {{ open = ["Mon-Sun 00:00-24:00"] }}
[escalation]
name = "Desk of {title}"
phone = "+4684000099{n}"
email = "desk@{name}.example"
"""
# Overlapping lists; one address written in two ways; one person without mail, one without a number, one of nobody's list.
ACME = """
[[contact]]
id = "ann"
name = "Ann Berg"
email = "ann@acme.example"
mobile = "+46700010001"
rights = ["receive"]
[[contact]]
id = "bob"
name = "Bob Chen"
email = "bob.chen@acme.example"
mobile = "+46700010002"
rights = ["receive"]
[[contact]]
id = "desk"
name = "Help desk"
email = "Ann@ACME.example"
rights = ["receive"]
[[contact]]
id = "cleo"
name = "Cleo"
mobile = "+46700010003"
rights = ["receive"]
[[contact]]
id = "dan"
name = "Dan"
email = "dan@acme.example"
rights = ["receive"]
[[roster]]
name = "turn"
people = ["ann", "bob"]
[[distribution]]
severities = [1, 2]
audience = "customer"
to = ["turn", "dan"]
channels = ["mail", "sms"]
[[distribution]]
severities = [1, 2, 3]
audience = "helpdesk"
to = ["desk", "ann", "cleo"]
channels = ["mail", "sms"]
[[distribution]]
severities = [1]
audience = "staff"
to = ["cleo"]
channels = ["call-sheet"]
[[distribution]]
severities = [1, 2, 3, 4]
audience = "service"
channels = ["portal", "acd", "webhook:noc", "syslog"]
[[distribution]]
severities = [1, 2]
audience = "service"
channels = ["pagerduty"]
[[oncall]]
severities = [1, 2]
channels = ["sms", "mail", "pagerduty"]
steps = [{ to = ["turn"], each = "1s" }, { to = ["cleo"], after = "2s" }]
repeat = 1
repeat_after = "2s"
"""
# Nobody at severity 3 and 4, so that the escalation contact is told.
GLOBEX = """
[[contact]]
id = "eve"
name = "Eve"
email = "eve@globex.example"
mobile = "+46700020001"
rights = ["receive"]
[[distribution]]
severities = [1, 2]
audience = "cio"
to = ["eve"]
channels = ["mail", "call-sheet"]
[[distribution]]
severities = [1, 2, 3]
audience = "service"
channels = ["acd", "pagerduty", "webhook:noc"]
"""
# Many of them, by text.
INITECH = "".join(f"""
[[contact]]
id = "p{n}"
name = "Person {n}"
email = "p{n * 7}@initech.example"
mobile = "+4670003000{n}"
rights = ["receive"]
""" for n in range(6)) + """
[[distribution]]
severities = [1, 2, 3, 4]
audience = "customer"
to = ["p0", "p1", "p2", "p3"]
channels = ["sms"]
[[distribution]]
severities = [1, 2]
audience = "staff"
to = ["p2", "p3", "p4", "p5"]
channels = ["mail", "sms"]
[[distribution]]
severities = [1, 2, 3, 4]
audience = "service"
channels = ["syslog", "acd"]
"""
SETTINGS = """
data = "data"
rules = "rules"
threads = 1
[archive]
enabled = false
[[feed]]
name = "calls"
listen = "127.0.0.1:0"
format = "ndjson"
[http]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:9"
[metrics]
listen = "127.0.0.1:0"
[output]
violations = "off"
notices = "off"
"""


def faketime():
    """The library that sets a program's clock."""
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":") + ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
    for folder in folders:
        for path in [pathlib.Path(folder) / "faketime", pathlib.Path(folder)]:
            if folder and (path / "libfaketimeMT.so.1").exists():
                return str(path / "libfaketimeMT.so.1")
    cannot_run("libfaketime is not installed")


@contextlib.contextmanager
def movable_clock(path, ahead=0):
    """What is started here has a clock that is as much ahead as the file says; how long things take stays as it is."""
    path.write_text(f"+{ahead:.0f}\n")
    names = {"LD_PRELOAD": faketime(), "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_CACHE_DURATION": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    try:
        os.environ.update(names)
        yield
    finally:
        for name in names:
            del os.environ[name]


def write_folder(folder, sinks, draw, customers=None, settings=SETTINGS, is_patient=False):
    """Settings and customers, and a data folder with people. `is_patient`: nobody stands in for the commander."""
    (folder / "rules/customers").mkdir(parents=True)
    (folder / "rules/ruleset.toml").write_text("ringfence = 1\ndefault_action = 'allow'\n")
    (folder / "ringfence.toml").write_text(settings + sinks.settings())
    (folder / "word").write_text("secret\n")
    (folder / "key").write_text("0123456789abcdef0123456789abcdef\n")
    bodies = customers or {"acme": ACME, "globex": GLOBEX, "initech": INITECH}
    for n, (name, body) in enumerate(bodies.items()):
        chain = draw.choice([("0s", "1s"), ("1s", "2s"), ("10m", "20m")])
        deputy, manager = ("23h", "24h") if is_patient else chain
        body = body.replace('repeat = 1\nrepeat_after = "2s"', 'repeat = 20\nrepeat_after = "24h"') if is_patient else body
        text = COMMON.format(title=name.title(), name=name, n=n, deputy=deputy, manager=manager)
        (folder / f"rules/customers/{name}.toml").write_text(text + body)
    service = Service(folder)
    service.start()
    hire(service.http_port, folder)
    service.stop()
    return service


class Hands(People):
    """Two people who look after incidents from their beginning to their end, and tell of them."""
    n_incidents_max = 14

    def settle(self, order):
        """What somebody did about a delivery may have been undone by what came of it: nobody does it again."""
        if order.subject.startswith("DLV"):
            order.state = "unclear"
        else:
            super().settle(order)

    def think(self, draw, word):
        if not self.list or draw.random() < 0.2:
            self.list = self.ask("/incidents?limit=100")["incidents"]
        incidents = self.list
        if not incidents or len(incidents) < self.n_incidents_max and draw.random() < 0.12:
            self.list = []
            body = {"customer": draw.choice(CUSTOMERS), "what": f"calls fail, {word}",
                    "severity": draw.choice([1, 1, 2, 2, 3, 4]), "why": word}
            return people.Order(draw.choice(["anna", "carl"]), "open", "/incidents", body, word, "INC")
        if draw.random() < 0.06:
            return self.about_delivery(draw, word)
        number = draw.choice(incidents)["id"]
        page = self.ask(f"/incidents/{number}")
        incident, messages = page["incident"], page["messages"]
        waiting = [message for message in messages if message["state"] in ("drafted", "checked", "returned")]
        who = lambda role: draw.choice([n for n, r in people.ROLES.items() if r == role])
        out = [message for message in messages if message["state"] == "released"]
        if out and draw.random() < 0.02:
            number = draw.choice(out)["id"]
            return people.Order("carl", "withdraw", f"/messages/{number}/withdraw", {"why": word}, word, number)
        if waiting and draw.random() < 0.85:
            return self.about_message(draw, who, draw.choice(waiting), word)
        return self.about_incident(draw, incident, messages, word)

    def about_delivery(self, draw, word):
        """Ticks off a call, or tries again what was given up."""
        by = draw.choice(["anna", "rita"])
        if draw.random() < 0.7:
            calls = self.ask("/callsheet")["calls"]
            body = {"reached": draw.random() < 0.7, "note": word}
            number = draw.choice(calls)["id"] if calls else None
            return number and people.Order(by, "tick", f"/callsheet/{number}", body, word, number)
        dead = self.ask("/deliveries?dead=true&limit=20")["deliveries"]
        number = draw.choice(dead)["id"] if dead else None
        return number and people.Order(by, "retry", f"/deliveries/{number}/retry", {}, word, number)

    def about_incident(self, draw, incident, messages, word):
        number, state = incident["id"], incident["state"]
        moves = {"candidate": ["suspect"], "suspected": ["confirm", "confirm", "confirm", "dismiss"],
                 "confirmed": ["mitigate"], "mitigating": ["monitor"], "monitoring": ["findings", "resolve", "resolve"],
                 "resolved": ["reopen", "messages", "messages", "messages"], "dismissed": ["messages"]}
        is_told = any(message["state"] in ("released", "superseded") for message in messages)
        action = draw.choice(["messages", "messages", "severity", "acknowledge", *3 * moves.get(state, ["notes"])])
        kits = {"resolved": ["resolved"], "dismissed": ["false-alarm"], "reviewed": ["review"]}
        if action == "messages" and is_told and any(m["kit"] in kits.get(state, []) for m in messages):
            action = "notes"
        body = {"why": word}
        if action == "notes":
            body = {"text": word}
        elif action == "severity":
            body["severity"] = draw.choice([1, 2, 3, 4])
        elif action == "findings":
            body = {"findings": word, "recommendations": "block the callers"}
        elif action == "messages":
            kit = draw.choice(kits.get(state, ["confirmed", "update", "update", "severity"]))
            text = {"confirmed": "scope", "severity": "reason", "false-alarm": "reason"}.get(kit, "changed")
            body = {"kit": kit, "texts": {text: word}}
            if kit in ("update", "confirmed"):
                body["next_update"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        by = draw.choice(["anna", "rita", "carl"] if action in ("messages", "notes") else ["carl", "dora", "anna"])
        return people.Order(by, action, f"/incidents/{number}/{action}", body, word, number)

    def answered(self):
        """Numbers of the messages whose release somebody was told of."""
        return {int(order.subject[4:]) for order in self.orders if order.action == "release" and order.state == "done"}


class Caller(threading.Thread):
    """Listens to the announcement, over and over, in one life of the service."""

    def __init__(self, port, heard):
        super().__init__(daemon=True)
        self.port, self.heard, self.is_over, self.begun = port, heard, False, time.time()
        self.start()

    def run(self):
        while not self.is_over:
            asked = time.time()
            with contextlib.suppress(OSError, http.client.HTTPException):
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                line.request("GET", "/acd/all.txt")
                answer = line.getresponse()
                text = answer.read().decode() if answer.status == 200 else ""
                line.close()
                self.heard.append((self.begun, asked, time.time(), text.strip()))
            time.sleep(0.05)

    def end(self):
        self.is_over = True
        self.join()


class Assassin:
    """Kills a service that is about to be started, when its moment has come; on a thread of its own."""

    def __init__(self, service, draw, hands, sinks):
        self.service, self.hands, self.sinks, self.before = service, hands, sinks, service.program
        self.kind = draw.choice(["load", "start", "order", "taken", "taken", "taken", "step", "step", "step"])
        self.after = draw.uniform(0, {"load": 1.0, "start": 0.5, "taken": 0.01, "order": 0.02, "step": 0.003}[self.kind])
        self.n = draw.randrange(1, {"taken": 25, "order": 40, "step": 90}.get(self.kind, 2))
        self.is_over = False
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def __str__(self):
        return f"{self.kind} {self.n} {self.after:.3f} s"

    def wait(self):
        while self.service.program is self.before and not self.is_over:
            time.sleep(0.0005)
        counts = {"taken": lambda: len(self.sinks.log.entries), "order": lambda: self.hands.n_begun}
        if self.kind == "step":
            with contextlib.closing(opened(self.service.folder / "data")) as db:
                self.wait_for(lambda: db.execute("SELECT max(seq) FROM transitions").fetchone()[0] or 0)
        elif self.kind in counts:
            self.wait_for(counts[self.kind])
        time.sleep(self.after)
        self.strike()

    def wait_for(self, ask):
        wanted = ask() + self.n
        while not self.is_over and ask() < wanted:
            time.sleep(0.0005)

    def strike(self):
        if not self.is_over:
            self.is_over = True
            self.service.program.send_signal(signal.SIGKILL)

    def end(self):
        self.is_over = True
        self.thread.join()


class Run:
    """One service, its providers and its people, from a seed."""

    def __init__(self, seed, number, folder, is_patient, wildness=0.3):
        self.folder, self.draw = folder, random.Random(f"{seed}/deliveries/{number}")
        folder.mkdir(parents=True)
        self.sinks = Sinks(f"{seed}/{number}", folder / "taken.ndjson", wildness)
        self.service = write_folder(folder, self.sinks, self.draw, is_patient=is_patient)
        self.hands = Hands(f"{seed}/{number}", folder)
        self.heard, self.kills, self.resumed = [], [], []

    def outbox(self):
        return Outbox(self.folder / "data", self.sinks.log.taken(), self.folder / "rules")

    def live(self, assassin, seconds):
        """One life; it ends by the assassin, or is over after so long."""
        backlog, n_before, begun = bool(self.outbox().open_rows()), len(self.sinks.log.entries), time.time()
        caller = None
        try:
            self.service.start()
            self.sinks.receipts.port = self.service.http_port
            caller = Caller(self.service.http_port, self.heard)
            self.hands.come(self.service)
            until = time.monotonic() + seconds
            while time.monotonic() < until and self.service.program.poll() is None:
                time.sleep(0.003)
            if assassin:
                assassin.strike()
                self.service.ended()
        except Exception as error:
            # It may take a while to die, and its connections die first.
            if not (assassin and assassin.is_over):
                raise
            self.service.ended()
        finally:
            self.sinks.receipts.port = None if assassin else self.sinks.receipts.port
            self.hands.go()
            for one in [assassin, caller]:
                if one:
                    one.end()
        if self.hands.failures:
            raise RuntimeError(self.hands.failures[0])
        first = next((entry["time"] for entry in list(self.sinks.log.entries)[n_before:] if entry["time"] >= begun), None)
        if backlog and first:
            self.resumed.append(first - begun)

    def trouble(self):
        """For a life, some provider may not be there at all."""
        for name in PROVIDERS:
            if name != "syslog":
                self.sinks.refuse(name) if self.draw.random() < 0.12 else self.sinks.accept(name)

    def go(self, n_kills):
        for _ in range(n_kills):
            self.trouble()
            assassin = Assassin(self.service, self.draw, self.hands, self.sinks)
            self.live(assassin, 1.3)
            self.kills.append(str(assassin))
        self.live(None, 2.0)
        self.sinks.heal()
        self.settle()

    def settle(self):
        """Everybody went home; what is queued goes out, at its time. Goes on with the life that is running."""
        caller = Caller(self.service.http_port, self.heard)
        time.sleep(ACD_LAG_S + 0.5)
        caller.end()
        self.sinks.receipts.port = None
        self.service.stop(seconds=STOP_S)
        self.heard_until = time.time()
        clock, ahead = self.folder / "clock", 0
        self.start_at(clock, ahead)
        for n_moves in range(30):
            later = self.rest(ahead)
            if not later:
                self.service.stop(seconds=STOP_S)
                # The next step of an escalation may have come due in between.
                if not self.outbox().open_rows():
                    return
                self.start_at(clock, ahead)
                continue
            # First to what is next; a few hours are left at most.
            ahead = max(ahead + 10, (min(later) if n_moves < 15 else max(later)) - time.time() + 1)
            clock.write_text(f"+{ahead:.0f}\n")
            time.sleep(1.2)
        raise RuntimeError(f"deliveries do not come to rest: {[row.once for row in self.outbox().open_rows()][:5]}")

    def start_at(self, clock, ahead):
        with movable_clock(clock, ahead):
            self.service.start()
        self.sinks.receipts.port = self.service.http_port

    def rest(self, ahead):
        """Waits until nothing is due any more; when what is left will be, as clocks here have it."""
        until, calm = time.monotonic() + REST_S, 0
        while time.monotonic() < until:
            if self.service.program.poll() is not None:
                raise RuntimeError(f"serve ended by itself, exit code {self.service.program.returncode}")
            rows, now, waiting = self.outbox().open_rows(), time.time() + ahead, {}
            for row in rows:
                # None goes before an earlier one of its incident and address.
                waiting.setdefault((row.incident or row.id, row.channel, row.address), row)
            due = [row.due / 1000 for row in waiting.values()]
            is_calm = not any(row.state == "leased" for row in rows) and not any(at <= now + 1 for at in due)
            calm = calm + 1 if is_calm and not self.sinks.receipts.waiting else 0
            if calm > 2:
                return due
            time.sleep(0.15)
        raise RuntimeError(f"nothing moves any more: {[(row.id, row.once, row.state) for row in waiting.values()][:5]}, "
                           f"receipts {self.sinks.receipts.waiting[:3]}")

    def prove(self):
        outbox = self.outbox()
        lines = outbox.prove(self.hands.answered()) + wrongly_heard(outbox, self.heard, self.heard_until)
        for path in sorted(self.folder.glob("serve-*.log")):
            log = path.read_text(errors="replace").splitlines()
            lines += [f"{path.name}: {line}" for line in log if "panicked at" in line]
        return outbox, lines

    def close(self):
        self.sinks.close()
        if self.service.program and self.service.program.poll() is None:
            self.service.kill()


def wrongly_heard(outbox, heard, until):
    """Announcements that nobody had released, or of what was over long before. Only of lives whose clock is ours."""
    lines, moves, released = set(), {}, {}
    for number, steps in outbox.of_incidents.items():
        moves[number] = [(step.time / 1000, step.to in ("resolved", "dismissed", "reviewed", "merged")) for step in steps]
    # Two messages of an incident may say the same.
    by_text = collections.defaultdict(list)
    for number, steps in outbox.of_messages.items():
        if number in outbox.released:
            released[number] = min(step.time for step in steps if step.to == "released") / 1000
            by_text[squeezed(outbox.messages[number]["forms"]["acd"])].append(number)
    for begun, asked, answered, text in heard:
        rest = squeezed(text)
        if not rest or answered > until:
            continue
        for form, numbers in by_text.items():
            if form not in rest:
                continue
            rest = rest.replace(form, "")
            if min(released[number] for number in numbers) > answered + 0.1:
                lines.add(f"acd: MSG-{numbers[0]:06} was heard before it was released")
            steps = moves[outbox.messages[numbers[0]]["incident"]]
            before = [is_over for at, is_over in steps if at < asked - ACD_LAG_S]
            since = [is_over for at, is_over in steps if at >= asked - ACD_LAG_S]
            if before and before[-1] and all(since) and asked - begun > ACD_LAG_S:
                lines.add(f"acd: MSG-{numbers[0]:06} was heard, and its incident had been over for {ACD_LAG_S} s")
        if rest.strip(" ."):
            lines.add(f"acd: {rest[:120]!r} was heard, and nobody released it")
    return sorted(lines)


# What is changed in a copy of what the reader read, and the proof that must tell of it.
def broken(outbox):
    """Pairs: what a proof says first, and a copy in which it has to. None where the run has nothing to change."""
    def first(rows, test):
        return next((row for row in rows if test(row)), None)

    def change(proof, found, act):
        other = copy.deepcopy(outbox)
        if found is not None:
            act(other)
        return proof, found is not None, other

    rows, steps = list(outbox.rows.values()), outbox.steps
    own = first(rows, lambda r: r.message and r.channel in SINKS and not r.about.get("instead_of"))
    taken = collections.Counter(entry["delivery"] for entry in outbox.taken)
    once = first(rows, lambda r: taken[r.id] == 1 and r.message and not any(step.to == "unknown" for step in steps[r.id]))
    open_way = first(rows, lambda r: len(steps[r.id]) > 2)
    kept = [n for n in outbox.released if outbox.messages[n]["state"] != "withdrawn"]
    told = first(kept, lambda n: any(row.what == "accepted" for row in outbox.of_messages[n]))
    of = lambda row: (row.incident, row.channel, row.address)
    ends = [n for n in outbox.released if outbox.messages[n]["kit"] in ("resolved", "false-alarm")]
    is_before = lambda other, row: other.message and outbox.released[other.message] < outbox.released[row.message]
    end = first((row for n in ends for row in outbox.notices[n]), lambda row: not row.about.get("instead_of") and any(
        of(other) == of(row) and is_before(other, row) and other.handed for other in rows))
    streams = collections.defaultdict(list)
    for entry in outbox.taken:
        is_again = any(step.what == "retried by hand" for step in steps.get(entry["delivery"], []))
        is_one = taken[entry["delivery"]] == 1 and entry["delivery"] and not is_again
        if is_one and outbox.rows[entry["delivery"]].incident:
            streams[of(outbox.rows[entry["delivery"]])].append(entry)
    pair = first(streams.values(), lambda entries: len(entries) > 1)

    def put(name, row, **fields):
        return lambda o: getattr(o, name).__setitem__(row.id, row._replace(**fields))

    def swap(o):
        entries = {entry["n"]: entry for entry in o.taken}
        a, b = (entries[entry["n"]] for entry in pair[:2])
        a["n"], b["n"] = b["n"], a["n"]

    def drop(row):
        def act(o):
            del o.rows[row.id], o.steps[row.id]
            o.notices[row.message] = [other for other in o.notices[row.message] if other.id != row.id]
            o.taken = [entry for entry in o.taken if entry["delivery"] != row.id]
        return act

    def step_of(row, **fields):
        return lambda o: o.steps[row.id].__setitem__(1, o.steps[row.id][1]._replace(**fields))

    def unheard(o):
        o.of_messages[told] = [row for row in o.of_messages[told] if row.what != "accepted"]
    again = lambda o: o.taken.append(next(dict(e) for e in o.taken if e["delivery"] == once.id))
    text = lambda o: next(e for e in o.taken if e["delivery"] == once.id).update(text="we know nothing")
    return [
        change("G1: MSG-999999", own, lambda o: None),
        change("G1: ", own, own and drop(own)),
        change("G1: ", own, lambda o: o.notices[own.message].append(own._replace(address="+4612345", channel="sms"))),
        change("G2: ", once, lambda o: setattr(o, "taken", [e for e in o.taken if e["delivery"] != once.id])),
        change("G2: ", once, again),
        change("G3: ", open_way, open_way and step_of(open_way, to="delivered")),
        change("G3: ", open_way, open_way and step_of(open_way, time=1)),
        change("G3: ", open_way, lambda o: o.steps[open_way.id].pop(1)),
        change("G3: ", open_way, open_way and put("rows", open_way, state="queued")),
        change("G3: ", once, once and put("rows", once, state="handed", reason="")),
        change("G5: ", pair, swap),
        change("G6: ", end, end and drop(end)),
        change("G7: ", own, lambda o: o.rows.__setitem__(10 ** 6, own._replace(id=10 ** 6))),
        change("G7: ", once, lambda o: o.taken.append({**o.taken[0], "delivery": 999999})),
        change("G7: ", once, lambda o: next(e for e in o.taken if e["delivery"] == once.id).update(address="elsewhere")),
        change("release: ", once, text),
        change("release: ", once, lambda o: o.released.pop(once.message)),
        change("accepted: ", told, unheard),
    ]


def check_itself(job):
    """A run that nobody disturbs is right, and wrong once anything of it is changed."""
    seed, root, is_patient = job
    this, lines = None, []
    try:
        this = Run(seed, "self", root / "self", is_patient)
        # Few, so that some come to their end.
        this.hands.n_incidents_max = 4
        for n_left in range(12, 0, -1):
            this.live(None, 4)
            if all(is_there for _, is_there, _ in broken(this.outbox())) or n_left == 1:
                break
            this.service.stop(seconds=STOP_S)
        this.sinks.heal()
        this.settle()
        outbox, lines = this.prove()
        this.close()
        for n, (proof, is_there, other) in enumerate(broken(this.outbox()) if not lines else []):
            other.wrong = []
            said = other.prove({999999} if proof == "G1: MSG-999999" else ())
            if not is_there:
                lines.append(f"nothing in the run to change for change {n} ({proof})")
            elif not any(line.startswith(proof) for line in said):
                lines.append(f"change {n} ({proof}): it was changed, and the reader says {said[:2]}")
        heard = wrongly_heard(outbox, [(0, time.time(), time.time(), "we know nothing")], time.time() + 9)
        lines += [] if heard else ["an announcement that nobody released is not told"]
        if not lines:
            shutil.rmtree(this.folder, ignore_errors=True)
    except BaseException:
        lines = [traceback.format_exc()]
    finally:
        if this:
            this.close()
    return lines


def run(job):
    """One run, from its seed; what is wrong with it."""
    seed, number, root, n_kills, is_patient = job
    kills, counts, resumed, this = [], {}, [], None
    try:
        this = Run(seed, number, root / f"run-{number}", is_patient)
        this.go(n_kills)
        outbox, lines = this.prove()
        kills, resumed = this.kills, this.resumed
        n_released = len(this.hands.answered())
        counts = {**outbox.counts(), "releases answered": n_released, "orders": len(this.hands.orders),
                  "receipts": this.sinks.receipts.n_told, "heard": sum(bool(text) for *_, text in this.heard)}
        if not lines:
            shutil.rmtree(this.folder, ignore_errors=True)
    except BaseException:
        lines, kills = [traceback.format_exc()], this.kills if this else []
    finally:
        if this:
            this.close()
    return number, kills, counts, resumed, lines


# ---------------------------------------------------------------------------------------------------------------------
# Every three providers, in every way
# ---------------------------------------------------------------------------------------------------------------------

WAYS = {"refused": None, "silent": SILENT, "5xx": BROKEN}
GRAVE = """
[[contact]]
id = "ann"
name = "Ann Berg"
email = "ann@acme.example"
mobile = "+46700010001"
rights = ["receive"]
[[contact]]
id = "bob"
name = "Bob Chen"
email = "bob.chen@acme.example"
rights = ["receive"]
[[contact]]
id = "cleo"
name = "Cleo"
mobile = "+46700010003"
rights = ["receive"]
[[distribution]]
severities = [1]
audience = "customer"
to = ["ann", "bob", "cleo"]
channels = ["mail", "sms"]
[[distribution]]
severities = [1]
audience = "service"
channels = ["webhook:noc", "pagerduty", "syslog", "acd"]
"""
PEOPLE = {"ann", "bob", "cleo"}
# Severity 1 reaches somebody, or a page to phone from, within this.
WITHIN_S = 60


def order(service, tokens, by, path, body):
    """Done, or an error: nobody kills anything here."""
    status, answer = call(service.http_port, tokens[by], "POST", path, body)
    if status not in (200, 201):
        raise RuntimeError(f"{path} by {by}: {status} {answer}")
    return answer


def release(service, tokens, customer, severity, word):
    """An incident, and a notice of it that two people agreed on; when it was released, and its number."""
    give = lambda by, path, body: order(service, tokens, by, path, body)
    body = {"customer": customer, "what": f"calls fail, {word}", "severity": severity, "why": word}
    incident = give("anna", "/incidents", body)["incident"]
    with contextlib.suppress(RuntimeError):
        give("anna", f"/incidents/{incident}/suspect", {"why": word})
    give("carl", f"/incidents/{incident}/confirm", {"why": word})
    message = give("anna", f"/incidents/{incident}/messages", {"kit": "confirmed", "texts": {"scope": word}})["message"]
    status, shown = call(service.http_port, tokens["carl"], "GET", f"/messages/{message}")
    give("carl", f"/messages/{message}/check", {"hash": shown["hash"]})
    give("dora", f"/messages/{message}/release", {"hash": shown["hash"]})
    return time.time(), int(message[4:])


def combination(job):
    """One severity 1 while these providers fail in this way: after how long each person was reached, and how."""
    root, number, failing, way = job
    folder, sinks, service = root / f"combination-{number}", None, None
    try:
        folder.mkdir()
        sinks = Sinks(number, folder / "taken.ndjson", wildness=0)
        service = write_folder(folder, sinks, random.Random(number), {"acme": GRAVE}, is_patient=True)
        for name in failing:
            sinks.plans[name].fixed = WAYS[way]
            if way == "refused":
                sinks.refuse(name)
        service.start()
        released, message = release(service, json.loads((folder / "tokens.json").read_text()), "acme", 1, "grave")
        reached, wanted = {}, PEOPLE | {name for name in ("webhook", "pagerduty", "syslog") if name not in failing}
        while time.time() < released + WITHIN_S and wanted - reached.keys():
            outbox = Outbox(folder / "data", sinks.log.taken(), folder / "rules")
            for entry in outbox.taken:
                row = outbox.rows.get(entry["delivery"])
                if row and row.message == message and row.channel != "acd":
                    who = row.about["contact"] or entry["provider"]
                    reached.setdefault(who, (entry["time"] - released, entry["provider"]))
            for row in outbox.notices[message]:
                if row.channel == "call-sheet" and row.state == "handed":
                    reached.setdefault(row.about["contact"], (time.time() - released, "sheet"))
            time.sleep(0.1)
        lines = [f"{who} was not reached in {WITHIN_S} s" for who in sorted(wanted - reached.keys())]
        lines += [outbox.told(row, ": nobody can read why") for row in outbox.notices[message]
                  if row.state != "queued" and not row.reason]
        lines += [f"{who} got it by {by}, which fails" for who, (_, by) in reached.items() if by in failing]
        shutil.rmtree(folder, ignore_errors=True) if not lines else None
    except BaseException:
        reached, lines = {}, [traceback.format_exc()]
    finally:
        if service and service.program and service.program.poll() is None:
            service.kill()
        if sinks:
            sinks.close()
    return failing, way, reached, lines


def combinations(pool, root, seed, n_wanted):
    """Prints a table; how many went wrong."""
    everything = [(failing, way) for n in (1, 2, 3) for failing in itertools.combinations(PROVIDERS, n) for way in WAYS]
    if n_wanted:
        everything = random.Random(f"{seed}/combinations").sample(everything, n_wanted)
    jobs = [(root, number, failing, way) for number, (failing, way) in enumerate(everything)]
    n_failed, slowest = 0, 0
    if not n_wanted:
        print(f"{'failing':32} {'how':8} {'ann':>14} {'bob':>14} {'cleo':>14}")
    for failing, way, reached, lines in pool.imap(combination, jobs):
        slowest = max([slowest, *(after for who, (after, _) in reached.items() if who in PEOPLE)])
        cells = [f"{reached[who][1]} {reached[who][0]:.1f} s" if who in reached else "never" for who in sorted(PEOPLE)]
        if lines or not n_wanted:
            print(f"{' '.join(failing):32} {way:8} {cells[0]:>14} {cells[1]:>14} {cells[2]:>14}", flush=True)
        if lines:
            n_failed += 1
            print("    FAILED", *lines, sep="\n    ", flush=True)
    print(f"{len(jobs)} combinations of up to three failing providers, {n_failed} failed; the last person was reached after "
          f"{slowest:.1f} s")
    return n_failed


# ---------------------------------------------------------------------------------------------------------------------
# A backlog
# ---------------------------------------------------------------------------------------------------------------------

# To one address; more by text would become a digest.
NOTICES_EACH = 5
CONTACTS_MAX = 2000


def crowd(channel, n_customers, n_contacts):
    """Customers with many people, who are told by one channel of severity 3."""
    def file(customer):
        contacts = "".join(
            f'[[contact]]\nid = "c{n}"\nname = "Contact {n}"\nemail = "c{n}@crowd{customer}.example"\n'
            f'mobile = "+467{customer:03}{n:05}"\nemail_verified = true\nmobile_verified = true\nrights = ["receive"]\n' for n in range(n_contacts))
        names = ", ".join(f'"c{n}"' for n in range(n_contacts))
        return (f'{contacts}[[distribution]]\nseverities = [3]\naudience = "customer"\nto = [{names}]\n'
                f'channels = ["{channel}"]\n')
    return {f"crowd{customer}": file(customer) for customer in range(n_customers)}


def backlog(root, channel, n, is_killed):
    """Queues n deliveries, kills the service where that is asked for, and measures how it goes on; what is wrong."""
    folder = root / f"backlog-{channel}"
    folder.mkdir()
    n_customers = -(-n // (NOTICES_EACH * CONTACTS_MAX))
    n_contacts = -(-n // (NOTICES_EACH * n_customers))
    sinks = Sinks(channel, folder / "taken.ndjson", wildness=0)
    sinks.is_light = True
    bodies = crowd(channel, n_customers, n_contacts)
    settings = SETTINGS.replace("threads = 1", "threads = 2")
    service = write_folder(folder, sinks, random.Random(1), bodies, settings=settings, is_patient=True)
    try:
        if is_killed:
            for name in PROVIDERS:
                sinks.refuse(name)
        service.start()
        tokens, begun = json.loads((folder / "tokens.json").read_text()), time.time()
        for _ in range(NOTICES_EACH):
            for customer in bodies:
                release(service, tokens, customer, 3, "crowd")
        queued = time.time() - begun
        n_all = n_customers * n_contacts * NOTICES_EACH
        if is_killed:
            service.kill()
            sinks.heal()
            begun = time.time()
            service.start(seconds=300)
        print(f"{channel}: {n_all} queued by {NOTICES_EACH * n_customers} releases in {queued:.1f} s", flush=True)
        until, before = time.monotonic() + 60 + n_all / 50, -1
        while len(sinks.log.entries) < n_all and time.monotonic() < until:
            time.sleep(0.2)
        times = sorted(entry["time"] for entry in list(sinks.log.entries))
        middle = times[len(times) // 20: -len(times) // 20 or None]
        rate = (len(middle) - 1) / (middle[-1] - middle[0])
        print(f"{channel}: from the start to the first {times[0] - begun:.2f} s, to the last {times[-1] - begun:.1f} s; "
              f"{len(times)} came, {rate:.0f} a second", flush=True)
        time.sleep(3)
        outbox = Outbox(folder / "data", sinks.log.taken(), folder / "rules")
        outbox.prove_taken()
        outbox.prove_paths(is_settled=False)
        states = collections.Counter(row.state for row in outbox.rows.values())
        print(f"{channel}: {dict(states)}", flush=True)
        return outbox.wrong + ([f"{channel}: {len(times)} of {n_all} came"] if len(times) < n_all else [])
    finally:
        if service.program.poll() is None:
            service.kill()
        sinks.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of the one run to make again")
    parser.add_argument("--jobs", type=int, default=4 * os.cpu_count(), help="services at the same time")
    parser.add_argument("--patient", action="store_true", help="nobody stands in for a commander who does not answer")
    parser.add_argument("--backlog", type=int, default=0, help="so many deliveries by mail, then by text, over a kill")
    parser.add_argument("--rate", type=int, default=0, help="so many, and nothing is killed")
    parser.add_argument("--combinations", action="store_true", help="all of them, and nothing else")
    options = parser.parse_args()
    faketime()
    root = pathlib.Path(tempfile.mkdtemp(prefix="ringfence-deliveries-"))
    if options.backlog or options.rate:
        lines = [line for channel in ("mail", "sms")
                 for line in backlog(root, channel, options.backlog or options.rate, bool(options.backlog))]
        print(*lines[:20], sep="\n")
        shutil.rmtree(root, ignore_errors=True)
        raise SystemExit(bool(lines))
    if options.combinations:
        with multiprocessing.Pool(options.jobs) as pool:
            raise SystemExit(bool(combinations(pool, root, options.seed, 0)))
    begun, totals, resumed, n_kills, n_failed = time.monotonic(), collections.Counter(), [], 0, 0
    numbers = range(-(-options.kills // KILLS_A_RUN)) if options.only is None else [options.only]
    with multiprocessing.Pool(min(options.jobs, len(numbers) + 1)) as pool:
        itself = pool.apply_async(check_itself, [(options.seed, root, options.patient)])
        jobs = [(options.seed, number, root, KILLS_A_RUN, options.patient) for number in numbers]
        for n_done, (number, kills, counts, times, lines) in enumerate(pool.imap_unordered(run, jobs), start=1):
            n_kills += len(kills)
            totals.update(counts)
            resumed += times
            if n_done % 50 == 0:
                print(f"{n_done} runs, {n_failed} failed, {time.monotonic() - begun:.0f} s", flush=True)
            if lines:
                n_failed += 1
                print(f"run {number} of seed {options.seed} FAILED; kills: {kills}; {root}/run-{number}", *lines[:12],
                      sep="\n    ", flush=True)
        n_failed += combinations(pool, root, options.seed, COMBINATIONS) if options.only is None else 0
        lines = itself.get()
        n_failed += bool(lines)
        print("each proof fails where it should" if not lines else "the proofs themselves FAILED:", *lines[:20], sep="\n    ")
    print(f"{len(numbers)} runs, {n_kills} kills, {dict(totals)}, {n_failed} failed, in {time.monotonic() - begun:.0f} s")
    if resumed:
        print(f"from a start with a backlog to the first word at a provider: {statistics.median(resumed):.2f} s in the "
              f"middle, {max(resumed):.2f} s at most")
    if n_failed:
        raise SystemExit(1)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
