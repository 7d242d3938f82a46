#!/usr/bin/env bash
# larder's conan recipe, without any remote: what it packages and refuses, and programs that use the package.
set -euo pipefail
cd "$(dirname "$0")/../../../.."
. tests/tools/setup.sh
. tests/tools/packaging/check.sh

need compiler cmake libssl pkg-config venv
if [[ ! -x build/conan/bin/conan ]]; then
  python3 -m venv build/conan
  build/conan/bin/pip install -q 'conan>=2,<3'
fi
export PATH=$PWD/build/conan/bin:$PATH

root=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export CONAN_HOME=$dir/home
here=tests/tools/packaging/conan
version=$(larder_version)

# Of these, only 1.2.0 is in the range that larder asks for, and only it can be used.
wrap_hiredis() {
  tests/tools/hiredis.sh trixie "$dir/hiredis"
  conan profile detect
  conan remote remove '*'
  conan create $here/hiredis --version 1.2.0 -c user.hiredis:prefix="$dir/hiredis"
  conan export $here/hiredis --version 0.14.1
  conan export $here/hiredis --version 2.0.0
}

says_versions() { grep -Fx "larder $version with hiredis 1.2.0"; }

# Builds the test package in the temporary directory and leaves nothing in this one.
create_and_run() {
  conan create . --test-folder $here/test_package -c tools.cmake.cmake_layout:test_folder="$dir/test" \
    -c tools.cmake.cmaketoolchain:user_presets= 2>&1 | tee "$dir/create.log"
  says_versions <"$dir/create.log"
}

package() { conan list "larder/$version:*" --format=json | python3 -c '
import json, sys
(recipe,) = json.load(sys.stdin)["Local Cache"].values()
(revision,) = recipe["revisions"].values()
(package,) = revision["packages"]
print(package)'; }

package_holds() {
  diff <({ find ./include -type f && echo ./licenses/LICENSE; } | LC_ALL=C sort) \
    <(cd "$(conan cache path "larder/$version:$(package)")" && find . -type f ! -name 'conan*' | LC_ALL=C sort)
}

# A project elsewhere, made of what docs/install.md shows.
project() {
  mkdir "$dir/app"
  cp tests/tools/packaging/app.cpp "$dir/app/main.cpp"
  page conan ini >"$dir/app/conanfile.txt"
  {
    printf 'cmake_minimum_required(VERSION 3.21)\nproject(app LANGUAGES CXX)\nadd_executable(app main.cpp)\n'
    page conan cmake
  } >"$dir/app/CMakeLists.txt"
  page conan >"$dir/app/commands"
}

with_cmake() {
  cd "$dir/app"
  bash -ex commands
  build/Release/app | says_versions
}

with_pkg_config() {
  cd "$dir/app"
  conan install . -g PkgConfigDeps -of pc
  PKG_CONFIG_PATH=$(dirname "$(find pc -name larder.pc)") && export PKG_CONFIG_PATH
  # shellcheck disable=SC2046
  c++ -std=c++17 main.cpp $(pkg-config --cflags --libs larder) -o pc/app
  pc/app | says_versions
}

# hiredis is not even a requirement then.
without_redis() {
  mkdir "$dir/memory"
  cp tests/tools/packaging/memory_app.cpp "$dir/memory"
  cd "$dir/memory"
  conan install --requires="larder/$version" -o 'larder/*:redis=False' -g CMakeDeps -of deps --format=json >graph.json
  if grep -F '"hiredis/' graph.json; then return 1; fi
  cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.21)
project(app LANGUAGES CXX)
find_package(larder CONFIG REQUIRED COMPONENTS memory)
add_executable(app memory_app.cpp)
target_link_libraries(app PRIVATE larder::memory)
END
  cmake -S . -B build -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH="$PWD/deps"
  cmake --build build
  build/app | grep -Fx "larder $version in memory"
}

with_tls() {
  conan create "$root/$here/openssl" --version 3.0.0
  mkdir "$dir/tls"
  cp "$root/tests/tools/packaging/tls_app.cpp" "$dir/tls"
  cd "$dir/tls"
  conan install --requires="larder/$version" -o 'larder/*:tls=True' -g CMakeDeps -g PkgConfigDeps -of deps
  cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.21)
project(app LANGUAGES CXX)
find_package(larder CONFIG REQUIRED COMPONENTS tls)
add_executable(app tls_app.cpp)
target_link_libraries(app PRIVATE larder::tls)
END
  cmake -S . -B build -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH="$PWD/deps"
  cmake --build build
  build/app | grep -Fx "larder $version with TLS"
  # shellcheck disable=SC2046
  c++ -std=c++17 tls_app.cpp $(PKG_CONFIG_PATH=deps pkg-config --cflags --libs larder-tls) -o app
  ./app | grep -Fx "larder $version with TLS"
}

tls_without_redis() {
  refused "the option tls needs the option redis" conan install --requires="larder/$version" -o 'larder/*:tls=True' \
    -o 'larder/*:redis=False'
}

only_hiredis_014() {
  conan remove -c 'hiredis/1.*'
  conan remove -c 'hiredis/2.*'
  refused "'hiredis/[>=1.0 <2]' required by 'larder/$version'" conan install --requires="larder/$version"
}

check "conan, and a hiredis 1.2.0 under the public recipe's names" wrap_hiredis
check "conan create: the test package runs" create_and_run
check "conan create with build_type=Debug" conan create . --test-folder= -s build_type=Debug
check "one package for both, with the headers, LICENSE and nothing else" package_holds
for cppstd in 14 gnu14; do
  check "compiler.cppstd=$cppstd is refused" \
    refused "Current cppstd ($cppstd) is lower than the required C++ standard (17)" \
    conan install --requires="larder/$version" -s compiler.cppstd=$cppstd
done
check "the project in docs/install.md" project
check "with CMakeDeps and CMakeToolchain" with_cmake
check "with PkgConfigDeps" with_pkg_config
check "the option redis=False: larder::memory, and no hiredis" without_redis
check "the option tls=True: larder::tls" with_tls
check "the option tls=True with redis=False is refused" tls_without_redis
check "hiredis 0.14 is refused" only_hiredis_014
report
