"""The archive is files that other tools read: DuckDB and pandas sum up what Python sums up of the input itself.

`serve` writes it; without that, an archive that was written before can be named in RINGFENCE_ARCHIVE, with the ndjson
it was made of in RINGFENCE_ARCHIVE_INPUT.
"""
import collections, datetime, json, os, pathlib, subprocess, sys, venv

from stage import Stage, cannot_run, lines_of, ringfence, wait_for

PACKAGES = ["duckdb", "pandas", "pyarrow"]
RULES = """
ringfence = 1
default_action = "allow"
[[firewall]]
id = "no-premium"
when = 'caller == "+46700000003"'
action = "block"
"""
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def tools(folder):
    """A Python that has the packages; none where they cannot be had."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
                          capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        cannot_run(f"PyPI is out of reach: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    return python


def calls(n):
    """Calls over three hours and three customers, with a price and texts that need care."""
    for i in range(n):
        time = START + datetime.timedelta(milliseconds=i * 7_919_000 % 10_800_000)
        yield {"time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "kind": "cdr",
               "customer": ["acme", "b/c d", "0815"][i % 3], "call_id": f"{i:x}@host", "caller": f"+4670{i % 17:07}",
               "callee": f"+1212{i % 29:07}", "caller_name": 'Åsa "A" B' if i % 2 else "", "status": "answered",
               "duration": (i * 37 % 9000) / 1000, "cost": round(i % 100 / 8, 4), "source_ip": f"10.0.{i % 7}.{i % 9}"}


def sums(events):
    """What is compared: events, calls of each caller, ms, money, by customer."""
    told = collections.defaultdict(lambda: [0, 0, 0])
    for e in events:
        sum_ = told[e.get("customer") or "default"]
        sum_[0] += 1
        sum_[1] += round(float(e.get("duration") or 0) * 1000)
        sum_[2] += round(float(e.get("cost") or 0) * 10_000)
    return {name: list(sum_) for name, sum_ in sorted(told.items())}


READ = r'''
import json, sys, duckdb, pandas
folder = sys.argv[1]
files = folder + "/**/*.parquet"
rows = duckdb.sql(f"""select customer, count(*), coalesce(sum(duration_ms), 0), coalesce(sum(cost), 0)
    from read_parquet('{files}') group by 1 order by 1""").fetchall()
by_hour = duckdb.sql(f"""select count(*) from read_parquet('{files}', hive_partitioning = true)
    where hour::int = extract(hour from time at time zone 'UTC') and date::date = (time at time zone 'UTC')::date""").fetchall()[0][0]
positions = duckdb.sql(f"select count(distinct position), min(position), max(position) from read_parquet('{files}')").fetchall()[0]
types = dict(duckdb.sql(f"select column_name, column_type from (describe select * from read_parquet('{files}', hive_partitioning = false))").fetchall())
frame = pandas.read_parquet(folder)
frames = {str(name): [int(len(part)), int(part.duration_ms.fillna(0).sum()), int(sum(int(c * 10000) for c in part.cost.dropna()))]
          for name, part in frame.groupby("customer")}
blocked = sorted(set(frame[frame.action == "block"].caller))
print(json.dumps({"duckdb": {c: [int(n), int(ms), int(cost * 10000)] for c, n, ms, cost in rows}, "pandas": frames,
                  "by_hour": int(by_hour), "positions": [int(p) for p in positions], "types": types, "blocked": blocked,
                  "time": str(frame.time.dtype)}))
'''


def compare(stage, archive, events):
    python = tools(stage.folder / "venv")
    script = stage.write("read.py", READ)
    done = subprocess.run([python, script, archive], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"DuckDB or pandas cannot read it:\n{done.stderr}")
    told, known = json.loads(done.stdout), sums(events)
    assert told["duckdb"] == known, ("duckdb", told["duckdb"], known)
    assert told["pandas"] == known, ("pandas", told["pandas"], known)
    assert told["by_hour"] == len(events), ("folders and times differ", told["by_hour"])
    assert told["positions"][0] == len(events), told["positions"]
    assert told["types"]["cost"] == "DECIMAL(18,4)" and told["types"]["time"] == "TIMESTAMP WITH TIME ZONE", told["types"]
    assert told["time"].startswith("datetime64[") and told["time"].endswith("UTC]"), told["time"]
    return told


def commands(stage, archive, events):
    """What the program itself says of it."""
    hours = lines_of(ringfence("archive", "list", "--archive", archive, "--format", "json").stdout)
    assert sum(h["events"] for h in hours) == len(events), hours
    assert "no problems" in ringfence("archive", "verify", "--archive", archive).stdout
    exported = lines_of(ringfence("archive", "export", "--archive", archive).stdout)
    assert sums(exported) == sums(events)
    rules = stage.write("rules/ruleset.toml", RULES).parent
    summary = ["replay", "--rules", rules, "--output", "summary"]
    original = stage.write("original.ndjson", "".join(json.dumps(e) + "\n" for e in events))
    again = stage.write("again.ndjson", "".join(json.dumps(e) + "\n" for e in exported))
    answers = [json.loads(ringfence(*summary, path).stdout) for path in (original, archive, again)]
    assert answers[0] == answers[1] == answers[2], answers


with Stage() as stage:
    given = os.environ.get("RINGFENCE_ARCHIVE")
    if given:
        archive = pathlib.Path(given)
        events = lines_of(pathlib.Path(os.environ["RINGFENCE_ARCHIVE_INPUT"]).read_text())
    else:
        events = list(calls(3000))
        path = stage.write("calls.ndjson", "".join(json.dumps(e) + "\n" for e in events))
        program = stage.serve(RULES, 'format = "ndjson"\ncustomer = "event"')
        stage.send("--reply", "ack", path)
        stage.end(program)
        archive = stage.folder / "ringfence-data/archive"
        if not (archive / "_manifest").is_file():
            cannot_run("serve writes no archive yet")
    commands(stage, archive, events)
    told = compare(stage, archive, events)
    if not given:
        assert told["blocked"] == ["+46700000003"], told["blocked"]
        ringfence("archive", "erase", "--archive", archive, "--number", "+46700000003")
        left = ringfence("archive", "export", "--archive", archive).stdout
        assert "46700000003" not in left and len(lines_of(left)) == len(events)
print("ok")
