#!/usr/bin/env bash
# Assembles the Hex package of the Elixir client in a folder: client_ex/package.sh FOLDER
# A package holds only files below its mix.exs, so the daemon's sources become native/. There,
# `mix hex.build` makes the archive, and `mix hex.publish` publishes it.
set -euo pipefail
cd "$(dirname "$0")/.."
to=$1
rm -rf "$to"
mkdir -p "$to/native" "$to/priv"

# Only what git knows: no build folders, no leftovers.
copy() { # FROM_FOLDER TO_FOLDER PATH...
  local from=$1 into=$2
  shift 2
  git -C "$from" ls-files -z -- "$@" | tar -C "$from" --null --files-from=- -c | tar -C "$into" -x
}

copy client_ex/outrigger "$to" lib mix.exs README.md .formatter.exs
copy . "$to/native" CMakeLists.txt CMakePresets.json cmake server
copy . "$to" CHANGELOG.md LICENSE
cp protocol/ops.json "$to/priv/ops.json"
