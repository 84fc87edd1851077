"""Providers that misbehave as planned and keep a log of all that they ever took: mail, two for text messages, a webhook,
PagerDuty, syslog.

What came whole is written to the log, and the log to the disk's cache, before anything is answered; so a line of the log
is what a provider knows, whatever is killed when. A seed decides how each request fares, until `heal` is called.
"""
import email, email.policy, http.client, http.server, json, random, re, socket, socketserver, threading, time
import urllib.parse

from syslogserver import values

# How a request fares: taken and answered; refused for now; refused for good; taken and then no answer, by hanging up or by
# silence; lost before it was taken, in the same two ways; lost, with an answer that the provider is broken (5xx).
OK, LATER, NEVER, KEEP_DROP, KEEP_SILENT = "ok", "later", "never", "keep-drop", "keep-silent"
DROP, SILENT, BROKEN = "drop", "silent", "broken"
TAKING = {OK, KEEP_DROP, KEEP_SILENT}
PROVIDERS = ["mail", "one", "two", "webhook", "pagerduty", "syslog"]
CHANNELS = {"mail": "mail", "one": "sms", "two": "sms", "webhook": "webhook:noc", "pagerduty": "pagerduty", "syslog": "syslog"}
# What is answered. A relay that is broken says 5xx, which is final; of the others that leaves open what they did.
SMTP = {LATER: "451 4.3.0 not now", NEVER: "550 5.1.1 no such person", BROKEN: "554 5.3.0 broken"}
HTTP = {OK: (202, b"0: Accepted for delivery"), LATER: (503, b"not now"), NEVER: (400, b"never"), BROKEN: (500, b"broken")}
# Longer than every time-out of the settings.
SILENCE_S = 3.0


class Log:
    """A line of JSON for each request that came whole; flushed before it is answered."""

    def __init__(self, path):
        self.path, self.file, self.lock, self.entries = path, open(path, "a", buffering=1), threading.Lock(), []

    def write(self, **entry):
        with self.lock:
            entry = {"n": len(self.entries), "time": time.time(), **entry}
            self.file.write(json.dumps(entry) + "\n")
            self.file.flush()
            self.entries.append(entry)

    def taken(self):
        with self.lock:
            return [entry for entry in self.entries if entry["taken"]]


class Plan:
    """How each request of one provider fares."""

    def __init__(self, seed, name, wildness):
        self.draw, self.lock = random.Random(f"{seed}/sink/{name}"), threading.Lock()
        self.wildness, self.fixed, self.spell = wildness, None, []

    def next(self):
        with self.lock:
            if self.fixed:
                return self.fixed
            if not self.spell:
                if self.draw.random() >= self.wildness:
                    return OK
                # Trouble comes in spells, which open circuits.
                how = self.draw.choice([LATER, LATER, KEEP_DROP, KEEP_DROP, KEEP_SILENT, DROP, DROP, SILENT, BROKEN, NEVER])
                self.spell = [how] * (1 if how == NEVER else self.draw.choice([1, 1, 2, 5]))
            return self.spell.pop()

    def heal(self):
        with self.lock:
            self.fixed, self.spell, self.wildness = None, [], 0


class Receipts:
    """Tells what became of text messages: late, twice, out of order, to whichever life of the service is there."""

    def __init__(self, seed):
        self.draw, self.port, self.is_over = random.Random(f"{seed}/receipts"), None, False
        self.waiting, self.lock, self.n_told = [], threading.Lock(), 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def plan(self, kind, path, sure):
        """`sure`: nobody said that it was taken, so a receipt is the only word of it."""
        with self.lock:
            if not sure and self.draw.random() < 0.3:
                return
            accepted, over = ("type=8", "type=1") if kind == "kannel" else ("state=accepted", "state=delivered")
            if self.draw.random() < 0.1:
                over = "type=2&answer=switched+off" if kind == "kannel" else "state=failed&reason=switched+off"
            queries = [accepted, over]
            if self.draw.random() < 0.3:
                queries.append(over)
            if self.draw.random() < 0.3:
                self.draw.shuffle(queries)
            now = time.monotonic()
            for query in queries:
                self.waiting.append((now + self.draw.choice([0, 0, 0.05, 0.3, 1, 2]), f"{path}?{query}"))

    def work(self):
        while not self.is_over:
            time.sleep(0.01)
            with self.lock:
                due = [one for one in self.waiting if one[0] <= time.monotonic()]
            for one in due:
                if self.port is not None and self.tell(one[1]):
                    with self.lock:
                        self.waiting.remove(one)

    def tell(self, path):
        """True where it need not come again."""
        try:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            line.request("GET", path)
            status = line.getresponse().status
            line.close()
        except (OSError, http.client.HTTPException):
            return False
        if status not in (200, 503):
            raise RuntimeError(f"receipt {path}: HTTP {status}")
        self.n_told += status == 200
        return status == 200


