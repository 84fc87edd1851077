"""Providers that other scripts hand deliveries to: Kannel with its fake SMSC, and stand-ins for Twilio and PagerDuty.

Kannel is the real one, of Debian; what its fake SMSC got is what a phone would have got, in parts. The stand-ins check
every request against what the providers publish, and answer by a script. Run by itself it tries them all.
"""

import base64
import collections
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from email.utils import formatdate
from pathlib import Path

WAIT_S = 30


def free_ports(n):
    """Together, so that none comes twice."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def eventually(what, condition, seconds=WAIT_S):
    """What `condition` gives once it is true; the script ends where it never is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return found


def is_open(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Kannel
# ---------------------------------------------------------------------------------------------------------------------

FAKESMSC = "lib/kannel/test/fakesmsc"


def kannel_programs():
    """bearerbox, smsbox and fakesmsc, or None where one is missing."""
    bearerbox, smsbox = shutil.which("bearerbox"), shutil.which("smsbox")
    if not bearerbox or not smsbox:
        return None
    # Beside the programs, wherever Debian's packages were unpacked.
    fakesmsc = Path(bearerbox).resolve().parent.parent / FAKESMSC
    return (bearerbox, smsbox, str(fakesmsc)) if fakesmsc.is_file() else None


def with_libraries(program):
    """The environment of a program whose package was unpacked rather than installed: its libraries lie beside it."""
    root = Path(program).resolve().parent.parent.parent
    if root == Path("/"):
        return None
    libraries = [library for place in ("lib", "usr/lib") for library in (root / place).rglob("*.so*")]
    folders = {str(library.parent) for library in libraries if "modules" not in library.parts}
    before = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(([before] if before else []) + sorted(folders))}


Sms = collections.namedtuple("Sms", "sender receiver data udh")


