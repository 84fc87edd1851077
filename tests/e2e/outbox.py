"""Reads the deliveries of a data folder without the program that wrote them, beside the logs of the providers, and tells
what of them cannot be so: G1 to G7 of the specification, and that nothing went out that nobody released.

The table of legal states is written down here anew, and who is to be told is reckoned anew from the customers' files.
Nothing is mended or guessed; the folder is only read.
"""
import collections, contextlib, json, re, tomllib

from book import Row, opened

LEGAL = {
    "": "queued", "queued": "queued leased failed expired suppressed superseded delivered",
    "leased": "handed queued failed unknown superseded",
    "unknown": "unknown handed delivered failed queued expired superseded", "handed": "handed delivered failed",
    # By hand only.
    "failed": "queued", "expired": "queued", "delivered": "", "suppressed": "", "superseded": "",
}
# Who only stands on the call sheet has not been told: that may still be over, come too late, or be taken back.
LEGAL_ON_SHEET = LEGAL | {"handed": "delivered failed expired suppressed superseded"}
OPEN = {"queued", "leased", "unknown"}
PERSONAL = ("mail", "sms", "call-sheet")
SINKS = ("mail", "sms", "webhook:noc", "pagerduty", "syslog")
FOR_ALL = ("resolved", "false-alarm", "severity")
ENDS = ("resolved", "false-alarm")

Delivery = collections.namedtuple(
    "Delivery", "id once customer incident message severity channel address is_contact about state reason provider attempts "
    "fell_back queued due valid_until handed")


def name(number):
    return f"DLV-{number:06}"


def plan(customer, severity):
    """Channel and address of everybody whom a customer's file names at a severity; whether that tells the customer."""
    contacts = {contact["id"]: contact for contact in customer.get("contact", [])}
    rosters = {roster["name"]: roster["people"] for roster in customer.get("roster", [])}
    found = {}

    def add(channel, address, is_contact):
        at = (channel, address.lower())
        found[at] = found.get(at, False) or is_contact
    for distribution in customer.get("distribution", []):
        if severity not in distribution["severities"]:
            continue
        people = [contacts[one] for to in distribution.get("to", []) for one in rosters.get(to, [to])]
        is_contact = distribution["audience"] in ("customer", "cio", "helpdesk")
        for channel in distribution["channels"]:
            if channel not in PERSONAL:
                if channel != "portal":
                    add(channel, "", False)
                continue
            for person in people:
                address = person.get("email" if channel == "mail" else "mobile")
                if address and "receive" in person["rights"]:
                    add(channel, address, is_contact)
    if not any(channel in PERSONAL for channel, _ in found):
        escalation = customer.get("escalation", {})
        for channel, key in [("mail", "email"), ("sms", "phone")]:
            if key in escalation:
                add(channel, escalation[key], True)
    return found


def squeezed(text):
    """Without what channels change: spaces, line breaks, and the bars that syslog puts for them."""
    return re.sub(r"[\s|]+", " ", text or "").strip()


