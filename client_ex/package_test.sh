#!/usr/bin/env bash
# Takes the package as a user does: client_ex/package_test.sh FOLDER (made by package.sh).
# It is copied away from the checkout, compiled as the dependency of a new application, daemon
# included, and used.
set -euo pipefail
package=$(cd "$1" && pwd)
unset OUTRIGGERD OUTRIGGER_OPS_JSON
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$package" "$work/outrigger"
mkdir "$work/app"
cd "$work/app"
cat >mix.exs <<'ELIXIR'
defmodule App.MixProject do
  use Mix.Project
  def project, do: [app: :app, version: "0.1.0", deps: [{:outrigger, path: "../outrigger"}]]
  def application, do: []
end
ELIXIR
export MIX_ENV=prod
# Everything that the package lists must be there, and the package must list what it needs.
for path in $(cd ../outrigger && mix run --no-compile --no-deps-check --no-start -e \
  'IO.puts(Enum.join(Mix.Project.config()[:package][:files], " "))' | tail -1); do
  [ -e "$work/outrigger/$path" ] || { echo "the package lacks $path"; exit 1; }
done
mix compile
mix run -e '
{:ok, _} = Outrigger.start_link(name: App.Compute)
x = Outrigger.tensor(App.Compute, [1.0, 2.0])
[2.0, 3.0] = x |> Outrigger.Op.add(1) |> Outrigger.to_list!()
daemon = Outrigger.Daemon.executable(%{daemon: nil})
IO.puts("the package works with the daemon that it built: #{inspect(elem(daemon, 0))}")
'
