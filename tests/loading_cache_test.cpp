#include <larder/loading_cache.hpp>

#include <larder/error.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/observer.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
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
using larder::LoadingCache;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::in_threads;
using larder::testing::keeping;
using larder::testing::Tasks;
using larder::testing::TestClock;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Numbers = LoadingCache<std::string, int>;

namespace {

static_assert(!std::is_copy_constructible_v<Numbers> && !std::is_move_constructible_v<Numbers>);

struct Source {
  std::atomic<int> version{1}, calls{0};
  std::atomic<bool> away{false};

  int operator()(const std::string&) {
    ++calls;
    if (away) throw std::out_of_range("the source is away");
    return version;
  }
};

}  // namespace

TEST_CASE("a cache with a loader") {
  MemoryCache memory;
  int calls = 0;
  LoadingCache<int, int> squares(memory, "square:", 60, [&](const int& key) {
    ++calls;
    return key * key;
  });
  CHECK(squares.get(7) == 49);
  CHECK(squares.get(7) == 49);
  CHECK(calls == 1);
  CHECK(memory.get("square:7") == "49");
  CHECK(squares.get_many({7, 8, 9, 8}) == std::vector<int>{49, 64, 81, 64});
  CHECK(calls == 3);
  CHECK(squares.get_many(std::vector<short>{7, 9}) == std::vector<int>{49, 81});
  squares.set(7, 50);
  CHECK(squares.get(7) == 50);
  CHECK(squares.erase(7));
  CHECK(squares.get(7) == 49);
  squares.refresh(7);
  CHECK(calls == 5);
  CHECK(squares.stats().loads == 5);
  CHECK(squares.stats().refreshes == 1);

  SECTION("that takes the context, owned and moved") {
    LoadingCache<std::string, std::string> texts(
        std::make_shared<MemoryCache>(), "", 60,
        [own = std::make_unique<std::string>("!")](const std::string& key, LoadContext<std::string>& load) {
          load.store = key != "passing";
          return load.previous.value_or(key) + *own;
        });
    CHECK(texts.get("key") == "key!");
    texts.refresh("key");
    CHECK(texts.get("key") == "key!!");
    CHECK(texts.get("passing") == "passing!");
    CHECK(texts.get("passing") == "passing!");
    CHECK(texts.stats().loads == 4);
  }
}

TEST_CASE("with an executor nobody waits for what was there once") {
  MemoryCache memory(TestClock::drives());
  if (!larder::detail::CacheHooks::tells_time(memory)) return;
  Source source;
  Tasks tasks;
  Numbers numbers(memory, "n:", 10s, std::ref(source), tasks.executor(), keeping(100s));
  CHECK(numbers.get("key") == 1);  // there was none: loaded here
  CHECK(tasks.run() == 0);
  source.version = 2;
  CHECK(numbers.get("key") == 1);
  TestClock::advance(10s);
  in_threads(8, [&](const std::string&) {
    for (int i = 0; i < 10; ++i) numbers.get("key");
  });
  CHECK(numbers.get("key") == 1);
  CHECK(source.calls == 1);
  CHECK(tasks.run() == 1);  // asked for once
  CHECK(numbers.get("key") == 2);
  CHECK(numbers.stats().stale == 81);
  CHECK(numbers.stats().refreshes == 1);

  SECTION("a failed refresh leaves the stale value") {
    TestClock::advance(10s);
    source.away = true;
    CHECK(numbers.get("key") == 2);
    CHECK(tasks.run() == 1);
    CHECK(numbers.stats().failures == 1);
    CHECK(numbers.get("key") == 2);
    source.away = false;
    CHECK(tasks.run() == 1);
    CHECK(numbers.get_many({"key"}) == std::vector<int>{2});
  }
  SECTION("an erase beats a refresh, before it runs and while it does") {
    TestClock::advance(10s);
    CHECK(numbers.get("key") == 2);
    numbers.erase("key");
    source.version = 3;
    CHECK(numbers.get("key") == 3);
    tasks.run();
    CHECK(numbers.get("key") == 3);
  }
  SECTION("refresh() returns at once") {
    source.version = 3;
    numbers.refresh("key");
    numbers.refresh("key");
    CHECK(numbers.get("key") == 2);
    CHECK(tasks.run() == 1);
    CHECK(numbers.get("key") == 3);
    source.away = true;
    numbers.refresh("key");
    CHECK(tasks.run() == 1);
    CHECK(numbers.get("key") == 3);
  }
}

