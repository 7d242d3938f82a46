#!/usr/bin/env bash
# suite.sh DIR LIBRARY SERVER [CMAKE-ARGUMENT...]: builds the tests in DIR, where they must come to use that library of
# hiredis, as in libhiredis.so.1, and runs all of them on redis-server or valkey-server.
set -euo pipefail
cd "$(dirname "$0")/../../.."

dir=$1 library=$2 server=$(command -v "$3")
cmake --preset ci-gcc -B "$dir" -D LARDER_TEST_HEADERS=OFF -D REDIS_SERVER="$server" \
  -D REDIS_CLI="${server/-server/-cli}" "${@:4}"
cmake --build "$dir" -j 2
c++ --version | head -n 1
"$server" --version
ldd "$dir/tests/redis_cache_test" | grep -F "$library"

trap 'tests/tools/redis_server.sh stop "$(<"$dir/tests/redis_dir")"' EXIT
ctest --test-dir "$dir" --output-on-failure --no-tests=error