class Kannel:
    """bearerbox, smsbox and one fake SMSC, on ports of their own.

    The user is `ringfence` with the password `s3cret`. `stop` and `start` again as often as needed; `kill` is SIGKILL of
    all three. `smsc_stop` leaves Kannel without its SMSC: it queues then.
    """

    USER, PASSWORD = "ringfence", "s3cret"
    # Numbers that begin so are routed nowhere.
    NOWHERE = "+999"

    def __init__(self, folder=None):
        programs = kannel_programs()
        if programs is None:
            raise SystemExit("Kannel is missing: unpack kannel and kannel-extras of Debian and set PATH")
        self.bearerbox, self.smsbox, self.fakesmsc = programs
        self.is_temporary = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="ringfence-kannel-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = with_libraries(self.bearerbox)
        self.log = self.folder / "fakesmsc.log"
        self.running = {}
        self.admin_port = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/cgi-bin/sendsms"

    def _config(self):
        return f"""\
group = core
admin-port = {self.admin_port}
admin-password = admin
smsbox-port = {self.box_port}
log-file = "{self.folder}/bearerbox.log"
log-level = 0
store-type = spool
store-location = "{self.folder}/spool"

group = smsc
smsc = fake
smsc-id = fake
host = 127.0.0.1
port = {self.smsc_port}
connect-allow-ip = "127.0.0.1"
denied-prefix = "{self.NOWHERE}"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {self.port}
sendsms-interface = "127.0.0.1"
log-file = "{self.folder}/smsbox.log"
log-level = 0
http-request-retry = 20
http-queue-delay = 1

group = sendsms-user
username = {self.USER}
password = {self.PASSWORD}
default-sender = Ringfence
concatenation = true
max-messages = 10
"""

    def start(self):
        """The ports stay the same; at the very first start others are tried where somebody was quicker."""
        (self.folder / "spool").mkdir(exist_ok=True)
        for n_left in [2, 1, 0] if self.admin_port is None else [0]:
            if n_left or self.admin_port is None:
                self.admin_port, self.box_port, self.smsc_port, self.port = free_ports(4)
                (self.folder / "kannel.conf").write_text(self._config())
            if self._boxes_start():
                break
            self.kill()
            if not n_left:
                logs = [f"{log}:\n{log.read_text(errors='replace')[-2000:]}" for log in self.folder.glob("*.out")]
                raise SystemExit("\n".join(["Kannel does not start", *logs]))
        eventually("the SMSC is online", lambda: "online" in self.status())
        return self

    def _boxes_start(self):
        config = str(self.folder / "kannel.conf")
        self._run("bearerbox", self.bearerbox, config)
        if not self._comes_up("bearerbox", self.box_port, self.smsc_port):
            return False
        self.smsc_start()
        self._run("smsbox", self.smsbox, config)
        return self._comes_up("smsbox", self.port)

    def _comes_up(self, name, *ports):
        deadline = time.monotonic() + WAIT_S
        while not all(map(is_open, ports)):
            if self.running[name].poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def smsc_start(self):
        # It wants something to send, and sends none of it. It lives as long as it has something to wait for.
        args = ["-H", "127.0.0.1", "-r", str(self.smsc_port), "-i", "100000000", "-m", "1000000", "1 2 text none"]
        self._run("fakesmsc", self.fakesmsc, *args, log=self.log)

    def smsc_stop(self):
        self._end("fakesmsc", signal.SIGTERM)

    def stop(self):
        for name in ["smsbox", "fakesmsc", "bearerbox"]:
            self._end(name, signal.SIGTERM)

    def kill(self):
        for name in ["smsbox", "bearerbox", "fakesmsc"]:
            self._end(name, signal.SIGKILL)

    def kill_boxes(self):
        """Kannel alone: its SMSC still writes down what was on the way to it."""
        for name in ["smsbox", "bearerbox"]:
            self._end(name, signal.SIGKILL)
        # It ends with its connection.
        self.running.pop("fakesmsc").wait(timeout=WAIT_S)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
        if self.is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/status.txt?password=admin", timeout=5) as answer:
            return answer.read().decode(errors="replace")

    def _run(self, name, *command, log=None):
        # What it prints goes where nobody waits for it to be read.
        with open(log or self.folder / f"{name}.out", "ab") as out:
            self.running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )

    def _end(self, name, how):
        process = self.running.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def parts(self):
        """What the SMSC got, part by part, in its order, without what Kannel answers the SMSC's own first message."""
        lines = []
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        for line in re.findall(r"Got message \d+: <(.*)>$", text, re.M):
            if re.match(r"\S+ \S+ (text|ucs-2|udh|data) ", line) or not lines:
                lines.append(line)
            else:
                # Its protocol has no line breaks, so a text with one comes as two.
                lines[-1] += "\n" + line
        return [sms for sms in map(part, lines) if sms.receiver != "1"]

    def messages(self):
        """What phones show: [receiver, text], parts put together; only what is whole."""
        whole, pieces = [], {}
        for sms in self.parts():
            if len(sms.udh) >= 6 and sms.udh[1] == 0:  # concatenated, with an 8-bit reference
                reference, n, i = sms.udh[3:6]
                joined = pieces.setdefault((sms.receiver, reference), {})
                joined[i] = sms.data
                if len(joined) == n:
                    # As bytes: Kannel divides a character of two units as it comes.
                    whole.append([sms.receiver, text_of(b"".join(joined[k] for k in sorted(joined)))])
                    del pieces[(sms.receiver, reference)]
            else:
                whole.append([sms.receiver, text_of(sms.data)])
        return whole


def part(line):
    """A line of the fake SMSC: `SENDER RECEIVER text TEXT`, `... ucs-2 ESCAPED` or `... udh HEADER data ESCAPED`."""
    sender, receiver, kind, rest = line.split(" ", 3)
    if kind == "text":
        return Sms(sender, receiver, rest.encode(), b"")
    udh = b""
    if kind == "udh":
        header, _, rest = rest.split(" ", 2)
        udh = urllib.parse.unquote_to_bytes(header.replace("+", " "))
    return Sms(sender, receiver, urllib.parse.unquote_to_bytes(rest.replace("+", " ")), udh)


