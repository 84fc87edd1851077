"""Crash equivalence: a service that is killed at random moments says in the end what one says that never was.

Each run draws its kills from its seed: under load, during the start and the recovery, during the stop. Between them the
gateways come back and send what was not acknowledged. In the end everything is compared with the run that nobody
disturbed: the events by position with their verdicts and flags, the violations by id in the output and in the store, the
blocks, the archive row by row, what gateways are told is held of them, and the whole state of the last snapshot, to the
last window. With the journal alone, without any snapshot, a start comes to the same state.

    tests/e2e/crash.py                          # a few runs, as tests/all.sh does
    tests/e2e/crash.py --runs 1000              # the full number
    tests/e2e/crash.py --seed 7 --only 212      # one of them again; its folder stays
"""
import argparse, collections, heapq, json, multiprocessing, os, pathlib, pickle, random, shutil, struct, tempfile, time
import traceback

import gateway, kept
from gateway import Killed, Lane, Service
from stage import ringfence

# Scenarios are drawn as runs are; so many runs share one, and the run that it is compared with.
RUNS_A_SCENARIO = 20
DAY_MS = 86_400_000
CUSTOMERS = ["acme", "globex", "initech"]


def rules(draw):
    """Every kind of measure, list and reaction that there is; what engine it takes is drawn."""
    coupled = draw.random() < 0.6
    small = draw.random() < 0.5
    block = lambda name: f'\non_critical = {{ block = {{ list = "{name}", ttl = "{draw.choice(["20s", "5m"])}" }} }}'
    text = f"""
ringfence = 1
default_action = "allow"
max_keys = {draw.choice([64, 192]) if small else 100000}
[lists]
bad = {{ type = "number", items = ["+46700010003", "+46700011*"] }}
"""
    if coupled:
        size = draw.choice([3, 1000])
        text += f'auto = {{ type = "number", dynamic = true, max_entries = {size} }}\n'
        text += f'auto_ip = {{ type = "ip", dynamic = true, max_entries = {size} }}\n'
    firewall = [
        ("fw-mark", "on = 'attempt'\nwhen = 'attestation in {failed, C}'\naction = 'flag'\nflag = 'suspect'"),
        ("fw-bad", "when = 'caller in $bad'\naction = 'block'\nsip_code = 603\ntrack = ['log', 'alert:warning']"),
        ("fw-divert", "when = 'callee startswith +468400002'\naction = 'divert'\ndivert_to = '+4684009999'"),
        ("fw-scanner", "on = 'request'\nwhen = 'user_agent contains {\"sipvicious\"}'\naction = 'block'"),
        ("fw-end", "on = 'end'\nwhen = 'status == failed and q850 == 21'\naction = 'flag'\nflag = 'refused'"),
        ("fw-watch", "mode = 'monitor'\nwhen = 'callee.class == mobile'\naction = 'block'\ntrack = ['alert:critical']"),
    ]
    if coupled:
        firewall.append(("fw-auto", "when = 'caller in $auto or source_ip in $auto_ip'\naction = 'block'"))
    for name, body in firewall:
        text += f"[[firewall]]\nid = '{name}'\n{body}\n"
    thresholds = [
        ("ips-count", "on = 'attempt'\nmeasure = 'count'\nper = ['caller']\nwindow = '2m'\nwarning = '>= 4'\n"
         "critical = '>= 8'\ncount_blocked = false" + (block("auto") if coupled else "")),
        ("ips-count-callee", "on = 'attempt'\nmeasure = 'count'\nper = ['callee']\nwindow = '1m'\nwarning = '>= 5'\n"
         "clear = '< 3'\ncooldown = '10s'"),
        ("ips-distinct", "on = 'end'\nwhere = 'not answered and ring < 6s'\nmeasure = 'distinct(callee)'\n"
         "per = ['prefix(caller, 9)']\nwindow = '10m'\nwarning = '>= 5'\ncritical = '>= 12'\ncooldown = '1m'"),
        ("ips-sum", "on = 'end'\nwhere = 'answered'\nmeasure = 'sum(duration)'\nper = ['account']\nwindow = '5m'\n"
         "warning = '>= 10m'\ncritical = '>= 25m'\ncooldown = '0s'"),
        ("ips-cost", "on = 'end'\nmeasure = 'sum(cost)'\nper = ['customer']\nwindow = '3m'\nwarning = '>= 40'"),
        ("ips-share", "on = 'end'\nmeasure = 'share(answered)'\nper = ['trunk']\nwindow = '5m'\nmin_count = 20\n"
         "warning = '>= 65%'\ncritical = '>= 80%'\nclear = '< 60%'\ncooldown = '30s'"),
        ("ips-avg", "on = 'end'\nwhere = 'answered'\nmeasure = 'avg(duration)'\nper = ['trunk', 'account']\n"
         "window = '10m'\nmin_count = 5\nwarning = '>= 50s'\ncooldown = '1m'"),
        ("ips-run", "on = 'attempt'\nmeasure = 'run(callee, 2)'\nper = ['caller']\nwindow = '5m'\nwarning = '>= 4'\n"
         "critical = '>= 7'\nmode = 'monitor'"),
        ("ips-register", "on = 'register'\nwhere = 'auth_failed'\nmeasure = 'count'\nper = ['source_ip']\nwindow = '5m'\n"
         "warning = '>= 3'\ncritical = '>= 6'\nmissing_key = 'merge'" + (block("auto_ip") if coupled else "")),
        ("ips-concurrent", "on = 'call'\nmeasure = 'concurrent'\nper = ['trunk']\nwarning = '>= 30'\n"
         "critical = '>= 45'\nclear = '< 25'\ncooldown = '20s'"),
        ("ips-concurrent-account", "on = 'call'\nmeasure = 'concurrent'\nper = ['account']\nwarning = '>= 6'\n"
         f"max_keys = {64 if small else 1000}"),
        ("ips-agents", "on = 'request'\nmeasure = 'distinct(user_agent)'\nper = ['source_ip']\nwindow = '10m'\n"
         "warning = '>= 5'"),
    ]
    for name, body in thresholds:
        text += f"[[threshold]]\nid = '{name}'\n{body}\n"
    return text


