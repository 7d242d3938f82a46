// What a user of a package writes first; the tests of the packages build and run it.
#include <hiredis/hiredis.h>

#include <iostream>
#include <larder/larder.hpp>

int main() {
  larder::MemoryCache memory;
  memory.set("key", "value");
  if (memory.get("key") != "value") return 1;

  larder::RedisCache redis("unix:///nonexistent/redis.sock", "app:");
  try {
    redis.set("key", "value");
    return 1;
  } catch (const larder::ConnectionError&) {
    std::cout << "larder " << LARDER_VERSION_MAJOR << '.' << LARDER_VERSION_MINOR << '.' << LARDER_VERSION_PATCH
              << " with hiredis " << HIREDIS_MAJOR << '.' << HIREDIS_MINOR << '.' << HIREDIS_PATCH << '\n';
  }
}
