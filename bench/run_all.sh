#!/usr/bin/env bash
# ./run bench calls it: bench/run_all.sh BUILD_FOLDER. Results as JSON go to BUILD_FOLDER/bench.
set -euo pipefail
build=$1
results=$build/bench/results
mkdir -p "$results"
# The daemon runs with the same policy: idle workers sleep.
OMP_WAIT_POLICY=passive "$build/bench/engine_bench" --benchmark_enable_random_interleaving=true "$results/engine.json"
OMP_WAIT_POLICY=passive "$build/bench/linalg_bench" --benchmark_enable_random_interleaving=true "$results/linalg.json"
echo
cd "$(dirname "$0")/../client_ex/outrigger"
OUTRIGGERD=$build/server/outriggerd OUTRIGGER_ECHO=$build/bench/echo MIX_ENV=prod \
  mix run ../../bench/elixir/client.exs "$results/client.json"