def calls(draw, n_events, begin_ms):
    """Events in the order of their time, as (time, fields): ordinary calls, and some that rules are there for."""
    time_ms, waiting, n_calls, n_made = begin_ms, [], 0, 0
    number = lambda base, n: f"+{base + min(int(draw.expovariate(1 / (n / 6))), n - 1)}"
    while n_made < n_events:
        time_ms += int(draw.expovariate(1 / 150))
        while waiting and waiting[0][0] <= time_ms and n_made < n_events:
            at, _, fields = heapq.heappop(waiting)
            yield at, fields
            n_made += 1
        n_calls += 1
        common = {
            "customer": draw.choice(CUSTOMERS), "call_id": f"{n_calls:x}@crash.example",
            "direction": draw.choice(["inbound", "outbound"]), "caller": number(46700010000, 1200),
            "callee": number(46840000000, 300) if draw.random() < 0.7 else number(46700500000, 2000),
            "trunk": f"trunk-{draw.randrange(5)}", "account": f"account-{draw.randrange(40)}",
            "source_ip": f"192.0.2.{min(int(draw.expovariate(0.1)), 250)}",
        }
        chance = draw.random()
        if chance < 0.02:
            common["callee"] = draw.choice(["112", "911"])
        elif chance < 0.04:
            # Who dials one number after the other.
            common["caller"], common["callee"] = "+46700017777", f"+{46840000100 + n_calls % 97}"
        elif chance < 0.06:
            common["caller"], common["callee"] = draw.choice([("anonymous", "2001"), ("+46700017777", "short")])
        if draw.random() < 0.2:
            common["attestation"] = draw.choice(["A", "B", "C", "failed", "none"])
        kind = draw.random()
        if kind < 0.12:
            del common["callee"], common["direction"]
            yield time_ms, {**common, "kind": "register", "auth_failed": draw.random() < 0.5, "sip_code": 401}
        elif kind < 0.16:
            agent = draw.choice(["sipvicious", "phone-1", "phone-2", "phöne \"3\"", "phone-4", "phone-5"])
            yield time_ms, {**common, "kind": draw.choice(["options", "message"]), "user_agent": agent}
        elif kind < 0.26:
            status = draw.choice(["answered", "busy", "no_answer"])
            yield time_ms, {**common, "kind": "cdr", "status": status, "ring": 3.5, "cost": "0.0471",
                            "duration": draw.randrange(90) if status == "answered" else 0}
        else:
            yield time_ms, {**common, "kind": "attempt"}
            ring, talk = draw.randrange(500, 9000), int(draw.expovariate(1 / 40_000))
            status = draw.choice(["answered", "answered", "busy", "no_answer", "failed"])
            if status == "answered":
                answer = {**common, "kind": "answer", "ring": ring / 1000}
                heapq.heappush(waiting, (time_ms + ring, 2 * n_calls, answer))
            end = {**common, "kind": "end", "status": status, "ring": ring / 1000, "cost": talk / 50_000,
                   "duration": talk / 1000 if status == "answered" else 0, "q850": 21 if status == "failed" else 16}
            if draw.random() < 0.97:
                heapq.heappush(waiting, (time_ms + ring + (talk if status == "answered" else 0), 2 * n_calls + 1, end))
        n_made += 1


