#!/bin/bash
# Everything that must hold before a change is good, in one command, on a fresh Debian 12 with Rust:
#
#     tests/all.sh
#
# Installs from Debian what it misses. Ends with a table of what ran and what could not, and why. Exit code 0: all that
# ran passed; 1: something failed. RINGFENCE_SHARED names the folder of specifications and real data (default: ../shared);
# RINGFENCE_CASES the number of random cases of the proofs.
set -u
cd "$(dirname "$0")/.." || exit 1
project=$PWD
export RINGFENCE_SHARED="${RINGFENCE_SHARED:-$project/../shared}"
export CARGO_TERM_COLOR=never
target="${CARGO_TARGET_DIR:-$project/target}"
log="$target/tests-all.log"
mkdir -p "$target"
started=$SECONDS
table=()
n_passed=0
n_failed=0

note() { # NAME OUTCOME SECONDS [WHY]
    table+=("$(printf '%-34s %-10s %5ss  %s' "$1" "$2" "$3" "${4:-}")")
}

step() { # NAME COMMAND...: runs it, shows it, notes how it ended. 77 means: could not run, the last line says why.
    local name=$1 began=$SECONDS code
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    case $code in
    0) note "$name" ok $((SECONDS - began)) ;;
    77) note "$name" "NOT RUN" $((SECONDS - began)) "$(tail -n 1 "$log")" ;;
    *) note "$name" FAILED $((SECONDS - began)) "exit code $code" && n_failed=$((n_failed + 1)) ;;
    esac
    return "$code"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi
}

refreshed=
refresh() { # apt-get update, once
    [ -n "$refreshed" ] || as_root apt-get -qq update && refreshed=yes
}

installed() { # COMMAND PACKAGE...: installs the packages if the command is not there
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    refresh && as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "$@" &&
        command -v "$command" >/dev/null && return
    echo "$command is missing, and $* could not be installed from Debian"
    return 77
}

# Servers are unpacked beside the build, not installed: installing them would start them, and this needs no root.
debian="$target/debian"
unpacked() { # COMMAND PACKAGE...
    local command=$1 package
    shift
    command -v "$command" >/dev/null && return
    mkdir -p "$debian"
    (cd "$debian" && { apt-get -qq download "$@" || { refresh && apt-get -qq download "$@"; }; } &&
        for package in "$@"; do dpkg -x "$package"_*.deb . || exit; done)
    command -v "$command" >/dev/null && return
    echo "$command is missing, and $* could not be fetched from Debian"
    return 77
}
export PATH="$PATH:$debian/usr/bin:$debian/usr/sbin"

tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast
    else
        cargo test --locked --no-fail-fast --lib --bins --tests
    fi
}

add_counts() { # sums what the test runner said last
    local passed failed
    passed=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p; s/^ *Summary .*: ([0-9]+) passed.*/\1/p' "$log" | paste -sd+ | bc)
    failed=$(sed -nE 's/^test result: .* ([0-9]+) failed.*/\1/p; s/^ *Summary .* ([0-9]+) failed.*/\1/p' "$log" | paste -sd+ | bc)
    n_passed=$((n_passed + ${passed:-0}))
    n_failed=$((n_failed + ${failed:-0}))
}

# With private items: the architecture that src/lib.rs describes is made of them.
documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items; }

no_second_tls_provider() {
    local found
    found=$(cargo tree --locked --target all -e normal,build,dev -i aws-lc-rs 2>/dev/null)
    [ -z "$found" ] || { echo "$found" && return 1; }
}

licences() {
    cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is not installed" && return 77; }
    cargo deny --config deploy/deny.toml check
}

