#!/usr/bin/env bash
# larder's vcpkg port and manifests, as far as they can be tested without vcpkg: stand_ins.cmake runs the port.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
. tests/tools/setup.sh
. tests/tools/packaging/check.sh

need compiler cmake hiredis libssl pkg-config python3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
here=tests/tools/packaging/vcpkg
version=$(larder_version)

# port DIRECTORY FEATURE...: vcpkg, too, moves what the port has made to where programs find it.
port() {
  local installed=$1
  shift
  rm -rf "$dir/build" "$dir/packages"
  cmake -D FEATURES="$(IFS=';' && echo "$*")" -D SOURCE="$PWD" -D CURRENT_BUILDTREES_DIR="$dir/build" \
    -D CURRENT_PACKAGES_DIR="$dir/packages" -P $here/stand_ins.cmake
  mv "$dir/packages" "$dir/$installed"
}

# What vcpkg warns of in a header-only port is not there, and what it needs is.
installed_files() {
  diff - <(cd "$dir/installed" && find . -type f ! -path './include/*' -o -type d -empty | LC_ALL=C sort) <<'FILES'
./share/larder/copyright
./share/larder/larder-config-version.cmake
./share/larder/larder-config.cmake
./share/larder/larder-hiredis.cmake
./share/larder/larder-memory-targets.cmake
./share/larder/larder-redis-targets.cmake
./share/larder/usage
./share/pkgconfig/larder-memory.pc
./share/pkgconfig/larder.pc
FILES
  diff -r include "$dir/installed/include"
  diff LICENSE "$dir/installed/share/larder/copyright"
}

runs() { "$@" | grep -E "^larder $version with hiredis [0-9.]+$"; }

as_usage_says() {
  mkdir "$dir/app"
  cp tests/tools/packaging/app.cpp "$dir/app/main.cpp"
  cd "$dir/app"
  {
    printf 'cmake_minimum_required(VERSION 3.21)\nproject(app LANGUAGES CXX)\nadd_executable(main main.cpp)\n'
    sed -n 's/^  //p' "$dir/installed/share/larder/usage"
  } >CMakeLists.txt
  cmake -S . -B build -D CMAKE_PREFIX_PATH="$dir/installed"
  grep -F "larder_DIR:PATH=$dir/installed/share/larder" build/CMakeCache.txt
  cmake --build build
  runs build/main
}

as_pkg_config_says() {
  # shellcheck disable=SC2046
  c++ -std=c++17 tests/tools/packaging/app.cpp -o "$dir/app/app" \
    $(PKG_CONFIG_PATH=$dir/installed/share/pkgconfig pkg-config --cflags --libs larder)
  runs "$dir/app/app"
}

# The feature `redis` is not there, and neither is hiredis in what is asked for.
without_redis() {
  [[ ! -e $dir/memory/share/larder/larder-redis-targets.cmake && ! -e $dir/memory/share/pkgconfig/larder.pc ]]
  # shellcheck disable=SC2046
  c++ -std=c++17 tests/tools/packaging/memory_app.cpp -o "$dir/memory_app" \
    $(PKG_CONFIG_PATH=$dir/memory/share/pkgconfig pkg-config --cflags --libs larder-memory)
  "$dir/memory_app" | grep -Fx "larder $version in memory"
}

with_tls() {
  [[ ! -e $dir/installed/share/pkgconfig/larder-tls.pc ]]
  # shellcheck disable=SC2046
  c++ -std=c++17 tests/tools/packaging/tls_app.cpp -o "$dir/tls_app" \
    $(PKG_CONFIG_PATH=$dir/tls/share/pkgconfig pkg-config --cflags --libs larder-tls)
  "$dir/tls_app" | grep -Fx "larder $version with TLS"
}

page_agrees() { diff <(page vcpkg cmake) <(sed -n 's/^  //p' $here/usage); }

check "vcpkg.json" python3 $here/manifest.py vcpkg.json
check "the port's vcpkg.json, for larder $version" python3 $here/manifest.py $here/vcpkg.json "$version"
check "the port's portfile.cmake, with stand-ins for vcpkg's functions" port installed core redis
check "it installs the headers, the package config, larder.pc, LICENSE and usage, and nothing else" installed_files
check "a program that uses it as the port's usage says" as_usage_says
check "a program that uses it through pkg-config" as_pkg_config_says
check "the port without its feature redis" port memory core
check "a program that uses larder::memory of it" without_redis
check "the port with its feature tls" port tls core redis tls
check "a program that uses larder-tls of it" with_tls
check "docs/install.md says what usage says" page_agrees
report
