#include <larder/load.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/test_clock.hpp"
#include "support/testing.hpp"

// Faults of typed values, stale values and early refresh, in caches of other languages.

using larder::BaseCache;
using larder::Expiry;
using larder::LoadCancelled;
using larder::LoadContext;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::in_threads;
using larder::testing::keeping;
using larder::testing::StoppedLoad;
using larder::testing::TestClock;
using larder::testing::UntoldChanges;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using Strings = std::vector<std::string>;
using Texts = TypedCache<std::string, std::string>;

namespace {

std::string fail() { throw std::out_of_range("the source is away"); }
std::string never() { throw std::logic_error("this must not be loaded"); }

milliseconds time_left(BaseCache& cache, const std::string& key) { return cache.get_entry(key)->time_left.value(); }

/// Has every hit refreshed of what this process has loaded.
LoadOptions always_early() {
  LoadOptions options;
  options.early_refresh = 1e15;
  return options;
}

/// An early refresh of "key" that has stopped in its loader, which does that then.
template <class End>
auto stopped_refresh(const Texts& texts, End end) {
  texts.get_or_load("key", 1h, [] { return "old"; });
  return StoppedLoad([=](Gate& gate) {
    return texts.get_or_load("key", 1h, [&]() -> std::string {
      gate.pass("loader");
      return end();
    });
  });
}

}  // namespace

TEST_CASE("fault: that there is nothing is not kept, and asked for again and again") {
  using Users = TypedCache<std::string, std::optional<std::string>>;
  MemoryCache cache(TestClock::drives());
  const Users users(cache, "user:");
  int calls = 0;
  const auto find = [&](LoadContext<std::optional<std::string>>& load) {
    ++calls;
    load.expires = 30s;  // for what might be there soon
    return std::optional<std::string>();
  };
  for (int i = 0; i < 3; ++i) CHECK(users.get_or_load("nobody", 10min, find) == std::nullopt);
  CHECK(calls == 1);
  CHECK(users.get("nobody").has_value());
  TestClock::advance(30s);
  users.get_or_load("nobody", 10min, find);
  CHECK(calls == 2);

  SECTION("in a batch it is another thing than what the loader leaves out") {
    const auto found = users.get_many_or_load({"none", "unknown"}, 60, [](const Strings&) {
      return std::map<std::string, std::optional<std::string>>{{"none", std::nullopt}};
    });
    REQUIRE(found[0].has_value());
    CHECK_FALSE(found[0]->has_value());
    CHECK_FALSE(found[1].has_value());
    CHECK(cache.contains("user:none"));
    CHECK_FALSE(cache.contains("user:unknown"));
  }
}

TEST_CASE("fault: an expiry that one load chose holds for later loads, too") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache);
  const Expiry expires(1h);
  std::vector<std::optional<milliseconds>> given;
  for (const auto chosen : {1s, 2s, 3s}) {
    texts.get_or_load("key", expires, [&](LoadContext<std::string>& load) {
      given.push_back(load.expires.time_left());
      load.expires = chosen;
      return "value";
    });
    CHECK(time_left(cache, "key") <= chosen);
    TestClock::advance(chosen);
  }
  CHECK(given == std::vector<std::optional<milliseconds>>(3, milliseconds(1h)));
}

TEST_CASE("fault: what a failing loader chose changes how long the stale value is kept") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s));
  texts.set("key", "old", 10s);
  TestClock::advance(20s);
  CHECK(texts.get_or_load("key", 10s, [](LoadContext<std::string>& load) -> std::string {
    load.expires = 1h;
    load.store = false;
    return fail();
  }) == "old");
  CHECK(time_left(cache, "key") == 90s);
}

TEST_CASE("fault: after a failure a key is never tried again") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s, 20ms));
  texts.set("key", "old", 10s);
  TestClock::advance(10s);
  CHECK(texts.get_or_load("key", 10s, fail) == "old");
  CHECK(eventually([&] { return texts.get_or_load("key", 10s, [] { return "new"; }) == "new"; }));
  CHECK(texts.get("key") == "new");
}

TEST_CASE("fault: the pause after a failure outlasts a load that succeeded since") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s, 1h));
  texts.set("key", "old", 10s);
  TestClock::advance(10s);
  CHECK(texts.get_or_load("key", 10s, fail) == "old");
  texts.erase("key");
  const bool batch = GENERATE(false, true);
  if (batch) {
    texts.get_many_or_load({"key"}, 10s, [](const Strings&) {
      return std::map<std::string, std::string>{{"key", "new"}};
    });
  } else {
    texts.get_or_load("key", 10s, [] { return "new"; });
  }
  TestClock::advance(10s);
  CHECK(texts.get_or_load("key", 10s, [] { return "newer"; }) == "newer");
}

