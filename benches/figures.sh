#!/bin/bash
# Every figure that README quotes, with the command it comes from and, as a ratio, beside a limit of the machine that was
# measured in the same run:
#
#     benches/figures.sh [EVENTS [PART...]]
#
# EVENTS is the size of workload W1, 5,000,000 unless said; what else is measured grows with it. Parts, all unless said:
#
#     file     W1 through `replay`, with one thread and with two
#     compare  W1 twice over through `replay --compare`, its rules against a variant
#     tcp      W1 over loopback into `serve`, the sender included
#     verdict  how long a gateway waits for a verdict
#     reload   how long a gateway waits for a verdict while 1,000 rules change again and again
#     hep      INVITE, 200 and BYE in HEP over loopback into `serve`, by TCP and by UDP; bytes a call that is up
#     journal  what journaling costs: the service's CPU on W1 with and without, five pairs of each
#     restart  how long a restart takes with twice EVENTS keys and a journal of EVENTS behind the snapshot
#     list     a list of a million numbers
#     keys     bytes a key of a count rule, at twice EVENTS keys
#     new      resident memory under ever-new callers, six times EVENTS of them
#     hours    resident memory over ten hours of W1, a fifth of EVENTS each
#     storm    100,000 violations of one customer in a minute of ordinary traffic: incidents, memory, CPU; takes 10 minutes
#
# RINGFENCE_BEFORE may name a program of before there were incidents: the storm then tells what incidents alone cost.
#
# Needs Python 3, some 300 bytes an event in $TMPDIR, and $RINGFENCE_SHARED/bench/w1.py (default: ../shared). RINGFENCE
# names the program to measure; unless it is set, this builds the one of this folder for release. Measures, asserts nothing.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
readonly project=$PWD
readonly shared="${RINGFENCE_SHARED:-$project/../shared}/bench"
readonly n_events=${1:-5000000}
readonly parts=" ${*:2} "
for part in $parts; do
    case $part in
        file | compare | tcp | verdict | reload | hep | journal | restart | list | keys | new | hours | storm) ;;
        *) echo "figures.sh: unknown part \`$part\`; known are file, compare, tcp, verdict, reload, hep, journal, restart, list, keys, new, hours, storm" >&2 && exit 2 ;;
    esac
done
[[ $n_events =~ ^[1-9][0-9]*$ ]] || { echo "figures.sh: \`$n_events\` is no number of events" >&2 && exit 2; }
[[ -r $shared/w1.py ]] || { echo "figures.sh: there is no $shared/w1.py; set RINGFENCE_SHARED" >&2 && exit 2; }

