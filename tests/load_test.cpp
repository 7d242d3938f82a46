#include <larder/load.hpp>

#include <larder/base_cache.hpp>
#include <larder/error.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/null_cache.hpp>
#include <larder/observer.hpp>
#include <larder/typed_cache.hpp>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"
#include "support/scripted_load.hpp"
#include "support/testing.hpp"

// get_or_load and get_many_or_load: who loads, who waits, and what is stored.

using larder::BaseCache;
using larder::Expiry;
using larder::ForwardingCache;
using larder::LoadCancelled;
using larder::LoadContext;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::GatedCache;
using larder::testing::in_threads;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;
using Texts = TypedCache<std::string, std::string>;

namespace {

static_assert(std::is_base_of_v<larder::Error, LoadCancelled>);
static_assert(std::is_default_constructible_v<LoadCancelled> && std::is_constructible_v<LoadCancelled, std::string>);
static_assert(!std::is_copy_constructible_v<LoadContext<std::string>>);

Texts patient(BaseCache& cache, std::chrono::milliseconds max_wait = 10s) {
  LoadOptions options;
  options.max_wait = max_wait;
  return Texts(cache, "", options);
}

/// A check in a thread, for which Catch's are not made; told by all_met().
std::atomic<int> unmet{0};
void expect(bool met) {
  if (!met) ++unmet;
}
bool all_met() { return unmet.exchange(0) == 0; }

/// A thread that loads "key", and has stopped in its loader until the gate is opened.
std::thread stopped_leader(const Texts& texts, Gate& gate, const char* value) {
  gate.close("loader");
  std::thread leader([=, &gate] {
    texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return value;
    });
  });
  gate.wait_until_reached();
  return leader;
}

template <class Exception, class Call>
bool throws(Call call) {
  try {
    call();
  } catch (const Exception&) {
    return true;
  }
  return false;
}

/// Loads and counts.
struct Counting {
  std::atomic<int> calls{0};
  std::string operator()() {
    ++calls;
    return value_of("key");
  }
};

std::map<std::string, std::string> values_of(const Strings& keys) {
  std::map<std::string, std::string> values;
  for (const auto& key : keys) values[key] = value_of(key);
  return values;
}

}  // namespace

TEST_CASE("get_or_load gives what is there, or loads and stores it") {
  MemoryCache cache;
  Counting loader;
  CHECK(cache.get_or_load("key", 60, loader) == value_of("key"));
  CHECK(cache.get_or_load("key", 60, loader) == value_of("key"));
  CHECK(loader.calls == 1);
  CHECK(cache.get("key") == value_of("key"));
  const auto left = cache.get_entry("key")->time_left;
  if (left) CHECK((*left > 55s && *left <= 60s));

  SECTION("of any kind") {
    CHECK(cache.get_or_load("1", {}, [] { return "literal"; }) == "literal");
    CHECK(cache.get_or_load("2", 1h, [] { return std::string_view("view"); }) == "view");
    const std::string text = "reference";
    CHECK(cache.get_or_load("3", std::nullopt, [&]() -> const std::string& { return text; }) == text);
    CHECK(cache.get_or_load("", 1, [] { return std::string(); }).empty());
    CHECK(cache.get_or_load("4", 1, [](LoadContext<std::string>&) { return std::string(3, '\0'); }).size() == 3);
    CHECK(cache.get_or_load("5", 1, [own = std::make_unique<int>(5)] { return std::to_string(*own); }) == "5");
    CHECK(cache.get("5") == "5");
  }
  SECTION("a value of no bytes is a hit") {
    cache.set("empty", "");
    CHECK(cache.get_or_load("empty", 60, loader).empty());
    CHECK(loader.calls == 1);
  }
  SECTION("what is too long is refused before it is loaded") {
    const larder::testing::TooLong too_long;
    CHECK_THROWS_AS(cache.get_or_load(too_long.text(), 60, loader), larder::InvalidArgument);
    CHECK(loader.calls == 1);
  }
}

