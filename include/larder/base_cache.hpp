#pragma once

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "error.hpp"
#include "expiry.hpp"

namespace larder {

/// A cache of byte strings by byte strings: any bytes, the empty string too. Every implementation is thread-safe.
///
/// To write one, derive from this class and define the private do_* functions that have no body here, as
/// examples/directory_cache.hpp does. They are called with an expiry of at least a millisecond, or none.
class BaseCache {
 public:
  /// No key and no value may be longer: 512 MiB.
  static constexpr std::size_t max_length = std::size_t{512} * 1024 * 1024;

  BaseCache(const BaseCache&) = delete;
  BaseCache& operator=(const BaseCache&) = delete;
  virtual ~BaseCache() = default;

  /// The value of a live key, or nothing. A value of no bytes is a value.
  std::optional<std::string> get(std::string_view key) {
    check_length(key);
    return do_get(key);
  }

  /// Stores a value, in place of an earlier one and its expiry. An expiry that has passed leaves the key absent.
  void set(std::string_view key, std::string_view value, Expiry expires = {}) {
    check_length(key);
    check_length(value);
    const auto left = expires.time_left();
    if (has_passed(left)) {
      do_erase(key);
    } else {
      do_set(key, value, left);
    }
  }

  /// Stores a value if the key is absent, as one step beside all other callers; true if it did. An expiry that has
  /// passed stores nothing.
  bool add(std::string_view key, std::string_view value, Expiry expires = {}) {
    check_length(key);
    check_length(value);
    const auto left = expires.time_left();
    return !has_passed(left) && do_add(key, value, left);
  }

  /// Gives a live key a new expiry; false if the key is absent. An expiry that has passed erases the key.
  bool touch(std::string_view key, Expiry expires) {
    check_length(key);
    const auto left = expires.time_left();
    return has_passed(left) ? do_erase(key) : do_touch(key, left);
  }

  /// True if the key is live.
  bool contains(std::string_view key) {
    check_length(key);
    return do_contains(key);
  }

  /// Removes a key; true if it was live.
  bool erase(std::string_view key) {
    check_length(key);
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
    for_each_piece<std::string_view>(keys,
                                     [&](const std::vector<std::string_view>& piece) { do_get_many(piece, values); });
    return values;
  }
  /// The same for keys in braces.
  std::vector<std::optional<std::string>> get_many(std::initializer_list<std::string_view> keys) {
    return get_many<std::initializer_list<std::string_view>>(keys);
  }

  /// Stores many values, each with this expiry, which is reckoned once. `items` is any range of pairs (key, value) that
  /// convert to std::string_view; of equal keys the last one stays. Not one step: other callers may see a part of it.
  template <class Items>
  void set_many(const Items& items, Expiry expires = {}) {
    const auto left = expires.time_left();
    for_each_piece<Item>(items, [&](const std::vector<Item>& piece) {
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
    for_each_piece<std::string_view>(
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
  using Item = std::pair<std::string_view, std::string_view>;

  /// A batch hook gets at most so many items,
  static constexpr std::size_t piece_items = 1024;
  /// and no more once their text is so many bytes long.
  static constexpr std::size_t piece_bytes = std::size_t{1} << 20;

  BaseCache() = default;

 private:
  virtual std::optional<std::string> do_get(std::string_view key) = 0;
  virtual void do_set(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_add(std::string_view key, std::string_view value, Ttl ttl) = 0;
  virtual bool do_touch(std::string_view key, Ttl ttl) = 0;
  virtual bool do_erase(std::string_view key) = 0;
  virtual void do_clear() = 0;

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

  static void check_length(std::string_view text) {
    if (text.size() > max_length) throw_too_long(text.size());
  }
  [[noreturn]] static void throw_too_long(std::size_t size) {
    throw InvalidArgument("a key or value of " + std::to_string(size) + " bytes is over the limit of 512 MiB");
  }

  // Whether a range can be walked again, so that what its iterators refer to stays while it is walked.
  template <class Iterator, class = void>
  struct IsMultipass : std::false_type {};
  template <class Iterator>
  struct IsMultipass<Iterator, std::void_t<typename std::iterator_traits<Iterator>::iterator_category>>
      : std::is_base_of<std::forward_iterator_tag, typename std::iterator_traits<Iterator>::iterator_category> {};

  // The texts of one piece of a batch: views of what stays, copies of what does not.
  template <class Iterator>
  class Texts {
   public:
    static constexpr bool elements_stay =
        IsMultipass<Iterator>::value && std::is_lvalue_reference_v<decltype(*std::declval<Iterator&>())>;

    template <class Text>
    std::string_view hold(const Text& text) {
      using T = std::decay_t<Text>;
      constexpr bool is_view = std::is_same_v<T, std::string_view> || std::is_pointer_v<T>;
      if constexpr (elements_stay || (is_view && IsMultipass<Iterator>::value)) {
        return text;
      } else {
        if (copies_.capacity() == 0) copies_.reserve(2 * piece_items);  // views of its elements are handed out
        return copies_.emplace_back(std::string_view(text));
      }
    }
    void clear() { copies_.clear(); }

   private:
    std::vector<std::string> copies_;
  };

  template <class Texts, class Text>
  static void hold(Texts& texts, const Text& key, std::string_view& view) {
    view = texts.hold(key);
  }
  template <class Texts, class Pair>
  static void hold(Texts& texts, const Pair& pair, Item& item) {
    const auto& [key, value] = pair;
    item = {texts.hold(key), texts.hold(value)};
  }
  static std::size_t checked_size(std::string_view key) {
    check_length(key);
    return key.size();
  }
  static std::size_t checked_size(const Item& item) { return checked_size(item.first) + checked_size(item.second); }

  // Walks a range in pieces of bounded size, so that a batch of any length needs the same memory.
  template <class Element, class Range, class Visit>
  static void for_each_piece(const Range& range, Visit visit) {
    using std::begin;
    using std::end;
    Texts<decltype(begin(range))> texts;
    Element element;
    if constexpr (decltype(texts)::elements_stay) {  // bad input is refused before anything is done
      for (const auto& source : range) {
        hold(texts, source, element);
        checked_size(element);
      }
    }
    std::vector<Element> piece;
    std::size_t bytes = 0, done = 0;
    const auto flush = [&] {
      if (piece.empty()) return;
      try {
        visit(piece);
      } catch (const BatchError& error) {
        if (done == 0) throw;
        auto refusals = error.refusals();
        for (auto& refusal : refusals) refusal.index += done;
        throw BatchError(std::move(refusals), done + error.sent());
      }
      done += piece.size();
      bytes = 0;
      piece.clear();
      texts.clear();
    };
    for (auto&& source : range) {
      hold(texts, source, element);
      bytes += checked_size(element);
      piece.push_back(element);
      if (piece.size() == piece_items || bytes >= piece_bytes) flush();
    }
    flush();
  }
};

}  // namespace larder