def text_of(data):
    """The SMSC is not told of a part's alphabet: in UTF-8 no text has these bytes, in UCS-2 nearly every one does."""
    is_ucs2 = any(byte < 0x20 and byte not in b"\n\r\x0c" for byte in data)
    return data.decode("utf-16-be" if is_ucs2 else "utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Stand-ins
# ---------------------------------------------------------------------------------------------------------------------


class Fake:
    """An HTTP server on a port of its own that answers by a script.

    `script` holds what to do with the next requests that would change something, each of
      "take"               take it and say so (what is done when the script is empty)
      "take and stall"     take it, and never answer
      "take and drop"      take it, and close the connection
      "take and 500"       take it, and answer 500
      "drop", "stall"      the same without taking it
      (status, body)       refuse it with this
    `problems` are breaches of the provider's contract; a script that ends with any has failed.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.script = collections.deque()
        self.problems = []
        self.n_asked = 0
        self.ended = threading.Event()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                fake.handle(self, b"")

            def do_POST(self):
                fake.handle(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def expect(self, condition, problem):
        if not condition:
            self.problems.append(problem)
        return bool(condition)

    def answer(self, handler, status, body, date=None):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response_only(status)
        handler.send_header("Date", date or formatdate(usegmt=True))
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def act(self, handler, take, date=None):
        """By the script; `take` takes it and gives (status, body)."""
        with self.lock:
            self.n_asked += 1
            step = self.script.popleft() if self.script else "take"
        if isinstance(step, tuple):
            return self.answer(handler, *step, date)
        taken = take() if step.startswith("take") else None
        if step.endswith("stall"):
            self.ended.wait()
        if step.endswith(("stall", "drop")):
            handler.close_connection = True
        elif step.endswith("500"):
            self.answer(handler, 500, {"code": 20500, "message": "Internal Server Error", "status": 500}, date)
        else:
            self.answer(handler, *taken, date)


class FakeTwilio(Fake):
    """The Messages of one account. `clock_off_s`: how far its clock is from ours.

    `messages` are what it took, oldest first; `report` posts a receipt as Twilio does, signed.
    """

    FIELDS = {"To", "From", "MessagingServiceSid", "Body", "StatusCallback", "ValidityPeriod", "SmartEncoded"}

    def __init__(self, account="AC" + "0" * 32, token="s3cret", clock_off_s=0):
        self.account, self.token, self.clock_off_s = account, token, clock_off_s
        self.messages = []
        super().__init__()

    def now(self):
        return time.time() + self.clock_off_s

    def handle(self, handler, body):
        date = formatdate(self.now(), usegmt=True)
        path, _, query = handler.path.partition("?")
        root = f"/2010-04-01/Accounts/{self.account}/Messages.json"
        if not self.expect(path == root, f"no such path: {path}"):
            return self.answer(handler, 404, {"code": 20404, "message": "not found", "status": 404}, date)
        expected = "Basic " + base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
        if handler.headers.get("Authorization") != expected:
            return self.answer(handler, 401, {"code": 20003, "message": "Authenticate", "status": 401}, date)
        if handler.command == "GET":
            return self.answer(handler, 200, self.page(root, dict(urllib.parse.parse_qsl(query))), date)
        kind = handler.headers.get("Content-Type")
        self.expect(kind == "application/x-www-form-urlencoded", f"not a form: {kind}")
        pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
        fields = dict(pairs)
        self.check(pairs, fields)
        return self.act(handler, lambda: self.take(fields), date)

    def check(self, pairs, fields):
        self.expect(len(pairs) == len(fields), "a field comes twice")
        self.expect(not set(fields) - self.FIELDS, f"unknown fields: {set(fields) - self.FIELDS}")
        self.expect(re.fullmatch(r"\+[1-9]\d{4,14}", fields.get("To", "")), f"To: {fields.get('To')}")
        self.expect(("From" in fields) != ("MessagingServiceSid" in fields), "one of From and MessagingServiceSid")
        self.expect(0 < len(fields.get("Body", "")) <= 1600, f"Body has {len(fields.get('Body', ''))} characters")
        validity = fields.get("ValidityPeriod", "1")
        self.expect(validity.isdecimal() and 1 <= int(validity) <= 36000, f"ValidityPeriod: {validity}")
        callback = fields.get("StatusCallback", "http://x")
        self.expect(re.match(r"https?://", callback), f"StatusCallback: {callback}")

    def take(self, fields):
        message = {
            "sid": "SM" + uuid.uuid4().hex,
            "account_sid": self.account,
            "to": fields["To"],
            "from": fields.get("From"),
            "messaging_service_sid": fields.get("MessagingServiceSid"),
            "body": fields["Body"],
            "status": "queued",
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "date_created": formatdate(self.now()),
            "date_sent": None,
        }
        with self.lock:
            self.messages.append({**message, "callback": fields.get("StatusCallback")})
        return 201, message

    def page(self, root, query):
        self.expect(not set(query) - {"To", "DateSent", "PageSize", "Page", "PageToken"}, f"unknown query: {query}")
        size, number = int(query.get("PageSize", 50)), int(query.get("Page", 0))
        with self.lock:
            found = [m for m in reversed(self.messages) if query.get("To", m["to"]) == m["to"]]
        if day := query.get("DateSent"):
            self.expect(re.fullmatch(r"\d{4}-\d\d-\d\d", day), f"DateSent: {day}")
            found = [m for m in found if m["date_sent"] and time.strftime("%Y-%m-%d", time.gmtime(m["sent"])) == day]
        rows = found[number * size : (number + 1) * size]
        more = {**query, "Page": number + 1, "PageToken": "x"} if len(found) > (number + 1) * size else None
        hidden = {"callback", "sent"}
        return {
            "messages": [{k: v for k, v in m.items() if k not in hidden} for m in rows],
            "page": number,
            "page_size": size,
            "next_page_uri": f"{root}?{urllib.parse.urlencode(more)}" if more else None,
        }

    def report(self, sid, status, error=None):
        """Posts a receipt; gives the status of the answer, None where there is no address for it."""
        with self.lock:
            message = next(m for m in self.messages if m["sid"] == sid)
            message["status"], message["error_code"] = status, error
            if status == "sent":
                message["date_sent"], message["sent"] = formatdate(self.now()), self.now()
        url = message["callback"]
        if not url:
            return None
        fields = {"MessageSid": sid, "MessageStatus": status, "To": message["to"], "AccountSid": self.account}
        fields.update({"ErrorCode": str(error)} if error else {})
        signed = url + "".join(name + fields[name] for name in sorted(fields))
        code = base64.b64encode(hmac.new(self.token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
        request = urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), {"X-Twilio-Signature": code})
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class FakePagerDuty(Fake):
    """`/v2/enqueue`: `events` are what it took, `alerts` what is open: key to summary."""

    SEVERITIES = {"critical", "error", "warning", "info"}
    MEMBERS = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
    PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}

    def __init__(self, routing_key="0123456789abcdef0123456789abcdef"):
        self.routing_key = routing_key
        self.events, self.alerts = [], {}
        super().__init__()

    @property
    def url(self):
        return super().url + "/v2/enqueue"

    def handle(self, handler, body):
        if not self.expect((handler.command, handler.path) == ("POST", "/v2/enqueue"), f"{handler.command} {handler.path}"):
            return self.answer(handler, 404, {})
        errors = self.errors(handler, body)
        if errors:
            self.problems += errors
            return self.answer(handler, 400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        return self.act(handler, lambda: self.take(json.loads(body)))

    def errors(self, handler, body):
        errors = []

        def must(condition, error):
            if not condition:
                errors.append(error)

        must(handler.headers.get("Content-Type") == "application/json", "not JSON by its header")
        must(len(body) <= 512 * 1024, "larger than 512 KiB")
        try:
            event = json.loads(body)
        except ValueError:
            return errors + ["not JSON"]
        must(not set(event) - self.MEMBERS, f"unknown members: {set(event) - self.MEMBERS}")
        must(event.get("routing_key") == self.routing_key, "routing_key is not known")
        must(event.get("event_action") in ("trigger", "acknowledge", "resolve"), "event_action")
        key = event.get("dedup_key")
        must(isinstance(key, str) and 0 < len(key) <= 255, "dedup_key")
        if event.get("event_action") == "trigger":
            payload = event.get("payload") or {}
            must(not set(payload) - self.PAYLOAD, f"unknown in payload: {set(payload) - self.PAYLOAD}")
            must(0 < len(payload.get("summary") or "") <= 1024, "payload.summary")
            must(payload.get("source"), "payload.source")
            must(payload.get("severity") in self.SEVERITIES, "payload.severity")
            stamp = payload.get("timestamp", "2000-01-01T00:00:00Z")
            must(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", stamp), "payload.timestamp")
            must(isinstance(payload.get("custom_details", {}), dict), "payload.custom_details")
        return errors

    def take(self, event):
        with self.lock:
            self.events.append(event)
            if event["event_action"] == "resolve":
                self.alerts.pop(event["dedup_key"], None)
            else:
                self.alerts[event["dedup_key"]] = (event.get("payload") or {}).get("summary")
        return 202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}


# ---------------------------------------------------------------------------------------------------------------------
# By itself
# ---------------------------------------------------------------------------------------------------------------------


def serve_kannel():
    """For programs in other languages: says where it is, then answers each line that comes in.

    `messages`: what phones show, as JSON; `parts`: how many parts it came in. `smsc stop`, `smsc start`, `stop`,
    `kill boxes`, `start`: done, `null`.
    """
    with Kannel() as kannel:
        print(json.dumps({"url": kannel.url}), flush=True)
        commands = {
            "messages": kannel.messages,
            "parts": lambda: len(kannel.parts()),
            "smsc stop": kannel.smsc_stop,
            "smsc start": kannel.smsc_start,
            "stop": kannel.stop,
            "kill boxes": kannel.kill_boxes,
            "start": lambda: kannel.start() and None,
        }
        for line in sys.stdin:
            print(json.dumps(commands[line.strip()]()), flush=True)


def serve_fake(fake):
    """The same of a stand-in: `script STEPS`, `report [STATUS, ERROR]` on the newest message, `messages`, `problems`."""
    with fake:
        print(json.dumps({"url": fake.url}), flush=True)
        commands = {
            "script": lambda steps: fake.script.extend(tuple(s) if isinstance(s, list) else s for s in steps),
            "report": lambda what: fake.report(fake.messages[-1]["sid"], *what),
            "messages": lambda _: getattr(fake, "messages", None) or getattr(fake, "events", []),
            "problems": lambda _: fake.problems,
        }
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            print(json.dumps(commands[word](json.loads(rest or "null"))), flush=True)


def ask(url, fields=None, headers=None):
    """(status, text); status 0 where no answer came."""
    data = urllib.parse.urlencode(fields).encode() if isinstance(fields, dict) else fields
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def try_kannel():
    with Kannel() as kannel:
        texts = ["Åsa: 3 > 2 [€]", "two\nlines", "x" * 159 + "€" + "y" * 200, "Łódź " * 13 + "x😀" + "Łódź " * 13]
        for text in texts:
            coding = "2" if "Ł" in text else "0"
            fields = {"username": kannel.USER, "password": kannel.PASSWORD, "to": "+46700000001", "text": text}
            query = urllib.parse.urlencode({**fields, "charset": "UTF-8", "coding": coding})
            status, said = ask(f"{kannel.url}?{query}")
            assert status == 202 and said.startswith("0:"), (status, said)
        eventually("all texts at the SMSC", lambda: len(kannel.messages()) == len(texts), 10)
        assert kannel.messages() == [["+46700000001", text] for text in texts], kannel.messages()
    print("Kannel: texts of every kind arrive as they were")


def try_twilio():
    with FakeTwilio(clock_off_s=3600) as twilio:
        root = f"{twilio.url}/2010-04-01/Accounts/{twilio.account}/Messages.json"
        both = base64.b64encode(f"{twilio.account}:{twilio.token}".encode()).decode()
        headers = {"Authorization": f"Basic {both}"}
        fields = {"To": "+46700000001", "From": "+15005550006", "Body": "hello"}
        assert ask(root, fields)[0] == 401
        status, said = ask(root, fields, headers)
        assert status == 201 and json.loads(said)["status"] == "queued"
        twilio.script.extend([(400, {"code": 21614}), "take and drop", "drop", "take and 500", "stall"])
        assert [ask(root, fields, headers)[0] for _ in range(5)] == [400, 0, 0, 500, 0]
        page = json.loads(ask(f"{root}?To=%2B46700000001&PageSize=2", None, headers)[1])
        assert len(page["messages"]) == 2 and page["next_page_uri"], page
        assert not twilio.problems and len(twilio.messages) == 3
        ask(root, {"To": "0701", "Body": ""}, headers)
        assert len(twilio.problems) == 3, twilio.problems
    print("Twilio's stand-in: takes, refuses, and keeps to its script")


def try_pagerduty():
    with FakePagerDuty() as pagerduty:
        event = {"routing_key": pagerduty.routing_key, "event_action": "trigger", "dedup_key": "a/INC-1"}
        event["payload"] = {"summary": "calls blocked", "source": "a", "severity": "critical"}
        headers = {"Content-Type": "application/json"}
        assert ask(pagerduty.url, json.dumps(event).encode(), headers)[0] == 202
        assert pagerduty.alerts == {"a/INC-1": "calls blocked"} and not pagerduty.problems
        event["event_action"] = "resolve"
        assert ask(pagerduty.url, json.dumps(event).encode(), headers)[0] == 202
        assert not pagerduty.alerts
        assert ask(pagerduty.url, b"{}", headers)[0] == 400 and pagerduty.problems
    print("PagerDuty's stand-in: opens, resolves, and refuses what breaks its schema")


def main():
    match sys.argv[1:]:
        case ["kannel"]:
            return serve_kannel()
        case ["twilio", clock_off_s]:
            return serve_fake(FakeTwilio(clock_off_s=int(clock_off_s)))
        case ["pagerduty"]:
            return serve_fake(FakePagerDuty())
    try_twilio()
    try_pagerduty()
    try_kannel()


if __name__ == "__main__":
    main()
