"""A real Prometheus scrapes a running service, and promtool is content with what it sees."""
import json, subprocess, time

from stage import Stage, free_port, get_json, need, wait_for

RULES = """
ringfence = 1
default_action = "allow"
[[threshold]]
id = "caller-rate"
on = "end"
measure = "count"
per = ["caller"]
window = "60s"
warning = ">= 3"
"""
N_EVENTS = 500

promtool, prometheus = need("promtool"), need("prometheus")
with Stage() as stage:
    serve = stage.serve(RULES)
    now = int(time.time() * 1000) - N_EVENTS
    events = stage.write("events.ndjson", "".join(
        json.dumps({"time": now + n, "kind": "cdr", "call_id": f"c{n}", "caller": f"+4670000{n % 50:04}", "callee": "+46850001",
                    "status": "answered", "duration": 3}) + "\n" for n in range(N_EVENTS)))
    stage.send(events)
    wait_for("all events to be counted", lambda: stage.metric("ringfence_ingest_events_total") == N_EVENTS)

    checked = subprocess.run([promtool, "check", "metrics"], input=stage.metrics(), text=True, capture_output=True, timeout=20)
    print(checked.stdout, checked.stderr, sep="", end="")
    assert checked.returncode == 0 and not checked.stderr.strip(), "promtool finds fault with /metrics"

    port = free_port()
    config = stage.write("prometheus.yml", f"""
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: ringfence
    static_configs: [{{ targets: ["127.0.0.1:{stage.metrics_port}"] }}]
""")
    stage.start("prometheus", prometheus, f"--config.file={config}", f"--storage.tsdb.path={stage.folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")
    api = f"http://127.0.0.1:{port}/api/v1"

    def value(query):
        rows = get_json(f"{api}/query?query={query}")["data"]["result"]
        return float(rows[0]["value"][1]) if rows else None

    wait_for("Prometheus to see the service up", lambda: value("up") == 1)
    wait_for("Prometheus to see all events", lambda: value("sum(ringfence_ingest_events_total)") == N_EVENTS)
    wait_for("Prometheus to see the violations", lambda: value("sum(ringfence_violations_total)") == 50)
    target = get_json(f"{api}/targets")["data"]["activeTargets"][0]
    assert target["health"] == "up" and not target["lastError"], target
    meta = get_json(f"{api}/targets/metadata?metric=ringfence_ingest_events_total")["data"]
    assert meta and meta[0]["type"] == "counter" and meta[0]["help"], meta
    assert stage.end(serve) == 0, "serve does not stop in peace"
print("prometheus: scraped, all events and violations seen, promtool content")
