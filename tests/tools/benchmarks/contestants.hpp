#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clients.hpp"
#include "delay_proxy.hpp"
#include "measure.hpp"
#include "settings.hpp"
#include "surroundings.hpp"

// Who is compared in each row of the table.

namespace benchmarks {

constexpr const char* larder_default = "larder";
constexpr const char* larder_sleeps = "larder, busy_poll=0";
constexpr const char* raw_each = "hiredis, a connection a thread";
constexpr const char* raw_guarded = "hiredis, one behind a mutex";
constexpr const char* raw_pool = "hiredis, pool of 8";
constexpr const char* redis_plus_plus = "redis-plus-plus, pool of 8";
constexpr const char* raw_batch = "hiredis by hand";
constexpr const char* server_alone = "server time of its commands";
constexpr const char* keys_and_del = "hiredis, KEYS and a DEL a key";

enum class Operation { get, set, mix };
enum class Link { tcp, unix_socket, slow };

struct Scenario {
  Operation operation;
  std::size_t value_size;
  Link link;
  unsigned threads;
  Surroundings around = Surroundings::idle;

  std::string name() const {
    const std::size_t size = value_size;
    const std::string bytes = size >= 1'000'000 ? std::to_string(size / 1'000'000) + "MB"
                              : size >= 1000    ? std::to_string(size / 1000) + "KB"
                                                : std::to_string(size) + "B";
    const char* const operations[] = {"get ", "set ", "mix "};
    const char* const links[] = {" tcp ", " unix ", " slow "};
    return operations[static_cast<int>(operation)] + bytes + links[static_cast<int>(link)] + std::to_string(threads) +
           name_of(around);
  }
};

template <class Client>
Call calls_of(std::shared_ptr<Client> client, Operation operation, std::shared_ptr<const Items> items) {
  return [=](std::size_t number) {
    const Item& item = (*items)[number % items->size()];
    if (operation == Operation::set || (operation == Operation::mix && number % 20 == 0)) {
      client->set(item);
    } else {
      check(client->get(item), item);
    }
  };
}

inline std::string output_of(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::string text;
  std::array<char, 4096> buffer{};
  while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), size);
  ::pclose(pipe);
  return text;
}

// Its latencies are not known.
inline Sample run_redis_benchmark(const std::string& program, const Scenario& scenario, const Settings& settings,
                                  const Item& item, int pipelined) {
  const std::string where = scenario.link == Link::unix_socket ? "-s '" + settings.unix_socket.unix_socket + "'"
                                                               : "-h 127.0.0.1 -p " + std::to_string(settings.tcp.port);
  const double guess = (scenario.threads == 1 ? 15'000 : 80'000) * (pipelined == 1 ? 1 : 8);
  const auto calls = static_cast<std::size_t>(guess * settings.time.count());
  const std::string what =
      scenario.operation == Operation::set ? "SET " + item.full_key + ' ' + item.value : "GET " + item.full_key;
  const Usage before(RUSAGE_CHILDREN);
  const std::string table =
      output_of(program + ' ' + where + " -c " + std::to_string(scenario.threads) + " -n " + std::to_string(calls) +
                " -P " + std::to_string(pipelined) + " --csv " + what + " 2>/dev/null");
  const Usage after(RUSAGE_CHILDREN);
  const auto at = table.rfind('"' + what + "\",\"");
  if (at == std::string::npos) throw std::runtime_error(program + " did not answer as expected: " + table);
  const double rate = std::strtod(table.c_str() + at + what.size() + 4, nullptr);
  const auto number = static_cast<double>(calls);
  return after.sample(before, number, Seconds(number / rate));
}

inline std::vector<Contestant> contestants_of(const Scenario& scenario, const Settings& settings) {
  const std::size_t count = std::clamp<std::size_t>(16'000'000 / scenario.value_size, 16, 1000);
  const auto items = std::make_shared<const Items>(make_items(count, scenario.value_size));
  Raw raw(settings.unix_socket);
  raw.ask("FLUSHALL");
  for (const Item& item : *items) raw.set(item);

  std::shared_ptr<DelayProxy> proxy;
  Address address = scenario.link == Link::unix_socket ? settings.unix_socket : settings.tcp;
  if (scenario.link == Link::slow) {
    proxy = std::make_shared<DelayProxy>(settings.unix_socket.unix_socket, std::chrono::microseconds(500));
    address.port = proxy->port();
  }

  std::vector<Contestant> contestants;
  const auto add = [&](const char* name, const Session& session) {
    contestants.push_back({name, [session, proxy, threads = scenario.threads, time = settings.time](Latencies& to) {
                             return measure(session, threads, time, to);
                           }});
  };
  const auto add_shared = [&](const char* name, auto client) {
    add(name, [=] { return calls_of(client, scenario.operation, items); });
  };
  add_shared(larder_default, std::make_shared<Larder>(address));
  add_shared(larder_sleeps, std::make_shared<Larder>(address, false));
  add(raw_each, [=] { return calls_of(std::make_shared<Raw>(address), scenario.operation, items); });
  add_shared(raw_guarded, std::make_shared<Guarded>(address));
  add_shared(raw_pool, std::make_shared<LendingPool>(address, 8));
#ifdef BENCH_REDIS_PLUS_PLUS
  add_shared(redis_plus_plus, std::make_shared<RedisPlusPlus>(address, 8));
#endif

  const bool fits = scenario.operation != Operation::mix && scenario.value_size == 100 && scenario.link != Link::slow &&
                    (scenario.threads == 1 || scenario.threads == 64);
  std::string program = output_of("command -v redis-benchmark || command -v valkey-benchmark");
  if (fits && !program.empty()) {
    program.pop_back();
    for (const int pipelined : {1, 16}) {
      contestants.push_back({pipelined == 1 ? "redis-benchmark" : "redis-benchmark -P 16", [=](Latencies&) {
                               return run_redis_benchmark(program, scenario, settings, items->front(), pipelined);
                             }});
    }
  }
  return contestants;
}

