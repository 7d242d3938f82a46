// One cache shared by 32 threads, which set, get, and erase the same 1,000 keys for a second. The argument is the URL
// of a Redis.

#include <atomic>
#include <chrono>
#include <exception>
#include <iostream>
#include <larder/larder.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

using Clock = std::chrono::steady_clock;

std::atomic<int> gets{0}, hits{0}, wrong{0}, errors{0};

// Says which key it belongs to, and differs in length from key to key.
std::string value_of(unsigned key) { return std::to_string(key) + std::string(key, '.') + std::to_string(key); }

void use(larder::BaseCache& cache, unsigned seed, Clock::time_point end) try {
  for (std::minstd_rand random(seed); Clock::now() < end; ++gets) {
    const auto number = static_cast<unsigned>(random() % 1000);
    const std::string key = std::to_string(number);
    const auto value = cache.get(key);
    if (value) ++(*value == value_of(number) ? hits : wrong);
    if (!value) cache.set(key, value_of(number), 60);
    if (random() % 20 == 0) cache.erase(key);
  }
} catch (const std::exception& error) {
  std::cerr << "many_threads: " << error.what() << '\n';
  ++errors;
}

int main(int argc, char** argv) try {
  larder::RedisCache cache(argc > 1 ? argv[1] : "redis://127.0.0.1", "many_threads:");
  std::vector<std::thread> threads;
  const auto end = Clock::now() + std::chrono::seconds(1);
  for (unsigned seed = 1; seed <= 32; ++seed) threads.emplace_back([&cache, seed, end] { use(cache, seed, end); });
  for (auto& thread : threads) thread.join();
  cache.clear();
  std::cout << "32 threads: " << gets << " gets in a second, " << hits << " hits, " << wrong << " wrong values\n";
  return hits > 0 && wrong == 0 && errors == 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "many_threads: " << error.what() << '\n';
  return 1;
}
