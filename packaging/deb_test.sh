#!/usr/bin/env bash
# Installs the package of a folder in a fresh system of this Debian, and uses it there:
# packaging/deb_test.sh FOLDER. `./run deb` calls this script as root.
# OUTRIGGER_MIRROR names the mirror; without it, debootstrap chooses.
set -euo pipefail
out=$(realpath "${1:?usage: packaging/deb_test.sh FOLDER}")
package=$(ls "$out"/*.deb)
root=$out/root
. /etc/os-release

clean() { rm -rf --one-file-system "$root"; }
trap clean EXIT
clean
echo "making a system of $PRETTY_NAME"
debootstrap --variant=minbase "$VERSION_CODENAME" "$root" ${OUTRIGGER_MIRROR:+"$OUTRIGGER_MIRROR"} \
  >"$out/debootstrap.log" || { tail -n 5 "$out/debootstrap.log" >&2; exit 1; }
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp "$package" "$root/tmp/package.deb"

export root
# The mounts end with their name space.
unshare --mount bash -c '
  set -e
  mount --make-rprivate /
  mount --bind "$root" "$root"
  for folder in /proc /dev /sys; do mount --rbind "$folder" "$root$folder"; done
  exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -s
' <<'INSIDE'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
passed=0
check() { # text, command
  local text=$1
  shift
  if ! "$@" >/tmp/check 2>&1; then
    echo "FAILED: $text" >&2
    cat /tmp/check >&2
    exit 1
  fi
  echo "ok: $text"
  passed=$((passed + 1))
}
apt-get update -qq
check "apt installs it, with the libraries that it needs" \
  apt-get install -y -qq --no-install-recommends /tmp/package.deb
apt-get install -y -qq --no-install-recommends systemd python3 man-db >/dev/null 2>&1
check "the unit is valid" systemd-analyze verify /usr/lib/systemd/system/outriggerd.service
exposure() { systemd-analyze security --offline=true --threshold=20 outriggerd.service; }
check "systemd rates its exposure 2.0 or less" exposure
check "it has manual pages" test -s /usr/share/man/man1/outriggerd.1.gz -a \
  -s /usr/share/man/man1/outriggerctl.1.gz
check "the shell completes the names of commands" \
  grep -q checkpoint /usr/share/bash-completion/completions/outriggerctl

# As the service does: its folders, its configuration, a user without rights.
useradd --system outrigger-test
mkdir -p /run/outrigger /var/lib/outrigger
chown outrigger-test /run/outrigger /var/lib/outrigger
start() {
  setpriv --reuid outrigger-test --clear-groups --no-new-privs \
    /usr/bin/outriggerd --config /etc/outrigger/outriggerd.toml 2>>/tmp/log &
  daemon=$!
  for _ in $(seq 100); do
    outriggerctl ping >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  cat /tmp/log
  return 1
}
export OUTRIGGER_ADDRESS=unix:/run/outrigger/outrigger.sock
start
check "a client is answered" outriggerctl ping
python3 -c '
import struct
head = repr({"descr": "<f8", "fortran_order": False, "shape": (3,)})
head += " " * (63 - (len(head) + 10) % 64) + "\n"
data = struct.pack("<3d", 1.5, 2.5, 3.5)
start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head))
open("/tmp/x.npy", "wb").write(start + head.encode() + data)'
check "a tensor is published" outriggerctl put /tmp/x.npy kept
kill -TERM "$daemon"
check "SIGTERM ends it with 0" wait "$daemon"
start
check "the tensor is there after a restart" outriggerctl get kept /tmp/y.npy
same() { tail -c 24 /tmp/x.npy | cmp - <(tail -c 24 /tmp/y.npy); }
check "it has the same bytes" same
kill -TERM "$daemon"
wait "$daemon"
check "nothing was warned of" test "$(grep -vc ' listening on ' /tmp/log)" = 0
check "apt removes it" apt-get remove -y -qq outrigger-server
check "no program is left" test ! -e /usr/bin/outriggerd
echo "$passed checks passed"
INSIDE
