"""Kamailio proxies calls of SIPp and duplicates all SIP by HEPv3: Ringfence counts the calls that SIPp counted, exactly.

Over UDP, over TCP, and through two proxies of which one sends by UDP and one by TCP, so that both feeds tell of every call
and each still counts once. Then the same SIP without HEP around it, as a mirror gives it, over UDP and TCP; and the rows of
Kamailio's own accounting.
"""
import json, re, time

import phones
from stage import Stage, ringfence, wait_for

N_CALLS = 10

CALLED = {
    "answers": "< INVITE \n > 180 INVITE \n wait 100 \n > 200 INVITE \n < ACK \n < BYE \n > 200 BYE",
    "hangs-up": "< INVITE \n > 180 INVITE \n wait 150 \n > 200 INVITE \n < ACK \n wait 300 \n > BYE \n < 200",
    "is-held": "< INVITE \n > 200 INVITE \n < ACK \n < INVITE \n > 200 INVITE \n < ACK \n < BYE \n > 200 BYE",
    "keeps-talking": "< INVITE \n > 200 INVITE \n < ACK \n < INVITE \n > 488 INVITE \n < ACK \n < BYE \n > 200 BYE",
    "is-slow": ("< INVITE \n wait 1300 \n > 180 INVITE \n wait 150 \n > 200 INVITE \n < ACK \n < BYE \n wait 700 \n"
                "> 200 BYE"),
    "rings": "< INVITE \n > 180 INVITE \n < CANCEL \n > 200 CANCEL \n > 487 INVITE \n < ACK",
    "rings-too": "< INVITE \n > 180 INVITE \n < CANCEL \n > 200 CANCEL \n > 487 INVITE \n < ACK",
    "busy": "< INVITE \n > 486 INVITE \n < ACK",
    "missing": "< INVITE \n > 404 INVITE \n < ACK",
    "away": "< INVITE \n > 180 INVITE \n wait 150 \n > 480 INVITE \n < ACK",
    "declines": "< INVITE \n > 180 INVITE \n wait 150 \n > 603 INVITE \n < ACK",
    "fails": "< INVITE \n > 503 INVITE \n < ACK",
    "reads": "< MESSAGE \n > 200 MESSAGE",
}
RINGS = "< 100 ? \n < 180 ?"
TALKS = f"{RINGS} \n < 200 = answer \n > ACK"
# Time enough that the ACK is there before, whichever process of the proxy has it.
HOLDS = "wait 300 \n > REINVITE \n < 100 ?"
HANGS_UP = "wait 300 \n > BYE = end answered \n < 200"


def refused(callee, code, status, words=""):
    return f"> INVITE {words} = attempt \n {RINGS} \n < {code} = end {status} \n > ACK-REFUSAL", [callee]


