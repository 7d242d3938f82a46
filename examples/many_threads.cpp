// One cache shared by 32 threads, which set, get, and erase the same 1,000 keys for a second. The argument is the URL
// of a Redis, or `memory`.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr unsigned thread_count = 32;
constexpr unsigned key_count = 1000;

struct Counts {
  std::atomic<std::size_t> hits{0}, misses{0}, wrong{0}, errors{0};
};

std::unique_ptr<larder::BaseCache> open_cache(const std::string& where) {
  if (where == "memory") return std::make_unique<larder::MemoryCache>();
  return std::make_unique<larder::RedisCache>(where, "many_threads:");
}

// Says which key it belongs to, and differs in length from key to key.
std::string value_of(unsigned key) { return std::to_string(key) + std::string(key, '.') + std::to_string(key); }

void use(larder::BaseCache& cache, unsigned seed, std::chrono::steady_clock::time_point end, Counts& counts) try {
  std::minstd_rand random(seed);
  while (std::chrono::steady_clock::now() < end) {
    const auto number = static_cast<unsigned>(random() % key_count);
    const std::string key = std::to_string(number);
    const auto value = cache.get(key);
    ++(value ? counts.hits : counts.misses);
    if (value && *value != value_of(number)) ++counts.wrong;
    if (!value) cache.set(key, value_of(number), 60);
    if (random() % 20 == 0) cache.erase(key);
  }
} catch (const std::exception& error) {
  std::cerr << "many_threads: " << error.what() << '\n';
  ++counts.errors;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto cache = open_cache(argc > 1 ? argv[1] : "redis://127.0.0.1");
  cache->clear();

  Counts counts;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= thread_count; ++seed) {
    threads.emplace_back([&, seed] { use(*cache, seed, start + std::chrono::seconds(1), counts); });
  }
  for (auto& thread : threads) thread.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  cache->clear();

  const auto gets = counts.hits + counts.misses;
  std::cout << thread_count << " threads: " << gets << " gets in " << took.count() << " s, "
            << static_cast<std::size_t>(static_cast<double>(gets) / took.count()) << " a second, " << counts.hits
            << " of them hits, " << counts.wrong << " with a wrong value\n";
  return counts.hits > 0 && counts.wrong == 0 && counts.errors == 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "many_threads: " << error.what() << '\n';
  return 1;
}