TEST_CASE("fault: what was cleared comes back when loading fails") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s));
  const std::vector<std::function<void()>> changes = {
      [&] { cache.clear(); },
      [&] { texts.erase_many({"key"}); },
      [&] { texts.set("key", "expired", 0); },
      [&] { cache.touch("key", 0); },
  };
  const bool batch = GENERATE(false, true);
  for (const auto& change : changes) {
    for (const bool during : {false, true}) {
      texts.set("key", "old", 10s);
      TestClock::advance(10s);
      if (!during) change();
      const auto load = [&] {
        if (during) change();
        return fail();
      };
      const auto load_many = [&](const Strings&) { return std::map<std::string, std::string>{{"key", load()}}; };
      if (batch) CHECK_THROWS_AS(texts.get_many_or_load({"key"}, 10s, load_many), std::out_of_range);
      if (!batch) CHECK_THROWS_AS(texts.get_or_load("key", 10s, load), std::out_of_range);
      CHECK_FALSE(cache.contains("key"));
    }
  }
}

TEST_CASE("fault: a stale value that ends during a load that fails is lost to who holds it") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s));
  texts.set("key", "old", 10s);
  TestClock::advance(109s);
  CHECK(texts.get_or_load("key", 10s, [] {
    TestClock::advance(1s);
    return fail();
  }) == "old");
  CHECK_FALSE(cache.contains("key"));
  CHECK_THROWS_AS(texts.get_or_load("key", 10s, fail), std::out_of_range);
}

TEST_CASE("fault: who takes a load over does not see the value that it replaces") {
  MemoryCache cache(TestClock::drives());
  const Texts texts(cache, "", keeping(100s));
  texts.set("key", "old", 10s);
  TestClock::advance(10s);
  StoppedLoad leader([&](Gate& gate) {
    return texts.get_or_load("key", 10s, [&]() -> std::string {
      gate.pass("loader");
      throw LoadCancelled();
    });
  });
  auto waiter = std::async(std::launch::async, [&] {
    return texts.get_or_load("key", 10s,
                             [](LoadContext<std::string>& load) { return load.previous.value_or("none") + ", new"; });
  });
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK_THROWS_AS(leader.end(), LoadCancelled);
  CHECK(waiter.get() == "old, new");
  CHECK(texts.get("key") == "old, new");
}

TEST_CASE("fault: while a value is refreshed early, others wait for it, or load it as well") {
  MemoryCache cache;
  const Texts texts(cache, "", always_early());
  auto refresh = stopped_refresh(texts, [] { return "new"; });
  in_threads(8, [&](const std::string&) {
    if (texts.get_or_load("key", 1h, never) != "old") throw std::logic_error("not the old value");
  });
  CHECK(texts.stats().joined == 0);
  CHECK(refresh.end() == "new");
  CHECK(cache.get("key") == "new");
  CHECK(texts.stats().loads == 2);
}

TEST_CASE("fault: who misses during an early refresh loads once more") {
  MemoryCache cache;
  UntoldChanges other_process(cache);
  const Texts texts(cache, "", always_early());
  auto refresh = stopped_refresh(texts, [] { return "new"; });
  other_process.erase("key");  // or its expiry
  auto waiter = std::async(std::launch::async, [&] { return texts.get_or_load("key", 1h, never); });
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK(refresh.end() == "new");
  CHECK(waiter.get() == "new");
}

TEST_CASE("fault: an early refresh that fails or gives up throws, or keeps its key locked") {
  MemoryCache cache;
  const Texts texts(cache, "", always_early());
  const bool cancelled = GENERATE(false, true);
  auto refresh = stopped_refresh(texts, [=]() -> std::string { return cancelled ? throw LoadCancelled() : fail(); });
  CHECK(refresh.end() == "old");
  CHECK(texts.stats().failures == (cancelled ? 0 : 1));
  CHECK(cache.get("key") == "old");
  cache.erase("key");
  CHECK(texts.get_or_load("key", 1h, [] { return "new"; }) == "new");
  CHECK(texts.get_or_load("key", 1h, [] { return "newer"; }) == "newer");  // early
}

