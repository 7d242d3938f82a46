// Connections are lost and found again, and callers are told no more than they need to know.

#include <csignal>
#include <functional>

#include "support/faults.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;
using larder::TimeoutError;

namespace {

constexpr const char* unknown = "outcome is unknown";

/// Has all of a pool's connections opened.
void warm_up(RedisCache& cache, const RedisProcess& redis, const larder::redis::Options& options) {
  Load load(16, [&](Tally& tally, std::size_t, std::size_t) { tally.get(cache, key(0), whole_budget(options)); });
  REQUIRE(eventually([&] { return redis.clients_with("name=" + options.client_name).size() == options.connections; }));
  check(load.finish());
}

/// This process' sockets that are connected to a port of 127.0.0.1.
std::vector<int> sockets_to(int port) {
  std::vector<int> found;
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
    if (ntohs(peer.sin_port) == port) found.push_back(fd);
  }
  return found;
}

}  // namespace

TEST_CASE("a connection that the server closed while it was idle costs the caller nothing") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({}, listen);
  auto options = listen == RedisProcess::on_both ? redis.tcp_address().options() : redis.options();
  options.client_name = "larder-test";
  RedisCache cache(make_pool(options));
  const auto budget = whole_budget(options);
  std::function<void()> lose;
  SECTION("CLIENT KILL") {
    fill(redis, 10);
    warm_up(cache, redis, options);
    lose = [&] {
      redis.kill_clients();
      REQUIRE(redis.clients_with("name=larder-test").empty());
      ++figures().faults;
    };
  }
  SECTION("a restart") {
    fill(redis, 10);
    warm_up(cache, redis, options);
    lose = [&] {
      redis.ask({"SAVE"});
      redis.kill();
      redis.start();
      ++figures().faults;
    };
  }
  lose();
  CHECK(within(budget, [&] { return cache.get(key(1)); }) == value_of(key(1)));
  lose();
  within(budget, [&] { cache.set("a", value_of("a")); });
  lose();
  CHECK(within(budget, [&] { return cache.add("b", value_of("b")); }));
  lose();
  CHECK_FALSE(within(budget, [&] { return cache.add("b", "another"); }));
  lose();
  CHECK(within(budget, [&] { return cache.touch("b", 100); }));
  lose();
  CHECK(within(budget, [&] { return cache.contains("b"); }));
  lose();
  within(budget, [&] { cache.set_many({{"c", value_of("c")}, {"d", value_of("d")}}); });
  lose();
  using Values = std::vector<std::optional<std::string>>;
  const Values expected = {value_of("a"), value_of("b"), value_of("c"), value_of("d"), std::nullopt};
  CHECK(within(budget, [&] { return cache.get_many({"a", "b", "c", "d", "e"}); }) == expected);
  lose();
  CHECK(within(budget, [&] { return cache.erase("a"); }));
  lose();
  CHECK(within(budget, [&] { return cache.erase_many({"b", "c"}); }) == 2);
  lose();
  within(budget, [&] { cache.clear(); });
  CHECK(redis.ask({"DBSIZE"}) == "0");
}

TEST_CASE("CLIENT KILL under load") {
  RedisProcess redis;
  fill(redis, 1000);
  const auto options = redis.options();
  RedisCache cache(make_pool(options));
  std::atomic<int> failed{0};
  Load load(16, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const std::string name = key((thread * 61 + turn) % 1000);
    if (!tally.get(cache, name, whole_budget(options))) ++failed;
    if (!tally.call(whole_budget(options), [&] { cache.set(name, value_of(name)); })) ++failed;
  });
  constexpr int kills = 50;
  int noticed = 0;
  for (int i = 0; i < kills; ++i) {
    const int before = failed;
    redis.kill_clients();
    load.await_turns(100);  // no call meets two of them
    noticed += failed == before ? 0 : 1;
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.misses == 0);
  CHECK(noticed <= 3);  // the server closes one after another, and a call may be quick enough to meet two
  figures().faults += kills;
}