fuzz_targets() {
    [ -f fuzz/Cargo.toml ] || { echo "there is no fuzz folder" && return 77; }
    if cargo +nightly fuzz --version >/dev/null 2>&1; then
        # Unoptimised: that they build and link is what is asked here, and Parquet and SQLite take minutes otherwise.
        cargo +nightly fuzz build --dev
    else
        CARGO_TARGET_DIR="$target/fuzz" cargo check --manifest-path fuzz/Cargo.toml || return
        echo "the targets compile; building them with a sanitizer needs a nightly toolchain and cargo-fuzz"
        return 77
    fi
}

alert_rules() {
    local files
    files=$(find deploy -name '*.yml' -exec grep -l '^groups:' {} +)
    [ -n "$files" ] || { echo "deploy ships no alert rules yet" && return 77; }
    # shellcheck disable=SC2086
    promtool check rules $files
}

shared_folder() {
    [ -f "$RINGFENCE_SHARED/oracle/oracle.py" ] && return
    echo "tests against the oracle and real data: no folder $RINGFENCE_SHARED (set RINGFENCE_SHARED)"
    return 77
}

step "shared folder" shared_folder
step "C compiler" installed cc gcc libc6-dev
step "bc" installed bc bc
step "python3" installed python3 python3-minimal
step "prometheus" unpacked promtool prometheus
step "alertmanager" unpacked amtool prometheus-alertmanager
step "kamailio" unpacked kamailio kamailio libpcre3
step "sipp" unpacked sipp sip-tester libgsl27 libgslcblas0 libpcap0.8 libsctp1
step "sngrep" unpacked sngrep sngrep libpcap0.8
step "libfaketime" unpacked faketime faketime libfaketime
step "openssl" installed openssl openssl
step "postfix" unpacked postconf postfix libdb5.3 libicu72 libnsl2 libsasl2-2 libssl3
step "aiosmtpd" unpacked aiosmtpd python3-aiosmtpd python3-public python3-attr
step "kannel" unpacked bearerbox kannel kannel-extras libct4 libhiredis0.14 libmariadb3 libpcre3 libicu72 libsasl2-2
step "rsyslog" unpacked rsyslogd rsyslog rsyslog-gnutls libestr0 libfastjson4 liblognorm5
step "espeak-ng" installed espeak-ng espeak-ng

step "format" cargo fmt --check
step "clippy" cargo clippy --locked --all-targets -- -D warnings
step "one TLS provider" no_second_tls_provider
step "licences and advisories" licences
step "documentation" documentation
step "unit and integration tests" tests
code=$?
# Failing tests are counted one by one, not as one more step.
[ $code = 0 ] || n_failed=$((n_failed - 1))
add_counts
[ $code = 0 ] || [ $n_failed -gt 0 ] || n_failed=1
step "examples in the documentation" cargo test --locked --doc
add_counts
step "fuzz targets" fuzz_targets
step "alert rules" alert_rules
if step "release build" cargo build --locked --release; then
    export RINGFENCE="$target/release/ringfence"
    # What was unpacked brings its libraries along.
    libraries=$(find "$debian" -name '*.so*' -not -path '*/modules/*' -printf '%h\n' 2>/dev/null | sort -u | paste -sd:)
    [ -z "$libraries" ] || export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries"
    for script in tests/e2e/*.py; do
        case $script in */stage.py | */phones.py | */gateway.py | */kept.py | */book.py | */people.py | */mailservers.py | */syslogserver.py | */outbox.py | */sinks.py) continue ;; esac
        step "end to end: $(basename "$script" .py)" timeout --kill-after=10 300 python3 -B "$script" &&
            n_passed=$((n_passed + 1))
    done
fi

printf '\n%-34s %-10s %6s\n' "what" "how" "time"
printf '%s\n' "${table[@]}"
if [ $n_failed -gt 0 ]; then result=FAILED; else result=ok; fi
printf '\ntest result: %s. %d passed; %d failed; 0 ignored; 0 measured; 0 filtered out; finished in %d.00s\n' \
    $result $n_passed $n_failed $((SECONDS - started))
[ $n_failed = 0 ]
