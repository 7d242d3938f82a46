// Loads above a Redis that stops, hangs or is slow: the program goes on, and nothing old comes back.

#include <larder/fail_open_cache.hpp>
#include <larder/typed_cache.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/answering_server.hpp"
#include "support/faults.hpp"

using namespace larder::testing;
using larder::FailOpenCache;
using larder::RedisCache;
using Texts = larder::TypedCache<std::string, std::string>;

namespace {

constexpr std::size_t threads = 64;

larder::redis::Options quick(const RedisProcess& redis) {
  auto options = redis.options();
  options.command_timeout = 300ms;
  options.connect_timeout = 300ms;
  return options;
}

/// Threads that load keys and look at what they get, until they are told to end.
class Loaders {
 public:
  explicit Loaders(larder::BaseCache& cache) : texts_(cache) {
    for (std::size_t thread = 0; thread < threads; ++thread) {
      all_.emplace_back([this, thread] {
        for (std::size_t turn = 0; !ended_; ++turn) load(key((thread + turn) % 100));
      });
    }
  }
  Loaders(const Loaders&) = delete;
  Loaders& operator=(const Loaders&) = delete;
  ~Loaders() { end(); }

  /// Waits until `calls` more calls were made.
  bool make(std::size_t calls) {
    const std::size_t before = calls_;
    return eventually([&] { return calls_ >= before + calls; });
  }
  /// Waits until a call was a hit.
  bool hit() {
    const std::size_t before = hits_;
    return eventually([&] { return hits_ > before; });
  }
  void end() {
    ended_ = true;
    for (auto& thread : all_) thread.join();
    all_.clear();
  }
  std::size_t wrong() const { return wrong_; }
  std::size_t thrown() const { return thrown_; }

 private:
  void load(const std::string& name) {
    bool loaded = false;
    try {
      const auto value = texts_.get_or_load(name, 60, [&] {
        loaded = true;
        return value_of(name);
      });
      if (value != value_of(name)) ++wrong_;
      if (!loaded) ++hits_;
    } catch (...) {
      ++thrown_;
    }
    ++calls_;
    std::this_thread::sleep_for(1ms);
  }

  const Texts texts_;
  std::atomic<std::size_t> calls_{0}, hits_{0}, wrong_{0}, thrown_{0};
  std::atomic<bool> ended_{false};
  std::vector<std::thread> all_;
};

/// Whether it becomes true of a call that is made again and again.
template <class Condition>
bool comes_true(Condition condition, milliseconds within) {
  return eventually(condition, within + slack);
}

}  // namespace

