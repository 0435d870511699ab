#!/usr/bin/env bash
# `./run debian13 COMMAND` calls this script: it runs a command of ./run in a Debian 13 root, which
# debootstrap makes once. The root sees the checkout at /outrigger. Its build folders are in
# build/debian13 of the checkout. It sees NX_PATH, and the checkouts of complex and telemetry, under
# the same names as the system outside.
#
# OUTRIGGER_DEBIAN13 names the folder of the root; without it, the root is in the user's cache.
# OUTRIGGER_DEBIAN13_MIRROR names the mirror for a new root; without it, debootstrap chooses.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
root=${OUTRIGGER_DEBIAN13:-${XDG_CACHE_HOME:-$HOME/.cache}/outrigger/debian13}
if [ "$(id -u)" != 0 ]; then
  echo "only the user root can make a Debian 13 root and enter it: sudo ./run debian13 …" >&2
  exit 1
fi

own=$tree/build/debian13
# A command inside the root cannot remove these folders, because they are mounted.
if [ "${1:-}" = clean ]; then
  rm -rf "$own"
  exit
fi

make_root() {
  if ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq debootstrap >/dev/null
  fi
  echo "making a Debian 13 root in $root"
  # debootstrap refuses a folder with an incomplete system.
  rm -rf --one-file-system "${root:?}/system"
  if ! debootstrap --variant=minbase --include=ca-certificates,git trixie "$root/system" \
    ${OUTRIGGER_DEBIAN13_MIRROR:+"$OUTRIGGER_DEBIAN13_MIRROR"} >"$root/debootstrap.log"; then
    tail -n 5 "$root/debootstrap.log" >&2
    exit 1
  fi
  # No downloaded package is needed again.
  rm -f "$root/system/var/cache/apt/archives/"*.deb
  echo 'APT::Keep-Downloaded-Packages "false";' >"$root/system/etc/apt/apt.conf.d/90outrigger"
  # The last step: an incomplete root is made again.
  touch "$root/made"
}

# Two commands do not make the root at the same time.
mkdir -p "$root"
exec 9>"$root/lock"
flock 9
[ -e "$root/made" ] || make_root
exec 9>&-

# The root has another compiler and another Elixir: it needs these folders for itself.
folders=(build client_ex/outrigger/_build client_ex/outrigger_nx/_build
  client_ex/outrigger/priv/outriggerd)
vars=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}")
for name in CI OUTRIGGER_SEED http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || vars+=("$name=${!name}")
done
# The mounts: a source and a target, in turns.
mounts=("$tree" /outrigger)
for folder in "${folders[@]}"; do
  mkdir -p "$tree/$folder" "$own/$folder"
  mounts+=("$own/$folder" "/outrigger/$folder")
done
if [ -n "${NX_PATH:-}" ]; then
  NX_PATH=$(realpath -e "$NX_PATH")
  checkout=$(dirname "$NX_PATH")
  mounts+=("$checkout" "$checkout")
  vars+=("NX_PATH=$NX_PATH")
  # Nx depends on these two; client_ex/outrigger_nx/mix.exs looks for them in the same places.
  for name in complex telemetry; do
    variable=${name^^}_PATH
    for path in "${!variable:-}" "$checkout/$name" "$(dirname "$checkout")/$name"; do
      [ -n "$path" ] && [ -d "$path" ] || continue
      path=$(realpath "$path")
      mounts+=("$path" "$path")
      vars+=("$variable=$path")
      break
    done
  done
fi

# The mounts are in a name space of their own, and end with it. There is no name space of processes:
# its first process would not see the signals that end the command.
export system=$root/system
exec unshare --mount bash -c '
  set -e
  mount --make-rprivate /
  cp -L /etc/resolv.conf "$system/etc/resolv.conf"
  while [ "$1" != -- ]; do
    mkdir -p "$system$2"
    mount --bind "$1" "$system$2"
    shift 2
  done
  for folder in /proc /dev /sys; do mount --rbind "$folder" "$system$folder"; done
  exec chroot "$system" env -i "${@:2}"
' debian13 "${mounts[@]}" -- "${vars[@]}" bash -c '
  # The checkout may belong to another user.
  git config --global --replace-all safe.directory "*"
  cd /outrigger
  exec ./run "$@"
' run "$@"
