#include <larder/error.hpp>
#include <larder/fail_open_cache.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/away_cache.hpp"
#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/testing.hpp"

// Faults of what goes on when the cache is down, in caches of other languages.

using larder::BatchError;
using larder::FailOpenCache;
using larder::ForwardingCache;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::AwayCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::StoppedLoad;
using larder::testing::value_of;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;
using Texts = TypedCache<std::string, std::string>;

namespace {

struct Fixture {
  MemoryCache memory;
  AwayCache away{memory};

  static FailOpenCache::Options options(std::size_t remembered = 10'000) {
    FailOpenCache::Options options;
    options.longest_break = 10ms;
    options.remembered = remembered;
    return options;
  }
  void open(FailOpenCache& cache) {
    away.be_away();
    for (int i = 0; i < 5; ++i) cache.get("whatever");
    REQUIRE(cache.circuit_open());
  }
  bool comes_back(FailOpenCache& cache) {
    away.be_back();
    return eventually([&] { return cache.get("whatever"), !cache.circuit_open(); });
  }
};

void refuse() { throw larder::ServerError("OOM command not allowed"); }

}  // namespace

TEST_CASE_METHOD(Fixture, "fault: one refused key of a batch hides those that were read, or opens the circuit") {
  struct Refusing : ForwardingCache {
    using ForwardingCache::ForwardingCache;
    explicit Refusing(MemoryCache& inner) : ForwardingCache(inner) {}
    void do_get_many(const std::vector<std::string_view>& keys, Values& values) override {
      ForwardingCache::do_get_many(keys, values);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i] != "refused") continue;
        Values read = std::exchange(values, {});
        read[i].reset();
        throw BatchError({{i, "NOPERM no permission for this key"}}, keys.size(), std::move(read));
      }
    }
  } refusing(memory);
  memory.set("a", "1");
  memory.set("refused", "2");
  FailOpenCache cache(refusing, options());
  for (int i = 0; i < 20; ++i)
    CHECK(cache.get_many({"a", "refused", "none"}) == Values{"1", std::nullopt, std::nullopt});
  CHECK_FALSE(cache.circuit_open());
  CHECK(cache.get_many_or_load({"a", "refused", "none"}, 60, [](const Strings& missing) {
    CHECK(missing == Strings{"refused", "none"});
    return std::map<std::string, std::string>{{"refused", "loaded"}, {"none", "loaded"}};
  }) == Values{"1", "loaded", "loaded"});
  CHECK(memory.get("refused") == "2");  // nothing is written after a read that failed
}

TEST_CASE_METHOD(Fixture, "fault: a probe that ends in an odd way leaves the circuit open forever") {
  FailOpenCache cache(away, options());
  open(cache);
  SECTION("without memory") {
    away.fail_with([] { throw std::bad_alloc(); });
    CHECK(eventually([&] {
      try {
        return cache.get("key"), false;
      } catch (const std::bad_alloc&) {
        return true;
      }
    }));
  }
  SECTION("with a bad argument") {
    away.fail_with([] { throw larder::InvalidArgument("bad"); });
    CHECK(eventually([&] {
      try {
        return cache.get("key"), false;
      } catch (const larder::InvalidArgument&) {
        return true;
      }
    }));
  }
  SECTION("with its thread") {
    away.fail_with([] { pthread_exit(nullptr); });
    std::atomic<int> survived{0}, begun{0};
    CHECK(eventually([&] {
      const auto run = [&] {
        ++begun;
        cache.get("key");
        ++survived;
      };
      pthread_t thread{};
      using Run = decltype(run);
      const auto start = [](void* it) -> void* { return (*static_cast<Run*>(it))(), nullptr; };
      if (pthread_create(&thread, nullptr, start, const_cast<void*>(static_cast<const void*>(&run))) != 0) return false;
      pthread_join(thread, nullptr);
      return survived < begun;
    }));
  }
  CHECK(cache.circuit_open());
  CHECK(comes_back(cache));
}