TEST_CASE("add under CLIENT KILL: nobody is told twice that a value was stored") {
  constexpr std::size_t threads = 8;
  const std::size_t keys = scaled(5000);
  RedisProcess redis;
  const auto options = redis.options();
  RedisCache cache(make_pool(options));
  std::vector<std::atomic<int>> stored(keys);
  std::atomic<std::size_t> unclear{0}, other{0}, done{0};
  Load load(
      threads,
      [&](Tally& tally, std::size_t, std::size_t turn) {
        const bool answered = tally.call(whole_budget(options), [&] {
          if (cache.add(key(turn), value_of(key(turn)))) ++stored[turn];
        });
        ++done;
        if (answered) return;
        ++(tally.last_error.find(unknown) != std::string::npos ? unclear : other);
        std::this_thread::sleep_for(1ms);
      },
      keys);
  std::size_t kills = 0;
  while (done < threads * keys) {
    redis.kill_clients();
    ++kills;
    const std::size_t before = done;
    eventually([&] { return done >= std::min(before + 500, threads * keys); });
  }
  const Tally tally = load.join();
  check(tally);
  figures().faults += kills;
  CHECK(other <= kills);  // new connections that were lost before the command was sent
  CHECK(unclear <= threads * kills);
  std::size_t nobody = 0;
  for (const auto& count : stored) {
    CHECK(count <= 1);
    nobody += count == 0;
  }
  const std::size_t told = keys - nobody;
  const std::size_t in_redis = std::stoul(redis.ask({"DBSIZE"}));
  CHECK(told + unclear + other >= keys);
  CHECK(in_redis >= told);
  CHECK(in_redis <= told + unclear);
}

TEST_CASE("a command that was sent in part, then a reset") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  Proxy proxy(redis.address(), listen);
  auto options = proxy.options();
  options.connections = 1;
  RedisCache cache(make_pool(options));
  const std::string value = value_of("a", 1 << 20);
  REQUIRE_FALSE(cache.get("a"));
  SECTION("add is not repeated, and says that its outcome is unknown") {
    proxy.cut_after(Proxy::up, 1000, Proxy::End::reset);
    const auto message = failure_within<ConnectionError>(whole_budget(options), [&] { cache.add("a", value); });
    CHECK_THAT(message, ContainsSubstring(unknown));
    CHECK(redis.calls_of("set") == 0);
    CHECK(proxy.accepted() == 1);
    CHECK(cache.add("a", value));
  }
  SECTION("add was carried out, and its reply was lost") {
    proxy.cut_after(Proxy::down, 0, Proxy::End::reset);
    const auto message = failure_within<ConnectionError>(whole_budget(options), [&] { cache.add("a", value); });
    CHECK_THAT(message, ContainsSubstring(unknown));
    CHECK(redis.calls_of("set") == 1);
    CHECK(redis.ask({"GET", "a"}) == value);
    CHECK(proxy.accepted() == 1);
  }
  SECTION("add ran out of time") {
    proxy.be_silent();
    const auto message = failure_within<TimeoutError>(whole_budget(options), [&] { cache.add("a", "value"); });
    CHECK_THAT(message, ContainsSubstring(unknown));
  }
  SECTION("set is repeated") {
    proxy.cut_after(Proxy::up, 1000, Proxy::End::reset);
    within(whole_budget(options), [&] { cache.set("a", value); });
    CHECK(redis.calls_of("set") == 1);
    CHECK(redis.ask({"GET", "a"}) == value);
    CHECK(proxy.accepted() == 2);
  }
  SECTION("get is repeated") {
    redis.ask({"SET", "a", value});
    proxy.cut_after(Proxy::down, 10'000, Proxy::End::reset);
    CHECK(within(whole_budget(options), [&] { return cache.get("a") == value; }));
    CHECK(proxy.accepted() == 2);
  }
  SECTION("set_many is repeated") {
    proxy.cut_after(Proxy::down, 3, Proxy::End::reset);
    within(whole_budget(options), [&] { cache.set_many({{"a", value}, {"b", value_of("b")}}); });
    CHECK(redis.ask({"GET", "a"}) == value);
    CHECK(redis.ask({"GET", "b"}) == value_of("b"));
    CHECK(proxy.accepted() == 2);
  }
  figures().faults += 1;
}

TEST_CASE("add of which nothing was sent does not say that its outcome is unknown") {
  RedisProcess redis;
  const auto options = redis.options();
  RedisCache cache(make_pool(options));
  redis.kill();
  const auto message = failure_within<ConnectionError>(whole_budget(options), [&] { cache.add("a", "value"); });
  CHECK_THAT(message, !ContainsSubstring(unknown));
  figures().faults += 1;
}

TEST_CASE("a command is repeated once and no more") {
  const auto listen = GENERATE(ScriptedServer::on_unix_socket, ScriptedServer::on_tcp);
  ScriptedServer server(
      {Script().greet().expect({"GET", "a"}).close(), Script().greet().expect({"GET", "a"}).send("$1").reset(),
       Script().greet().expect({"GET", "b"}).send(bulk(value_of("b")))},
      listen);
  const auto options = server.options();
  RedisCache cache(make_pool(options));
  failure_within<ConnectionError>(whole_budget(options), [&] { cache.get("a"); });
  CHECK(server.accepted() == 2);
  CHECK(within(whole_budget(options), [&] { return cache.get("b"); }) == value_of("b"));
  CHECK(server.problem() == "");
  figures().faults += 2;
}

