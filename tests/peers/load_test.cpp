#include <larder/base_cache.hpp>
#include <larder/load.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/testing.hpp"

// Faults of get_or_load, and of what is like it, in caches of other languages.

using larder::BaseCache;
using larder::LoadCancelled;
using larder::LoadContext;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::GatedCache;
using larder::testing::in_threads;
using larder::testing::StoppedLoad;
using larder::testing::UntoldChanges;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;
using Texts = TypedCache<std::string, std::string>;

namespace {

/// A load of "key" that has stopped in its loader.
auto stopped_load(const Texts& texts, const char* value) {
  return StoppedLoad([=](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return value;
    });
  });
}

/// A load of "key" in a thread of its own.
template <class Loader>
std::future<std::string> load_in_thread(const Texts& texts, Loader loader) {
  return std::async(std::launch::async, [=] { return texts.get_or_load("key", 60, loader); });
}

std::string never() { throw std::logic_error("this must not be loaded"); }

std::uint64_t listed(BaseCache& cache) {
  return larder::detail::CacheHooks::loads(cache).table().state.load() & 0xFFFFFFFFU;
}

}  // namespace

TEST_CASE("fault: who missed before a load ended, and comes after it, loads once more") {
  Gate gate;
  MemoryCache memory;
  GatedCache cache(memory, gate);
  gate.close("after get");
  auto late = load_in_thread(Texts(cache), never);
  gate.wait_until_reached();
  CHECK(cache.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
  gate.open();
  CHECK(late.get() == "loaded");
}

TEST_CASE("fault: those who wait for a load keep asking the cache, and use up its connections") {
  constexpr std::size_t waiters = 8;
  Gate gate;
  MemoryCache memory;
  GatedCache cache(memory, gate);
  const Texts texts(cache);
  auto leader = stopped_load(texts, "loaded");
  std::vector<std::future<std::string>> all;
  for (std::size_t i = 0; i < waiters; ++i) all.push_back(load_in_thread(texts, never));
  REQUIRE(eventually([&] { return texts.stats().joined == waiters; }));
  std::this_thread::sleep_for(50ms);  // in which somebody who polls would ask again
  CHECK(gate.passed("after get") == 1 + waiters);
  CHECK(leader.end() == "loaded");
  for (auto& waiter : all) CHECK(waiter.get() == "loaded");
  CHECK(gate.passed("before get") == 1 + waiters);
  CHECK(gate.passed("before store") == 1);
}

TEST_CASE("fault: a plain read joins a load, and waits for it or counts it as a hit") {
  MemoryCache cache;
  const Texts texts(cache);
  auto leader = stopped_load(texts, "loaded");
  CHECK_FALSE(texts.get("key"));
  CHECK_FALSE(texts.contains("key"));
  CHECK_FALSE(cache.get_entry("key"));
  CHECK_FALSE(cache.get_many({"key"})[0]);
  CHECK(texts.stats().joined == 0);
  CHECK(leader.end() == "loaded");
}

TEST_CASE("fault: a loader runs in another thread than its caller's, where what it refers to may be gone") {
  MemoryCache cache;
  LoadOptions options;
  options.early_refresh = 1e15;  // at every call
  const Texts texts(cache, "", options);
  const auto caller = std::this_thread::get_id();
  int calls = 0;
  const auto load = [&] {
    ++calls;
    CHECK(std::this_thread::get_id() == caller);
    return "loaded";
  };
  for (int i = 0; i < 5; ++i) CHECK(texts.get_or_load("key", 1h, load) == "loaded");
  CHECK(calls == 5);
  CHECK(cache.get_or_load("other", 60, load) == "loaded");
  cache.get_many_or_load({"a", "b"}, 60, [&](const Strings&) {
    return std::map<std::string, std::string>{{"a", load()}, {"b", load()}};
  });
  CHECK(calls == 8);
}

TEST_CASE("fault: when all who wait give up in turn, some hang, or get what another threw") {
  constexpr std::size_t threads = 200;
  MemoryCache cache;
  const Texts texts(cache);
  std::atomic<std::size_t> calls{0}, own{0};
  in_threads(threads, [&](const std::string& me) {
    try {
      texts.get_or_load("key", 60, [&]() -> std::string {
        if (++calls == 1) eventually([&] { return texts.stats().joined == threads - 1; });
        throw LoadCancelled(me);
      });
    } catch (const LoadCancelled& cancelled) {
      if (cancelled.what() == me) ++own;
    }
  });
  CHECK(calls == threads);
  CHECK(own == threads);
  CHECK(cache.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
}

TEST_CASE("fault: an invalidated load that ends late takes its successor off the list, or overwrites it") {
  MemoryCache cache;
  const Texts texts(cache);
  const int end = GENERATE(0, 1, 2);
  StoppedLoad first([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&]() -> std::string {
      gate.pass("loader");
      if (end == 1) throw std::out_of_range("failed");
      if (end == 2) throw LoadCancelled();
      return "old";
    });
  });
  cache.erase("key");
  auto second = stopped_load(texts, "new");
  if (end == 0) CHECK(first.end() == "old");
  if (end == 1) CHECK_THROWS_AS(first.end(), std::out_of_range);
  if (end == 2) CHECK_THROWS_AS(first.end(), LoadCancelled);
  CHECK_FALSE(cache.contains("key"));
  auto third = load_in_thread(texts, never);
  CHECK(eventually([&] { return texts.stats().joined == 1; }));
  CHECK(second.end() == "new");
  CHECK(third.get() == "new");
  CHECK(cache.get("key") == "new");
}

