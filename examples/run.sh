#!/usr/bin/env bash
# The quickstart: run.sh [--yes] on a private Redis, run.sh [--yes] URL on yours, run.sh memory on none. It asks before
# it installs anything, unless --yes is given, CI is set, or the user is root.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools/setup.sh

tools=(compiler cmake ninja hiredis)
(($#)) || tools+=(redis)
with_tls=
if [[ ${1-} == rediss* || ${1-} == valkeys* ]]; then with_tls=yes tools+=(libssl); fi
need "${tools[@]}"
if [[ $with_tls ]]; then cmake --preset examples -D LARDER_TLS=ON; fi
build examples quickstart
if (($#)); then exec build/examples/examples/quickstart "$@"; fi

dir=$PWD/build/redis
if ((${#dir} > 90)); then dir=$(mktemp -d); fi
trap 'tests/tools/redis_server.sh stop "$dir"' EXIT
tests/tools/redis_server.sh start "$dir"
build/examples/examples/quickstart "unix://$dir/redis.sock"

echo
echo "What Redis holds now:"
cli=$(command -v redis-cli || command -v valkey-cli)
"$cli" -s "$dir/redis.sock" --scan | sort | while read -r key; do
  echo "  $key = $("$cli" -s "$dir/redis.sock" get "$key") ($("$cli" -s "$dir/redis.sock" pttl "$key") ms to live)"
done
