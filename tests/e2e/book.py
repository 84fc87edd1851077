"""Reads the incident book of a data folder without the program that wrote it, and tells what of it cannot be so.

The tables of legal transitions are written down here anew, from what the specification says of alerts, incidents, messages
and clocks. Nothing is mended or guessed. The folder is only read, also while the service runs.
"""
import collections, contextlib, datetime, hashlib, json, sqlite3

# By kind, from each state to which. A row that leaves the state as it is says that something else changed.
LEGAL = {
    "alert": {"": "open", "open": "quiet", "quiet": "open closed", "closed": "open"},
    "incident": {
        "": "candidate", "candidate": "suspected dismissed merged", "suspected": "confirmed dismissed merged",
        "confirmed": "mitigating merged", "mitigating": "monitoring merged", "monitoring": "resolved merged",
        "resolved": "reviewed confirmed", "reviewed": "", "dismissed": "",
        "merged": "candidate suspected confirmed mitigating monitoring",
    },
    # From `drafted` straight to `released` only with the holding kit.
    "message": {
        "": "drafted", "drafted": "checked returned withdrawn released", "checked": "released returned withdrawn drafted",
        "returned": "drafted withdrawn", "released": "superseded withdrawn", "superseded": "", "withdrawn": "",
    },
    "objective": {"": "running", "running": "breached met stopped", "breached": "late stopped", "met": "", "late": "",
                  "stopped": ""},
}
ITSELF = "ringfence"
# Severity 1 and 2: somebody else than the author checks.
GRAVE = 2

Row = collections.namedtuple("Row", "seq time kind id came to what who came_from why data")


def opened(folder):
    return sqlite3.connect(f"file:{folder}/ringfence.db?mode=ro", uri=True, timeout=10)


def pairs(data):
    """`data` of a row, where it is a list of names and values."""
    told = json.loads(data) if data else []
    return dict(told) if isinstance(told, list) and all(isinstance(x, list) for x in told) else {}


def millis(text):
    """An instant of a body as rows have it."""
    at = datetime.datetime.fromisoformat(text)
    return round((at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) / datetime.timedelta(milliseconds=1))