class Outbox:
    """What the store and the logs say at one instant, and in `wrong` what of it cannot be."""

    def __init__(self, folder, taken, rules):
        """`taken`: what providers say that they took. `rules`: the folder with the customers' files."""
        with contextlib.closing(opened(folder)) as db:
            db.execute("BEGIN")
            columns = ("id, once, customer, incident, message, severity, channel, address, is_contact, body, state, reason, "
                       "provider, attempts, fell_back, queued, due, valid_until, handed")
            self.rows = {row[0]: Delivery(*row)._replace(about=json.loads(row[9]))
                         for row in db.execute(f"SELECT {columns} FROM deliveries ORDER BY id")}
            columns = "seq, time, subject_kind, subject, from_state, to_state, what, who, came_from, why, data"
            self.steps, self.of_messages, self.of_incidents = (collections.defaultdict(list) for _ in range(3))
            places = {"delivery": self.steps, "message": self.of_messages, "incident": self.of_incidents}
            for row in db.execute(f"SELECT {columns} FROM transitions ORDER BY seq"):
                row = Row(*row)
                if row.kind in places:
                    places[row.kind][row.id].append(row)
            self.messages = {number: json.loads(body) for number, body in
                             db.execute("SELECT id, body FROM subjects WHERE kind = 'message'")}
            self.incidents = {number: json.loads(body) for number, body in
                              db.execute("SELECT id, body FROM subjects WHERE kind = 'incident'")}
        self.taken = [self.found(entry) for entry in taken]
        self.customers = {path.stem: tomllib.loads(path.read_text()) for path in (rules / "customers").glob("*.toml")}
        self.wrong = []
        # As they were released, one after the other.
        self.released = {row.id: row.seq for rows in self.of_messages.values() for row in reversed(rows)
                         if row.to == "released" and row.came != "released"}
        self.notices = collections.defaultdict(list)
        for row in self.rows.values():
            if row.message is not None:
                self.notices[row.message].append(row)

    def found(self, entry):
        """The number of the delivery; where it went without its name, that of its incident as `incident`."""
        number = lambda text: int(text[4:]) if text else None
        return {**entry, "delivery": number(entry["delivery"]), "incident": number(entry.get("incident"))}

    def open_rows(self):
        return [row for row in self.rows.values() if row.state in OPEN]

    def prove(self, answered=(), is_settled=True):
        """`answered`: numbers of messages whose release was answered to somebody."""
        self.prove_planned(answered)
        self.prove_taken()
        self.prove_paths(is_settled)
        self.prove_order()
        self.prove_ends()
        self.prove_once()
        self.prove_texts()
        if is_settled:
            self.prove_accepted()
        return self.wrong

    def told(self, row, step=""):
        return f"{name(row.id)} ({row.once}, {row.state}: {row.reason[:80]}){step}"

    def prove_planned(self, answered):
        """G1: everybody whom the file names has a row, and nobody else; what was answered is there."""
        self.wrong += [f"G1: MSG-{number:06}: its release was answered, and is not there"
                       for number in answered if number not in self.released]
        before = collections.defaultdict(dict)
        for number in sorted(self.released, key=self.released.get):
            message = self.messages[number]
            wanted = plan(self.customers[message["customer"]], message["severity"])
            if message["kit"] in FOR_ALL:
                wanted = {**before[message["incident"]], **wanted}
            before[message["incident"]].update({**wanted})
            own = [row for row in self.notices[number] if row.about.get("instead_of") is None]
            there = {(row.channel, row.address.lower()): bool(row.is_contact) for row in own}
            for at in wanted.keys() - there.keys():
                self.wrong.append(f"G1: MSG-{number:06} ({message['kit']}, severity {message['severity']}): nothing for {at}")
            for at in there.keys() - wanted.keys():
                self.wrong.append(f"G1: MSG-{number:06} ({message['kit']}): a row for {at}, whom nobody named")
            for at in wanted.keys() & there.keys():
                if message["kit"] not in FOR_ALL and wanted[at] != there[at]:
                    self.wrong.append(f"G1: MSG-{number:06}: {at} counts as told: {there[at]}")
        self.wrong += [f"G1: {self.told(row)}: of a message that nobody released"
                       for number, rows in self.notices.items() if number not in self.released for row in rows]

    def prove_taken(self):
        """G2: what counts as handed over was taken; what was taken twice was unknown in between."""
        n_taken = collections.Counter(entry["delivery"] for entry in self.taken)
        for row in self.rows.values():
            if row.channel not in SINKS or self.is_nameless(row):
                continue
            steps = self.steps[row.id]
            is_over = any(step.to in ("handed", "delivered") for step in steps)
            n_unknown = sum(step.to == "unknown" and step.came != "unknown" for step in steps)
            n_by_hand = sum(step.what == "retried by hand" for step in steps)
            n_handed = sum(step.to == "handed" and step.came == "leased" for step in steps)
            if is_over and not n_taken[row.id]:
                self.wrong.append(f"G2: {self.told(row)}: handed over, and no provider took it")
            if n_taken[row.id] > 1 and n_taken[row.id] - 1 > n_unknown + n_by_hand:
                self.wrong.append(f"G2: {self.told(row)}: taken {n_taken[row.id]} times, {n_unknown} times unknown")
            if n_taken[row.id] > n_unknown + n_handed:
                self.wrong.append(f"G2: {self.told(row)}: taken {n_taken[row.id]} times, and its steps know of "
                                  f"{n_unknown + n_handed}")
        # PagerDuty's end of an incident bears no name: only how many came can be told.
        n_ends = collections.Counter(entry["incident"] for entry in self.taken if entry["delivery"] is None)
        least, most = collections.Counter(), collections.Counter()
        for row in filter(self.is_nameless, self.rows.values()):
            steps = self.steps[row.id]
            least[row.incident] += any(step.to == "handed" for step in steps)
            most[row.incident] += sum(step.to in ("handed", "unknown") and step.came == "leased" for step in steps)
        for incident in set(n_ends) | set(least):
            if not least[incident] <= n_ends[incident] <= most[incident]:
                self.wrong.append(f"G2: INC-{incident:06}: {n_ends[incident]} ends at PagerDuty, and rows tell of "
                                  f"{least[incident]} to {most[incident]}")

    def is_nameless(self, row):
        return row.channel == "pagerduty" and row.about["is_end"]

    def prove_paths(self, is_settled):
        """G3: a legal path that ends, with a reason."""
        for number, row in self.rows.items():
            state, time = "", 0
            for step in self.steps[number]:
                if step.came != state:
                    self.wrong.append(f"G3: {self.told(row)}: step {step.seq} from {step.came!r}, and it was {state!r}")
                if step.to not in (LEGAL_ON_SHEET if row.channel == "call-sheet" else LEGAL).get(step.came, "").split():
                    self.wrong.append(f"G3: {self.told(row)}: {step.came!r} became {step.to!r} ({step.what})")
                if step.came in ("failed", "expired") and step.what != "retried by hand":
                    self.wrong.append(f"G3: {self.told(row)}: was {step.came}, and came back by itself")
                if step.time < time:
                    self.wrong.append(f"G3: {self.told(row)}: step {step.seq} before the one that it follows")
                state, time = step.to, step.time
            if state != row.state:
                self.wrong.append(f"G3: {self.told(row)}: its steps end at {state!r}")
            if is_settled and row.state in OPEN:
                self.wrong.append(f"G3: {self.told(row)}: does not end")
            if row.state not in ("queued", "delivered") and not row.reason:
                self.wrong.append(f"G3: {self.told(row)}: ends without a reason")
            if row.state == "superseded" and not self.is_superseded(row):
                self.wrong.append(f"G3: {self.told(row)}: superseded, and nothing later goes to that person")
        for number in self.steps.keys() - self.rows.keys():
            self.wrong.append(f"G3: {name(number)} has steps, and is not there")

    def is_superseded(self, row):
        """The same person has a later word of the same incident, by this way or another."""
        way = lambda row: (row.channel, row.address.lower())
        who = lambda row: row.about["contact"] or way(row)
        return any(other.incident == row.incident and other.message is not None
                   and self.released.get(other.message, 0) > self.released.get(row.message, 0)
                   and (who(other) == who(row) or way(other) == way(row))
                   for other in self.rows.values())

    def prove_order(self):
        """G5: each address hears of an incident in the order in which it was told; what stands in for another comes later."""
        last, seen = {}, set()
        for entry in sorted(self.taken, key=lambda entry: entry["n"]):
            row = self.rows.get(entry["delivery"])
            # A repeat out of unknown may be late, and what a person had tried again; the first of each may not.
            if row is None or row.id in seen or any(step.what == "retried by hand" for step in self.steps[row.id]):
                continue
            seen.add(row.id)
            of = (row.incident, row.channel, row.address.lower())
            if row.incident is not None and last.get(of, 0) > row.id:
                self.wrong.append(f"G5: {self.told(row)}: came after {name(last[of])}")
            last[of] = max(last.get(of, 0), row.id)
            if row.message is not None and row.about.get("instead_of") is None:
                at = self.released.get(row.message, 0)
                if last.get(("message", *of), 0) > at:
                    self.wrong.append(f"G5: {self.told(row)}: came after a later message of its incident")
                last["message", *of] = at

    def prove_ends(self):
        """G6: whoever was told, or may have been, has a row for the end."""
        for number in self.released:
            message = self.messages[number]
            if message["kit"] not in ENDS:
                continue
            there = {(row.channel, row.address.lower()) for row in self.notices[number]}
            for row in self.rows.values():
                is_before = row.message in self.released and self.released[row.message] < self.released[number]
                may_know = any(step.to in ("handed", "delivered", "unknown") for step in self.steps[row.id])
                at = (row.channel, row.address.lower())
                # What stood in for another way is told by that way again, or what stands in for it.
                own = row.about.get("instead_of") is None
                if row.incident == message["incident"] and is_before and may_know and own and at not in there:
                    self.wrong.append(f"G6: {self.told(row)}: was told of INC-{row.incident:06}, and not of its end")

    def prove_once(self):
        """G7: one row for each message, channel and address; nothing came that is not in the store."""
        n = collections.Counter((row.message, row.channel, row.address.lower()) for row in self.rows.values()
                                if row.message is not None)
        self.wrong += [f"G7: {of}: {times} rows" for of, times in n.items() if times > 1]
        onces = collections.Counter(row.once for row in self.rows.values())
        self.wrong += [f"G7: {once}: {times} rows" for once, times in onces.items() if times > 1]
        for entry in self.taken:
            row = self.rows.get(entry["delivery"])
            if entry["delivery"] is None:
                if not any(self.is_nameless(row) and row.incident == entry["incident"] for row in self.rows.values()):
                    self.wrong.append(f"G7: the end of INC-{entry['incident']:06} came to PagerDuty, and no row is of it")
            elif row is None:
                self.wrong.append(f"G7: {name(entry['delivery'])} came to {entry['provider']}, and is not in the store")
            elif (row.channel, row.address) != (entry["channel"], entry["address"]):
                self.wrong.append(f"G7: {self.told(row)}: came to {entry['channel']} {entry['address']}")

    def prove_texts(self):
        """Nothing went out that nobody released, or with other words."""
        forms = {"mail": "mail", "sms": "sms"}
        for entry in self.taken:
            row = self.rows.get(entry["delivery"])
            if row is None:
                continue
            if row.about["purpose"] == "digest":
                # Numbers and kinds of notices, which are in the store.
                continue
            text = squeezed(entry["text"])
            if row.message is None:
                is_right = squeezed(row.about["text"]) in text
            else:
                message = self.messages[row.message]["forms"]
                wanted = squeezed(message[forms.get(row.channel, "portal")])
                if row.channel == "syslog":
                    wanted = f"{squeezed(message['mail_subject'])} {wanted}"
                is_right = text == wanted
                if row.message not in self.released:
                    self.wrong.append(f"release: {self.told(row)}: went out, and nobody released it")
            if not is_right:
                self.wrong.append(f"release: {self.told(row)}: went out as {text[:120]!r}")

    def came_in_digest(self, row):
        """What was held back has come when the digest it names has."""
        digests = [other for other in self.rows.values() if other.once.startswith("digest/") and other.handed]
        return row.state == "suppressed" and any(row.reason.endswith(digest.once) for digest in digests)

    def prove_accepted(self):
        """A customer counts as told when one of its people was, and only then."""
        for number in self.released:
            # One that was taken back tells nobody any more.
            if self.messages[number]["state"] == "withdrawn":
                continue
            is_accepted = any(row.what == "accepted" for row in self.of_messages[number])
            rows = [row for row in self.notices[number] if row.is_contact and (row.handed or self.came_in_digest(row))]
            if is_accepted != bool(rows):
                self.wrong.append(f"accepted: MSG-{number:06}: {is_accepted}, and {len(rows)} of the customer's people have it")

    def counts(self):
        steps = [step for steps in self.steps.values() for step in steps]
        named = [entry["delivery"] for entry in self.taken if entry["delivery"]]
        repeats = len(named) - len(set(named))
        ends = sum(self.messages[number]["kit"] in ENDS for number in self.released)
        states = collections.Counter(row.state for row in self.rows.values())
        return {"released": len(self.released), "ends": ends, "deliveries": len(self.rows), "steps": len(steps),
                "taken": len(self.taken), "taken again": repeats,
                "unknown": sum(step.to == "unknown" and step.came == "leased" for step in steps),
                "interrupted": sum(step.what == "interrupted" for step in steps), **states}
