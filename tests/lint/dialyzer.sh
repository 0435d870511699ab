#!/usr/bin/env bash
# Runs OTP's dialyzer on a package of client_ex: tests/lint/dialyzer.sh CACHE_FOLDER PACKAGE
# The cache folder keeps the table of OTP and Elixir, which takes minutes to make.
set -euo pipefail
mkdir -p "$1"
cache=$(cd "$1" && pwd)
package=$2
cd "$(dirname "$0")/../../client_ex/$package"

elixir_lib=$(elixir -e 'IO.write(Path.expand("../..", Path.dirname(:code.which(Enum))))')
# Dialyzer asks Elixir for the code of its modules.
export ERL_LIBS=$elixir_lib
version=$(elixir -e 'IO.write("#{System.version()}-#{System.otp_release()}")')
plt=$cache/$version-ssl.plt
if [ ! -e "$plt" ]; then
  # Status 2: the table is complete, and OTP's own code has warnings.
  status=0
  dialyzer --build_plt --output_plt "$plt.new" \
    --apps erts kernel stdlib compiler crypto asn1 public_key ssl \
    -r "$elixir_lib"/{elixir,logger,mix}/ebin >"$cache/plt.log" 2>&1 || status=$?
  [ $status = 0 ] || [ $status = 2 ] || { cat "$cache/plt.log"; exit 1; }
  mv "$plt.new" "$plt"
fi
[ -n "${OUTRIGGERD:-}" ] || { echo "OUTRIGGERD must name a built daemon"; exit 1; }
MIX_ENV=dev mix compile >/dev/null
# Dialyzer analyses this package only; it finds the modules of the dependencies.
own=_build/dev/lib/$package/ebin
others=()
for library in _build/dev/lib/*/ebin; do
  [ "$library" = "$own" ] || others+=(-pa "$library")
done
# From OTP 26 on, dialyzer warns of functions that it does not know, and has an option against it.
options=()
[ "${version##*-}" -lt 26 ] || options=(-Wno_unknown)
# The table has no callbacks of dependencies. With the types of Nx in it, Dialyzer takes each tensor
# for impossible: Nx.Tensor.t/0 is not what Nx itself makes.
[ ${#others[@]} = 0 ] || options+=(-Wno_undefined_callbacks)
status=0
dialyzer --plt "$plt" --quiet "${options[@]}" "${others[@]}" -r "$own" || status=$?
[ $status = 0 ] && echo "no warnings"
exit $status
