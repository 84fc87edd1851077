"""People who give orders over the API while a service is killed under them: who gets no answer looks, once it is there
again, whether the order was done, and gives it again only where it was not.

Every order bears a word of its own, so that it can be found in what the service wrote.
"""
import collections, http.client, json, pathlib, random, threading, time

ROLES = {"anna": "responder", "rita": "responder", "carl": "commander", "dora": "commander"}
# The row that says that an order was done.
DONE = {
    "suspect": "suspected", "confirm": "confirmed", "mitigate": "mitigating", "monitor": "monitoring", "resolve": "resolved",
    "review": "reviewed", "dismiss": "dismissed", "reopen": "reopened", "severity": "severity", "assign": "assigned",
    "fold": "folded", "unfold": "unfolded", "findings": "findings", "notes": "note", "open": "opened",
    "redraft": "redrafted", "check": "checked", "return": "returned", "release": "released", "withdraw": "withdrawn",
}
# What moves an incident on, by its state.
NEXT = {
    "candidate": ["suspect", "confirm", "dismiss"], "suspected": ["confirm", "confirm", "dismiss", "fold"],
    "confirmed": ["mitigate", "fold"], "mitigating": ["monitor"], "monitoring": ["findings", "resolve"],
    "resolved": ["reopen", "review"], "reviewed": ["notes"], "dismissed": ["notes"], "merged": ["unfold"],
}
NEXT_OF_MESSAGE = {
    "drafted": ["check", "check", "check", "return", "redraft", "withdraw"], "returned": ["redraft", "redraft", "withdraw"],
    "checked": ["release", "release", "release", "release", "redraft", "return"], "superseded": ["release"],
    "released": ["release", "release", "release", "check", "return", "withdraw"], "withdrawn": ["check"],
}
ROOT = "/api/v1"
# As the audit calls them.
NAMES = {"messages": "draft", "notes": "note"}


class Order:
    """One order; `state`: done, refused, unknown where there was no answer, and unclear where looking does not tell."""

    def __init__(self, by, action, path, body, word, subject):
        self.by, self.action, self.path, self.body, self.word, self.subject = by, action, path, body, word, subject
        self.state, self.n_lost, self.message = "unknown", 0, None

    def __str__(self):
        return f"{self.action} {self.path} by {self.by} ({self.word}, {self.state})"


