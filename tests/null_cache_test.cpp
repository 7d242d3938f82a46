#include <larder/null_cache.hpp>

#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"

TEST_CASE("NullCache takes everything and keeps nothing") {
  larder::NullCache cache;
  cache.set("key", "value");
  cache.set("key", "value", 60);
  cache.set_many({{"key", "value"}, {"other", "value"}});
  CHECK_FALSE(cache.add("key", "value"));
  CHECK(cache.get("key") == std::nullopt);
  CHECK_FALSE(cache.get_entry("key"));
  CHECK_FALSE(cache.contains("key"));
  CHECK_FALSE(cache.touch("key", 60));
  CHECK_FALSE(cache.touch("key", 0));
  CHECK_FALSE(cache.erase("key"));
  CHECK(cache.get_many({"key", "other"}) == std::vector<std::optional<std::string>>(2));
  CHECK(cache.erase_many({"key", "other"}) == 0);
  cache.clear();
  cache.close();
}
