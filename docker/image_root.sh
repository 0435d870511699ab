#!/usr/bin/env bash
# Completes the root of the image, in the builder stage: docker/image_root.sh FOLDER
# FOLDER has what `cmake --install` has put there. This script adds the shared libraries that these
# programs load, from the packages of this stage, and nothing else that runs: no shell, no package
# manager. Each package leaves its licence and its entry for scanners of vulnerabilities.
set -euo pipefail
root=$1
libraries=/usr/lib/$(gcc -print-multiarch)

# The daemon loads OpenBLAS by its path, with the first linear algebra.
openblas=$libraries/openblas-openmp/libopenblas.so.0
programs=("$root"/usr/local/bin/* "$openblas")
mapfile -t own < <(find "$root/usr/local/lib" -name '*.so')

# Prints the shared libraries of the system that a program or a library loads, and the loader.
loaded_by() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ "^/" { print $3 } $1 ~ "^/lib" { print $1 }' |
    grep -v "^$root/" | sort -u
}

if ldd "${programs[@]}" "${own[@]}" | grep 'not found'; then exit 1; fi

# The same links from /lib to /usr/lib as in the system, which the loader's path goes through.
for link in lib lib64; do
  mkdir -p "$root/usr/$link"
  ln -s "usr/$link" "$root/$link"
done

# Prints the package that a file is from. dpkg knows some files by their path without /usr.
package_of() {
  { dpkg-query -S "$1" || dpkg-query -S "${1#/usr}"; } 2>/dev/null |
    head -n 1 | cut -d : -f 1 || true
}

packages=()
add_file() {
  mkdir -p "$root$(dirname "$1")"
  cp -P --preserve=mode,timestamps "$1" "$root$1"
}
for path in "$openblas" $(loaded_by "${programs[@]}" "${own[@]}"); do
  # Programs name a library by a link, whose target has the version.
  path=$(realpath "$(dirname "$path")")/$(basename "$path")
  file=$(realpath "$path")
  add_file "$file"
  [ "$path" = "$file" ] || add_file "$path"
  package=$(package_of "$file")
  [ -n "$package" ] || { echo "no package has the library $file" >&2; exit 1; }
  packages+=("$package")
done

# Libraries without a file in the image: their headers and archives are compiled into the programs.
compiled_in=(libboost-dev libcli11-dev libeigen3-dev libexpected-dev libhwy-dev libmsgpack-cxx-dev
  libxbyak-dev libxxhash-dev)
mapfile -t packages < <(printf '%s\n' "${packages[@]}" base-files | sort -u)
mkdir -p "$root/var/lib/dpkg/status.d"
for package in "${packages[@]}"; do
  dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
done
# Prints the file with the licence of a package. It may be in the folder of another package of the
# same source: slim systems do not have the link to it.
licence_of() {
  local source other
  source=$(dpkg-query -W -f '${source:Package}' "$1")
  for other in "$1" $(dpkg-query -W -f '${source:Package} ${Package}\n' |
    awk -v source="$source" '$1 == source { print $2 }'); do
    if [ -f "/usr/share/doc/$other/copyright" ]; then
      echo "/usr/share/doc/$other/copyright"
      return
    fi
  done
  echo "the package $1 has no licence" >&2
  return 1
}
for package in "${packages[@]}" "${compiled_in[@]}"; do
  licence=$(licence_of "$package")
  install -D -m 644 "$licence" "$root/usr/share/doc/$package/copyright"
done
mkdir -p "$root/usr/share/common-licenses"
cp -P /usr/share/common-licenses/* "$root/usr/share/common-licenses/"
install -D -m 644 docker/LICENSE "$root/usr/share/doc/outrigger/LICENSE"

mkdir -p "$root/etc"
cp /etc/os-release "$root/etc/os-release"
echo 'outrigger:x:10001:10001::/nonexistent:/nonexistent' >"$root/etc/passwd"
echo 'outrigger:x:10001:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# The folder of the socket has the mode of /tmp: a tmpfs there takes this mode over, not an owner.
# The socket's own mode is 0600. A new volume at the other folder, for tensors in files, takes over
# its owner.
install -d -m 1777 "$root/run/outrigger"
install -d -m 750 -o 10001 -g 10001 "$root/var/lib/outrigger"
# The same for published tensors (--data).
install -d -m 700 -o 10001 -g 10001 "$root/data"
