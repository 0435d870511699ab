#!/usr/bin/env bash
# Makes certificates and tokens to try the server out: docker/secrets.sh [FOLDER [NAME...]]
# FOLDER is docker/secrets if it is not given. The certificate of the server is for the NAMEs, hosts
# or addresses; for server, localhost and 127.0.0.1 without any. For a server of your own, take the
# certificates of your own authority.
set -euo pipefail
umask 077
folder=${1:-$(dirname "$0")/secrets}
names=("${@:2}")
[ ${#names[@]} -gt 0 ] || names=(server localhost 127.0.0.1)
days=90

# The files can be read by all, so that the user of a container can read those that it is given. On
# this machine the folder's mode keeps others away.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

alternatives=""
for name in "${names[@]}"; do
  kind=DNS
  [[ $name =~ ^[0-9.]+$|: ]] && kind=IP
  alternatives+=",$kind:$name"
done

openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key
openssl req -x509 -new -key ca.key -days $days -subj "/CN=Outrigger, to try it out" \
  -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server.key
openssl req -new -key server.key -subj "/CN=${names[0]}" -out server.csr
said=$(openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days $days -out server.pem \
  -extfile <(printf '%s\n' "subjectAltName=${alternatives#,}" "basicConstraints=CA:FALSE" \
    "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth") 2>&1) ||
  { echo "$said" >&2; exit 1; }
# Nothing else is signed by this authority.
rm ca.key server.csr

# The health check takes the first token of the list.
app=$(openssl rand -hex 32)
ops=$(openssl rand -hex 32)
printf '%s\n' "# name rights token" "health read $(openssl rand -hex 32)" \
  "app read,write,publish $app" "ops admin $ops" >tokens
echo "$app" >app_token
echo "$ops" >ops_token
chmod 644 ca.pem server.pem server.key tokens app_token ops_token
