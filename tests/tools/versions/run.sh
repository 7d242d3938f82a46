#!/usr/bin/env bash
# run.sh [LEG...]: all tests with other versions than those of the system, on Debian. The legs, all of them by default:
#   hiredis-1.2     hiredis of Debian 13, else the system's
#   trixie-redis    Debian 13 in a chroot: GCC 14, hiredis 1.2, Catch2 3.7, Redis 8.0; and tests/tools/compilers/run.sh
#   trixie-valkey   the same build with Valkey 8
# LARDER_CHROOT is where the chroot is, or is made; it stays. It needs root, or sudo.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

chroot=${LARDER_CHROOT:-$PWD/build/trixie}
partial=
trap '[[ -z $partial ]] || as_root rm -rf "$partial"' EXIT

mirror() {
  . /etc/os-release
  apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Component: main' "Codename: $VERSION_CODENAME" |
    head -n 1
}

make_chroot() {
  local include
  need debootstrap
  [[ $(mirror) ]] || as_root apt-get update -q
  include=g++,cmake,ninja-build,pkg-config,libhiredis-dev,catch2,libcurl4-openssl-dev,libssl-dev,openssl
  include+=,redis-server,valkey-server,python3-cachecontrol,python3-redis,python3-prometheus-client
  mkdir -p "$(dirname "$chroot")"
  partial=$(mktemp -d "$chroot.XXXX")
  as_root debootstrap --variant=minbase --include="$include" trixie "$partial" "$(mirror)"
  as_root mkdir "$partial/larder"
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$partial/usr/sbin/policy-rc.d" >/dev/null
  echo '127.0.0.1 localhost' | as_root tee "$partial/etc/hosts" >/dev/null
  as_root chmod 755 "$partial" "$partial/usr/sbin/policy-rc.d"
  as_root mv "$partial" "$chroot"
  partial=
}

# Runs a command in the sources, which it cannot change, in the chroot. Whatever it leaves running ends with it.
in_chroot() {
  [[ -d $chroot ]] || make_chroot
  # shellcheck disable=SC2016
  as_root unshare --mount --pid --fork --kill-child bash -euc '
    mount --bind "$PWD" "$1/larder"
    mount -o remount,bind,ro "$1/larder"
    mount -t proc proc "$1/proc"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$1" bash -c "cd larder && exec \"\$@\"" bash "${@:2}"
  ' bash "$chroot" "$@"
}

# The headers of either hiredis with the library of the other.
mixed() {
  local dir library
  dir=$(mktemp -d)
  library=$(find "$1/lib" -name libhiredis.so)
  c++ -std=c++17 -I include -isystem "$1/include" tests/tools/versions/mixed.cpp -o "$dir/new-headers" -lhiredis -pthread
  c++ -std=c++17 -I include tests/tools/versions/mixed.cpp -o "$dir/old-headers" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -pthread
  "$dir/new-headers" "$dir/1.sock"
  "$dir/old-headers" "$dir/2.sock"
  rm -rf "$dir"
}

leg() {
  case $1 in
    hiredis-1.2)
      local prefix=$PWD/build/hiredis-trixie
      need compiler cmake ninja redis openssl libssl catch2 curl cachecontrol python-redis prometheus
      [[ -e $prefix/include/hiredis/hiredis.h ]] || tests/tools/hiredis.sh trixie "$prefix"
      mixed "$prefix"
      tests/tools/versions/suite.sh build/hiredis-1.2 libhiredis.so.1 redis-server -D CMAKE_PREFIX_PATH="$prefix"
      ;;
    trixie-redis)
      in_chroot tests/tools/versions/suite.sh /build libhiredis.so.1 redis-server
      in_chroot tests/tools/compilers/run.sh g++-14
      ;;
    trixie-valkey) in_chroot tests/tools/versions/suite.sh /build libhiredis.so.1 valkey-server ;;
    *) echo "There is no leg $1." >&2 && return 1 ;;
  esac
}

(($#)) || set -- hiredis-1.2 trixie-redis trixie-valkey
for name; do
  echo "--- $name"
  leg "$name"
  echo "--- $name passed (${SECONDS} s)"
done
