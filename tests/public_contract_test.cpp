// Every name that a program may use, used as a program does: this has to compile without a warning.

#include <larder/larder.hpp>
#include <larder/prometheus.hpp>
#include <larder/redis/cluster.hpp>
#include <larder/redis/make_client.hpp>
#include <larder/redis/sentinel.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/probe.hpp"
#include "support/shared_redis.hpp"
#include "support/testing.hpp"

using larder::BaseCache;
using larder::BatchError;
using larder::CacheStats;
using larder::ConnectionError;
using larder::Error;
using larder::Expiry;
using larder::FailOpenCache;
using larder::ForwardingCache;
using larder::LoadCancelled;
using larder::LoadContext;
using larder::LoadingCache;
using larder::LoadOptions;
using larder::LoadStats;
using larder::MemoryCache;
using larder::NullCache;
using larder::Observer;
using larder::RedisCache;
using larder::TypedCache;
using larder::redis::TlsVerify;
using larder::testing::PrivateDatabase;
using larder::testing::redis_url;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;
using Values = std::vector<std::optional<std::string>>;
using Pairs = std::map<std::string, std::string>;

namespace {

enum class Color { red, green };

struct Point {
  int x, y;
};

}  // namespace

template <>
struct larder::Codec<Point> {
  static void encode(const Point& point, std::string& bytes) {
    bytes += std::to_string(point.x) + ',' + std::to_string(point.y);
  }
  static std::optional<Point> decode(std::string_view bytes) {
    Point point{};
    if (std::sscanf(std::string(bytes).c_str(), "%d,%d", &point.x, &point.y) != 2) return std::nullopt;
    return point;
  }
};

namespace {

/// A cache with the hooks that had to be written for 0.1.
class MapCache : public BaseCache {
  std::optional<std::string> do_get(std::string_view key) override {
    const auto found = values_.find(key);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }
  void do_set(std::string_view key, std::string_view value, Ttl) override { values_[std::string(key)] = value; }
  bool do_add(std::string_view key, std::string_view value, Ttl) override { return values_.emplace(key, value).second; }
  bool do_touch(std::string_view key, Ttl) override { return values_.count(key) != 0; }
  bool do_erase(std::string_view key) override { return values_.erase(std::string(key)) != 0; }
  void do_clear() override { values_.clear(); }

  std::map<std::string, std::string, std::less<>> values_;
};

/// A decorator: what is read ends with a mark.
class Marking : public ForwardingCache {
 public:
  using ForwardingCache::ForwardingCache;
  explicit Marking(Marking& other) : ForwardingCache(static_cast<ForwardingCache&>(other)) {}
  BaseCache& decorated() const noexcept { return inner(); }

