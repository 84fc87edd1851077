"""Mail servers to send to: Postfix, its smtp-sink, and a sink that does as it is told at every step.

    with Sink() as sink:
        sink.plan("rcpt", "450 4.2.0 greylisted", "250 ok")      # the next two times; then it goes well again
        sink.always("dot", DROP)                                  # until told otherwise
        ...
        sink.received                                             # every mail that came whole, with its answer

    with Postfix(stage) as postfix: ... postfix.arrived() ... postfix.stop() ... postfix.start()
    with SmtpSink(stage) as fast: ...

As a program, `mailservers.py sink|postfix|smtp-sink`, it starts one, says where on standard output, and does what lines
of JSON on standard input say until they end: {"plan": ["rcpt", "450 no"]}, {"always": ["dot", "drop"]}, {"stop": []},
{"start": 1}, {"received": 1}. It answers each with a line: what was received.
"""
import asyncio, collections, contextlib, email, email.policy, json, logging, os, pathlib, re, shutil, signal, smtplib
import ssl, subprocess, sys, threading, time

from stage import Stage, cannot_run, free_port, need, wait_for

# Instead of an answer. The kept ones take the mail and then do not say so.
DROP, SILENT, KEEP_DROP, KEEP_SILENT = "drop", "silent", "keep-drop", "keep-silent"

# kept: it counts as taken, whatever the sender was told. answer: what that was; empty: nothing.
Received = collections.namedtuple(
    "Received", "message_id delivery incident subject sender recipient time text answer kept")


def usr_of(command):
    """The folder `usr` that a command of Debian stands in, installed or unpacked."""
    return pathlib.Path(need(command)).resolve().parents[1]


def environment(usr):
    """What was unpacked brings its libraries along."""
    if usr == pathlib.Path("/usr"):
        return dict(os.environ)
    folders = [usr / "lib/x86_64-linux-gnu", usr / "lib/aarch64-linux-gnu", usr / "lib/postfix"]
    paths = [str(f) for f in folders if f.is_dir()] + [p for p in [os.environ.get("LD_LIBRARY_PATH")] if p]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(paths)}


def aiosmtpd():
    try:
        import aiosmtpd.smtp
    except ImportError:
        path = shutil.which("aiosmtpd")
        if path is None:
            cannot_run("aiosmtpd is not installed")
        sys.path.append(str(pathlib.Path(path).resolve().parents[1] / "lib/python3/dist-packages"))
        import aiosmtpd.smtp
    # Every connection that breaks, as they are told to, would be a line of its log.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    return aiosmtpd.smtp


def certificate(folder, name="localhost"):
    """A certificate that vouches for itself, and its key: two files."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    return cert, key


def received(raw, sender, recipient, when, answer, kept):
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    body = mail.get_body(("plain",))
    said = lambda name: str(mail.get(name, ""))
    return Received(said("Message-ID"), said("X-Ringfence-Delivery"), said("X-Ringfence-Incident"), said("Subject"),
                    sender, recipient, when, body.get_content() if body else "", answer, kept)


class Sink:
    """A server on loopback, in a thread of its own. `tls`: None, "starttls" or "implicit", with `files` (certificate,
    key); `login`: the only (user, password) that is let in."""

    STEPS = ("greeting", "ehlo", "mail", "rcpt", "data", "dot")

    def __init__(self, port=None, tls=None, files=None, login=None):
        self.port, self.tls, self.login = port or free_port(), tls, login
        self.received, self.n_connections = [], 0
        self.plans, self.rules = collections.defaultdict(collections.deque), {}
        self.lock = threading.Lock()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*files)

    def plan(self, step, *acts):
        assert step in self.STEPS, step
        with self.lock:
            self.plans[step].extend(acts)

    def always(self, step, act):
        """None: it goes well again."""
        assert step in self.STEPS, step
        with self.lock:
            self.rules[step] = act

    def act(self, step):
        with self.lock:
            return self.plans[step].popleft() if self.plans[step] else self.rules.get(step)

    @property
    def taken(self):
        return [mail for mail in list(self.received) if mail.kept]

    def start(self):
        server_of = _server(aiosmtpd())
        started = threading.Event()

        def run():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
            self.loop.set_exception_handler(lambda loop, context: None)
            implicit = self.context if self.tls == "implicit" else None
            listening = self.loop.create_server(lambda: server_of(self), "127.0.0.1", self.port, ssl=implicit)
            server = self.loop.run_until_complete(listening)
            started.set()
            self.loop.run_forever()
            server.close()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.close()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        if not started.wait(10):
            raise SystemExit(f"the sink does not listen on port {self.port}")
        return self

    def stop(self):
        """Nobody listens any more, and open connections break. `start` again: on the same port, what came is kept."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _server(smtp):
    """The class of a connection; made late, since aiosmtpd may be missing."""

    class Server(smtp.SMTP):
        def __init__(self, sink):
            more = {}
            if sink.login:
                good = tuple(part.encode() for part in sink.login)
                check = lambda server, session, envelope, mechanism, data: smtp.AuthResult(
                    success=(data.login, data.password) == good, handled=False)
                more = {"authenticator": check, "auth_required": True, "auth_require_tls": sink.tls == "starttls"}
            starttls = sink.context if sink.tls == "starttls" else None
            super().__init__(self, hostname="sink.test", tls_context=starttls, require_starttls=bool(starttls),
                             enable_SMTPUTF8=True, **more)
            self.sink = sink

        async def planned(self, step):
            """True: it was answered, or is not going to be."""
            act = self.sink.act(step)
            if act is None or act.startswith("2") and step != "dot":
                return False
            if act in (DROP, KEEP_DROP):
                self.transport.close()
            if act in (DROP, SILENT, KEEP_DROP, KEEP_SILENT):
                await asyncio.sleep(3600)
            await self.push(act)
            return True

        async def _handle_client(self):
            self.sink.n_connections += 1
            if await self.planned("greeting"):
                self.transport.close()
            else:
                await super()._handle_client()

        async def smtp_EHLO(self, hostname):
            if not await self.planned("ehlo"):
                await super().smtp_EHLO(hostname)

        async def smtp_MAIL(self, arg):
            if not await self.planned("mail"):
                await super().smtp_MAIL(arg)

        async def smtp_RCPT(self, arg):
            if not await self.planned("rcpt"):
                await super().smtp_RCPT(arg)

        async def smtp_DATA(self, arg):
            if not await self.planned("data"):
                await super().smtp_DATA(arg)

        async def handle_DATA(self, server, session, envelope):
            act = self.sink.act("dot")
            if act is None:
                act = f"250 2.0.0 Ok: queued as S{len(self.sink.received) + 1:06}"
            kept = act.startswith("2") or act in (KEEP_DROP, KEEP_SILENT)
            answer = "" if act in (DROP, SILENT, KEEP_DROP, KEEP_SILENT) else act
            for recipient in envelope.rcpt_tos:
                self.sink.received.append(
                    received(envelope.content, envelope.mail_from, recipient, time.time(), answer, kept))
            if act in (DROP, KEEP_DROP):
                self.transport.close()
            if not answer:
                await asyncio.sleep(3600)
            return act

    return Server


