#include "cache_contract.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <larder/forwarding_cache.hpp>
#include <larder/memory_cache.hpp>
#include <larder/redis_cache.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "../examples/directory_cache.hpp"
#include "support/catch.hpp"
#include "support/shared_redis.hpp"

using larder::BaseCache;
using larder::testing::Subject;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

class InMemory : public Subject {
 public:
  BaseCache& cache() override { return cache_; }

  // Looks for the moment at which the key is gone.
  std::optional<milliseconds> time_left(std::string_view key) override {
    std::int64_t live = 0, gone = std::int64_t{24} * 3600 * 1000 * 365 * 200;
    const auto lives_for = [&](std::int64_t time) {
      ahead_ = milliseconds(time);
      const bool lives = cache_.contains(key);
      ahead_ = milliseconds(0);
      return lives;
    };
    if (!lives_for(0)) throw std::runtime_error("the key is not there");
    if (lives_for(gone)) return std::nullopt;
    while (gone - live > 1) (lives_for(live + (gone - live) / 2) ? live : gone) = live + (gone - live) / 2;
    return milliseconds(gone);
  }

 private:
  static steady_clock::time_point now() { return steady_clock::now() + ahead_; }
  static larder::MemoryCache::Options options() {
    larder::MemoryCache::Options options;
    options.now = now;
    return options;
  }

  static inline milliseconds ahead_{};
  larder::MemoryCache cache_{options()};
};

class BehindDecorators : public InMemory {
 public:
  BaseCache& cache() override { return outer_; }

 private:
  larder::ForwardingCache inner_{InMemory::cache()};
  larder::ForwardingCache outer_{inner_};
};

/// Database 1 of the test server, as another client sees it.
class InRedis : public Subject {
 public:
  explicit InRedis(std::string prefix) : prefix_(std::move(prefix)) { probe_("FLUSHDB"); }

  std::optional<milliseconds> time_left(std::string_view key) override {
    const long long left = probe_.integer("PTTL", prefix_ + std::string(key));
    if (left == -2) throw std::runtime_error("the key is not there");
    if (left == -1) return std::nullopt;
    return milliseconds(left);
  }

 private:
  const std::string prefix_;
  larder::testing::Probe probe_{larder::testing::shared_redis(), 1};
};

const std::string url_of_database_1 = "db=1&command_timeout=60s";

class OverPool : public InRedis {
 public:
  explicit OverPool(const std::string& prefix = {})
      : InRedis(prefix), cache_(larder::testing::redis_url(url_of_database_1), prefix) {}
  BaseCache& cache() override { return cache_; }

 private:
  larder::RedisCache cache_;
};

struct WithHostilePrefix : OverPool {
  WithHostilePrefix() : OverPool(R"(a*b[c]?\\:)") {}
};

class OverBorrowedContext : public InRedis {
 public:
  OverBorrowedContext() : InRedis("borrowed:") {}
  BaseCache& cache() override { return cache_; }

 private:
  static larder::testing::Context connect() {
    auto context = larder::testing::connect(larder::testing::shared_redis());
    redisSetTimeout(context.get(), {60, 0});
    larder::testing::ask(*context, {"SELECT", "1"});
    return context;
  }

  const larder::testing::Context context_ = connect();
  larder::RedisCache cache_{context_.get(), "borrowed:"};
};

class InDirectory : public Subject {
 public:
  ~InDirectory() override { std::filesystem::remove_all(directory_); }
  BaseCache& cache() override { return cache_; }

  // The time of the file that begins with the key. File names end with the length of the key.
  std::optional<milliseconds> time_left(std::string_view key) override {
    using Clock = std::filesystem::file_time_type::clock;
    const std::string end = '-' + std::to_string(key.size()) + ".entry";
    for (const auto& file : std::filesystem::directory_iterator(directory_)) {
      const std::string name = file.path().filename().string();
      if (name.size() < end.size() || name.substr(name.size() - end.size()) != end) continue;
      std::string begin(key.size(), '\0');
      std::ifstream(file.path(), std::ios::binary).read(begin.data(), static_cast<std::streamsize>(key.size()));
      if (begin == key) return std::chrono::ceil<milliseconds>(file.last_write_time() - Clock::now());
    }
    throw std::runtime_error("the key is not there");
  }

 private:
  // In memory where that is large enough: many files take long on a disk.
  static std::filesystem::path directory() {
    std::error_code absent;
    const auto memory = std::filesystem::space("/dev/shm", absent);
    const bool use_memory = !absent && memory.available > std::uintmax_t{2} << 30;
    const auto parent = use_memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path();
    return parent / ("larder-" + std::to_string(getpid()));
  }

  const std::filesystem::path directory_ = directory();
  DirectoryCache cache_{directory_};
};

}  // namespace

TEMPLATE_TEST_CASE("a cache keeps the contract of BaseCache", "", InMemory, BehindDecorators, OverPool,
                   WithHostilePrefix, OverBorrowedContext, InDirectory) {
  TestType subject;
  check_contract(subject);
}
