"""A real rsyslog with TLS, for scripts that send it messages: `with SyslogServer(folder) as server`, then
`server.settings()` for `ringfence.toml` and `server.messages()` for what came, as fields."""
import json, os, pathlib, shutil, subprocess

from stage import cannot_run, need, wait_for

# As the server calls them.
FIELDS = {"pri": "pri", "version": "protocol-version", "time": "timereported", "host": "hostname", "app": "app-name",
          "process": "procid", "id": "msgid", "data": "structured-data", "text": "msg"}


def certificates(folder, names):
    """An authority `ca.pem`, and for each name a certificate and key of it."""
    openssl = need("openssl")

    def run(*args):
        done = subprocess.run([openssl, *map(str, args)], capture_output=True, text=True, cwd=folder, timeout=60)
        if done.returncode != 0:
            raise SystemExit(f"openssl {args[0]}: {done.stderr}")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "2")
    for name in names:
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
        run("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.pem")


class SyslogServer:
    """Asks every sender for a certificate of its own authority."""

    def __init__(self, folder):
        self.folder, self.program, self.port = pathlib.Path(folder), None, 0
        command = need("rsyslogd")
        self.libraries = pathlib.Path(command).resolve().parents[1] / "lib/x86_64-linux-gnu"
        if not (self.libraries / "rsyslog/lmnsd_gtls.so").exists():
            cannot_run("rsyslogd is there, and rsyslog-gnutls is not")
        self.command = [command, "-n", "-f", "rsyslog.conf", "-i", str(self.folder / "rsyslog.pid"), "-M",
                        str(self.libraries / "rsyslog")]
        self.folder.mkdir(parents=True, exist_ok=True)
        certificates(self.folder, ["localhost", "client"])

    def configure(self, port):
        at = self.folder
        as_time = lambda name: ' dateFormat="rfc3339"' if name == "timereported" else ""
        fields = ' constant(value=",") '.join(f'property(outname="{to}" name="{name}"{as_time(name)} format="jsonf")'
                                              for to, name in FIELDS.items())
        (at / "rsyslog.conf").write_text(f"""
global(workDirectory="{at}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{at}/ca.pem"
  defaultNetstreamDriverCertFile="{at}/localhost.pem" defaultNetstreamDriverKeyFile="{at}/localhost.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="fields" type="list") {{ constant(value="{{") {fields} constant(value="}}\\n") }}
input(type="imtcp" port="{port}" listenPortFileName="{at}/port" ruleset="all")
ruleset(name="all") {{ action(type="omfile" file="{at}/messages" template="fields") }}
""")

    def start(self):
        """The port stays the same over a stop and a new start."""
        self.configure(self.port)
        (self.folder / "port").unlink(missing_ok=True)
        paths = [str(self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        env = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths))}
        with open(self.folder / "rsyslog.log", "ab") as log:
            self.program = subprocess.Popen(self.command, cwd=self.folder, env=env, stdout=log, stderr=log)
        self.port = int(wait_for("rsyslogd to listen", lambda: (self.folder / "port").read_text().strip()))
        return self

    def stop(self):
        """Everything that it took is in its file then."""
        if self.program is not None:
            self.program.terminate()
            try:
                self.program.wait(10)
            except subprocess.TimeoutExpired:
                self.program.kill()
                self.program.wait()
        self.program = None

    __enter__ = start

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, more=""):
        """The chapter of `ringfence.toml` that reaches it."""
        at = self.folder
        return (f'[syslog]\naddress = "localhost:{self.port}"\nca_file = "{at}/ca.pem"\ncert_file = "{at}/client.pem"\n'
                f'key_file = "{at}/client.key"\n{more}\n')

    def messages(self):
        """What came so far, as fields by name; the data besides as a dictionary, `values`."""
        path = self.folder / "messages"
        found = []
        for line in path.read_text().splitlines() if path.exists() else []:
            message = json.loads(line)
            message["text"] = message["text"].removeprefix("\ufeff")
            message["values"] = values(message["data"])
            found.append(message)
        return found


def values(data):
    """Names and values of `[id name="value" ...]`."""
    found, at = {}, data.find(" ")
    while at >= 0 and '="' in data[at:]:
        name, rest = data[at + 1:].split('="', 1)
        value, n = "", 0
        while rest[n] != '"':
            n += rest[n] == "\\"
            value, n = value + rest[n], n + 1
        found[name], at = value, len(data) - len(rest) + n + 1
        if data[at] != " ":
            break
    return found
