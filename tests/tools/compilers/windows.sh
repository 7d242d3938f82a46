#!/usr/bin/env bash
# The checks of run.sh with MinGW for Windows; the program runs in Wine, on a Redis of this machine. Debian only: hiredis
# is built from Debian's source.
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/tools/setup.sh

need cmake ninja mingw redis wine

dir=$(mktemp -d)
trap 'tests/tools/redis_server.sh stop "$dir/redis"; wineserver -k || true; rm -rf "$dir"' EXIT
export WINEPREFIX=$dir/wine WINEDEBUG=-all
cross=x86_64-w64-mingw32
gcc=$cross-gcc-posix

tests/tools/hiredis.sh trixie "$dir/source" source
cmake -G Ninja -S "$dir/source" -B "$dir/build" -D CMAKE_SYSTEM_NAME=Windows -D CMAKE_C_COMPILER=$gcc \
  -D CMAKE_CXX_COMPILER=$cross-g++-posix -D CMAKE_RC_COMPILER=$cross-windres -D CMAKE_BUILD_TYPE=Release \
  -D BUILD_SHARED_LIBS=OFF -D DISABLE_TESTS=ON -D CMAKE_INSTALL_PREFIX="$dir/hiredis" >"$dir/log"
cmake --build "$dir/build" -j 2 --target install >>"$dir/log" || { cat "$dir/log"; exit 1; }

tests/tools/redis_server.sh start "$dir/redis"
redis() { "$(command -v redis-cli || command -v valkey-cli)" -s "$dir/redis/redis.sock" config set "$@"; }
redis bind 127.0.0.1 >/dev/null
for port in {21000..21100}; do [[ $(redis port "$port") == OK ]] && break; done

wine wineboot --init >>"$dir/log" 2>&1
WINEPATH="$(dirname "$($gcc -print-file-name=libstdc++-6.dll)");/usr/$cross/lib" RUN=wine URL=redis://127.0.0.1:$port \
  CPPFLAGS="-D UNICODE -D _UNICODE -isystem $dir/hiredis/include" LDLIBS="-L $dir/hiredis/lib -lhiredis -lws2_32" \
  tests/tools/compilers/run.sh $cross-g++-posix