TEST_CASE("a loader decides how long its value is kept, and whether") {
  MemoryCache cache;
  SECTION("not at all") {
    CHECK(cache.get_or_load("key", 60, [](auto& load) {
      load.store = false;
      return "value";
    }) == "value");
    CHECK_FALSE(cache.contains("key"));
  }
  SECTION("an expiry of its own") {
    cache.get_or_load("key", 60, [](auto& load) {
      load.expires = 1000;
      return "value";
    });
    CHECK(cache.contains("key"));
  }
  SECTION("one that has passed") {
    for (const Expiry& passed : {Expiry(0), Expiry(-1), Expiry(std::chrono::system_clock::now() - 1s)}) {
      CHECK(cache.get_or_load("key", passed, [] { return "value"; }) == "value");
      CHECK(cache.get_or_load("key", 60, [&](auto& load) {
        load.expires = passed;
        return "value";
      }) == "value");
      CHECK_FALSE(cache.contains("key"));
    }
  }
  SECTION("it counts from the call of the loader") {
    const auto slow = [] {
      const auto begin = Clock::now();
      while (Clock::now() < begin + 30ms) std::this_thread::yield();
      return "value";
    };
    CHECK(cache.get_or_load("longer", 30ms, slow) == "value");
    CHECK_FALSE(cache.contains("longer"));
    CHECK(cache.get_or_load("key", 10s, slow) == "value");
    const auto left = cache.get_entry("key")->time_left;
    if (left) CHECK(*left <= 9'971ms);
  }
  SECTION("there is no previous value after a miss") {
    cache.get_or_load("key", 60, [](auto& load) {
      CHECK(load.previous == std::nullopt);
      CHECK(load.store);
      CHECK(load.expires.time_left() == 60s);
      return "value";
    });
  }
}

TEST_CASE("of all who miss at once one loads") {
  for (const int layer : {0, 1, 2}) {
    MemoryCache memory;
    ForwardingCache decorator(memory);
    larder::NullCache nothing;
    Texts texts(layer == 2 ? static_cast<BaseCache&>(nothing) : memory);
    Gate gate;
    gate.close("loader");
    std::atomic<int> calls{0};
    const auto load = [&] {
      ++calls;
      gate.pass("loader");
      return value_of("key");
    };
    std::atomic<int> right{0};
    std::thread opener([&] {
      gate.wait_until_reached();
      eventually([&] { return texts.stats().joined >= (layer == 1 ? 3U : 7U); });
      gate.open();
    });
    in_threads(8, [&](const std::string& me) {
      const bool through_decorator = layer == 1 && me < "4";
      const std::string value =
          through_decorator ? decorator.get_or_load("key", 60, load) : texts.get_or_load("key", 60, load);
      if (value == value_of("key")) ++right;
    });
    opener.join();
    CHECK(right == 8);
    CHECK(calls == 1);
  }
}

TEST_CASE("views of one cache share its loads") {
  MemoryCache memory;
  Gate gate;
  Texts first(memory, "p:"), second(memory, "p:");
  std::thread leader = stopped_leader(first, gate, "loaded");
  std::thread waiter([&] { expect(second.get_or_load("key", 60, []() -> std::string { std::abort(); }) == "loaded"); });
  CHECK(eventually([&] { return second.stats().joined == 1; }));
  gate.open();
  leader.join();
  waiter.join();
  CHECK(all_met());
  CHECK(first.stats().loads == 1);
  CHECK(first.stats().joined == 0);
  CHECK(second.stats().loads == 0);
}

TEST_CASE("decorators that change values or keys do not share them") {
  struct Reversed : ForwardingCache {
    using ForwardingCache::ForwardingCache;
    static std::string reversed(std::string_view text) { return {text.rbegin(), text.rend()}; }
    std::optional<std::string> do_get(std::string_view key) override {
      auto value = ForwardingCache::do_get(key);
      return value ? std::optional<std::string>(reversed(*value)) : std::nullopt;
    }
    bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
      return ForwardingCache::do_add(key, reversed(value), ttl);
    }
  };
  MemoryCache memory;
  Reversed reversed(static_cast<BaseCache&>(memory));
  Gate gate;
  gate.close("loader");
  std::string outer;
  std::thread leader([&] {
    outer = reversed.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return "abc";
    });
  });
  gate.wait_until_reached();
  std::string inner;
  std::thread waiter([&] { inner = memory.get_or_load("key", 60, [] { return "loaded inside"; }); });
  gate.open();
  leader.join();
  waiter.join();
  CHECK(outer == "abc");
  CHECK(inner == "cba");
}

