// Every call ends within its time, whatever trickles in and whatever signals arrive.

#include <netdb.h>
#include <sys/time.h>

#include <csignal>

#include "support/faults.hpp"

using namespace larder::testing;
using larder::ConnectionError;
using larder::RedisCache;
using larder::ServerError;
using larder::TimeoutError;

namespace {

volatile std::sig_atomic_t alarms = 0;

/// A SIGALRM every 5 ms, which makes system calls fail with EINTR.
class Alarms {
 public:
  Alarms() {
    alarms = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { alarms = alarms + 1; };
    ::sigaction(SIGALRM, &action, &before_);
    const itimerval every{{0, 5000}, {0, 5000}};
    ::setitimer(ITIMER_REAL, &every, nullptr);
  }
  ~Alarms() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
    figures().faults += static_cast<std::size_t>(alarms);
  }

 private:
  struct sigaction before_ {};
};

/// A port of 127.0.0.1 where attempts to connect get no answer: its queue is full.
class DeafPort {
 public:
  DeafPort() : listener_(listen_on(address_, 0)) {
    for (auto& fd : waiting_) {
      fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      with_sockaddr(address_, [&](auto* name, auto size) { return ::connect(fd.get(), name, size); });
    }
  }
  const Address& address() const noexcept { return address_; }

 private:
  Address address_;
  Fd listener_;
  Fd waiting_[4];
};

constexpr int repeats = 7;

/// Whether the server can be reached, now or soon.
bool works(RedisCache& cache, const larder::redis::Options& options) {
  return eventually([&] {
    Tally tally;
    return tally.call(whole_budget(options), [&] { cache.set("a", value_of("a")); });
  });
}

template <class Call>
Clock::duration time_of(Call call) {
  const auto begin = Clock::now();
  call();
  return Clock::now() - begin;
}

}  // namespace

TEST_CASE("the deadline holds for a reply that trickles in") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  redis.ask({"SET", "long", value_of("long", 200)});
  redis.ask({"SET", "short", "s"});
  Proxy proxy(redis.address(), listen);
  auto options = proxy.options();
  options.command_timeout = 100ms;
  RedisCache cache(make_pool(options));
  Lateness lateness;
  for (int i = 0; i < repeats; ++i) {
    proxy.trickle(Proxy::down, 0ms);
    REQUIRE(works(cache, options));
    CHECK(within(whole_budget(options), [&] { return cache.get("long"); }) == value_of("long", 200));
    proxy.trickle(Proxy::down, 10ms);
    lateness.measure<TimeoutError>(options.command_timeout, [&] { cache.get("long"); });
  }
  lateness.check();
  proxy.trickle(Proxy::down, 0ms);
  REQUIRE(works(cache, options));
  proxy.trickle(Proxy::down, 2ms);
  CHECK(within(options.command_timeout, [&] { return cache.get("short"); }) == "s");
  figures().faults += proxy.faults();
}

TEST_CASE("the deadline holds for a handshake that trickles in") {
  RedisProcess redis;
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.connect_timeout = 60ms;
  proxy.trickle(Proxy::down, 25ms);
  Lateness lateness;
  for (int i = 0; i < repeats; ++i) {
    RedisCache cache(make_pool(options));
    lateness.measure<TimeoutError>(options.connect_timeout, [&] { cache.get("a"); });
  }
  lateness.check();
  figures().faults += proxy.faults();
}

TEST_CASE("the deadline holds for a value that nobody reads") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  Proxy proxy(redis.address(), listen);
  auto options = proxy.options();
  options.command_timeout = 100ms;
  RedisCache cache(make_pool(options));
  const std::string value = value_of("long", 64 << 20);
  Lateness lateness;
  for (int i = 0; i < repeats; ++i) {
    REQUIRE(works(cache, options));
    proxy.be_silent();
    lateness.measure<TimeoutError>(options.command_timeout, [&] { cache.set("long", value); });
    proxy.be_silent(false);
  }
  lateness.check();
  REQUIRE(works(cache, options));
  figures().faults += proxy.faults();
}