 private:
  static std::optional<std::string> marked(std::optional<std::string> value) {
    if (value) *value += '!';
    return value;
  }
  std::optional<std::string> do_get(std::string_view key) override { return marked(ForwardingCache::do_get(key)); }
  void do_get_many(const std::vector<std::string_view>& keys, Values& values) override {
    Values read;
    ForwardingCache::do_get_many(keys, read);
    for (auto& value : read) values.push_back(marked(std::move(value)));
  }
  std::optional<Entry> do_get_entry(std::string_view key) override { return ForwardingCache::do_get_entry(key); }
};

struct Notes : Observer {
  void connection(std::string_view, bool, std::string_view) noexcept override { ++connections; }
  void repeated(std::string_view) noexcept override {}
  void cache_failed(std::string_view, const Error&) noexcept override { ++failures; }
  void load_failed(std::string_view, const std::exception_ptr&) noexcept override { ++failed_loads; }
  void undecodable(std::string_view) noexcept override {}
  void circuit(bool open) noexcept override { is_open = open; }
  int connections = 0, failures = 0, failed_loads = 0;
  bool is_open = false;
};

struct Tokens : larder::redis::Credentials {
  std::pair<std::string, std::string> get() override { return {"", "token"}; }
};

std::uint64_t sum(const CacheStats& stats) {
  return stats.hits + stats.misses + stats.sets + stats.erases + stats.errors + stats.entries + stats.bytes +
         stats.evictions + stats.expirations + stats.refused;
}
std::uint64_t sum(const LoadStats& stats) {
  return stats.loads + stats.failures + stats.joined + stats.voided + stats.stale + stats.refreshes +
         stats.undecodable + static_cast<std::uint64_t>(stats.load_time.count());
}
std::uint64_t sum(const larder::redis::PoolStats& stats) {
  return stats.connections + stats.connects + stats.connect_failures + stats.lost + stats.calls + stats.batches +
         stats.repeats + stats.timeouts + stats.failed_fast + stats.waiting;
}

Pairs load_all(const Strings& missing) {
  Pairs loaded;
  for (const auto& key : missing) loaded[key] = "loaded " + key;
  return loaded;
}
std::map<int, Point> load_points(const std::vector<int>& missing) {
  std::map<int, Point> loaded;
  for (const int i : missing) loaded[i] = {i, i};
  return loaded;
}

void use(BaseCache& cache) {
  cache.set("a", "1", 60);
  cache.set("a", "1", std::uint8_t{5});
  cache.set("a", "1", std::chrono::system_clock::now() + 24h);
  cache.set("a", "1", std::optional<std::chrono::seconds>());
  cache.set("a", "1", std::optional<std::chrono::system_clock::time_point>());
  cache.set("a", "1", std::nullopt);
  cache.set("a", "1", {});
  cache.set("a", "1", 1500ms);
  CHECK(cache.get("a") == "1");
  CHECK_FALSE(cache.add("a", "2"));
  CHECK(cache.touch("a", 1min));
  CHECK(cache.contains("a"));
  CHECK(cache.erase("a"));
  cache.set_many({{"a", "1"}, {"b", "2"}}, 5min);
  cache.set_many(Pairs{{"c", "3"}});
  CHECK(cache.get_many({"a", "x"}) == Values{"1", std::nullopt});
  CHECK(cache.get_many(std::set<std::string>{"b"}) == Values{"2"});
  CHECK(cache.get_many(std::list<std::string_view>{"c"}) == Values{"3"});
  CHECK(cache.erase_many({"a", "x"}) == 1);
  CHECK(cache.erase_many(Strings{"b"}) == 1);

  CHECK(cache.get_or_load("k", 10min, [] { return std::string("loaded"); }) == "loaded");
  CHECK(cache.get_or_load("k", {}, [] { return "not called"; }) == "loaded");
  CHECK(cache.get_or_load("k2", 10min, [] { return std::string_view("view"); }) == "view");
  const auto not_kept = [](LoadContext<std::string>& load) {
    load.expires = 1min;
    load.store = false;
    load.retry_after = 5s;
    return load.previous ? *load.previous : "new";
  };
  CHECK(cache.get_or_load("k3", 10min, not_kept) == "new");
  CHECK_FALSE(cache.get("k3"));
  CHECK(cache.get_or_load("k4", 10min, [](auto& load) { return load.store ? "y" : "n"; }) == "y");
  CHECK_THROWS_AS(cache.get_or_load("k5", 1s, []() -> std::string { throw LoadCancelled("why"); }), LoadCancelled);
  CHECK_THROWS_AS(cache.get_or_load("k5", 1s, []() -> std::string { throw LoadCancelled(); }), LoadCancelled);
  CHECK(cache.get_many_or_load(Strings{"k", "m"}, 1min, load_all) == Values{"loaded", "loaded m"});
  CHECK(cache.get_many_or_load({"m", "n"}, 1min, [](const Strings&) { return std::vector<Pairs::value_type>(); }) ==
        Values{"loaded m", std::nullopt});
  cache.clear();
  CHECK_FALSE(cache.get("k"));
  cache.close();
}

void use_views(BaseCache& cache) {
  const TypedCache<int, Point> points(cache, "point:");
  points.set(1, {1, 2}, 1min);
  CHECK(points.get(1)->y == 2);
  CHECK(points.add(2, Point{1, 1}));
  CHECK(points.touch(2, 1min));
  CHECK(points.contains(2));
  CHECK(points.erase(2));
  CHECK(points.get_or_load(3, 1min, [] { return Point{3, 3}; }).x == 3);
  CHECK(points.get_or_load(4, 1min, [](LoadContext<Point>& load) { return load.expires = 30s, Point{4, 4}; }).x == 4);
  CHECK(points.get_many_or_load(std::vector<int>{3, 5}, 1min, load_points)[1]->x == 5);
  CHECK(points.get_many_or_load({5, 6}, 1min, load_points)[1]->y == 6);
  points.set_many(std::map<int, Point>{{7, {7, 7}}}, 1min);
  points.set_many({{8, Point{8, 8}}});
  CHECK(points.get_many({7, 8})[1]->x == 8);
  CHECK(points.get_many(std::vector<int>{9})[0].has_value() == false);
  CHECK(points.erase_many({7, 8}) == 2);
  CHECK(points.stats().loads == 4);

  const TypedCache<std::string, std::optional<Point>> maybe(cache, "maybe:");
  CHECK_FALSE(maybe.get_or_load("none", 1min, [] { return std::optional<Point>(); }));
  CHECK(maybe.get("none").has_value());
  const TypedCache<Color, bool> colors(cache, "color:");
  colors.set(Color::green, true);
  CHECK(cache.contains("color:1"));
  const TypedCache<std::uint64_t, Color> numbers(cache);
  numbers.set(5, Color::green);
  CHECK(cache.get("5") == "1");

  const auto text = [](const int& key) { return std::to_string(key); };
  LoadingCache<int, std::string> loading(cache, "number:", 1min, text);
  CHECK(loading.get(5) == "5");
  CHECK(loading.get_many(std::vector<int>{5, 6}) == Strings{"5", "6"});
  CHECK(loading.get_many({5, 6}) == Strings{"5", "6"});
  loading.set(5, "five");
  loading.refresh(5);
  CHECK(loading.get(5) == "5");
  CHECK(loading.erase(5));
  CHECK(loading.stats().loads == 3);
  cache.clear();
}

}  // namespace

