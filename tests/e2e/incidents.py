"""Incidents that survive: a service that is killed at random moments loses nothing of what it found, of what people said
and of what went out, and does none of it twice.

Each run draws its kills from its seed: while violations flow, during the start, at the n-th new row of the incident book,
at the n-th notice that goes out, and between an order of a person and its answer. Gateways and people come back and go
on: what was not acknowledged is sent again, what was not answered is looked up and ordered again if it was not done. In
the end `book.py` reads the store and proves that all of it is so, and what was found and how it was folded is compared
with the run of the same scenario that nobody disturbed.

    tests/e2e/incidents.py                      # 60 kills, as tests/all.sh does
    tests/e2e/incidents.py --kills 2000         # the full number
    tests/e2e/incidents.py --seed 7 --only 212  # one of them again; its folder stays
"""
import argparse, collections, contextlib, json, multiprocessing, os, pathlib, pickle, random, re, shutil, signal, tempfile
import threading, time, traceback

import gateway
from book import Book, opened
from gateway import Killed, Lane
from people import People, hire

KILLS_A_RUN = 6
# Scenarios are drawn as runs are; so some runs share one, and the run that it is compared with.
RUNS_A_SCENARIO = 4
HOUR_MS = 3_600_000
CUSTOMERS = ["acme", "globex", "initech"]


class Service(gateway.Service):
    """One that people reach over HTTP, too."""

    @property
    def http_port(self):
        return int(re.search(rb"ringfence is ready .*http=Some\([\d.]+:(\d+)\)", re.sub(rb"\x1b\[[\d;]*m", b"", self.log()))[1])


def rules(draw):
    """Groups with and without targets, two levels, one rule that tells nobody, and episodes that close soon."""
    cooldown = lambda: draw.choice(["0s", "2s", "10s"])
    thresholds = {
        "calls": f"on = 'attempt'\nmeasure = 'count'\nper = ['callee']\ngroup = 'tdos'\ntarget = ['callee']\nwindow = '10s'\n"
                 f"warning = '>= 4'\ncritical = '>= {draw.choice([6, 9])}'\ncooldown = '{cooldown()}'",
        "callers": f"on = 'attempt'\nmeasure = 'distinct(caller)'\nper = ['callee']\ngroup = 'tdos'\ntarget = ['callee']\n"
                   f"window = '20s'\nwarning = '>= 3'\ncritical = '>= 7'\ncooldown = '{cooldown()}'",
        "fan": f"on = 'attempt'\nmeasure = 'distinct(callee)'\nper = ['caller']\ngroup = 'fan'\nwindow = '30s'\n"
               f"warning = '>= 4'\ncooldown = '{cooldown()}'",
        "alone": "on = 'attempt'\nmeasure = 'count'\nper = ['caller', 'callee']\nwindow = '30s'\nwarning = '>= 3'\n"
                 "critical = '>= 5'\nclear = '< 2'",
        "watch": "on = 'attempt'\nmode = 'monitor'\nmeasure = 'count'\nper = ['caller']\nwindow = '10s'\nwarning = '>= 3'\n"
                 "critical = '>= 6'\ncooldown = '0s'",
    }
    text = "ringfence = 1\ndefault_action = 'allow'\n"
    return text + "".join(f"[[threshold]]\nid = '{name}'\n{body}\n" for name, body in thresholds.items())


def customer(draw, name):
    """Tables from disaster to minor; chains of command in which nobody answers for long."""
    critical = draw.choice([1, 1, 2, 3])
    deputy, manager = draw.choice([("0s", "250ms"), ("300ms", "700ms"), ("1s", "2s"), ("10m", "20m")])
    return f"""
name = "{name.title()} Ltd"
country = "SE"
time_zone = "Europe/Stockholm"
[command]
commanders = ["carl"]
deputies = ["dora"]
managers = ["maud"]
deputy_after = "{deputy}"
manager_after = "{manager}"
[severity]
critical = {critical}
warning = {draw.choice([n for n in [2, 3, 4] if n >= critical])}
[calendars]
service = {{ open = ["Mon-Sun 00:00-24:00"] }}
response = {{ open = ["{draw.choice(["Mon-Sun 00:00-24:00", "Mon-Fri 08:00-17:00"])}"] }}
[escalation]
name = "Desk"
phone = "+46840000999"
"""