# What the caller does, and whom it calls. The last one is whom the proxy tries next (hunt) or at the same time (fork).
CALLS = {
    "caller-hangs-up": (f"> INVITE = attempt \n {TALKS} \n {HANGS_UP}", ["answers"]),
    "callee-hangs-up": (f"> INVITE = attempt \n {TALKS} \n < BYE = end answered \n > 200 BYE", ["hangs-up"]),
    "hold": (f"> INVITE = attempt \n {TALKS} \n {HOLDS} \n < 200 \n > ACK \n {HANGS_UP}", ["is-held"]),
    "hold-refused": (f"> INVITE = attempt \n {TALKS} \n {HOLDS} \n < 488 \n > ACK-REFUSAL \n {HANGS_UP}", ["keeps-talking"]),
    "sent-again": (f"> INVITE quiet = attempt \n {TALKS} \n {HANGS_UP}", ["is-slow"]),
    "ack-late": (f"> INVITE = attempt \n {RINGS} \n < 200 = answer \n wait 1300 \n > ACK \n {HANGS_UP}", ["answers"]),
    "login": (f"> INVITE secure = attempt \n < 407 \n > ACK-REFUSAL \n > INVITE secure login \n {TALKS} \n {HANGS_UP}",
              ["answers"]),
    "login-wrong": ("> INVITE secure = attempt \n < 407 \n > ACK-REFUSAL \n > INVITE secure login-wrong \n"
                    "< 403 = end rejected at-once \n > ACK-REFUSAL", ["answers"]),
    "hunt": (f"> INVITE hunt = attempt \n {TALKS} \n {HANGS_UP}", ["busy", "answers"]),
    "fork": (f"> INVITE fork = attempt \n {TALKS} \n {HANGS_UP}", ["rings", "answers"]),
    "fork-one-busy": (f"> INVITE fork = attempt \n {TALKS} \n {HANGS_UP}", ["busy", "answers"]),
    "fork-cancelled": ("> INVITE fork = attempt \n < 100 ? \n < 180 \n < 180 \n wait 200 \n > CANCEL \n < 200 ? \n"
                       "< 487 = end cancelled \n > ACK-REFUSAL", ["rings", "rings-too"]),
    # The proxy tells the caller the lowest of its class.
    "fork-all-fail": (f"> INVITE fork = attempt \n {RINGS} \n < 404 = end failed \n > ACK-REFUSAL", ["busy", "missing"]),
    "cancel": ("> INVITE = attempt \n < 100 ? \n < 180 \n wait 200 \n > CANCEL \n < 200 ? \n < 487 = end cancelled \n"
               "> ACK-REFUSAL", ["rings"]),
    # The proxy gives up: the callee sees a CANCEL and says 487, the caller is told 408.
    "no-answer": refused("rings", 408, "no_answer", "impatient"),
    "away": refused("away", 480, "no_answer"),
    "busy": refused("busy", 486, "busy"),
    "missing": refused("missing", 404, "failed"),
    "declined": refused("declines", 603, "rejected"),
    # A proxy makes 500 of 503.
    "failed": refused("fails", 500, "failed"),
    "register": ("> REGISTER \n < 401 = register \n > REGISTER login \n < 200 = register", []),
    "register-wrong": ("> REGISTER \n < 401 = register \n > REGISTER login-wrong \n < 401 = register refused", []),
    "register-refused": ("> REGISTER refuse \n < 401 = register \n > REGISTER refuse login-wrong \n"
                         "< 403 = register refused", []),
    "options": ("> OPTIONS = options \n < 200", []),
    "message": ("> MESSAGE = message \n < 200", ["reads"]),
}
STATUSES = ["answered", "busy", "no_answer", "cancelled", "rejected", "failed", "unknown"]


def flag(name, on, when):
    return f"[[firewall]]\nid = \"{name}\"\non = \"{on}\"\nwhen = '{when}'\naction = \"flag\"\nflag = \"{name}\"\n"


# Flags count the events they match. A caller has one call: whoever has two was counted twice.
RULES = "ringfence = 1\ndefault_action = \"allow\"\n" + \
    "".join(flag(f"end-{status}", "end", f"status == {status}") for status in STATUSES) + \
    flag("register-refused", "request", "method == \"REGISTER\" and auth_failed") + \
    "".join(f"""[[threshold]]
id = "twice-{on}"
on = "{on}"
measure = "count"
per = ["caller"]
window = "1h"
warning = ">= 2"
""" for on in ("attempt", "answer", "end"))


def counted(stage):
    """What Ringfence counted, in the words of the scripts."""
    counts, rules = {}, {}
    for line in stage.metrics().splitlines():
        if found := re.match(r'ringfence_ingest_events_total{feed="[^"]*",kind="(\w+)"} (\d+)', line):
            counts[found[1]] = counts.get(found[1], 0) + int(found[2])
        if found := re.match(r'ringfence_rule_matches_total{rule="([\w-]+)"} (\d+)', line):
            rules[found[1]] = int(found[2])
    return counts, rules


def expected(meant):
    """The same of what SIPp counted."""
    kinds = {kind: meant[kind] for kind in ("attempt", "answer", "options", "message")}
    kinds["end"] = sum(n for what, n in meant.items() if what.startswith("end "))
    kinds["register"] = meant["register"] + meant["register refused"]
    kinds["cdr"] = 0
    rules = {f"end-{status}": sum(n for what, n in meant.items() if what.split()[:2] == ["end", status])
             for status in STATUSES}
    rules["register-refused"] = meant["register refused"]
    # Thresholds count all they look at.
    rules |= {f"twice-{on}": kinds[on] for on in ("attempt", "answer", "end")}
    return kinds, rules


