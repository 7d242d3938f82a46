// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base_cache.hpp"
#include "error.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// The base class of decorators: each hook calls the same hook of another cache. Derive from it and override what
/// should be different; an override calls ForwardingCache::do_get(key), say, to reach the inner cache.
///
/// A decorator that changes values overrides each hook that carries them: do_get, do_get_many, do_get_entry, do_set,
/// do_add and do_set_many. One that changes keys overrides every hook.
class ForwardingCache : public BaseCache {
 public:
  /// Forwards to a cache that must outlive this one.
  explicit ForwardingCache(BaseCache& inner) noexcept : inner_(std::shared_ptr<BaseCache>(), &inner) {
    share_loads(false);
  }

  /// Forwards to a cache that it keeps alive. Throws InvalidArgument if it is null.
  explicit ForwardingCache(std::shared_ptr<BaseCache> inner) : inner_(std::move(inner)) {
    if (!inner_) throw InvalidArgument("ForwardingCache: the inner cache is null");
    share_loads(false);
  }

  /// A decorator over a decorator, which must outlive this one: not a copy.
  explicit ForwardingCache(ForwardingCache& inner) noexcept : ForwardingCache(static_cast<BaseCache&>(inner)) {}

 protected:
  /// The cache that the hooks forward to.
  BaseCache& inner() const noexcept { return *inner_; }

  std::optional<std::string> do_get(std::string_view key) override { return inner_->do_get(key); }
  std::optional<Entry> do_get_entry(std::string_view key) override { return inner_->do_get_entry(key); }
  void do_set(std::string_view key, std::string_view value, Ttl ttl) override { inner_->do_set(key, value, ttl); }
  bool do_add(std::string_view key, std::string_view value, Ttl ttl) override {
    return inner_->do_add(key, value, ttl);
  }
  bool do_touch(std::string_view key, Ttl ttl) override { return inner_->do_touch(key, ttl); }
  bool do_erase(std::string_view key) override { return inner_->do_erase(key); }
  void do_clear() override { inner_->do_clear(); }
  bool do_contains(std::string_view key) override { return inner_->do_contains(key); }
  void do_close() override { inner_->do_close(); }
  void do_get_many(const std::vector<std::string_view>& keys,
                   std::vector<std::optional<std::string>>& values) override {
    inner_->do_get_many(keys, values);
  }
  void do_set_many(const std::vector<Item>& items, Ttl ttl) override { inner_->do_set_many(items, ttl); }
  std::size_t do_erase_many(const std::vector<std::string_view>& keys) override { return inner_->do_erase_many(keys); }
  bool do_tells_time() const noexcept override { return inner_->do_tells_time(); }
  std::uint64_t do_hidden_failures() const noexcept override { return inner_->do_hidden_failures(); }

 private:
  friend class FailOpenCache;

  // `transparent`: keys and values are those of the inner cache.
  void share_loads(bool transparent) noexcept { loads_.share(inner_->loads_, transparent); }

  const std::shared_ptr<BaseCache> inner_;
};

}  // namespace LARDER_ABI
}  // namespace larder
