"""Telephones made of SIPp: short scripts of calls, played through a proxy, and SIPp's own count of what was sent and came.

A script is a line a step, as its telephone sees it: `> INVITE` sends a request, `> 486 INVITE` an answer to one, `< 200`
waits for a message, `< 180 ?` lets one come or not, `wait 300` lets milliseconds pass. Words behind a request: `login`
answers a challenge, `login-wrong` with another password, and `hunt`, `fork`, `quiet` are for the proxy (proxy.cfg).
`= end busy` behind a step says what it means to a listener: how often SIPp counted each of these steps is what the
listener must have found.
"""
import collections, csv, pathlib, random, socket, struct, subprocess, threading, time
from xml.sax.saxutils import quoteattr

from stage import PROJECT, cannot_run, need, wait_for

HOST = "127.0.0.1"
DOMAIN = "phones.example"
# Of the telephones, and of the agents that copy what they say.
SECRET, KEY = "correct-horse", "battery-staple"
SDP = f"""Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 {HOST}
s=-
c=IN IP4 {HOST}
t=0 0
m=audio 6000 RTP/AVP 0
"""
EMPTY = "Content-Length: 0\n\n"
REASONS = {180: "Ringing", 200: "OK", 404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here",
           487: "Request Terminated", 488: "Not Acceptable Here", 503: "Service Unavailable", 603: "Decline"}
# What a callee keeps of an INVITE, for answers after a CANCEL came: Via, From, Call-ID, CSeq and To, in the caller's order.
KEPT = '<ereg regexp="Via: .*To: [^&gt;]*&gt;" search_in="msg" assign_to="kept"/>' \
    '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="peer"/>'


# Below those that the kernel gives to whoever does not ask for one, in an order of this run.
PORTS = iter(random.sample(range(12000, 32000), 20000))
RETRANS = ' retrans="500"'


def free_port():
    """One that nobody has, over UDP and TCP; never the same twice."""
    for port in PORTS:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((HOST, port))
                udp.bind((HOST, port))
            except OSError:
                continue
            return port


class CallsFailed(Exception):
    """SIPp's own calls did not go as written, as happens where the machine stood still: there is nothing to compare."""