TEST_CASE("fault: loaders that all need one more key load it each for itself, since who loads may not wait") {
  MemoryCache cache;
  const Texts texts(cache);
  constexpr std::size_t pages = 50;
  std::atomic<int> configs{0};
  std::atomic<std::size_t> inside{0};
  in_threads(pages, [&](const std::string& me) {
    const auto page = texts.get_or_load("page " + me, 60, [&] {
      ++inside;
      return me + texts.get_or_load("config", 60, [&] {
        ++configs;
        eventually([&] { return inside == pages; });
        return ": config";
      });
    });
    if (page != me + ": config") throw std::logic_error(page);
  });
  CHECK(configs == 1);
}

TEST_CASE("fault: loads that wait for each other in a circle of many never end") {
  MemoryCache cache;
  constexpr std::size_t threads = 5;
  std::atomic<std::size_t> inside{0};
  const auto begin = Clock::now();
  in_threads(threads, [&](const std::string& me) {
    const std::string next = std::to_string((std::stoul(me) + 1) % threads);
    const auto value = cache.get_or_load(me, 60, [&] {
      ++inside;
      eventually([&] { return inside >= threads; });
      return me + cache.get_or_load(next, 60, [&] { return next; });
    });
    if (value.substr(0, 2) != me + next) throw std::logic_error(value);
  });
  CHECK(Clock::now() - begin < 5s);  // not by max_wait
}

TEST_CASE("fault: a loader waits for a thread that wants the same key, and both do so forever") {
  MemoryCache cache;
  LoadOptions options;
  options.max_wait = 50ms;
  const Texts texts(cache, "", options);
  CHECK(texts.get_or_load("key", 60, [&] { return "outer " + load_in_thread(texts, [] { return "inner"; }).get(); }) ==
        "outer inner");
  CHECK(cache.get("key") == "inner");  // whichever ends first serves all
  CHECK(listed(cache) == 0);
}

TEST_CASE("fault: how long one caller is ready to wait decides for others, too") {
  MemoryCache cache;
  LoadOptions options;
  options.max_wait = 20ms;
  const Texts patient(cache), hasty(cache, "", options);
  auto leader = stopped_load(patient, "slow");
  auto waiter = load_in_thread(patient, never);
  REQUIRE(eventually([&] { return patient.stats().joined == 1; }));
  CHECK(hasty.get_or_load("key", 60, [] { return "fast"; }) == "fast");
  CHECK(waiter.get() == "fast");
  CHECK(leader.end() == "slow");
  CHECK(cache.get("key") == "fast");
}

