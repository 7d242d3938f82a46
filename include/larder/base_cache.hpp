// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "detail/batch.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// A cache of byte strings by byte strings: any bytes, the empty string too. Every implementation is thread-safe.
///
/// To write one, derive from this class and define the private do_* functions that have no body here, as
/// examples/directory_cache.hpp does. They are called with an expiry of at least a millisecond, or none.
class BaseCache {
 public:
  /// No key and no value may be longer: 512 MiB.
  static constexpr std::size_t max_length = detail::max_length;

  /// A value, and how long it is still kept.
  struct Entry {
    std::string value;  ///< any bytes
    /// None: this cache cannot tell. milliseconds::max(): it never expires.
    std::optional<std::chrono::milliseconds> time_left;
  };

  BaseCache(const BaseCache&) = delete;
  BaseCache& operator=(const BaseCache&) = delete;
  virtual ~BaseCache() = default;

  /// The value of a live key, or nothing. A value of no bytes is a value.
  std::optional<std::string> get(std::string_view key) {
    detail::checked_size(key);
    return do_get(key);
  }

  /// The value of a live key and the time it has left, or nothing.
  std::optional<Entry> get_entry(std::string_view key) {
    detail::checked_size(key);
    return do_get_entry(key);
  }

  /// Stores a value, in place of an earlier one and its expiry. An expiry that has passed leaves the key absent.
  void set(std::string_view key, std::string_view value, Expiry expires = {}) {
    detail::checked_size(key);
    detail::checked_size(value);
    const auto left = expires.time_left();
    if (has_passed(left)) {
      do_erase(key);
    } else {
      do_set(key, value, left);
    }
  }

  /// Stores a value if the key is absent, atomically; true if it did. An expiry that has
  /// passed stores nothing.
  bool add(std::string_view key, std::string_view value, Expiry expires = {}) {
    detail::checked_size(key);
    detail::checked_size(value);
    const auto left = expires.time_left();
    return !has_passed(left) && do_add(key, value, left);
  }

  /// Gives a live key a new expiry; false if the key is absent. An expiry that has passed erases the key.
  bool touch(std::string_view key, Expiry expires) {
    detail::checked_size(key);
    const auto left = expires.time_left();
    return has_passed(left) ? do_erase(key) : do_touch(key, left);
  }

  /// True if the key is live.
  bool contains(std::string_view key) {
    detail::checked_size(key);
    return do_contains(key);
  }

  /// Removes a key; true if it was live.
  bool erase(std::string_view key) {
    detail::checked_size(key);
    return do_erase(key);
  }

  /// Removes every key of this cache. Keys written meanwhile may stay.
  void clear() { do_clear(); }

  /// Does nothing, unless the implementation says otherwise.
  void close() { do_close(); }

  /// The values of many keys, in the order of the keys; a key may be there more than once. `keys` is any range of
  /// things that convert to std::string_view. Like the other batches, it is carried out in pieces of at most
  /// `piece_items` items.
  template <class Keys>
  std::vector<std::optional<std::string>> get_many(const Keys& keys) {
    std::vector<std::optional<std::string>> values;
    detail::for_each_piece<std::string_view>(
        keys, [&](const std::vector<std::string_view>& piece) { do_get_many(piece, values); });
    return values;
  }
  /// The same for keys in braces.
  std::vector<std::optional<std::string>> get_many(std::initializer_list<std::string_view> keys) {
    return get_many<std::initializer_list<std::string_view>>(keys);
  }

  /// Stores many values, each with this expiry, which is computed once. `items` is any range of pairs (key, value) that
  /// convert to std::string_view; of equal keys the last one stays. Not one step: other callers may see a part of it.
  template <class Items>
  void set_many(const Items& items, Expiry expires = {}) {
    const auto left = expires.time_left();
    detail::for_each_piece<Item>(items, [&](const std::vector<Item>& piece) {
      if (has_passed(left)) {
        std::vector<std::string_view> keys;
        for (const Item& item : piece) keys.push_back(item.first);
        do_erase_many(keys);
      } else {
        do_set_many(piece, left);
      }
    });
  }
  /// The same for pairs in braces.
  void set_many(std::initializer_list<std::pair<std::string_view, std::string_view>> items, Expiry expires = {}) {
    set_many<std::initializer_list<Item>>(items, expires);
  }

  /// Removes many keys; how many of them were live. `keys` is any range of things that convert to std::string_view.
  template <class Keys>
  std::size_t erase_many(const Keys& keys) {
    std::size_t erased = 0;
    detail::for_each_piece<std::string_view>(
        keys, [&](const std::vector<std::string_view>& piece) { erased += do_erase_many(piece); });
    return erased;
  }
  /// The same for keys in braces.
  std::size_t erase_many(std::initializer_list<std::string_view> keys) {
    return erase_many<std::initializer_list<std::string_view>>(keys);
  }

 protected:
  /// How long a key is to live: at least 1 ms, or none: for ever.
  using Ttl = std::optional<std::chrono::milliseconds>;
  /// A key and its value.
  using Item = detail::Item;

  /// The most items that a batch hook gets.
  static constexpr std::size_t piece_items = detail::piece_items;
  /// A batch hook gets no more items once their keys and values have this many bytes together.
  static constexpr std::size_t piece_bytes = detail::piece_bytes;

  BaseCache() = default;

 private:
  friend class ForwardingCache;

  virtual std::optional<std::string> do_get(std::string_view key) = 0;
  virtual void do_set(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_add(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_touch(std::string_view key, Ttl ttl) = 0;
  virtual bool do_erase(std::string_view key) = 0;
  virtual void do_clear() = 0;

  // Whether do_get_entry() tells the time left.
  virtual bool do_tells_time() const noexcept { return false; }
  virtual std::optional<Entry> do_get_entry(std::string_view key) {
    auto value = do_get(key);
    return value ? std::optional<Entry>({std::move(*value), std::nullopt}) : std::nullopt;
  }
  virtual bool do_contains(std::string_view key) { return do_get(key).has_value(); }
  virtual void do_close() {}
  virtual void do_get_many(const std::vector<std::string_view>& keys, std::vector<std::optional<std::string>>& values) {
    for (const auto key : keys) values.push_back(do_get(key));  // appends one value a key
  }
  virtual void do_set_many(const std::vector<Item>& items, Ttl ttl) {
    for (const auto& [key, value] : items) do_set(key, value, ttl);
  }
  virtual std::size_t do_erase_many(const std::vector<std::string_view>& keys) {
    std::size_t erased = 0;
    for (const auto key : keys) erased += do_erase(key) ? 1U : 0U;
    return erased;
  }

  static bool has_passed(Ttl left) noexcept { return left && left->count() <= 0; }
};

}  // namespace LARDER_ABI
}  // namespace larder
