#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "faults.hpp"

// What must hold whatever happens to the bytes on their way, with TLS and without it. `proxy` is on the way to `redis`,
// and `options` lead to it.
namespace larder::testing::wrong_reply {

inline void timeout_in_the_middle(RedisProcess& redis, Proxy& proxy, larder::redis::Options options,
                                  std::size_t received) {
  fill(redis, 10);
  options.connections = 1;
  options.command_timeout = 100ms;
  larder::RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));

  const auto times_out = [&](auto call) { failure_within<larder::TimeoutError>(options.command_timeout, call); };
  proxy.cut_after(Proxy::down, received, Proxy::End::silence);
  SECTION("of get") {
    times_out([&] { cache.get(key(1)); });
  }
  SECTION("of get_many") {
    times_out([&] { cache.get_many({key(1), key(2), key(3)}); });
  }
  SECTION("of set_many") {
    times_out([&] {
      cache.set_many({{key(1), value_of(key(1))}, {key(2), value_of(key(2))}, {"x", "longer than what is received"}});
      cache.get(key(1));
    });
  }
  proxy.be_silent(false);
  for (std::size_t i = 9; i-- > 2;) {
    CHECK(within(whole_budget(options), [&] { return cache.get(key(i)); }) == value_of(key(i)));
  }
  CHECK(proxy.accepted() == 2);
  figures().faults += proxy.faults();
}

inline void around_the_timeout(RedisProcess& redis, Proxy& proxy, larder::redis::Options options, std::size_t calls) {
  constexpr std::size_t threads = 16, keys = 1000;
  const std::size_t turns = scaled(calls) / threads;
  fill(redis, keys);
  options.command_timeout = sanitized ? 20ms : 5ms;
  options.connect_timeout = 500ms;
  larder::RedisCache cache(make_pool(options));
  proxy.delay(options.command_timeout / 2, 2 * options.command_timeout, 0.02);
  Load load(
      threads,
      [&](Tally& tally, std::size_t thread, std::size_t turn) {
        tally.get(cache, key((thread * 61 + turn) % keys), whole_budget(options));
      },
      turns);
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.calls == threads * turns);
  CHECK(tally.misses == 0);
  CHECK(tally.hits > tally.calls / 10);  // how many depends on how busy the machine is
  CHECK(tally.timeouts > turns / 500);
  figures().faults += proxy.faults();
}

inline void batches_around_the_timeout(RedisProcess& redis, Proxy& proxy, larder::redis::Options options,
                                       std::size_t batches) {
  constexpr std::size_t threads = 8, keys = 1000;
  const std::size_t turns = scaled(batches) / threads;
  fill(redis, keys);
  options.command_timeout = sanitized ? 40ms : 10ms;
  larder::RedisCache cache(make_pool(options));
  proxy.delay(options.command_timeout / 2, 2 * options.command_timeout, 0.05);
  Load load(
      threads,
      [&](Tally& tally, std::size_t thread, std::size_t turn) {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < 200; ++i) names.push_back(key((thread * 61 + turn * 7 + i) % keys));
        std::vector<std::optional<std::string>> values;
        tally.call(whole_budget(options), [&] { values = cache.get_many(names); });
        for (std::size_t i = 0; i < values.size(); ++i) tally.look_at(names[i], values[i]);
        tally.get(cache, names.front(), whole_budget(options));
      },
      turns);
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.misses == 0);
  CHECK(tally.hits > tally.calls);
  CHECK(tally.timeouts > turns / 100);
  figures().faults += proxy.faults();
}

}  // namespace larder::testing::wrong_reply
