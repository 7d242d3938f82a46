#include <larder/loading_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
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

// Faults of refreshes in the background, in caches of other languages.

using larder::LoadContext;
using larder::LoadingCache;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::Gate;
using larder::testing::keeping;
using larder::testing::StoppedLoad;
using larder::testing::Tasks;
using larder::testing::TestClock;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;
using Texts = LoadingCache<std::string, std::string>;

namespace {

/// A cache with "old" under "key", which has become stale, a refresh in the background that has stopped in its loader,
/// and a source that has "new" for it.
struct Refreshing {
  MemoryCache memory{TestClock::drives()};
  Tasks tasks;
  std::string source = "old";
  Gate gate;
  Texts texts{memory,
              "",
              10s,
              [this](const std::string&) {
                const std::string value = source;
                gate.pass("loader");
                return value;
              },
              tasks.executor(),
              keeping(100s)};
  std::future<std::size_t> pool;

  Refreshing() {
    texts.get("key");
    TestClock::advance(10s);
    source = "new";
    CHECK(texts.get("key") == "old");
    gate.close("loader");
    pool = std::async(std::launch::async, [this] { return tasks.run(); });
    gate.wait_until_reached();
  }
  ~Refreshing() { gate.open(); }
  void end() {
    gate.open();
    pool.get();
  }
};

}  // namespace

TEST_CASE("fault: a change during a refresh in the background is undone by it") {
  struct Change {
    std::function<void(Refreshing&)> make;
    std::optional<std::string> kept;
  };
  const std::vector<Change> changes = {
      {[](Refreshing& it) { it.texts.erase("key"); }, std::nullopt},
      {[](Refreshing& it) { it.memory.clear(); }, std::nullopt},
      {[](Refreshing& it) { it.memory.erase_many({"key"}); }, std::nullopt},
      {[](Refreshing& it) { it.texts.set("key", "set"); }, "set"},
      {[](Refreshing& it) { it.texts.set("key", "set"), it.texts.set("key", "old"); }, "old"},  // the same bytes again
  };
  for (const Change& change : changes) {
    Refreshing it;
    change.make(it);
    it.end();
    CHECK(it.memory.get("key") == change.kept);
    CHECK(it.texts.get("key") == change.kept.value_or("new"));
  }
}

TEST_CASE("fault: an invalidated refresh that ends late takes the load that followed with it") {
  Refreshing it;
  it.texts.erase("key");
  it.source = "newer";
  CHECK(it.texts.get("key") == "newer");
  it.end();
  CHECK(it.memory.get("key") == "newer");
}

TEST_CASE("fault: during a refresh in the background readers of the stale value wait") {
  Refreshing it;
  for (int i = 0; i < 10; ++i) CHECK(it.texts.get("key") == "old");
  CHECK(it.texts.get_many({"key"}) == Strings{"old"});
  CHECK(it.tasks.run() <= 1);  // asked for again once at most, and joined then
  it.end();
  CHECK(it.texts.get("key") == "new");
  CHECK(it.texts.stats().refreshes == 1);
}

TEST_CASE("fault: readers of a stale value wait for a load that another object does") {
  MemoryCache memory(TestClock::drives());
  Tasks tasks;
  Texts texts(
      memory, "", 10s, [](const std::string&) { return "old"; }, tasks.executor(), keeping(100s));
  CHECK(texts.get("key") == "old");
  TestClock::advance(10s);
  const TypedCache<std::string, std::string> other(memory, "", keeping(100s));
  StoppedLoad load([&](Gate& gate) {
    return other.get_or_load("key", 10s, [&] {
      gate.pass("loader");
      return "new";
    });
  });
  CHECK(texts.get("key") == "old");
  tasks.run();
  CHECK(load.end() == "new");
  CHECK(texts.get("key") == "new");
}

TEST_CASE("fault: a source that takes longer than its values live has them stale forever") {
  MemoryCache memory(TestClock::drives());
  Tasks tasks;
  int version = 0;
  const auto slow = [&](const std::string&, LoadContext<int>& load) {
    load.expires = load.previous ? larder::Expiry(std::chrono::nanoseconds(1)) : load.expires;  // over when it returns
    std::this_thread::sleep_for(2ms);
    return ++version;
  };
  LoadingCache<std::string, int> numbers(memory, "", 10s, slow, tasks.executor(), keeping(100s));
  CHECK(numbers.get("key") == 1);
  for (int second = 10; second < 110; second += 10) {
    TestClock::advance(10s);
    CHECK(numbers.get("key") == 1);
    CHECK(tasks.run() == 1);
  }
  TestClock::advance(10s);
  CHECK(numbers.get("key") > 10);  // keep_stale is the bound
}

