// instructions OPERATION N SOCKET NODE: an operation N times, for instructions.sh to count what one of them costs. The
// only node of a cluster is at NODE.

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <larder/larder.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const std::string key = "bench:key", absent = "bench:no", value(100, 'v');

template <class Call>
void repeat(std::size_t times, const Call& call) {
  while (times-- != 0) call();
}

template <class Cache>
void get_hit(Cache& cache, std::size_t times) {
  cache.set(key, value);
  repeat(times, [&] {
    const auto found = cache.get(key);
    if (!found || found->size() != value.size()) throw std::runtime_error("not a hit");
  });
}

void get_miss(larder::RedisCache& cache, std::size_t times) {
  cache.erase(absent);
  repeat(times, [&] {
    if (cache.get(absent)) throw std::runtime_error("not a miss");
  });
}

void run(const std::string& operation, std::size_t times, const std::string& socket, const std::string& node) {
  if (operation == "memory_hit") {
    larder::MemoryCache cache;
    return get_hit(cache, times);
  }
  larder::redis::Options options;
  options.unix_socket = socket;
  options.busy_poll = std::chrono::microseconds(0);
  options.command_timeout = std::chrono::seconds(30);
  if (operation == "cluster_hit") {
    larder::RedisCache cache(std::make_shared<larder::redis::Cluster>(std::vector<std::string>{node}, options));
    return get_hit(cache, times);
  }
  larder::RedisCache cache(std::make_shared<larder::redis::Pool>(options));
  if (operation == "get_hit") return get_hit(cache, times);
  if (operation == "get_miss") return get_miss(cache, times);
  if (operation == "set") return repeat(times, [&] { cache.set(key, value); });
  if (operation == "set_expiring") return repeat(times, [&] { cache.set(key, value, 60); });
  throw std::runtime_error("unknown operation " + operation);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) throw std::runtime_error("takes four arguments");
  run(argv[1], std::strtoul(argv[2], nullptr, 10), argv[3], argv[4]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "instructions: %s\n", error.what());
  return 1;
}
