#!/usr/bin/env python3
"""Random conditions on random events, and what the specification's oracle says of each.

    conditions.py ORACLE_DIR SEED    -> condition, event as field=value words, 0 or 1; separated by tabs
"""
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import oracle

RANDOM = random.Random(int(sys.argv[2]))
NUMBERS = ["+46701234567", "+46701", "+467012", "+4670", "+12129761234", "+12025550100", "+46100", "+46150", "+46199",
           "2001", "112", "0701"]
PATTERNS = ["+46701234567", "+46701*", "+4670*", "+1???976*", "+467012??567", "+4615?", "+46*"]
MILLISECONDS = [0, 1000, 2999, 3000, 5999, 6000, 6001, 90000]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]
pick = RANDOM.choice


def event():
    """The same event for the oracle (JSON fields) and for the test (words; durations in ms)."""
    json, words = {}, []

    def put(field, chance, value, word=None):
        if RANDOM.random() < chance:
            json[field] = value
            words.append(f"{field}={value if word is None else word}")

    for field in ("caller", "callee"):
        put(field, 0.8, pick(NUMBERS))
    put("direction", 0.7, pick(["inbound", "outbound", "internal", "unknown"]))
    put("status", 0.7, pick(["answered", "busy", "no_answer", "failed"]))
    put("attestation", 0.5, pick(["A", "B", "C", "none"]))
    for field in ("ring", "duration"):
        ms = pick(MILLISECONDS)
        put(field, 0.6, ms / 1000, ms)
    put("trunk", 0.5, pick(["a", "b", "pstn-1"]))
    put("sip_code", 0.5, pick([200, 404, 486, 499, 500, 603]))
    return json, " ".join(words)


def test():
    number, duration, equal, within = pick(["caller", "callee"]), pick(["ring", "duration"]), pick(["==", "!="]), pick(["in", "not in"])
    exact = pick([n for n in NUMBERS if n.startswith("+") and len(n) > 4])
    return pick([
        f"{number} {equal} {pick(PATTERNS)}",
        f"{number} {within} {{{pick(PATTERNS)}, +46100..+46199, {exact}}}",
        f"len({number}) {pick(COMPARISONS)} {pick([4, 5, 11])}",
        f"{duration} {pick(COMPARISONS)} {pick(['0s', '3s', '6s', '1m30s', '5999ms'])}",
        f"{duration} {within} {{0s..3s, 6s}}",
        f"direction {equal} {pick(['inbound', 'outbound', 'unknown'])}",
        f"status {within} {{busy, {pick(['unknown', 'failed', 'answered'])}}}",
        f"attestation {equal} {pick(['A', 'unknown', 'none'])}",
        f"trunk {equal} \"{pick(['a', 'b', 'pstn-1'])}\"",
        f"sip_code {within} {{400..499, 603}}",
        f"sip_code {pick(COMPARISONS)} {pick([200, 486, 500])}",
        "answered",
    ])


def condition(depth=0):
    kind = RANDOM.random()
    if depth > 2 or kind < 0.4:
        return test()
    if kind < 0.55:
        return f"not ({condition(depth + 1)})"
    return pick([" and ", " or "]).join(f"({condition(depth + 1)})" for _ in range(pick([2, 3])))


for _ in range(2000):
    text, (json, words) = condition(), event()
    print(text, words, int(bool(oracle.Rule.boolean(text)(json))), sep="\t")
