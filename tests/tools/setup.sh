# shellcheck shell=bash
# Sourced by the run scripts: `need NAME...` installs what is missing with the system's package manager. It shows the
# command and asks first, unless the script's first argument is --yes, CI is set, or the user is root.

if [[ ${1-} == --yes ]]; then
  export LARDER_YES=1
  shift
fi

# name          apt-get               dnf                   pacman               brew
packages='
compiler        g++                   gcc-c++               gcc                  llvm
clang           clang                 clang                 clang                llvm
clang-runtime   libclang-rt-dev       compiler-rt           compiler-rt          llvm
clang-format    clang-format          clang-tools-extra     clang                clang-format
clang-tidy      clang-tidy            clang-tools-extra     clang                llvm
shellcheck      shellcheck            ShellCheck            shellcheck           shellcheck
doxygen         doxygen               doxygen               doxygen              doxygen
valgrind        valgrind              valgrind              valgrind             -
git             git                   git                   git                  git
cmake           cmake                 cmake                 cmake                cmake
ninja           ninja-build           ninja-build           ninja                ninja
mingw           g++-mingw-w64-x86-64  -                     -                    -
wine            wine                  -                     -                    -
debootstrap     debootstrap           -                     -                    -
make            make                  make                  make                 make
pkg-config      pkg-config            pkgconf-pkg-config    pkgconf              pkgconf
python3         python3               python3               python               python
venv            python3-venv          python3               python               python
hiredis         libhiredis-dev        hiredis-devel         hiredis              hiredis
redis           redis-server          redis                 valkey               redis
catch2          catch2                catch-devel           catch2               catch2
openssl         openssl               openssl               openssl              openssl
libssl          libssl-dev            openssl-devel         openssl              openssl
curl            libcurl4-openssl-dev  libcurl-devel         curl                 curl
cachecontrol    python3-cachecontrol  python3-CacheControl  python-cachecontrol  -
python-redis    python3-redis         python3-redis         python-redis         -
prometheus      python3-prometheus-client python3-prometheus_client python-prometheus_client -
'

has_program() {
  local program
  for program; do command -v "$program" >/dev/null && return; done
  return 1
}

has_header() {
  local header
  for header; do
    c++ -I/opt/homebrew/include -xc++ -E - <<<"#include <$header>" >/dev/null 2>&1 && return
  done
  return 1
}

has_module() { PATH=/usr/bin:$PATH python3 -c "import $1" 2>/dev/null; }

has() {
  case $1 in
    compiler) has_program c++ ;;
    clang) has_program clang++ ;;
    clang-runtime) compgen -G "$(clang++ -print-resource-dir 2>/dev/null)/lib/*/libclang_rt.fuzzer*" >/dev/null ;;
    mingw) has_program x86_64-w64-mingw32-g++-posix ;;
    redis) has_program redis-server valkey-server && has_program redis-cli valkey-cli ;;
    hiredis) has_header hiredis/hiredis.h ;;
    catch2) has_header catch2/catch_all.hpp catch2/catch.hpp ;;
    libssl) has_header openssl/ssl.h ;;
    curl) has_header curl/curl.h ;;
    cachecontrol) has_module cachecontrol ;;
    python-redis) has_module redis ;;
    prometheus) has_module prometheus_client ;;
    venv) has_program python3 && python3 -c 'import ensurepip' 2>/dev/null ;;
    *) has_program "$1" ;;
  esac
}

as_root() { if ((EUID)); then sudo "$@"; else "$@"; fi; }

# may_run COMMAND...: shows the command, and asks whether to run it.
may_run() {
  local answer command="$*"
  if ((EUID)); then command=${command/as_root/sudo}; else command=${command/as_root /}; fi
  printf "Missing packages, and the command that installs them:\n  %s\n" "$command" >&2
  if ((EUID == 0)) || [[ ${CI-} || ${LARDER_YES-} ]]; then return; fi
  if [[ ! -t 0 ]]; then
    echo "Run it yourself, or pass --yes as the first argument." >&2
    return 1
  fi
  read -rp "Run it? [y/N] " answer
  [[ $answer == [yY]* ]] || { echo "Nothing was installed." >&2 && return 1; }
}

need() {
  local name manager column package missing=() install=() list=()
  for name; do has "$name" || missing+=("$name"); done
  ((${#missing[@]})) || return 0

  for manager in apt-get dnf pacman brew none; do has_program $manager && break; done
  case $manager in
    apt-get) column=2 install=(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends) ;;
    dnf) column=3 install=(as_root dnf install -y) ;;
    pacman) column=4 install=(as_root pacman -S --needed --noconfirm) ;;
    brew) column=5 install=(brew install) ;;
    none) echo "Please install: ${missing[*]}" >&2 && return 1 ;;
  esac
  for name in "${missing[@]}"; do
    package=$(awk -v name="$name" -v column=$column '$1 == name { print $column }' <<<"$packages")
    if [[ $package == - ]]; then echo "No $manager package has $name." >&2; else list+=("$package"); fi
  done
  ((${#list[@]})) || return 0

  may_run "${install[@]}" "${list[@]}"
  if [[ $manager == apt-get ]]; then
    as_root apt-get update -q || echo "The package lists could not be updated; using the ones that are here."
  fi
  "${install[@]}" "${list[@]}"
}

# build PRESET [TARGET...]: configures once, then builds what has changed.
build() {
  local preset=$1
  shift
  if [[ ! build/$preset/build.ninja -nt CMakePresets.json ]]; then cmake --preset "$preset"; fi
  cmake --build --preset "$preset" ${1:+--target "$@"}
}