TEST_CASE("a command is not repeated after a timeout") {
  ScriptedServer server({Script().greet().expect({"GET", "a"}).send("$1").ignore()});
  auto options = server.options();
  options.command_timeout = 50ms;
  RedisCache cache(make_pool(options));
  failure_within<TimeoutError>(options.command_timeout, [&] { cache.get("a"); });
  CHECK(server.problem() == "");
  CHECK(server.accepted() == 1);
  figures().faults += 1;
}

TEST_CASE("writing to a peer that has gone raises no SIGPIPE") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  REQUIRE(std::signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  RedisProcess redis;
  Proxy proxy(redis.address(), listen);
  const std::string value = value_of("a", 8 << 20);
  RedisCache cache(make_pool(proxy.options()));
  const Context context = connect(proxy.address());
  RedisCache borrower(context.get());
  for (auto* each : {&cache, &borrower}) {
    REQUIRE_FALSE(each->get("a"));
    for (const std::size_t sent : {1U, 100'000U, 3'000'000U}) {
      proxy.cut_after(Proxy::up, sent, Proxy::End::reset);
      CHECK_THROWS_AS(each->add("a", value), ConnectionError);
      ++figures().faults;
      if (each == &borrower) REQUIRE(redisReconnect(context.get()) == REDIS_OK);
    }
  }
  CHECK(std::signal(SIGPIPE, SIG_DFL) == SIG_DFL);
}

TEST_CASE("user, database and name are those of the options on each new connection") {
  RedisProcess redis({}, RedisProcess::on_both);
  redis.ask({"ACL", "SETUSER", "app", "on", ">pass word", "~*", "+@all"});
  auto options = GENERATE(true, false) ? redis.options() : redis.tcp_address().options();
  options.username = "app";
  options.password = "pass word";
  options.database = 3;
  options.client_name = "larder-test";
  options.connections = 2;
  RedisCache cache(make_pool(options));
  for (int i = 0; i < 3; ++i) {
    within(whole_budget(options), [&] { cache.set("a", value_of("a")); });
    CHECK(within(whole_budget(options), [&] { return cache.get("a"); }) == value_of("a"));
    const auto ours = redis.clients_with(" name=larder-test ");
    CHECK(ours.size() == 1);
    CHECK(redis.clients_with(" db=3 ") == ours);
    CHECK(redis.clients_with(" user=app ") == ours);
    redis.kill_clients();
    ++figures().faults;
  }
  CHECK_THAT(redis.ask({"INFO", "keyspace"}), ContainsSubstring("db3:keys=1,") && !ContainsSubstring("db0"));
}

TEST_CASE("connections over TCP have keep-alive, and send without delay") {
  RedisProcess redis({}, RedisProcess::on_both);
  RedisCache cache(make_pool(redis.tcp_address().options()));
  cache.set("a", "value");
  const auto sockets = sockets_to(redis.tcp_address().port);
  REQUIRE(sockets.size() == 1);
  for (const auto& [level, option] : {std::pair<int, int>(SOL_SOCKET, SO_KEEPALIVE), {IPPROTO_TCP, TCP_NODELAY}}) {
    int value = 0;
    socklen_t size = sizeof value;
    REQUIRE(::getsockopt(sockets[0], level, option, &value, &size) == 0);
    CHECK(value == 1);
  }
}

TEST_CASE("a pool opens no more connections than it may") {
  RedisProcess redis;
  fill(redis, 1);
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.client_name = "larder-test";
  options.connections = GENERATE(1U, 2U, 4U);
  RedisCache cache(make_pool(options));
  warm_up(cache, redis, options);
  Load load(
      32, [&](Tally& tally, std::size_t, std::size_t) { tally.get(cache, key(0), whole_budget(options)); },
      scaled(1000));
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.hits == tally.calls);
  CHECK(proxy.accepted() == options.connections);
}

