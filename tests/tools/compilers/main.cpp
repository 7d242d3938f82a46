#include <cstddef>
#include <cstdio>
#include <exception>

#include "calls.hpp"

// A back end with no more than it must have.
class MapCache : public larder::BaseCache {
  std::optional<std::string> do_get(std::string_view key) override {
    const auto found = map_.find(key);
    return found == map_.end() ? std::nullopt : std::optional<std::string>(found->second);
  }
  void do_set(std::string_view key, std::string_view value, Ttl) override { map_[std::string(key)] = value; }
  bool do_add(std::string_view key, std::string_view value, Ttl) override { return map_.emplace(key, value).second; }
  bool do_touch(std::string_view key, Ttl) override { return map_.find(key) != map_.end(); }
  bool do_erase(std::string_view key) override { return map_.erase(std::string(key)) != 0; }
  void do_clear() override { map_.clear(); }

  std::map<std::string, std::string, std::less<>> map_;
};

void program::use_memory() {
  larder::MemoryCache cache;
  make_every_call(cache);
  larder::MemoryCache::Options options;
  options.max_bytes = std::size_t{1} << 22;
  options.shards = 2;
  options.now = &std::chrono::steady_clock::now;
  larder::MemoryCache two_shards(options);
  make_every_call(two_shards);
  MapCache map_cache;
  make_every_call(map_cache);

  cache.set("key", "value");
  cache.set("key", "value", 0);
  require(!cache.get("key"), "an expiry that has passed");
  require(!larder::Expiry().time_left() && larder::Expiry(-1).time_left()->count() == 0, "time_left");
  options.shards = 0;
  message_of<larder::InvalidArgument>([&] { larder::MemoryCache refused(options); });
}

// The arguments: the URL of a Redis, and a prefix for the keys.
int main(int, char** arguments) try {
  program::use_memory();
  program::use_redis(arguments[1], arguments[2]);
  std::printf("larder %d.%d.%d\n", LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
