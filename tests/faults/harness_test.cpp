// The tools of these tests, shown on plain hiredis: a client with a fault must be seen to have it.

#include <csignal>

#include "support/faults.hpp"

using namespace larder::testing;

namespace {

// What wrappers of hiredis are found to do after a timeout.
std::optional<std::string> careless_get(redisContext* context, const std::string& key) {
  std::signal(SIGPIPE, SIG_IGN);  // hiredis would have it end the program
  context->err = 0;
  auto* reply = static_cast<redisReply*>(redisCommand(context, "GET %s", key.c_str()));
  if (!reply) return std::nullopt;
  std::optional<std::string> value;
  if (reply->type == REDIS_REPLY_STRING) value.emplace(reply->str, static_cast<std::size_t>(reply->len));
  freeReplyObject(reply);
  return value;
}

void set_timeout(redisContext* context, milliseconds timeout) {
  redisSetTimeout(context, {0, std::chrono::microseconds(timeout).count()});
}

}  // namespace

TEST_CASE("a careless client returns another key's value after a timeout") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  RedisProcess redis;
  for (const auto* key : {"a", "b"}) redis.ask({"SET", key, value_of(key)});
  Proxy proxy(redis.address(), listen);
  const Context context = connect(proxy.address());
  REQUIRE(careless_get(context.get(), "a") == value_of("a"));
  set_timeout(context.get(), 50ms);
  proxy.be_silent();
  CHECK(!careless_get(context.get(), "a"));
  set_timeout(context.get(), 5000ms);
  proxy.be_silent(false);
  CHECK(careless_get(context.get(), "b") == value_of("a"));
}

TEST_CASE("a careless client returns another key's value when a reply comes twice, or one that nobody asked for") {
  RedisProcess redis;
  for (const auto* key : {"a", "b"}) redis.ask({"SET", key, value_of(key)});
  Proxy proxy(redis.address());
  const Context context = connect(proxy.address());
  SECTION("twice") {
    proxy.duplicate();
    CHECK(careless_get(context.get(), "a") == value_of("a"));
    CHECK(careless_get(context.get(), "b") == value_of("a"));
  }
  SECTION("uncalled for") {
    REQUIRE(careless_get(context.get(), "a") == value_of("a"));
    proxy.inject(bulk("stray"));
    CHECK(careless_get(context.get(), "b") == "stray");
  }
}

TEST_CASE("the proxy sees to it that a reply trickles, and hiredis has no deadline") {
  RedisProcess redis;
  redis.ask({"SET", "a", value_of("a", 20)});
  Proxy proxy(redis.address());
  const Context context = connect(proxy.address());
  set_timeout(context.get(), 200ms);
  proxy.trickle(Proxy::down, 20ms);
  const auto begin = Clock::now();
  CHECK(careless_get(context.get(), "a") == value_of("a", 20));
  CHECK(Clock::now() - begin > 400ms);
}

TEST_CASE("the proxy cuts after a number of bytes") {
  const auto listen = GENERATE(Proxy::on_unix_socket, Proxy::on_tcp);
  const auto direction = GENERATE(Proxy::up, Proxy::down);
  const auto end = GENERATE(Proxy::End::close, Proxy::End::reset);
  RedisProcess redis;
  const std::string value = value_of("a", 100'000);
  redis.ask({"SET", "a", value});
  Proxy proxy(redis.address(), listen);
  proxy.cut_after(direction, 10, end);
  const Context context = connect(proxy.address());
  CHECK(!careless_get(context.get(), "a"));
  CHECK(context->err == (end == Proxy::End::reset && listen == Proxy::on_tcp ? REDIS_ERR_IO : REDIS_ERR_EOF));
  CHECK(redis.calls_of("get") == (direction == Proxy::up ? 0 : 1));
  const Context after = connect(proxy.address());
  CHECK(careless_get(after.get(), "a") == value);
}

TEST_CASE("the proxy delays") {
  RedisProcess redis;
  redis.ask({"SET", "a", value_of("a")});
  Proxy proxy(redis.address());
  const Context context = connect(proxy.address());
  proxy.delay(50ms);
  auto begin = Clock::now();
  CHECK(careless_get(context.get(), "a") == value_of("a"));
  CHECK(Clock::now() - begin >= 100ms);  // there and back
  proxy.delay(0ms, 5ms, 0.5);
  for (int i = 0; i < 100; ++i) CHECK(careless_get(context.get(), "a") == value_of("a"));
  CHECK(proxy.faults() > 50);
  CHECK(proxy.accepted() == 1);
}

TEST_CASE("the proxy resets, and refuses") {
  RedisProcess redis;
  Proxy proxy(redis.address(), Proxy::on_tcp);
  const Context context = connect(proxy.address());
  careless_get(context.get(), "a");
  REQUIRE(context->err == 0);
  proxy.reset_all();
  careless_get(context.get(), "a");
  CHECK(context->err == REDIS_ERR_IO);
  proxy.refuse();
  const Context refused = connect(proxy.address());
  careless_get(refused.get(), "a");
  CHECK(refused->err != 0);
}

TEST_CASE("the scripted server tells what was not as its script has it") {
  const auto listen = GENERATE(ScriptedServer::on_unix_socket, ScriptedServer::on_tcp);
  ScriptedServer server({Script().expect({"GET", "a"}).send("$1\r").delay(10ms).send("\na\r\n").close()}, listen);
  SECTION("nothing") {
    const Context context = connect(server.address());
    CHECK(careless_get(context.get(), "a") == "a");
    CHECK(server.problem() == "");
  }
  SECTION("another command") {
    const Context context = connect(server.address());
    CHECK(!careless_get(context.get(), "b"));
    CHECK_THAT(server.problem(), Catch::Matchers::ContainsSubstring("connection 1, step 1: expected"));
  }
  SECTION("one connection too many") {
    const Context context = connect(server.address());
    CHECK(careless_get(context.get(), "a") == "a");
    const Context another = connect(server.address());
    CHECK(!careless_get(another.get(), "a"));
    CHECK_THAT(server.problem(), Catch::Matchers::ContainsSubstring("no script"));
  }
}

TEST_CASE("the private Redis can be killed, started again and frozen") {
  RedisProcess redis({}, RedisProcess::on_both);
  for (const auto& address : {redis.address(), redis.tcp_address()}) {
    const Context context = connect(address);
    CHECK(!careless_get(context.get(), "a"));
    CHECK(context->err == 0);
  }
  redis.ask({"SET", "a", value_of("a")});
  redis.ask({"SAVE"});
  redis.kill();
  CHECK_THROWS(redis.ask({"PING"}));
  redis.start();
  CHECK(redis.ask({"GET", "a"}) == value_of("a"));
  const Context context = connect(redis.address());
  set_timeout(context.get(), 50ms);
  redis.freeze();
  CHECK(!careless_get(context.get(), "a"));
  redis.thaw();
  CHECK(redis.ask({"GET", "a"}) == value_of("a"));
}