work=$(mktemp -d)
service=
clean_up() {
    [[ -z $service ]] || kill "$service" 2> /dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

# ---------------------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------------------

failed() { # WHAT LOG: the end. A service that is no more may be the reason.
    local code=0
    { echo "figures.sh: $1 failed:" && tail -n 20 "$2"; } >&2
    if [[ -n $service ]] && ! kill -0 "$service" 2> /dev/null; then
        wait "$service" || code=$?
        { echo "figures.sh: the service had ended with exit code $code:" && tail -n 20 "$work/service.log"; } >&2
        service=
    fi
    exit 1
}

# measure COMMAND...: runs it; its output is in $work/out and $work/err, `seconds`, `cpu` and `peak_kib` (the largest
# resident memory) are set, and $work/rss has a line `SECONDS KIB` every tenth of a second.
measure() {
    python3 "$work/measure.py" "$work" "$@" || failed "\`$*\`" "$work/err"
    read -r seconds cpu peak_kib < "$work/measured"
}

cat > "$work/measure.py" << 'PYTHON'
import os, subprocess, sys, threading, time
work, command = sys.argv[1], sys.argv[2:]
rss = open(work + "/rss", "w")
began = time.monotonic()
child = subprocess.Popen(command, stdout=open(work + "/out", "w"), stderr=open(work + "/err", "w"))
ended = threading.Event()
peak = 0

def sample():
    global peak
    while True:
        try:
            status = dict(l.split(":", 1) for l in open("/proc/%d/status" % child.pid))
            peak = max(peak, int(status["VmHWM"].split()[0]))
            rss.write("%.1f %s\n" % (time.monotonic() - began, status["VmRSS"].split()[0]))
        except (OSError, KeyError):
            pass        # It has just ended.
        if ended.wait(0.1):
            return

thread = threading.Thread(target=sample)
thread.start()
_, status, usage = os.wait4(child.pid, 0)
seconds = time.monotonic() - began
ended.set()
thread.join()
# What the kernel tells of an ended process is exact, but begins at the size of the one that started it.
peak = max(peak, usage.ru_maxrss) if usage.ru_maxrss > 32 * 1024 else peak
open(work + "/measured", "w").write("%.3f %.3f %d\n" % (seconds, usage.ru_utime + usage.ru_stime, peak))
sys.exit(os.waitstatus_to_exitcode(status))
PYTHON

# Sends a file over loopback TCP to one who throws it away; prints the seconds.
cat > "$work/copy.py" << 'PYTHON'
import os, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
file = open(sys.argv[1], "rb")
size = os.fstat(file.fileno()).st_size

def swallow():
    stream, room = listener.accept()[0], bytearray(1 << 20)
    while stream.recv_into(room):
        pass

began = time.monotonic()
sink = threading.Thread(target=swallow)
sink.start()
with socket.create_connection(listener.getsockname()) as stream:
    at = 0
    while at < size:
        at += os.sendfile(stream.fileno(), file.fileno(), at, size - at)
sink.join()
print("%.3f" % (time.monotonic() - began))
PYTHON

# A million times the same caller, or ever-new ones at RATE a second of event time.
cat > "$work/callers.py" << 'PYTHON'
import sys
n, rate, new = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "new"
line = '{"time":%d,"kind":"attempt","caller":"+46%011d"}\n'
for first in range(0, n, 10_000):
    block = range(first, min(first + 10_000, n))
    sys.stdout.write("".join(line % (1_767_225_600_000 + i * 1000 // rate, i if new else 0) for i in block))
PYTHON

calc() { # EXPRESSION [DECIMALS]
    python3 -c "print(f'{$1:,.${2:-0}f}')"
}

field() { # KEY[/KEY]: of the JSON object in $work/out
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("/"): value = value[key]
print(value)' "$work/out" "$1"
}

is_wanted() { # PART
    [[ $parts == "  " || $parts == *" $1 "* ]] || return 1
    printf '\n%s\n' "$2"
}

# The command as a reader would type it, then the figure.
tell() { # COMMAND FIGURE [BESIDE]
    printf '  $ %s\n      %-44s %s\n' "$1" "$2" "${3:-}"
}

# ---------------------------------------------------------------------------------------------------------------------
# What is measured
# ---------------------------------------------------------------------------------------------------------------------

need_rules() {
    [[ ! -d $work/w1-rules ]] || return 0
    mkdir "$work/w1-rules"
    cp "$shared/w1-rules/ruleset.toml" "$work/w1-rules/"
    python3 "$shared/w1.py" 1 --lists "$work/w1-rules/lists" > /dev/null
}

# The data, and how fast the machine alone gets it to a process.
need_w1() {
    need_rules
    [[ ! -f $work/w1.ndjson ]] || return 0
    python3 "$shared/w1.py" "$n_events" > "$work/w1.ndjson"
    cat "$work/w1.ndjson" > /dev/null
    measure wc -l "$work/w1.ndjson"
    by_file=$(calc "$n_events / max($seconds, 1e-3)" | tr -d ,)
    by_tcp=$(calc "$n_events / max($(python3 "$work/copy.py" "$work/w1.ndjson"), 1e-3)" | tr -d ,)
}

count_rule() { # FOLDER WINDOW [KEY = VALUE]
    mkdir -p "$work/$1"
    printf '%s\n' 'ringfence = 1' 'default_action = "allow"' '[[threshold]]' 'id = "calls"' 'on = "attempt"' \
        'measure = "count"' 'per = ["caller"]' "window = \"$2\"" 'warning = ">= 1000"' "${3:-}" > "$work/$1/ruleset.toml"
}

# start_service [RULES [SETTINGS...]]: with the rules of W1 unless said; sets `service`, `address` and `metrics`. Its data
# are new unless `data` says where they are.
start_service() {
    [[ -n ${data:-} ]] || rm -rf "$work/ringfence-data"
    printf '%s\n' "data = \"${data:-$work/ringfence-data}\"" "rules = \"$work/${1:-w1-rules}\"" '[http]' 'listen = "off"' '[metrics]' 'listen = "127.0.0.1:0"' \
        '[[feed]]' 'listen = "127.0.0.1:0"' "${@:2}" > "$work/ringfence.toml"
    # Emptied here, or the address of the service before may still be read.
    : > "$work/service.log"
    RINGFENCE_LOG=info "$program" serve --config "$work/ringfence.toml" > /dev/null 2>> "$work/service.log" &
    service=$!
    for _ in {1..1200}; do
        address=$(sed -n 's/.*is ready.*("ndjson", \([^)]*\)).*/\1/p' "$work/service.log")
        metrics=$(sed -n 's/.*is ready.*metrics=Some(\([^)]*\)).*/\1/p' "$work/service.log")
        [[ -z $address ]] || return 0
        kill -0 "$service" 2> /dev/null || break
        sleep 0.1
    done
    failed "starting the service" "$work/service.log"
}

stop_service() {
    kill "$service" && wait "$service" || failed "stopping the service" "$work/service.log"
    service=
}

rss_kib() { # PID
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}

in_mib() { # KIB...
    for kib in "$@"; do printf '%s ' $((kib / 1024)); done
}

# ---------------------------------------------------------------------------------------------------------------------
# The figures
# ---------------------------------------------------------------------------------------------------------------------

from_file() {
    need_w1
    tell "wc -l w1.ndjson" "$(calc "$by_file") events/s" "the limit: reading the file, counting newlines"
    for n in 1 2; do
        measure "$program" replay --rules "$work/w1-rules" --threads $n "$work/w1.ndjson"
        speed=$(sed -n 's/^events.s: //p' "$work/err")
        tell "ringfence replay --rules w1-rules --threads $n w1.ndjson > violations" "$(calc "$speed") events/s" \
            "$(calc "$speed / $by_file" 3) of the limit; $((peak_kib / 1024)) MiB; $(calc "$cpu" 1) s of CPU"
    done
}

compared() {
    need_w1
    cp -r "$work/w1-rules" "$work/w1-variant"
    sed -i 's/>= 30"/>= 25"/; s/>= 20"/>= 22"/' "$work/w1-variant/ruleset.toml"
    measure "$program" replay --rules "$work/w1-rules" --compare "$work/w1-variant" --threads 2 "$work/w1.ndjson" "$work/w1.ndjson"
    tell "ringfence replay --rules w1-rules --compare w1-variant --threads 2 w1.ndjson w1.ndjson" \
        "$(calc "$seconds" 1) s for $(calc "2 * $n_events") events, lists and all" \
        "$(calc "2 * $n_events / $seconds") events/s; $((peak_kib / 1024)) MiB; $(calc "$cpu" 1) s of CPU"
}

over_tcp() {
    need_w1
    tell "# the same bytes by sendfile to a sink on loopback" "$(calc "$by_tcp") events/s" "the limit"
    for reply in none ack; do
        start_service
        measure "$program" send --to "$address" --reply $reply --format json "$work/w1.ndjson"
        speed=$(field events_per_second)
        tell "ringfence send --to HOST:PORT --reply $reply w1.ndjson" "$(calc "$speed") events/s" \
            "$(calc "$speed / $by_tcp" 3) of the limit; the service holds $(in_mib "$(rss_kib "$service")")MiB"
        stop_service
    done
}

verdicts() {
    need_w1
    local how count
    for how in "--in-flight 1" "--rate 200000 --connections 2"; do
        # One at a time is slow, and a steady rate takes its time: some ten seconds each at the usual size.
        [[ $how == --in* ]] && count=$((n_events / 25)) || count=$((n_events * 2 / 5))
        head -n "$count" "$work/w1.ndjson" > "$work/requests.ndjson"
        start_service
        # shellcheck disable=SC2086
        measure "$program" send --to "$address" --reply verdict $how --format json "$work/requests.ndjson"
        tell "head -n $count w1.ndjson | ringfence send --to HOST:PORT --reply verdict $how -" \
            "$(for q in p50 p99 p99.9 max; do printf '%s %s us  ' $q "$(calc "$(field latency_us/$q)")"; done)" \
            "at $(calc "$(field events_per_second)")/s"
        stop_service
    done
}

# A thousand rules, of which an event reaches twenty at the most; $1 stands in a text that people read.
thousand_rules() {
    mkdir -p "$work/thousand-rules"
    python3 - "$1" > "$work/thousand-rules/.next" << 'PYTHON'
import sys
print('ringfence = 1\ndefault_action = "allow"')
for n in range(1000):
    where = "" if n < 4 else f"where = 'trunk == \"bench-{n % 125}\"'\n"
    print(f'[[threshold]]\nid = "r{n}"\non = "attempt"\n{where}measure = "count"\nper = ["{("caller", "callee")[n % 2]}"]\n'
          f'window = "{n % 7 + 1}m"\nwarning = ">= 5000"\nmessage = "as of {sys.argv[1]}"')
PYTHON
    mv "$work/thousand-rules/.next" "$work/thousand-rules/ruleset.toml"
}

# The same requests at a steady rate, without and with a reload every second.
reloading() {
    need_w1
    local how="--rate 200000 --connections 2" turn reloader count=$((n_events * 2 / 5))
    head -n "$count" "$work/w1.ndjson" > "$work/requests.ndjson"
    for turn in none reloads; do
        thousand_rules 0
        start_service thousand-rules
        reloader=
        if [[ $turn == reloads ]]; then
            (for n in {1..1000}; do sleep 1; thousand_rules "$n"; kill -HUP "$service"; done) &
            reloader=$!
        fi
        # shellcheck disable=SC2086
        measure "$program" send --to "$address" --reply verdict $how --format json "$work/requests.ndjson"
        [[ -z $reloader ]] || { kill "$reloader" && wait "$reloader" || true; }
        tell "# 1,000 rules, $([[ $turn == none ]] && echo unchanged || echo "changed and SIGHUP every second")" \
            "$(for q in p50 p99 p99.9 max; do printf '%s %s us  ' $q "$(calc "$(field latency_us/$q)")"; done)" \
            "at $(calc "$(field events_per_second)")/s; $(curl -s "http://$metrics/metrics" \
                | sed -n 's/^ringfence_reloads_total{outcome="done"} /reloads: /p; s/^ringfence_reload_pause_seconds /the last pause, s: /p' | paste -sd' ')"
        stop_service
    done
}

# Five rules on what signalling tells.
signalling_rules() {
    mkdir -p "$work/five-rules"
    cat > "$work/five-rules/ruleset.toml" << 'RULES'
ringfence = 1
default_action = "allow"
threshold = [
    { id = "many", on = "attempt", measure = "count", per = ["caller"], window = "1m", warning = ">= 50" },
    { id = "fan", on = "attempt", measure = "distinct(callee)", per = ["caller"], window = "10m", warning = ">= 40" },
    { id = "minutes", on = "end", measure = "sum(duration)", per = ["caller"], window = "1h", warning = ">= 100h" },
    { id = "short", on = "end", measure = "share(duration < 5s)", min_count = 20, per = ["prefix(callee, 6)"], window = "10m", warning = ">= 90%" },
    { id = "up", on = "call", measure = "concurrent", per = ["domain"], warning = ">= 100000" },
]
RULES
}

signalling() {
    local n_calls=$((n_events / 5)) base sent
    signalling_rules
    python3 benches/hep_calls.py "$n_calls" > "$work/calls.hep"
    start_service five-rules 'format = "hep"' 'name = "ndjson"'
    measure "$program" send --to "$address" "$work/calls.hep"
    tell "ringfence send --to HOST:PORT calls.hep      # $((n_calls * 3)) messages, call table and five rules" \
        "$(sed -n 's/^messages.s: //p' "$work/err") messages/s" "the service holds $(in_mib "$(rss_kib "$service")")MiB"
    stop_service
    start_service five-rules 'format = "hep"' 'name = "ndjson"'
    sent=$(python3 benches/hep_calls.py --send "$address" 100000 < "$work/calls.hep")
    sleep 2
    tell "hep_calls.py --send HOST:PORT 100000 < calls.hep   # datagrams" \
        "$(calc "${sent% *} / ${sent#* }") datagrams/s" \
        "dropped: $(python3 -c 'import re, sys, urllib.request
text = urllib.request.urlopen("http://%s/metrics" % sys.argv[1]).read().decode()
found = lambda name: re.search(name + r"\{[^}]*\} (\d+)", text).group(1)
print(found("ringfence_ingest_dropped_total"), "of", sys.argv[2], "- read:", found("ringfence_ingest_messages_total"))' "$metrics" "${sent% *}")"
    stop_service
    rm "$work/calls.hep"
    count_rule up 60s
    # What the program takes with few calls, its buffers in use.
    measure "$program" replay --merge --rules "$work/up" --output summary --input-format hep - < <(python3 benches/hep_calls.py 50000)
    base=$peak_kib
    measure "$program" replay --merge --rules "$work/up" --output summary --input-format hep - < <(python3 benches/hep_calls.py "$n_calls" --up)
    tell "hep_calls.py $n_calls --up | ringfence replay --merge --rules up --input-format hep -" \
        "$(calc "($peak_kib - $base) * 1024 / ($n_calls - 20000)" 1) bytes a call" \
        "peak $((peak_kib / 1024)) MiB with $n_calls calls up, less $((base / 1024)) MiB with 20,000; keys of a count rule included"
}

cpu_s() { # PID: user and system
    awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$1/stat"
}

# The archive is written later, and snapshots are counted apart.
readonly journal_alone=('[archive]' 'enabled = false' '[snapshot]' 'every_s = 86400' 'every_mib = 1000000')

journaling() {
    local mode reply folder round before
    need_w1
    for mode in interval ack; do
        reply=$([[ $mode == ack ]] && echo ack || echo none)
        : > "$work/pairs"
        for round in {1..5}; do
            for folder in off "$work/journaled"; do
                rm -rf "$work/journaled"
                data=$folder start_service w1-rules "${journal_alone[@]}" '[journal]' "durability = \"$mode\""
                before=$(cpu_s "$service")
                measure "$program" send --to "$address" --reply "$reply" "$work/w1.ndjson"
                printf '%s ' "$(calc "$(cpu_s "$service") - $before" 2)" "$seconds" >> "$work/pairs"
                stop_service
            done
            echo >> "$work/pairs"
        done
        tell "ringfence serve    # [journal] durability = \"$mode\"; ringfence send --reply $reply w1.ndjson" \
            "$(python3 -c 'import statistics, sys
n, pairs = int(sys.argv[1]), [[float(x) for x in line.split()] for line in open(sys.argv[2])]
more = [100 * (p[2] / p[0] - 1) for p in pairs]
print("%+.0f %% CPU (%s), %.2f us an event, %.2f M events/s" % (statistics.median(more), " ".join("%+.0f" % m for m in more),
    1e6 * statistics.median(p[2] - p[0] for p in pairs) / n, n / statistics.median(p[3] for p in pairs) / 1e6))' "$n_events" "$work/pairs")"
    done
    rm -rf "$work/journaled"
}

restarting() {
    local keys=$((n_events * 2)) bytes
    need_w1
    mkdir -p "$work/restart"
    cp -r "$work/w1-rules/." "$work/restart/"
    printf '%s\n' '[[threshold]]' 'id = "many-keys"' 'on = "attempt"' 'measure = "count"' 'per = ["caller"]' 'window = "24h"' \
        "max_keys = $((keys * 2))" 'warning = ">= 1000"' >> "$work/restart/ruleset.toml"
    rm -rf "$work/restarted"
    python3 "$work/callers.py" "$keys" 100000 new > "$work/callers.ndjson"
    data=$work/restarted start_service restart "${journal_alone[@]}"
    measure "$program" send --to "$address" --reply none "$work/callers.ndjson"
    stop_service
    rm "$work/callers.ndjson"
    data=$work/restarted start_service restart "${journal_alone[@]}"
    measure "$program" send --to "$address" --reply ack "$work/w1.ndjson"
    { kill -9 "$service" && wait "$service" || true; } 2> /dev/null
    bytes=$(cat "$work"/restarted/journal/*.seg | wc -c)
    local began=$(date +%s.%N)
    data=$work/restarted start_service restart "${journal_alone[@]}"
    tell "kill -9; ringfence serve    # $keys keys, a journal of $n_events events behind the snapshot, page cache warm" \
        "serving again after $(calc "$(date +%s.%N) - $began" 1) s" \
        "$(sed -n 's/.*took=\(.*\)/state restored in \1/p' "$work/service.log" | tail -n 1); the journal has $((bytes >> 20)) MiB"
    stop_service
    rm -rf "$work/restarted"
}

million_numbers() {
    need_rules
    measure "$program" check "$work/w1-rules"
    tell "ringfence check w1-rules" "$(calc "$seconds" 2) s" "start, read, check, index; $((peak_kib / 1024)) MiB at most"
    # RINGFENCE_BENCH: arguments for cargo, such as `--profile dev` to try this script out.
    # shellcheck disable=SC2086
    if cargo bench --quiet ${RINGFENCE_BENCH:-} --bench lists -- 'list of 1M/load' > "$work/out" 2> "$work/err"; then
        tell "cargo bench --bench lists -- load" "$(sed -n 's/.*numbers, //p' "$work/err" | head -n 1)" \
            "$(sed -n 's/.*time: *\[[^ ]* [^ ]* \([^ ]* [^ ]*\).*/\1 to parse and index/p' "$work/out" | head -n 1)"
    else
        tell "cargo bench --bench lists -- load" "did not run: $(tail -n 1 "$work/err")"
    fi
}

bytes_per_key() {
    local n_keys=$((n_events * 2)) base
    count_rule keys 1d "max_keys = 20000000"
    # What the program takes with one key, its buffers in use.
    measure "$program" replay --rules "$work/keys" --output summary - < <(python3 "$work/callers.py" 1000000 100000 same)
    base=$peak_kib
    measure "$program" replay --rules "$work/keys" --output summary - < <(python3 "$work/callers.py" $n_keys 100000 new)
    tell "ringfence replay --rules keys --output summary -     # $n_keys callers, one call each" \
        "$(calc "($peak_kib - $base) * 1024 / $(field rules/calls/keys)" 1) bytes a key" \
        "peak $((peak_kib / 1024)) MiB less $((base / 1024)) MiB with one key; $(calc "$(field rules/calls/keys)") keys held"
}

# Resident memory at ten instants of the last `measure`; the very last sample may be of its end.
rss_over_time() {
    awk '{ kib[NR] = $2 } END { for (i = 1; i <= 10; i++) print kib[int((NR - 2) * i / 10) + 1] }' "$work/rss"
}

ever_new_callers() {
    local samples
    count_rule new 60s
    measure "$program" replay --rules "$work/new" --output summary - < <(python3 "$work/callers.py" $((n_events * 6)) 100000 new)
    mapfile -t samples < <(rss_over_time)
    tell "ringfence replay --rules new --output summary -      # $((n_events * 6)) callers, 100,000 a second, window 60s" \
        "$(in_mib "${samples[@]}")MiB over the run" \
        "last / half-way: $(calc "${samples[9]} / ${samples[4]}" 3); keys $(field rules/calls/keys), evicted $(field rules/calls/evicted)"
}

ten_hours() {
    local samples=() hour n=$((n_events / 5))
    need_rules
    start_service
    for hour in {0..9}; do
        python3 "$shared/w1.py" "$n" --start $((hour * 3600)) > "$work/hour.ndjson"
        measure "$program" send --to "$address" --gateway "hour-$hour" "$work/hour.ndjson"
        samples+=("$(rss_kib "$service")")
    done
    stop_service
    rm "$work/hour.ndjson"
    tell "w1.py $n --start \$((HOUR * 3600)) | ringfence send --to HOST:PORT --gateway hour-\$HOUR -" \
        "$(in_mib "${samples[@]}")MiB after each hour" "last / third: $(calc "${samples[9]} / ${samples[2]}" 3)"
}

# The feed of the storm: W1 as ordinary traffic, and evenly among it 10,000 registrations from ever-new callers over five
# trunks. Each of them crosses the warning of ten rules.
cat > "$work/storm.py" << 'PYTHON'
import json, sys
n, n_storm = int(sys.argv[1]), 10_000
for i, line in enumerate(sys.stdin):
    sys.stdout.write(line)
    for k in range(i * n_storm // n, (i + 1) * n_storm // n):
        event = {"time": json.loads(line)["time"], "kind": "register", "customer": "stormy", "trunk": "storm-%d" % (k % 5),
                 "caller": "+4670%07d" % k, "call_id": "storm-%d" % k}
        sys.stdout.write(json.dumps(event) + "\n")
PYTHON

# What the threads of a service used, in seconds: those of some names, or all.
cat > "$work/threads.py" << 'PYTHON'
import pathlib, sys
used = {}
for task in pathlib.Path("/proc/%s/task" % sys.argv[1]).iterdir():
    name = (task / "comm").read_text().strip()
    used[name] = used.get(name, 0) + int((task / "schedstat").read_text().split()[0])
print(sum(used[name] for name in sys.argv[2:] or used) / 1e9)
PYTHON

# Waits until everything found was made something of; incidents, alerts and violations.
cat > "$work/book.py" << 'PYTHON'
import sqlite3, sys, time
with sqlite3.connect("file:%s/ringfence.db?mode=ro" % sys.argv[1], uri=True) as db:
    count = lambda what: db.execute("SELECT count(*) FROM " + what).fetchone()[0]
    has_book = count("sqlite_schema WHERE name = 'inbox'")
    before = None
    while (count("inbox") if has_book else 0) or count("violations") != before:
        before = count("violations")
        time.sleep(0.5)
    kind = lambda name: count("subjects WHERE customer = 'stormy' AND kind = '%s'" % name) if has_book else 0
    print(kind("incident"), kind("alert"), count("violations WHERE customer = 'stormy'"))
PYTHON

storm_rules() { # FOLDER LEVEL [TARGET]: those of W1, and ten more
    mkdir -p "$work/$1"
    cp -r "$work/w1-rules/." "$work/$1/"
    for i in {0..9}; do
        printf '%s\n' '[[threshold]]' "id = \"storm-$i\"" 'on = "register"' 'measure = "count"' 'per = ["trunk", "caller"]' \
            'window = "10m"' "warning = \"$2\"" "${3:-}" >> "$work/$1/ruleset.toml"
    done
}

# The same feed at the same pace, with levels that are never reached, with levels that every registration reaches, and, to
# tell what finding costs from what becomes of it, the latter with a program that knows no incidents. What the judges use
# is the event path; the whole process also has the store and the desk, which no event waits for.
storming() {
    local n=$((n_events / 5)) round kind rate incidents alerts found told=
    local kinds=(calm storm)
    [[ -z ${RINGFENCE_BEFORE:-} ]] || kinds+=(before)
    need_w1
    head -n "$n" "$work/w1.ndjson" | python3 "$work/storm.py" "$n" > "$work/storm.ndjson"
    n=$((n + 10000)) rate=$(((n + 59) / 60))
    storm_rules calm ">= 1000000" 'target = ["trunk"]'
    storm_rules storm ">= 1" 'target = ["trunk"]'
    storm_rules before ">= 1"
    : > "$work/storms"
    for round in {1..5}; do
        for kind in "${kinds[@]}"; do
            rm -rf "$work/stormed"
            data=$work/stormed program=$([[ $kind == before ]] && echo "$RINGFENCE_BEFORE" || echo "$program") \
                start_service "$kind" "${journal_alone[@]}"
            printf '%s ' "$(rss_kib "$service")" >> "$work/storms"
            measure "$program" send --to "$address" --reply ack --rate "$rate" "$work/storm.ndjson"
            read -r incidents alerts found < <(python3 "$work/book.py" "$work/stormed")
            [[ $kind != storm ]] || printf -v told '%s incidents, %s alerts of %s violations' "$incidents" "$alerts" "$found"
            printf '%s ' "$(rss_kib "$service")" "$(python3 "$work/threads.py" "$service" ringfence judge)" \
                "$(python3 "$work/threads.py" "$service")" >> "$work/storms"
            stop_service
        done
        echo >> "$work/storms"
    done
    tell "ringfence send --to HOST:PORT --rate $rate storm.ndjson   # ${#kinds[@]} kinds of rules, five times in turn" "$told" \
        "$(python3 - "$n" "$work/storms" "${kinds[@]}" << 'PYTHON'
import statistics, sys
n, kinds = int(sys.argv[1]), sys.argv[3:]
rows = [[float(x) for x in line.split()] for line in open(sys.argv[2])]
runs = {kind: [row[4 * i:4 * i + 4] for row in rows] for i, kind in enumerate(kinds)}
mib = lambda kind: "%d to %d MiB" % tuple(statistics.median(run[i] for run in runs[kind]) / 1024 for i in (0, 1))
print("resident: %s, in calm %s" % (mib("storm"), mib("calm")))
for name, i in (("event path", 2), ("the whole process", 3)):
    for base in [kind for kind in kinds if kind != "storm"]:
        more = [100 * (a[i] / b[i] - 1) for a, b in zip(runs["storm"], runs[base])]
        us = [1e6 * statistics.median(run[i] for run in runs[kind]) / n for kind in ("storm", base)]
        print("%6s%s: %+.1f %% (%s), %.2f us an event against %.2f %s" % ("", name, statistics.median(more),
            " ".join("%+.0f" % m for m in more), *us, "in calm" if base == "calm" else "without incidents"))
PYTHON
)"
    rm -rf "$work/stormed" "$work/storm.ndjson"
}

if [[ -n ${RINGFENCE:-} ]]; then
    program=$RINGFENCE
else
    cargo build --release --quiet
    program=${CARGO_TARGET_DIR:-$project/target}/release/ringfence
fi
# As it was when this began, whatever is built meanwhile.
cp "$program" "$work/ringfence"
program=$work/ringfence

printf '%s, %s cores of %s, Linux %s, W1 of %s events\n' "$("$program" --version)" "$(nproc)" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(uname -r)" "$(calc "$n_events")"
if is_wanted file "W1 from a file"; then from_file; fi
if is_wanted compare "What a variant of W1's rules would have done differently"; then compared; fi
if is_wanted tcp "W1 over loopback TCP into \`ringfence serve\`, sender included"; then over_tcp; fi
if is_wanted verdict "Verdicts: from the instant a request was meant to be sent"; then verdicts; fi
if is_wanted reload "Verdicts while rules change"; then reloading; fi
if is_wanted hep "Signalling: calls in HEP into \`ringfence serve\`, sender included"; then signalling; fi
if is_wanted journal "What the journal costs"; then journaling; fi
if is_wanted restart "A restart after a crash"; then restarting; fi
if is_wanted list "A list of a million numbers"; then million_numbers; fi
if is_wanted keys "Memory of the keys of a count rule"; then bytes_per_key; fi
if is_wanted new "Resident memory under ever-new callers"; then ever_new_callers; fi
if is_wanted hours "Resident memory over ten hours of W1 in \`ringfence serve\`"; then ten_hours; fi
if is_wanted storm "A storm: 100,000 violations of one customer in a minute"; then storming; fi
