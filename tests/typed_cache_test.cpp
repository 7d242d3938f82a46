#include <larder/typed_cache.hpp>

#include <larder/error.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/null_cache.hpp>
#include <larder/observer.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/test_clock.hpp"
#include "support/testing.hpp"

using larder::BaseCache;
using larder::ForwardingCache;
using larder::LoadCancelled;
using larder::LoadContext;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::keeping;
using larder::testing::TestClock;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Texts = TypedCache<std::string, std::string>;
using Numbers = TypedCache<int, int>;

namespace {

enum class Color { red, green };

/// A value that can be moved only, and a key of its own kind.
struct Point {
  int x = 0, y = 0;
  friend bool operator==(const Point& a, const Point& b) { return a.x == b.x && a.y == b.y; }
};
struct Moved {
  std::unique_ptr<int> number;
};
struct MovedCodec {
  static void encode(const Moved& value, std::string& bytes) { bytes += std::to_string(*value.number); }
  static std::optional<Moved> decode(std::string_view bytes) {
    return Moved{std::make_unique<int>(std::stoi(std::string(bytes)))};  // throws
  }
};

}  // namespace

template <>
struct larder::Codec<Point> {
  static void encode(const Point& value, std::string& bytes) {
    bytes += std::to_string(value.x) + ',' + std::to_string(value.y);
  }
  static std::optional<Point> decode(std::string_view) { throw std::out_of_range("never"); }
};

namespace {

static_assert(std::is_copy_constructible_v<Texts> && std::is_nothrow_move_constructible_v<Texts>);
static_assert(!std::is_convertible_v<BaseCache&, Texts> && std::is_constructible_v<Texts, MemoryCache&>);
static_assert(std::is_constructible_v<Texts, std::shared_ptr<MemoryCache>, std::string, LoadOptions>);

/// A MemoryCache that can tell the time, with that clock.
class TimedCache : public ForwardingCache {
 public:
  TimedCache() : ForwardingCache(std::make_shared<MemoryCache>(TestClock::drives())) {}
};

milliseconds time_left(BaseCache& cache, const std::string& key) { return cache.get_entry(key)->time_left.value(); }

[[noreturn]] std::string fail() { throw std::out_of_range("the source is away"); }

}  // namespace

TEST_CASE("keys and values of a type") {
  MemoryCache cache;
  const Numbers numbers(cache, "n:");
  CHECK_FALSE(numbers.get(1));
  numbers.set(1, 11, 60);
  CHECK(numbers.get(1) == 11);
  CHECK(cache.get("n:1") == "11");
  CHECK(numbers.contains(1));
  CHECK_FALSE(numbers.add(1, 12));
  CHECK(numbers.add(2, 22, 60));
  CHECK(numbers.touch(2, 0));
  CHECK_FALSE(numbers.touch(2, 60));
  CHECK(numbers.erase(1));
  CHECK_FALSE(numbers.erase(1));
  numbers.set(std::numeric_limits<int>::min(), -1);
  CHECK(cache.get("n:-2147483648") == "-1");

  SECTION("of many kinds") {
    const TypedCache<Color, std::optional<std::string>> colors(cache, "c:");
    colors.set(Color::green, "grass");
    colors.set(Color::red, std::nullopt);
    CHECK(colors.get(Color::green) == std::optional<std::string>("grass"));
    CHECK(colors.get(Color::red).value() == std::nullopt);
    CHECK(cache.get("c:1") == "\xFFopt1grass");
    const TypedCache<Point, bool> points(cache, "p:");
    points.set({1, -2}, true);
    CHECK(cache.get("p:1,-2") == "1");
    const TypedCache<std::string, Moved, MovedCodec> moved(cache);
    CHECK(*moved.get_or_load("moved", 60, [] { return Moved{std::make_unique<int>(5)}; }).number == 5);
    CHECK(*moved.get("moved")->number == 5);
    cache.set("moved", "x");
    CHECK_FALSE(moved.get("moved"));
    CHECK(moved.stats().undecodable == 1);
    const auto twice = moved.get_many_or_load({"a", "a"}, 60, [](const std::vector<std::string>& keys) {
      std::map<std::string, Moved> loaded;
      for (const auto& key : keys) loaded[key].number = std::make_unique<int>(7);
      return loaded;
    });
    CHECK((*twice[0]->number == 7 && *twice[1]->number == 7));
  }
  SECTION("with long keys and prefixes") {
    const std::string prefix(120, 'p'), key(1000, 'k');
    const Texts texts(cache, prefix);
    texts.set(key, "value");
    texts.set("", "empty key");
    CHECK(cache.get(prefix + key) == "value");
    CHECK(cache.get(prefix) == "empty key");
    CHECK(texts.get(key) == "value");
    const TypedCache<std::string_view, int> views(cache, prefix);
    views.set("7", 7);
    CHECK(texts.get("7") == "7");
  }
  SECTION("a copy sees and counts the same") {
    Numbers copy = numbers;
    CHECK(copy.get_or_load(5, 60, [] { return 55; }) == 55);
    CHECK(numbers.stats().loads == 1);
    CHECK(numbers.get(5) == 55);
  }
  SECTION("a cache that it keeps alive") {
    const Numbers own(std::make_shared<MemoryCache>());
    own.set(1, 1);
    CHECK(own.get(1) == 1);
    CHECK_THROWS_AS(Numbers(std::shared_ptr<BaseCache>()), larder::InvalidArgument);
  }
}

