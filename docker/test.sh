#!/usr/bin/env bash
# `./run docker` calls this script: it builds the images, then checks what docker/README.md promises
# of containers with as few rights as it recommends.
set -euo pipefail
cd "$(dirname "$0")/.."
compressed_max=60000000
project=outrigger-test-$$
work=$(mktemp -d)
export OUTRIGGER_SECRETS=$work/secrets
# Without its plugin buildx, the client refuses to use BuildKit.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

say() { printf '\033[1m== %s\033[0m\n' "$*"; }

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  echo "there is no Compose, neither the plugin of docker nor docker-compose" >&2
  exit 1
fi
compose+=(-p "$project" -f docker/compose.yml)

clean() {
  "${compose[@]}" down -v >/dev/null 2>&1 || true
  docker rm -f "$project-alone" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT

passed=0
check() { # text, command
  local text=$1
  shift
  if ! "$@" >"$work/check" 2>&1; then
    echo "FAILED: $text" >&2
    cat "$work/check" >&2
    docker logs "$project-alone" >&2 2>/dev/null || true
    "${compose[@]}" logs --no-color >&2 2>/dev/null || true
    exit 1
  fi
  echo "ok: $text"
  passed=$((passed + 1))
}
equal() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
# The command fails, and prints the text.
refused() {
  local text=$1
  shift
  if "$@" >"$work/refused" 2>&1; then echo "nothing was refused"; return 1; fi
  grep -F -e "$text" "$work/refused" || { cat "$work/refused"; return 1; }
}
field() { docker inspect -f "$1" "$2"; }
healthy() {
  local status
  for _ in $(seq 300); do
    status=$(field '{{.State.Health.Status}}' "$1")
    [ "$status" != healthy ] || return 0
    sleep 0.2
  done
  echo "the status is $status"
  field '{{json .State.Health}}' "$1"
  return 1
}
# Prints a value of `outriggerctl info --json` in a container.
told() { # container, key, key
  docker exec "$1" outriggerctl info --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]][sys.argv[2]])' "$2" "$3"
}
# Prints a field of /proc/PID/status of a container's process.
process() { # container, field
  awk -v name="$2:" '$1 == name { print $2 }' "/proc/$(field '{{.State.Pid}}' "$1")/status"
}

build() { # image, Dockerfile, further arguments
  say "building $1"
  # The packages come over the machine's own network.
  docker build --network host -t "$1" -f "$2" "${@:3}" . >"$work/build.log" 2>&1 ||
    { tail -n 40 "$work/build.log" >&2; exit 1; }
}
version=$(sed -n 's/^project(outrigger VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
build outrigger docker/Dockerfile --build-arg "VERSION=$version" \
  --build-arg "CMAKE_ARGS=${OUTRIGGER_CMAKE_ARGS:-}" \
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || true)"
build outrigger-example docker/example/Dockerfile

say "a server alone"
name=$project-alone
docker run -d --name "$name" --read-only --tmpfs /run/outrigger --cap-drop ALL --memory 300m \
  --security-opt no-new-privileges --health-interval 1s outrigger \
  --listen unix:/run/outrigger/outrigger.sock --memory-limit 50% >/dev/null
check "the health check passes" healthy "$name"
check "the user is not root" equal "$(process "$name" Uid)" 10001
check "it has no capability" equal "$(process "$name" CapBnd)" 0000000000000000
check "it gains no privilege" equal "$(process "$name" NoNewPrivs)" 1
check "its root cannot be written" grep -qE '^([^ ]+ ){4}/ ro' \
  "/proc/$(field '{{.State.Pid}}' "$name")/mountinfo"
check "half of the memory is half of the container's" equal "$(told "$name" memory limit)" \
  $((150 * 1024 * 1024))
check "the version is that of the image" equal \
  "$(docker exec "$name" outriggerd --version)" \
  "outriggerd $(field '{{index .Config.Labels "org.opencontainers.image.version"}}' outrigger)"
check "it has nothing to warn of" equal "$(docker logs "$name" 2>&1 | grep -v ' listening on ')" ""
docker stop -t 20 "$name" >/dev/null
check "SIGTERM ends it with 0" equal "$(field '{{.State.ExitCode}}' "$name")" 0
check "a reachable address without TLS is refused" refused "which is no tls://" \
  docker run --rm outrigger --listen tcp://0.0.0.0:7171

