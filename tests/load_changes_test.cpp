#include <larder/base_cache.hpp>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/typed_cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted_load.hpp"
#include "support/testing.hpp"

// A change during a load wins: by table, each change, made through each object, at each step of each kind of load.

using larder::BaseCache;
using larder::ForwardingCache;
using larder::LoadOptions;
using larder::MemoryCache;
using larder::TypedCache;
using larder::testing::eventually;
using larder::testing::Gate;
using larder::testing::GatedCache;
using larder::testing::PublicDecorator;
using larder::testing::Source;
using larder::testing::UntoldChanges;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

namespace {

const std::string key = "key";

struct Change {
  std::string name;
  std::function<void(BaseCache&, const std::string& newest)> make;
  bool stores = false;  // the newest value
};

const std::vector<Change>& changes() {
  static const std::vector<Change> all = {
      {"erase", [](BaseCache& cache, const std::string&) { cache.erase(key); }},
      {"erase_many",
       [](BaseCache& cache, const std::string&) {
         cache.erase_many({"other", key});
       }},
      {"clear", [](BaseCache& cache, const std::string&) { cache.clear(); }},
      {"set", [](BaseCache& cache, const std::string& newest) { cache.set(key, newest, 60); }, true},
      {"set, expired", [](BaseCache& cache, const std::string& newest) { cache.set(key, newest, 0); }},
      {"set_many",
       [](BaseCache& cache, const std::string& newest) {
         cache.set_many({{key, newest}}, 60);
       },
       true},
      {"set_many, expired",
       [](BaseCache& cache, const std::string& newest) {
         cache.set_many({{key, newest}}, 0);
       }},
      {"erase, then add",
       [](BaseCache& cache, const std::string& newest) {
         cache.erase(key);
         cache.add(key, newest, 60);
       },
       true},
      {"touch, expired", [](BaseCache& cache, const std::string&) { cache.touch(key, 0); }},
  };
  return all;
}

/// Values as text, which a codec refuses that were not made for it.
struct Text {
  static void encode(const std::string& value, std::string& bytes) { bytes += value; }
  static std::optional<std::string> decode(std::string_view bytes) {
    if (bytes == "undecodable") return std::nullopt;
    return std::string(bytes);
  }
};
using Texts = TypedCache<std::string, std::string, Text>;

std::map<std::string, std::string> load_all(const Strings& missing, Source& source) {
  std::map<std::string, std::string> loaded;
  const std::string value = source.load();
  for (const auto& one : missing) loaded[one] = value;
  return loaded;
}

struct Kind {
  std::string name;
  std::function<void(BaseCache&)> prepare;
  std::function<std::string(BaseCache&, Source&)> load;
};

const std::vector<Kind>& kinds() {
  static const auto nothing = [](BaseCache&) {};
  static const std::vector<Kind> all = {
      {"one", nothing,
       [](BaseCache& cache, Source& source) { return cache.get_or_load(key, 60, [&] { return source.load(); }); }},
      {"many", nothing,
       [](BaseCache& cache, Source& source) {
         return *cache.get_many_or_load({"a", key, "b"}, 60,
                                        [&](const Strings& missing) { return load_all(missing, source); })[1];
       }},
      {"over an undecodable value", [](BaseCache& cache) { cache.set(key, "undecodable"); },
       [](BaseCache& cache, Source& source) {
         return Texts(cache).get_or_load(key, 60, [&] { return source.load(); });
       }},
      {"over a stale value", [](BaseCache& cache) { cache.set(key, "stale", 60); },
       [](BaseCache& cache, Source& source) {
         LoadOptions options;
         options.keep_stale = 1h;
         return Texts(cache, "", options).get_or_load(key, 60, [&] { return source.load(); });
       }},
  };
  return all;
}

struct Objects {
  MemoryCache memory;
  Gate gate;
  GatedCache gated{memory, gate};
  ForwardingCache decorator{gated};
  PublicDecorator public_decorator{gated};

