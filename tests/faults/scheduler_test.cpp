// What callers who share connections owe to each other: time, and no blame.

#include <pthread.h>

#include <larder/observer.hpp>

#include <algorithm>
#include <mutex>

#include "support/faults.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::ProtocolError;
using larder::RedisCache;
using larder::TimeoutError;
using larder::redis::Command;
using larder::redis::Key;
using larder::redis::Reply;

namespace {

larder::redis::Options options_of(const RedisProcess& redis, std::size_t connections) {
  auto options = redis.options();
  options.connections = connections;
  return options;
}

// 8 threads of small gets and sets next to one that does `trouble` in a loop; their errors.
template <class Trouble>
Tally with_trouble(RedisCache& cache, const larder::redis::Options& options, Trouble trouble) {
  std::atomic<bool> over{false};
  std::atomic<std::size_t> troubles{0};
  std::thread culprit([&] {
    while (!over) {
      trouble();
      ++troubles;
    }
  });
  Load load(8, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const std::string name = key((thread * 61 + turn) % 100);
    tally.get(cache, name, whole_budget(options));
    tally.call(whole_budget(options), [&] { cache.set(name, value_of(name)); });
  });
  CHECK(eventually([&] { return troubles >= scaled(500); }));
  Tally tally = load.finish();
  over = true;
  culprit.join();
  figures().faults += troubles;
  return tally;
}

// Getting "large" fails, each time with this kind of error, and does no harm to other calls.
template <class Error>
void check_large_fails_alone(const larder::redis::Options& options) {
  RedisCache cache(make_pool(options));
  std::size_t failed = 0, calls = 0;
  const Tally tally = with_trouble(cache, options, [&] {
    ++calls;
    try {
      cache.get("large");
    } catch (const Error&) {
      ++failed;
    }
  });
  check(tally);
  CHECK(tally.last_error == "");
  CHECK(tally.errors() == 0);
  CHECK(tally.misses == 0);
  CHECK(failed == calls);
}

}  // namespace

TEST_CASE("a reply that is too long fails its own call, and no other") {
  RedisProcess redis;
  fill(redis, 100);
  redis.ask({"SET", "large", std::string(6000, 'x')});
  auto options = options_of(redis, GENERATE(1U, 4U));
  options.max_reply_bytes = 4096;
  check_large_fails_alone<ProtocolError>(options);
}