def calls(draw, n_events, begin_ms):
    """Attempts in the order of their time: few lines that are called in bursts, with rests between them."""
    time_ms, n_made = begin_ms, 0
    while n_made < n_events:
        common = {"kind": "attempt", "customer": draw.choice(CUSTOMERS)}
        callee, caller = f"+4684000{draw.randrange(8):04}", f"+4670001{draw.randrange(12):04}"
        shape, n = draw.choice(["line", "line", "fan", "pair"]), draw.choice([2, 5, 8, 14])
        for i in range(n):
            time_ms += int(draw.expovariate(1 / 400))
            n_made += 1
            yield {"time": time_ms, **common, "call_id": f"{n_made:x}@incidents.example",
                   "callee": callee if shape != "fan" else f"+4684001{draw.randrange(20):04}",
                   "caller": caller if shape != "line" else f"+4670002{draw.randrange(12):04}"}
        time_ms += draw.choice([200, 1_000, 4_000, 25_000])
        # The half hour that folds, and more than it.
        if draw.random() < 0.01:
            time_ms += draw.choice([20, 45]) * 60_000


class Scenario:
    """Rules, customers and traffic, drawn from a seed."""

    def __init__(self, seed, number, folder, now_ms):
        self.number, self.folder = number, folder
        draw = random.Random(f"{seed}/scenario/{number}")
        self.rules = rules(draw)
        self.customers = {name: customer(draw, name) for name in CUSTOMERS}
        self.n_threads = draw.choice([1, 2])
        # Deadlines that are still to come, that come now, and that are long past.
        n_events, begin = draw.choice([700, 1200]), draw.choice([0.3, 1.0, 5, 15])
        events = list(calls(draw, n_events, 0))
        begin_ms = now_ms - int(begin * HOUR_MS) - events[-1]["time"]
        begin_ms = max(begin_ms, now_ms - 20 * HOUR_MS)
        self.lines = []
        for seq, event in enumerate(events, start=len(CUSTOMERS) + 1):
            event["time"] += begin_ms
            self.lines.append((seq, event["time"], json.dumps({**event, "seq": seq}).encode() + b"\n"))
        # One event a customer, before anything else: in them the names are learned.
        self.first = [{"time": begin_ms - 1000, "kind": "attempt", "customer": name, "caller": "+46700019999",
                       "callee": "+46840009999", "call_id": f"first-{name}"} for name in CUSTOMERS]

    def settings(self):
        return f"""
data = "data"
rules = "rules"
threads = {self.n_threads}
[snapshot]
every_s = 1
every_mib = 1
[archive]
enabled = false
[[feed]]
name = "calls"
listen = "127.0.0.1:0"
format = "ndjson"
delay_s = 86400
[http]
listen = "127.0.0.1:0"
[metrics]
listen = "127.0.0.1:0"
[output]
violations = "off"
notices = "notices.ndjson"
"""

    def make_folder(self, folder):
        """The settings, and a data folder as all runs of the scenario find it."""
        shutil.rmtree(folder, ignore_errors=True)
        begun = self.folder / "begun"
        if not begun.exists():
            (begun / "rules/customers").mkdir(parents=True)
            (begun / "ringfence.toml").write_text(self.settings())
            (begun / "rules/ruleset.toml").write_text(self.rules)
            for name, text in self.customers.items():
                (begun / f"rules/customers/{name}.toml").write_text(text)
            first = [(seq, event["time"], json.dumps({**event, "seq": seq}).encode() + b"\n")
                     for seq, event in enumerate(self.first, start=1)]
            with Service(begun) as service:
                service.start()
                lane = Lane("sbc", "calls", "ack")
                gateway.feed(service, [(lane, first)], [lane])
                hire(service.http_port, begun)
                service.stop()
        shutil.copytree(begun, folder, copy_function=shutil.copy)
        return Service(folder)

    def lane(self):
        lane = Lane("sbc", "calls", "ack")
        lane.sent = lane.acked = len(self.first)
        return lane

    def portions(self, n, lane):
        """The traffic, in as many portions, each of them slices."""
        ends = [len(self.lines) * i // n for i in range(n + 1)]
        return [[(lane, self.lines[at:min(at + 25, end)]) for at in range(begin, end, 25)]
                for begin, end in zip(ends, ends[1:])]


class Assassin:
    """Kills a service that is about to be started when its moment has come; on a thread of its own."""

    def __init__(self, service, draw, people):
        self.service, self.people, self.before = service, people, service.program
        self.kind = draw.choice(["load", "load", "row", "row", "row", "notice", "start"] + people.n_minds * ["order"])
        self.after = draw.uniform(0, {"load": 0.6, "start": 0.15, "order": 0.008}.get(self.kind, 0))
        self.n = draw.randrange(1, {"row": 40, "notice": 4, "order": 25}.get(self.kind, 2))
        self.is_over = False
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def __str__(self):
        return f"{self.kind} {self.n} {self.after:.3f} s"

    def wait(self):
        while self.service.program is self.before and not self.is_over:
            time.sleep(0.0005)
        {"row": self.wait_for_row, "notice": self.wait_for_notice, "order": self.wait_for_order}.get(self.kind, int)()
        time.sleep(self.after)
        if not self.is_over:
            self.strike()

    def strike(self):
        self.is_over = True
        self.service.program.send_signal(signal.SIGKILL)

    def wait_for_row(self):
        with contextlib.closing(opened(self.service.folder / "data")) as db:
            ask = lambda: db.execute("SELECT max(seq) FROM transitions").fetchone()[0] or 0
            wanted = ask() + self.n
            while not self.is_over and ask() < wanted:
                time.sleep(0.0005)

    def wait_for_notice(self):
        wanted = notices(self.service).count(b"\n") + self.n
        while not self.is_over and notices(self.service).count(b"\n") < wanted:
            time.sleep(0.0005)

    def wait_for_order(self):
        wanted = self.people.n_begun + self.n
        while not self.is_over and self.people.n_begun < wanted:
            time.sleep(0.0002)

    def end(self):
        self.is_over = True
        self.thread.join()


class Nobody:
    """Orders nothing."""
    n_minds = n_begun = 0

    def come(self, service):
        pass

    def go(self):
        pass

    def finish(self):
        pass

    def wrong(self, book):
        return []

    def counts(self):
        return {}


def notices(service):
    path = service.folder / "notices.ndjson"
    return path.read_bytes() if path.exists() else b""


def wait_until_settled(service, seconds=100):
    """Nothing waits for the incident book, and nothing new comes of it for a moment."""
    until, before = time.monotonic() + seconds, None
    while True:
        if service.program.poll() is not None:
            raise RuntimeError(f"serve ended by itself, exit code {service.program.returncode}")
        book = Book(service.folder / "data")
        is_settled = book.is_settled(time.time() * 1000 - 1000)
        if is_settled and len(book.rows) == before:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"the incident book does not come to rest; {book.waiting} wait in its inbox")
        before = len(book.rows) if is_settled else None
        time.sleep(0.25)