TEST_CASE("what a loader throws is thrown to all who wait, and the next call loads again") {
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  gate.close("loader");
  std::atomic<int> calls{0}, thrown{0};
  std::thread opener([&] {
    gate.wait_until_reached();
    expect(eventually([&] { return texts.stats().joined == 7; }));
    gate.open();
  });
  in_threads(8, [&](const std::string&) {
    try {
      texts.get_or_load("key", 60, [&]() -> std::string {
        ++calls;
        gate.pass("loader");
        throw std::out_of_range("the loader's");
      });
    } catch (const std::out_of_range& error) {
      if (error.what() == std::string("the loader's")) ++thrown;
    }
  });
  opener.join();
  CHECK(all_met());
  CHECK(calls == 1);
  CHECK(thrown == 8);
  CHECK(texts.stats().failures == 1);
  CHECK_FALSE(cache.contains("key"));
  CHECK(texts.get_or_load("key", 60, [] { return "again"; }) == "again");
  CHECK_THROWS_AS(cache.get_or_load("other", 60, []() -> std::string { throw 42; }), int);
  CHECK_THROWS_AS(cache.get_or_load("other", 60, []() -> std::string { throw larder::Error("of the loader"); }),
                  larder::Error);
  CHECK(cache.get_or_load("other", 60, [] { return "again"; }) == "again");
}

TEST_CASE("a cancelled load is left to one of those who wait") {
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  gate.close("loader");
  std::atomic<int> calls{0}, cancelled{0}, right{0};
  std::thread opener([&] {
    gate.wait_until_reached();
    expect(eventually([&] { return texts.stats().joined == 7; }));
    gate.open();
  });
  in_threads(8, [&](const std::string&) {
    try {
      if (texts.get_or_load("key", 60, [&]() -> std::string {
            const int call = ++calls;
            gate.pass("loader");
            if (call < 3) throw LoadCancelled("call " + std::to_string(call));
            return value_of("key");
          }) == value_of("key")) {
        ++right;
      }
    } catch (const LoadCancelled&) {
      ++cancelled;
    }
  });
  opener.join();
  CHECK(all_met());
  CHECK(calls == 3);
  CHECK(cancelled == 2);
  CHECK(right == 6);
  CHECK(cache.get("key") == value_of("key"));
  CHECK(texts.stats().failures == 0);
  CHECK_THROWS_AS(cache.get_or_load("other", 60, []() -> std::string { throw LoadCancelled(); }), LoadCancelled);
  CHECK(cache.get_or_load("other", 60, [] { return "again"; }) == "again");
}

TEST_CASE("who has waited for max_wait loads as well, one after the other") {
  MemoryCache cache;
  Texts texts = patient(cache, 100ms);
  Gate gate;
  gate.close("loader");
  std::atomic<int> calls{0};
  std::thread leader([&] {
    expect(texts.get_or_load("key", 60, [&] {
      ++calls;
      gate.pass("loader");
      return "slow";
    }) == "slow");
  });
  gate.wait_until_reached();
  std::atomic<int> fast{0};
  const auto begin = Clock::now();
  in_threads(16, [&](const std::string&) {
    if (texts.get_or_load("key", 60, [&] {
          ++calls;
          return "fast";
        }) == "fast") {
      ++fast;
    }
  });
  CHECK(Clock::now() - begin >= 100ms);
  CHECK(all_met());
  CHECK(fast == 16);
  CHECK(calls == 2);
  CHECK(cache.get("key") == "fast");
  gate.open();
  leader.join();
  CHECK(cache.get("key") == "fast");
}

TEST_CASE("nobody waits forever") {
  MemoryCache cache;
  Texts texts = patient(cache, 20ms);
  Gate gate;
  gate.close("hang");
  std::atomic<int> calls{0};
  std::atomic<bool> ended{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      texts.get_or_load("key", 60, [&] {
        ++calls;
        while (!ended) std::this_thread::sleep_for(1ms);
        return "value";
      });
    });
  }
  CHECK(eventually([&] { return calls == 8; }));  // of the first, one more for each 20 ms, and all after 80 ms
  ended = true;
  for (auto& thread : threads) thread.join();
  CHECK(cache.get("key") == "value");
}

TEST_CASE("max_wait of 0: nobody waits") {
  MemoryCache cache;
  Texts texts = patient(cache, 0ms);
  Gate gate;
  std::thread leader = stopped_leader(texts, gate, "slow");
  CHECK(texts.get_or_load("key", 60, [] { return "fast"; }) == "fast");
  gate.open();
  leader.join();
}

