"""Faults of the disk, on the real service: a full one, and damage in every kind of file.

Full: acknowledgements stop, who can wait is pushed back, verdicts go on and say that they are not durable, people are
told, datagrams are counted as lost; with room again everything goes on, and nothing is lost or counted twice, also when
the service is killed meanwhile or afterwards. Damage: {flip, truncate, delete} x {header, middle, tail} of each file of
the data folder; the service starts, says what it found, and what it promises to hold is there.

    tests/e2e/faults.py [full] [damage]
"""
import json, os, pathlib, re, shutil, socket, subprocess, sys, time

import gateway, kept
from gateway import Lane, Service
from stage import Stage, cannot_run, get, ringfence, wait_for

DISK_MIB = 400
BEGIN_MS = (int(time.time() * 1000) // 86_400_000 - 30) * 86_400_000
# As long as they may be: so that it does not take too many to fill what is held in memory while the disk is full.
LONG = {field: "x" * 1000 for field in ["user_agent", "domain", "caller_name", "asserted", "diverting", "method"]}


def rules(totals):
    """A violation for each account at exactly its last event: with one lost there is none, with one twice another."""
    text = 'ringfence = 1\ndefault_action = "allow"\n'
    # Something for the store now and then.
    text += '[[threshold]]\nid = "some"\non = "end"\nmeasure = "count"\nper = ["caller"]\nwindow = "10m"\n'
    text += 'warning = ">= 1"\ncooldown = "0s"\n'
    text += '[[firewall]]\nid = "fw-some"\non = "end"\nwhen = \'callee == +46840000007\'\naction = "block"\n'
    for account, total in totals.items():
        text += f"""
[[threshold]]
id = "all-of-{account}"
on = "end"
where = 'account == "{account}"'
measure = "sum(duration)"
per = ["account"]
window = "1d"
warning = ">= {total}s"
"""
    return text


def settings(data, snapshot_mib=1):
    return f"""
data = "{data}"
rules = "rules"
stop_timeout_s = 120
[journal]
segment_mib = 1
[snapshot]
every_s = 2
every_mib = {snapshot_mib}
[archive]
every_s = 1
[[feed]]
name = "numbered"
listen = "127.0.0.1:0"
format = "ndjson"
slow_timeout_s = 120
[[feed]]
name = "mirror"
listen = "127.0.0.1:0"
format = "sip"
transport = "udp"
[http]
listen = "off"
[metrics]
listen = "127.0.0.1:0"
[output]
violations = "violations.ndjson"
[verdict]
deadline_ms = 10000
"""


def event(account, seq, more=None):
    said = {"time": BEGIN_MS + seq * 1000, "kind": "end", "account": account, "call_id": f"{account}-{seq}", "duration": 1,
            "status": "answered", "caller": f"+4670001{seq % 1000:04}", "callee": f"+4684000000{seq % 10}", "seq": seq}
    said.update(more or {})
    return seq, said["time"], json.dumps(said).encode() + b"\n"


def violations(service):
    """What was told, each once however often it was."""
    return set((service.folder / "violations.ndjson").read_text().splitlines())


def call_ids(lines, rules):
    """The calls that the violations of rules were found in."""
    told = [json.loads(line) for line in lines]
    return sorted((v["rule"], v["call_id"]) for v in told if v["rule"].startswith(rules))


def metric(service, name):
    rows = [line.rsplit(" ", 1) for line in get(f"http://{service.metrics_address}/metrics").splitlines()
            if line.startswith(name)]
    return sum(float(value) for _, value in rows)


def pump_for(service, lane, seconds):
    until = time.monotonic() + seconds
    gateway.pump(service, lane, lambda: time.monotonic() > until)


class SmallDisk:
    """A file system of its own, that can be filled."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def __enter__(self):
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "ringfence-faults", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            cannot_run(f"a small disk cannot be mounted here: {(done.stderr.strip() or 'not allowed').splitlines()[0]}")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self):
        with open(self.folder / "filler", "wb", buffering=0) as filler:
            for size in [1 << 20, 4096, 1]:
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    pass

    def make_room(self):
        (self.folder / "filler").unlink()


N_SHORT, N_WAITING, N_VERDICTS = 200, 12_000, 40_000


def full_disk(stage, kills_while_full):
    """A disk that fills up under load, and has room again."""
    folder = stage.folder / f"full-{kills_while_full}"
    folder.mkdir()
    totals = {"acked": 2 * N_SHORT + N_WAITING, "judged": N_VERDICTS}
    (folder / "rules").mkdir()
    (folder / "rules/ruleset.toml").write_text(rules(totals))
    (folder / "ringfence.toml").write_text(settings("disk/data"))
    with SmallDisk(folder / "disk") as disk, Service(folder) as service:
        acked, judged = Lane("sbc-ack", "numbered", "ack"), Lane("sbc-verdict", "numbered", "verdict")
        service.start()
        for lane, account in [(acked, "acked"), (judged, "judged")]:
            gateway.send_slice(service, lane, [event(account, seq + 1) for seq in range(N_SHORT)])
            gateway.pump(service, lane, lambda: lane.acked >= N_SHORT)

        disk.fill()
        # Nothing more is acknowledged, and after what fits into buffers nothing more is taken.
        waiting = [event("acked", N_SHORT + 1 + i, LONG) for i in range(N_WAITING)]
        acked.unsent.extend(memoryview(line) for _, _, line in waiting)
        acked.sent = waiting[-1][0]
        pump_for(service, acked, 2)
        before, known = len(acked.unsent), acked.acked
        pump_for(service, acked, 1.5)
        assert len(acked.unsent) == before > 0, "the gateway was not pushed back"
        assert acked.acked == known, "something was acknowledged on a full disk"
        wait_for("the metric that the journal is stuck", lambda: metric(service, "ringfence_journal_stuck") == 1)
        log = service.log()
        assert b"ERROR" in log and b"the journal cannot be written" in log, log[-2000:]

        # Verdicts go on, and at some time say that they are outside of the journal.
        n, n_outside, slowest = N_SHORT, 0, 0
        while n_outside < 100:
            assert n < N_VERDICTS - 500, "verdicts never said that they are not durable"
            n += 500
            begun = time.monotonic()
            gateway.send_slice(service, judged, [event("judged", n - 499 + i, LONG) for i in range(500)])
            gateway.settle(service, judged)
            slowest = max(slowest, time.monotonic() - begun)
            n_outside = sum(told.get("durable") is False for told in judged.verdicts.values())
        assert all(told["action"] == ("block" if seq % 10 == 7 else "allow") for seq, told in judged.verdicts.items())
        assert slowest < 5, f"500 verdicts took {slowest:.1f} s on a full disk"
        assert judged.acked == N_SHORT, "something was acknowledged on a full disk"
        wait_for("the count of what is outside", lambda: metric(service, "ringfence_journal_outside_total") > 0)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(50):
            options = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"
            datagrams.sendto(options, ("127.0.0.1", service.ports["mirror"]))
        lost = 'ringfence_ingest_dropped_total{feed="mirror",reason="journal_full"}'
        wait_for("the count of lost datagrams", lambda: metric(service, lost) == 50)

        if kills_while_full:
            service.kill()
            disk.make_room()
        else:
            disk.make_room()
            gateway.pump(service, acked, lambda: not acked.unsent and acked.acked == acked.sent)
            gateway.pump(service, judged, lambda: judged.acked == judged.sent)
            wait_for("the metric that the journal is written again", lambda: metric(service, "ringfence_journal_stuck") == 0)
            assert b"the journal is written again" in service.log()
            service.kill()

        # What was acknowledged is held, what was not is sent again, and each counts once.
        service.start()
        told = {lane.name: lane.acked for lane in [acked, judged]}
        slices = [(acked, [event("acked", seq + 1) for seq in range(totals["acked"])]),
                  (judged, [event("judged", seq + 1) for seq in range(totals["judged"])])]
        for lane, events in slices:
            lane.sent = totals["acked" if lane is acked else "judged"]
            lane.connect(service)
            assert kills_while_full or lane.sent == told[lane.name], (lane.name, lane.sent, told)
            gateway.send_slice(service, lane, events)
            gateway.pump(service, lane, lambda: lane.acked == events[-1][0])
        service.stop()
        found = call_ids(violations(service), "all-of-")
        assert found == [(f"all-of-{account}", f"{account}-{total}") for account, total in totals.items()], found
        verified = ringfence("archive", "verify", "--archive", folder / "disk/data/archive", check=False)
        assert verified.returncode == 0, verified.stdout
    print(f"full disk, killed {'while it was full' if kills_while_full else 'when it had room again'}: "
          f"{n_outside} verdicts outside of the journal, the slowest 500 in {slowest:.2f} s; nothing lost, nothing twice")


PLACES, WAYS = ["header", "middle", "tail"], ["flip", "truncate", "delete"]


def damage(path, way, place):
    data = bytearray(path.read_bytes())
    if way == "delete":
        path.unlink()
        return
    size = current_bytes(data) if path.suffix == ".db-wal" else len(data)
    at = {"header": min(10, size - 1), "middle": size // 2, "tail": max(size - 3, 0)}[place]
    if way == "truncate":
        path.write_bytes(data[:at])
    else:
        data[at] ^= 4
        path.write_bytes(data)


def current_bytes(log):
    """How much of the database's log counts: behind it stand frames of before a checkpoint, which nobody reads."""
    size, at = 24 + int.from_bytes(log[8:12], "big"), 32
    while at + size <= len(log) and log[at + 8:at + 16] == log[16:24]:
        at += size
    return at


def damage_run(stage):
    """A folder as a kill leaves it: some segments, two snapshots, an archive; and what must be read from it."""
    folder = stage.folder / "damage"
    (folder / "rules").mkdir(parents=True)
    n = 9000
    (folder / "rules/ruleset.toml").write_text(rules({"acked": n + 10}))
    (folder / "ringfence.toml").write_text(settings("data", snapshot_mib=512))
    with Service(folder) as service:
        lane = Lane("sbc-ack", "numbered", "ack")
        service.start()
        data = folder / "data"

        def send(first, last):
            gateway.send_slice(service, lane, [event("acked", seq, {"domain": "x" * 250}) for seq in range(first, last + 1)])
            gateway.pump(service, lane, lambda: lane.acked >= last)
        # A snapshot, more events, another, and events behind it; the journal is still all there.
        send(1, 500)
        wait_for("a snapshot", lambda: len(kept.snapshots(data / "snapshots")) == 1)
        send(501, 2 * n // 3)
        wait_for("another", lambda: len(kept.snapshots(data / "snapshots")) == 2)
        wait_for("the archive", lambda: list((data / "archive").rglob("*.parquet")))
        send(2 * n // 3 + 1, n)
        wait_for("the store", lambda: current_bytes((data / "ringfence.db-wal").read_bytes()) > 32)
        service.kill()
    segments = sorted((data / "journal").glob("*.seg"))
    assert len(segments) > 1 and segments[0].stem.endswith("001"), segments
    return folder, n


def inspect(folder, n, harms):
    """Starts on a damaged copy, sends what is missing, stops; what the log said and what it all came to."""
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, copy_function=shutil.copy)
    for path, way, place in harms(copy / "data"):
        damage(path, way, place)
    with Service(copy) as service:
        try:
            service.start()
        except RuntimeError:
            return {"refused": service.log().decode(errors="replace"), "log": "", "held": 0}
        lane = Lane("sbc-ack", "numbered", "ack")
        lane.sent = n
        lane.connect(service)
        held = lane.sent
        events = [event("acked", seq + 1, {"domain": "x" * 250}) for seq in range(n + 10)]
        gateway.send_slice(service, lane, events)
        gateway.pump(service, lane, lambda: lane.acked == n + 10)
        service.stop()
        log = service.log().decode(errors="replace")
        state = kept.snapshot(kept.snapshots(copy / "data/snapshots")[0])[1]
        database = kept.rows(copy / "data/ringfence.db", "violations")
        verified = ringfence("archive", "verify", "--archive", copy / "data/archive", check=False)
        return {"refused": None, "log": log, "held": held, "state": state, "stored": len(database),
                "found": violations(service), "archive": (verified.returncode, re.sub(r"\d+ files|record \d+", "", verified.stdout).strip())}


def kinds(data):
    """Files of the folder by what they are."""
    segments, snapshots = sorted((data / "journal").glob("*.seg")), kept.snapshots(data / "snapshots")
    return {
        "first segment": [segments[0]], "last segment": [segments[-1]], "newest snapshot": [snapshots[0]],
        "older snapshot": [snapshots[1]], "both snapshots": snapshots, "names": [data / "journal/names"],
        "identity": [data / "journal/identity"], "database": [data / "ringfence.db"],
        "log of the database": [data / "ringfence.db-wal"], "manifest": [data / "archive/_manifest"],
        "archive file": [min((data / "archive").rglob("*.parquet"))],
    }


# What makes no difference: neither to whoever was told that it is held, nor to any window. A part of the store may be
# lost: it is for people to look at.
MENDED = {(way, kind) for way in WAYS for kind in ["newest snapshot", "older snapshot", "both snapshots", "database",
                                                   "log of the database", "manifest", "archive file", "identity"]}
MENDED |= {("flip", kind) for kind in ["first segment", "last segment", "names"]}
# What must be told. Not told is what nobody reads any more, or what looks as if it had never been.
TOLD = {(way, kind) for way in ["flip", "truncate"] for kind in ["last segment", "newest snapshot", "both snapshots"]}
TOLD |= {("truncate", "names"), ("delete", "names"), ("delete", "database"), ("flip", "log of the database"),
         ("delete", "log of the database"), ("flip", "manifest"), ("delete", "manifest")}


def damages(stage):
    folder, n = damage_run(stage)
    whole = inspect(folder, n, lambda data: [])
    assert whole["held"] == n and len(whole["found"]) > 1, whole
    assert "ERROR" not in whole["log"] and whole["archive"][0] == 0, (whole["log"], whole["archive"])
    failures = []
    for kind in kinds(folder / "data"):
        for way in WAYS:
            for place in PLACES if way != "delete" else ["whole"]:
                name = f"{kind}, {way}, {place}"
                came = inspect(folder, n, lambda data: [(path, way, place) for path in kinds(data)[kind]])
                problems = judge(whole, came, (way, kind))
                failures += [f"{name}: {problem}" for problem in problems]
                said = re.findall(r'ERROR.*?problem="(.*)"', came["log"])
                stored = f", {came['stored']} of {whole['stored']} stored" if came.get("stored") != whole["stored"] else ""
                print(f"{name}: {'as it should be' if not problems else 'WRONG'}; {came['held']} held{stored}; " +
                      " | ".join(line[:150] for line in said), flush=True)
    return failures


def judge(whole, came, what):
    """What is wrong with how a damage was taken."""
    if came["refused"] is not None:
        return ["it does not start: " + came["refused"].strip()[-200:]]
    problems = ["it panicked"] if "panicked" in came["log"] else []
    if what in MENDED:
        if came["held"] != whole["held"]:
            problems.append(f"{came['held']} of {whole['held']} events are held")
        if came["state"] != whole["state"]:
            keys = whole["state"].keys() | came["state"].keys()
            others = sorted({k[0] for k in keys if whole["state"].get(k) != came["state"].get(k)})
            problems.append(f"another state: {others}")
        if came["found"] != whole["found"]:
            problems.append(f"{len(came['found'])} of {len(whole['found'])} violations were told")
    if what[1] == "archive file":
        if came["archive"][0] == 0:
            problems.append(f"nobody misses it: {came['archive'][1]}")
    elif what in MENDED and came["archive"] != whole["archive"] and "nothing is archived" not in came["log"]:
        problems.append(f"the archive: {came['archive'][1]}")
    if what in TOLD and "ERROR" not in came["log"]:
        problems.append("nothing is said of it")
    return problems


if __name__ == "__main__":
    asked = sys.argv[1:] or ["damage", "full"]
    with Stage() as stage:
        failures = damages(stage) if "damage" in asked else []
        if failures:
            print("FAILED:", *failures, sep="\n    ")
            raise SystemExit(1)
        if "full" in asked:
            full_disk(stage, kills_while_full=False)
            full_disk(stage, kills_while_full=True)