constexpr std::size_t batch_size = 1000;

using Views = std::vector<std::pair<std::string_view, std::string_view>>;

inline Views views_of(const Items& items) {
  Views views;
  for (const Item& item : items) views.emplace_back(item.key, item.value);
  return views;
}

inline void check(const Values& values, const Items& items) {
  if (values.size() != items.size()) throw std::runtime_error("wrong number of values");
  for (std::size_t i = 0; i < items.size(); ++i) check(values[i], items[i]);
}

inline Contestant batch(const char* name, const Settings& settings, const Call& call) {
  return {name, [=](Latencies& to) { return measure([=] { return call; }, 1, settings.time, to); }};
}

inline std::vector<Contestant> get_many_contestants(const Settings& settings, const Address& address) {
  const auto items = std::make_shared<const Items>(make_items(batch_size, 100));
  const auto larder = std::make_shared<Larder>(address);
  const auto raw = std::make_shared<Raw>(address);
  for (const Item& item : *items) raw->set(item);
  std::vector<std::string_view> keys;
  for (const Item& item : *items) keys.push_back(item.key);
  return {batch(larder_default, settings, [=](std::size_t) { check(larder->cache().get_many(keys), *items); }),
          batch(raw_batch, settings, [=](std::size_t) { check(raw->get_many(*items), *items); })};
}

inline std::vector<Contestant> set_many_contestants(const Settings& settings, const Address& address) {
  const auto items = std::make_shared<const Items>(make_items(batch_size, 100));
  const auto larder = std::make_shared<Larder>(address);
  const auto raw = std::make_shared<Raw>(address);
  const auto hour = std::chrono::hours(1);
  return {batch(larder_default, settings,
                [=, views = views_of(*items)](std::size_t) { larder->cache().set_many(views, hour); }),
          batch(raw_batch, settings, [=](std::size_t) { raw->set_many(*items, hour); })};
}

inline double server_microseconds(Raw& raw, const std::string& command) {
  const std::string stats = raw.ask("INFO commandstats");
  const auto at = stats.find("cmdstat_" + command + ':');
  const auto usec = stats.find("usec=", at);
  if (at == std::string::npos || usec == std::string::npos) throw std::runtime_error("no statistics of " + command);
  return std::strtod(stats.c_str() + usec + 5, nullptr);
}

// Fills the database, and times how it is emptied.
template <class Clear>
Sample time_clear(Raw& raw, larder::RedisCache& filler, const Items& items, Latencies& latencies, const Clear& clear) {
  filler.set_many(views_of(items));
  raw.ask("CONFIG RESETSTAT");
  const Usage before;
  const auto start = Clock::now();
  clear();
  const auto took = Clock::now() - start;
  latencies.add(took);
  const Usage after;
  if (raw.ask("DBSIZE") != "0") throw std::runtime_error("keys are left after clear()");
  return after.sample(before, 1, took);
}

inline std::vector<Contestant> clear_contestants(const Settings& settings, const Address& address) {
  const auto items = std::make_shared<const Items>(make_items(settings.keys_to_clear, 10));
  const auto larder = std::make_shared<Larder>(address);
  const auto raw = std::make_shared<Raw>(address);
  raw->ask("FLUSHALL");
  const auto with = [=](const auto& clear) {
    return [=](Latencies& to) { return time_clear(*raw, larder->cache(), *items, to, clear); };
  };
  const auto by_server = [=](Latencies&) {  // in the repeat that has just ended
    Sample sample;
    sample.calls_per_second = 1e6 / (server_microseconds(*raw, "scan") + server_microseconds(*raw, "del"));
    return sample;
  };
  return {{larder_default, with([=] { larder->cache().clear(); })},
          {server_alone, by_server},
          {keys_and_del, with([=] { raw->clear(); })}};
}

}  // namespace benchmarks
