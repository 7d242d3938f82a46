#include <larder/base_cache.hpp>
#include <larder/load.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <chrono>
#include <cstddef>
#include <future>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/test_clock.hpp"
#include "support/testing.hpp"

// Faults of loading many keys with one call, in caches of other languages.

using larder::LoadCancelled;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::GatedCache;
using larder::testing::keeping;
using larder::testing::StoppedLoad;
using larder::testing::TestClock;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;
using Map = std::map<std::string, std::string>;
using Texts = TypedCache<std::string, std::string>;

namespace {

Map values_of(const Strings& keys) {
  Map values;
  for (const auto& key : keys) values[key] = value_of(key);
  return values;
}
std::string never() { throw std::logic_error("this must not be loaded"); }
Map never_many(const Strings&) { throw std::logic_error("this must not be loaded"); }

/// Pairs of which the second cannot be had.
struct FailingRange {
  using Pair = std::pair<std::string, std::string>;
  struct Iterator {
    int at;
    Pair operator*() const {
      if (at == 1) throw std::out_of_range("in the middle");
      return {"a", "1"};
    }
    Iterator& operator++() { return ++at, *this; }
    bool operator!=(const Iterator& other) const { return at != other.at; }
  };
  Iterator begin() const { return {0}; }
  Iterator end() const { return {2}; }
};

/// A batch of these keys that has stopped in its loader; then the loader does that.
template <class End>
auto stopped_batch(const Texts& texts, Strings keys, End end) {
  return StoppedLoad([=](Gate& gate) {
    return texts.get_many_or_load(keys, 60, [&](const Strings& missing) {
      gate.pass("loader");
      return end(missing);
    });
  });
}

}  // namespace

TEST_CASE("fault: a batch loader that gives a key twice shifts the values of others") {
  MemoryCache cache;
  const auto values = cache.get_many_or_load({"a", "b"}, 60, [](const Strings&) {
    return std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}, {"a", "1, too"}};
  });
  CHECK((values[0] == "1" || values[0] == "1, too"));
  CHECK(values[1] == "2");
  CHECK(cache.get_many({"a", "b"}) == values);
}

TEST_CASE("fault: a batch that fails in the middle keeps its keys locked, or stores a part") {
  MemoryCache cache;
  const Texts texts(cache);
  StoppedLoad batch([&](Gate& gate) {
    return texts.get_many_or_load({"a", "b"}, 60, [&](const Strings&) {
      gate.pass("loader");
      return FailingRange();
    });
  });
  auto one = std::async(std::launch::async, [&] { return texts.get_or_load("a", 60, never); });
  auto many = std::async(std::launch::async, [&] { return texts.get_many_or_load({"b", "a"}, 60, never_many); });
  REQUIRE(eventually([&] { return texts.stats().joined == 2; }));
  CHECK_THROWS_AS(batch.end(), std::out_of_range);
  CHECK_THROWS_AS(one.get(), std::out_of_range);
  CHECK_THROWS_AS(many.get(), std::out_of_range);
  CHECK_FALSE(cache.contains("a"));
  CHECK(texts.get_many_or_load({"a", "b"}, 60, values_of) == Values{value_of("a"), value_of("b")});
}

TEST_CASE("fault: a batch that waits for one that fails loses what it has loaded itself") {
  MemoryCache cache;
  const Texts texts(cache);
  auto good = stopped_batch(texts, {"a"}, values_of);
  auto bad = stopped_batch(texts, {"b"}, [](const Strings&) -> Map { throw std::out_of_range("failed"); });
  auto batch = std::async(std::launch::async, [&] { return texts.get_many_or_load({"a", "b", "c"}, 60, values_of); });
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK_THROWS_AS(bad.end(), std::out_of_range);
  CHECK(good.end() == Values{value_of("a")});
  CHECK_THROWS_AS(batch.get(), std::out_of_range);
  CHECK(cache.get_many({"a", "b", "c"}) == Values{value_of("a"), std::nullopt, value_of("c")});
  CHECK(texts.get_many_or_load({"a", "b", "c"}, 60, [](const Strings& missing) {
    CHECK(missing == Strings{"b"});
    return values_of(missing);
  })[1] == value_of("b"));
}

