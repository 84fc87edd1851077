"""Recorded calls of real systems: `replay` sums them up as known, and `send` into `serve` finds the same violations.

The numbers are facts of the files: rows, their first and last end of a call, calls counted by each rule.
"""
import json, tomllib

from stage import PROJECT, SHARED, Stage, cannot_run, lines_of, ringfence, wait_for

CDR = SHARED / "cdr" if (SHARED / "cdr").is_dir() else SHARED / "data/cdr"
if not CDR.is_dir():
    cannot_run(f"no recorded calls at {CDR} (set RINGFENCE_SHARED)")

RULES = """
ringfence = 1
default_action = "allow"
time_zone = "UTC"
[[threshold]]
id = "busy-caller"
on = "attempt"
measure = "count"
per = ["caller"]
window = "10m"
warning = ">= 4"
critical = ">= 8"
[[threshold]]
id = "busy-pair"
on = "end"
where = 'answered'
measure = "sum(duration)"
per = ["caller", "callee"]
window = "1h"
warning = ">= 30m"
[[threshold]]
id = "unanswered"
on = "end"
measure = "share(not answered)"
per = ["callee"]
window = "6h"
min_count = 4
warning = ">= 75%"
"""
HANDSET = PROJECT / "tests/data/csv/handset.toml"
# File, input format, and what is known of it.
RECORDED = [
    ("asterisk/Master_pjsip.csv", "asterisk",
     {"events": 9, "rejects": {}, "first": "2023-07-26T01:52:04.000Z", "last": "2023-07-26T02:45:48.000Z"}),
    ("asterisk/Master_testsuite.csv", "asterisk",
     {"events": 2, "rejects": {}, "first": "2010-04-02T00:26:39.000Z", "last": "2010-04-02T00:34:09.000Z"}),
    ("asterisk/cdrlib_good.csv", "asterisk",
     {"events": 5, "rejects": {}, "first": "2009-01-14T23:51:20.000Z", "last": "2009-01-14T23:51:20.000Z"}),
    # One row, and the file ends inside an open quote.
    ("asterisk/cdrlib_buggy.csv", "asterisk", {"events": 0, "rejects": {"incomplete": 1}, "first": None, "last": None}),
    ("mobile/real_handset_calls.csv", f"csv:{HANDSET}",
     {"events": 8452, "rejects": {}, "first": "1980-01-06T00:01:49.000Z", "last": "2011-01-31T23:42:04.000Z"}),
]


def inline(value):
    """A TOML inline value."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def settings(form):
    if form == "asterisk":
        return 'format = "csv"\ncsv = { dialect = "asterisk", time_zone = "UTC" }'
    return 'format = "csv"\ncsv = ' + inline(tomllib.loads(HANDSET.read_text()))


def bare(violation):
    """Without what only `serve` adds."""
    return {k: v for k, v in violation.items() if k != "id"}


with Stage() as stage:
    rules = stage.write("replay/ruleset.toml", RULES).parent
    for name, form, known in RECORDED:
        def replay(output, *more):
            return ringfence("replay", "--rules", rules, "--input-format", form, "--output", output, *more, CDR / name).stdout
        summary = json.loads(replay("summary"))
        for key, value in {**known, "attempts": known["events"], "duplicates": 0}.items():
            assert summary[key] == value, f"{name}: {key}: expected {value}, got {summary[key]}"
        assert summary["verdicts"] == {"allow": known["events"], "block": 0, "divert": 0}, summary["verdicts"]
        expected = replay("violations")
        assert expected == replay("violations", "--threads", 1) == replay("violations", "--threads", 8), f"{name}: threads differ"
        expected = lines_of(expected)
        per_rule = {}
        for v in expected:
            counts = per_rule.setdefault(v["rule"], {"warning": 0, "critical": 0})
            counts[v["level"]] += 1
        for rule, counts in summary["rules"].items():
            told = {level: counts[level] for level in ("warning", "critical")}
            assert told == per_rule.get(rule, {"warning": 0, "critical": 0}), f"{name}: {rule}: {counts} but {per_rule}"

        with Stage() as live:
            serve = live.serve(RULES, feed=settings(form))
            live.send("--input-format", form, CDR / name)
            done = lambda: live.metric("ringfence_ingest_events_total") == known["events"]
            wait_for(f"serve to have counted {name}", done)
            assert live.end(serve) == 0, "serve does not stop in peace"
            got = [bare(v) for v in lines_of(live.violations.read_text() if live.violations.exists() else "")]
        assert got == expected, f"{name}: serve found {len(got)} violations, replay {len(expected)}; the first that differ: " + \
            str(next(((a, b) for a, b in zip(got, expected) if a != b), "one is longer"))
        print(f"{name}: {summary['events']} events, {len(expected)} violations, the same over TCP")
    assert per_rule["busy-caller"]["warning"] > 100, "the handset calls should keep the rules busy"
print("recorded calls: summed up as known, and the same violations over TCP")
