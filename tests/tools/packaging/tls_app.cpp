// A program whose cache is reached over TLS.
#include <openssl/opensslv.h>

#include <iostream>
#include <larder/larder.hpp>
#include <larder/redis/tls.hpp>

int main() {
  larder::RedisCache cache("rediss://127.0.0.1:1", "app:");
  try {
    cache.set("key", "value");
    return 1;
  } catch (const larder::ConnectionError&) {
    std::cout << "larder " << LARDER_VERSION_MAJOR << '.' << LARDER_VERSION_MINOR << '.' << LARDER_VERSION_PATCH
              << " with TLS\n";
  }
}
