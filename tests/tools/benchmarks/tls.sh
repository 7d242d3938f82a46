#!/usr/bin/env bash
# tls.sh BENCH: larder over TLS against larder without it, and against redis-benchmark over TLS, which sends one command at a
# time on each of 50 connections. BENCH is the program tls_bench.
set -euo pipefail
bench=$(realpath "$1")
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

dir=$(mktemp -d)
trap 'if [[ ${redis-} ]]; then kill "$redis" && wait "$redis" || true; fi; rm -rf "$dir"' EXIT
tests/support/certificates.sh "$dir"
port=$((20000 + RANDOM % 10000))
tls=(--tls-cert-file "$dir/server.pem" --tls-key-file "$dir/server.key" --tls-ca-cert-file "$dir/ca.pem" --tls-auth-clients no)
redis-server --port $port --tls-port $((port + 1)) --bind 127.0.0.1 --dir "$dir" --save '' "${tls[@]}" >"$dir/log" &
redis=$!
until [[ $(redis-cli -p $port ping 2>/dev/null) == PONG ]]; do kill -0 $redis && sleep 0.05; done

"$bench" $port $((port + 1)) "$dir/ca.pem" >"$dir/rates"
redis-cli -p $port set key:000000000000 "$(printf 'v%.0s' {1..100})" >/dev/null
for _ in 1 2 3; do
  redis-benchmark -p $((port + 1)) --tls --cacert "$dir/ca.pem" -q -n 50000 -c 50 -r 1 GET key:__rand_int__ |
    tr '\r' '\n' | sed -n 's/.*: \([0-9.]*\) requests per second.*/\1/p' | tail -n 1
done | sort -n | sed -n 2p >"$dir/peer"
awk 'NR == FNR { peer = $1; next }
  { printf "%2d threads: TLS : plain %.2f (%.2f to %.2f), TLS : redis-benchmark --tls %.1f; %d gets a second over TLS, %d plain\n",
      $1, $2, $3, $4, $5 / peer, $5, $6 }' "$dir/peer" "$dir/rates"