TEST_CASE("fault: a batch that gives up takes those with it who wait for one of its keys") {
  MemoryCache cache;
  const Texts texts(cache);
  auto batch = stopped_batch(texts, {"a", "b"}, [](const Strings&) -> Map { throw LoadCancelled(); });
  auto one = std::async(std::launch::async, [&] { return texts.get_or_load("a", 60, [] { return "alone"; }); });
  auto many = std::async(std::launch::async, [&] { return texts.get_many_or_load({"b", "c"}, 60, values_of); });
  REQUIRE(eventually([&] { return texts.stats().joined == 2; }));
  CHECK_THROWS_AS(batch.end(), LoadCancelled);
  CHECK(one.get() == "alone");
  CHECK(many.get() == Values{value_of("b"), value_of("c")});
  CHECK(cache.get_many({"a", "b", "c"}) == Values{"alone", value_of("b"), value_of("c")});
}

TEST_CASE("fault: what was stored between a batch's read and its load is loaded again") {
  Gate gate;
  MemoryCache memory;
  GatedCache cache(memory, gate);
  gate.close("after get");
  Strings asked;
  auto batch = std::async(std::launch::async, [&] {
    return cache.get_many_or_load({"a", "b"}, 60, [&](const Strings& missing) {
      asked = missing;
      return values_of(missing);
    });
  });
  gate.wait_until_reached();
  CHECK(cache.get_or_load("a", 60, [] { return "stored"; }) == "stored");
  gate.open();
  CHECK(batch.get() == Values{"stored", value_of("b")});
  CHECK(asked == Strings{"b"});
}

TEST_CASE("fault: an erase of one key during a batch loses all that it loads, or is lost itself") {
  MemoryCache cache;
  const Texts texts(cache);
  auto batch = stopped_batch(texts, {"a", "b", "c"}, values_of);
  cache.erase("b");
  CHECK(batch.end() == Values{value_of("a"), value_of("b"), value_of("c")});
  CHECK(cache.get_many({"a", "b", "c"}) == Values{value_of("a"), std::nullopt, value_of("c")});
  CHECK(texts.stats().voided == 1);
}

TEST_CASE("fault: who waits for one key of a batch waits until the whole of it is stored") {
  Gate gate;
  MemoryCache memory;
  GatedCache cache(memory, gate);
  const Texts texts(cache);
  gate.close("before store");
  auto batch = std::async(std::launch::async, [&] { return texts.get_many_or_load({"a", "b"}, 60, values_of); });
  gate.wait_until_reached();
  CHECK(texts.get_or_load("a", 60, never) == value_of("a"));
  CHECK(texts.get_many_or_load({"b", "a"}, 60, never_many) == Values{value_of("b"), value_of("a")});
  gate.open();
  CHECK(batch.get() == Values{value_of("a"), value_of("b")});
}

TEST_CASE("fault: a batch loads all again because one of its keys took others too long") {
  MemoryCache cache;
  LoadOptions options;
  options.max_wait = 20ms;
  const Texts texts(cache, "", options);
  auto slow = stopped_batch(texts, {"a"}, [](const Strings&) { return Map{{"a", "slow"}}; });
  std::vector<Strings> calls;
  CHECK(texts.get_many_or_load({"a", "b", "c"}, 60, [&](const Strings& missing) {
    calls.push_back(missing);
    return values_of(missing);
  }) == Values{value_of("a"), value_of("b"), value_of("c")});
  CHECK(calls == std::vector<Strings>{{"b", "c"}, {"a"}});
  CHECK(slow.end() == Values{"slow"});
  CHECK(cache.get("a") == value_of("a"));
}

TEST_CASE("fault: what a batch loader no longer knows comes back as the stale value") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s));
  texts.set_many({{"a", "old a"}, {"b", "old b"}}, 10s);
  TestClock::advance(10s);
  CHECK(texts.get_many_or_load({"a", "b"}, 10s, [](const Strings&) {
    return Map{{"b", "new b"}};
  }) == Values{std::nullopt, "new b"});
  CHECK_FALSE(texts.get("a"));
  CHECK(texts.get("b") == "new b");
}
