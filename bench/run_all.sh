#!/usr/bin/env bash
# `./run bench` calls this script: bench/run_all.sh BUILD_FOLDER [PART OF WORKLOADS' NAMES]
# pip and cargo need PyPI and crates.io; the report names a peer that they cannot install as absent.
set -euo pipefail
build=$1
only=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/.venv
data=$build/bench/data
results=$build/bench/results
mkdir -p "$results"

# The last line of a log, as the reason why something is absent.
reason() { echo "absent: $(tail -n 1 "$1" | tr -d '"\\' | cut -c1-200)"; }

stamp=$venv/requirements.txt
if ! cmp -s "$here/peers/requirements.txt" "$stamp"; then
  echo "installing the peers of bench/peers/requirements.txt into bench/.venv"
  [ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
  # One by one: a package that pip cannot install does not prevent the others.
  complete=yes
  wanted=$here/peers/requirements.txt
  while IFS= read -r package; do
    "$venv/bin/pip" install -q --no-input "$package" -c "$wanted" || complete=no
  done < <(grep -v '^#' "$wanted")
  [ $complete = no ] || cp "$wanted" "$stamp"
fi

rust="absent: there is no cargo"
if command -v cargo >/dev/null; then
  target=$build/bench/rust
  rust=$target/release/outrigger-bench-peers
  (cd "$here/rust" && cargo build -q --release --locked --target-dir "$target") \
    2>"$results/rust.log" || rust=$(reason "$results/rust.log")
fi

python=$venv/bin/python
out=$results/peers.json
"$python" -B "$here/peers/compare.py" "$out" "$data" "$build/server/outriggerd" \
  "$build/bench/limits" "$rust" "$only"
echo
if [ -z "$only" ]; then
  cp "$out" "$here/results.json"
  "$python" -B "$here/peers/report.py" "$out" "$here/README.md"
  "$python" -B "$here/peers/picture.py" "$out" "$here/peers.svg"
else
  "$python" -B "$here/peers/report.py" "$out"
fi
echo
# As in the daemon, the workers wait awake for about a tenth of a millisecond.
GOMP_SPINCOUNT=4000 "$build/bench/engine_bench" \
  --benchmark_enable_random_interleaving=true "$results/engine.json"
echo
before=()
if [ -f "$results/cases.json" ]; then
  mv "$results/cases.json" "$results/cases_before.json"
  before=("$results/cases_before.json")
fi
"$build/bench/cases_bench" "$results/cases.json" "${before[@]}"
echo
"$build/bench/sockets_bench" "$results/sockets.json"
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
  "$here/redis.sh"
else
  echo "no figures of redis: install redis-server and redis-tools"
fi
echo
cd "$here/../client_ex/outrigger"
OUTRIGGERD=$build/server/outriggerd OUTRIGGER_ECHO=$build/bench/echo MIX_ENV=prod \
  mix run ../../bench/elixir/client.exs "$results/client.json"
