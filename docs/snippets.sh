#!/usr/bin/env bash
# Compiles each block of C++ in README.md and in the pages here: as it stands, or as the body of a function that has a
# `cache`. Only what is marked as cpp is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/before.hpp" <<'END'
#include <hiredis/hiredis.h>

#include <array>
#include <cassert>
#include <chrono>
#include <iostream>
#include <larder/larder.hpp>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>
using namespace std::chrono_literals;
END

compiles() { c++ -std=c++17 -fsyntax-only -Wall -I include -include "$dir/before.hpp" "$1" 2>>"$dir/errors"; }

count=0 failed=0
for page in README.md docs/*.md; do
  rm -f "$dir"/*.block
  awk -v dir="$dir" '
    /^```/ { inside = !inside && $0 == "```cpp"; file = sprintf("%s/%d.block", dir, NR); next }
    inside { print >file }' "$page"
  for block in "$dir"/*.block; do
    [[ -e $block ]] || continue
    ((++count))
    cp "$block" "$dir/whole.cpp"
    { echo 'void body([[maybe_unused]] larder::BaseCache& cache) {' && cat "$block" && echo '}'; } >"$dir/body.cpp"
    : >"$dir/errors"
    if ! compiles "$dir/whole.cpp" && ! compiles "$dir/body.cpp"; then
      echo "$page: the block in line $(basename "$block" .block) does not compile:"
      cat "$dir/errors"
      ((++failed))
    fi
  done
done
echo "$((count - failed)) of $count blocks of C++ compile"
((count && !failed))
