// tls_bench PORT TLS_PORT CA_FILE: 100-byte gets over TLS against plain ones of the same server, in turns. For each
// number of threads a line: threads, TLS : plain (median, least, most), calls a second over TLS, and plain.

#include <cstdio>
#include <cstdlib>
#include <larder/redis/tls.hpp>
#include <larder/redis_cache.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "measure.hpp"

namespace {

using benchmarks::Sample;

std::shared_ptr<larder::RedisCache> cache_of(const std::string& url) {
  auto cache = std::make_shared<larder::RedisCache>(url + "command_timeout=10s");
  for (int i = 0; i < 1000; ++i) cache->set("key:" + std::to_string(i), std::string(100, 'v'));
  return cache;
}

Sample sample_of(const std::shared_ptr<larder::RedisCache>& cache, unsigned threads) {
  benchmarks::Latencies latencies;
  const auto session = [&]() -> benchmarks::Call {
    return [cache](std::size_t number) {
      if (!cache->get("key:" + std::to_string(number % 1000))) throw std::runtime_error("a miss");
    };
  };
  return benchmarks::measure(session, threads, benchmarks::Seconds(0.25), latencies);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto plain = cache_of("redis://127.0.0.1:" + std::string(argv[1]) + "?");
  const auto tls = cache_of("rediss://127.0.0.1:" + std::string(argv[2]) + "?tls_ca_file=" + argv[3] + "&");
  for (const unsigned threads : {1U, 4U, 16U, 64U}) {
    benchmarks::Result with{"TLS", {}, {}}, without{"plain", {}, {}};
    for (int repeat = 0; repeat < 9; ++repeat) {
      without.samples.push_back(sample_of(plain, threads));
      with.samples.push_back(sample_of(tls, threads));
    }
    const auto ratio = benchmarks::ratio_of(with, without, &Sample::calls_per_second);
    std::printf("%u %.2f %.2f %.2f %.0f %.0f\n", threads, ratio.median, ratio.least, ratio.most,
                benchmarks::spread_of(with, &Sample::calls_per_second).median,
                benchmarks::spread_of(without, &Sample::calls_per_second).median);
  }
}