class Script:
    """A script as a scenario of SIPp, of a telephone that calls or of one that is called at one of `targets`."""

    def __init__(self, name, text, number, calls, targets):
        self.name, self.calls, self.targets = name, calls, targets
        # Of one length up to the number of the call: no caller is the beginning of another's number.
        self.caller, self.callee = f"+46701{number:02}00[call_number]", f"+468400{number:02}"
        self.xml, self.meanings = [], {}
        self.cseq, self.invite, self.asked = 0, (0, 0), None
        for line in filter(None, map(str.strip, text.splitlines())):
            step, _, meaning = (part.strip() for part in line.partition("="))
            sign, what, *words = step.split()
            {">": self.send, "<": self.receive, "wait": self.let_pass}[sign](what, words)
            if meaning:
                self.meanings[len(self.xml) - 1] = meaning

    def scenario(self):
        known = "" if "kept" not in "".join(self.xml) else '<Reference variables="kept,peer"/>'
        return f'<?xml version="1.0"?>\n<scenario name="{self.name}">\n' + "\n".join(self.xml) + f"\n{known}\n</scenario>\n"

    def let_pass(self, milliseconds, _):
        self.xml.append(f'<pause milliseconds="{milliseconds}"/>')

    def receive(self, what, words):
        kind = "response" if what.isdigit() else "request"
        more = ' optional="true"' if "?" in words else ' timeout="20000"'
        more += ' auth="true"' if what in ("401", "407") else ""
        more += ' rrs="true"' if what == "INVITE" or (what, self.asked) == ("200", "INVITE") else ""
        action = f"<action>{KEPT}</action>" if what == "INVITE" else ""
        self.xml.append(f"<recv {kind}={quoteattr(what)}{more}>{action}</recv>")

    def send(self, what, words):
        text = self.answer(int(what), words[0]) if what.isdigit() else self.request(what, words)
        # What waits for something in return is sent again until it comes.
        once = what.isdigit() and (what, words[0]) != ("200", "INVITE") or what.startswith("ACK")
        self.xml.append(f'<send{"" if once else RETRANS}><![CDATA[\n{text}]]></send>')

    def answer(self, code, method):
        head = f"SIP/2.0 {code} {REASONS[code]}\n"
        if method == "INVITE":
            head += "[$kept];tag=[pid]b[call_number]\n[last_Record-Route:]\n"
        else:
            head += "[last_Via:]\n[last_From:]\n[last_Call-ID:]\n[last_CSeq:]\n[last_To:]\n"
        head += f"Contact: <sip:{self.callee}@{HOST}:[local_port]>\n"
        return head + (SDP if (code, method) == (200, "INVITE") else EMPTY)

    def request(self, what, words):
        method = {"REINVITE": "INVITE", "ACK-REFUSAL": "ACK"}.get(what, what)
        self.asked = method
        n_back = len(self.xml) - self.invite[0]
        branch = f"[branch-{n_back}]" if what in ("CANCEL", "ACK-REFUSAL") else "[branch]"
        if method not in ("ACK", "CANCEL"):
            self.cseq += 1
        if method == "INVITE":
            self.invite = (len(self.xml), self.cseq)
        within = what in ("ACK", "BYE", "REINVITE")
        uri = "[next_url]" if within else self.uri(self.targets[0])
        head = f"{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP {HOST}:[local_port];branch={branch}\n"
        caller, callee = f"<sip:{self.caller}@{DOMAIN}>", f"<sip:{self.callee}@{DOMAIN}>"
        cseq = self.invite[1] if method in ("ACK", "CANCEL") else self.cseq
        head += f"From: {caller};tag=[pid]a[call_number]\n" if self.calls else f"From: {callee};tag=[pid]b[call_number]\n"
        head += f"Call-ID: [call_id]\nCSeq: {cseq} {method}\n"
        if not self.calls:
            head += "To:[$peer]\n"
        else:
            known = "[peer_tag_param]" if within or what == "ACK-REFUSAL" else ""
            head += f"To: {caller if method == 'REGISTER' else callee}{known}\n"
        head += "Max-Forwards: 70\nUser-Agent: sipp\n" + "".join(self.header(word) for word in words)
        head += "[routes]\n" if within else ""
        head += f"Contact: <sip:{self.caller if self.calls else self.callee}@{HOST}:[local_port]>\n"
        return head + (SDP if method == "INVITE" else EMPTY)

    def uri(self, port):
        return f"sip:{self.callee}@{HOST}:{port}"

    def header(self, word):
        if word.startswith("login"):
            return f"[authentication username={self.name} password={SECRET if word == 'login' else 'guessed'}]\n"
        return {"hunt": f"X-Hunt: {self.uri(self.targets[-1])}\n", "fork": f"X-Fork: {self.uri(self.targets[-1])}\n",
                "quiet": "X-Quiet: yes\n", "impatient": "X-Impatient: yes\n", "secure": "X-Login: yes\n",
                "refuse": "X-Refuse: yes\n"}[word]