TEST_CASE_METHOD(Fixture, "fault: the second outage is not seen, or what it loses is not repaired") {
  FailOpenCache cache(away, options());
  for (int outage = 0; outage < 3; ++outage) {
    memory.set("key", "old");
    open(cache);
    cache.erase("key");
    CHECK(comes_back(cache));
    CHECK(cache.get("key") == std::nullopt);
    CHECK_FALSE(memory.contains("key"));
    cache.set("key", "new");
    CHECK(cache.get("key") == "new");
  }
}

TEST_CASE_METHOD(Fixture, "fault: while an erase is lost, a load gives or keeps what is old") {
  FailOpenCache cache(away, options());
  const Texts texts(cache);
  memory.set("key", "old");
  memory.set("other", "other");
  away.fail_with(refuse);
  cache.erase("key");
  for (int i = 0; i < 3; ++i) CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
  CHECK(memory.get("key") == "old");  // which nobody sees
  away.be_back();
  CHECK(eventually([&] {
    CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
    return memory.get("key") == "loaded";
  }));
  CHECK(texts.get_or_load("other", 60, []() -> std::string { throw std::logic_error("it is there"); }) == "other");
}

TEST_CASE_METHOD(Fixture, "fault: an erase that is lost during a load lets the load be stored") {
  FailOpenCache cache(away, options());
  const Texts texts(cache);
  StoppedLoad load([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return "old";
    });
  });
  away.be_away();
  cache.erase("key");
  away.be_back();
  CHECK(load.end() == "old");
  CHECK_FALSE(memory.contains("key"));
  CHECK(texts.stats().voided == 1);
  CHECK(eventually(
      [&] { return texts.get_or_load("key", 60, [] { return "new"; }) == "new" && memory.get("key") == "new"; }));
}

TEST_CASE_METHOD(Fixture, "fault: an outage during a load has its value stored late, over a newer one") {
  FailOpenCache cache(away, options());
  const Texts texts(cache);
  StoppedLoad load([&](Gate& gate) {
    return texts.get_or_load("key", 60, [&] {
      gate.pass("loader");
      return "loaded";
    });
  });
  away.be_away();
  CHECK(load.end() == "loaded");
  CHECK(comes_back(cache));
  CHECK_FALSE(memory.contains("key"));
  cache.set("key", "new");
  for (int i = 0; i < 10; ++i) CHECK(cache.get("key") == "new");
}

TEST_CASE_METHOD(Fixture, "fault: a clear() that fails forgets which keys are old") {
  FailOpenCache cache(away, options());
  memory.set("key", "old");
  open(cache);
  cache.erase("key");
  CHECK_THROWS_AS(cache.clear(), larder::ConnectionError);
  CHECK(comes_back(cache));
  CHECK(cache.get("key") == std::nullopt);
}

TEST_CASE_METHOD(Fixture, "fault: one key that is lost again and again fills what is remembered") {
  FailOpenCache cache(away, options(2));
  memory.set("key", "old");
  memory.set("other", "there");
  open(cache);
  for (int i = 0; i < 100; ++i) cache.erase("key");
  CHECK(comes_back(cache));
  CHECK(cache.get("other") == "there");
  CHECK(cache.get("key") == std::nullopt);
}

TEST_CASE_METHOD(Fixture, "fault: one over another, each remembers and writes what the other hid") {
  FailOpenCache inner(away, options());
  FailOpenCache cache(inner);
  const Texts texts(cache);
  memory.set("key", "old");
  open(inner);
  cache.erase("key");
  for (int i = 0; i < 10; ++i) {
    CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
    CHECK(texts.get_or_load("new", 60, [] { return "loaded"; }) == "loaded");
  }
  CHECK(away.writes == 0);
  CHECK(comes_back(inner));
  CHECK_FALSE(cache.circuit_open());
  CHECK(cache.get("key") == std::nullopt);
}

TEST_CASE_METHOD(Fixture, "fault: a failing cache makes a caller pay twice, for the read and for the store") {
  FailOpenCache cache(away, options());
  const Texts texts(cache);
  away.fail_with([] { throw larder::TimeoutError("slow"); });
  CHECK(texts.get_or_load("key", 60, [] { return "loaded"; }) == "loaded");
  CHECK(away.calls == 1);
  CHECK(texts.get_many_or_load({"a", "b"}, 60, [](const Strings&) {
    return std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}};
  }) == Values{"1", "2"});
  CHECK(away.calls == 2);
}
