// What a cache does. The argument is the URL of a Redis, or `memory` for a cache inside this process.

#include <chrono>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <memory>
#include <string>

using namespace std::chrono_literals;

std::unique_ptr<larder::BaseCache> open_cache(const std::string& where) {
  if (where == "memory") return std::make_unique<larder::MemoryCache>();
  return std::make_unique<larder::RedisCache>(where, "quickstart:");  // every key in Redis begins with quickstart:
}

int main(int argc, char** argv) try {
  const auto cache = open_cache(argc > 1 ? argv[1] : "redis://127.0.0.1");
  const auto show = [&](const char* key) { std::cout << key << ": " << cache->get(key).value_or("a miss") << '\n'; };

  cache->clear();                                                          // removes the keys with the prefix
  cache->set("greeting", "hello");                                         // stays until it is erased
  cache->set("session", "Ada", 60);                                        // for 60 seconds
  cache->set("price", "9.99", 2500ms);                                     // for any duration
  cache->set("offer", "2 for 1", std::chrono::system_clock::now() + 24h);  // until a point in time
  for (const char* key : {"greeting", "session", "price", "offer"}) show(key);

  cache->touch("greeting", 10min);                             // a new expiry
  cache->erase("price");                                       // show() says: a miss
  const bool replaced = cache->add("session", "Grace", 60);    // false: there is one
  const bool added = cache->add("lock", "Grace", 30s);         // true
  cache->set_many({{"red", "#f00"}, {"blue", "#00f"}}, 5min);  // one round trip
  for (const char* key : {"greeting", "price", "session", "lock", "red", "blue"}) show(key);

  const auto values = cache->get_many({"greeting", "price", "red"});
  return values[0] == "hello" && !values[1] && values[2] == "#f00" && added && !replaced ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "quickstart: " << error.what() << '\n';
  return 1;
}
