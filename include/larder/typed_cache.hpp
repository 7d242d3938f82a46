// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base_cache.hpp"
#include "codec.hpp"
#include "detail/fwd.hpp"
#include "detail/key_text.hpp"
#include "detail/load_many.hpp"
#include "detail/load_one.hpp"
#include "detail/typed_range.hpp"
#include "error.hpp"
#include "expiry.hpp"
#include "load.hpp"
#include "statistics.hpp"
#include "version.hpp"

namespace larder {
inline namespace LARDER_ABI {

/// Keys and values of a type in any cache, each loaded once however many threads want it. All functions are
/// thread-safe; like the cache's own they throw what the cache throws, get_or_load() and get_many_or_load() apart.
///
/// It is a view: cheap to make, and to copy (a copy counts together with the original). What is known of loads belongs
/// to the cache below, so that views of one cache load a key once, too. Views whose values differ in type must not have
/// keys in common: give each a prefix, and a new one when the encoding changes ("user:v2:").
///
/// Keys: strings as they are, integers and enums as decimal text, others by Codec<Key>, which must give different bytes
/// for different keys. Values: by ValueCodec. A value that cannot be decoded is a miss.
///
/// With LoadOptions::keep_stale, a value stays in the cache for longer than it is fresh: all functions here see only
/// fresh ones, and other readers of the cache see it for the longer time. get_many() then reads one by one.
template <class Key, class Value, class ValueCodec>
class TypedCache {
 public:
  /// A view of a cache, which must outlive it. `prefix` goes before every key. Throws InvalidArgument if an option is
  /// out of range, or keep_stale is wanted of a cache that cannot tell the time.
  explicit TypedCache(BaseCache& cache, std::string prefix = {}, LoadOptions options = {})
      : TypedCache(std::shared_ptr<BaseCache>(std::shared_ptr<void>(), &cache), std::move(prefix), std::move(options)) {
  }
  /// A view of a cache that it keeps alive.
  explicit TypedCache(std::shared_ptr<BaseCache> cache, std::string prefix = {}, LoadOptions options = {})
      : state_(std::make_shared<State>(std::move(cache), std::move(prefix), std::move(options))) {}

  /// The value of a live key, or nothing.
  std::optional<Value> get(const Key& key) const {
    const detail::KeyText text(state_->prefix, key);
    const detail::Found found = read(text.text());
    return found.fresh ? decode(text.text(), *found.bytes) : std::nullopt;
  }

  /// Stores a value, in place of an earlier one and its expiry.
  void set(const Key& key, const Value& value, Expiry expires = {}) const {
    const detail::KeyText text(state_->prefix, key);
    state_->cache->set(text.text(), encode(value), adjusted(expires));
  }
  /// The same for whatever converts to a value.
  template <class V, std::enable_if_t<!std::is_same_v<V, Value>, int> = 0>
  void set(const Key& key, const V& value, Expiry expires = {}) const {
    static_assert(detail::makes_value<const V&, Value>(), "TypedCache::set: this is no value of the cache's type");
    if constexpr (detail::makes_value<const V&, Value>()) set(key, detail::make_value<Value>(value), expires);
  }

  /// Stores a value if the key is absent; true if it did. A stale value counts as absent, which is not one step.
  bool add(const Key& key, const Value& value, Expiry expires = {}) const {
    const detail::KeyText text(state_->prefix, key);
    if (keeps_stale()) {
      const detail::Found found = read(text.text());
      if (found.fresh) return false;
      const bool is_stale = found.bytes.has_value();
      if (is_stale && has_passed(expires)) return false;
      if (is_stale) state_->cache->set(text.text(), encode(value), adjusted(expires));
      if (is_stale) return true;
    }
    return state_->cache->add(text.text(), encode(value), adjusted(expires));
  }
  /// The same for whatever converts to a value.
  template <class V, std::enable_if_t<!std::is_same_v<V, Value>, int> = 0>
  bool add(const Key& key, const V& value, Expiry expires = {}) const {
    static_assert(detail::makes_value<const V&, Value>(), "TypedCache::add: this is no value of the cache's type");
    if constexpr (detail::makes_value<const V&, Value>()) return add(key, detail::make_value<Value>(value), expires);
  }

  /// Gives a live key a new expiry; false if the key is absent or stale. An expiry that has passed erases the key.
  bool touch(const Key& key, Expiry expires) const {
    const detail::KeyText text(state_->prefix, key);
    if (keeps_stale() && !read(text.text()).fresh) return false;
    return state_->cache->touch(text.text(), adjusted(expires));
  }

  /// True if the key is live.
  bool contains(const Key& key) const {
    const detail::KeyText text(state_->prefix, key);
    return keeps_stale() ? read(text.text()).fresh : state_->cache->contains(text.text());
  }

  /// Removes a key; true if it was there. A load of the key that is under way is not stored.
  bool erase(const Key& key) const {
    const detail::KeyText text(state_->prefix, key);
    return state_->cache->erase(text.text());
  }

  /// The values of many keys, in the order of the keys. `keys` is any range of what converts to a Key.
  template <class Keys>
  std::vector<std::optional<Value>> get_many(const Keys& keys) const {
    std::vector<std::optional<Value>> values;
    if constexpr (detail::is_range_of<Keys, Key>()) {
      const auto texts = detail::texts_of<Key>(state_->prefix, keys);
      if (keeps_stale()) {
        for (const auto& text : texts) {
          const detail::Found found = read(text);
          values.push_back(found.fresh ? decode(text, *found.bytes) : std::nullopt);
        }
      } else {
        const auto bytes = state_->cache->get_many(texts);
        for (std::size_t i = 0; i < texts.size(); ++i) {
          values.push_back(bytes[i] ? decode(texts[i], *bytes[i]) : std::nullopt);
        }
      }
    }
    return values;
  }
  /// The same for keys in braces.
  std::vector<std::optional<Value>> get_many(std::initializer_list<Key> keys) const {
    return get_many<std::initializer_list<Key>>(keys);
  }

  /// Stores many values with this expiry. `items` is any range of pairs (key, value).
  template <class Items>
  void set_many(const Items& items, Expiry expires = {}) const {
    if constexpr (detail::is_range_of_items<Items, Key, Value>()) {
      std::vector<std::pair<std::string, std::string>> encoded;
      for (auto&& item : items) {
        auto&& [key, value] = item;
        std::string name(detail::KeyText(state_->prefix, detail::key_of<Key>(key)).text());
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Value>) {
          encoded.emplace_back(std::move(name), encode(value));
        } else {
          encoded.emplace_back(std::move(name), encode(detail::make_value<Value>(value)));
        }
      }
      state_->cache->set_many(encoded, adjusted(expires));
    }
  }
  /// The same for pairs in braces.
  void set_many(std::initializer_list<std::pair<Key, Value>> items, Expiry expires = {}) const {
    set_many<std::initializer_list<std::pair<Key, Value>>>(items, expires);
  }

  /// Removes many keys; how many of them were there. `keys` is any range of what converts to a Key.
  template <class Keys>
  std::size_t erase_many(const Keys& keys) const {
    if constexpr (detail::is_range_of<Keys, Key>()) {
      return state_->cache->erase_many(detail::texts_of<Key>(state_->prefix, keys));
    }
  }
  /// The same for keys in braces.
  std::size_t erase_many(std::initializer_list<Key> keys) const { return erase_many<std::initializer_list<Key>>(keys); }

  /// BaseCache::get_or_load() for this key and value. `loader` is `Value loader()` or `Value
  /// loader(LoadContext<Value>&)`. What it returns is returned, and stored as ValueCodec encodes it; if that throws, it
  /// is counted, told to the observer, and not stored.
  template <class Loader>
  Value get_or_load(const Key& key, Expiry expires, Loader&& loader) const {
    static_assert(detail::is_loader<Loader, Value>,
                  "TypedCache::get_or_load needs a loader() or loader(LoadContext<Value>&) that returns a Value");
    if constexpr (detail::is_loader<Loader, Value>) {
      const detail::KeyText text(state_->prefix, key);
      detail::checked_size(text.text());
      auto load = [&](LoadContext<Value>& context) { return detail::call_loader<Value>(loader, context); };
      const auto view = state_->view();
      return detail::LoadOne<Value, ValueCodec, decltype(load)>(view, text.text(), expires, load).get();
    }
  }

  /// BaseCache::get_many_or_load() for these keys and values. `loader(const std::vector<Key>& missing)` returns a range
  /// of pairs (key, value).
  template <class Keys, class Loader>
  std::vector<std::optional<Value>> get_many_or_load(const Keys& keys, Expiry expires, Loader&& loader) const {
    static_assert(
        detail::is_batch_loader<Loader, Key, Value>,
        "TypedCache::get_many_or_load needs a loader(const std::vector<Key>&) that returns pairs (Key, Value)");
    if constexpr (detail::is_range_of<Keys, Key>() && detail::is_batch_loader<Loader, Key, Value>) {
      const auto text_of = [this](const Key& key) { return std::string(detail::KeyText(state_->prefix, key).text()); };
      using Plain = std::remove_reference_t<Loader>;
      detail::BatchLoader<Key, Value, Plain, decltype(text_of)> batch{loader, text_of};
      const auto view = state_->view();
      return detail::LoadMany<Key, Value, ValueCodec, decltype(batch)>(view, expires, batch).get(keys);
    }
  }
  /// The same for keys in braces.
  template <class Loader>
  std::vector<std::optional<Value>> get_many_or_load(std::initializer_list<Key> keys, Expiry expires,
                                                     Loader&& loader) const {
    return get_many_or_load<std::initializer_list<Key>>(keys, expires, std::forward<Loader>(loader));
  }

  /// What this view and its copies have counted.
  LoadStats stats() const { return state_->counters.stats(); }

 private:
  template <class K, class V, class C>
  friend class LoadingCache;

  struct State {
    State(std::shared_ptr<BaseCache> its_cache, std::string its_prefix, LoadOptions its_options)
        : cache(std::move(its_cache)), prefix(std::move(its_prefix)), options(std::move(its_options)) {
      if (!cache) throw InvalidArgument("TypedCache: the cache is null");
      options = detail::checked(std::move(options), *cache);
    }
    detail::LoadView view() { return {*cache, options, &counters}; }

    const std::shared_ptr<BaseCache> cache;
    const std::string prefix;
    LoadOptions options;
    detail::LoadCounters counters;
  };

  bool keeps_stale() const noexcept { return state_->options.keep_stale.count() > 0; }
  static bool has_passed(const Expiry& expires) {
    const auto left = expires.time_left();
    return left && left->count() <= 0;
  }
  Expiry adjusted(const Expiry& expires) const {
    const auto left = detail::adjusted(state_->view(), expires.time_left());
    return left ? Expiry(*left) : Expiry();
  }

  detail::Found read(std::string_view text) const {
    detail::Found found;
    detail::checked_size(text);
    if (keeps_stale()) {
      detail::look_at_entry(state_->view(), text, found);
    } else {
      found.bytes = state_->cache->get(text);
      found.fresh = found.bytes.has_value();
    }
    return found;
  }
  std::optional<Value> decode(std::string_view text, std::string_view bytes) const {
    return detail::decode<Value, ValueCodec>(state_->view(), text, bytes);
  }
  static std::string encode(const Value& value) {
    std::string bytes;
    detail::CodecFor<Value, ValueCodec>::encode(value, bytes);
    return bytes;
  }

  std::shared_ptr<State> state_;
};

}  // namespace LARDER_ABI
}  // namespace larder