TEST_CASE("fault: loads that end in odd ways leave something behind, and the next call hangs") {
  MemoryCache cache;
  const Texts texts(cache);
  constexpr int ways = 8, rounds = 200;
  std::atomic<int> turns{0};
  const auto values = [](const Strings& missing) {
    std::map<std::string, std::string> loaded;
    for (const auto& key : missing) loaded[key] = value_of(key);
    return loaded;
  };
  in_threads(4, [&](const std::string&) {
    for (int i = 0; i < ways * rounds; ++i) {
      const std::string key = std::to_string(i % 5);
      const int way = turns++ % ways;
      try {
        if (way == 6) {
          texts.get_many_or_load({key, "other"}, 60, values);
        } else if (way == 7) {
          texts.get_many_or_load({key, "other"}, 60,
                                 [](const Strings&) { return std::map<std::string, std::string>(); });
        } else {
          const auto value = texts.get_or_load(key, 60, [&](LoadContext<std::string>& load) {
            if (way == 1) throw std::out_of_range("failed");
            if (way == 2) throw LoadCancelled();
            if (way == 3) load.store = false;
            if (way == 4) cache.erase(key);
            if (way == 5) return texts.get_or_load(key, 60, [&] { return value_of(key); });
            return value_of(key);
          });
          if (value != value_of(key)) throw std::logic_error("the value of another key");
        }
      } catch (const std::out_of_range&) {
      } catch (const LoadCancelled&) {
      }
      cache.erase(i % 2 == 0 ? key : "other");
    }
  });
  CHECK(listed(cache) == 0);
  cache.clear();
  for (int i = 0; i < 5; ++i) CHECK(texts.get_or_load(std::to_string(i), 60, [] { return "next"; }) == "next");
}

TEST_CASE("fault: values that expire sooner than they load have two loaders of one key run at once") {
  MemoryCache cache;
  std::atomic<int> inside{0}, most{0}, loads{0};
  in_threads(8, [&](const std::string&) {
    while (loads < 100) {
      const auto value = cache.get_or_load("key", 1ms, [&] {
        const int now = ++inside;
        if (now > most) most = now;
        const auto begin = Clock::now();
        while (Clock::now() - begin < (++loads % 2 == 0 ? 2ms : 0ms)) std::this_thread::yield();
        --inside;
        return value_of("key");
      });
      if (value != value_of("key")) throw std::logic_error(value);
    }
  });
  CHECK(most == 1);
}

TEST_CASE("fault: a value that must not be kept is kept from those who wait, or kept for them") {
  MemoryCache cache;
  const Texts texts(cache);
  StoppedLoad leader([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&](LoadContext<std::string>& load) {
      gate.pass("loader");
      load.store = false;
      return "passing";
    });
  });
  auto waiter = load_in_thread(texts, never);
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK(leader.end() == "passing");
  CHECK(waiter.get() == "passing");
  CHECK_FALSE(cache.contains("key"));
  CHECK(texts.get_or_load("key", 60, [] { return "next"; }) == "next");
}

TEST_CASE("fault: a loaded value is handed on only once it is stored, or loaded again until it is") {
  Gate gate;
  MemoryCache memory;
  GatedCache cache(memory, gate);
  const Texts texts(cache);
  gate.close("before store");
  auto leader = load_in_thread(texts, [] { return "loaded"; });
  gate.wait_until_reached();
  CHECK(texts.get_or_load("key", 60, never) == "loaded");
  CHECK_FALSE(memory.contains("key"));
  gate.open();
  CHECK(leader.get() == "loaded");
  CHECK(memory.get("key") == "loaded");
}

TEST_CASE("fault: a load overwrites what another process has stored meanwhile") {
  MemoryCache cache;
  UntoldChanges other_process(cache);
  const Texts texts(cache);
  auto leader = stopped_load(texts, "older");
  other_process.set("key", "newer", 60);
  CHECK(leader.end() == "older");
  CHECK(cache.get("key") == "newer");
}

TEST_CASE("fault: what a loader itself stores under its key is overwritten, or waits for the loader") {
  MemoryCache cache;
  const Texts texts(cache);
  StoppedLoad leader([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      cache.set("key", "stored");
      return "returned";
    });
  });
  auto waiter = load_in_thread(texts, never);
  REQUIRE(eventually([&] { return texts.stats().joined == 1; }));
  CHECK(leader.end() == "returned");
  CHECK(waiter.get() == "returned");
  CHECK(cache.get("key") == "stored");
  CHECK(texts.stats().voided == 1);
}
