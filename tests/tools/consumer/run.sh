#!/usr/bin/env bash
# Projects that use larder, each from nothing and with the lines of docs/install.md. Arguments choose among the legs.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh
. tests/tools/packaging/check.sh

legs=(fetch_content add_subdirectory find_package pkg_config compiler moved_prefix requested_version any_architecture
  unreadable_version hiredis_of_debian_12 hiredis_of_debian_13 hiredis_with_cmake_files hiredis_with_nothing hiredis_target
  hiredis_missing hiredis_without_library hiredis_too_old memory_alone components tls tls_missing)

need git compiler cmake ninja make hiredis libssl pkg-config

root=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
version=$(larder_version)
unset CMAKE_PREFIX_PATH PKG_CONFIG_PATH
export CMAKE_GENERATOR=Ninja
export CXXFLAGS="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Werror"

# What is here stands in for the public repository.
publish() {
  mkdir "$dir/larder"
  cp -R CMakeLists.txt cmake docs examples include tests "$dir/larder"
  cd "$dir/larder"
  git init -qb main
  git add .
  git -c user.name=larder -c user.email=larder@localhost commit -qm larder
}
(publish)
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url.$dir/larder.insteadOf
export GIT_CONFIG_VALUE_0=https://github.com/larder-cpp/larder.git

from_page() { (cd "$root" && page "$@"); }

follow() {
  local commands
  commands=$(from_page "$1")
  eval "$commands"
}

# A project here, which has the lines on standard input after its first ones.
project() {
  { printf 'cmake_minimum_required(VERSION 3.21)\nproject(app CXX)\nadd_executable(app app.cpp)\n' && cat; } >CMakeLists.txt
}

configure() { cmake -S . -B build "$@"; }

says() { grep -x "larder $version with hiredis ${1:-.*}"; }

build_and_run() {
  configure
  cmake --build build
  build/app | says
}

nothing_else_is_built_or_installed() {
  [[ $(find build -name '*.o') == build/CMakeFiles/app.dir/app.cpp.o ]]
  cmake --install build --prefix prefix
  [[ ! -e prefix ]]
}

# refuses WORDS CONFIGURE_ARGUMENT...: there has to be one error, with these words in it.
refuses() {
  local words=$1 output
  shift
  rm -rf build
  if output=$(configure "$@" 2>&1); then echo "$output" && return 1; fi
  if [[ $(grep -c "CMake Error" <<<"$output") != 1 ]]; then echo "$output" && return 1; fi
  tr -s ' \n' ' ' <<<"$output" | grep -F "$words" || { echo "$output" && return 1; }
}

fetch_content() {
  diff <(from_page FetchContent cmake) <(from_page "Add it to your project" cmake README.md)
  from_page FetchContent cmake | project
  build_and_run
  nothing_else_is_built_or_installed
}

add_subdirectory() {
  follow add_subdirectory
  from_page add_subdirectory cmake | project
  build_and_run
  nothing_else_is_built_or_installed
}

find_package() {
  follow find_package
  from_page find_package cmake | project
  build_and_run
}

pkg_config() {
  follow find_package
  from_page pkg-config make >Makefile
  make
  ./app | says
}

compiler() {
  follow add_subdirectory
  follow "The compiler alone"
  ./a.out | says
}

moved_prefix() {
  follow find_package
  mv .local moved
  rm -rf larder
  export CMAKE_PREFIX_PATH=$PWD/moved PKG_CONFIG_PATH=$PWD/moved/share/pkgconfig
  from_page find_package cmake | project
  build_and_run
  from_page pkg-config make >Makefile
  make
  ./app | says
}

requested_version() {
  follow find_package
  for good in 0.2 0.2.0; do
    project <<<"find_package(larder $good CONFIG REQUIRED)"
    configure
  done
  for bad in 0.1 0.2.1 0.3 1.0; do
    project <<<"find_package(larder $bad CONFIG REQUIRED)"
    refuses "compatible with requested version \"$bad\""
  done
}

any_architecture() {
  follow find_package
  cat >CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.21)
project(app C)
math(EXPR CMAKE_SIZEOF_VOID_P "12 - \${CMAKE_SIZEOF_VOID_P}") # 4 or 8, whichever it is not
$(from_page find_package cmake | grep '^find_package')
END
  configure
}

