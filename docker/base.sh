#!/usr/bin/env bash
# Makes the image debian:trixie-slim from Debian's archive, if the engine does not have it: for
# machines that reach no registry. `docker pull debian:trixie-slim` gives the same system, and then
# this script does nothing. It needs the package debootstrap, and the rights of root.
set -euo pipefail
tag=debian:trixie-slim
if docker image inspect "$tag" >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
  echo "there is no image $tag: run \"docker pull $tag\", or \"sudo docker/base.sh\" to make it" >&2
  exit 1
fi
command -v debootstrap >/dev/null || { echo "docker/base.sh needs debootstrap" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
echo "making $tag from Debian's archive"
debootstrap --variant=minbase trixie "$root" >"$work/log" || { tail -n 5 "$work/log" >&2; exit 1; }

# Files that the slim images of Debian do not have; the licences stay.
excluded=(/usr/share/doc /usr/share/info /usr/share/linda /usr/share/lintian/overrides
  /usr/share/locale /usr/share/man)
{
  printf 'path-exclude %s/*\n' "${excluded[@]}"
  echo 'path-include /usr/share/doc/*/copyright'
} >"$root/etc/dpkg/dpkg.cfg.d/docker"
for folder in "${excluded[@]/#/$root}"; do
  [ -d "$folder" ] || continue
  find "$folder" -mindepth 1 ! -type d ! -name copyright -delete
  find "$folder" -mindepth 1 -type d -empty -delete
done

# An image keeps no package that apt has downloaded, and starts no service at an installation.
cat >"$root/etc/apt/apt.conf.d/docker" <<'CONF'
Acquire::Languages "none";
Acquire::GzipIndexes "true";
APT::AutoRemove::SuggestsImportant "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
CONF
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

rm "$root/etc/apt/sources.list"
cat >"$root/etc/apt/sources.list.d/debian.sources" <<'SOURCES'
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
SOURCES

rm -rf "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/lib/apt/lists/* \
  "$root"/var/log/*.log "$root"/var/log/apt "$root"/tmp/*
: >"$root/etc/machine-id"
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"

tar -C "$root" --numeric-owner --xattrs -c . | docker import -c 'CMD ["bash"]' - "$tag" >/dev/null
docker image inspect -f "$tag: {{.Size}} bytes" "$tag"
