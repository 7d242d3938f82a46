// The argument is the URL of a Redis, or `memory` for a cache inside this process.

#include <chrono>
#include <exception>
#include <iomanip>
#include <iostream>
#include <larder/larder.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

const std::string prefix = "quickstart:";  // every key in Redis begins with it

std::unique_ptr<larder::BaseCache> open_cache(const std::string& where) {
  if (where == "memory") return std::make_unique<larder::MemoryCache>();
  return std::make_unique<larder::RedisCache>(where, prefix);
}

// What Redis itself says about the time that a key has left.
std::string time_to_live(const std::string& where, const std::string& key) {
  using larder::redis::Command, larder::redis::Options, larder::redis::Pool, larder::redis::Reply;
  if (where == "memory") return "";
  Pool redis(Options::from_url(where));
  const auto left = redis.run(Command("PTTL", 1, Reply::Kind::integer).key(prefix, key)).take_integer();
  return "  PTTL " + prefix + key + ": " + (left < 0 ? "no expiry" : std::to_string(left) + " ms");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string where = argc > 1 ? argv[1] : "redis://127.0.0.1";
  const auto cache = open_cache(where);
  const auto show = [&](const std::string& what, const std::string& key) {
    const auto value = cache->get(key);
    std::cout << std::left << std::setw(24) << what << std::setw(10) << key << std::setw(8) << value.value_or("a miss")
              << (value ? time_to_live(where, key) : "") << '\n';
  };

  cache->clear();  // the keys with the prefix, of an earlier run
  show("cleared", "greeting");

  cache->set("greeting", "hello");
  show("set without expiry", "greeting");
  cache->set("session", "Ada", 60);
  show("set for 60 seconds", "session");
  cache->set("price", "9.99", 2500ms);
  show("set for 2500 ms", "price");
  cache->set("offer", "2 for 1", std::chrono::system_clock::now() + 24h);
  show("set until tomorrow", "offer");

  cache->touch("greeting", 10min);
  show("touched: 10 minutes", "greeting");
  cache->erase("price");
  show("erased", "price");

  const bool replaced = cache->add("session", "Grace", 60);
  show("add does not replace", "session");
  const bool added = cache->add("lock", "Grace", 30s);
  show("it adds what is absent", "lock");

  cache->set_many({{"red", "#f00"}, {"blue", "#00f"}}, 5min);
  show("set_many", "red");
  show("", "blue");

  const auto values = cache->get_many({"greeting", "session", "price", "red"});
  std::cout << "get_many:";
  for (const auto& value : values) std::cout << ' ' << value.value_or("(a miss)");
  std::cout << '\n';

  const std::vector<std::optional<std::string>> expected = {"hello", "Ada", std::nullopt, "#f00"};
  return values == expected && added && !replaced ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "quickstart: " << error.what() << '\n';
  return 1;
}
