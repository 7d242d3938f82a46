#include <larder/prometheus.hpp>

#include <chrono>
#include <string>

#include "support/catch.hpp"

using Catch::Matchers::ContainsSubstring;

TEST_CASE("nothing added is no text") { CHECK(larder::PrometheusText().str().empty()); }

TEST_CASE("each metric has one head, and a sample for every cache") {
  larder::CacheStats users, pages;
  users.hits = 3;
  pages.hits = 18446744073709551615U;
  larder::PrometheusText text;
  text.add("users", users);
  text.add("pages", pages);
  CHECK_THAT(text.str(), ContainsSubstring("# HELP larder_cache_hits_total Keys that were read and found.\n"
                                           "# TYPE larder_cache_hits_total counter\n"
                                           "larder_cache_hits_total{cache=\"users\"} 3\n"
                                           "larder_cache_hits_total{cache=\"pages\"} 18446744073709551615\n"
                                           "# HELP larder_cache_misses_total"));
  CHECK_THAT(text.str(), ContainsSubstring("# TYPE larder_cache_bytes gauge\n"));
}

TEST_CASE("a name with quotes, backslashes and line ends is escaped") {
  larder::PrometheusText text;
  text.add("a\"b\\c\nd", larder::redis::PoolStats());
  CHECK_THAT(text.str(), ContainsSubstring("larder_redis_calls_total{cache=\"a\\\"b\\\\c\\nd\"} 0\n"));
}

TEST_CASE("the time of loads is in seconds") {
  larder::LoadStats stats;
  stats.loads = 2;
  stats.load_time = std::chrono::milliseconds(1500);
  larder::PrometheusText text;
  text.add("users", stats);
  CHECK_THAT(text.str(), ContainsSubstring("larder_loads_total{cache=\"users\"} 2\n"));
  CHECK_THAT(text.str(), ContainsSubstring("larder_load_seconds_total{cache=\"users\"} 1.5\n"));
}
