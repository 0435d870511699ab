#!/usr/bin/env bash
# Runs each fuzzer of a build of the preset `asan`: tests/fuzz/run.sh BUILD [SECONDS] [SEED]
# Fails on any finding, and prints the command that repeats it.
set -euo pipefail

build=${1:?usage: tests/fuzz/run.sh BUILD [SECONDS] [SEED]}
seconds=${2:-60}
seed=${3:-$((RANDOM * 32768 + RANDOM))}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$build/fuzz
mkdir -p "$work"

# unhex FILE: the bytes of a golden frame, which may have comments and spaces.
unhex() {
  local digits
  digits=$(sed 's/#.*//' "$1" | tr -cd '0-9a-fA-F')
  printf '%b' "$(sed 's/../\\x&/g' <<<"$digits")"
}

# Writes the seeds: for the decoder each golden frame, as payload and as stream; for the session
# each golden frame, as stream and as choices; for the socket each golden frame, without and with a
# token; for the files each file of the tests; two CSV tables.
seed_corpus() {
  local fuzzer=$1 corpus=$2 file name
  mkdir -p "$corpus"
  if [[ $fuzzer == csv_fuzz ]]; then
    printf '\x12a,b\n1,2.5\r\n\n "3" ,-1e300\n,NA\nnan,+inf' >"$corpus/floats"
    printf '\x041;-2\n300;"4"\n\xef\xbb\xbf' >"$corpus/integers"
    return
  fi
  if [[ $fuzzer == files_fuzz ]]; then
    for file in "$root"/tests/files/data/*.np[yz]; do
      { printf '\000'; cat "$file"; } >"$corpus/$(basename "$file")"
      { printf '\001'; cat "$file"; } >"$corpus/member_$(basename "$file")"
    done
    return
  fi
  for file in "$root"/protocol/golden/frames/*/*.hex; do
    name=$(basename "$(dirname "$file")")_$(basename "$file" .hex)
    if [[ $fuzzer == decoder_fuzz ]]; then
      unhex "$file" | tail -c +5 >"$corpus/payload_$name"
      { printf '\377'; unhex "$file"; } >"$corpus/stream_$name"
    elif [[ $fuzzer == socket_fuzz ]]; then
      { printf '\002'; unhex "$file"; } >"$corpus/greeted_$name"
      { printf '\013'; unhex "$file"; } >"$corpus/token_$name"
    else
      { printf '\001'; unhex "$file"; } >"$corpus/greeted_$name"
      { printf '\002'; unhex "$file"; } >"$corpus/choices_$name"
    fi
  done
}

# Runs one fuzzer, and then prints its result.
fuzz() {
  local fuzzer=$1 binary=$build/tests/fuzz/$1 corpus=$work/$1.corpus log=$work/$1.log
  seed_corpus "$fuzzer" "$corpus"
  if "$binary" -seed="$seed" -max_total_time="$seconds" -max_len=4096 -timeout=120 \
    -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$work/$fuzzer." "$corpus" \
    >"$log" 2>&1; then
    echo "== $fuzzer: $seconds s, seed $seed, $(grep -oE 'Done [0-9]+ runs' "$log" || true)"
    return 0
  fi
  tail -n 60 "$log"
  echo "== $fuzzer found a fault. To repeat it with the input that caused it:"
  grep -oE 'Test unit written to .*' "$log" | sed "s|Test unit written to |   $binary |"
  echo "   To repeat the whole run: $binary -seed=$seed -max_total_time=$seconds $corpus"
  echo "   The log: $log"
  return 1
}

failed=0
running=()
settle() {
  local pid
  for pid in "${running[@]}"; do wait "$pid" || failed=1; done
  running=()
}

# One fuzzer runs on each processor.
for fuzzer in csv_fuzz decoder_fuzz files_fuzz session_fuzz socket_fuzz; do
  fuzz "$fuzzer" &
  running+=("$!")
  [ ${#running[@]} -lt "$(nproc)" ] || settle
done
settle
exit $failed