TEST_CASE("batches of a type") {
  MemoryCache cache;
  const Numbers numbers(cache, "n:");
  using Values = std::vector<std::optional<int>>;
  numbers.set_many({{1, 11}, {2, 22}}, 60);
  numbers.set_many(std::map<int, int>{{3, 33}});
  numbers.set_many(std::vector<std::pair<short, short>>{{4, 44}});
  numbers.set_many(std::list<std::tuple<int, int>>{{5, 55}}, 60);
  CHECK(numbers.get_many({5, 1, 9, 1}) == Values{55, 11, std::nullopt, 11});
  CHECK(numbers.get_many(std::set<int>{3, 4}) == Values{33, 44});
  CHECK(numbers.get_many(std::array<short, 1>{2}) == Values{22});
  CHECK(numbers.get_many(std::vector<int>()).empty());
  int asked = 0;
  const auto load = [&](const std::vector<int>& missing) {
    asked += static_cast<int>(missing.size());
    std::map<int, int> loaded;
    for (const int key : missing) loaded[key] = key * 100;
    return loaded;
  };
  CHECK(numbers.get_many_or_load({1, 7, 7, 8}, 60, load) == Values{11, 700, 700, 800});
  CHECK(numbers.get_many_or_load(std::set<int>{7, 8}, 60, load) == Values{700, 800});
  CHECK(asked == 2);
  CHECK(cache.get("n:7") == "700");
  CHECK(numbers.erase_many({1, 2, 9}) == 2);
  CHECK(numbers.erase_many(std::vector<int>{3}) == 1);
}

TEST_CASE("what cannot be decoded is a miss, and loaded anew") {
  struct Told : larder::Observer {
    std::atomic<int> undecodable_keys{0};
    void undecodable(std::string_view key) noexcept override { undecodable_keys += key == "n:1" ? 1 : 100; }
  };
  LoadOptions options;
  const auto told = std::make_shared<Told>();
  options.observer = told;
  MemoryCache cache;
  const Numbers numbers(cache, "n:", options);
  for (const std::string bytes : {"", "x", "1x", "99999999999"}) {
    cache.set("n:1", bytes);
    CHECK_FALSE(numbers.get(1));
    CHECK(numbers.get_many({1}) == std::vector<std::optional<int>>{std::nullopt});
    CHECK(numbers.get_or_load(1, 60, [](LoadContext<int>& load) {
      CHECK_FALSE(load.previous);
      return 5;
    }) == 5);
    CHECK(cache.get("n:1") == "5");
    cache.set("n:1", bytes);
    CHECK(numbers.get_many_or_load({1}, 60, [](const std::vector<int>&) {
      return std::map<int, int>{{1, 6}};
    }) == std::vector<std::optional<int>>{6});
    CHECK(cache.get("n:1") == "6");
  }
  CHECK(numbers.stats().undecodable == 16);
  CHECK(told->undecodable_keys == 16);
}

TEST_CASE("what cannot be encoded is returned, and not stored") {
  struct Picky {
    static void encode(const std::string& value, std::string& bytes) {
      if (value == "bad") throw std::invalid_argument("bad");
      bytes += value;
    }
    static std::optional<std::string> decode(std::string_view bytes) { return std::string(bytes); }
  };
  MemoryCache cache;
  const TypedCache<std::string, std::string, Picky> texts(cache);
  CHECK_THROWS_AS(texts.set("key", "bad"), std::invalid_argument);
  CHECK_THROWS_AS(texts.add("key", "bad"), std::invalid_argument);
  Gate gate;
  gate.close("loader");
  std::string first, second;
  std::thread leader([&] {
    first = texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return "bad";
    });
  });
  gate.wait_until_reached();
  std::thread waiter([&] { second = texts.get_or_load("key", 60, [] { return "never"; }); });
  CHECK(eventually([&] { return texts.stats().joined == 1; }));
  gate.open();
  leader.join();
  waiter.join();
  CHECK(first == "bad");
  CHECK(second == "bad");
  CHECK_FALSE(cache.contains("key"));
  CHECK(texts.stats().failures == 1);
}