class Book:
    """What the store says at one instant, and in `wrong` what of it cannot be."""

    def __init__(self, folder):
        with contextlib.closing(opened(folder)) as db:
            db.execute("BEGIN")
            columns = "seq, time, subject_kind, subject, from_state, to_state, what, who, came_from, why, data"
            # Of deliveries, outbox.py knows.
            self.rows = [Row(*row) for row in db.execute(
                f"SELECT {columns} FROM transitions WHERE subject_kind <> 'delivery' ORDER BY seq")]
            self.subjects = {}
            for kind, number, customer, state, is_open, body in db.execute(
                    "SELECT kind, id, customer, state, is_open, body FROM subjects"):
                self.subjects[kind, number] = (customer, state, is_open, json.loads(body))
            columns = "id, time, customer, rule, level, key, rule_group, target, mode, alert"
            self.violations = list(db.execute(f"SELECT {columns} FROM violations ORDER BY row"))
            # An alert may last until its episode closed.
            self.closings = collections.defaultdict(list)
            for customer, rule, key, time in db.execute("SELECT customer, rule, key, time FROM closings"):
                self.closings[customer, rule, str(sorted(json.loads(key).items()))].append(time)
            self.waiting = db.execute("SELECT count(*) FROM inbox").fetchone()[0]
            # Nobody gets more texts than anybody reads: what is past that goes out in one with others, minutes later.
            self.held = {row[0] for row in db.execute("SELECT message FROM deliveries WHERE state = 'suppressed'")}
            # The service may have ended between a release and what follows from it.
            self.fresh = {row[0] for row in db.execute(
                "SELECT message FROM deliveries WHERE queued > (SELECT max(time) FROM transitions) - 1000")}
            self.audit = list(db.execute("SELECT who, action, subject FROM audit ORDER BY id"))
            self.damage = [row[0] for row in db.execute("PRAGMA integrity_check")]
        self.wrong = [] if self.damage == ["ok"] else [f"the store is damaged: {self.damage[:3]}"]

    def of(self, kind):
        return {number: subject for (k, number), subject in self.subjects.items() if k == kind}

    def is_settled(self, now_ms):
        """Everything was taken, and what time brings by `now_ms` has come."""
        is_due = lambda body: any(millis(mark["at"]) < now_ms for mark in body["marks"][body["said"]:])
        late = any(is_due(body) for _, state, _, body in self.of("objective").values() if state in ("running", "breached"))
        sent = all(body["accepted"] or number in self.held
                   for number, (_, state, _, body) in self.of("message").items() if state == "released")
        return self.waiting == 0 and sent and not late

    def prove(self, is_settled=True):
        """Everything that needs nothing but the store. `is_settled`: nothing was left undone."""
        if is_settled and self.waiting:
            self.wrong.append(f"{self.waiting} wait in the inbox")
        # Of what is not there, nothing more can be asked.
        if self.prove_chains():
            self.prove_counts(is_settled)
            self.prove_checks()
            self.prove_clocks()
        return self.wrong

    def prove_chains(self):
        state, time, before_merge = {}, {}, {}
        for row in self.rows:
            of = row.kind, row.id
            name = f"{row.kind} {row.id}, row {row.seq} ({row.what})"
            if state.get(of, "") != row.came:
                self.wrong.append(f"{name}: from {row.came!r}, and it was {state.get(of, '')!r}")
            if row.came == "" or row.came != row.to:
                if row.to not in LEGAL[row.kind].get(row.came, "").split():
                    self.wrong.append(f"{name}: {row.came!r} became {row.to!r}")
            if row.to == "merged" and row.came != "merged":
                before_merge[of] = row.came
            elif row.came == "merged" and row.to != "merged" and row.to != before_merge.get(of):
                self.wrong.append(f"{name}: merged as {before_merge.get(of)}, and back as {row.to}")
            # Rows of a clock stand at the time that they are about.
            if row.kind != "objective" and row.time < time.get(of, row.time):
                self.wrong.append(f"{name}: at {row.time}, after one at {time[of]}")
            state[of], time[of] = row.to, row.time
        for of, (_, is_so, _, body) in self.subjects.items():
            if state.pop(of, None) != is_so or body["state"] != is_so:
                self.wrong.append(f"{of}: is {is_so} and {body['state']}, and its rows say otherwise")
        self.wrong += [f"{of}: has rows, and is not there" for of in state]
        return not state

    def prove_counts(self, is_settled):
        """Each violation in one alert, and the numbers that people read equal to what was found."""
        alerts, incidents = self.of("alert"), self.of("incident")
        taken, n_told = collections.defaultdict(list), 0
        for violation in self.violations:
            name, _, customer, rule, _, _, _, _, mode, alert = violation
            if alert is None:
                self.wrong += [f"violation {name} was taken by no alert"] if is_settled else []
                continue
            n_told += mode != "monitor"
            taken[alert].append(violation)
            if alert not in alerts or alerts[alert][0] != customer or alerts[alert][3]["rule"] != rule:
                self.wrong.append(f"violation {name} was taken by alert {alert}, which is not its own")
        for number, (customer, state, _, body) in alerts.items():
            rows = taken[number]
            times = [row[1] for row in rows]
            ends = self.closings[customer, body["rule"], str(sorted(map(tuple, body["key"])))]
            so = (len(rows), min(times, default=None), max(times, default=None), any(row[4] == "critical" for row in rows))
            told = (body["count"], millis(body["first"]), millis(body["last"]), body["is_critical"])
            lasts = [time for time in times + ends if time >= max(times, default=0)]
            if told[:2] + told[3:] != so[:2] + so[3:] or told[2] not in lasts:
                self.wrong.append(f"alert {number}: says {told}, and its violations {so}")
            if body["is_silent"] != (body["incident"] is None):
                self.wrong.append(f"alert {number}: silent {body['is_silent']}, of incident {body['incident']}")
        for number, (_, _, _, body) in incidents.items():
            open_ones = [a for a in alerts.values() if a[3]["incident"] == number and a[1] == "open"]
            if body["open_alerts"] != len(open_ones):
                self.wrong.append(f"incident {number}: {body['open_alerts']} open alerts, and there are {len(open_ones)}")
        total = sum(body["violations"] for _, _, _, body in incidents.values())
        if total != n_told:
            self.wrong.append(f"incidents count {total} violations, and {n_told} were to be told")

    def prove_checks(self):
        """Nothing grave went out without a check of its exact text by somebody else; only the holding kit's path does."""
        messages, incidents = self.of("message"), self.of("incident")
        # How grave an incident was at the beginning: what its first change says, or what it is still.
        gravity, told = {number: subject[3]["severity"] for number, subject in incidents.items()}, {}
        for row in reversed(self.rows):
            if row.kind == "incident" and row.what == "severity":
                gravity[row.id] = pairs(row.data)["from"]
        author, draft, check = {}, {}, {}
        for row in self.rows:
            if row.kind == "incident" and row.what == "severity":
                change = pairs(row.data)
                if change["from"] != gravity[row.id]:
                    self.wrong.append(f"incident {row.id}, row {row.seq}: severity from {change['from']}, and it was "
                                      f"{gravity[row.id]}")
                gravity[row.id] = change["to"]
            if row.kind != "message":
                continue
            body = messages[row.id][3]
            if row.to != "checked":
                was = check.pop(row.id, None)
            if row.what in ("drafted", "redrafted"):
                author[row.id], draft[row.id] = row.who, pairs(row.data)["hash"]
            elif row.what == "checked":
                check[row.id] = (row.who, pairs(row.data)["hash"])
            elif row.to == "released" and row.came != "released":
                self.prove_release(row, body, author[row.id], draft[row.id], was,
                                   min(body["severity"], gravity[body["incident"]], told.get(body["incident"], 9)))
            elif row.what == "accepted":
                told[body["incident"]] = body["severity"]
        self.wrong += [f"incident {number}: of another severity than its rows say"
                       for number, subject in incidents.items() if subject[3]["severity"] != gravity[number]]
        for number, (_, _, _, body) in messages.items():
            if text_hash(body["forms"]) != body["hash"] or draft[number] != body["hash"]:
                self.wrong.append(f"message {number}: its text is not the one that its hash is of")

    def prove_release(self, row, body, author, draft, check, severity):
        name = f"message {row.id}, row {row.seq}"
        if pairs(row.data).get("hash") != draft:
            self.wrong.append(f"{name}: released another text than was drafted")
        if row.came == "drafted":
            if not (body["kit"] == "holding" and body["is_before_check"] and author == row.who == ITSELF):
                self.wrong.append(f"{name}: released unchecked, of kit {body['kit']}, by {row.who}")
        elif check is None or check[1] != draft:
            self.wrong.append(f"{name}: released as {draft}, checked as {check}")
        elif severity <= GRAVE and check[0] == author:
            self.wrong.append(f"{name}: {author} checked what {author} wrote, at severity {severity}")

    def prove_clocks(self):
        """Each ends once; a breach stands at its deadline, once, and none is hidden."""
        clocks = self.of("objective")
        breaches = collections.defaultdict(list)
        for row in self.rows:
            if row.kind == "objective" and row.what == "breached":
                breaches[row.id].append(row.time)
        latest = max((row.time for row in self.rows if row.kind != "objective"), default=0)
        for number, (_, state, _, body) in clocks.items():
            over, commit = millis(body["ended"]) if body["ended"] else latest, millis(body["commit"])
            expected = [commit] if over > commit else []
            if breaches.pop(number, []) != expected:
                self.wrong.append(f"clock {number}: breached other than at {expected}, {state} at {over}")
            rows = [row for row in self.rows if row.kind == "objective" and row.id == number]
            marks = [row.time for row in rows if row.what in ("warned", "breached")]
            if marks != [millis(mark["at"]) for mark in body["marks"][:body["said"]]]:
                self.wrong.append(f"clock {number}: said {len(marks)} marks, which are not its own")
        self.wrong += [f"clock {number}: breached, and is not there" for number in breaches]

    def prove_notices(self, chunks):
        """`chunks`: what was written to the file of notices in each life of the service, one after the other."""
        messages, n_lines, given = self.of("message"), collections.Counter(), set()
        released = {row.id for row in self.rows if row.kind == "message" and row.to == "released"} & messages.keys()
        for n_life, chunk in enumerate(chunks):
            seen = set()
            for line in chunk.split(b"\n"):
                try:
                    notice = json.loads(line) if line else None
                except ValueError:
                    # What a kill cut off.
                    if n_life + 1 == len(chunks) or not chunk.endswith(line):
                        self.wrong.append(f"notices: a line cannot be read: {line[:80]!r}")
                    continue
                if notice is None:
                    continue
                # One to each who must hear; pages and what was held back are of no message.
                name = notice["delivery"]
                n_lines[name] += 1
                if name in seen:
                    self.wrong.append(f"{name}: given out twice, and nothing was killed in between")
                seen.add(name)
                if notice["notice"] is None:
                    continue
                number = int(notice["notice"].removeprefix("MSG-"))
                given.add(number)
                if number not in released:
                    self.wrong.append(f"message {number}: given out, and never released")
                elif notice["forms"] != messages[number][3]["forms"]:
                    self.wrong.append(f"message {number}: given out with another text")
        for row in self.rows:
            if row.kind == "message" and row.what == "accepted":
                if row.id not in given:
                    self.wrong.append(f"message {row.id}: accepted, and never given out")
                released.discard(row.id)
        is_over = {number for number in released if messages[number][1] != "released"} | self.held | self.fresh
        if released - is_over:
            self.wrong.append(f"messages {sorted(released - is_over)[:5]}: released, and accepted by nobody")
        accepted = collections.Counter(row.id for row in self.rows if row.kind == "message" and row.what == "accepted")
        self.wrong += [f"message {number}: accepted {n} times" for number, n in accepted.items() if n > 1]
        return sum(n_lines.values()) - len(n_lines)

    def findings(self):
        """What does not depend on when things were done: what was found, and how it was folded."""
        alerts = collections.Counter()
        for customer, _, _, body in self.of("alert").values():
            alerts[customer, body["rule"], str(body["key"])] += body["count"]
        incidents = {(customer, body["group"], str(body["target"]))
                     for customer, _, _, body in self.of("incident").values() if body["group"]}
        return {"violations": sorted(row[:9] for row in self.violations), "alerts": alerts, "incidents": incidents}


def text_hash(forms):
    """Over every form after its length."""
    said = hashlib.sha256()
    for name in ["mail_subject", "mail", "sms", "portal", "acd"]:
        text = forms[name].encode()
        said.update(len(text).to_bytes(8, "big") + text)
    return said.hexdigest()
