#!/usr/bin/env bash
# ./run debian13 COMMAND calls it: runs a command of ./run in a Debian 13 root, which debootstrap makes once.
# The checkout is seen there at /outrigger, with build folders of its own; NX_PATH and the folders beside
# it are seen under the same names as here.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
root=${OUTRIGGER_DEBIAN13:-${XDG_CACHE_HOME:-$HOME/.cache}/outrigger/debian13}
[ "$(id -u)" = 0 ] || { echo "a Debian 13 root is made and entered by root: sudo ./run debian13 …" >&2; exit 1; }

# `made` is written last: a root that was left half done is made again.
if [ ! -e "$root/made" ]; then
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
  echo "making a Debian 13 root in $root"
  mkdir -p "$root/tree"
  # debootstrap refuses a folder that has a half made system.
  rm -rf --one-file-system "${root:?}/system"
  debootstrap --variant=minbase --include=ca-certificates,git trixie "$root/system" >"$root/debootstrap.log" || {
    tail -n 5 "$root/debootstrap.log" >&2
    exit 1
  }
  touch "$root/made"
fi

# Build folders of its own: another compiler, another Elixir.
for folder in build client_ex/outrigger/_build client_ex/outrigger_nx/_build client_ex/outrigger/priv/outriggerd; do
  mkdir -p "$tree/$folder" "$root/tree/$folder"
done
export tree root
# All mounts are in a name space of their own, and end with it.
exec unshare --mount --pid --fork bash -c '
  set -e
  mount --make-rprivate /
  system=$root/system
  cp -L /etc/resolv.conf "$system/etc/resolv.conf"
  mkdir -p "$system/outrigger"
  mount --bind "$tree" "$system/outrigger"
  for folder in build client_ex/outrigger/_build client_ex/outrigger_nx/_build client_ex/outrigger/priv/outriggerd; do
    mount --bind "$root/tree/$folder" "$system/outrigger/$folder"
  done
  if [ -n "${NX_PATH:-}" ]; then
    # Nx, and what it needs beside it.
    beside=$(dirname "$(dirname "$(realpath "$NX_PATH")")")
    mkdir -p "$system$beside"
    mount --rbind "$beside" "$system$beside"
    export NX_PATH=$(realpath "$NX_PATH")
  fi
  mount -t proc proc "$system/proc"
  mount --rbind /dev "$system/dev"
  mount --rbind /sys "$system/sys"
  exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" ${CI:+CI="$CI"} \
    ${NX_PATH:+NX_PATH="$NX_PATH" MIX_REBAR3=/usr/bin/rebar3} ${OUTRIGGER_SEED:+OUTRIGGER_SEED="$OUTRIGGER_SEED"} \
    chroot "$system" bash -c '\''git config --global --add safe.directory /outrigger; cd /outrigger && exec ./run "$@"'\'' run "$@"
' debian13 "$@"