def reference(scenario):
    """What the scenario comes to where nobody disturbs. Made once, by whoever needs it first."""
    done = scenario.folder / "reference.pickle"
    if not done.exists():
        lane = scenario.lane()
        with scenario.make_folder(scenario.folder / "reference") as service:
            service.start()
            gateway.feed(service, scenario.portions(1, lane)[0], [lane])
            wait_until_settled(service)
            service.stop()
            book = Book(service.folder / "data")
            lines = book.prove()
            book.prove_notices([notices(service)])
        if lines:
            raise AssertionError("\n".join(["the run that nobody disturbed is wrong:", *lines[:10]]))
        done.with_suffix(".part").write_bytes(pickle.dumps(book.findings()))
        done.with_suffix(".part").rename(done)
    return pickle.loads(done.read_bytes())


def killed(scenario, draw, service, people, told, n_kills):
    """The run with its kills; what was written to the file of notices in each life."""
    lane, chunks, fed = scenario.lane(), [], []
    for portion in scenario.portions(n_kills + 1, lane):
        fed += portion
        is_last = len(chunks) == n_kills
        assassin = None if is_last else Assassin(service, draw, people)
        try:
            service.start()
            people.come(service)
            gateway.feed(service, fed, [lane], pace_s=0.01)
            if is_last:
                people.finish()
                wait_until_settled(service)
                service.stop()
            else:
                # The moment may come after all that was sent, or never.
                live_on(service, 1.2)
                assassin.strike()
                service.ended()
        except (Killed, RuntimeError) as error:
            # It may take a while to die, and its connections die first.
            if not isinstance(error, Killed) and not (assassin and assassin.is_over):
                raise
            service.ended()
        finally:
            if assassin:
                assassin.end()
                told["kills"].append(str(assassin))
            people.go()
        chunks.append(notices(service)[sum(map(len, chunks)):])
    return chunks