TEST_CASE("64 threads load while Redis is stopped, or hangs, and comes back") {
  enum class Fault { killed, frozen };
  const auto fault = GENERATE(Fault::killed, Fault::frozen);
  RedisProcess redis;
  RedisCache cache(make_pool(quick(redis)));
  FailOpenCache open(cache);
  const Texts texts(open);
  std::atomic<std::size_t> wrong{0}, thrown{0}, late{0}, calls{0};
  std::atomic<bool> ended{false}, is_open{false};
  std::vector<std::thread> all;
  for (std::size_t thread = 0; thread < threads; ++thread) {
    all.emplace_back([&, thread] {
      for (std::size_t turn = 0; !ended; ++turn) {
        const std::string name = key((thread + turn) % 100);
        const bool was_open = is_open;
        const auto begin = Clock::now();
        try {
          const auto value = texts.get_or_load(name, turn % 3 == 0 ? 1s : 60s, [&] { return value_of(name); });
          if (value != value_of(name)) ++wrong;
          if (turn % 10 == 0) open.erase(name);
        } catch (...) {
          ++thrown;
        }
        ++calls;
        if (was_open && is_open && Clock::now() - begin > 300ms + 300ms + slack) ++late;
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  REQUIRE(comes_true([&] { return calls > 2000; }, 20s));
  fault == Fault::killed ? redis.kill() : redis.freeze();
  CHECK(comes_true([&] { return open.circuit_open(); }, 5s));
  is_open = true;
  const std::size_t before = calls;
  CHECK(comes_true([&] { return calls > before + 5000; }, 20s));
  is_open = false;
  if (fault == Fault::killed) {
    redis.start();
  } else {
    redis.thaw();
  }
  CHECK(comes_true([&] { return !open.circuit_open(); }, 1500ms));
  ended = true;
  for (auto& thread : all) thread.join();
  CHECK(wrong == 0);
  CHECK(thrown == 0);
  CHECK(late == 0);
}

TEST_CASE("64 threads load while Redis is slower than calls may take") {
  const bool fail_open = GENERATE(false, true);
  RedisProcess redis;
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.command_timeout = options.connect_timeout = 50ms;
  RedisCache cache(make_pool(options));
  FailOpenCache open(cache);
  Loaders loaders(fail_open ? static_cast<larder::BaseCache&>(open) : cache);
  REQUIRE(loaders.hit());
  proxy.delay(200ms);
  if (fail_open) CHECK(eventually([&] { return open.circuit_open(); }));
  CHECK(loaders.make(2000));
  if (fail_open) CHECK(open.circuit_open());
  proxy.delay(0ms);
  if (fail_open) CHECK(eventually([&] { return !open.circuit_open(); }));
  CHECK(loaders.hit());
  loaders.end();
  CHECK(loaders.wrong() == 0);
  CHECK(loaders.thrown() == 0);
}

TEST_CASE("64 threads load while Redis reads its data from disk") {
  const bool fail_open = GENERATE(false, true);
  const bool greets = GENERATE(true, false);  // if it does not, connecting fails, too
  const auto is_loading = [=](const Words& words) -> std::optional<std::string> {
    if (greets && words.front() == "PING") return "+PONG\r\n";
    return "-LOADING Redis is loading the dataset in memory\r\n";
  };
  const auto is_ready = [](const Words& words) -> std::optional<std::string> {
    if (words.front() == "PING") return "+PONG\r\n";
    return words.front() == "GET" ? bulk(value_of(words.at(1))) : "+OK\r\n";
  };
  AnsweringServer server(is_loading);
  RedisCache cache(make_pool(Address{"", server.port()}.options()));
  FailOpenCache open(cache);
  Loaders loaders(fail_open ? static_cast<larder::BaseCache&>(open) : cache);
  if (fail_open) CHECK(eventually([&] { return open.circuit_open(); }));
  CHECK(loaders.make(2000));
  CHECK(server.count("SET") == 0);
  if (fail_open) {
    CHECK(open.circuit_open());
    const std::size_t before = server.count("GET");
    CHECK(loaders.make(1000));
    CHECK(server.count("GET") < before + 100);  // probes
  }
  server.answer_with(is_ready);
  CHECK(loaders.hit());
  if (fail_open) CHECK(eventually([&] { return !open.circuit_open(); }));
  loaders.end();
  CHECK(loaders.wrong() == 0);
  CHECK(loaders.thrown() == 0);
}

TEST_CASE("what was erased while Redis hung is not there when it is back") {
  RedisProcess redis;
  RedisCache cache(make_pool(quick(redis)));
  FailOpenCache open(cache);
  const std::size_t count = 100;
  for (std::size_t i = 0; i < count; ++i) open.set(key(i), "old");
  redis.freeze();
  CHECK(comes_true([&] { return open.get("any"), open.circuit_open(); }, 5s));
  for (std::size_t i = 0; i < count; ++i) open.erase(key(i));
  redis.thaw();
  CHECK(comes_true([&] { return open.get("any"), !open.circuit_open(); }, 1500ms));
  for (std::size_t i = 0; i < count; ++i) CHECK(open.get(key(i)) == std::nullopt);
  CHECK(redis.ask({"DBSIZE"}) == "0");
}

TEST_CASE("loads without FailOpenCache, too, go on while Redis is stopped") {
  RedisProcess redis;
  RedisCache cache(make_pool(quick(redis)));
  CHECK(cache.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
  redis.kill();
  for (int i = 0; i < 10; ++i) {
    CHECK(cache.get_or_load("key", 60, [] { return "again"; }) == "again");
    CHECK(cache.get_many_or_load({"key"}, 60, [](const std::vector<std::string>&) {
      return std::vector<std::pair<std::string, std::string>>{{"key", "again"}};
    })[0] == "again");
  }
}

TEST_CASE("a batch of 1,000, half of it missing: one read, one load, one write") {
  RedisProcess redis;
  RedisCache cache(make_pool(redis.options()));
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 1000; ++i) keys.push_back(key(i));
  fill(redis, 500);
  const long reads = redis.calls_of("get"), sets = redis.calls_of("set");
  int loads = 0;
  const auto values = cache.get_many_or_load(keys, 60, [&](const std::vector<std::string>& missing) {
    ++loads;
    std::vector<std::pair<std::string, std::string>> loaded;
    for (const auto& one : missing) loaded.emplace_back(one, value_of(one));
    return loaded;
  });
  std::size_t right = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) right += values[i] == value_of(keys[i]) ? 1U : 0U;
  CHECK(right == 1000);
  CHECK(loads == 1);
  CHECK(redis.calls_of("mget") == 8);  // of 128 keys each, in one group
  CHECK(redis.calls_of("get") == reads);
  CHECK(redis.calls_of("set") == sets + 500);
}

TEST_CASE("a hit of get_or_load is one GET") {
  RedisProcess redis;
  RedisCache cache(make_pool(redis.options()));
  const Texts texts(cache);
  cache.set("key", "value");
  for (int i = 0; i < 100; ++i) CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "value");
  CHECK(redis.calls_of("get") == 100);
  CHECK(redis.calls_of("pttl") == 0);
}