TEST_CASE("a loader may load") {
  MemoryCache cache;
  SECTION("another key") {
    CHECK(cache.get_or_load("outer", 60, [&] {
      return "outer " + cache.get_or_load("inner", 60, [] { return "inner"; });
    }) == "outer inner");
    CHECK(cache.get("inner") == "inner");
    CHECK(cache.get("outer") == "outer inner");
  }
  SECTION("the same key: the inner loader runs at once, and only the outer value is stored") {
    CHECK(cache.get_or_load("key", 60, [&] {
      const std::string inner = cache.get_or_load("key", 60, [] { return "inner"; });
      CHECK_FALSE(cache.contains("key"));
      return "outer " + inner;
    }) == "outer inner");
    CHECK(cache.get("key") == "outer inner");
  }
  SECTION("the same key through a decorator, three deep") {
    ForwardingCache decorator(cache);
    CHECK(decorator.get_or_load("key", 60, [&] {
      return "3" + decorator.get_or_load("key", 60,
                                         [&] { return "2" + decorator.get_or_load("key", 60, [] { return "1"; }); });
    }) == "321");
    CHECK(cache.get("key") == "321");
  }
  SECTION("the same key after it erased it") {
    CHECK(cache.get_or_load("key", 60, [&] {
      cache.erase("key");
      return "outer " + cache.get_or_load("key", 60, [] { return "inner"; });
    }) == "outer inner");
    CHECK_FALSE(cache.contains("key"));
  }
  SECTION("the same key, and throw") {
    CHECK_THROWS_AS(
        cache.get_or_load(
            "key", 60,
            [&] { return cache.get_or_load("key", 60, []() -> std::string { throw std::out_of_range("inner"); }); }),
        std::out_of_range);
    CHECK(cache.get_or_load("key", 60, [] { return "again"; }) == "again");
  }
  SECTION("a batch with the same key") {
    CHECK(cache.get_or_load("key", 60, [&] {
      return *cache.get_many_or_load({"key", "other"}, 60, values_of)[0] + " in a batch";
    }) == value_of("key") + " in a batch");
    CHECK(cache.get("key") == value_of("key") + " in a batch");
    CHECK(cache.get("other") == value_of("other"));
  }
}

TEST_CASE("loads that wait for each other go on") {
  MemoryCache one, two;
  BaseCache& other = GENERATE(true, false) ? one : two;
  std::atomic<int> inside{0};
  const auto cross = [&](BaseCache& mine, const std::string& key, BaseCache& theirs, const std::string& their_key) {
    return mine.get_or_load(key, 60, [&] {
      ++inside;
      eventually([&] { return inside >= 2; });
      return key + theirs.get_or_load(their_key, 60, [&] { return their_key; });
    });
  };
  const auto begin = Clock::now();
  std::string a, b;
  std::thread thread([&] { a = cross(one, "a", other, "b"); });
  b = cross(other, "b", one, "a");
  thread.join();
  CHECK(Clock::now() - begin < 5s);
  CHECK((a == "ab" || a == "aba"));
  CHECK((b == "ba" || b == "bab"));
}

namespace {

struct Ending {
  const char* name;
  void (*end)();
};

/// Runs call() in a thread of its own, which may end inside it.
template <class Call>
pthread_t start_thread(Call& call) {
  pthread_t thread{};
  const auto run = [](void* it) -> void* {
    (*static_cast<Call*>(it))();
    return nullptr;
  };
  if (pthread_create(&thread, nullptr, run, &call) != 0) throw std::runtime_error("no thread");
  return thread;
}

}  // namespace

TEST_CASE("a thread that ends in its loader leaves the load to another") {
  if (LARDER_ASAN) SKIP("AddressSanitizer takes variables of frames that the end of a thread unwound for its own");
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  gate.close("loader");
  const bool cancelled = GENERATE(false, true);
  const bool batch = GENERATE(false, true);
  const auto die = [&] {
    gate.pass("loader");
    if (!cancelled) pthread_exit(nullptr);
    for (;;) {
      pthread_testcancel();
      std::this_thread::yield();
    }
  };
  auto call = [&] {
    if (batch) {
      texts.get_many_or_load({"key", "other"}, 60, [&](const Strings& keys) {
        die();
        return values_of(keys);
      });
    } else {
      texts.get_or_load("key", 60, [&]() -> std::string {
        die();
        return "";
      });
    }
  };
  const pthread_t leader = start_thread(call);
  gate.wait_until_reached();
  std::thread waiter([&] { expect(texts.get_or_load("key", 60, [] { return "from another"; }) == "from another"); });
  CHECK(eventually([&] { return texts.stats().joined == 1; }));
  gate.open();
  if (cancelled) pthread_cancel(leader);
  pthread_join(leader, nullptr);
  waiter.join();
  CHECK(all_met());
  CHECK(cache.get("key") == "from another");
  CHECK(texts.get_or_load("other", 60, [] { return "free"; }) == "free");
}

