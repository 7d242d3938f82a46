#!/usr/bin/env bash
# The quickstart on a cluster: cluster.sh [--yes] starts three nodes of its own, and shows which keys each of them has.
# It asks before it installs anything, unless --yes is given, CI is set, or the user is root.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/tools/setup.sh

need compiler cmake ninja hiredis redis
build examples quickstart
server=$(command -v redis-server || command -v valkey-server)
cli=$(command -v redis-cli || command -v valkey-cli)

dir=$(mktemp -d)
nodes=() ports=()
stop() {
  ((${#nodes[@]})) && kill "${nodes[@]}"
  wait
  rm -rf "$dir"
}
trap stop EXIT

# Starts a node on a port that is free, and so is the one 10000 above, where the nodes talk to each other.
start_node() {
  local port
  for ((attempt = 0; attempt < 20; attempt++)); do
    port=$((20000 + RANDOM % 10000))
    mkdir "$dir/$port"
    "$server" --port "$port" --bind 127.0.0.1 --cluster-enabled yes --dir "$dir/$port" --save '' --appendonly no \
      --logfile log &
    nodes+=($!)
    for ((i = 0; i < 100; i++)); do
      if [[ $("$cli" -p "$port" ping 2>/dev/null) == PONG ]] && kill -0 $!; then ports+=("$port"); return; fi
      kill -0 $! 2>/dev/null || break
      sleep 0.05
    done
    unset 'nodes[-1]'
  done
  exit 1
}

for _ in 1 2 3; do start_node; done
"$cli" --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-yes >/dev/null

build/examples/examples/quickstart "redis+cluster://127.0.0.1:${ports[0]}"

for port in "${ports[@]}"; do
  echo
  echo "What the node at port $port holds now:"
  "$cli" -p "$port" --scan | sort | while read -r key; do
    echo "  $key = $("$cli" -p "$port" get "$key") ($("$cli" -p "$port" pttl "$key") ms to live)"
  done
done
