// Passwords that change while a program runs.

#include <mutex>

#include "support/faults.hpp"

using namespace larder::testing;
using larder::ConnectionError;
using larder::InvalidArgument;
using larder::RedisCache;
using larder::ServerError;
using larder::TimeoutError;

namespace {

/// A token that a test changes.
class Token : public larder::redis::Credentials {
 public:
  Token(std::string username, std::string password) : username_(std::move(username)), password_(std::move(password)) {}

  std::pair<std::string, std::string> get() override {
    const std::lock_guard lock(mutex_);
    ++asked_;
    std::this_thread::sleep_for(takes_);
    if (!problem_.empty()) throw std::runtime_error(problem_);
    return {username_, password_};
  }

  void change(const std::string& password) {
    const std::lock_guard lock(mutex_);
    password_ = password;
  }
  void fail(const std::string& problem) {
    const std::lock_guard lock(mutex_);
    problem_ = problem;
  }
  void take(milliseconds time) {
    const std::lock_guard lock(mutex_);
    takes_ = time;
  }
  int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  std::string username_, password_, problem_;
  milliseconds takes_{0};
  int asked_ = 0;
};

}  // namespace

TEST_CASE("credentials are asked at each connect") {
  RedisProcess redis;
  fill(redis, 10);
  const std::string username = GENERATE(as<std::string>(), "", "app");
  const auto let_in = [&](const std::string& password) {
    redis.ask({"ACL", "SETUSER", username.empty() ? "default" : username, "on", "resetpass", ">" + password, "~*", "&*",
               "+@all"});
    if (username.empty()) redis.use_password(password);
  };
  let_in("first");
  const auto token = std::make_shared<Token>(username, "first");
  auto options = redis.options();
  options.connections = 1;
  options.credentials = token;
  RedisCache cache(make_pool(options));
  REQUIRE(cache.get(key(0)) == value_of(key(0)));
  REQUIRE(cache.get(key(1)) == value_of(key(1)));
  CHECK(token->asked() == 1);

  SECTION("a new password is used as soon as there is a new connection") {
    let_in("second");
    token->change("second");
    CHECK(cache.get(key(2)) == value_of(key(2)));  // a connection that is in stays in
    CHECK(token->asked() == 1);
    redis.kill_clients();
    CHECK(cache.get(key(3)) == value_of(key(3)));
    CHECK(token->asked() == 2);
  }
  SECTION("an old password is refused, and no message shows it") {
    let_in("second");
    redis.kill_clients();
    const auto message = failure_within<ServerError>(whole_budget(options), [&] { cache.get(key(2)); });
    CHECK(message.find("first") == std::string::npos);
    token->change("second");
    CHECK(eventually([&] {
      Tally tally;
      return tally.get(cache, key(2), whole_budget(options));
    }));
  }
  SECTION("what they throw is a failure to connect") {
    token->fail("no token today");
    redis.kill_clients();
    const auto message = failure_within<ConnectionError>(whole_budget(options), [&] { cache.get(key(2)); });
    CHECK(message.find("credentials: no token today") != std::string::npos);
    token->fail("");
    CHECK(eventually([&] {
      Tally tally;
      return tally.get(cache, key(2), whole_budget(options));
    }));
  }
  SECTION("their time is not that of the server") {
    options.connect_timeout = 200ms;
    RedisCache late(make_pool(options));
    token->take(300ms);
    CHECK(late.get(key(2)) == value_of(key(2)));
  }
}

TEST_CASE("credentials and a fixed password exclude each other") {
  larder::redis::Options options;
  options.credentials = std::make_shared<Token>("", "p");
  CHECK_NOTHROW(options.validate());
  options.password = "p";
  CHECK_THROWS_AS(options.validate(), InvalidArgument);
  options.password.clear();
  options.username = "u";
  CHECK_THROWS_AS(options.validate(), InvalidArgument);
}

TEST_CASE("idle connections are replaced when they are older than connection_lifetime") {
  RedisProcess redis;
  fill(redis, 100);
  auto options = redis.options();
  options.connections = 1;
  options.client_name = "larder-test";
  const auto connection = [&] { return redis.clients_with("name=larder-test"); };
  SECTION("an hour") {
    options.connection_lifetime = 1h;
    RedisCache cache(make_pool(options));
    REQUIRE(cache.get(key(0)) == value_of(key(0)));
    const auto first = connection();
    REQUIRE(cache.get(key(1)) == value_of(key(1)));
    CHECK(connection() == first);
  }
  SECTION("a moment, with a token that expires meanwhile, and without an error") {
    options.connection_lifetime = 50ms;
    redis.ask({"CONFIG", "SET", "requirepass", "first"});
    redis.use_password("first");
    const auto token = std::make_shared<Token>("", "first");
    options.credentials = token;
    RedisCache cache(make_pool(options));
    REQUIRE(cache.get(key(0)) == value_of(key(0)));
    const auto first = connection();
    redis.ask({"CONFIG", "SET", "requirepass", "second"});
    redis.use_password("second");
    token->change("second");
    std::this_thread::sleep_for(60ms);
    CHECK(cache.add("new", value_of("new")));  // also what may not be sent twice
    CHECK(connection() != first);
    CHECK(connection().size() == 1);
    CHECK(token->asked() == 2);
  }
  SECTION("under load") {
    options.connections = 4;
    options.connection_lifetime = 5ms;
    RedisCache cache(make_pool(options));
    Load load(
        8,
        [&](Tally& tally, std::size_t thread, std::size_t turn) {
          tally.get(cache, key((thread * 13 + turn) % 100), whole_budget(options));
        },
        scaled(5000));
    const Tally tally = load.join();
    check(tally);
    CHECK(tally.errors() == 0);
    CHECK(tally.misses == 0);
  }
}