TEST_CASE("a thread that is cancelled while it waits leaves nothing behind") {
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  gate.close("loader");
  std::thread leader([&] {
    expect(throws<LoadCancelled>([&] {
      texts.get_or_load("key", 60, [&]() -> std::string {
        gate.pass("loader");
        throw LoadCancelled();
      });
    }));
  });
  gate.wait_until_reached();
  auto call = [&] { texts.get_or_load("key", 60, [] { return "never"; }); };
  const pthread_t waiter = start_thread(call);
  CHECK(eventually([&] { return texts.stats().joined == 1; }));
  pthread_cancel(waiter);
  pthread_join(waiter, nullptr);
  gate.open();
  leader.join();
  CHECK(all_met());
  CHECK_FALSE(cache.contains("key"));
  CHECK(larder::detail::CacheHooks::loads(cache).table().state.load() == 0);
  CHECK(texts.get_or_load("key", 60, [] { return "again"; }) == "again");
}

namespace {

/// Fails where it is told to, and counts what it is asked.
class Failing : public ForwardingCache {
 public:
  explicit Failing(BaseCache& inner) : ForwardingCache(inner) {}
  std::atomic<bool> reads_fail{false}, writes_fail{false};
  std::atomic<int> reads{0}, writes{0};

 private:
  void read() {
    ++reads;
    if (reads_fail) throw larder::ConnectionError("no connection");
  }
  void write() {
    ++writes;
    if (writes_fail) throw larder::ServerError("OOM command not allowed");
  }
  std::optional<std::string> do_get(std::string_view key) override {
    read();
    return ForwardingCache::do_get(key);
  }
  void do_get_many(const std::vector<std::string_view>& keys, Values& values) override {
    read();
    ForwardingCache::do_get_many(keys, values);
  }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    write();
    ForwardingCache::do_set(key, value, ttl);
  }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    write();
    return ForwardingCache::do_add(key, value, ttl);
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    write();
    ForwardingCache::do_set_many(items, ttl);
  }
};

/// Hides errors, and says so.
class Hiding : public ForwardingCache {
 public:
  explicit Hiding(ForwardingCache& inner) : ForwardingCache(inner) {}

 private:
  std::optional<std::string> do_get(std::string_view key) override {
    try {
      return ForwardingCache::do_get(key);
    } catch (const larder::Error&) {
      ++hidden_;
      return std::nullopt;
    }
  }
  void do_get_many(const std::vector<std::string_view>& keys, Values& values) override {
    try {
      ForwardingCache::do_get_many(keys, values);
    } catch (const larder::Error&) {
      ++hidden_;
      values.resize(keys.size());
    }
  }
  std::uint64_t do_hidden_failures() const noexcept override { return hidden_; }
  std::atomic<std::uint64_t> hidden_{0};
};

struct Told : larder::Observer {
  std::mutex mutex;
  Strings events;
  void note(std::string event) {
    const std::lock_guard<std::mutex> hold(mutex);
    events.push_back(std::move(event));
  }
  void cache_failed(std::string_view operation, const larder::Error& error) noexcept override {
    note(std::string(operation) + ": " + error.what());
  }
  void load_failed(std::string_view key, const std::exception_ptr&) noexcept override {
    note("load failed: " + std::string(key));
  }
  void undecodable(std::string_view key) noexcept override { note("undecodable: " + std::string(key)); }
};

}  // namespace