def check_rows(stage, name, meant):
    """The rows of Kamailio's accounting tell of the same calls, but for those it refused without a transaction."""
    without = meant.pop("end rejected at-once")
    meant["attempt"] -= without
    rows = sorted((stage.folder / f"{name}-run").glob("acc_*.log"))
    summary = json.loads(ringfence("replay", "--rules", stage.folder / "rules", "--input-format", "kamailio-acc",
                                   "--output", "summary", *rows).stdout)
    kinds, rules = expected(meant)
    assert summary["events"] == kinds["attempt"] and summary["rejects"] == {}, f"{kinds['attempt']} calls, but {summary}"
    rules["register-refused"] = 0
    matched = {rule: told["matched"] for rule, told in summary["rules"].items()}
    wrong = {rule: (matched.get(rule), n) for rule, n in rules.items() if matched.get(rule) != n}
    assert not wrong, f"rows of {name}: as (ringfence, sipp): {wrong}"
    print(f"{len(rows)} files of accounting rows: {summary['events']} calls, as SIPp counted", flush=True)


FEEDS = [("hep", "udp"), ("hep", "tcp"), ("sip", "udp"), ("sip", "tcp")]


def copies_of(stage, ports, how):
    """Where Kamailio has to send its copies so that a feed gets them."""
    form, transport = how
    if form == "sip":
        return f"{phones.HOST}:{phones.Tap(transport, ports[how]).port};transport=tcp"
    return f"{phones.HOST}:{ports[how]};transport={transport}"


def run(*ways, rows=False):
    for tries_left in (2, 1, 0):
        try:
            return run_once(ways, rows)
        except phones.CallsFailed as e:
            print(f"the telephones' own calls failed: {e}", flush=True)
            if tries_left == 0:
                raise


def run_once(ways, rows):
    """Each way is a proxy of its own, and calls go through all of them."""
    name = " and ".join(f"{form} over {transport}" for form, transport in ways)
    with Stage() as stage:
        ports = {how: phones.free_port() for how in FEEDS}
        key = stage.write("key", phones.KEY)
        serve = stage.serve(RULES, more="".join(f'''
[[feed]]
name = "{form}-{transport}"
listen = "{phones.HOST}:{ports[form, transport]}"
transport = "{transport}"
format = "{form}"
{f'token_file = "{key}"' if form == "hep" else ""}
''' for form, transport in FEEDS))
        entry = None
        for number, how in enumerate(ways):
            entry = phones.proxy(stage, f"kamailio-{number}", copies_of(stage, ports, how), entry)
        telephones = phones.Phones(stage, N_CALLS, 10)
        for number, (called, script) in enumerate(CALLED.items(), 50):
            telephones.called(called, script, number)
        for number, (calls, (script, callees)) in enumerate(CALLS.items(), 10):
            telephones.call(calls, script, number, entry, callees)
        meant = telephones.finish()
        assert telephones.sent_again > 0, "nothing was sent again: that case was not tried"

        def settled():
            before = counted(stage)
            time.sleep(0.5)
            return counted(stage) == before and before
        got = wait_for("the counts to stand still", settled)
        lost = stage.metric("ringfence_ingest_dropped_total")
        assert lost == 0, f"{name}: the kernel dropped {lost:.0f} datagrams"
        for what, ours, theirs in zip(("events", "rules"), got, expected(meant)):
            wrong = {key: (ours.get(key), n) for key, n in theirs.items() if ours.get(key) != n}
            assert not wrong, f"{name}: {what} as (ringfence, sipp): {wrong}"
        rejects = stage.metric("ringfence_ingest_rejects_total")
        assert rejects == 0, f"{name}: {rejects:.0f} messages rejected"
        assert stage.end(serve) == 0, "serve does not stop in peace"
        told = stage.violations.read_text() if stage.violations.exists() else ""
        assert not told, f"{name}: calls counted twice: {told[:2000]}"
        print(f"{name}: {got[0]['attempt']} calls, {got[0]['answer']} answered, {got[0]['register']} registrations, "
              f"{telephones.sent_again} messages sent again: as SIPp counted", flush=True)
        if rows:
            check_rows(stage, "kamailio-0", meant)


run(("hep", "udp"), rows=True)
run(("hep", "tcp"))
run(("hep", "udp"), ("hep", "tcp"))
run(("sip", "udp"))
run(("sip", "tcp"))
