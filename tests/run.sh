#!/usr/bin/env bash
# The whole test suite: run.sh [--yes] [ARGUMENT...], with arguments for ctest, as in ./tests/run.sh -R pool. It asks
# before it installs anything, unless --yes is given, CI is set, or the user is root. LARDER_PRESET chooses another
# preset than dev.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools/setup.sh

preset=${LARDER_PRESET:-dev}
need compiler cmake ninja hiredis redis openssl libssl catch2 curl cachecontrol python-redis prometheus
build "$preset"
trap 'tests/tools/redis_server.sh stop "$(<"build/$preset/tests/redis_dir")"' EXIT
ctest --preset "$preset" "$@"
