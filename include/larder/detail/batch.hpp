// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../error.hpp"
#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// No key and no value may be longer.
constexpr std::size_t max_length = std::size_t{512} * 1024 * 1024;
// The most items of a piece of a batch.
constexpr std::size_t piece_items = 1024;
// A piece ends when its keys and values have this many bytes together.
constexpr std::size_t piece_bytes = std::size_t{1} << 20;

// A key and its value.
using Item = std::pair<std::string_view, std::string_view>;

inline std::vector<std::string_view> keys_of(const std::vector<Item>& items) {
  std::vector<std::string_view> keys;
  keys.reserve(items.size());
  for (const Item& item : items) keys.push_back(item.first);
  return keys;
}

[[noreturn]] inline void throw_too_long(std::size_t size) {
  throw InvalidArgument("a key or value of " + std::to_string(size) + " bytes is over the limit of 512 MiB");
}

inline std::size_t checked_size(std::string_view text) {
  if (text.size() > max_length) throw_too_long(text.size());
  return text.size();
}
inline std::size_t checked_size(const Item& item) { return checked_size(item.first) + checked_size(item.second); }

template <class T>
using Bare = std::remove_cv_t<std::remove_reference_t<T>>;

// What is meant as text: a null pointer converts, too, and is not.
template <class T>
inline constexpr bool is_text = std::is_convertible_v<T, std::string_view> && !std::is_null_pointer_v<Bare<T>>;

// As range-based `for` finds it.
namespace adl {
using std::begin;
template <class Range>
using Iterator = decltype(begin(std::declval<Range&>()));
}  // namespace adl

template <class Range>
using RangeElement = decltype(*std::declval<adl::Iterator<Range>&>());

// Whether it is a range of keys.
template <class Range, class = void>
inline constexpr bool is_keys = false;
template <class Range>
inline constexpr bool is_keys<Range, std::void_t<RangeElement<Range>>> = is_text<RangeElement<Range>>;

// Whether it is a key and a value: a pair, a tuple, or a struct of two members.
template <class T, class = void>
inline constexpr bool is_item = std::is_aggregate_v<T> && !std::is_array_v<T>;
template <class T>
inline constexpr bool is_item<T, std::void_t<decltype(std::tuple_size<T>::value)>> = [] {
  if constexpr (std::tuple_size_v<T> != 2) {
    return false;
  } else {
    return is_text<std::tuple_element_t<0, T>> && is_text<std::tuple_element_t<1, T>>;
  }
}();

// Whether it is a range of items.
template <class Range, class = void>
inline constexpr bool is_items = false;
template <class Range>
inline constexpr bool is_items<Range, std::void_t<RangeElement<Range>>> = is_item<Bare<RangeElement<Range>>>;

// An item in braces. A pair would take {"visits", 0} for a null pointer.
struct BracedItem {
  template <class Key, class Value, std::enable_if_t<is_text<const Key&> && is_text<const Value&>, int> = 0>
  BracedItem(const Key& key_text, const Value& value_text) : key(key_text), value(value_text) {}
  template <class Key, class Value, std::enable_if_t<is_text<const Key&> && is_text<const Value&>, int> = 0>
  BracedItem(const std::pair<Key, Value>& pair) : key(pair.first), value(pair.second) {}

  std::string_view key;
  std::string_view value;
};

// Whether a range can be walked twice, and what its iterators refer to stays meanwhile.
template <class Iterator, class = void>
inline constexpr bool is_multipass = false;
template <class Iterator>
inline constexpr bool is_multipass<Iterator, std::void_t<typename std::iterator_traits<Iterator>::iterator_category>> =
    std::is_base_of_v<std::forward_iterator_tag, typename std::iterator_traits<Iterator>::iterator_category>;

// The texts of a piece: views of what stays while the range is walked, copies of what does not.
template <class Range>
class Texts {
 public:
  static constexpr bool elements_stay =
      is_multipass<adl::Iterator<Range>> && std::is_lvalue_reference_v<RangeElement<Range>>;

  template <class Text>
  void hold(const Text& key, std::string_view& view) {
    view = hold(key);
  }
  template <class Pair>
  void hold(const Pair& pair, Item& item) {
    const auto& [key, value] = pair;
    item = {hold(key), hold(value)};
  }
  void clear() { copies_.clear(); }

 private:
  template <class Text>
  std::string_view hold(const Text& text) {
    using T = std::decay_t<Text>;
    constexpr bool is_view = std::is_same_v<T, std::string_view> || std::is_pointer_v<T>;
    if constexpr (elements_stay || (is_view && is_multipass<adl::Iterator<Range>>)) {
      return text;
    } else {
      if (copies_.capacity() == 0) copies_.reserve(2 * piece_items);  // views of its elements are handed out
      return copies_.emplace_back(std::string_view(text));
    }
  }

  std::vector<std::string> copies_;
};

using Values = std::vector<std::optional<std::string>>;

// What the pieces of a batch were refused, to be thrown as one error.
class Refused {
 public:
  // Runs a piece, of whose items at most a part is refused.
  template <class Run>
  void run(std::size_t items, Run run) {
    try {
      run();
      sent_ += items;
    } catch (const BatchError& error) {
      for (const auto& refusal : error.refusals()) refusals_.push_back({begin_ + refusal.index, refusal.message});
      sent_ += error.sent();
    }
    begin_ += items;
  }

  // With `values`, which are moved from, if the batch reads.
  void throw_if_any(Values& values) {
    if (!refusals_.empty()) throw BatchError(std::move(refusals_), sent_, std::move(values));
  }
  void throw_if_any() {
    Values none;
    throw_if_any(none);
  }

 private:
  std::vector<BatchError::Refusal> refusals_;
  std::size_t begin_ = 0;
  std::size_t sent_ = 0;
};

// Walks a range in pieces of bounded size, so that a batch of any length needs the same memory.
template <class Element, class Range, class Visit>
[[nodiscard]] Refused for_each_piece(Range& range, Visit visit) {
  Texts<Range> texts;
  Element element;
  if constexpr (Texts<Range>::elements_stay) {  // bad input is refused before anything is done
    for (auto&& source : range) {
      texts.hold(source, element);
      checked_size(element);
    }
  }
  Refused refused;
  std::vector<Element> piece;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (piece.empty()) return;
    refused.run(piece.size(), [&] { visit(piece); });
    bytes = 0;
    piece.clear();
    texts.clear();
  };
  for (auto&& source : range) {
    texts.hold(source, element);
    bytes += checked_size(element);
    piece.push_back(element);
    if (piece.size() == piece_items || bytes >= piece_bytes) flush();
  }
  flush();
  return refused;
}

// Appends the values of keys to `values`, one a key, with get_many(keys of a piece, values). A BatchError takes them
// all; another error leaves those of the pieces before it.
template <class Keys, class GetMany>
void read_pieces(Keys& keys, Values& values, GetMany get_many) {
  auto refused = for_each_piece<std::string_view>(keys, [&](const std::vector<std::string_view>& piece) {
    const std::size_t begin = values.size();
    try {
      get_many(piece, values);
    } catch (const BatchError& error) {
      if (values.size() == begin) values.insert(values.end(), error.values().begin(), error.values().end());
      values.resize(begin + piece.size());
      throw;
    }
  });
  refused.throw_if_any(values);
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
