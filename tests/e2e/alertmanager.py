"""A real Alertmanager shows an alert firing, escalating and resolved, and passes it on."""
import http.server, json, subprocess, threading, time

from stage import Stage, free_port, get, get_json, need, wait_for

RULES = """
ringfence = 1
default_action = "allow"
[[threshold]]
id = "caller-rate"
on = "attempt"
measure = "count"
per = ["caller"]
window = "6s"
cooldown = "1s"
warning = ">= 3"
critical = ">= 5"
[[threshold]]
id = "only-watched"
mode = "monitor"
on = "attempt"
measure = "count"
per = ["caller"]
window = "6s"
warning = ">= 2"
[[threshold]]
id = "muted"
on = "attempt"
measure = "count"
per = ["caller"]
window = "6s"
warning = ">= 2"
mute = [{ where = 'callee == +46850001', reason = "a drill", expires = "2099-12-31" }]
"""
CALLER = "+46700001"

received = []


class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received.extend((a["status"], a["labels"]) for a in body["alerts"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


amtool, alertmanager = need("amtool"), need("prometheus-alertmanager")
pager = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pager)
threading.Thread(target=pager.serve_forever, daemon=True).start()
with Stage() as stage:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = stage.write("alertmanager.yml", f"""
route: {{ receiver: pager, group_by: ["..."], group_wait: 0s, group_interval: 1s }}
receivers:
  - name: pager
    webhook_configs: [{{ url: "http://127.0.0.1:{pager.server_address[1]}/", send_resolved: true }}]
""")
    stage.start("alertmanager", alertmanager, f"--config.file={config}", f"--storage.path={stage.folder}/am",
                f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn")
    wait_for("Alertmanager to be ready", lambda: get(f"{url}/-/ready"))
    serve = stage.serve(RULES, more=f'[alertmanager]\nurls = ["{url}"]\n')

    def call(n, name):
        now = int(time.time() * 1000)
        return stage.write(name, "".join(
            json.dumps({"time": now - 50 + i, "kind": "attempt", "call_id": f"{name}-{i}", "caller": CALLER, "callee": "+46850001"}) + "\n"
            for i in range(n)))

    def alerts(severity):
        found = get_json(f"{url}/api/v2/alerts?active=true&filter=alertname%3D%22caller-rate%22")
        return [a for a in found if a["labels"]["severity"] == severity]

    def paged(status, severity):
        return [labels for s, labels in received if s == status and labels["severity"] == severity]

    stage.send(call(3, "three.ndjson"))
    alert = wait_for("the warning to fire", lambda: alerts("warning"))[0]
    want = {"alertname": "caller-rate", "customer": "default", "key": f"caller={CALLER}", "severity": "warning"}
    assert alert["labels"] == want, alert["labels"]
    shown = subprocess.run([amtool, f"--alertmanager.url={url}", "alert", "query", "caller-rate", "-o", "simple"],
                           capture_output=True, text=True, timeout=20)
    assert shown.returncode == 0 and "caller-rate" in shown.stdout, shown
    print(shown.stdout, end="")
    wait_for("the pager to hear of the warning", lambda: paged("firing", "warning"))

    stage.send(call(2, "two.ndjson"))
    wait_for("the critical alert to fire", lambda: alerts("critical"))
    wait_for("the warning to be resolved by the escalation", lambda: not alerts("warning"))
    wait_for("the pager to hear that the warning is over", lambda: paged("resolved", "warning"))

    # The window empties 6 s later, the cooldown takes 1 s, and late events are waited for 5 s; and the gateway, which has
    # gone, may come back within 30 s with what it kept.
    wait_for("the critical alert to be resolved", lambda: not alerts("critical"), 75)
    wait_for("the pager to hear that it is over", lambda: paged("resolved", "critical"), 40)
    assert {labels["alertname"] for _, labels in received} == {"caller-rate"}, "a rule in monitor mode, or a muted one, told somebody"
    assert stage.end(serve) == 0, "serve does not stop in peace"
print("alertmanager: fired, escalated and resolved, and the pager heard of it")
