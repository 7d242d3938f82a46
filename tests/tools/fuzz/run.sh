#!/usr/bin/env bash
# Fuzzes the URL parser, the reply parser and the codecs: tests/tools/fuzz/run.sh [SECONDS each, 30 if not given]. What it finds new stays in
# build/fuzz; a failing input is named at the end.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

seconds=${1:-30}
need clang hiredis
need clang-runtime
mkdir -p build/fuzz
for target in url reply codec; do
  clang++ -std=c++17 -O1 -g -Iinclude -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -D_GLIBCXX_ASSERTIONS "tests/tools/fuzz/${target}_fuzz.cpp" -lhiredis -o "build/fuzz/${target}_fuzz"
  mkdir -p "build/fuzz/$target"
  echo "=== $target, $seconds s"
  "build/fuzz/${target}_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 -verbosity=0 -print_funcs=0 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$target-" "build/fuzz/$target" "tests/tools/fuzz/corpus/$target"
done
