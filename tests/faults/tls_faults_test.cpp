// What TLS adds to what can go wrong.

#include <larder/redis/tls.hpp>

#include <openssl/err.h>
#include <unistd.h>

#include <csignal>

#include "support/faults.hpp"
#include "support/tls.hpp"
#include "support/wrong_reply.hpp"

using namespace larder::testing;
using Catch::Matchers::ContainsSubstring;
using larder::ConnectionError;
using larder::RedisCache;
using larder::TimeoutError;

namespace {

larder::redis::Options one_connection(larder::redis::Options options) {
  options.connections = 1;
  options.client_name = "larder-test";
  return options;
}

/// An error that other code of this thread has left in OpenSSL's queue.
void leave_an_error() {
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
  ERR_new();
  ERR_set_error(ERR_LIB_SSL, SSL_R_BAD_LENGTH, nullptr);
#else
  ERR_put_error(ERR_LIB_SSL, 0, SSL_R_BAD_LENGTH, "", 0);
#endif
}

}  // namespace

TEST_CASE("over TLS, after a timeout in the middle of a reply the next call is right") {
  const std::size_t received = GENERATE(0U, 1U, 5U, 50U);
  TlsRedis redis;
  Proxy proxy(redis.tls_address(), Proxy::on_tcp);
  wrong_reply::timeout_in_the_middle(redis, proxy, tls_options(proxy.address()), received);
}

