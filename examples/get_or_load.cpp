// The value, loaded once however many threads want it. The argument is the URL of a Redis.

#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <map>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  larder::RedisCache cache(argc > 1 ? argv[1] : "redis://127.0.0.1", "get_or_load:");
  cache.clear();

  std::atomic<int> queries{0};
  const auto query = [&] {  // a slow source
    ++queries;
    std::this_thread::sleep_for(100ms);
    return "tea, 9.99";
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 100; ++i) {
    threads.emplace_back([&] { cache.get_or_load("product 7", 10min, query); });
  }
  for (auto& thread : threads) thread.join();
  std::cout << "100 threads asked for product 7; queries: " << queries << '\n';

  // Many at once: one read, one call of the loader for what is missing, one write.
  const auto query_many = [](const std::vector<std::string>& missing) {
    std::map<std::string, std::string> found;
    for (const auto& key : missing) std::cout << "query for " << key << '\n', found[key] = "loaded " + key;
    return found;
  };
  const auto basket = cache.get_many_or_load({"product 7", "product 8", "product 9"}, 10min, query_many);
  for (const auto& product : basket) std::cout << product.value_or("none") << '\n';

  cache.erase("product 7");  // a load that began before this would not be stored
  return queries == 1 && basket[0] == "tea, 9.99" && basket[2] == "loaded product 9" ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "get_or_load: " << error.what() << '\n';
  return 1;
}
