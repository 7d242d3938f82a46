#include "other.hpp"

#include <larder/larder.hpp>
#include <typeinfo>

namespace other_version {

int patch() { return LARDER_VERSION_PATCH; }

std::vector<std::string> names() {
  return {
#include "names.inc"
  };
}

std::string set_and_get(const std::string& key, const std::string& value) {
  larder::MemoryCache cache;
  cache.set(key, value);
  return cache.get(key).value_or("nothing");
}

}  // namespace other_version