MAIN_CF = """compatibility_level = 3.7
daemon_directory = {usr}/lib/postfix/sbin
command_directory = {usr}/sbin
shlib_directory = {usr}/lib/postfix
meta_directory = {folder}/conf
queue_directory = {folder}/spool
data_directory = {folder}/data
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
mail_owner = mail
setgid_group = uucp
default_privs = nobody
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
virtual_mailbox_domains = static:all
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {{ canary@box.test = canary/ }} }}, static:everybody/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{
  {{ unknown@box.test = REJECT no such person }}, {{ greylisted@box.test = DEFER come again }} }}, permit
{tls}{more}
"""

MASTER_CF = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Debian's, with settings and queues of its own below the stage's folder. It takes mail for every address and
    delivers it into Maildirs: `canary@box.test` into its own, all else into one. `unknown@box.test` is refused,
    `greylisted@box.test` for now."""

    def __init__(self, stage, port=None, files=None, more=""):
        usr = usr_of("postconf")
        if os.getuid() != 0:
            cannot_run("Postfix starts only as root")
        self.port, self.environment, self.program = port or free_port(), environment(usr), None
        self.master = usr / "lib/postfix/sbin/master"
        self.postqueue = usr / "sbin/postqueue"
        self.folder = stage.folder / f"postfix-{self.port}"
        # Its processes run as others and look below.
        stage.folder.chmod(0o755)
        tls = f"smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = {files[1]}, {files[0]}\n" if files else ""
        nobody = 65534
        for name in ["conf", "data", "mail", "spool"]:
            (self.folder / name).mkdir(parents=True)
        (self.folder / "conf/main.cf").write_text(
            MAIN_CF.format(usr=usr, folder=self.folder, uid=nobody, gid=nobody, tls=tls, more=more))
        (self.folder / "conf/master.cf").write_text(MASTER_CF.format(port=self.port))
        os.chown(self.folder / "mail", nobody, nobody)
        shutil.chown(self.folder / "data", "mail")
        self.make_queues()

    def make_queues(self):
        modes = {"public": 0o710, "maildrop": 0o730, "pid": 0o755}
        names = "active bounce corrupt defer deferred flush hold incoming private maildrop public pid saved trace"
        for name in names.split():
            path = self.folder / "spool" / name
            path.mkdir()
            if name != "pid":
                shutil.chown(path, "mail", "uucp" if name in ("public", "maildrop") else None)
            path.chmod(modes.get(name, 0o700))

    def start(self):
        log = open(self.folder / "master.log", "ab")
        self.program = subprocess.Popen(
            [self.master, "-c", self.folder / "conf", "-d"], cwd=self.folder, env=self.environment,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        wait_for("Postfix to listen", self.listens)
        return self

    def listens(self):
        if self.program.poll() is not None:
            log = self.folder / "maillog"
            said = log.read_text().splitlines()[-5:] if log.exists() else ["no log"]
            raise SystemExit("Postfix ended at once:\n" + "\n".join(said))
        with contextlib.suppress(smtplib.SMTPException), smtplib.SMTP("127.0.0.1", self.port, timeout=5) as client:
            return client.noop()[0] == 250

    def stop(self, how=signal.SIGTERM):
        """SIGKILL: with all of its processes, at once."""
        if self.program and self.program.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if how == signal.SIGKILL:
                    os.killpg(self.program.pid, how)
                else:
                    self.program.send_signal(how)
            self.program.wait(15)

    def inbox(self, name="everybody"):
        """Its Maildir; there before the first mail, so that one can look into it."""
        path = self.folder / "mail" / name
        for below in [path, *(path / part for part in ("tmp", "new", "cur"))]:
            below.mkdir(exist_ok=True)
            os.chown(below, 65534, 65534)
        return path

    def arrived(self, name="everybody"):
        """What it delivered; `answer` has the number it gave. What it has delivered twice since it was killed in between
        has one number and counts once: that is its own doing."""
        found, numbers = [], set()
        inbox = self.inbox(name)
        for path in sorted([*inbox.glob("new/*"), *inbox.glob("cur/*")]):
            raw = path.read_bytes()
            head = email.message_from_bytes(raw, policy=email.policy.compat32)
            sender = head.get("Return-Path", "").strip("<>")
            recipient = head.get("X-Original-To", head.get("Delivered-To", ""))
            number = re.search(r"\bid (\w+)", head.get("Received", ""))
            number = number.group(1) if number else path.name
            if (number, recipient) not in numbers:
                numbers.add((number, recipient))
                answer = f"queued as {number}"
                found.append(received(raw, sender, recipient, path.stat().st_mtime, answer, True))
        return found

    def queued(self):
        """What it took and did not deliver yet."""
        told = subprocess.run([self.postqueue, "-c", self.folder / "conf", "-j"], env=self.environment,
                              capture_output=True, text=True, timeout=20, check=True)
        return [json.loads(line) for line in told.stdout.splitlines()]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class SmtpSink:
    """Postfix's own load sink: takes everything as fast as it comes. `keeps`: and writes each mail to a file."""

    def __init__(self, stage, port=None, keeps=False):
        self.stage, self.port = stage, port or free_port()
        self.usr, self.folder = usr_of("smtp-sink"), stage.folder / f"smtp-sink-{self.port}"
        self.folder.mkdir()
        self.keeps = keeps

    def start(self):
        log = open(self.folder / "log", "ab")
        keep = ["-d", f"{self.folder}/mail."] if self.keeps else []
        user = ["-u", "root"] if os.getuid() == 0 else []
        self.program = subprocess.Popen(
            [self.usr / "sbin/smtp-sink", *user, *keep, f"127.0.0.1:{self.port}", "1000"],
            env=environment(self.usr), stdout=log, stderr=subprocess.STDOUT)

        def listens():
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5) as client:
                return client.noop()[0] == 250
        wait_for("smtp-sink to listen", listens)
        return self

    @property
    def received(self):
        found = []
        for path in sorted(self.folder.glob("mail.*")):
            raw = path.read_bytes()
            head = email.message_from_bytes(raw, policy=email.policy.compat32)
            bare = lambda name: head.get(name, "").strip("<> ").split(">")[0]
            if head.get("X-Rcpt-Args"):
                found.append(received(raw, bare("X-Mail-Args"), bare("X-Rcpt-Args"), path.stat().st_mtime, "250", True))
        return found

    def stop(self):
        self.program.terminate()
        self.program.wait(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def serve(kind):
    """The program: see the top."""
    with Stage() as stage, contextlib.ExitStack() as ends:
        files = certificate(stage.folder)
        stage.folder.chmod(0o755)
        kinds = {
            "sink": lambda: Sink(),
            "sink-starttls": lambda: Sink(tls="starttls", files=files, login=("ringfence", "hunter2")),
            "sink-implicit": lambda: Sink(tls="implicit", files=files),
            "postfix": lambda: Postfix(stage),
            "postfix-tls": lambda: Postfix(stage, files=files),
            "smtp-sink": lambda: SmtpSink(stage),
        }
        server = ends.enter_context(kinds[kind]())
        inbox = str(server.inbox("canary")) if kind.startswith("postfix") else ""
        print(json.dumps({"port": server.port, "certificate": str(files[0]), "inbox": inbox}), flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            if "plan" in order:
                server.plan(*order["plan"])
            if "always" in order:
                server.always(*order["always"])
            if "stop" in order:
                server.stop(*order["stop"])
            if "start" in order:
                server.start()
            mails = server.arrived() if kind.startswith("postfix") else server.received
            rows = [mail._asdict() for mail in mails] if "received" in order else []
            print(json.dumps({"received": rows}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
