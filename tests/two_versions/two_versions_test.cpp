// One program with two versions of larder: this one, and the same headers under another number.
#include <larder/larder.hpp>
#include <larder/version.hpp>

#include <string>
#include <typeinfo>
#include <vector>

#include "../support/catch.hpp"
#include "other.hpp"

TEST_CASE("no class of one version is a class of the other") {
  const std::vector<std::string> names = {
#include "names.inc"
  };
  const auto others = other_version::names();
  REQUIRE(others.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(names[i] != others[i]);
}

TEST_CASE("both versions work") {
  larder::MemoryCache cache;
  cache.set("key", "this");
  CHECK(cache.get("key") == "this");
  CHECK(other_version::set_and_get("key", "other") == "other");
  CHECK(other_version::patch() == 99);
  CHECK(LARDER_VERSION_PATCH != 99);
}
