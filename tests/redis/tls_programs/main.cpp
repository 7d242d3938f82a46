// tls_programs URL in the environment: a program of two translation units, of which this one knows nothing of TLS.
#include <larder/larder.hpp>

#include <cstdlib>
#include <iostream>
#include <string>

std::string value_elsewhere(larder::BaseCache& cache, const std::string& key);

namespace {

larder::RedisCache& global() {
  static larder::RedisCache cache(std::getenv("URL"));
  return cache;
}
const bool made_before_main = (global(), true);  // and gone after all else

}  // namespace

int main() {
  try {
    global().set("key", "value of key");
    std::cout << value_elsewhere(global(), "key") << '\n';
  } catch (const larder::Error& error) {
    std::cout << error.what() << '\n';
  }
  return made_before_main ? 0 : 1;
}
