"""sngrep replays captures as HEPv3: Ringfence counts the calls that the captures' own message logs tell of.

Each capture has a feed and a customer of its own: some of them hold the same call, under the same Call-ID.
"""
import collections, json, re, subprocess

from phones import HOST, KEY, free_port
from stage import SHARED, Stage, cannot_run, need, wait_for

SIP = SHARED / "sip" if (SHARED / "sip").is_dir() else SHARED / "data/sip"
KINDS = ("attempt", "answer", "end", "register", "options")


def field(text, name, short):
    found = re.search(rf"^(?:{name}|{short})[ \t]*:[ \t]*(.*?)\s*$", text, re.I | re.M)
    return found[1] if found else ""


def told(messages):
    """How many events of each kind the messages of a capture tell of, by the shortest reasoning there is."""
    asked, invites, refused, seen = set(), set(), {}, collections.defaultdict(set)
    for message in messages:
        text = message.get("payload") or ""
        call = field(text, "call-id", "i")
        cseq, _, method = field(text, "cseq", "cseq").partition(" ")
        if response := re.match(r"SIP/2\.0 (\d+)", text):
            code = int(response[1])
            if method == "INVITE" and call in invites and code >= 200:
                refused[call] = code
                seen["answer"] |= {call} if code < 300 else set()
            elif method in ("REGISTER", "OPTIONS") and (call, cseq) in asked and code >= 200:
                seen[method.lower()].add((call, cseq))
        else:
            asked.add((call, cseq))
            if method == "INVITE" and "tag=" not in field(text, "to", "t").lower():
                invites.add(call)
            if method == "BYE" and call in invites:
                seen["end"].add(call)
    seen["attempt"] = invites
    # A 401 or 407 is not the end: the caller may know the password.
    seen["end"] |= {call for call, code in refused.items() if code >= 300 and code not in (401, 407)}
    return {kind: len(seen[kind]) for kind in KINDS}


sngrep = need("sngrep")
captures = sorted((SIP / "pcap").glob("*.pcap*"))
if not captures:
    cannot_run(f"no captures at {SIP}/pcap (set RINGFENCE_SHARED)")
feeds = {capture.name.partition(".")[0]: free_port() for capture in captures}
with Stage() as stage:
    key = stage.write("key", KEY)
    serve = stage.serve('ringfence = 1\ndefault_action = "allow"\n', more="".join(f"""
[[feed]]
name = "{name}"
listen = "{HOST}:{port}"
transport = "udp"
format = "hep"
customer = "{name}"
token_file = "{key}"
""" for name, port in feeds.items()))

    def counted(name):
        rows = re.findall(rf'ringfence_ingest_events_total{{feed="{name}",kind="(\w+)"}} (\d+)', stage.metrics())
        return {kind: int(n) for kind, n in rows if kind in KINDS}

    def replay(capture, *settings):
        port = feeds[capture.name.partition(".")[0]]
        done = subprocess.run([sngrep, *settings, "-N", "-q", "-I", capture, "-H", f"udp:{HOST}:{port}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"sngrep {capture}: exit code {done.returncode}: {done.stderr}"

    # Without the key that the feed wants nothing gets in.
    replay(captures[0], "-F")
    wait_for("packets without a key to be refused", lambda: stage.metric("ringfence_ingest_rejects_total"))
    n_refused = stage.metric("ringfence_ingest_rejects_total")
    assert stage.metric("ringfence_ingest_events_total") == 0, "a packet without a key got in"
    with_key = "-f", stage.write("sngreprc", f"set eep.send.pass {KEY}\n")

    total = 0
    for capture in captures:
        name = capture.name.partition(".")[0]
        replay(capture, *with_key)
        expected = told(map(json.loads, (SIP / "captures" / f"{name}.sip.jsonl").read_text().splitlines()))
        try:
            wait_for(f"the events of {name}", lambda: counted(name) == expected, 5)
        except SystemExit as e:
            raise SystemExit(f"{e}: expected {expected}, got {counted(name)}") from None
        print(f"{name}: {', '.join(f'{n} {kind}' for kind, n in expected.items() if n)}")
        total += sum(expected.values())
    assert total > 0
    assert stage.metric("ringfence_ingest_rejects_total") == n_refused, "packets were rejected"
    assert stage.metric("ringfence_ingest_dropped_total") == 0, "the kernel dropped packets"
    assert stage.end(serve) == 0, "serve does not stop in peace"
print(f"sngrep: {len(captures)} captures, {total} events, as their logs say")