def call(port, token, method, path, body=None, sent=lambda: None):
    """The status and the answer. `sent` is called when the request is out."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        line.request(method, ROOT + path, None if body is None else json.dumps(body), headers)
        sent()
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        line.close()


def hire(port, folder):
    """Users for all of them, on a service that has none. Their tokens are left in the folder."""
    def add(token, name, roles):
        body = {"name": name, "roles": roles, "with_token": True}
        status, answer = call(port, token, "POST", "/users", body)
        if status not in (200, 201):
            raise RuntimeError(f"user {name} could not be added: {status} {answer}")
        return answer["token"]
    admin = add((folder / "data/admin-token").read_text().strip(), "root", ["admin"])
    tokens = {name: add(admin, name, [role]) for name, role in ROLES.items()}
    (folder / "tokens.json").write_text(json.dumps(tokens))


class People:
    """Two hands that give orders at the same time, each in the name of whom it takes."""

    # How many moments of a run's kills are between an order and its answer.
    n_minds = 5

    def __init__(self, seed, folder):
        self.seed, self.tokens = seed, json.loads((folder / "tokens.json").read_text())
        self.orders, self.n_begun, self.n_lives, self.is_going, self.hands, self.list = [], 0, 0, False, [], []
        self.n_unanswered, self.n_found_done, self.failures = 0, 0, []

    def come(self, service):
        self.port, self.n_lives, self.is_going, self.list = service.http_port, self.n_lives + 1, True, []
        # Looked up before anybody orders anew: what is on its way has no answer yet either.
        unknown = [order for order in self.orders if order.state == "unknown"]
        self.hands = [threading.Thread(target=self.work, args=(n, unknown[n::2]), daemon=True) for n in range(2)]
        for hand in self.hands:
            hand.start()

    def go(self):
        self.is_going = False
        for hand in self.hands:
            hand.join()

    def finish(self):
        """The last of it, while nothing is killed any more."""
        time.sleep(1)
        self.go()
        if self.failures:
            raise RuntimeError(self.failures[0])

    def work(self, hand, unknown):
        draw = random.Random(f"{self.seed}/{self.n_lives}/{hand}")
        try:
            for order in unknown:
                self.settle(order)
            while self.is_going:
                order = self.think(draw, f"word-{self.n_lives}-{hand}-{len(self.orders)}-{draw.randrange(1 << 30):x}")
                if order is not None:
                    self.orders.append(order)
                    self.give(order)
                time.sleep(draw.choice([0, 0, 0, 0.01]))
        except OSError:
            # It is gone; what was not answered stays unknown.
            pass
        except Exception as error:
            self.failures.append(f"{error!r}")

    def ask(self, path, by="anna"):
        status, answer = call(self.port, self.tokens[by], "GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {answer}")
        return answer

    def give(self, order):
        def sent():
            self.n_begun += 1
        order.n_lost += 1
        order.state = "unknown"
        try:
            status, answer = call(self.port, self.tokens[order.by], "POST", order.path, order.body, sent)
        except OSError:
            self.n_unanswered += 1
            raise
        if status in (200, 201):
            order.state, order.message = "done", answer.get("message")
            order.n_lost -= 1
        elif status in (403, 404, 409, 422):
            order.state = "refused"
            order.n_lost -= 1
        elif status != 503:
            raise RuntimeError(f"{order}: {status} {answer}")

    def settle(self, order):
        """Looks whether it was done; gives it again if not."""
        if self.was_done(order):
            self.n_found_done += 1
            # That it is checked does not say by which of one's orders.
            order.state = "unclear" if order.action in ("check", "release") else "done"
            order.n_lost -= order.state == "done"
        else:
            order.n_lost -= 1
            self.give(order)

    def was_done(self, order):
        if order.action == "open":
            return any(order.word in incident["what"] for incident in self.pages("/incidents", "incidents"))
        if order.action == "messages":
            page = self.ask(f"/incidents/{order.subject}")
            return any(order.word in message["texts"].values() for message in page["messages"])
        if order.subject.startswith("INC"):
            rows = self.pages(f"/incidents/{order.subject}/transitions", "transitions")
            return any(is_row_of(order, row["what"], row["why"], json.dumps(row["data"])) for row in rows)
        message = self.ask(f"/messages/{order.subject}")
        if order.action == "redraft":
            return order.word in message["texts"].values()
        if order.action in ("check", "release"):
            return message["checked_by" if order.action == "check" else "released_by"] == order.by
        rows = self.ask(f"/incidents/{message['incident']}")["transitions"]
        return any(is_row_of(order, row["what"], row["why"], json.dumps(row["data"])) for row in rows)

    def pages(self, path, name):
        cursor, all_of_it = "", []
        while cursor is not None:
            page = self.ask(f"{path}?limit=100&cursor={cursor}")
            all_of_it += page[name]
            cursor = page["next"]
        return all_of_it

    def think(self, draw, word):
        """What somebody does next; nothing where there is nothing."""
        # Nobody reads the whole list before each order.
        if not self.list or draw.random() < 0.1:
            self.list = self.ask("/incidents?limit=100")["incidents"]
        incidents = self.list
        if not incidents or draw.random() < 0.03:
            body = {"customer": draw.choice(["acme", "globex", "initech"]), "what": f"calls fail, {word}",
                    "severity": draw.choice([1, 2, 3]), "why": word}
            return Order(draw.choice(list(ROLES)), "open", "/incidents", body, word, "INC")
        number = draw.choice(incidents[:12] if draw.random() < 0.7 else incidents)["id"]
        page = self.ask(f"/incidents/{number}")
        incident, messages = page["incident"], page["messages"]
        # Mostly who may, and what fits.
        who = lambda role: draw.choice([n for n, r in ROLES.items() if r == role or draw.random() < 0.1] or ["carl"])
        if messages and draw.random() < 0.65:
            waiting = [message for message in messages if message["state"] in ("drafted", "checked", "returned")]
            return self.about_message(draw, who, draw.choice(waiting or messages), word)
        action = draw.choice(NEXT[incident["state"]]) if draw.random() < 0.5 else draw.choice(
            ["notes", "assign", "severity", "messages", "messages", "messages", "findings", draw.choice(list(DONE)[:8])])
        body = {"why": word}
        if action == "notes":
            body = {"text": word}
        elif action == "assign":
            body = {"position": draw.choice(["commander", "scribe", "responder"]), "person": word}
        elif action == "severity":
            body["severity"] = draw.choice([1, 2, 3, 4])
        elif action == "fold":
            body["into"] = draw.choice([i["id"] for i in incidents if i["customer"] == incident["customer"]])
        elif action == "findings":
            body = {"findings": word, "recommendations": "block the callers"}
        elif action == "messages":
            kit, texts = draw.choice([("confirmed", {"scope": word}), ("update", {"changed": word})])
            next_update = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            body = {"kit": kit, "texts": texts, "next_update": next_update}
        return Order(who("responder"), action, f"/incidents/{number}/{action}", body, word, number)

    def about_message(self, draw, who, message, word):
        action = draw.choice(NEXT_OF_MESSAGE[message["state"]] if draw.random() < 0.9 else ["check", "release", "redraft"])
        body = {"check": {"hash": message["hash"]}, "release": {"hash": message["hash"][:8]}, "return": {"comment": word},
                "withdraw": {"why": word}, "redraft": {"hash": message["hash"], "texts": {"workaround": word}}}[action]
        by = who("commander" if action in ("check", "release", "withdraw") else "responder")
        return Order(by, action, f"/messages/{message['id']}/{action}", body, word, message["id"])

    def counts(self):
        states = collections.Counter(order.state for order in self.orders)
        return {"orders": states["done"], "refused": states["refused"], "unanswered": self.n_unanswered,
                "and yet done": self.n_found_done}

    def wrong(self, book):
        """What was answered is there once, what was refused not at all, and what got no answer at most once."""
        lines, said = list(self.failures), Counted(book)
        sums = collections.defaultdict(lambda: [0, 0])
        for order in self.orders:
            least, most = int(order.state == "done"), int(order.state == "done") + order.n_lost
            n = said.times(order)
            if n is not None and not least <= n <= most:
                lines.append(f"{order}: is there {n} times")
            of = sums[order.by, order.action, order.subject]
            of[0], of[1] = of[0] + least, of[1] + most
        for (by, action, subject), (least, most) in sums.items():
            n = said.rows[by, DONE.get(action), subject]
            if action in ("redraft", "check", "return", "release", "withdraw") and not least <= n <= most:
                lines.append(f"{by} gave {least} to {most} orders to {action} {subject}, and {n} are there")
        n_orders = collections.Counter()
        for (by, action, _), (least, most) in sums.items():
            n_orders[by, action] += least
            n_orders[by, action, "most"] += most
        audit = collections.Counter((who, action) for who, action, _ in book.audit)
        for of in [of for of in n_orders if len(of) == 2]:
            n = audit[of[0], f"incident {NAMES.get(of[1], of[1])}"]
            if not n_orders[of] <= n <= n_orders[(*of, "most")]:
                lines.append(f"{of}: {n_orders[of]} to {n_orders[(*of, 'most')]} orders, and {n} in the audit")
        return lines


def is_row_of(order, what, why, data):
    if what != DONE[order.action]:
        return False
    if order.action == "assign":
        return why.split(", after")[0] == f"{order.body['position']}: {order.word}"
    return why == order.word or order.action == "findings" and order.word in (data or "")


class Counted:
    """Rows of a book, by what people would look for."""

    def __init__(self, book):
        self.rows = collections.Counter((row.who, row.what, f"{'MSG' if row.kind == 'message' else 'INC'}-{row.id:06}")
                                        for row in book.rows if row.kind in ("incident", "message"))
        self.by_word = collections.defaultdict(list)
        for row in book.rows:
            for word in {row.why.split(", after")[0].split(": ")[-1], *findings(row)}:
                self.by_word[word].append(row)
        self.texts = collections.Counter(word for _, _, _, body in book.of("message").values()
                                         for word in body["given"]["texts"].values())

    def times(self, order):
        """`None` where its word stands nowhere."""
        if order.action == "messages":
            return self.texts[order.word]
        if order.action in ("redraft", "check", "release"):
            return None
        return sum(is_row_of(order, row.what, row.why, row.data) for row in self.by_word[order.word])


def findings(row):
    return [json.loads(row.data)["findings"]] if row.what == "findings" else []
