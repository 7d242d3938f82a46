#!/usr/bin/env bash
# redis_server.sh start|stop DIR [OPTION...]: a private Redis on the unix socket DIR/redis.sock, with no port and nothing
# on disk. The options are those of redis-server.
set -euo pipefail

server=${REDIS_SERVER:-$(command -v redis-server || command -v valkey-server)}
cli=${REDIS_CLI:-$(command -v redis-cli || command -v valkey-cli)}
command=$1
dir=$2
shift 2
socket=$dir/redis.sock

stop() {
  if [[ -S $socket ]]; then "$cli" -s "$socket" shutdown nosave >/dev/null 2>&1 || true; fi
  rm -f "$socket" "$dir/redis.log" "$dir/nodes.conf"
  rmdir "$dir" 2>/dev/null || true
}

start() {
  stop
  mkdir -p "$dir"
  [[ -O $dir ]] || { echo "$dir belongs to somebody else" >&2; exit 1; }
  "$server" --port 0 --unixsocket "$socket" --unixsocketperm 700 --dir "$dir" --save '' --appendonly no \
    --daemonize yes --logfile "$dir/redis.log" "$@" >/dev/null
  for ((i = 0; i < 100; i++)); do
    [[ $("$cli" -s "$socket" ping 2>/dev/null) == PONG ]] && return
    sleep 0.05
  done
  cat "$dir/redis.log" >&2
  exit 1
}

"$command" "$@"