TEST_CASE("a cache that fails is one that does not have the key") {
  MemoryCache memory;
  Failing failing(memory);
  Hiding hiding(failing);
  ForwardingCache over_hiding(hiding);
  BaseCache* const cache = GENERATE_REF(static_cast<BaseCache*>(&failing), static_cast<BaseCache*>(&hiding),
                                        static_cast<BaseCache*>(&over_hiding));
  LoadOptions options;
  const auto told = std::make_shared<Told>();
  options.observer = told;
  Texts texts(*cache, "", options);

  SECTION("reading: it is not asked again, and nothing is stored") {
    failing.reads_fail = true;
    CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
    CHECK(failing.reads == 1);
    CHECK(failing.writes == 0);
    CHECK(texts.get_many_or_load({"key", "b"}, 60, values_of) == Values{value_of("key"), value_of("b")});
    CHECK(failing.reads == 2);
    CHECK(failing.writes == 0);
    if (cache == &failing) CHECK(told->events == Strings{"get: no connection", "get_many: no connection"});
    failing.reads_fail = false;
    CHECK(texts.get_or_load("key", 60, [] { return "again"; }) == "again");
    CHECK(memory.get("key") == "again");
  }
  SECTION("writing") {
    failing.writes_fail = true;
    CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
    CHECK(texts.get_many_or_load({"key", "b"}, 60, values_of) == Values{value_of("key"), value_of("b")});
    CHECK(failing.writes == 2);
    CHECK_FALSE(memory.contains("key"));
    CHECK(told->events == Strings{"add: OOM command not allowed", "set_many: OOM command not allowed"});
    failing.writes_fail = false;
    CHECK(texts.get_or_load("key", 60, [] { return "again"; }) == "again");
    CHECK(memory.get("key") == "again");
  }
  SECTION("still there is one load for all") {
    failing.reads_fail = true;
    Gate gate;
    gate.close("loader");
    std::atomic<int> calls{0};
    std::thread opener([&] {
      gate.wait_until_reached();
      expect(eventually([&] { return texts.stats().joined == 7; }));
      gate.open();
    });
    in_threads(8, [&](const std::string&) {
      texts.get_or_load("key", 60, [&] {
        ++calls;
        gate.pass("loader");
        return "loaded";
      });
    });
    opener.join();
    CHECK(all_met());
    CHECK(calls == 1);
    CHECK(failing.writes == 0);
  }
  SECTION("an invalid argument and whatever is no larder::Error pass") {
    struct Throwing : ForwardingCache {
      explicit Throwing(BaseCache& inner) : ForwardingCache(inner) {}
      bool invalid = true;
      std::optional<std::string> do_get(std::string_view) override {
        if (invalid) throw larder::InvalidArgument("invalid");
        throw std::logic_error("a bug");
      }
    } throwing(memory);
    const auto load = []() -> std::string { return "loaded"; };
    CHECK_THROWS_AS(throwing.get_or_load("key", 60, load), larder::InvalidArgument);
    throwing.invalid = false;
    CHECK_THROWS_AS(throwing.get_or_load("key", 60, load), std::logic_error);
  }
}

TEST_CASE("get_many_or_load loads what is missing with one call") {
  MemoryCache cache;
  cache.set("b", "there");
  Strings asked;
  const auto load = [&](const Strings& missing) {
    asked.insert(asked.end(), missing.begin(), missing.end());
    auto values = values_of(missing);
    values.erase("nothing");
    values["not asked for"] = "value";
    return values;
  };
  CHECK(cache.get_many_or_load({"a", "b", "nothing", "a", "c"}, 60, load) ==
        Values{value_of("a"), "there", std::nullopt, value_of("a"), value_of("c")});
  CHECK(asked == Strings{"a", "nothing", "c"});
  CHECK(cache.get("a") == value_of("a"));
  CHECK(cache.get("b") == "there");
  CHECK_FALSE(cache.contains("nothing"));
  CHECK_FALSE(cache.contains("not asked for"));
  asked.clear();
  CHECK(cache.get_many_or_load(Strings{"c", "b", "a"}, 60, load) == Values{value_of("c"), "there", value_of("a")});
  CHECK(asked.empty());
  CHECK(cache.get_many_or_load(Strings(), 60, load).empty());
  CHECK(asked.empty());
  using Pairs = std::vector<std::pair<const char*, std::string_view>>;
  CHECK(cache.get_many_or_load({"x", "y"}, 60, [](const Strings&) {
    return Pairs{{"y", "2"}, {"x", "1"}};
  }) == Values{"1", "2"});
  CHECK_THROWS_AS(cache.get_many_or_load({"z", "b"}, 60, [](const Strings&) -> Pairs { throw 42; }), int);
  CHECK(cache.get_many_or_load({"z", "b"}, 0, values_of) == Values{value_of("z"), "there"});
  CHECK_FALSE(cache.contains("z"));
}