TEST_CASE("a server that takes connections and does nothing: each call ends within its time") {
  const auto listen = GENERATE(RedisProcess::on_unix_socket, RedisProcess::on_both);
  RedisProcess redis({}, listen);
  auto options = listen == RedisProcess::on_both ? redis.tcp_address().options() : redis.options();
  options.connect_timeout = 75ms;
  options.command_timeout = 50ms;
  RedisCache cache(make_pool(options));
  Lateness lateness, at_once;
  for (int i = 0; i < repeats; ++i) {
    REQUIRE(works(cache, options));
    RedisCache late(make_pool(options));
    redis.freeze();
    lateness.measure<TimeoutError>(options.command_timeout, [&] { cache.get("a"); });
    lateness.measure<TimeoutError>(options.connect_timeout, [&] { late.get("a"); });
    at_once.measure<TimeoutError>(0ms, [&] { late.get("a"); });  // it was a moment ago that this was tried
    redis.thaw();
    CHECK(works(late, options));
    ++figures().faults;
  }
  lateness.check();
  at_once.check();
}

TEST_CASE("waiting for a turn counts") {
  RedisProcess redis;
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.connections = 1;
  options.connect_timeout = 100ms;
  options.command_timeout = 100ms;
  RedisCache cache(make_pool(options));
  Lateness lateness;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(works(cache, options));
    proxy.be_silent();
    Load load(
        16,
        [&](Tally& tally, std::size_t, std::size_t) {
          const auto begin = Clock::now();
          tally.get(cache, "a", whole_budget(options));
          lateness.note(Clock::now() - begin - whole_budget(options));
        },
        1);
    const Tally tally = load.join();
    check(tally);
    CHECK(tally.timeouts == tally.calls);
    proxy.be_silent(false);
  }
  lateness.check();
  figures().faults += proxy.faults();
}

TEST_CASE("the error of a call that had no turn says how long it waited") {
  RedisProcess redis;
  Proxy proxy(redis.address());
  auto options = proxy.options();
  options.connections = 1;
  options.connect_timeout = 300ms;
  options.command_timeout = 200ms;
  RedisCache cache(make_pool(options));
  REQUIRE(works(cache, options));
  proxy.be_silent();
  std::mutex mutex;
  std::vector<std::pair<milliseconds, std::string>> waited;
  in_threads(16, [&](const std::string&) {
    const auto begin = Clock::now();
    const auto message = message_of<TimeoutError>([&] { cache.get("a"); });
    const std::lock_guard lock(mutex);
    waited.emplace_back(std::chrono::duration_cast<milliseconds>(Clock::now() - begin), message);
  });
  std::size_t whole = 0;
  for (const auto& [time, message] : waited) {
    CAPTURE(time.count(), message);
    if (message.find("no connection was free within 500 ms (connect_timeout + command_timeout)") == std::string::npos) {
      continue;
    }
    CHECK(time >= whole_budget(options));
    ++whole;
  }
  CHECK(whole != 0);
  figures().faults += proxy.faults();
}

TEST_CASE("signals neither end a wait early nor make it longer") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  fill(redis, 10);
  Proxy proxy(redis.address(), listen);
  DeafPort deaf;
  auto options = proxy.options();
  options.command_timeout = 100ms;
  options.connect_timeout = 100ms;
  RedisCache cache(make_pool(options));
  auto deaf_options = deaf.address().options();
  deaf_options.connect_timeout = 100ms;
  const std::string value = value_of("long", 10 << 20);

  const Alarms every_5_ms;
  proxy.delay(3ms);
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(within(whole_budget(options), [&] { return cache.get(key(i % 10)); }) == value_of(key(i % 10)));
  }
  proxy.delay(0ms);
  auto patient = proxy.options();
  patient.command_timeout = 5s;
  RedisCache large(make_pool(patient));
  within(whole_budget(patient), [&] { large.set("long", value); });
  CHECK(within(whole_budget(patient), [&] { return large.get("long") == value; }));

  Lateness lateness;
  for (int i = 0; i < repeats; ++i) {
    RedisCache unreachable(make_pool(deaf_options));
    REQUIRE(works(cache, options));
    proxy.be_silent();
    const int before = alarms;
    lateness.measure<TimeoutError>(options.command_timeout, [&] { cache.get(key(0)); });
    lateness.measure<TimeoutError>(deaf_options.connect_timeout, [&] { unreachable.get(key(0)); });
    CHECK(alarms > before);
    proxy.be_silent(false);
  }
  lateness.check();
  figures().faults += proxy.faults();
}