TEST_CASE("a command on which the server closes the connection fails by itself") {
  RedisProcess redis;
  fill(redis, 100);
  redis.ask({"SET", "large", std::string(600'000, 'x')});
  redis.ask({"CONFIG", "SET", "client-output-buffer-limit", "normal 300000 0 0"});
  const auto options = options_of(redis, GENERATE(1U, 4U));
  check_large_fails_alone<ConnectionError>(options);
}

TEST_CASE("a caller is not starved by others who go alone") {
  RedisProcess redis;
  fill(redis, 1);
  struct Case {
    std::size_t connections, writers, bytes, items;
  };
  const Case which = GENERATE(Case{1, 2, 16'000, 1}, Case{4, 8, 16'000, 1}, Case{1, 2, 9'000, 2});
  CAPTURE(which.connections, which.writers, which.bytes, which.items);
  const auto options = options_of(redis, which.connections);
  RedisCache cache(make_pool(options));
  Load writers(which.writers, [&](Tally& tally, std::size_t thread, std::size_t) {
    const std::string name = "written " + std::to_string(thread);
    const std::string value = value_of(name, which.bytes);
    tally.call(whole_budget(options), [&] {
      which.items == 1 ? cache.set(name, value) : cache.set_many({{name, value}, {name + " too", value}});
    });
  });
  std::vector<Clock::duration> times;
  Tally getter;
  const auto end = Clock::now() + (sanitized ? 500ms : 1500ms);
  while (Clock::now() < end) {
    const auto begin = Clock::now();
    getter.get(cache, key(0), whole_budget(options));
    times.push_back(Clock::now() - begin);
  }
  const Tally written = writers.finish();
  check(getter);
  check(written);
  CHECK(getter.errors() + written.errors() == 0);
  CHECK(times.size() > scaled(200));
  std::sort(times.begin(), times.end());
  const auto last = times[times.size() - 1 - times.size() / 1000];  // of a thousand
  CHECK(last < (sanitized ? 500ms : 60ms));
}

TEST_CASE("who only waited in the queue does not fail with those who found out that the connections are dead") {
  RedisProcess redis;
  fill(redis, 100);
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.connections = 1;
  options.command_timeout = 200ms;
  options.connect_timeout = 2s;
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  proxy.delay(10s);  // what is under way, and the connection that is there
  std::atomic<bool> has_begun{false};
  std::thread first([&] {
    has_begun = true;
    Tally tally;
    tally.get(cache, key(0), whole_budget(options));
    CHECK(tally.timeouts == 1);
  });
  CHECK(eventually([&] { return has_begun && proxy.bytes_up() > 0; }));
  std::this_thread::sleep_for(50ms);
  Load others(
      8, [&](Tally& tally, std::size_t thread, std::size_t) { tally.get(cache, key(thread), whole_budget(options)); },
      1);
  std::this_thread::sleep_for(20ms);
  proxy.delay(0ms);
  first.join();
  const Tally tally = others.join();
  check(tally);
  CHECK(tally.hits == 8);
  figures().faults += proxy.faults();
}

TEST_CASE("a thread that is cancelled in a call does not end the process, and ends after it") {
  if (LARDER_ASAN) SKIP("AddressSanitizer takes variables of frames that the end of a thread unwound for its own");
  RedisProcess redis;
  fill(redis, 1);
  Proxy proxy(redis.address());
  auto options = proxy.options();
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  proxy.delay(50ms);
  struct State {
    RedisCache& cache;
    std::atomic<bool> has_begun{false};
    bool was_right = false;
  } state{cache};
  pthread_t thread{};
  REQUIRE(pthread_create(
              &thread, nullptr,
              [](void* argument) -> void* {
                auto& my = *static_cast<State*>(argument);
                my.has_begun = true;
                my.was_right = my.cache.get(key(0)) == value_of(key(0));
                pthread_testcancel();
                return nullptr;
              },
              &state) == 0);
  CHECK(eventually([&] { return state.has_begun.load(); }));
  std::this_thread::sleep_for(20ms);
  CHECK(pthread_cancel(thread) == 0);
  void* result = nullptr;
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  CHECK(state.was_right);
  proxy.delay(0ms);
  CHECK(cache.get(key(0)) == value_of(key(0)));
  figures().faults += 1;
}

TEST_CASE("what a pool counts, and what it tells an observer") {
  struct Notes : larder::Observer {
    void connection(std::string_view address, bool up, std::string_view reason) noexcept override {
      const std::lock_guard<std::mutex> hold(mutex);
      text += std::string(up ? "up " : "down ").append(address).append(reason.empty() ? "" : ": why").append("; ");
    }
    void repeated(std::string_view) noexcept override {
      const std::lock_guard<std::mutex> hold(mutex);
      text += "repeated; ";
    }
    std::mutex mutex;
    std::string text;
  };
  RedisProcess redis;
  fill(redis, 1);
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.connections = 1;
  options.command_timeout = 100ms;
  const auto notes = std::make_shared<Notes>();
  options.observer = notes;
  const auto pool = make_pool(options);
  RedisCache cache(pool);
  const std::string where = options.unix_socket;
  CHECK(cache.get(key(0)));
  const auto generation = pool->generation();
  CHECK(notes->text == "up " + where + "; ");
  proxy.cut_after(Proxy::down, 1, Proxy::End::reset);
  CHECK(cache.get(key(0)));
  CHECK(notes->text == "up " + where + "; down " + where + ": why; repeated; up " + where + "; ");
  CHECK(pool->generation() != generation);
  proxy.be_silent();
  CHECK_THROWS_AS(cache.get(key(0)), TimeoutError);
  proxy.refuse();
  CHECK_THROWS_AS(cache.get(key(0)), ConnectionError);
  CHECK_THROWS_AS(cache.get(key(0)), ConnectionError);
  const auto stats = pool->stats();
  CHECK(stats.connections == 0);
  CHECK(stats.connects == 2);
  CHECK(stats.connect_failures == 1);
  CHECK(stats.lost == 2);
  CHECK(stats.calls == 5);
  CHECK(stats.repeats == 1);
  CHECK(stats.timeouts == 1);
  CHECK(stats.failed_fast == 1);
  CHECK(stats.waiting == 0);
  CHECK(stats.batches >= 3);
  figures().faults += 3;
}

TEST_CASE("whether the outcome of a change is unknown") {
  RedisProcess redis;
  fill(redis, 1);
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.command_timeout = 50ms;
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)));
  const auto is_unknown = [&](auto call) {
    try {
      call();
    } catch (const ConnectionError& error) {
      return error.outcome_unknown();
    }
    throw std::logic_error("the call did not fail");
  };
  proxy.be_silent();
  CHECK(is_unknown([&] { cache.set("a", "b"); }));
  proxy.be_silent(false);
  REQUIRE(cache.get(key(0)));
  proxy.be_silent();
  CHECK_FALSE(is_unknown([&] { cache.get(key(0)); }));
  proxy.refuse();
  proxy.reset_all();
  CHECK_FALSE(is_unknown([&] { cache.add("a", "b"); }));
  CHECK_FALSE(is_unknown([&] { cache.set("a", "b"); }));
  figures().faults += 4;
}