TEST_CASE("fault: a value that was refreshed in the background counts its expiry from the end of the load") {
  MemoryCache memory;
  Tasks tasks;
  Texts texts(
      memory, "", 10s,
      [](const std::string& key) {
        const auto begin = Clock::now();
        while (Clock::now() < begin + 30ms) std::this_thread::yield();
        return value_of(key);
      },
      tasks.executor());
  texts.refresh("key");
  CHECK(tasks.run() == 1);
  CHECK(memory.get_entry("key")->time_left <= 9'971ms);
}

TEST_CASE("fault: an executor that runs a refresh at once, in the reader, hangs") {
  MemoryCache memory(TestClock::drives());
  int version = 0;
  LoadingCache<std::string, int> numbers(
      memory, "", 10s, [&](const std::string&) { return ++version; }, [](const auto& task) { task(); }, keeping(100s));
  CHECK(numbers.get("key") == 1);
  TestClock::advance(10s);
  CHECK(numbers.get("key") == 1);
  CHECK(numbers.get("key") == 2);

  SECTION("also from inside the loader") {
    Texts* itself = nullptr;
    Texts nested(
        memory, "nested:", 10s,
        [&](const std::string& key) {
          itself->refresh(key);
          return value_of(key);
        },
        [](const auto& task) { task(); });
    itself = &nested;
    CHECK(nested.get("key") == value_of("key"));
  }
}

TEST_CASE("fault: a refresh of a key that is being loaded loads it a second time") {
  MemoryCache memory;
  Tasks tasks;
  std::atomic<int> calls{0};
  Gate gate;
  gate.close("loader");
  Texts texts(
      memory, "", 60,
      [&](const std::string& key) {
        ++calls;
        gate.pass("loader");
        return value_of(key);
      },
      tasks.executor());
  auto load = std::async(std::launch::async, [&] { return texts.get("key"); });
  gate.wait_until_reached();
  texts.refresh("key");
  CHECK(tasks.run() == 1);
  gate.open();
  CHECK(load.get() == value_of("key"));
  CHECK(calls == 1);
}

TEST_CASE("fault: a loader that fails for one of many keys loses those that were loaded before it") {
  MemoryCache memory;
  Strings asked;
  Texts texts(memory, "", 60, [&](const std::string& key) {
    asked.push_back(key);
    if (key == "bad") throw std::out_of_range("bad");
    return value_of(key);
  });
  CHECK_THROWS_AS(texts.get_many({"a", "bad", "b"}), std::out_of_range);
  CHECK(memory.get("a") == value_of("a"));
  CHECK(texts.get_many({"a", "b"}) == Strings{value_of("a"), value_of("b")});
  CHECK(asked == Strings{"a", "bad", "b"});
}

TEST_CASE("fault: an expiry that one load chose holds for all later loads of the cache") {
  MemoryCache memory(TestClock::drives());
  Texts texts(memory, "", 10s, [](const std::string& key, LoadContext<std::string>& load) {
    if (key == "short") load.expires = 1s;
    return value_of(key);
  });
  CHECK(texts.get_many({"short", "a"}).size() == 2);
  TestClock::advance(1s);
  CHECK_FALSE(memory.contains("short"));
  CHECK(memory.contains("a"));
  texts.set("set", "value");
  TestClock::advance(8s);
  CHECK(memory.contains("set"));
}

namespace {

/// A key that cannot be copied now and then, as when memory runs out.
struct Key {
  explicit Key(std::string its_text) : text(std::move(its_text)) {}
  Key(const Key& other) : text(other.text) {
    if (fails) throw std::bad_alloc();
  }
  Key& operator=(const Key&) = delete;
  ~Key() = default;

  std::string text;
  static inline bool fails = false;
};

}  // namespace

template <>
struct larder::Codec<Key> {
  static void encode(const Key& key, std::string& bytes) { bytes += key.text; }
  static std::optional<Key> decode(std::string_view) { return std::nullopt; }
};

TEST_CASE("fault: a refresh that could not be asked for is never asked for again") {
  MemoryCache memory(TestClock::drives());
  Tasks tasks;
  int version = 0;
  LoadingCache<Key, int> numbers(
      memory, "", 10s, [&](const Key&) { return ++version; }, tasks.executor(), keeping(100s));
  const Key key("key");
  CHECK(numbers.get(key) == 1);
  TestClock::advance(10s);
  Key::fails = true;
  CHECK(numbers.get(key) == 1);
  Key::fails = false;
  CHECK(tasks.run() == 0);
  CHECK(numbers.get(key) == 1);
  CHECK(tasks.run() == 1);
  CHECK(numbers.get(key) == 2);
}