  std::vector<std::pair<std::string, BaseCache*>> all() {
    return {{"the cache", &gated},
            {"the inner cache", &memory},
            {"a decorator", &decorator},
            {"a decorator that calls public functions", &public_decorator}};
  }
  // How many loads are under way that a change has not met.
  std::uint64_t listed() { return larder::detail::CacheHooks::loads(memory).table().state.load() & 0xFFFFFFFFU; }
};

template <class Body>
void for_each_case(Body body) {
  for (const Kind& kind : kinds()) {
    for (const Change& change : changes()) {
      for (std::size_t loading = 0; loading < 4; ++loading) {
        for (std::size_t changing = 0; changing < 4; ++changing) {
          Objects objects;
          const auto all = objects.all();
          INFO(kind.name << " loaded through " << all[loading].first << ", " << change.name << " through "
                         << all[changing].first);
          kind.prepare(objects.memory);
          body(objects, kind, change, *all[loading].second, *all[changing].second);
        }
      }
    }
  }
}

// Whether the cache has what was there before the source changed.
bool is_stale(Objects& objects, const Source& source) {
  const auto kept = objects.memory.get(key);
  return kept && *kept != source.now();
}

// Makes the change when a load has come to the step; what the load gave.
std::string change_at(const std::string& step, Objects& objects, Source& source, const Kind& kind, BaseCache& loads,
                      const Change& change, BaseCache& changes) {
  const bool storing = step == "before store" || step == "after store";
  std::string loaded;
  objects.gate.close(step);
  std::thread loader([&] { loaded = kind.load(loads, source); });
  objects.gate.wait_until_reached();
  const auto listed = objects.listed();
  std::atomic<bool> changed{false};
  std::thread changer([&] {
    source.change();
    change.make(changes, source.now());
    changed = true;
  });
  // While the value is just being stored a change waits for that command; else for nothing.
  CHECK(eventually([&] { return changed || (storing && objects.listed() < listed); }));
  objects.gate.open();
  changer.join();
  loader.join();
  return loaded;
}

}  // namespace

TEST_CASE("a change at each step of a load wins") {
  for (const std::string step : {"before get", "after get", "loader", "before store", "after store"}) {
    for_each_case([&](Objects& objects, const Kind& kind, const Change& change, BaseCache& loads, BaseCache& changes) {
      if (&loads == &objects.memory) return;  // has no steps
      INFO(step);
      Source source(objects.gate);
      const std::string loaded = change_at(step, objects, source, kind, loads, change, changes);
      CHECK((loaded == "version 1" || loaded == "version 2"));
      CHECK_FALSE(is_stale(objects, source));
      if (change.stores) CHECK(objects.memory.get(key) == source.now());
      CHECK(kind.load(loads, source) == source.now());
    });
  }
}

TEST_CASE("a change that nothing is told of is seen here to leave what is stale") {
  for (const std::string step : {"loader", "before store"}) {
    for (const Kind& kind : kinds()) {
      for (const Change& change : changes()) {
        if (change.name == "clear") continue;
        INFO(step << ", " << kind.name << ", " << change.name);
        Objects objects;
        UntoldChanges untold(objects.memory);
        kind.prepare(objects.memory);
        Source source(objects.gate);
        change_at(step, objects, source, kind, objects.gated, change, untold);
        const bool is_saved_by_add = kind.name == "one" && change.stores;
        CHECK(is_stale(objects, source) == !is_saved_by_add);
      }
    }
  }
}

