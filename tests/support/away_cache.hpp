#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <larder/base_cache.hpp>
#include <larder/error.hpp>
#include <larder/forwarding_cache.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace larder::testing {

/// Throws what it is told to in place of each command, and counts the commands.
class AwayCache : public ForwardingCache {
 public:
  explicit AwayCache(BaseCache& inner) : ForwardingCache(inner) {}
  std::atomic<int> calls{0}, writes{0};
  std::atomic<int> repairs{0};  // erase_many(), which are no writes

  void fail_with(std::function<void()> fail) {
    const std::lock_guard<std::mutex> hold(mutex_);
    fail_ = std::move(fail);
  }
  void be_away() {
    fail_with([] { throw larder::ConnectionError("away"); });
  }
  void be_back() { fail_with({}); }

 private:
  void command(bool write = false) {
    ++calls;
    writes += write ? 1 : 0;
    std::function<void()> fail;
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      fail = fail_;
    }
    if (fail) fail();
  }

  std::optional<std::string> do_get(std::string_view key) override {
    command();
    return ForwardingCache::do_get(key);
  }
  std::optional<Entry> do_get_entry(std::string_view key) override {
    command();
    return ForwardingCache::do_get_entry(key);
  }
  bool do_contains(std::string_view key) override {
    command();
    return ForwardingCache::do_contains(key);
  }
  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    command();
    ForwardingCache::do_get_many(keys, values);
  }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override {
    command(true);
    ForwardingCache::do_set(key, value, ttl);
  }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    command(true);
    return ForwardingCache::do_add(key, value, ttl);
  }
  bool do_touch(std::string_view key, Ttl ttl) override {
    command(true);
    return ForwardingCache::do_touch(key, ttl);
  }
  bool do_erase(std::string_view key) override {
    command(true);
    return ForwardingCache::do_erase(key);
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override {
    command(true);
    ForwardingCache::do_set_many(items, ttl);
  }
  std::size_t do_erase_many(const std::vector<std::string_view>& keys) override {
    ++repairs;
    command();
    return ForwardingCache::do_erase_many(keys);
  }
  void do_clear() override {
    command(true);
    ForwardingCache::do_clear();
  }

  std::mutex mutex_;
  std::function<void()> fail_;
};

}  // namespace larder::testing