namespace {

// 32 threads get keys while Redis is killed and comes back: `start` has it answer again, `recovered` tells that it
// serves. It is away until each thread has seen that often enough, and for at least so long.
template <class Start, class Recovered>
void kill_under_load(RedisProcess& redis, const larder::redis::Options& options, milliseconds away, Start start,
                     Recovered recovered) {
  constexpr std::size_t threads = 32, keys = 1000;
  enum Phase { up, down, maybe, back };
  std::atomic<Phase> phase{up};
  std::vector<Tally> while_down(threads);
  std::vector<std::atomic<std::size_t>> failures(threads);
  std::vector<std::atomic<bool>> is_back(threads);
  std::atomic<std::size_t> served{0};
  RedisCache cache(make_pool(options));
  Load load(threads, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const Phase at = phase;
    Tally& into = at == down ? while_down[thread] : tally;
    if (into.get(cache, key((thread * 61 + turn) % keys), whole_budget(options))) {
      ++served;
      if (at == back) is_back[thread] = true;
    } else {
      if (at == down) ++failures[thread];
      std::this_thread::yield();
    }
  });
  REQUIRE(eventually([&] { return served > 5000; }));
  redis.kill();
  phase = down;
  std::this_thread::sleep_for(away);
  const auto all = [](auto& counts, std::size_t least) {
    return [&counts, least] {
      return std::all_of(counts.begin(), counts.end(), [&](const auto& one) { return one.load() >= least; });
    };
  };
  CHECK(eventually(all(failures, 20)));
  phase = maybe;
  start();
  REQUIRE(eventually(recovered));
  phase = back;
  const auto since = Clock::now();
  CHECK(eventually(all(is_back, 1)));
  CHECK(Clock::now() - since <= 1s + slack);
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.misses == 0);
  CHECK(tally.garbled == 0);

  Tally errors;
  for (const auto& each : while_down) errors += each;
  check(errors);
  CHECK(errors.hits + errors.misses == 0);
  CHECK(errors.errors() == errors.calls);
  CHECK(errors.in_errors / errors.calls < (sanitized ? 100ms : 20ms));
  ++figures().faults;
}

}  // namespace

TEST_CASE("Redis is killed under load, and comes back") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({}, listen);
  fill(redis, 1000);
  redis.ask({"SAVE"});
  const bool on_tcp = listen == RedisProcess::on_both;
  const auto options = on_tcp ? redis.tcp_address().options() : redis.options();
  const auto away = on_tcp ? 2000ms : 0ms;  // in 2 s the times between attempts to connect have become their longest
  kill_under_load(
      redis, options, away, [&] { redis.start(); }, [] { return true; });
}

TEST_CASE("Redis is killed under load, and comes back with a dataset that takes its time to load") {
  RedisProcess redis;
  fill(redis, 1000);
  redis.ask({"SAVE"});
  redis.add_options({"--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"});
  bool was_loading = false;
  const auto is_loading = [&] { return redis.ask({"INFO", "persistence"}).find("\nloading:1") != std::string::npos; };
  const auto start = [&] {
    redis.start();
    was_loading = is_loading();
  };
  kill_under_load(redis, redis.options(), 0ms, start, [&] { return !is_loading(); });
  CHECK(was_loading);
}

TEST_CASE("every connection of a pool can be used again after the server froze") {
  using larder::redis::Command;
  using larder::redis::Key;
  using larder::redis::Reply;
  using larder::redis::Value;
  const auto busy_poll = GENERATE(0us, 50us);
  RedisProcess redis;
  fill(redis, 100);
  auto options = redis.options();
  options.connections = 4;
  options.command_timeout = 100ms;
  options.busy_poll = busy_poll;
  const auto pool = make_pool(options);
  RedisCache cache(pool);
  constexpr std::size_t threads = 24;
  std::atomic<std::size_t> served{0}, failed{0};
  Load load(threads, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const bool good = thread % 4 == 0  // of several commands
                          ? tally.call(whole_budget(options), [&] { cache.touch(key(turn % 100), {}); })
                          : tally.get(cache, key(turn % 100), whole_budget(options));
    ++(good ? served : failed);
  });
  const auto grows = [](const std::atomic<std::size_t>& count, std::size_t by) {
    return eventually([&count, least = count + by] { return count >= least; });
  };
  for (int freezes = 0; freezes < 10; ++freezes) {
    CHECK(grows(served, 1000));
    redis.freeze();
    CHECK(grows(failed, threads));
    redis.thaw();
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.timeouts >= 10 * options.connections);

  const std::vector<Command> waiting = {Command("PING"), Command("SET", Key{"key"}, Value{"value"})};
  redis.ask({"CLIENT", "PAUSE", "600000", "WRITE"});
  std::atomic<bool> all_wait{false};
  std::vector<std::thread> waiters;
  for (std::size_t i = 0; i < options.connections; ++i) {
    waiters.emplace_back([&] {
      while (!all_wait) {
        try {
          pool->run(waiting);
        } catch (const ConnectionError&) {  // in time
        }
      }
    });
  }
  CHECK(eventually([&] { return redis.clients_with(" flags=b").size() == options.connections; }));
  all_wait = true;
  redis.ask({"CLIENT", "UNPAUSE"});
  for (auto& waiter : waiters) waiter.join();
  figures().faults += 10;
}
