#!/usr/bin/env python3
"""What the rule pack finds: every simulated attack at three intensities among clean calls, and how often it is wrong.

    RINGFENCE=target/release/ringfence python3 tests/e2e/pack.py                     ten million clean calls, minutes
    RINGFENCE=target/release/ringfence python3 tests/e2e/pack.py --calls 1000000     less, for a quick look
    RINGFENCE=... python3 tests/e2e/pack.py --attacks mine.toml --rules my-rules     your attacks, your rules

The rules are those of `rules/`, with the lists that only an operator can fill (own numbers, known dialers, ...) taken from
`rules/simulate/lists`, the lists of the carrier that `ringfence simulate` plays. An alarm belongs to an attack where the
call that tipped it does, or where calls of the attack with the same key stand in the rule's window; every other alarm,
warning or critical, is false. The lead is the time from the first event of an attack to the first alarm. Firewall rules
that only mark or block single calls are not alarms and are counted apart.

Exit code 1: a medium or strong attack was missed, or there was more than one false alarm per million clean calls.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
INTENSITIES = ["weak", "medium", "strong"]
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Events of a call that is up: no window tells how far back the calls are that a level counts.
NO_WINDOW_MS = 4 * UNITS["h"]


def milliseconds(text):
    return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))


def instant(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def lead_text(seconds):
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f}s"
    if seconds < 6_000:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.1f}h"


def site(rules, folder):
    """The rules, with the lists of the simulated carrier in the place of the examples."""
    leave = shutil.ignore_patterns("simulate", "demo", "numbering", "tests", "customers")
    shutil.copytree(rules, folder, ignore=leave)
    lists = ROOT / "rules" / "simulate" / "lists"
    for path in sorted(lists.glob("*.csv")):
        if (folder / "lists" / path.name).exists():
            shutil.copy(path, folder / "lists" / path.name)


class Truth:
    """What belongs to which attack."""

    def __init__(self):
        self.first, self.of_call = {}, {}
        # Field and value: time, attack, direction of each event.
        self.by_key = collections.defaultdict(list)
        self.numbers = {"caller": set(), "callee": set()}

    def add(self, event):
        label, time = event["label"], event["time"]
        self.first[label] = min(self.first.get(label, time), time)
        self.of_call[event["call_id"]] = label
        for field in ("caller", "callee", "trunk", "account", "extension", "source_ip", "diverting"):
            if field in event:
                self.by_key[field, event[field]].append((time, label, event.get("direction")))
                if field in self.numbers:
                    self.numbers[field].add(event[field])

    def behind(self, key, since, until, direction):
        """Attacks of which an event has every part of the key within the window."""
        found = None
        for part, value in key.items():
            prefix = re.fullmatch(r"prefix\((\w+), \d+\)", part)
            field = prefix.group(1) if prefix else part
            if field not in ("caller", "callee", "trunk", "account", "extension", "source_ip", "diverting"):
                continue
            values = [value]
            if prefix and value.endswith("*"):
                values = [n for n in self.numbers.get(field, ()) if n.startswith(value[:-1])]
            here = {
                label
                for one in values
                for time, label, way in self.by_key.get((field, one), ())
                if since <= time <= until and (direction is None or way == direction)
            }
            found = here if found is None else found & here
        return found or set()


def directions(folder):
    """Which way the calls go that each rule counts."""
    ways = {}
    for path in sorted(folder.glob("ips/*.toml")):
        for rule in tomllib.loads(path.read_text()).get("threshold", []):
            where = rule.get("where", "")
            way = re.search(r"direction == (\w+)", where)
            ways[rule["id"]] = way.group(1) if way else ("outbound" if "diverting is present" in where else None)
    return ways


def play(args, folder):
    """Simulates and replays; gives the truth and the violations."""
    simulate = [args.program, "simulate", "--calls", str(args.calls), "--seed", str(args.seed), "--kind", "events"]
    simulate += ["--start", args.start, "--duration", args.duration, "--attack", "all", "--times", str(args.times)]
    simulate += ["--intensity", ",".join(INTENSITIES)]
    if args.attacks:
        simulate += ["--attacks", args.attacks]
    replay = [args.program, "replay", "--rules", str(folder), "--input-format", "ndjson", "-"]
    # Traffic is the same again for the same arguments: once for the rules, once for the truth.
    with subprocess.Popen(simulate, stdout=subprocess.PIPE) as calls, tempfile.TemporaryFile("w+") as out:
        judged = subprocess.Popen(replay, stdin=calls.stdout, stdout=out, stderr=subprocess.DEVNULL)
        calls.stdout.close()
        truth, clean = Truth(), 0
        with subprocess.Popen(simulate, stdout=subprocess.PIPE) as again:
            with subprocess.Popen(["grep", "-v", '"label":"clean"'], stdin=again.stdout, stdout=subprocess.PIPE) as attacks:
                again.stdout.close()
                for line in attacks.stdout:
                    truth.add(json.loads(line))
        if judged.wait() != 0 or calls.wait() != 0:
            sys.exit("pack: simulate or replay failed")
        out.seek(0)
        return truth, [json.loads(line) for line in out]


def score(truth, violations, ways):
    found, false = collections.defaultdict(dict), collections.defaultdict(list)
    for violation in violations:
        rule, time = violation["rule"], instant(violation["time"])
        labels = {truth.of_call[violation["call_id"]]} if violation.get("call_id") in truth.of_call else set()
        if not labels:
            width = milliseconds(violation.get("window") or "") or NO_WINDOW_MS
            labels = truth.behind(violation["key"], time - width, time, ways.get(rule))
        if not labels:
            false[rule].append(violation)
        for label in labels:
            lead = (time - truth.first[label]) / 1000
            found[label][rule] = min(lead, found[label].get(rule, lead))
    return found, false


def attacks_table(truth, found, patterns):
    by_name = collections.defaultdict(lambda: collections.defaultdict(list))
    for label in truth.first:
        name, _, rest = label.partition(":")
        by_name[name][rest.partition("#")[0]].append(label)
    missed = []
    print(f"{'pattern':<8}{'attack':<20}" + "".join(f"{i + ': found, lead':<24}" for i in INTENSITIES) + "rules that found it")
    for name in sorted(by_name, key=lambda name: (patterns.get(name, 99), name)):
        row = f"{patterns.get(name, ''):<8}{name:<20}"
        rules = collections.Counter()
        for intensity in INTENSITIES:
            labels = by_name[name][intensity]
            leads = [min(found[label].values()) for label in labels if found.get(label)]
            for label in labels:
                rules.update(found.get(label, {}).keys())
                if intensity != "weak" and not found.get(label):
                    missed.append(label)
            lead = lead_text(statistics.median(leads) if leads else None)
            row += f"{f'{len(leads)} of {len(labels)}, {lead}':<24}"
        print(row + ", ".join(rule for rule, _ in rules.most_common(3)))
    return missed


def rules_table(ids, found, false, clean_calls):
    print(f"\n{'rule':<28}{'attacks found':>14}{'median lead':>13}{'false alarms':>14}{'per million clean':>19}")
    for rule in ids:
        leads = [leads[rule] for leads in found.values() if rule in leads]
        wrong = len(false.get(rule, []))
        lead = lead_text(statistics.median(leads) if leads else None)
        print(f"{rule:<28}{len(leads):>14}{lead:>13}{wrong:>14}{wrong * 1e6 / clean_calls:>19.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000_000, help="clean calls")
    parser.add_argument("--times", type=int, default=2, help="how often each attack comes at each intensity")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2026-03-02T00:00:00Z")
    parser.add_argument("--duration", default="7d")
    parser.add_argument("--attacks", help="attacks and their parameters from this file instead of the ones that ship")
    parser.add_argument("--rules", default=str(ROOT / "rules"))
    parser.add_argument("--false", action="store_true", help="list every false alarm")
    args = parser.parse_args()
    args.program = os.environ.get("RINGFENCE") or sys.exit("set RINGFENCE to the program")
    attacks = tomllib.loads(pathlib.Path(args.attacks or ROOT / "rules/simulate/attacks.toml").read_text())["attack"]
    patterns = {attack["name"]: attack.get("pattern", 99) for attack in attacks}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "rules"
        site(pathlib.Path(args.rules), folder)
        ways = directions(folder)
        truth, violations = play(args, folder)
    found, false = score(truth, violations, ways)
    missed = attacks_table(truth, found, patterns)
    rules_table(ways, found, false, args.calls)
    wrong = sum(map(len, false.values()))
    n = sum(len(found.get(label, {})) > 0 for label in truth.first)
    print(f"\n{args.calls:,} clean calls, {len(truth.first)} attacks: {n} found, {wrong} false alarms, {wrong * 1e6 / args.calls:.2f} per million")
    print(f"medium and strong attacks missed: {', '.join(missed) or 'none'}")
    if getattr(args, "false"):
        for rule, alarms in sorted(false.items()):
            for alarm in alarms:
                print(f"  {alarm['time']} {alarm['level']} {rule} {alarm['key']} {alarm['value']}")
    return 1 if missed or wrong * 1e6 > args.calls else 0


if __name__ == "__main__":
    sys.exit(main())