class Sinks:
    """All providers, each on a port that stays the same. `refuse`: nobody listens; `accept`: somebody does again."""

    def __init__(self, seed, log_path, wildness=0.25):
        self.log, self.receipts = Log(log_path), Receipts(seed)
        self.plans = {name: Plan(seed, name, wildness) for name in PROVIDERS}
        self.servers, self.ports = {}, {}
        # Of a mail only the name of its delivery is read: parsing takes longer than all the rest.
        self.is_light = False
        for name in PROVIDERS:
            self.accept(name)

    def handler(self, name):
        return {"mail": Smtp, "syslog": Syslog}.get(name, Http)

    def accept(self, name):
        if name in self.servers:
            return
        for _ in range(50):
            try:
                server = Server(("127.0.0.1", self.ports.get(name, 0)), self.handler(name))
                break
            except OSError:
                # Somebody else's connection goes out from that port at the moment.
                time.sleep(0.1)
        server.sinks, server.name = self, name
        self.ports[name], self.servers[name] = server.server_address[1], server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self, name):
        server = self.servers.pop(name, None)
        if server:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def heal(self):
        for name in PROVIDERS:
            self.plans[name].heal()
            self.accept(name)

    def close(self):
        self.receipts.is_over = True
        for name in PROVIDERS:
            self.refuse(name)

    def settings(self):
        url = lambda name, path: f"http://127.0.0.1:{self.ports[name]}{path}"
        waits = "connect_timeout_ms = 500\nrequest_timeout_ms = 800"
        return f"""
[mail]
host = "127.0.0.1"
port = {self.ports["mail"]}
tls = "none"
from = "Ringfence <ringfence@example.net>"
connect_timeout_ms = 500
command_timeout_ms = 800
data_timeout_ms = 800
[[sms]]
name = "one"
kind = "kannel"
url = "{url("one", "/cgi-bin/sendsms")}"
user = "ringfence"
password_file = "word"
{waits}
[[sms]]
name = "two"
kind = "http"
method = "POST"
url = "{url("two", "/send")}"
body = '{{"to": {{{{ to|json }}}}, "text": {{{{ text|json }}}}, "ref": {{{{ delivery|json }}}}, "tell": {{{{ callback|json }}}}}}'
content_type = "application/json"
{waits}
[webhook.noc]
url = "{url("webhook", "/noc")}"
{waits}
[pagerduty]
url = "{url("pagerduty", "/v2/enqueue")}"
routing_key_file = "key"
{waits}
[syslog]
address = "127.0.0.1:{self.ports["syslog"]}"
tls = "off"
connect_timeout_ms = 500
send_timeout_ms = 800
"""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512

    def __init__(self, *args):
        self.lines = set()
        super().__init__(*args)

    def process_request(self, request, address):
        self.lines.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.lines.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        for line in list(self.lines):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, address):
        # Whoever was killed hangs up in the midst.
        pass