def packet(time_ms, fields):
    """The SIP message by which a tap hears of an event, as a packet of HEPv3."""
    party = lambda name: f"<sip:{fields.get(name, 'anonymous')}@{fields['source_ip']}>"
    messages = {"attempt": ("INVITE", 0), "answer": ("INVITE", 200), "register": ("REGISTER", 401),
                "options": ("OPTIONS", 0), "message": ("MESSAGE", 0), "cdr": ("INVITE", 404)}
    method, code = messages.get(fields["kind"], ("BYE", 0))
    if fields["kind"] == "end" and fields["status"] != "answered":
        method, code = "INVITE", {"busy": 486, "no_answer": 408}.get(fields["status"], 503)
    sequence = 2 if method == "BYE" else 1
    text = f"SIP/2.0 {code} No\r\n" if code else f"{method} sip:{fields.get('callee', 'x')}@192.0.2.1 SIP/2.0\r\n"
    text += f"Call-ID: {fields['call_id']}\r\nCSeq: {sequence} {method}\r\nFrom: {party('caller')};tag=a\r\n"
    text += f"To: {party('callee')}{';tag=b' if code or method == 'BYE' else ''}\r\n"
    text += f"Via: SIP/2.0/UDP {fields['source_ip']};branch=z9hG4bK{fields['call_id'][:8]}{sequence}\r\n"
    text += "Content-Length: 0\r\n\r\n"
    ip = bytes(map(int, fields["source_ip"].split(".")))
    sides = [bytes([192, 0, 2, 1]), ip] if code else [ip, bytes([192, 0, 2, 1])]
    chunks = [(1, b"\2"), (2, b"\x11"), (3, sides[0]), (4, sides[1]), (7, b"\x13\xc4"), (8, b"\x13\xc4"),
              (9, (time_ms // 1000).to_bytes(4, "big")), (10, (time_ms % 1000 * 1000).to_bytes(4, "big")), (11, b"\1"),
              (12, b"\0\0\0\7"), (15, text.encode())]
    body = b"".join(struct.pack(">HHH", 0, kind, 6 + len(data)) + data for kind, data in chunks)
    return b"HEP3" + (6 + len(body)).to_bytes(2, "big") + body


class Scenario:
    """Rules, settings and traffic, drawn from a seed; and what came of them when nobody disturbed."""

    def __init__(self, seed, number, folder):
        self.draw = draw = random.Random(f"{seed}/scenario/{number}")
        self.number, self.folder = number, folder
        self.durability = draw.choice(["ack", "ack", "interval", "none"])
        # Where gateways were there before, no time passes by itself for a minute; where not, it does from the start.
        self.ticks = draw.random() < 0.3
        self.kinds = ["ack"] if self.ticks else draw.choice([["ack"], ["ack", "verdict"], ["ack", "dedup"], ["verdict"],
                                                            ["ack", "verdict", "dedup"], ["tap", "ack"]])
        self.is_late = not self.ticks and draw.random() < 0.5
        self.n_threads = draw.choice([1, 2, 4])
        self.rules = rules(draw)
        self.begin_ms = (int(time.time() * 1000) // DAY_MS - 30) * DAY_MS + draw.randrange(DAY_MS)
        self.n_events = draw.choice([6_000, 12_000, 20_000])
        self.pace_s = draw.choice([0.0, 0.004, 0.008])
        # Events that each gateway has sent before a run begins.
        self.n_begun = 0 if self.ticks else len(CUSTOMERS)

    def settings(self):
        archive = "enabled = true\nevery_s = 1\nevery_mib = 1"
        return f"""
data = "data"
rules = "rules"
threads = {self.n_threads}
stop_timeout_s = 120
[journal]
durability = "{self.durability}"
segment_mib = 1
fsync_interval_ms = 50
[snapshot]
every_s = 1
every_mib = 1
[archive]
{archive}
[[feed]]
name = "numbered"
listen = "127.0.0.1:0"
format = "ndjson"
delay_s = 86400
[[feed]]
name = "repeating"
listen = "127.0.0.1:0"
format = "ndjson"
delay_s = 86400
dedup = true
[[feed]]
name = "tap"
listen = "127.0.0.1:0"
format = "hep"
transport = "tcp"
delay_s = 86400
[http]
listen = "off"
[metrics]
listen = "127.0.0.1:0"
[output]
violations = "violations.ndjson"
[verdict]
deadline_ms = 10000
[log]
level = "info"
"""

    def lanes(self):
        made = {"ack": Lane("sbc-ack", "numbered", "ack"), "verdict": Lane("sbc-verdict", "numbered", "verdict"),
                "dedup": Lane("pbx-dedup", "repeating", "none"), "tap": Lane("tap", "tap", "tap")}
        for lane in made.values():
            lane.sent = lane.acked = self.n_begun
        return [made[kind] for kind in self.kinds]

    def slices(self, lanes):
        """The lanes take turns, some dozens to hundreds of events each."""
        draw = random.Random(f"{self.number}/{self.begin_ms % DAY_MS}")
        seqs = {lane.name: self.n_begun for lane in lanes}
        events = list(calls(draw, self.n_events, self.begin_ms))
        at, slices = 0, []
        while at < len(events):
            # The first slices are short: in them the names of customers and gateways are learned, one after the other.
            n = 40 if len(slices) < len(lanes) else draw.randrange(20, 250)
            lane, taken, lines = lanes[len(slices) % len(lanes)], events[at:at + n], []
            if self.is_late:
                taken.sort(key=lambda event: event[0] + (draw.randrange(4000) if draw.random() < 0.1 else 0))
            for time_ms, fields in taken:
                if lane.reply == "tap":
                    lines.append((0, time_ms, packet(time_ms, fields)))
                    continue
                said = {"time": time_ms, **fields}
                if lane.numbers:
                    seqs[lane.name] += 1
                    said["seq"] = seqs[lane.name]
                    if draw.random() < 0.003:
                        said["time"] = "yesterday"
                lines.append((seqs[lane.name], time_ms, json.dumps(said).encode() + b"\n"))
            slices.append((lane, lines))
            at += n
        return slices[:-1] if slices[-1][0].reply == "tap" else slices

    def first_events(self, lane):
        """One event a customer: in them the names are learned."""
        said = [{"time": self.begin_ms - 1000, "kind": "attempt", "customer": customer, "caller": "+46700019999",
                 "callee": "+46840000000", "call_id": f"{lane.name}-{customer}"} for customer in CUSTOMERS]
        return [(seq, said["time"], json.dumps({**said, "seq": seq}).encode() + b"\n")
                for seq, said in enumerate(said, start=1)]

    def make_folder(self, folder):
        """The settings, and a data folder as all runs of the scenario find it: with the same seed of its hashes."""
        shutil.rmtree(folder, ignore_errors=True)
        begun = self.folder / "begun"
        if not begun.exists():
            begun.mkdir(parents=True)
            (begun / "ringfence.toml").write_text(self.settings())
            (begun / "rules").mkdir()
            (begun / "rules/ruleset.toml").write_text(self.rules)
            with Service(begun) as service:
                service.start()
                for lane in [lane for lane in self.lanes() if lane.reply != "tap" and not self.ticks]:
                    lane.sent = lane.acked = 0
                    gateway.feed(service, [(lane, self.first_events(lane))], [lane])
                service.stop()
        shutil.copytree(begun, folder, copy_function=shutil.copy)
        return Service(folder)


def outcome(service, lanes):
    """All that a run came to, in a form that can be compared."""
    folder = service.folder
    journal = kept.Journal(service.kept)
    found, n_repeated, halves = {}, 0, []
    for path in folder.glob("violations.ndjson*"):
        for line in path.read_bytes().splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                halves.append(line)
                continue
            n_repeated += told["id"] in found
            if found.setdefault(told["id"], line) != line:
                raise AssertionError(f"two violations have one id: {found[told['id']]!r} and {line!r}")
    # What a kill cut off stands on a line of its own, and the whole of it elsewhere.
    garbled = sum(not any(whole.startswith(half) for whole in found.values()) for half in halves)
    cut, state = kept.snapshot(kept.snapshots(folder / "data/snapshots")[0])
    customers, gateways = kept.names(service.journal)
    database = folder / "data/ringfence.db"
    archive = folder / "data/archive"
    verified = ringfence("archive", "verify", "--archive", archive, check=False)
    if verified.returncode != 0:
        raise AssertionError(f"the archive is damaged: {verified.stdout}{verified.stderr}")
    exported = ringfence("archive", "export", "--format", "csv", "--archive", archive).stdout.splitlines()[1:]
    by_seq = {}
    for event in journal.events.values():
        if event[2]:
            by_seq[gateways[event[4]], event[2]] = event
    for lane in lanes:
        for seq, told in lane.verdicts.items():
            event = by_seq[lane.name, seq]
            rule = {"emergency": "builtin:emergency"}.get(event[9], event[9])
            if not told.get("late") and (told["action"], told["rule"]) != (event[8], rule):
                raise AssertionError(f"{lane.name} was told {told} of {seq}, and the journal says {event[8:]}")
    return {
        "garbled lines": garbled,
        "repeated": n_repeated,
        "names": (customers, gateways),
        "events": journal.events,
        "verdicts": journal.verdicts(),
        "last_seq": {gateways[number]: seq for number, seq in cut["ledger"]},
        "next_position": cut["next_position"],
        "violations": found,
        "stored violations": kept.rows(database, "violations"),
        "blocks": kept.rows(database, "blocks"),
        "archive": sorted(exported),
        "state": state,
    }


COMPARED = ["names", "events", "verdicts", "last_seq", "next_position", "violations", "stored violations", "blocks",
            "archive"]


def differences(expected, came, what):
    """The first few, a line each."""
    lines = []
    for name in what:
        a, b = expected[name], came[name]
        if a == b:
            continue
        if isinstance(a, dict):
            keys = sorted((k for k in a.keys() | b.keys() if a.get(k) != b.get(k)), key=repr)
            lines.append(f"{name}: {len(a)} and {len(b)}, {len(keys)} differ")
            for key in keys[:4]:
                lines += [f"    {key}:", f"        undisturbed {shown(a.get(key))}", f"        killed      {shown(b.get(key))}"]
        elif isinstance(a, list):
            missing, added = (list((collections.Counter(x) - collections.Counter(y)).keys()) for x, y in ((a, b), (b, a)))
            lines.append(f"{name}: {len(a)} and {len(b)}; missing {missing[:3]}, added {added[:3]}")
        else:
            lines.append(f"{name}: undisturbed {a}, killed {b}")
    return lines


def shown(value):
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:48].hex()}"
    return repr(value)[:400]


def replayed(service):
    """The state that the journal alone makes, without any snapshot."""
    folder = service.folder / "alone"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data/journal").mkdir(parents=True)
    for name in ["names", "identity"]:
        shutil.copy(service.journal / name, folder / "data/journal")
    for path in service.kept.glob("*.seg"):
        shutil.copy(path, folder / "data/journal")
    shutil.copytree(service.folder / "rules", folder / "rules")
    shutil.copy(service.folder / "ringfence.toml", folder)
    with Service(folder) as alone:
        alone.start()
        alone.stop()
    return kept.snapshot(kept.snapshots(folder / "data/snapshots")[0])[1]


def reference(scenario):
    """The run that nobody disturbs. Made once, by whoever needs it first."""
    done = scenario.folder / "reference.pickle"
    if not done.exists():
        lanes = scenario.lanes()
        slices = scenario.slices(lanes)
        with scenario.make_folder(scenario.folder / "reference") as service:
            service.start()
            begun = time.monotonic()
            gateway.feed(service, slices, lanes, scenario.pace_s)
            seconds = time.monotonic() - begun
            service.stop()
        came = outcome(service, lanes)
        lines = differences({"state": came["state"]}, {"state": replayed(service)}, ["state"])
        if lines:
            raise AssertionError("\n".join(["the journal alone gives another state:", *lines]))
        came["seconds"] = seconds
        done.with_suffix(".part").write_bytes(pickle.dumps(came))
        done.with_suffix(".part").rename(done)
    return pickle.loads(done.read_bytes())


def disturbed(scenario, draw, service, expected, told):
    """A run with kills; what came of it."""
    lanes = scenario.lanes()
    slices = scenario.slices(lanes)
    n_kills, is_fed = draw.choice([1, 1, 2, 3, 5]), False
    told["kills"] = []
    while True:
        kind = draw.choice(["load", "load", "load", "file", "file", "start", "stop"])
        if len(told["kills"]) >= n_kills:
            kind = None
        if is_fed and kind == "load":
            kind = "stop"
        after = draw.uniform(0, {"load": 1.5 * expected["seconds"] / n_kills, "start": 0.12, "stop": 0.08}.get(kind, 0))
        trap = (draw.choice(["snapshots", "snapshots", "archive", "journal", "."]), draw.randrange(1, 5))
        note = f"{kind} {trap}" if kind == "file" else f"{kind} {after:.3f} s"
        try:
            service.start(after if kind == "start" else None, trap if kind == "file" else None)
            service.kill_at = time.monotonic() + after if kind == "load" else service.kill_at
            gateway.feed(service, slices, lanes, scenario.pace_s)
            is_fed = True
            service.stop(after if kind == "stop" else None)
            if kind is None:
                break
            told["kills"].append(note + (", at the stop" if service.program.returncode else ", too late"))
        except Killed:
            service.ended()
            told["kills"].append(note)
    return outcome(service, lanes)


def run(job):
    """One run, from its seed; its differences."""
    seed, number, root = job
    n_scenario = number // RUNS_A_SCENARIO
    folder = root / f"run-{number}"
    told = {}
    try:
        scenario = Scenario(seed, n_scenario, root / f"scenario-{n_scenario}")
        draw = random.Random(f"{seed}/run/{number}")
        expected = reference(scenario)
        with scenario.make_folder(folder) as service:
            came = disturbed(scenario, draw, service, expected, told)
        for ends in [expected, came] if scenario.ticks else []:
            # When the last ticks came is no part of what must be equal, and they are what closes idle episodes.
            ends["blocks"] = sorted(block[:-2] for block in ends["blocks"])
        lines = differences(expected, came, COMPARED + ([] if scenario.ticks else ["state"]))
        lines += differences({"state": replayed(service)}, came, ["state"]) if not lines else []
        if came["garbled lines"]:
            lines.append(f"{came['garbled lines']} lines of the output cannot be read")
        if not lines:
            shutil.rmtree(folder, ignore_errors=True)
        counts = {name: len(expected[name]) for name in ["events", "violations", "blocks"]}
        return number, told, counts, came["repeated"], lines
    except BaseException:
        return number, told, {}, 0, [traceback.format_exc()]


def prepare(job):
    seed, number, root = job
    try:
        reference(Scenario(seed, number, root / f"scenario-{number}"))
        return number, None
    except BaseException:
        return number, traceback.format_exc()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of the one run to make again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="services at the same time")
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="ringfence-crash-"))
    # Few runs share few scenarios.
    numbers = range(options.runs) if options.only is None else [options.only]
    if options.runs < 4 * RUNS_A_SCENARIO and options.only is None:
        numbers = [RUNS_A_SCENARIO * (i // 2) + i % 2 for i in range(options.runs)]
    begun, n_failed, n_kills, totals = time.monotonic(), 0, 0, collections.Counter()
    with multiprocessing.Pool(options.jobs) as pool:
        scenarios = sorted({number // RUNS_A_SCENARIO for number in numbers})
        for number, failure in pool.imap_unordered(prepare, [(options.seed, n, root) for n in scenarios]):
            if failure:
                n_failed += 1
                numbers = [n for n in numbers if n // RUNS_A_SCENARIO != number]
                print(f"scenario {number} of seed {options.seed} FAILED undisturbed: {root}/scenario-{number}", failure,
                      sep="\n", flush=True)
        for n_done, (number, told, counts, repeated, lines) in enumerate(
                pool.imap_unordered(run, [(options.seed, n, root) for n in numbers]), start=1):
            if n_done % 100 == 0:
                print(f"{n_done} runs, {n_failed} failed, {time.monotonic() - begun:.0f} s", flush=True)
            n_kills += len(told.get("kills", []))
            totals.update(counts)
            totals["repeated"] += repeated
            if lines:
                n_failed += 1
                print(f"run {number} of seed {options.seed} FAILED; kills: {told.get('kills')}; {root}/run-{number}",
                      *lines, sep="\n    ", flush=True)
    print(f"{len(numbers)} runs, {n_kills} kills, {dict(totals)}, {n_failed} failed, in {time.monotonic() - begun:.0f} s")
    if n_failed:
        raise SystemExit(1)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
