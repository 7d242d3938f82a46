#!/usr/bin/env bash
# run.sh [COMPILER...]: as C++17, 20 and 23 a program of two translation units that uses all that is public, and as C++17
# each public header alone. Without names: each g++ and clang++ there is, the newest Clang that apt-get offers, and that with libc++.
# For cross compilers: CPPFLAGS, LDLIBS, RUN, which runs a program, and URL, the Redis that it uses.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

dir=$(mktemp -d)
trap 'tests/tools/redis_server.sh stop "$dir/redis"; rm -rf "$dir"' EXIT

if (($# == 0)); then
  need compiler clang hiredis libssl
  if has_program apt-cache; then
    newest=$(apt-cache search --names-only '^clang-[0-9]+$' | grep -o '^clang-[0-9]*' | sort -V | tail -n 1)
    newest=${newest#clang-}
    packages+="clang++-$newest clang-$newest"$'\n'"libc++ libc++-$newest-dev"$'\n'
    need "clang++-$newest"
    echo '#include <version>' >"$dir/libc++.cpp"
    "clang++-$newest" -stdlib=libc++ -fsyntax-only "$dir/libc++.cpp" 2>/dev/null || need libc++
    set -- "clang++-$newest -stdlib=libc++"
    LDLIBS=${LDLIBS:--static-libstdc++ -lhiredis -pthread}  # Debian 12 has a shared libc++ older than the headers
  fi
  # One name for each compiler: g++-12 is g++ too.
  while read -r _ name; do set -- "$@" "$name"; done < <(
    for name in $(compgen -c | grep -xE '(g|clang)\+\+(-[0-9]+)?' | sort -r); do
      echo "$(readlink -f "$(command -v "$name")") $name"
    done | sort -u -k 1,1)
fi

# Headers over a library that larder can do without stand alone, and only where that library is installed.
(cd include && find larder -name '*.hpp') | sort | sed 's/.*/#include <&>/' >"$dir/headers"
grep -E '<larder/(codec/json|redis/tls|redis/detail/tls_(context|openssl))[.]hpp>' "$dir/headers" >"$dir/optional_headers"
grep -vFf "$dir/optional_headers" "$dir/headers" >"$dir/all_headers.hpp"
grep -rhoE '^#include <[a-z0-9_/]+(\.h)?>' include tests/tools/compilers/*.cpp tests/tools/compilers/calls.hpp | sort -u |
  sed -E 's/#include (<.*>)/#if __has_include(\1)\n&\n#endif/' >"$dir/standard_headers.hpp"

need redis
[[ ${URL:-} ]] || tests/tools/redis_server.sh start "$dir/redis"
export URL=${URL:-unix://$dir/redis/redis.sock}
export dir CPPFLAGS=${CPPFLAGS:-} LDLIBS=${LDLIBS:--lhiredis -pthread} RUN=${RUN:-}

# standard NUMBER COMPILER...: a line for each check.
# shellcheck disable=SC2086,SC2206,SC2317 # flags are several words; the functions are called by check
standard() {
  local name="${*:2}, C++$1" out=$dir/$BASHPID
  local compile=("${@:2}" "-std=c++$1" -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
    -Werror -I include -I "$dir" $CPPFLAGS)

  check() {
    if "${@:2}" >"$out.log" 2>&1; then echo "ok      $name: $1"; else echo "FAILED  $name: $1" && head -n 20 "$out.log"; fi
  }
  has_library_of() {
    local library=nlohmann/json.hpp
    if [[ $1 == */redis/* ]]; then library=openssl/ssl.h; fi
    echo "#include <$library>" | "${compile[@]}" -E -xc++ - >/dev/null 2>&1
  }
  each_header() {
    while read -r include; do
      if grep -qF "$include" "$dir/optional_headers" && ! has_library_of "$include"; then continue; fi
      echo "$include" >"$out.cpp"
      "${compile[@]}" -fsyntax-only "$out.cpp" || return
    done < <(grep -v '/detail/' "$dir/headers")
  }
  program() { "${compile[@]}" "$@" tests/tools/compilers/*.cpp -o "$out.exe" $LDLIBS && $RUN "$out.exe" "$URL" "$BASHPID:"; }
  macros() { "${compile[@]}" -fsyntax-only -include tests/tools/compilers/windows_macros.hpp tests/tools/compilers/*.cpp; }

  if [[ $1 == 17 ]]; then check "each header alone" each_header; fi
  check "a program of everything" program
  check "that with -fno-rtti" program -fno-rtti
  check "that with the macros of <windows.h>" macros
}
export -f standard

for compiler; do printf "%s $compiler\n" 17 20 2b; done | xargs -P 2 -L 1 bash -c 'standard "$@"' bash | tee "$dir/results"
passed=$(grep -c '^ok ' "$dir/results") || true
failed=$(grep -c '^FAILED ' "$dir/results") || true
echo "$passed passed, $failed failed"
((failed == 0 && passed == 10 * $#))