TEST_CASE("over TLS, replies that come around the timeout never go to another caller") {
  TlsRedis redis;
  Proxy proxy(redis.tls_address(), Proxy::on_tcp);
  wrong_reply::around_the_timeout(redis, proxy, tls_options(proxy.address()), 50'000);
}

TEST_CASE("over TLS, batches whose replies come around the timeout are right or fail") {
  TlsRedis redis;
  Proxy proxy(redis.tls_address(), Proxy::on_tcp);
  wrong_reply::batches_around_the_timeout(redis, proxy, tls_options(proxy.address()), 4'000);
}

TEST_CASE("a handshake ends with the time allowed") {
  TlsRedis redis;
  SECTION("the other side says nothing") {
    ScriptedServer silent({Script().ignore()}, ScriptedServer::on_tcp);
    auto options = tls_options(silent.address());
    options.connect_timeout = 200ms;
    RedisCache cache(make_pool(options));
    CHECK_THAT(failure_within<TimeoutError>(options.connect_timeout, [&] { cache.get("key"); }),
               ContainsSubstring("TLS handshake"));
    CHECK(silent.accepted() == 1);
  }
  SECTION("its bytes come one by one") {
    Proxy proxy(redis.tls_address(), Proxy::on_tcp);
    proxy.trickle(Proxy::down, 5ms);
    auto options = tls_options(proxy.address());
    options.connect_timeout = 200ms;
    RedisCache cache(make_pool(options));
    failure_within<TimeoutError>(options.connect_timeout, [&] { cache.get("key"); });
    CHECK(proxy.accepted() == 1);
    figures().faults += proxy.faults();
  }
  SECTION("it closes, or resets, wherever it has got to") {
    const auto end = GENERATE(Proxy::End::close, Proxy::End::reset);
    for (const std::size_t bytes : {0U, 1U, 5U, 100U, 500U}) {
      Proxy proxy(redis.tls_address(), Proxy::on_tcp);
      proxy.cut_after(Proxy::down, bytes, end);
      RedisCache cache(make_pool(tls_options(proxy.address())));
      CHECK_FALSE(within(1s, [&] { return cache.get("key"); }));  // the second attempt has no such trouble
      CHECK(proxy.accepted() == 2);
      figures().faults += proxy.faults();
    }
  }
}

TEST_CASE("a value that is cut off is never taken for a shorter one") {
  const auto end = GENERATE(Proxy::End::close, Proxy::End::reset);
  TlsRedis redis;
  const std::string value = value_of("long", 1 << 20);
  redis.ask({"SET", "long", value});
  for (const std::size_t bytes : {1U, 100U, 16'406U, 500'000U, 1'000'000U}) {
    Proxy proxy(redis.tls_address(), Proxy::on_tcp);
    RedisCache cache(make_pool(one_connection(tls_options(proxy.address()))));
    REQUIRE_FALSE(cache.contains("absent"));
    proxy.cut_after(Proxy::down, bytes, end);
    CHECK((within(2s, [&] { return cache.get("long"); }) == value));  // on a second connection
    CHECK(proxy.accepted() == 2);
    proxy.cut_after(Proxy::down, bytes, end);
    proxy.refuse();
    failure_within<ConnectionError>(2s, [&] { cache.get("long"); });
    figures().faults += proxy.faults();
  }
}

TEST_CASE("an idle connection is kept whatever TLS has to say on it") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  RedisProcess redis;
  fill(redis, 100);
  TlsFront::Settings settings;
  settings.version = version;
  TlsFront front(redis.address(), settings);
  RedisCache cache(make_pool(one_connection(front.options())));
  for (std::size_t i = 0; i < 100; ++i) {
    REQUIRE(within(1s, [&] { return cache.get(key(i)); }) == value_of(key(i)));
    if (version == TLS1_3_VERSION) front.update_keys(i % 2 == 0);
    if (version == TLS1_2_VERSION && i % 10 == 0) front.renegotiate();
  }
  const std::string value = value_of("long", 8 << 20);
  cache.set("long", value);
  CHECK((cache.get("long") == value));
  CHECK(front.accepted() == 1);
  figures().calls += 100;
  figures().faults += 100;
}

TEST_CASE("long values both ways through small buffers, while keys change") {
  const int version = GENERATE(TLS1_2_VERSION, TLS1_3_VERSION);
  RedisProcess redis;
  TlsFront::Settings settings;
  settings.version = version;
  settings.receive_buffer = 4096;
  TlsFront front(redis.address(), settings);
  auto options = one_connection(front.options());
  options.command_timeout = 30s;
  RedisCache cache(make_pool(options));
  const std::string value = value_of("long", 8 << 20);
  Load load(4, [&](Tally& tally, std::size_t thread, std::size_t) {
    const std::string name = "long " + std::to_string(thread);
    const std::string mine = value_of(name, 1 << 20);
    tally.call(options.command_timeout, [&] { cache.set(name, mine); });
    tally.get(cache, name, options.command_timeout, 1 << 20);
  });
  for (int i = 0; i < 50; ++i) {
    if (version == TLS1_3_VERSION) front.update_keys(i % 2 == 0);
    std::this_thread::sleep_for(5ms);
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.errors() == 0);
  within(options.command_timeout, [&] { cache.set("long", value); });
  CHECK((within(options.command_timeout, [&] { return cache.get("long"); }) == value));
  CHECK(front.accepted() == 1);
}

TEST_CASE("errors of others in OpenSSL's queue are not ours") {
  TlsRedis redis;
  fill(redis, 100);
  RedisCache cache(make_pool(one_connection(redis.tls_options())));
  for (std::size_t i = 0; i < 100; ++i) {
    leave_an_error();
    CHECK(within(1s, [&] { return cache.get(key(i)); }) == value_of(key(i)));
  }
  CHECK(redis.clients_with("name=larder-test").size() == 1);
  ERR_clear_error();
}

TEST_CASE("connections that are killed again and again cost no wrong value, and raise no signal") {
  struct sigaction action {};
  REQUIRE(::sigaction(SIGPIPE, nullptr, &action) == 0);
  REQUIRE(action.sa_handler == SIG_DFL);
  TlsRedis redis;
  fill(redis, 1000);
  const auto options = redis.tls_options();
  RedisCache cache(make_pool(options));
  std::atomic<std::size_t> hits{0};
  Load load(8, [&](Tally& tally, std::size_t thread, std::size_t turn) {
    const std::string name = key((thread * 61 + turn) % 1000);
    if (tally.get(cache, name, 2 * whole_budget(options))) ++hits;
    if (turn % 8 == 0) tally.call(2 * whole_budget(options), [&] { cache.set(name, value_of(name)); });
  });
  for (int i = 0; i < 30; ++i) {
    const std::size_t before = hits;
    REQUIRE(eventually([&] { return hits > before + 50; }));
    redis.kill_clients();
  }
  const Tally tally = load.finish();
  check(tally);
  CHECK(tally.misses == 0);
  figures().faults += 30;
}

TEST_CASE("a forked child opens connections of its own, and leaves its parent's alone") {
  TlsRedis redis;
  fill(redis, 100);
  RedisCache cache(make_pool(one_connection(redis.tls_options())));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  const auto connections = redis.clients_with("name=larder-test");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(10);
    bool well = true;
    for (std::size_t i = 0; i < 500; ++i) well = well && cache.get(key(i % 100)) == value_of(key(i % 100));
    ::_exit(well ? 0 : 1);
  }
  for (std::size_t i = 0; i < 500; ++i) REQUIRE(cache.get(key(i % 100)) == value_of(key(i % 100)));
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(cache.get(key(1)) == value_of(key(1)));
  CHECK(eventually([&] { return redis.clients_with("name=larder-test") == connections; }));
}

TEST_CASE("a server that is killed and comes back is found again") {
  TlsRedis redis;
  fill(redis, 10);
  const auto options = redis.tls_options();
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  redis.kill();
  failure_within<ConnectionError>(whole_budget(options), [&] { cache.get(key(0)); });
  redis.start();
  fill(redis, 10);
  CHECK(eventually([&] {
    Tally tally;
    return tally.get(cache, key(0), whole_budget(options));
  }));
}