TEST_CASE("a server that pauses its clients") {
  RedisProcess redis;
  fill(redis, 100);
  auto options = redis.options();
  options.command_timeout = 200ms;
  options.connect_timeout = 200ms;
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  SECTION("for less than the timeout") {
    options.command_timeout = 1s;
    RedisCache patient(make_pool(options));
    REQUIRE(patient.get(key(0)) == value_of(key(0)));
    redis.ask({"CLIENT", "PAUSE", "200"});
    CHECK(within(options.command_timeout, [&] { return patient.get(key(1)); }) == value_of(key(1)));
  }
  SECTION("for more") {
    std::atomic<bool> resumed{false};
    std::atomic<std::size_t> right{0};
    redis.ask({"CLIENT", "PAUSE", "500"});
    Load load(8, [&](Tally& tally, std::size_t thread, std::size_t turn) {
      if (tally.get(cache, key((thread * 13 + turn) % 100), whole_budget(options)) && resumed) ++right;
    });
    redis.ask({"GET", "a"});  // waits for the end of the pause
    resumed = true;
    CHECK(eventually([&] { return right > 1000; }));
    const Tally tally = load.finish();
    check(tally);
    CHECK(tally.timeouts >= 8);
    CHECK(tally.misses == 0);
  }
  figures().faults += 1;
}

TEST_CASE("a connection that is refused fails at once, and is not tried again at once") {
  RedisProcess redis({}, RedisProcess::on_both);
  const auto& address = GENERATE(true, false) ? redis.address() : redis.tcp_address();
  redis.kill();
  RedisCache cache(make_pool(address.options()));
  Lateness at_once;
  for (int i = 0; i < 20; ++i) at_once.measure<ConnectionError>(0ms, [&] { cache.get("a"); });
  at_once.check();
  const auto message = failure_within<ConnectionError>(0ms, [&] { cache.get("a"); });
  CHECK_THAT(message,
             Catch::Matchers::ContainsSubstring(address.path.empty() ? std::to_string(address.port) : address.path));
  figures().faults += 1;
}

TEST_CASE("an address that does not answer fails within connect_timeout") {
  DeafPort deaf;
  auto options = deaf.address().options();
  options.connect_timeout = 75ms;
  Lateness lateness, at_once;
  for (int i = 0; i < repeats; ++i) {
    RedisCache cache(make_pool(options));
    lateness.measure<TimeoutError>(options.connect_timeout, [&] { cache.get("a"); });
    at_once.measure<TimeoutError>(0ms, [&] { cache.get("a"); });
  }
  lateness.check();
  at_once.check();
  RedisCache cache(make_pool(options));
  Load load(
      16, [&](Tally& tally, std::size_t, std::size_t) { tally.get(cache, "a", whole_budget(options)); }, 20);
  const Tally tally = load.join();
  check(tally);
  CHECK(tally.errors() == tally.calls);
  figures().faults += 1;
}

TEST_CASE("a name that does not resolve fails in the time of the lookup") {
  const std::string name = "no-such-host.invalid";
  const auto lookup = time_of([&] {
    addrinfo* found = nullptr;
    CHECK(::getaddrinfo(name.c_str(), nullptr, nullptr, &found) != 0);
  });
  larder::redis::Options options;
  options.host = name;
  RedisCache cache(make_pool(options));
  const auto budget = options.connect_timeout + 2 * std::chrono::ceil<milliseconds>(lookup);
  const auto message = failure_within<ConnectionError>(budget, [&] { cache.get("a"); });
  CHECK_THAT(message, Catch::Matchers::ContainsSubstring(name));
  figures().faults += 1;
}
