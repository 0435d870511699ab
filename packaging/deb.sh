#!/usr/bin/env bash
# Makes the Debian package of the server from a release build: packaging/deb.sh BUILD OUT
# The package is for the Debian on which the build ran.
set -euo pipefail
build=${1:?usage: packaging/deb.sh BUILD OUT}
out=${2:?usage: packaging/deb.sh BUILD OUT}
here=$(cd "$(dirname "$0")" && pwd)
stage=$out/stage
rm -rf "$out"
mkdir -p "$stage"

DESTDIR=$stage cmake --install "$build" --prefix /usr --strip >/dev/null
install -D -m 644 "$here/outriggerd.service" "$stage/usr/lib/systemd/system/outriggerd.service"
install -D -m 644 "$here/outriggerd.toml" "$stage/etc/outrigger/outriggerd.toml"
install -D -m 644 "$here/../LICENSE" "$stage/usr/share/doc/outrigger-server/copyright"
mkdir -p "$stage/usr/share/man/man1" "$stage/usr/share/bash-completion/completions" \
  "$stage/usr/share/zsh/vendor-completions"
"$stage/usr/bin/outriggerctl" completion bash \
  >"$stage/usr/share/bash-completion/completions/outriggerctl"
"$stage/usr/bin/outriggerctl" completion zsh \
  >"$stage/usr/share/zsh/vendor-completions/_outriggerctl"
# The man pages are the help texts: no second copy of them can grow old.
manual() { # program, what it is
  help2man --no-info --section 1 --name "$2" "$stage/usr/bin/$1" |
    gzip -9n >"$stage/usr/share/man/man1/$1.1.gz"
}
manual outriggerd "server of mutable tensors for number crunching"
manual outriggerctl "command line client of an Outrigger server"

version=$("$stage/usr/bin/outriggerd" --version | awk '{ print $2 }')
stage=$(realpath "$stage")
if ! OUTRIGGER_STAGE=$stage cpack --config "$here/cpack.cmake" \
  -D CPACK_PACKAGE_VERSION="$version" -B "$(realpath "$out")" >"$out/cpack.log" 2>&1; then
  cat "$out/cpack.log" >&2
  exit 1
fi
rm -rf "$out/_CPack_Packages"
ls "$out"/*.deb