static_assert(!std::is_convertible_v<bool, Expiry> && !std::is_convertible_v<char, Expiry>);
static_assert(!std::is_convertible_v<wchar_t, Expiry> && !std::is_convertible_v<char16_t, Expiry>);
static_assert(std::is_convertible_v<signed char, Expiry> && std::is_convertible_v<std::uint8_t, Expiry>);
static_assert(std::is_same_v<decltype(CacheStats::hits), std::uint64_t>);
static_assert(std::is_same_v<larder::Executor, std::function<void(std::function<void()>)>>);
static_assert(std::is_base_of_v<Error, LoadCancelled> && std::is_base_of_v<Error, ConnectionError>);
static_assert(std::is_base_of_v<larder::ServerError, BatchError>);
static_assert(std::is_same_v<decltype(std::declval<const BatchError&>().values()), const Values&>);
static_assert(std::is_base_of_v<larder::redis::Client, larder::redis::Pool>);
static_assert(std::is_base_of_v<larder::redis::Client, larder::redis::Cluster>);
static_assert(std::is_base_of_v<larder::redis::Client, larder::redis::Sentinel>);

TEST_CASE("the contract in memory") {
  MemoryCache cache, small({1 << 20});
  CHECK(sum(cache.stats()) == 0);
  use(cache);
  use_views(small);
  cache.set("a", "1", 1min);
  CHECK(cache.get_entry("a")->time_left <= 1min);
  cache.set("a", "1");
  CHECK(cache.get_entry("a")->time_left == std::chrono::milliseconds::max());
  CHECK(cache.stats().hits > 0);
}

TEST_CASE("the contract in a class of one's own, in decorators and in none") {
  MapCache own;
  use(own);
  own.set("a", "1");
  CHECK_FALSE(own.get_entry("a")->time_left);

  Marking marking(own), over_it(marking), keeping(std::make_shared<MemoryCache>());
  ForwardingCache plain(over_it);
  CHECK(&marking.decorated() == &own);
  CHECK(plain.get("a") == "1!!");
  CHECK(keeping.get_or_load("a", 1s, [] { return "z"; }) == "z");

  NullCache null;
  null.set("a", "1");
  CHECK_FALSE(null.get("a"));
  CHECK_FALSE(null.add("a", "1"));
  CHECK_FALSE(null.touch("a", 1));
  CHECK_FALSE(null.erase("a"));
}

TEST_CASE("the contract of FailOpenCache") {
  const auto notes = std::make_shared<Notes>();
  FailOpenCache::Options options;
  options.failures = 5;
  options.longest_break = 1000ms;
  options.remembered = 10'000;
  options.forget_after = 3600s;
  options.observer = notes;
  MemoryCache memory;
  FailOpenCache cache(memory), with_options(memory, options), over_it(cache), over_it_with_options(cache, options);
  FailOpenCache keeping(std::make_shared<MemoryCache>()), keeping_with(std::make_shared<MemoryCache>(), options);
  CHECK(sum(cache.stats()) == 0);
  CHECK_FALSE(cache.circuit_open());
  use(over_it_with_options);
  use_views(keeping);

  FailOpenCache dead(std::make_shared<RedisCache>("redis://127.0.0.1:1", "p:"), options);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(dead.get("a"));
  CHECK_FALSE(dead.add("a", "b"));
  CHECK(dead.erase_many({"a"}) == 0);
  CHECK_THROWS_AS(dead.clear(), ConnectionError);
  CHECK(dead.circuit_open());
  CHECK(notes->is_open);
  CHECK(notes->failures > 0);
}

