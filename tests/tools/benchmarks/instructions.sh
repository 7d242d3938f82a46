#!/usr/bin/env bash
# Counts the instructions of calls, and fails if one takes over 10 % more than instructions.txt records. `--record`
# writes that file anew.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

need compiler hiredis redis valgrind
dir=$(mktemp -d)
stop() {
  for server in redis node; do tests/tools/redis_server.sh stop "$dir/$server"; done
  rm -rf "$dir"
}
trap stop EXIT
tests/tools/redis_server.sh start "$dir/redis"
port=$((20000 + RANDOM % 20000))
tests/tools/redis_server.sh start "$dir/node" --port $port --bind 127.0.0.1 --cluster-enabled yes
cli=${REDIS_CLI:-$(command -v redis-cli || command -v valkey-cli)}
"$cli" -s "$dir/node/redis.sock" cluster addslotsrange 0 16383 >/dev/null
until [[ $("$cli" -s "$dir/node/redis.sock" cluster info) == *cluster_state:ok* ]]; do sleep 0.1; done
c++ -std=c++17 -O2 -I include tests/tools/benchmarks/instructions.cpp -o "$dir/instructions" -lhiredis -pthread

# The whole program's, with a number of calls.
count() {
  valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null "$dir/instructions" "$1" "$2" \
    "$dir/redis/redis.sock" 127.0.0.1:$port 2>&1 | tee "$dir/$1.log" | awk '/I +refs:/ { gsub(",", "", $NF); print $NF }'
}

# The difference of two runs is that of the calls alone.
per_call() {
  local few many
  few=$(count "$1" 500)
  many=$(count "$1" 1500)
  [[ $few && $many ]] || { cat "$dir/$1.log" >&2; return 1; }
  echo $(((many - few) / 1000))
}

recorded=tests/tools/benchmarks/instructions.txt
operations=(get_hit get_miss set set_expiring cluster_hit memory_hit)
for operation in "${operations[@]}"; do
  instructions=$(per_call "$operation")
  echo "$operation $instructions"
done >"$dir/counts"

if [[ ${1-} == --record ]]; then
  { sed -n '/^#/p' $recorded; cat "$dir/counts"; } >"$dir/new"
  cp "$dir/new" $recorded
fi
printf '%-14s%14s%10s\n' '' instructions recorded
awk '
  /^#/ { next }
  NR == FNR { recorded[$1] = $2; next }
  { over = !($1 in recorded) || $2 > 1.1 * recorded[$1]; failed += over
    printf "%-14s%14d%10d%s\n", $1, $2, recorded[$1], over ? "  over by more than 10 %" : "" }
  END { exit failed > 0 || FNR != length(recorded) }' $recorded "$dir/counts"