class Phones:
    """SIPp processes on a stage: those that are called wait, those that call go through the proxy."""

    def __init__(self, stage, n_calls, rate):
        self.stage, self.n_calls, self.rate = stage, n_calls, rate
        self.sipp = need("sipp")
        self.callees, self.callers, self.sent_again = {}, [], 0

    def called(self, name, text, number):
        """A telephone that waits to be called."""
        script = Script(f"called-{name}", text, number, False, [])
        port = free_port()
        self.start(script, port)
        self.callees[name] = port

    def call(self, name, text, number, proxy, callees):
        script = Script(f"calls-{name}", text, number, True, [self.callees[c] for c in callees] or [proxy])
        program = self.start(script, free_port(), f"{HOST}:{proxy}", "-m", self.n_calls, "-r", self.rate)
        self.callers.append((script, program))

    def start(self, script, port, *more):
        path = self.stage.write(f"{script.name}.xml", script.scenario())
        return self.stage.start(script.name, self.sipp, "-sf", path, "-i", HOST, "-p", port, "-cp", free_port(),
                                "-nostdin", "-watchdog_interval", 0, "-timeout", 50, "-timeout_error",
                                "-trace_stat", "-trace_counts", "-trace_err", "-fd", 1, *more)

    def finish(self, seconds=55):
        """Waits until all calls were made; what they mean to a listener, by SIPp's counts."""
        meant, end = collections.Counter(), time.monotonic() + seconds
        for script, program in self.callers:
            try:
                code = program.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                code = None
            if code != 0:
                errors = "".join(path.read_text() for path in self.stage.folder.glob(f"{script.name}_*_errors.log"))
                raise CallsFailed(f"sipp {script.name}: exit code {code}\n{errors[:2000]}")
            counts = self.last_row(f"{script.name}_{program.pid}_counts.csv")
            stat = self.last_row(f"{script.name}_{program.pid}_.csv")
            assert int(stat["SuccessfulCall(C)"]) == self.n_calls and int(stat["FailedCall(C)"]) == 0, (script.name, stat)
            self.sent_again += sum(int(n) for column, n in counts.items() if (column or "").endswith("_Retrans"))
            for step, meaning in script.meanings.items():
                meant[meaning] += next(int(n) for column, n in counts.items() if column
                                       and column.startswith(f"{step}_") and column.endswith(("_Sent", "_Recv")))
        return meant

    def last_row(self, name):
        with open(self.stage.folder / name, newline="") as file:
            return list(csv.DictReader(file, delimiter=";"))[-1]


class Tap:
    """Takes HEP over TCP and passes the SIP in it on, bare, as a mirror of the wire would: a datagram a message, or a stream."""

    def __init__(self, transport, port):
        self.out = socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.out.connect((HOST, port))
        # Messages of several connections must not be mixed.
        self.one_at_a_time = threading.Lock()
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.pass_on, args=(connection.makefile("rb"),), daemon=True).start()

    def pass_on(self, stream):
        while header := stream.read(6):
            magic, length = struct.unpack(">4sH", header)
            assert magic == b"HEP3", header
            packet = stream.read(length - 6)
            while packet:
                vendor, kind, length = struct.unpack(">HHH", packet[:6])
                if (vendor, kind) == (0, 0x0f):
                    with self.one_at_a_time:
                        self.out.sendall(packet[6:length])
                packet = packet[length:]


def proxy(stage, name, copies_to, next_hop=None):
    """A Kamailio that copies all SIP as HEP with KEY to e.g. `127.0.0.1:9060;transport=tcp`; its port."""
    kamailio = need("kamailio")
    libraries = pathlib.Path(kamailio).resolve().parents[1] / "lib"
    modules = next(libraries.glob("*/kamailio/modules"), None)
    if modules is None:
        cannot_run(f"no modules of kamailio under {libraries}")
    port = free_port()
    run = stage.folder / f"{name}-run"
    run.mkdir()
    given = {"RINGFENCE_HEP": f'"sip:{copies_to}"', "LISTEN_UDP": f"udp:{HOST}:{port}", "LISTEN_TCP": f"tcp:{HOST}:{port}",
             "MODULES": f'"{modules}"', "SECRET": f'"{SECRET}"', "RINGFENCE_KEY": f'"{KEY}"',
             "ACC_FOLDER": f'"flatstore:{run}"'}
    if next_hop is not None:
        given["NEXT_HOP"] = f'"sip:{HOST}:{next_hop}"'
    defines = [word for key, value in given.items() for word in ("-A", f"{key}={value}")]
    program = stage.start(name, kamailio, "-f", PROJECT / "tests/e2e/proxy.cfg", "-DD", "-E", "-m", 64, "-M", 8, "-Y", run,
                          *defines)

    def ready():
        assert program.poll() is None, f"kamailio ended at once, exit code {program.returncode}"
        return socket.create_connection((HOST, port), 1).close() is None
    wait_for("kamailio to accept connections", ready)
    return port
