// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/batch.hpp"
#include "detail/cache_hooks.hpp"
#include "detail/cache_loads.hpp"
#include "detail/load_many.hpp"
#include "detail/load_one.hpp"
#include "detail/loader.hpp"
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
  [[nodiscard]] std::optional<Entry> get_entry(std::string_view key) {
    detail::checked_size(key);
    return do_get_entry(key);
  }

  /// Stores a value, in place of an earlier one and its expiry. An expiry that has passed leaves the key absent.
  void set(std::string_view key, std::string_view value, Expiry expires = {}) {
    detail::checked_size(key);
    detail::checked_size(value);
    const auto left = expires.time_left();
    const auto begun = loads_.begin_change(key);
    if (has_passed(left)) {
      do_erase(key);
    } else {
      do_set(key, value, left);
      end_change(key, begun);
    }
  }

  template <class Key, class Value, std::enable_if_t<!detail::is_text<Key> || !detail::is_text<Value>, int> = 0>
  void set(Key&&, Value&&, Expiry = {}) = delete;  // keys and values are strings: std::to_string(42), say

  /// Stores a value if the key is absent, atomically; true if it did. An expiry that has passed stores nothing.
  bool add(std::string_view key, std::string_view value, Expiry expires = {}) {
    detail::checked_size(key);
    detail::checked_size(value);
    const auto left = expires.time_left();
    if (has_passed(left)) return false;
    const auto begun = loads_.begin_change(key);
    const bool added = do_add(key, value, left);
    if (added) end_change(key, begun);
    return added;
  }

  template <class Key, class Value, std::enable_if_t<!detail::is_text<Key> || !detail::is_text<Value>, int> = 0>
  bool add(Key&&, Value&&, Expiry = {}) = delete;  // keys and values are strings: std::to_string(42), say

  /// Gives a live key a new expiry; false if the key is absent. An expiry that has passed erases the key.
  bool touch(std::string_view key, Expiry expires) {
    detail::checked_size(key);
    const auto left = expires.time_left();
    const auto begun = loads_.begin_change(key);
    if (has_passed(left)) return do_erase(key);
    const bool touched = do_touch(key, left);
    if (touched) end_change(key, begun);
    return touched;
  }

  /// True if the key is live.
  [[nodiscard]] bool contains(std::string_view key) {
    detail::checked_size(key);
    return do_contains(key);
  }

  /// Removes a key; true if it was live.
  bool erase(std::string_view key) {
    detail::checked_size(key);
    loads_.begin_change(key);
    return do_erase(key);
  }

  /// Removes every key of this cache. Keys written meanwhile may stay.
  void clear() {
    loads_.begin_clear();
    do_clear();
  }

  /// Does nothing, unless the implementation says otherwise.
  void close() { do_close(); }

  /// The value of a live key, or what `loader` returns, which is stored with this expiry. `loader` is
  /// `std::string loader()` or `std::string loader(LoadContext<std::string>&)`; what it returns may be anything that
  /// converts to a std::string or a std::string_view. It runs in this thread, before this function returns.
  ///
  /// Of all the threads that want a key at the same time, through this object or a decorator of it, one loads, and the
  /// others wait for it: not longer than LoadOptions::max_wait, then one of them loads as well. What the loader throws
  /// is thrown to all who wait, and the next call loads again; of LoadCancelled see there. A loader may load other
  /// keys, and the same one.
  ///
  /// The expiry counts from the call of the loader. A change of the key during the load (set, add, touch, erase, clear)
  /// through this object or a decorator of it wins: what was loaded is returned, and not stored. A cache that fails is
  /// as one that does not have the key, and nothing is stored then: of the cache's errors only InvalidArgument is
  /// thrown.
  template <class Loader>
  std::string get_or_load(std::string_view key, Expiry expires, Loader&& loader) {
    static_assert(detail::is_loader<Loader, std::string>,
                  "get_or_load needs a loader() or loader(LoadContext<std::string>&) that returns a string");
    if constexpr (detail::is_loader<Loader, std::string>) {
      detail::checked_size(key);
      return detail::get_or_load<std::string>(*this, key, expires, loader);
    }
  }

  /// The values of many keys, in the order of the keys, as get_or_load() gives them: all are read with one batch, one
  /// call of the loader loads those that are missing and that no other thread loads, and one batch stores them.
  /// `loader(const std::vector<std::string>& missing)` returns a range of pairs (key, value) in any order; a key that
  /// it leaves out is nothing, and not stored; pairs that were not asked for are ignored.
  template <class Keys, class Loader>
  std::vector<std::optional<std::string>> get_many_or_load(const Keys& keys, Expiry expires, Loader&& loader) {
    static_assert(detail::is_batch_loader<Loader, std::string, std::string>,
                  "get_many_or_load needs a loader(const std::vector<std::string>&) that returns pairs of strings");
    if constexpr (detail::is_batch_loader<Loader, std::string, std::string>) {
      return detail::get_many_or_load(*this, keys, expires, loader);
    }
  }
  /// The same for keys in braces.
  template <class Loader>
  std::vector<std::optional<std::string>> get_many_or_load(std::initializer_list<std::string_view> keys, Expiry expires,
                                                           Loader&& loader) {
    return get_many_or_load<std::initializer_list<std::string_view>>(keys, expires, std::forward<Loader>(loader));
  }

  /// The values of many keys, in the order of the keys; a key may be there more than once. `keys` is any range of
  /// things that convert to std::string_view. Like the other batches, it is carried out in pieces of at most
  /// `piece_items` items; an item that is refused does not hinder the others, and one BatchError at the end tells of
  /// all.
  template <class Keys>
  std::vector<std::optional<std::string>> get_many(Keys&& keys) {
    static_assert(detail::is_keys<Keys>, "get_many takes a range of keys, which are strings");
    if constexpr (detail::is_keys<Keys>) return read_many(keys);
  }
  /// The same for keys in braces.
  std::vector<std::optional<std::string>> get_many(std::initializer_list<std::string_view> keys) {
    return read_many(keys);
  }
  template <class T, std::enable_if_t<!detail::is_text<const T&>, int> = 0>
  void get_many(std::initializer_list<T>) = delete;  // keys are strings

  /// Stores many values, each with this expiry, which is computed once. `items` is any range of pairs (key, value) that
  /// convert to std::string_view; of equal keys the last one stays. Not one step: other callers may see a part of it.
  template <class Items>
  void set_many(Items&& items, Expiry expires = {}) {
    static_assert(detail::is_items<Items>, "set_many takes a range of pairs of strings, as a map is");
    if constexpr (detail::is_items<Items>) store_many(items, expires);
  }
  /// The same for pairs in braces.
  void set_many(std::initializer_list<detail::BracedItem> items, Expiry expires = {}) { store_many(items, expires); }

  /// Removes many keys; how many of them were live. `keys` is any range of things that convert to std::string_view.
  template <class Keys>
  std::size_t erase_many(Keys&& keys) {
    static_assert(detail::is_keys<Keys>, "erase_many takes a range of keys, which are strings");
    if constexpr (detail::is_keys<Keys>) return remove_many(keys);
  }
  /// The same for keys in braces.
  std::size_t erase_many(std::initializer_list<std::string_view> keys) { return remove_many(keys); }
  template <class T, std::enable_if_t<!detail::is_text<const T&>, int> = 0>
  void erase_many(std::initializer_list<T>) = delete;  // keys are strings

 protected:
  /// How long a key is to live: at least 1 ms, or none: forever.
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
  friend struct detail::CacheHooks;

  virtual std::optional<std::string> do_get(std::string_view key) = 0;
  virtual void do_set(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_add(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_touch(std::string_view key, Ttl ttl) = 0;
  virtual bool do_erase(std::string_view key) = 0;
  virtual void do_clear() = 0;

  // Whether do_get_entry() tells the time left.
  virtual bool do_tells_time() const noexcept { return false; }
  // How many failures this object has hidden from its callers until now: a miss during which it rose may be none.
  virtual std::uint64_t do_hidden_failures() const noexcept { return 0; }
  virtual std::optional<Entry> do_get_entry(std::string_view key) {
    auto value = do_get(key);
    return value ? std::optional<Entry>({std::move(*value), std::nullopt}) : std::nullopt;
  }
  virtual bool do_contains(std::string_view key) { return do_get(key).has_value(); }
  virtual void do_close() {}
  // Appends one value a key, also if it throws BatchError.
  virtual void do_get_many(const std::vector<std::string_view>& keys, std::vector<std::optional<std::string>>& values) {
    for (const auto key : keys) values.push_back(do_get(key));
  }
  virtual void do_set_many(const std::vector<Item>& items, Ttl ttl) {
    for (const auto& [key, value] : items) do_set(key, value, ttl);
  }
  virtual std::size_t do_erase_many(const std::vector<std::string_view>& keys) {
    std::size_t erased = 0;
    for (const auto key : keys) erased += do_erase(key) ? 1U : 0U;
    return erased;
  }

  void end_change(std::string_view key, std::uint64_t begun) {
    loads_.end_change(key, begun, [this](std::string_view changed) { do_erase(changed); });
  }

  template <class Keys>
  std::vector<std::optional<std::string>> read_many(Keys& keys) {
    std::vector<std::optional<std::string>> values;
    detail::read_pieces(keys, values, [this](const auto& piece, auto& read) { do_get_many(piece, read); });
    return values;
  }

  template <class Items>
  void store_many(Items& items, Expiry expires) {
    const auto left = expires.time_left();
    auto refused = detail::for_each_piece<Item>(items, [&](const std::vector<Item>& piece) {
      const auto begun = loads_.begin_changes(piece);
      if (has_passed(left)) {
        do_erase_many(detail::keys_of(piece));
      } else {
        do_set_many(piece, left);
        loads_.end_changes(piece, begun, [this](std::string_view key) { do_erase(key); });
      }
    });
    refused.throw_if_any();
  }

  template <class Keys>
  std::size_t remove_many(Keys& keys) {
    std::size_t erased = 0;
    auto refused = detail::for_each_piece<std::string_view>(keys, [&](const std::vector<std::string_view>& piece) {
      loads_.begin_changes(piece);
      erased += do_erase_many(piece);
    });
    refused.throw_if_any();
    return erased;
  }

  static bool has_passed(Ttl left) noexcept { return left && left->count() <= 0; }

  detail::CacheLoads loads_;
};

}  // namespace LARDER_ABI
}  // namespace larder

#include "detail/cache_hooks_definitions.hpp"
