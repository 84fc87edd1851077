"""A service that can be killed at any moment, and gateways that keep what is not acknowledged and send it again.

The gateways of a run take turns, a slice of events each, and the next begins when what came before is judged: so the
order of all events is the same in every run, whatever happens in between.
"""
import collections, ctypes, json, os, pathlib, re, select, signal, socket, subprocess, threading, time

from stage import RINGFENCE

READY = re.compile(rb'ringfence is ready feeds=\[(.*?)\] http=.*? metrics=(?:Some\(([\d.:]+)\)|None)')
FEED = re.compile(rb'\("([\w-]+)", 127\.0\.0\.1:(\d+)\)')

# A reply that takes longer does not come at all.
PATIENCE_S = 120


class Killed(Exception):
    """The service was killed, as planned."""


# Of Linux' inotify: a file was made, or got its name.
IN_MOVED_TO, IN_CREATE = 0x80, 0x100


class Trap:
    """Kills a program as soon as so many files have appeared in a folder, in the midst of whatever goes with that."""

    def __init__(self, service, folder, n_files):
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init()
        if self.watch < 0 or libc.inotify_add_watch(self.watch, os.fsencode(folder), IN_MOVED_TO | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
        self.service, self.program, self.n_files, self.over = service, service.program, n_files, False
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def wait(self):
        n_seen = 0
        while not self.over:
            while self.service.spared and not self.over:
                time.sleep(0.001)
            if not select.select([self.watch], [], [], 0.05)[0]:
                continue
            came = os.read(self.watch, 4096)
            # Each entry: 12 bytes, the length of a name, and that.
            at = 0
            while at < len(came):
                n_seen, at = n_seen + 1, at + 16 + int.from_bytes(came[at + 12:at + 16], "little")
            if n_seen >= self.n_files and not self.service.spared:
                self.program.send_signal(signal.SIGKILL)
                self.over = True

    def end(self):
        self.over = True
        self.thread.join()
        os.close(self.watch)


class Service:
    """`ringfence serve` in a folder that holds its settings; may be started and killed again and again."""

    def __init__(self, folder):
        self.folder, self.program, self.kill_at, self.trap, self.n_starts = pathlib.Path(folder), None, None, None, 0
        self.journal = self.folder / "data/journal"
        # Segments that the service lets go of stay here.
        self.kept = self.folder / "kept"
        self.kept.mkdir(exist_ok=True)
        self.looked_at = 0.0
        # While something is under way that nobody could send again.
        self.spared = False

    def log(self):
        return (self.folder / f"serve-{self.n_starts}.log").read_bytes()

    def start(self, kill_after=None, trap=None, seconds=PATIENCE_S):
        """Starts it and waits until it accepts; `kill_after` so many seconds it is killed, then or later, or when
        `trap`, a folder of its data and a number of files, says so."""
        self.n_starts += 1
        with open(self.folder / f"serve-{self.n_starts}.log", "wb") as log:
            command = [RINGFENCE, "serve", "--config", "ringfence.toml"]
            self.program = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        if trap is not None:
            self.trap = Trap(self, self.folder / "data" / trap[0], trap[1])
        begun = time.monotonic()
        self.kill_at = None if kill_after is None else begun + kill_after
        while True:
            ready = READY.search(re.sub(rb"\x1b\[[\d;]*m", b"", self.log()))
            if ready:
                self.ports = {name.decode(): int(port) for name, port in FEED.findall(ready[1])}
                self.metrics_address = ready[2] and ready[2].decode()
                return time.monotonic() - begun
            if self.program.poll() == -signal.SIGKILL:
                raise Killed
            if self.program.poll() is not None:
                raise RuntimeError(f"serve ended at its start, exit code {self.program.returncode}")
            if time.monotonic() - begun > seconds:
                raise RuntimeError(f"serve was not ready within {seconds} s")
            self.look()
            time.sleep(0.003)

    def look(self):
        """Kills it if it is time; keeps the segments of its journal, which it may let go of."""
        now = time.monotonic()
        if self.kill_at is not None and now >= self.kill_at and not self.spared:
            self.kill()
            raise Killed
        if now - self.looked_at > 0.02:
            self.looked_at = now
            self.keep_segments()
            if self.program.poll() == -signal.SIGKILL:
                raise Killed
            if self.program.poll() is not None:
                raise RuntimeError(f"serve ended by itself, exit code {self.program.returncode}")

    def keep_segments(self):
        for path in self.journal.glob("*.seg"):
            try:
                os.link(path, self.kept / path.name)
            except (FileExistsError, FileNotFoundError):
                pass

    def kill(self):
        self.program.send_signal(signal.SIGKILL)
        self.ended()

    def ended(self):
        """How it ended."""
        code = self.program.wait()
        if self.trap is not None:
            self.trap.end()
        self.kill_at, self.trap = None, None
        self.keep_segments()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.program is not None:
            self.kill()

    def stop(self, kill_after=None, seconds=PATIENCE_S):
        """Asks it to stop, and kills it on the way where that is asked for."""
        self.kill_at = None
        self.program.send_signal(signal.SIGTERM)
        try:
            self.program.wait(seconds if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            if kill_after is None:
                raise RuntimeError(f"serve did not stop within {seconds} s") from None
            self.kill()
        if self.ended() not in (0, -signal.SIGKILL):
            raise RuntimeError(f"serve stopped with exit code {self.program.returncode}")


class Lane:
    """One gateway. By what is replied: `ack` and `verdict` number their events and hear of them; `none` does not and is
    not told, but sends its last minutes again; a `tap` mirrors packets and cannot send anything again."""

    def __init__(self, name, feed, reply):
        self.name, self.feed, self.reply = name, feed, reply
        self.acked, self.sent, self.verdicts, self.rejected = 0, 0, {}, set()
        self.socket = None

    @property
    def numbers(self):
        return self.reply in ("ack", "verdict")

    def connect(self, service):
        """Says hello, and hears how much the service has of us."""
        self.socket = socket.create_connection(("127.0.0.1", service.ports[self.feed]), 5)
        self.unsent, self.came, self.n_told, self.n_due = collections.deque(), b"", 0, 0
        if self.reply == "tap":
            return
        hello = {"hello": {"gateway": self.name, "reply": self.reply}}
        self.socket.sendall(json.dumps(hello).encode() + b"\n")
        while b"\n" not in self.came:
            if not select.select([self.socket], [], [], 0.01)[0]:
                service.look()
                continue
            came = self.socket.recv(65536)
            if not came:
                raise ConnectionError("closed at the hello")
            self.came += came
        line, self.came = self.came.split(b"\n", 1)
        last_seq = json.loads(line)["welcome"]["last_seq"]
        if self.numbers and last_seq < self.acked:
            raise AssertionError(f"{self.name}: {self.acked} was acknowledged, and after the crash {last_seq} is held")
        if self.numbers and last_seq > self.sent:
            raise AssertionError(f"{self.name}: {last_seq} is held, and {self.sent} was sent")
        # What is held needs no acknowledgement any more.
        self.sent = self.acked = last_seq

    def read(self):
        came = self.socket.recv(1 << 20)
        if not came:
            raise EOFError
        *lines, self.came = (self.came + came).split(b"\n")
        for line in lines:
            if line.startswith(b'{"ack":'):
                acked = int(line[7:-1])
                if acked < self.acked:
                    raise AssertionError(f"{self.name}: acknowledged {acked} after {self.acked}")
                self.acked = acked
                continue
            self.n_told += 1
            if self.reply == "verdict" and not line.startswith(b'{"reject"'):
                told = json.loads(line)
                self.verdicts[told["seq"]] = told

    def is_settled(self):
        """Is all that was sent judged?"""
        if self.reply == "verdict":
            return self.n_told >= self.n_due
        return self.acked >= self.sent


def pump(service, lane, until):
    """Sends and reads until it is so."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not until():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{lane.name}: nothing is heard any more; acknowledged {lane.acked} of {lane.sent}, "
                               f"told {lane.n_told} of {lane.n_due}")
        readable, writable, _ = select.select([lane.socket], [lane.socket] if lane.unsent else [], [], 0.005)
        if readable:
            lane.read()
        if writable:
            n = lane.socket.send(lane.unsent[0][:1 << 16])
            lane.unsent[0] = lane.unsent[0][n:]
            if not lane.unsent[0]:
                lane.unsent.popleft()
        service.look()


def send_slice(service, lane, events):
    """Events are (seq, time, line)."""
    if lane.socket is None:
        lane.connect(service)
    if lane.numbers:
        events = [event for event in events if event[0] > lane.sent]
        if not events:
            return
        lane.sent, lane.n_due = events[-1][0], lane.n_due + len(events)
    lane.unsent.append(memoryview(b"".join(line for _, _, line in events)))
    pump(service, lane, lambda: not lane.unsent)


def settle(service, lane):
    """Waits until what the lane sent is judged."""
    if lane.socket is None:
        return
    if lane.numbers:
        pump(service, lane, lane.is_settled)
        return
    # Who is told nothing sees it by the end of the connection.
    lane.socket.shutdown(socket.SHUT_WR)
    try:
        pump(service, lane, lambda: False)
    except EOFError:
        lane.socket.close()
        lane.socket = None


def resend_from(slices, lanes, overlap_ms):
    """Where to go on: the first slice that is not wholly held. Who is told nothing sends its last minutes again, and
    all that came after the last that is known to be held."""
    held = [i for i, (lane, events) in enumerate(slices) if lane.numbers and events[-1][0] <= lane.sent]
    missing = [i for i, (lane, events) in enumerate(slices) if lane.numbers and events[-1][0] > lane.sent]
    first, last_held = min(missing, default=len(slices)), max(held, default=-1)
    if last_held > first:
        raise AssertionError(f"slice {first} is not held, but {last_held} is: the journal has a gap")
    if all(lane.reply != "none" for lane in lanes):
        # What a tap sent is held with the next that is acknowledged; behind that it has sent nothing.
        while first > 0 and slices[first - 1][0].reply == "tap":
            first -= 1
        return first
    since = slices[min(first, len(slices) - 1)][1][0][1] - overlap_ms
    overlap = min((i for i, (_, events) in enumerate(slices) if events[0][1] >= since), default=first)
    return min(overlap, last_held + 1)


def feed(service, slices, lanes, pace_s=0.0, overlap_ms=60_000):
    """Sends what is not held yet, slice by slice, until all of it is acknowledged."""
    for lane in lanes:
        lane.socket = None
    try:
        for lane in lanes:
            if lane.numbers:
                lane.connect(service)
        before = None
        begin = resend_from(slices, lanes, overlap_ms)
        for number, (lane, events) in enumerate(slices[begin:], start=begin):
            # In the first slices names are learned, and numbered as they come.
            if before is not None and (before is not lane or number <= len(lanes)):
                settle(service, before)
            service.spared |= lane.reply == "tap"
            send_slice(service, lane, events)
            if service.spared and lane.numbers:
                pump(service, lane, lambda: lane.acked >= lane.sent)
                service.spared = False
            before = lane
            until = time.monotonic() + pace_s
            while time.monotonic() < until:
                service.look()
                time.sleep(min(0.002, pace_s))
        for lane in lanes:
            settle(service, lane)
            if lane.numbers:
                pump(service, lane, lambda: lane.acked >= lane.sent)
    except (OSError, EOFError) as error:
        # It may have been killed between two looks.
        time.sleep(0.05)
        if service.program.poll() is None:
            raise RuntimeError(f"the service closed a connection: {error!r}") from error
        service.look()
        raise Killed from error
    finally:
        service.kill_at, service.spared = None, False
        for lane in lanes:
            if lane.socket is not None:
                lane.socket.close()