TEST_CASE("options out of range") {
  MemoryCache memory;
  const auto refused = [&](auto change) {
    LoadOptions options;
    change(options);
    CHECK_THROWS_AS(Numbers(memory, "", options), larder::InvalidArgument);
  };
  refused([](LoadOptions& it) { it.max_wait = -1ms; });
  refused([](LoadOptions& it) { it.keep_stale = -1ms; });
  refused([](LoadOptions& it) { it.retry_after = -1ms; });
  refused([](LoadOptions& it) { it.early_refresh = -0.1; });
  refused([](LoadOptions& it) { it.early_refresh = std::nan(""); });
  refused([](LoadOptions& it) { it.jitter = -0.1; });
  refused([](LoadOptions& it) { it.jitter = 1.1; });
  LoadOptions longest;
  longest.max_wait = longest.retry_after = milliseconds::max();
  CHECK(Numbers(memory, "", longest).get_or_load(1, 60, [] { return 1; }) == 1);
}

TEST_CASE("jitter shortens expiries, and never to nothing") {
  TimedCache cache;
  LoadOptions options;
  options.jitter = 0.5;
  const Texts texts(cache, "", options);
  std::set<milliseconds> all;
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    texts.get_or_load(key, 100'000ms, [] { return "value"; });
    const auto left = time_left(cache, key);
    CHECK((left >= 50'000ms && left <= 100'000ms));
    all.insert(left);
  }
  CHECK(all.size() > 50);
  options.jitter = 1;
  const Texts wild(cache, "", options);
  for (int i = 0; i < 100; ++i) wild.set(std::to_string(i), "value", 1ms);
  for (int i = 0; i < 100; ++i) CHECK(cache.contains(std::to_string(i)));
  wild.set("never", "value");
  CHECK(time_left(cache, "never") == milliseconds::max());
}

TEST_CASE("stale values are kept, and not seen") {
  TimedCache cache;
  const Texts texts(cache, "", keeping(100s));
  texts.set("key", "value", 10s);
  CHECK(time_left(cache, "key") == 110s);
  CHECK(texts.get("key") == "value");
  CHECK(texts.contains("key"));
  CHECK_FALSE(texts.add("key", "other", 10s));
  TestClock::advance(10s);
  CHECK_FALSE(texts.get("key"));
  CHECK_FALSE(texts.contains("key"));
  CHECK_FALSE(texts.touch("key", 10s));
  CHECK(texts.get_many({"key"}) == std::vector<std::optional<std::string>>{std::nullopt});
  CHECK(cache.get("key") == "value");
  CHECK_FALSE(texts.add("key", "other", 0));
  CHECK(texts.add("key", "other", 10s));
  CHECK(texts.get("key") == "other");
  CHECK(texts.touch("key", 20s));
  CHECK(time_left(cache, "key") == 120s);
  CHECK(texts.touch("key", {}));
  CHECK(time_left(cache, "key") == milliseconds::max());
  CHECK(texts.get("key") == "other");
  texts.set_many({{"key", "many"}}, 10s);
  CHECK(time_left(cache, "key") == 110s);
  TestClock::advance(110s);
  CHECK_FALSE(cache.contains("key"));
}

