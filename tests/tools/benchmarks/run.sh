#!/usr/bin/env bash
# Measures larder against other clients of Redis, and says which targets it meets: run.sh [--quick|--full] [PART...].
# Without parts, all of them: `memory`, `include`, `instructions`, and the rows of the big table, which are chosen by a
# piece of their name: run.sh 'get 100B*64' clear. A run of all parts draws throughput.svg.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

options=() parts=() rows=()
for word; do
  case $word in
    --*) options+=("$word") ;;
    memory | include | instructions) parts+=("$word") ;;
    *) parts+=(rows) rows+=("$word") ;;
  esac
done
wants() { ((${#parts[@]} == 0)) || [[ " ${parts[*]} " == *" $1 "* ]]; }
is_quick() { [[ " ${options[*]} " == *" --quick "* ]]; }

need compiler cmake ninja hiredis redis catch2 curl valgrind
build release bench memory_bench memory_cache_test
bin=build/release/tests
dir=$(mktemp -d)
trap 'if [[ ${redis-} ]]; then kill "$redis" && wait "$redis" || true; fi; rm -rf "$dir"' EXIT
targets=$dir/targets

# target WHAT MOST MEASURED: notes whether a figure is small enough.
target() {
  awk -v what="$1" -v most="$2" -v measured="$3" 'BEGIN {
    printf "%s|at most %s|%s|%s\n", what, most, measured, measured + 0 <= most ? "met" : "NOT MET" }' >>"$targets"
}

start_redis() {
  local server cli
  server=${REDIS_SERVER:-$(command -v redis-server || command -v valkey-server)}
  cli=${REDIS_CLI:-$(command -v redis-cli || command -v valkey-cli)}
  for ((try = 0; try < 20; try++)); do
    port=$((20000 + RANDOM % 10000))
    "$server" --port $port --bind 127.0.0.1 --unixsocket "$dir/redis.sock" --unixsocketperm 700 --dir "$dir" --save '' \
      --appendonly no >"$dir/redis.log" &
    redis=$!
    while kill -0 $redis 2>/dev/null; do
      [[ $("$cli" -s "$dir/redis.sock" ping 2>/dev/null) == PONG ]] && return
      sleep 0.05
    done
  done
  cat "$dir/redis.log" >&2
  return 1
}

run_rows() {
  local chart=()
  if ((${#parts[@]} == 0)); then
    chart=(--chart tests/tools/benchmarks/throughput.svg)
    if is_quick; then chart=(--chart build/throughput.svg); fi
  fi
  start_redis
  "$bin/tools/benchmarks/bench" --unix "$dir/redis.sock" --port "$port" --targets "$targets" "${chart[@]}" "${options[@]}" \
    "${rows[@]}"
}

run_memory() {
  local tests='*exact LRU*,*resident*' repeats=9
  if is_quick; then repeats=1; fi
  "$bin/tools/benchmarks/memory_bench" $repeats | tee "$dir/memory"
  awk '
    /entries of/ { entries = $1 }
    $1 == "hit" && $3 == "ns" {
      met = $2 <= 100 ? "met" : "NOT MET"
      printf "MemoryCache of %d entries, hit, ns|at most 100|%s %s %s %s|%s\n", entries, $2, $4, $5, $6, met
    }
    /^2 threads : 1, clock/ {
      met = $6 >= 1.8 ? "met" : "NOT MET"
      printf "MemoryCache of %d entries, hits, 2 threads : 1|at least 1.8|%s %s %s %s|%s\n", entries, $6, $7, $8, $9, met
    }' "$dir/memory" >"$dir/figures"
  if (($(wc -l <"$dir/figures") != 6)); then echo 'memory_bench prints other lines than expected' >&2 && return 1; fi
  cat "$dir/figures" >>"$targets"
  if "$bin/memory_cache_test" "$tests" | grep 'All tests passed.* 2 test cases'; then result=met; else result='NOT MET'; fi
  echo "MemoryCache, hit ratio above exact LRU, resident memory of 1 million|see the test||$result" >>"$targets"
}

# What including the library takes, against hiredis and the standard headers that it includes.
run_include() {
  local compile=(c++ -std=c++17 -fsyntax-only -I include) repeats=9 name i
  if is_quick; then repeats=2; fi
  echo '#include <larder/larder.hpp>' >"$dir/larder.cpp"
  grep -rhoE '^#include <([a-z_]+|hiredis/hiredis.h)>' include/larder | sort -u >"$dir/needs.cpp"
  for ((i = 0; i < repeats; i++)); do
    for name in larder needs; do
      TIMEFORMAT='%3U %3S'
      { time "${compile[@]}" "$dir/$name.cpp"; } 2>&1 | awk '{ print $1 + $2 }' >>"$dir/$name.seconds"
    done
  done
  for name in larder needs; do c++ -std=c++17 -I include -E -P "$dir/$name.cpp" | wc -l >"$dir/$name.lines"; done
  paste "$dir/larder.seconds" "$dir/needs.seconds" | awk '{ print $1 / $2 }' | sort -n | awk '
    { ratio[NR] = $1 }
    END { printf "%.2f (%.2f to %.2f)", ratio[int((NR + 1) / 2)], ratio[1], ratio[NR] }' >"$dir/ratio"
  target '#include <larder/larder.hpp>, time to compile : what it includes' 2.00 "$(cat "$dir/ratio")"
  target '#include <larder/larder.hpp>, lines : what it includes' 2.00 \
    "$(paste "$dir/larder.lines" "$dir/needs.lines" | awk '{ printf "%.2f", $1 / $2 }')"
  echo "preprocessed lines: $(cat "$dir/larder.lines") : $(cat "$dir/needs.lines")"
  echo "seconds: $(sort -n "$dir/larder.seconds" | head -1) : $(sort -n "$dir/needs.seconds" | head -1) at best"

  if is_quick || ! c++ --version | grep -qi 'free software foundation'; then return; fi
  local running=()
  for name in larder needs; do
    "${compile[@]}" -wrapper valgrind,--tool=cachegrind,--cache-sim=no,--cachegrind-out-file=/dev/null \
      "$dir/$name.cpp" 2>&1 | awk '/I +refs:/ { gsub(",", "", $NF); print $NF }' >"$dir/$name.instructions" &
    running+=($!)
  done
  wait "${running[@]}"
  target '#include <larder/larder.hpp>, instructions : what it includes' 2.00 \
    "$(paste "$dir/larder.instructions" "$dir/needs.instructions" | awk '{ printf "%.2f", $1 / $2 }')"
}

run_instructions() {
  tests/tools/benchmarks/instructions.sh | tee "$dir/instructions" || true
  target 'instructions of RedisCache::get, hit' 2000 "$(awk '$1 == "get_hit" { print $2 }' "$dir/instructions")"
}

echo "$(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg); $(c++ --version | head -1)"
for part in rows memory include instructions; do
  if wants $part; then
    echo
    echo "=== $part"
    run_$part
  fi
done

echo
echo "=== targets: median (least to most) of ratios, repeat by repeat"
awk -F'|' '{ printf "%-76s %-14s %-22s %s\n", $1, $2, $3, $4 }' "$targets"