say "a server and an application over TLS"
docker/secrets.sh "$OUTRIGGER_SECRETS"
"${compose[@]}" up -d --no-build server >/dev/null 2>&1
server=$("${compose[@]}" ps -q server)
check "the health check passes, with a token" healthy "$server"
check "the memory limit is 75% of 2 GiB" equal "$(told "$server" memory limit)" 1610612736
example() { "${compose[@]}" run --rm -T "$@"; }
example example >"$work/example" 2>&1 || { cat "$work/example" >&2; exit 1; }
check "the application computes" grep -qF "sum of x: 4.999995e11" "$work/example"
check "it writes in place" grep -qF "[9.0, 0.5, 0.25, 0.125, 13.0]" "$work/example"
check "another token is refused" refused unauthorized \
  example -e OUTRIGGER_TOKEN_FILE=/run/secrets/authority example
ctl() {
  docker run --rm --network "${project}_default" --entrypoint outriggerctl \
    -v "$OUTRIGGER_SECRETS/ca.pem:/ca.pem:ro" "$@"
}
scrape() {
  docker run --rm --network "${project}_default" debian:trixie-slim bash -c \
    'exec 3<>/dev/tcp/server/9464; printf "GET $0 HTTP/1.0\r\n\r\n" >&3; cat <&3' "$1"
}
scrape /metrics >"$work/metrics"
check "another container can scrape it" grep -q '^outrigger_sessions [0-9]' "$work/metrics"
scrape /healthz >"$work/health"
check "its engine is healthy" grep -qx healthy "$work/health"
check "no token is refused" refused unauthorized \
  ctl outrigger ping --connect tls://server:7171 --tls-ca /ca.pem
check "plain TCP is refused" refused tls:// ctl outrigger ping --connect tcp://server:7171
check "a certificate of an unknown authority is refused" refused "not trusted" \
  ctl outrigger ping --connect tls://server:7171

example example "Example.keep()" >"$work/keep" 2>&1 || { cat "$work/keep" >&2; exit 1; }
version=$(grep -x 'version [0-9]*' "$work/keep")
check "an application's token may not ask for a checkpoint" refused forbidden \
  ctl -v "$OUTRIGGER_SECRETS/app_token:/token:ro" outrigger checkpoint \
  --connect tls://server:7171 --tls-ca /ca.pem --token-file /token
check "a checkpoint is written" \
  ctl -v "$OUTRIGGER_SECRETS/ops_token:/token:ro" outrigger checkpoint \
  --connect tls://server:7171 --tls-ca /ca.pem --token-file /token
docker kill -s KILL "$server" >/dev/null
docker start "$server" >/dev/null
check "a killed server starts again with its data volume" healthy "$server"
example example "Example.kept()" >"$work/kept" 2>&1 || { cat "$work/kept" >&2; exit 1; }
check "it has the published tensor" grep -qF "kept: [1.5, 2.5, 3.5]" "$work/kept"
check "the tensor has the same version" grep -qx "$version" "$work/kept"
check "the data volume is the user's alone" equal \
  "$(docker run --rm -v "${project}_data:/data:ro" debian:trixie-slim stat -c '%u %a' /data)" \
  "10001 700"

example example "Example.long(300)" >"$work/long" 2>&1 &
long=$!
for _ in $(seq 600); do
  if grep -q computing "$work/long" || ! kill -0 $long 2>/dev/null; then break; fi
  sleep 0.1
done
docker stop -t 30 "$server" >/dev/null
finished() { wait $long && grep -x done "$work/long" || { cat "$work/long"; return 1; }; }
check "SIGTERM lets a computation end" finished
docker logs "$server" >"$work/log" 2>&1
check "the signal came in the middle of it" grep "stopping: 1 sessions" "$work/log"
check "the server ends with 0" equal "$(field '{{.State.ExitCode}}' "$server")" 0

say "sizes"
bytes=$(docker save outrigger | gzip | wc -c)
size=$(field '{{.Size}}' outrigger)
echo "outrigger: $((size / 1000000)) MB, $((bytes / 1000000)) MB compressed"
check "the compressed image has less than $((compressed_max / 1000000)) MB" \
  [ "$bytes" -lt $compressed_max ]
echo "$passed checks passed"
