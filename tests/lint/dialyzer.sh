#!/usr/bin/env bash
# OTP's dialyzer over a package of client_ex: tests/lint/dialyzer.sh CACHE_FOLDER PACKAGE
# The table of OTP and Elixir takes a minute and is kept in the cache folder.
set -euo pipefail
cache=$1
package=$2
cd "$(dirname "$0")/../../client_ex/$package"
mkdir -p "$cache"

elixir_lib=$(elixir -e 'IO.write(Path.dirname(Path.dirname(:code.which(Enum))) |> Path.dirname())')
# Dialyzer asks Elixir for the code of its modules.
export ERL_LIBS=$elixir_lib
version=$(elixir -e 'IO.write("#{System.version()}-#{System.otp_release()}")')
plt=$cache/$version.plt
if [ ! -e "$plt" ]; then
  dialyzer --build_plt --output_plt "$plt.new" --apps erts kernel stdlib compiler crypto \
    -r "$elixir_lib"/{elixir,logger}/ebin >"$cache/plt.log" 2>&1 || [ $? = 2 ] || { cat "$cache/plt.log"; exit 1; }
  mv "$plt.new" "$plt"
fi
[ -n "${OUTRIGGERD:-}" ] || { echo "OUTRIGGERD must name a built daemon"; exit 1; }
MIX_ENV=dev mix compile >/dev/null
libraries=(_build/dev/lib/*/ebin)
# Dependencies are looked into for their types, and only this package's warnings count.
own=_build/dev/lib/$package/ebin
others=()
for library in "${libraries[@]}"; do [ "$library" = "$own" ] || others+=("$library"); done
status=0
dialyzer --plt "$plt" -Wno_unknown --quiet -r "$own" ${others[@]+-pa "${others[@]}"} || status=$?
[ $status = 0 ] && echo "no warnings"
exit $status
