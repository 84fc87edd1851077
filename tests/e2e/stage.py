"""What the end-to-end scripts share: a folder, free ports, a running `ringfence serve`, and the end of all that.

A script ends with 0 when all is well, 1 when not, and 77 when it cannot run here; then its last line says why.
"""
import contextlib, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

PROJECT = pathlib.Path(__file__).resolve().parents[2]
RINGFENCE = os.environ.get("RINGFENCE", str(PROJECT / "target/release/ringfence"))
SHARED = pathlib.Path(os.environ.get("RINGFENCE_SHARED", PROJECT / "../shared"))


def cannot_run(why):
    print(why)
    sys.exit(77)


if not os.access(RINGFENCE, os.X_OK):
    raise SystemExit(f"no program at {RINGFENCE}: run `cargo build --release`, or name one in RINGFENCE")


def need(command):
    path = shutil.which(command)
    if path is None:
        cannot_run(f"{command} is not installed")
    return path


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def get_json(url):
    return json.loads(get(url))


def wait_for(what, test, seconds=30):
    """Asks until the answer is true; gives it back. An error counts as not yet."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            answer = test()
            if answer:
                return answer
        except (OSError, ValueError, KeyError, IndexError) as e:
            last = e
        time.sleep(0.1)
    raise SystemExit(f"waited {seconds} s in vain for {what}" + (f": {last}" if last else ""))


def ringfence(*args, check=True, **more):
    done = subprocess.run([RINGFENCE, *map(str, args)], capture_output=True, text=True, timeout=240, **more)
    if check and done.returncode != 0:
        raise SystemExit(f"ringfence {' '.join(map(str, args))}: exit code {done.returncode}\n{done.stderr}")
    return done


def lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


class Stage:
    """A temporary folder with programs running in it; all of them end with the `with` block."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ringfence-e2e-"))
        self.programs = []
        return self

    def __exit__(self, kind, error, trace):
        for name, program in reversed(self.programs):
            self.end(program)
            if error is not None and not (isinstance(error, SystemExit) and error.code in (0, 77)):
                log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
                print(f"--- the last lines of {name}:", *log[-30:], sep="\n", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        program = subprocess.Popen([str(c) for c in command], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        self.programs.append((name, program))
        return program

    def end(self, program, seconds=15):
        """Asks it to stop; how it ended."""
        if program.poll() is None:
            program.send_signal(signal.SIGTERM)
            try:
                program.wait(seconds)
            except subprocess.TimeoutExpired:
                # Processes of its own would outlive it.
                children = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
                program.kill()
                program.wait()
                for child in map(int, children):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
        return program.returncode

    def serve(self, rules, feed="", more=""):
        """A service with these rules, one feed on `self.feed_port` and violations in `violations.ndjson`."""
        self.feed_port, self.metrics_port, http_port = free_port(), free_port(), free_port()
        self.write("rules/ruleset.toml", rules)
        self.violations = self.folder / "violations.ndjson"
        config = self.write("ringfence.toml", f"""
rules = "rules"
[[feed]]
name = "gateway"
listen = "127.0.0.1:{self.feed_port}"
{feed or 'format = "ndjson"'}
[http]
listen = "127.0.0.1:{http_port}"
[metrics]
listen = "127.0.0.1:{self.metrics_port}"
[output]
violations = "{self.violations}"
{more}
""")
        program = self.start("serve", RINGFENCE, "serve", "--config", config)

        def ready():
            if program.poll() is not None:
                raise SystemExit(f"serve ended at once, exit code {program.returncode}")
            return self.metrics()
        wait_for("serve to answer on its metrics port", ready)
        return program

    def metrics(self):
        return get(f"http://127.0.0.1:{self.metrics_port}/metrics")

    def metric(self, name):
        """The sum of a metric over its labels."""
        rows = [line.rsplit(" ", 1) for line in self.metrics().splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(value) for _, value in rows)

    def send(self, *args):
        return ringfence("send", "--to", f"127.0.0.1:{self.feed_port}", *args)