def live_on(service, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        service.look()
        time.sleep(0.003)


def differences(expected, came):
    """What was found and how it was folded, where it is not the same; the first few."""
    lines = []
    for name in ["violations", "alerts", "incidents"]:
        a, b = collections.Counter(expected[name]), collections.Counter(came[name])
        if a != b:
            lines.append(f"{name}: {len(a)} undisturbed and {len(b)}; missing {list((a - b).items())[:3]}, "
                         f"added {list((b - a).items())[:3]}")
    return lines


def run(job):
    """One run, from its seed; what is wrong with it."""
    seed, number, root, now_ms = job
    folder = root / f"run-{number}"
    told, counts = {"kills": []}, {}
    try:
        scenario = Scenario(seed, number // RUNS_A_SCENARIO, root / f"scenario-{number // RUNS_A_SCENARIO}", now_ms)
        draw = random.Random(f"{seed}/run/{number}")
        expected = reference(scenario)
        with scenario.make_folder(folder) as service:
            # In some runs nobody interferes.
            people = People(f"{seed}/{number}", folder) if draw.random() < 0.75 else Nobody()
            chunks = killed(scenario, draw, service, people, told, KILLS_A_RUN)
        book = Book(folder / "data")
        lines = book.prove()
        n_again = book.prove_notices(chunks)
        lines += people.wrong(book) + differences(expected, book.findings())
        counts = {"violations": len(book.violations), "alerts": len(book.of("alert")), "incidents": len(book.of("incident")),
                  "transitions": len(book.rows), "messages": len(book.of("message")), "given out again": n_again,
                  **people.counts()}
        if not lines:
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        lines = [traceback.format_exc()]
    return number, told, counts, lines


def prepare(job):
    seed, number, root, now_ms = job
    try:
        reference(Scenario(seed, number, root / f"scenario-{number}", now_ms))
        return number, None
    except BaseException:
        return number, traceback.format_exc()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--runs", type=int, help=f"in place of --kills; a run has {KILLS_A_RUN}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="number of the one run to make again")
    parser.add_argument("--jobs", type=int, default=2 * os.cpu_count(), help="services at the same time")
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="ringfence-incidents-"))
    n_runs = -(-options.kills // KILLS_A_RUN) if options.runs is None else options.runs
    numbers = list(range(n_runs)) if options.only is None else [options.only]
    begun, now_ms, n_failed, n_kills = time.monotonic(), int(time.time() * 1000), 0, 0
    totals = collections.Counter()
    with multiprocessing.Pool(options.jobs) as pool:
        scenarios = sorted({number // RUNS_A_SCENARIO for number in numbers})
        for number, failure in pool.imap_unordered(prepare, [(options.seed, n, root, now_ms) for n in scenarios]):
            if failure:
                n_failed += 1
                numbers = [n for n in numbers if n // RUNS_A_SCENARIO != number]
                print(f"scenario {number} of seed {options.seed} FAILED undisturbed: {root}/scenario-{number}", failure,
                      sep="\n", flush=True)
        jobs = [(options.seed, n, root, now_ms) for n in numbers]
        for n_done, (number, told, counts, lines) in enumerate(pool.imap_unordered(run, jobs), start=1):
            if n_done % 50 == 0:
                print(f"{n_done} runs, {n_failed} failed, {time.monotonic() - begun:.0f} s", flush=True)
            n_kills += len(told["kills"])
            totals.update(counts)
            if lines:
                n_failed += 1
                print(f"run {number} of seed {options.seed} FAILED; kills: {told['kills']}; {root}/run-{number}",
                      *lines[:12], sep="\n    ", flush=True)
    print(f"{len(numbers)} runs, {n_kills} kills, {dict(totals)}, {n_failed} failed, in {time.monotonic() - begun:.0f} s")
    if n_failed:
        raise SystemExit(1)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
