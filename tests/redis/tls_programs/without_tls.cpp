#include <larder/redis_cache.hpp>
#include <string>

std::string value_elsewhere(larder::BaseCache& cache, const std::string& key);

std::string value_elsewhere(larder::BaseCache& cache, const std::string& key) {
  return cache.get(key).value_or("a miss");
}
