// A program that has a cache in memory alone, and is built without hiredis.
#include <iostream>
#include <larder/forwarding_cache.hpp>
#include <larder/fwd.hpp>
#include <larder/memory_cache.hpp>
#include <larder/null_cache.hpp>
#include <larder/observer.hpp>
#include <larder/statistics.hpp>

#if __has_include(<hiredis/hiredis.h>) && defined(HIREDIS_IS_ABSENT)
#error "hiredis is here, and this is to show that nothing needs it"
#endif

int main() {
  larder::MemoryCache memory;
  larder::ForwardingCache cache(memory);
  cache.set("key", "value");
  if (cache.get("key") != "value") return 1;
  std::cout << "larder " << LARDER_VERSION_MAJOR << '.' << LARDER_VERSION_MINOR << '.' << LARDER_VERSION_PATCH
            << " in memory\n";
}
