#include <larder/fail_open_cache.hpp>

#include <larder/error.hpp>
#include <larder/memory_cache.hpp>
#include <larder/observer.hpp>
#include <larder/typed_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/away_cache.hpp"
#include "support/catch.hpp"
#include "support/testing.hpp"

using larder::BaseCache;
using larder::FailOpenCache;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::AwayCache;
using larder::testing::eventually;
using larder::testing::in_threads;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;

namespace {

static_assert(!std::is_copy_constructible_v<FailOpenCache> && std::is_constructible_v<FailOpenCache, FailOpenCache&>);
static_assert(std::is_constructible_v<FailOpenCache, std::shared_ptr<MemoryCache>, FailOpenCache::Options>);
static_assert(noexcept(std::declval<FailOpenCache&>().circuit_open()));

struct Told : larder::Observer {
  std::atomic<int> opened{0}, closed{0}, failed{0};
  void circuit(bool open) noexcept override { ++(open ? opened : closed); }
  void cache_failed(std::string_view, const larder::Error&) noexcept override { ++failed; }
};

struct Fixture {
  MemoryCache memory;
  AwayCache away{memory};
  std::shared_ptr<Told> told = std::make_shared<Told>();

  FailOpenCache::Options options(std::size_t remembered = 10'000) const {
    FailOpenCache::Options options;
    options.longest_break = 20ms;
    options.remembered = remembered;
    options.observer = told;
    return options;
  }
};

/// Asks until the circuit is closed.
bool comes_back(FailOpenCache& cache) {
  return eventually([&] { return cache.get("whatever"), !cache.circuit_open(); });
}

std::map<std::string, std::string> values_of(const Strings& keys) {
  std::map<std::string, std::string> values;
  for (const auto& key : keys) values[key] = value_of(key);
  return values;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a cache that works is passed through") {
  FailOpenCache cache(away, options());
  cache.set("key", "value", 60);
  CHECK(cache.get("key") == "value");
  CHECK(cache.get_entry("key")->value == "value");
  CHECK(cache.contains("key"));
  CHECK_FALSE(cache.add("key", "other"));
  CHECK(cache.touch("key", 30));
  cache.set_many({{"a", "1"}, {"b", "2"}});
  CHECK(cache.get_many({"a", "x", "b"}) == Values{"1", std::nullopt, "2"});
  CHECK(cache.erase_many({"a", "x"}) == 1);
  CHECK(cache.erase("b"));
  cache.clear();
  CHECK_FALSE(memory.contains("key"));
  CHECK(told->failed == 0);
  const auto stats = cache.stats();
  CHECK(stats.hits == 4);
  CHECK(stats.misses == 1);
  CHECK(stats.sets == 3);
  CHECK(stats.erases == 2);
  CHECK(stats.errors == 0);
}

TEST_CASE_METHOD(Fixture, "errors are misses, and clear() throws") {
  FailOpenCache cache(away, options());
  memory.set("key", "value");
  away.be_away();
  CHECK(cache.get("key") == std::nullopt);
  CHECK_FALSE(cache.get_entry("key"));
  CHECK_FALSE(cache.contains("key"));
  CHECK_FALSE(cache.add("new", "value"));
  CHECK(cache.get_many({"key", "a"}) == Values(2));
  CHECK(cache.circuit_open());
  CHECK_FALSE(cache.touch("key", 60));
  CHECK_FALSE(cache.erase("key"));
  CHECK(cache.erase_many({"key", "a"}) == 0);
  cache.set("key", "other");
  cache.set_many({{"key", "other"}});
  cache.close();
  CHECK_THROWS_AS(cache.clear(), larder::ConnectionError);
  CHECK(told->opened == 1);
  CHECK(memory.get("key") == "value");

  SECTION("but what is no error of the cache is thrown") {
    away.be_back();
    REQUIRE(comes_back(cache));
    away.fail_with([] { throw larder::InvalidArgument("a bad argument"); });
    CHECK_THROWS_AS(cache.get("other"), larder::InvalidArgument);
    CHECK_THROWS_AS(cache.set("other", "value"), larder::InvalidArgument);
    away.fail_with([] { throw std::bad_alloc(); });
    for (int i = 0; i < 10; ++i) CHECK_THROWS_AS(cache.get("other"), std::bad_alloc);
    CHECK_FALSE(cache.circuit_open());
  }
}

TEST_CASE_METHOD(Fixture, "what counts for the circuit, and what does not") {
  for (const std::string code : {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "READONLY"}) {
    FailOpenCache cache(away, options());
    away.fail_with([&] { throw larder::ServerError(code + " because"); });
    for (int i = 0; i < 4; ++i) cache.get("key");
    CHECK_FALSE(cache.circuit_open());
    cache.get("key");
    CHECK(cache.circuit_open());
  }
  for (const std::string code : {"OOM", "WRONGTYPE", "NOPERM", "MISCONF", "ERR"}) {
    FailOpenCache cache(away, options());
    away.fail_with([&] { throw larder::ServerError(code + " because"); });
    for (int i = 0; i < 20; ++i) CHECK(cache.get("key") == std::nullopt);
    CHECK_FALSE(cache.circuit_open());
  }
  FailOpenCache cache(away, options());
  for (int i = 0; i < 20; ++i) {
    away.be_away();
    for (int k = 0; k < 4; ++k) cache.get("key");
    away.be_back();
    cache.get("key");
  }
  CHECK_FALSE(cache.circuit_open());
}

TEST_CASE_METHOD(Fixture, "an open circuit lets one probe through at a time") {
  FailOpenCache::Options slow = options();
  slow.longest_break = 30s;
  FailOpenCache cache(away, slow);
  away.be_away();
  for (int i = 0; i < 5; ++i) cache.get("key");
  REQUIRE(cache.circuit_open());
  const int calls = away.calls;
  std::atomic<int> inside{0}, most{0};
  away.fail_with([&] {
    if (++inside > most) most = inside.load();
    std::this_thread::sleep_for(1ms);
    --inside;
    throw larder::TimeoutError("slow");
  });
  const auto end = Clock::now() + 300ms;
  in_threads(8, [&](const std::string&) {
    while (Clock::now() < end) cache.get("key");
  });
  CHECK(most == 1);
  const int probes = away.calls - calls;
  CHECK((probes >= 1 && probes <= 4));  // after 50, 150, 350 ms
  CHECK(told->opened == 1);
}

TEST_CASE_METHOD(Fixture, "lost changes are repaired by erasing") {
  FailOpenCache cache(away, options());
  const Strings keys = {"erase", "set", "touch", "erase_many", "set_many", "expired", "untouched"};
  for (const auto& key : keys) memory.set(key, "old");
  away.be_away();
  cache.erase("erase");
  cache.set("set", "new");
  cache.touch("touch", 60);
  cache.erase_many({"erase_many"});
  cache.set_many({{"set_many", "new"}});
  cache.set("expired", "new", 0);
  cache.add("added", "value");
  away.be_back();
  REQUIRE(comes_back(cache));
  for (const auto& key : keys) CHECK(cache.get(key) == (key == "untouched" ? Values{"old"}[0] : std::nullopt));
  for (const auto& key : keys) CHECK(memory.contains(key) == (key == "untouched"));

  SECTION("which is the first that the cache is asked for") {
    memory.set("key", "old");
    away.be_away();
    for (int i = 0; i < 5; ++i) cache.erase("key");
    away.be_back();
    std::this_thread::sleep_for(options().longest_break);
    CHECK(eventually([&] { return cache.get("key") == std::nullopt && !memory.contains("key"); }));
  }
  SECTION("a value that is set when the cache is back stays") {
    memory.set("key", "old");
    away.fail_with([] { throw larder::ServerError("OOM command not allowed"); });
    cache.set("key", "lost");
    CHECK(cache.get("key") == std::nullopt);
    away.be_back();
    CHECK(eventually([&] {
      cache.set("key", "new");
      return cache.get("key") == "new";
    }));
    CHECK(memory.get("key") == "new");
  }
  SECTION("an erase that fails, too, is tried again") {
    memory.set("key", "old");
    std::atomic<int> failures{3};
    away.fail_with([&] {
      if (failures-- > 0) throw larder::ServerError("NOPERM for now");
    });
    cache.erase("key");
    CHECK(eventually([&] {
      CHECK(cache.get("key") == std::nullopt);
      return !memory.contains("key");
    }));
  }
}

TEST_CASE_METHOD(Fixture, "more lost changes than are remembered: all reads are misses") {
  FailOpenCache::Options few = options(3);
  few.forget_after = 3600s;
  FailOpenCache cache(away, few);
  memory.set("old", "value");
  away.fail_with([] { throw larder::ServerError("OOM command not allowed"); });
  for (int i = 0; i < 4; ++i) cache.set(std::to_string(i), "value");
  away.be_back();
  CHECK(cache.get("old") == std::nullopt);
  CHECK(cache.get_many({"old"}) == Values(1));
  CHECK_FALSE(cache.contains("old"));
  cache.set("new", "value");
  CHECK(cache.get("new") == std::nullopt);
  cache.clear();
  cache.set("new", "value");
  CHECK(cache.get("new") == "value");

  SECTION("or until so long after the last") {
    few.forget_after = 0s;
    FailOpenCache forgetful(away, few);
    away.fail_with([] { throw larder::ServerError("OOM command not allowed"); });
    for (int i = 0; i < 4; ++i) forgetful.set(std::to_string(i), "value");
    away.be_back();
    CHECK(forgetful.get("new") == "value");
  }
}

TEST_CASE_METHOD(Fixture, "a load above it neither writes nor remembers while the cache is away") {
  FailOpenCache cache(away, options());
  const TypedCache<std::string, std::string> texts(cache);
  away.be_away();
  for (int i = 0; i < 100; ++i) {
    const std::string key = "key " + std::to_string(i);
    CHECK(texts.get_or_load(key, 60, [&] { return value_of(key); }) == value_of(key));
    CHECK(texts.get_many_or_load({key, "other"}, 60, values_of) == Values{value_of(key), value_of("other")});
  }
  CHECK(away.writes == 0);
  away.be_back();
  REQUIRE(comes_back(cache));
  CHECK(away.writes + away.repairs == 0);  // nothing was to be erased
  CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
  CHECK(memory.get("key") == "loaded");
}

TEST_CASE_METHOD(Fixture, "loads are shared with the cache below") {
  FailOpenCache cache(away, options());
  std::atomic<int> calls{0};
  std::atomic<bool> go{false};
  const TypedCache<std::string, std::string> above(cache), below(memory);
  std::thread leader([&] {
    above.get_or_load("key", 60, [&] {
      ++calls;
      eventually([&] { return go.load(); });
      return "loaded";
    });
  });
  CHECK(eventually([&] { return calls == 1; }));
  std::string value;
  std::thread waiter([&] { value = below.get_or_load("key", 60, [] { return "never"; }); });
  CHECK(eventually([&] { return below.stats().joined == 1; }));
  go = true;
  leader.join();
  waiter.join();
  CHECK(value == "loaded");
}

TEST_CASE("options out of range are refused") {
  MemoryCache memory;
  FailOpenCache::Options options;
  options.failures = 0;
  CHECK_THROWS_AS(FailOpenCache(memory, options), larder::InvalidArgument);
  options.failures = 1;
  options.longest_break = -1ms;
  CHECK_THROWS_AS(FailOpenCache(memory, options), larder::InvalidArgument);
  CHECK_THROWS_AS(FailOpenCache(std::shared_ptr<BaseCache>()), larder::InvalidArgument);
  FailOpenCache own(std::make_shared<MemoryCache>());
  FailOpenCache twice(own);
  twice.set("key", "value");
  CHECK(own.get("key") == "value");
}