TEST_CASE("fault: a change during an early refresh is undone by it") {
  MemoryCache cache;
  const Texts texts(cache, "", always_early());
  const std::vector<std::pair<std::function<void()>, std::optional<std::string>>> changes = {
      {[&] { texts.erase("key"); }, std::nullopt},
      {[&] { cache.clear(); }, std::nullopt},
      {[&] { texts.set("key", "set"); }, "set"},
      {[&] { texts.set("key", "set"), texts.set("key", "old"); }, "old"},  // the same bytes, and yet a change
  };
  for (const auto& [change, kept] : changes) {
    auto refresh = stopped_refresh(texts, [] { return "new"; });
    change();
    CHECK(refresh.end() == "new");
    CHECK(cache.get("key") == kept);
    cache.erase("key");
  }
}

TEST_CASE("fault: a value that never expires is refreshed early") {
  MemoryCache cache;
  const Texts texts(cache, "", always_early());
  CHECK(texts.get_or_load("key", {}, [] { return "value"; }) == "value");
  for (int i = 0; i < 100; ++i) CHECK(texts.get_or_load("key", {}, never) == "value");
}

TEST_CASE("fault: a value that comes out of its codec undecodable is garbage for who waits, or never ends") {
  struct OneWay {
    static void encode(const std::string& value, std::string& bytes) { bytes += value; }
    static std::optional<std::string> decode(std::string_view bytes) {
      if (bytes == "throws") throw 42;
      return std::nullopt;
    }
  };
  const std::string value = GENERATE("throws", "does not throw");
  MemoryCache cache;
  const TypedCache<std::string, std::string, OneWay> texts(cache);
  StoppedLoad leader([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return value;
    });
  });
  auto waiter = std::async(std::launch::async, [&] { return texts.get_or_load("key", 60, [] { return "its own"; }); });
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK(leader.end() == value);
  CHECK(waiter.get() == "its own");
  CHECK(texts.get_or_load("key", 60, [] { return "again"; }) == "again");
}

TEST_CASE("fault: two types under one key end the program, or read each other's bytes") {
  MemoryCache cache;
  const Texts texts(cache);
  const TypedCache<std::string, int> numbers(cache);
  StoppedLoad leader([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return "a text";
    });
  });
  auto waiter = std::async(std::launch::async, [&] { return numbers.get_or_load("key", 60, [] { return 7; }); });
  REQUIRE(eventually([&] { return numbers.stats().joined == 1; }));
  CHECK(leader.end() == "a text");
  CHECK(waiter.get() == 7);
  CHECK(numbers.stats().undecodable == 1);
}

namespace {

/// What 32 threads get that want one value at once, which differs from load to load.
template <class Value, class ValueCodec = larder::Codec<Value>, class Make>
void check_stampede(Make make) {
  constexpr std::size_t threads = 32;
  MemoryCache cache;
  const TypedCache<int, Value, ValueCodec> values(cache);
  std::atomic<int> calls{0};
  in_threads(threads, [&](const std::string&) {
    const Value value = values.get_or_load(1, 60, [&] {
      eventually([&] { return values.stats().joined == threads - 1; });
      return make(++calls);
    });
    if (!(value == make(1))) throw std::logic_error("another value");
  });
  CHECK(calls == 1);
}

struct Moved {
  std::unique_ptr<int> number;
  friend bool operator==(const Moved& a, const Moved& b) { return *a.number == *b.number; }
};
struct MovedCodec {
  static void encode(const Moved& value, std::string& bytes) { bytes += std::to_string(*value.number); }
  static std::optional<Moved> decode(std::string_view bytes) {
    return Moved{std::make_unique<int>(std::stoi(std::string(bytes)))};
  }
};
struct Refusing {
  static void encode(int, std::string&) { throw std::invalid_argument("no such bytes"); }
  static std::optional<int> decode(std::string_view) { return std::nullopt; }
};

}  // namespace

TEST_CASE("fault: a kind of value is loaded by all, or is the same object for all") {
  check_stampede<int>([](int n) { return n; });
  check_stampede<std::string>([](int n) { return std::string(100'000, static_cast<char>('a' + n)); });
  check_stampede<std::optional<int>>([](int n) { return n == 1 ? std::nullopt : std::optional<int>(n); });
  check_stampede<Moved, MovedCodec>([](int n) { return Moved{std::make_unique<int>(n)}; });
  check_stampede<int, Refusing>([](int n) { return n; });
}
