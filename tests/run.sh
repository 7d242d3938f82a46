#!/usr/bin/env bash
# The whole test suite; arguments go to ctest: ./tests/run.sh -R pool. LARDER_PRESET chooses another preset than dev.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/setup.sh

preset=${LARDER_PRESET:-dev}
need compiler cmake ninja hiredis redis catch2 curl cachecontrol python-redis
build "$preset"
trap 'tests/redis_server.sh stop "$(<"build/$preset/tests/redis_dir")"' EXIT
ctest --preset "$preset" "$@"
