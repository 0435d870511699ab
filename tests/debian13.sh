#!/usr/bin/env bash
# `./run debian13 COMMAND` calls this script: it runs a command of ./run in a Debian 13 root, which
# debootstrap makes once. The root sees the checkout at /outrigger, with build folders of its own.
# It sees NX_PATH and the folders beside NX_PATH under the same names as the system outside.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
root=${OUTRIGGER_DEBIAN13:-${XDG_CACHE_HOME:-$HOME/.cache}/outrigger/debian13}
if [ "$(id -u)" != 0 ]; then
  echo "only the user root can make a Debian 13 root and enter it: sudo ./run debian13 …" >&2
  exit 1
fi

# The script writes `made` last: it makes an incomplete root again.
if [ ! -e "$root/made" ]; then
  if ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq debootstrap >/dev/null
  fi
  echo "making a Debian 13 root in $root"
  mkdir -p "$root/tree"
  # debootstrap refuses a folder with an incomplete system.
  rm -rf --one-file-system "${root:?}/system"
  if ! debootstrap --variant=minbase --include=ca-certificates,git trixie "$root/system" \
    >"$root/debootstrap.log"; then
    tail -n 5 "$root/debootstrap.log" >&2
    exit 1
  fi
  touch "$root/made"
fi

# The root has another compiler and another Elixir: it needs these folders for itself.
folders="build client_ex/outrigger/_build client_ex/outrigger_nx/_build"
folders+=" client_ex/outrigger/priv/outriggerd"
for folder in $folders; do
  mkdir -p "$tree/$folder" "$root/tree/$folder"
done
export tree root folders
# The mounts are in a name space of their own, and end with it.
exec unshare --mount --pid --fork bash -c '
  set -e
  mount --make-rprivate /
  system=$root/system
  cp -L /etc/resolv.conf "$system/etc/resolv.conf"
  mkdir -p "$system/outrigger"
  mount --bind "$tree" "$system/outrigger"
  for folder in $folders; do
    mount --bind "$root/tree/$folder" "$system/outrigger/$folder"
  done
  if [ -n "${NX_PATH:-}" ]; then
    # Nx needs the folders beside it.
    beside=$(dirname "$(dirname "$(realpath "$NX_PATH")")")
    mkdir -p "$system$beside"
    mount --rbind "$beside" "$system$beside"
    export NX_PATH=$(realpath "$NX_PATH")
  fi
  mount -t proc proc "$system/proc"
  mount --rbind /dev "$system/dev"
  mount --rbind /sys "$system/sys"
  vars=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}")
  [ -z "${CI:-}" ] || vars+=(CI="$CI")
  [ -z "${NX_PATH:-}" ] || vars+=(NX_PATH="$NX_PATH" MIX_REBAR3=/usr/bin/rebar3)
  [ -z "${OUTRIGGER_SEED:-}" ] || vars+=(OUTRIGGER_SEED="$OUTRIGGER_SEED")
  trust="git config --global --add safe.directory /outrigger"
  exec env -i "${vars[@]}" chroot "$system" \
    bash -c "$trust; cd /outrigger && exec ./run \"\$@\"" run "$@"
' debian13 "$@"