class Smtp(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        plan = self.server.sinks.plans["mail"]
        if plan.fixed == SILENT:
            return time.sleep(SILENCE_S)
        self.say("220 sink.test ESMTP")
        recipient, act = None, None
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"EHLO":
                self.say("250-sink.test\r\n250 8BITMIME")
            elif verb == b"RCPT":
                recipient, act = re.search(rb"<(.*)>", line)[1].decode(), plan.next()
                # At the recipient or at the last dot, by the length of the name.
                if act in SMTP and len(recipient) % 2:
                    self.say(SMTP[act])
                else:
                    self.say("250 2.1.5 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                if not self.take(recipient, act):
                    return
            elif verb == b"QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("250 2.0.0 ok")

    def take(self, recipient, act):
        """False: the line is no more."""
        raw = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return False
            raw.append(line[1:] if line.startswith(b"..") else line)
        raw, text = b"".join(raw), None
        if self.server.sinks.is_light:
            delivery = re.search(rb"^X-Ringfence-Delivery: (.*?)\r$", raw, re.MULTILINE)[1].decode()
        else:
            mail = email.message_from_bytes(raw, policy=email.policy.default)
            delivery, text = mail["X-Ringfence-Delivery"], mail.get_body(("plain",)).get_content()
        self.server.sinks.log.write(provider="mail", channel="mail", delivery=delivery, address=recipient, text=text,
                                    answer=act, taken=act in TAKING)
        if act in (KEEP_SILENT, SILENT):
            time.sleep(SILENCE_S)
        if act == OK or act in SMTP:
            self.say(SMTP.get(act, "250 2.0.0 taken"))
            return True
        return False


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 60
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.take(b"")

    def do_POST(self):
        self.take(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def take(self, body):
        name, sinks = self.server.name, self.server.sinks
        act = sinks.plans[name].next()
        entry, tell = getattr(self, f"of_{name}")(body)
        taken = act in TAKING
        sinks.log.write(provider=name, channel=CHANNELS[name], **entry, answer=act, taken=taken)
        if tell and taken:
            sinks.receipts.plan("kannel" if name == "one" else "plain", tell, act != OK)
        if act in (KEEP_SILENT, SILENT):
            time.sleep(SILENCE_S)
        if act not in HTTP:
            self.close_connection = True
            return
        status, said = HTTP[act]
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def of_one(self, _):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        tell = urllib.parse.urlsplit(query["dlr-url"]).path
        return {"delivery": tell.split("/")[4], "address": query["to"], "text": query["text"]}, tell

    def of_two(self, body):
        said = json.loads(body)
        return ({"delivery": said["ref"], "address": said["to"], "text": said["text"]},
                urllib.parse.urlsplit(said["tell"]).path)

    def of_webhook(self, body):
        said = json.loads(body)
        if said["delivery"] != self.headers["X-Ringfence-Delivery"]:
            raise RuntimeError(f"the header says {self.headers['X-Ringfence-Delivery']}, the body {said['delivery']}")
        return {"delivery": said["delivery"], "address": "", "text": said["text"]}, None

    def of_pagerduty(self, body):
        said = json.loads(body)
        if said["event_action"] == "resolve":
            # The only thing that goes out without the delivery's name.
            return {"delivery": None, "address": "", "text": None, "incident": said["dedup_key"].split("/")[-1]}, None
        details = said["payload"]["custom_details"]
        return {"delivery": details["delivery"], "address": "", "text": details["text"]}, None


class Syslog(socketserver.StreamRequestHandler):
    """Octet counting. Syslog answers nothing, so what a server loses nobody can know: this one loses nothing. In trouble it
    says that it hangs up, and reads on what was under way."""

    def handle(self):
        plan = self.server.sinks.plans["syslog"]
        if plan.fixed == SILENT:
            return time.sleep(SILENCE_S)
        if plan.fixed:
            return
        while entry := self.read():
            act = plan.next()
            self.server.sinks.log.write(provider="syslog", channel="syslog", address="", **entry, answer=act, taken=True)
            if act != OK:
                self.request.shutdown(socket.SHUT_WR)

    def read(self):
        length = b""
        while not length.endswith(b" "):
            one = self.rfile.read(1)
            if not one:
                return None
            length += one
        line = self.rfile.read(int(length))
        if len(line) < int(length):
            return None
        line = line.decode()
        data = values(line[line.index("["):])
        return {"delivery": data["delivery"], "text": line.split("\ufeff", 1)[1]}