TEST_CASE("a key whose refresh failed is left alone for a while") {
  MemoryCache memory(TestClock::drives());
  if (!larder::detail::CacheHooks::tells_time(memory)) return;
  Source source;
  Tasks tasks;
  Numbers numbers(memory, "", 10s, std::ref(source), tasks.executor(), keeping(100s, 60s));
  CHECK(numbers.get("key") == 1);
  TestClock::advance(10s);
  source.away = true;
  CHECK(numbers.get("key") == 1);
  CHECK(tasks.run() == 1);
  CHECK(numbers.get("key") == 1);
  CHECK(tasks.run() == 0);
}

TEST_CASE("without an executor refresh() loads, and throws") {
  MemoryCache memory;
  Source source;
  Numbers numbers(memory, "", 60, std::ref(source));
  source.away = true;
  CHECK_THROWS_AS(numbers.refresh("key"), std::out_of_range);
  CHECK_THROWS_AS(numbers.get("key"), std::out_of_range);
  source.away = false;
  numbers.refresh("key");
  CHECK(memory.get("key") == "1");
  source.away = true;
  CHECK_THROWS_AS(numbers.refresh("key"), std::out_of_range);
  CHECK(numbers.get("key") == 1);
}

TEST_CASE("an executor may drop tasks, throw, run at once, or twice") {
  MemoryCache memory;
  Source source;
  int asked = 0;
  std::function<void(std::function<void()>)> behavior;
  Numbers numbers(memory, "", 60, std::ref(source), [&](std::function<void()> task) {
    ++asked;
    behavior(std::move(task));
  });
  behavior = [](const std::function<void()>&) {};
  numbers.refresh("key");
  behavior = [](const std::function<void()>&) { throw std::runtime_error("full"); };
  numbers.refresh("key");
  CHECK(asked == 2);
  CHECK(source.calls == 0);
  behavior = [](const std::function<void()>& task) { task(); };
  numbers.refresh("key");
  CHECK(source.calls == 1);
  behavior = [](const std::function<void()>& task) { task(), task(); };
  numbers.refresh("key");
  CHECK(source.calls == 2);
  CHECK(numbers.stats().failures == 0);
}

TEST_CASE("destruction drops what has not begun, and waits for what runs") {
  MemoryCache memory;
  Tasks tasks;
  Gate gate;
  gate.close("loader");
  std::atomic<int> calls{0};
  std::atomic<bool> destroyed{false}, destroyed_early{false};
  auto numbers = std::make_unique<Numbers>(
      memory, "", 60,
      [&](const std::string&) {
        ++calls;
        gate.pass("loader");
        destroyed_early = destroyed.load();
        return 1;
      },
      tasks.executor());
  numbers->refresh("runs");
  std::thread pool([&] { tasks.run(); });
  gate.wait_until_reached();
  numbers->refresh("waits");
  std::thread destroyer([&] {
    numbers.reset();
    destroyed = true;
  });
  gate.open();
  pool.join();
  destroyer.join();
  CHECK(calls == 1);
  CHECK_FALSE(destroyed_early);
  CHECK(tasks.run() == 1);
  CHECK(calls == 1);
}

TEST_CASE("early refresh: a value is loaded before it expires") {
  MemoryCache memory;
  LoadOptions options;
  options.early_refresh = 1;
  Source source;
  const auto slow = [&](const std::string& key) {
    std::this_thread::sleep_for(5ms);
    return source(key);
  };
  SECTION("here") {
    Numbers numbers(memory, "", 30ms, slow, {}, options);
    const auto end = Clock::now() + 1s;
    int missed = 0;
    while (Clock::now() < end) {
      if (!memory.contains("key")) ++missed;
      CHECK(numbers.get("key") == 1);
    }
    CHECK(numbers.stats().refreshes > 10);
    CHECK(numbers.stats().loads >= numbers.stats().refreshes);
  }
  SECTION("in the background") {
    Tasks tasks;
    Numbers numbers(memory, "", 30ms, slow, tasks.executor(), options);
    CHECK(numbers.get("key") == 1);
    CHECK(eventually([&] { return numbers.get("key"), tasks.run() == 1; }));
    CHECK(numbers.stats().refreshes >= 1);
  }
  SECTION("a value that another process has refreshed is left alone") {
    Numbers numbers(memory, "", 200ms, slow, {}, options);
    CHECK(numbers.get("key") == 1);
    const int calls = source.calls;
    memory.set("key", "7", 1h);
    const auto end = Clock::now() + 300ms;
    while (Clock::now() < end) CHECK(numbers.get("key") == 7);
    if (larder::detail::CacheHooks::tells_time(memory)) CHECK(source.calls == calls);
  }
  SECTION("if it fails the value is still good") {
    Numbers numbers(memory, "", 60ms, slow, {}, options);
    CHECK(numbers.get("key") == 1);
    source.away = true;
    const auto end = Clock::now() + 40ms;
    while (Clock::now() < end && memory.contains("key")) CHECK(numbers.get("key") == 1);
    CHECK(numbers.stats().failures <= 1);
  }
}