unreadable_version() {
  follow add_subdirectory
  project <<<"add_subdirectory(larder)"
  sed '/MINOR/d' "$root/include/larder/version.hpp" >larder/include/larder/version.hpp
  refuses 'should say a version of three numbers, and says "0.0"'
  rm larder/include/larder/version.hpp
  refused "cannot be read" configure
}

# in_both_ways COMMAND...: in a project that has larder as a subdirectory, and in one that has it installed. Both call
# hiredis themselves, too.
in_both_ways() {
  [[ -d .local ]] || follow find_package
  for way in add_subdirectory find_package; do
    {
      if [[ -e first_lines ]]; then cat first_lines; fi
      from_page $way cmake
      echo "target_link_libraries(app PRIVATE hiredis::hiredis)"
    } | project
    rm -rf build
    "$@"
  done
}

debian_13() {
  [[ -d $dir/debian_13 ]] || "$root/tests/tools/hiredis.sh" trixie "$dir/debian_13"
  cp -R "$dir/debian_13" hiredis
}

links() {
  local hiredis=$1
  shift
  configure "$@"
  cmake --build build
  build/app | says "$hiredis"
  ldd build/app | grep -F "$PWD/hiredis/lib"
}

hiredis_of_debian_12() {
  "$root/tests/tools/hiredis.sh" bookworm hiredis
  in_both_ways links 0.14.1 -D CMAKE_PREFIX_PATH="$PWD/hiredis"
}

hiredis_of_debian_13() {
  debian_13
  in_both_ways links 1.2.0 -D CMAKE_PREFIX_PATH="$PWD/hiredis"
}

hiredis_with_cmake_files() {
  "$root/tests/tools/hiredis.sh" trixie source source
  cmake -S source -B source/build --install-prefix "$PWD/hiredis" -D DISABLE_TESTS=ON -D CMAKE_POLICY_VERSION_MINIMUM=3.5
  cmake --build source/build --target install
  in_both_ways links 1.2.0 -D CMAKE_PREFIX_PATH="$PWD/hiredis"
  grep -F "hiredis_DIR:PATH=$PWD/hiredis" build/CMakeCache.txt
}

hiredis_with_nothing() {
  debian_13
  rm -r hiredis/lib/*/{cmake,pkgconfig} hiredis/share
  in_both_ways links 1.2.0 -D CMAKE_PREFIX_PATH="$PWD/hiredis"
}

# As conan's: all that the target has depends on the configuration.
hiredis_target() {
  debian_13
  cat >first_lines <<END
add_library(hiredis::hiredis INTERFACE IMPORTED)
target_include_directories(hiredis::hiredis INTERFACE $<$<CONFIG:Release>:$PWD/hiredis/include>)
target_link_libraries(hiredis::hiredis INTERFACE $<$<CONFIG:Release>:$(echo "$PWD"/hiredis/lib/*/libhiredis.so)>)
END
  in_both_ways links 1.2.0 -D CMAKE_BUILD_TYPE=Release
}

refused_in_both_ways() {
  in_both_ways refuses "larder needs hiredis 0.14 or later and found $1. Install it (apt-get install libhiredis-dev, " "${@:2}"
}

without_system() { printf 'set(CMAKE_FIND_USE_%s_PATH OFF)\n' CMAKE_SYSTEM SYSTEM_ENVIRONMENT >first_lines; }

hiredis_missing() {
  without_system
  refused_in_both_ways none
}

hiredis_without_library() {
  without_system
  debian_13
  rm -r hiredis/lib
  refused_in_both_ways "1.2 in $PWD/hiredis/include without its library" -D CMAKE_PREFIX_PATH="$PWD/hiredis"
}

hiredis_too_old() {
  debian_13
  sed -i 's/HIREDIS_MAJOR 1/HIREDIS_MAJOR 0/; s/HIREDIS_MINOR 2/HIREDIS_MINOR 13/' hiredis/include/hiredis/hiredis.h
  refused_in_both_ways "0.13 in $PWD/hiredis/include" -D CMAKE_PREFIX_PATH="$PWD/hiredis"
}