TEST_CASE("the contract of loads: options, executors, statistics") {
  const auto notes = std::make_shared<Notes>();
  LoadOptions options;
  options.max_wait = 10'000ms;
  options.keep_stale = 1h;
  options.retry_after = 1'000ms;
  options.early_refresh = 1;
  options.jitter = 0.1;
  options.observer = notes;
  const auto memory = std::make_shared<MemoryCache>();
  const TypedCache<int, Point> points(memory, "p:", options), copy = points;
  CHECK(sum(points.stats()) == 0);
  CHECK_THROWS_AS(copy.get_or_load(1, 1min, []() -> Point { throw std::runtime_error("away"); }), std::runtime_error);
  CHECK(points.stats().failures == 1);
  CHECK(notes->failed_loads == 1);

  const larder::Executor at_once = [](const std::function<void()>& task) { task(); };
  const auto load = [](const int& key, LoadContext<std::string>& context) {
    context.expires = 2min;
    return std::to_string(key);
  };
  LoadingCache<int, std::string> loading(memory, "l:", 1min, load, at_once, options);
  CHECK(loading.get(1) == "1");
  loading.refresh(1);
  CHECK(loading.stats().refreshes == 1);

  larder::PrometheusText text;
  text.add("memory", memory->stats());
  text.add("memory", points.stats());
  text.add("pool", larder::redis::PoolStats());
  CHECK_FALSE(text.str().empty());
}

TEST_CASE("the contract on a Redis") {
  const PrivateDatabase database(11);
  const std::string url = redis_url("db=11");
  const auto client = larder::redis::make_client(url);
  RedisCache cache(client, "contract:"), timed(client, "timed:", 5s), of_url(url, "url:");
  const auto context = larder::testing::connect(larder::testing::shared_redis());
  larder::testing::ask(*context, {"SELECT", "11"});
  RedisCache borrowed(context.get(), "borrowed:");
  CHECK(sum(cache.stats()) == 0);
  use(cache);
  use(timed);
  use_views(of_url);
  use(borrowed);
  cache.set("a", "1", 1min);
  CHECK(cache.get_entry("a")->time_left <= 1min);
  CHECK(database.text("GET", "contract:a") == "1");
  CHECK(cache.stats().hits > 0);

  using larder::redis::Command;
  const Command set("SET", larder::redis::Key{"contract:", "b"}, larder::redis::Value{"bytes"}, "PX", 60'000);
  CHECK(client->run(set).is_ok());
  CHECK(client->run(set, std::chrono::steady_clock::now() + 5s).is_ok());
  CHECK(client->run({set, Command("PING")}).size() == 2);
  CHECK(client->run(std::vector<Command>{set}, std::chrono::steady_clock::now() + 5s).size() == 1);
  CHECK(cache.get("b") == "bytes");

  auto options = larder::redis::Options::from_url(url);
  options.connection_lifetime = 1min;
  options.credentials = std::make_shared<Tokens>();
  CHECK(options.credentials->get().second == "token");
  options.credentials = nullptr;  // this server has no password
  options.tls_ca_file = options.tls_ca_path = options.tls_cert_file = options.tls_key_file = "";
  options.tls_server_name = "";
  for (const auto verify : {TlsVerify::none, TlsVerify::ca, TlsVerify::full}) options.tls_verify = verify;
  CHECK_FALSE(options.tls);
  const auto notes = std::make_shared<Notes>();
  options.observer = notes;
  larder::redis::Pool pool(options);
  CHECK(sum(pool.stats()) == 0);
  CHECK(pool.run(Command("PING")).is_status());
  CHECK(pool.stats().calls == 1);
  CHECK(notes->connections == 1);
}

TEST_CASE("the contract of URLs: TLS needs larder/redis/tls.hpp, and the message says so") {
  for (const auto* const url : {"rediss://127.0.0.1:1", "valkeys://127.0.0.1:1", "rediss+cluster://127.0.0.1:1"}) {
    const auto message = larder::testing::message_of<larder::InvalidArgument>([&] { RedisCache(url).get("a"); });
    CHECK_THAT(message, Catch::Matchers::ContainsSubstring("larder/redis/tls.hpp"));
  }
}

TEST_CASE("the contract of URLs: each scheme makes a client, which says what is wrong when it is used") {
  for (const auto* const url :
       {"redis://127.0.0.1:1", "valkey://127.0.0.1:1", "unix:///no/such/socket",
        "redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1,127.0.0.1:2/primary/0"}) {
    CAPTURE(url);
    RedisCache cache(url);
    try {
      cache.set("a", "1");
      FAIL("there is no server");
    } catch (const ConnectionError& error) {
      CHECK_FALSE(error.outcome_unknown());
    }
  }
}
