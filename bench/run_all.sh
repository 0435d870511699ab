#!/usr/bin/env bash
# ./run bench calls it: bench/run_all.sh BUILD_FOLDER [PART OF WORKLOADS' NAMES]. It needs PyPI and
# crates.io, as pip and cargo are set up to find them; peers that cannot be had are reported as absent.
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
  # One by one: what cannot be had must not take the others with it.
  complete=yes
  while IFS= read -r package; do
    "$venv/bin/pip" install -q --no-input "$package" -c "$here/peers/requirements.txt" || complete=no
  done < <(grep -v '^#' "$here/peers/requirements.txt")
  [ $complete = no ] || cp "$here/peers/requirements.txt" "$stamp"
fi

rust="absent: there is no cargo"
if command -v cargo >/dev/null; then
  rust=$build/bench/rust/release/outrigger-bench-peers
  (cd "$here/rust" && cargo build -q --release --locked --target-dir "$build/bench/rust") 2>"$results/rust.log" ||
    rust=$(reason "$results/rust.log")
fi

python=$venv/bin/python
out=$results/peers.json
"$python" -B "$here/peers/compare.py" "$out" "$data" "$build/server/outriggerd" "$build/bench/limits" "$rust" "$only"
echo
if [ -z "$only" ]; then
  cp "$out" "$here/results.json"
  "$python" -B "$here/peers/report.py" "$out" "$here/README.md"
  "$python" -B "$here/peers/picture.py" "$out" "$here/peers.svg"
else
  "$python" -B "$here/peers/report.py" "$out"
fi
echo
# Much as the daemon: workers wait awake for about a tenth of a millisecond.
GOMP_SPINCOUNT=4000 "$build/bench/engine_bench" --benchmark_enable_random_interleaving=true "$results/engine.json"
echo
before=()
if [ -f "$results/cases.json" ]; then
  mv "$results/cases.json" "$results/cases_before.json"
  before=("$results/cases_before.json")
fi
"$build/bench/cases_bench" "$results/cases.json" "${before[@]}"
echo
cd "$here/../client_ex/outrigger"
OUTRIGGERD=$build/server/outriggerd OUTRIGGER_ECHO=$build/bench/echo MIX_ENV=prod \
  mix run ../../bench/elixir/client.exs "$results/client.json"
