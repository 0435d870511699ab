#!/usr/bin/env bash
# `./run bench --against REV [NAME...]` calls this script: it builds engine_bench of a revision
# beside this tree's, and compares the two: bench/against.sh BUILD_FOLDER REV [NAME...]
set -euo pipefail
build=$1
revision=$(git rev-parse --verify "$2^{commit}")
shift 2
here=$(cd "$(dirname "$0")" && pwd)
old=$build/against
# All revisions use one folder: a second revision compiles only the files that differ.
if [ -e "$old/.git" ]; then
  git -C "$old" checkout -q --detach "$revision"
else
  git worktree prune
  git worktree add -q --detach "$old" "$revision"
fi
(
  cd "$old"
  cmake --preset release -DOUTRIGGER_BENCH=ON -DOUTRIGGER_TESTS=OFF >/dev/null
  cmake --build build/release --target engine_bench
)
mkdir -p "$build/../bench_history"
python3 -B "$here/against.py" "$old/build/release/bench/engine_bench" "$build/bench/engine_bench" \
  "$build/../bench_history/engine.jsonl" "$revision" "$@"