# A copy of the compiler's header directories that has everything but hiredis.
hide_hiredis() {
  local directory path="-nostdinc"
  while read -r directory; do
    if [[ -e $directory/hiredis ]]; then
      mkdir -p headers
      ln -s "$directory"/* headers
      rm headers/hiredis
      directory=$PWD/headers
    fi
    path+=" -isystem $directory"
  done < <(c++ -E -v -xc++ /dev/null 2>&1 | sed -n '/^#include </,/^End of/ s/^ //p')
  CXXFLAGS+=" $path -DHIREDIS_IS_ABSENT"
}

# In a project that has larder as a subdirectory, in one that has it installed, and in one for which it was installed
# without Redis: none looks for hiredis, and none needs its headers.
memory_alone() {
  cp "$root/tests/tools/packaging/memory_app.cpp" app.cpp
  follow find_package
  hide_hiredis
  cmake -S larder -B only -D LARDER_REDIS=OFF -D CMAKE_INSTALL_PREFIX="$PWD/only_memory"
  cmake --install only
  for way in "add_subdirectory(larder)" "$(from_page "Without hiredis" cmake | head -n 1)" \
    "find_package(larder CONFIG REQUIRED PATHS $PWD/only_memory NO_DEFAULT_PATH)"; do
    project <<<"$way
target_link_libraries(app PRIVATE larder::memory)"
    rm -rf build
    configure -D LARDER_REDIS=OFF --no-warn-unused-cli
    if grep -iE '^\w*hiredis\w*:' build/CMakeCache.txt; then return 1; fi
    cmake --build build
    build/app | grep -Fx "larder $version in memory"
  done
}

components() {
  follow find_package
  for good in redis "memory redis" "memory OPTIONAL_COMPONENTS redis nonsense"; do
    project <<<"find_package(larder CONFIG REQUIRED COMPONENTS $good)
target_link_libraries(app PRIVATE larder::larder)"
    rm -rf build
    build_and_run
  done
  project <<<"find_package(larder CONFIG REQUIRED COMPONENTS memory nonsense)"
  refuses "has no component nonsense"
  cmake -S larder -B only -D LARDER_REDIS=OFF -D CMAKE_INSTALL_PREFIX="$PWD/only_memory"
  cmake --install only
  project <<<"find_package(larder CONFIG REQUIRED COMPONENTS redis PATHS $PWD/only_memory NO_DEFAULT_PATH)"
  refuses "has no component redis"
}

# In a project that has larder as a subdirectory, in one that has it installed, and with pkg-config.
tls() {
  cp "$root/tests/tools/packaging/tls_app.cpp" app.cpp
  follow find_package
  for way in "add_subdirectory(larder)" "$(from_page TLS cmake | head -n 1)"; do
    project <<<"$way
$(from_page TLS cmake | tail -n 1)"
    rm -rf build
    configure
    cmake --build build
    build/app | grep -Fx "larder $version with TLS"
  done
  # shellcheck disable=SC2046
  c++ -std=c++17 app.cpp $(PKG_CONFIG_PATH=.local/share/pkgconfig pkg-config --cflags --libs larder-tls)
  ./a.out | grep -Fx "larder $version with TLS"
}

# Where OpenSSL is not there, all but TLS is.
tls_missing() {
  follow find_package
  local absent=(-D CMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON)
  for way in "add_subdirectory(larder)" "find_package(larder CONFIG REQUIRED)"; do
    project <<<"$way
target_link_libraries(app PRIVATE larder::larder)"
    rm -rf build
    configure "${absent[@]}"
    cmake --build build
    build/app | says
  done
  project <<<"add_subdirectory(larder)"
  refuses "larder::tls needs OpenSSL 1.1.1 or later." "${absent[@]}" -D LARDER_TLS=ON
  project <<<"find_package(larder CONFIG REQUIRED COMPONENTS tls)"
  refuses "larder::tls needs OpenSSL 1.1.1 or later" "${absent[@]}"
  cmake -S larder -B only -D LARDER_TLS=OFF -D CMAKE_INSTALL_PREFIX="$PWD/without"
  cmake --install only
  project <<<"find_package(larder CONFIG REQUIRED COMPONENTS tls PATHS $PWD/without NO_DEFAULT_PATH)"
  refuses "has no component tls"
}

# Each leg has a directory that is its home, too, and that holds nothing but a program.
leg() {
  mkdir "$dir/$1"
  cd "$dir/$1"
  cp "$root/tests/tools/packaging/app.cpp" .
  HOME=$PWD "$1"
}

(($#)) || set -- "${legs[@]}"
for name; do
  if [[ $name == hiredis_* && ! $(. /etc/os-release && echo "$ID") == debian ]]; then
    echo "skipped $name: this is not Debian"
  else
    check "$name" leg "$name"
  fi
done
report