TEST_CASE("a stale value is returned where loading fails") {
  TimedCache cache;
  const Texts texts(cache, "", keeping(100s));
  texts.set("key", "old", 10s);
  CHECK(texts.get_or_load("key", 10s, fail) == "old");
  CHECK(texts.stats().loads + texts.stats().failures == 0);
  TestClock::advance(10s);
  CHECK(texts.get_or_load("key", 10s, fail) == "old");
  CHECK(texts.stats().failures == 1);
  CHECK(texts.stats().stale == 1);

  SECTION("in a batch too, if there is one for each key") {
    const auto fail_all = [](const std::vector<std::string>&) -> std::map<std::string, std::string> { fail(); };
    CHECK(texts.get_many_or_load({"key"}, 10s, fail_all) == std::vector<std::optional<std::string>>{"old"});
    CHECK_THROWS_AS(texts.get_many_or_load({"key", "none"}, 10s, fail_all), std::out_of_range);
  }
  SECTION("a loader sees it, and replaces it") {
    CHECK(texts.get_or_load("key", 10s, [](LoadContext<std::string>& load) {
      CHECK(load.previous == "old");
      return *load.previous + " and new";
    }) == "old and new");
    CHECK(texts.get("key") == "old and new");
    CHECK(time_left(cache, "key") == 110s);
  }
  SECTION("not once it is gone") {
    TestClock::advance(100s);
    CHECK_THROWS_AS(texts.get_or_load("key", 10s, fail), std::out_of_range);
  }
  SECTION("nor after an erase, before or during the load") {
    CHECK_THROWS_AS(texts.get_or_load("key", 10s,
                                      [&]() -> std::string {
                                        texts.erase("key");
                                        fail();
                                      }),
                    std::out_of_range);
    CHECK_THROWS_AS(texts.get_or_load("key", 10s, fail), std::out_of_range);
  }
  SECTION("nor where the load was cancelled, or must not be stored") {
    CHECK_THROWS_AS(texts.get_or_load("key", 10s, []() -> std::string { throw LoadCancelled(); }), LoadCancelled);
    CHECK(texts.get_or_load("key", 10s, [](LoadContext<std::string>& load) {
      load.store = false;
      return "passing";
    }) == "passing");
    CHECK(cache.get("key") == "old");
  }
  SECTION("those who wait get it, too") {
    Gate gate;
    gate.close("loader");
    std::string first, second;
    std::thread leader([&] {
      first = texts.get_or_load("key", 10s, [&]() -> std::string {
        gate.pass("loader");
        fail();
      });
    });
    gate.wait_until_reached();
    std::thread waiter([&] { second = texts.get_or_load("key", 10s, [] { return "never"; }); });
    CHECK(eventually([&] { return texts.stats().joined == 1; }));
    gate.open();
    leader.join();
    waiter.join();
    CHECK(first == "old");
    CHECK(second == "old");
    CHECK(texts.stats().stale == 3);
  }
}

TEST_CASE("a key whose load failed is not tried again for a while, if there is a stale value") {
  TimedCache cache;
  const Texts texts(cache, "", keeping(100s, 60s));
  const Texts again(cache, "", keeping(100s, 60s));
  texts.set("key", "old", 10s);
  TestClock::advance(10s);
  CHECK(texts.get_or_load("key", 10s, fail) == "old");
  CHECK(texts.get_or_load("key", 10s, [] { return "new"; }) == "old");
  CHECK(again.get_or_load("key", 10s, [] { return "new"; }) == "old");
  CHECK(again.get_many_or_load({"key"}, 10s, [](const std::vector<std::string>&) {
    return std::map<std::string, std::string>();
  })[0] == "old");
  texts.erase("key");
  CHECK(texts.get_or_load("key", 10s, [] { return "new"; }) == "new");

  SECTION("a loader may say for how long") {
    texts.set("other", "old", 10s);
    TestClock::advance(10s);
    CHECK(texts.get_or_load("other", 10s, [](LoadContext<std::string>& load) -> std::string {
      load.retry_after = 0ms;
      fail();
    }) == "old");
    CHECK(texts.get_or_load("other", 10s, [] { return "new"; }) == "new");
  }
  SECTION("without one it is tried at once") {
    CHECK_THROWS_AS(texts.get_or_load("none", 10s, fail), std::out_of_range);
    CHECK(texts.get_or_load("none", 10s, [] { return "new"; }) == "new");
  }
}

TEST_CASE("keep_stale needs a cache that tells the time") {
  struct Timeless : ForwardingCache {
    using ForwardingCache::ForwardingCache;
    bool tells = false;
    std::optional<Entry> do_get_entry(std::string_view key) override {
      auto value = do_get(key);
      return value ? std::optional<Entry>({*value, std::nullopt}) : std::nullopt;
    }
    bool do_tells_time() const noexcept override { return tells; }
  };
  MemoryCache memory;
  Timeless timeless(static_cast<BaseCache&>(memory));
  CHECK_THROWS_AS(Texts(timeless, "", keeping(1s)), larder::InvalidArgument);
  timeless.tells = true;  // though a single entry does not
  const Texts texts(timeless, "", keeping(1s));
  texts.set("key", "old", 60);
  CHECK_FALSE(texts.get("key"));
  CHECK(texts.get_or_load("key", 60, [] { return "new"; }) == "new");
  larder::NullCache nothing;
  CHECK(Texts(nothing, "", keeping(1s)).get_or_load("key", 60, [] { return "new"; }) == "new");
}
