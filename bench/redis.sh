#!/usr/bin/env bash
# Prints the SETs a second of a Redis server over a Unix socket, by redis-benchmark, with as many
# clients and requests on their way as sockets_bench.cpp has. It is the row beside "pipelined".
set -euo pipefail
folder=$(mktemp -d)
redis-server --port 0 --unixsocket "$folder/s" --save "" --appendonly no --dir "$folder" \
  --daemonize no >"$folder/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  redis-cli -s "$folder/s" ping >/dev/null 2>&1 && break
  sleep 0.1
done
for clients in 1 64; do
  redis-benchmark -s "$folder/s" -t set -c $clients -P 16 -n 1000000 --csv |
    awk -F '","' -v clients=$clients \
      '/^"SET"/ { printf "redis SET, 16 on their way, %d clients %12d calls/s\n", clients, $2 }'
done