TEST_CASE("batches share loads with others, whatever their order") {
  MemoryCache cache;
  Texts texts = patient(cache);
  constexpr std::size_t threads = 8, keys = 50;
  for (int round = 0; round < 20; ++round) {
    std::map<std::string, std::atomic<int>> calls;
    for (std::size_t i = 0; i < keys; ++i) calls[std::to_string(i)] = 0;
    std::atomic<int> wrong{0};
    in_threads(threads, [&](const std::string& me) {
      Strings mine;
      for (std::size_t i = 0; i < keys; ++i) mine.push_back(std::to_string((i * 7 + std::stoul(me) * 13) % keys));
      if (me == "0") {
        for (const auto& key : mine) {
          const auto value = texts.get_or_load(key, 60, [&] {
            ++calls[key];
            return value_of(key);
          });
          if (value != value_of(key)) ++wrong;
        }
        return;
      }
      const auto values = texts.get_many_or_load(mine, 60, [&](const Strings& missing) {
        for (const auto& key : missing) ++calls[key];
        return values_of(missing);
      });
      for (std::size_t i = 0; i < keys; ++i) {
        if (values[i] != value_of(mine[i])) ++wrong;
      }
    });
    CHECK(wrong == 0);
    for (const auto& call : calls) CHECK(call.second == 1);
    cache.clear();
  }
}

TEST_CASE("what a batch leaves out, who waits for that key alone loads") {
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  gate.close("loader");
  std::thread batch([&] {
    expect(texts.get_many_or_load({"a", "b"}, 60, [&](const Strings&) {
      gate.pass("loader");
      return std::map<std::string, std::string>{{"a", "1"}};
    }) == Values{"1", std::nullopt});
  });
  gate.wait_until_reached();
  std::thread one([&] { expect(texts.get_or_load("b", 60, [] { return "alone"; }) == "alone"); });
  std::thread many([&] { expect(texts.get_many_or_load({"c", "a"}, 60, values_of) == Values{value_of("c"), "1"}); });
  CHECK(eventually([&] { return texts.stats().joined == 2; }));
  gate.open();
  for (auto* const thread : {&batch, &one, &many}) thread->join();
  CHECK(all_met());
  CHECK(cache.get("b") == "alone");
}

TEST_CASE("a child forked off during loads loads for itself") {
  MemoryCache cache;
  Texts texts = patient(cache);
  Gate gate;
  std::thread leader = stopped_leader(texts, gate, "parent's");
  const auto child = [&](auto body) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(20);
      bool right = false;
      try {
        right = body();
      } catch (...) {
      }
      _exit(right ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status == 0;
  };
  CHECK(child([&] {
    return texts.get_or_load("key", 60, [] { return "child's"; }) == "child's" && cache.get("key") == "child's" &&
           (cache.erase("key"), cache.set("key", "set"), cache.get("key") == "set");
  }));
  CHECK(child([&] { return cache.erase("key"), cache.clear(), !cache.contains("key"); }));
  gate.open();
  leader.join();
  CHECK(cache.get("key") == "parent's");

  // A loader that forks: the child ends its copy of the load, and stores nothing.
  pid_t forked = -1;
  const std::string value = cache.get_or_load("forks", 60, [&] {
    forked = fork();
    if (forked == 0) alarm(20);
    return forked == 0 ? "child's" : "parent's";
  });
  if (forked == 0) {
    const bool right = value == "child's" && !cache.contains("forks") &&
                       cache.get_or_load("forks", 60, [] { return "again"; }) == "again" &&
                       cache.get("forks") == "again";
    _exit(right ? 0 : 1);
  }
  int status = -1;
  waitpid(forked, &status, 0);
  CHECK(status == 0);
  CHECK(value == "parent's");
  CHECK(cache.get("forks") == "parent's");
}

TEST_CASE("1,000 threads and one cold key, again and again: one load each") {
  constexpr std::size_t threads = 1000, rounds = 20;
  MemoryCache cache;
  std::vector<std::atomic<int>> calls(rounds);
  std::atomic<int> wrong{0};
  in_threads(threads, [&](const std::string&) {
    for (std::size_t round = 0; round < rounds; ++round) {
      const std::string key = "key " + std::to_string(round);
      const auto value = cache.get_or_load(key, 60, [&] {
        ++calls[round];
        std::this_thread::yield();
        return value_of(key);
      });
      if (value != value_of(key)) ++wrong;
    }
  });
  CHECK(wrong == 0);
  for (const auto& count : calls) CHECK(count == 1);
}
