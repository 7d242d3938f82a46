// prometheus_peer NAME...: the text with statistics of every kind for each of these caches.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <larder/prometheus.hpp>

int main(int argc, char** argv) {
  larder::PrometheusText text;
  for (int i = 1; i < argc; ++i) {
    larder::CacheStats cache;
    cache.hits = static_cast<std::uint64_t>(i);
    cache.bytes = 1U << 20;
    text.add(argv[i], cache);
    larder::LoadStats loads;
    loads.loads = 2;
    loads.load_time = std::chrono::microseconds(1'500'000'001);
    text.add(argv[i], loads);
    text.add(argv[i], larder::redis::PoolStats());
  }
  std::cout << text.str();
}