TEST_CASE("a load that begins during a change does not undo it") {
  // The change stops before or after its command; meanwhile a load begins, finds what was there, and ends before the
  // change, in between, or after it.
  enum class LoadEnds { before_command, before_return, after_return };
  for (const auto ends : {LoadEnds::before_command, LoadEnds::before_return, LoadEnds::after_return}) {
    for_each_case([&](Objects& objects, const Kind& kind, const Change& change, BaseCache& loads, BaseCache&) {
      if (&loads != &objects.memory || !change.stores || change.name == "erase, then add") return;
      INFO(static_cast<int>(ends));
      Gate loader_gate;
      Source source(loader_gate);
      loader_gate.close("loader");
      objects.gate.close("before store");
      std::thread changer([&] { change.make(objects.gated, "version 2"); });
      objects.gate.wait_until_reached();
      std::thread loader([&] { kind.load(loads, source); });
      loader_gate.wait_until_reached();
      if (ends == LoadEnds::before_command) {
        loader_gate.open();
        loader.join();
        objects.gate.open();
      } else if (ends == LoadEnds::before_return) {
        objects.gate.close("after store");
        objects.gate.wait_until_reached();
        loader_gate.open();
        loader.join();
        objects.gate.open();
      } else {
        objects.gate.open();
      }
      changer.join();
      if (ends == LoadEnds::after_return) {
        loader_gate.open();
        loader.join();
      }
      const auto kept = objects.memory.get(key);
      CHECK((!kept || *kept == "version 2"));
      if (ends == LoadEnds::after_return || kind.name == "one") CHECK(kept == "version 2");
    });
  }
}

TEST_CASE("while a load runs, who comes after a change does not join it") {
  Gate gate;
  MemoryCache cache;
  Source source(gate);
  gate.close("loader");
  std::string first;
  std::thread loader([&] { first = cache.get_or_load(key, 60, [&] { return source.load(); }); });
  gate.wait_until_reached();
  source.change();
  cache.erase(key);
  CHECK(cache.get_or_load(key, 60, [&] { return source.load(); }) == "version 2");
  CHECK(cache.get(key) == "version 2");
  gate.open();
  loader.join();
  CHECK(first == "version 1");
  CHECK(cache.get(key) == "version 2");
}

TEST_CASE("a change of one key lets loads of others be") {
  Gate gate;
  MemoryCache cache;
  Source source(gate);
  gate.close("loader");
  std::thread loader([&] { cache.get_or_load(key, 60, [&] { return source.load(); }); });
  gate.wait_until_reached();
  cache.set("other", "value");
  cache.erase("another");
  gate.open();
  loader.join();
  CHECK(cache.get(key) == "version 1");
}

TEST_CASE("any number of changes and loads: nothing old is kept") {
  constexpr int threads = 4, rounds = 3000;
  MemoryCache memory;
  ForwardingCache decorator(memory);
  Texts texts(decorator);
  std::atomic<int> source{0};
  std::atomic<bool> ended{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> loaders;
  for (int i = 0; i < threads; ++i) {
    loaders.emplace_back([&, i] {
      const auto load = [&] { return std::to_string(source.load()); };
      const auto load_many = [&](const Strings& missing) {
        std::map<std::string, std::string> loaded;
        for (const auto& one : missing) loaded[one] = load();
        return loaded;
      };
      while (!ended) {
        if (i == 0) memory.get_or_load(key, 60, load);
        if (i == 1) decorator.get_or_load(key, 60, load);
        if (i == 2) texts.get_or_load(key, 60, load);
        if (i == 3) memory.get_many_or_load({key}, 60, load_many);
      }
    });
  }
  for (int round = 0; round < rounds; ++round) {
    const int now = ++source;
    if (round % 4 == 0) memory.erase(key);
    if (round % 4 == 1) memory.set(key, std::to_string(now), 60);
    if (round % 4 == 2) decorator.erase_many({key});
    if (round % 4 == 3) memory.set(key, "undecodable");
    for (int look = 0; look < 3; ++look) {
      const auto kept = decorator.get(key);
      if (kept && *kept != std::to_string(now) && *kept != "undecodable") ++wrong;
    }
  }
  ended = true;
  for (auto& thread : loaders) thread.join();
  CHECK(wrong == 0);
}
