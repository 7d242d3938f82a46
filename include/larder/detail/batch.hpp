// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
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

[[noreturn]] inline void throw_too_long(std::size_t size) {
  throw InvalidArgument("a key or value of " + std::to_string(size) + " bytes is over the limit of 512 MiB");
}

inline std::size_t checked_size(std::string_view text) {
  if (text.size() > max_length) throw_too_long(text.size());
  return text.size();
}
inline std::size_t checked_size(const Item& item) { return checked_size(item.first) + checked_size(item.second); }

// Whether a range can be walked twice, and what its iterators refer to stays meanwhile.
template <class Iterator, class = void>
struct IsMultipass : std::false_type {};
template <class Iterator>
struct IsMultipass<Iterator, std::void_t<typename std::iterator_traits<Iterator>::iterator_category>>
    : std::is_base_of<std::forward_iterator_tag, typename std::iterator_traits<Iterator>::iterator_category> {};

// The texts of a piece: views of what stays while the range is walked, copies of what does not.
template <class Iterator>
class Texts {
 public:
  static constexpr bool elements_stay =
      IsMultipass<Iterator>::value && std::is_lvalue_reference_v<decltype(*std::declval<Iterator&>())>;

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
    if constexpr (elements_stay || (is_view && IsMultipass<Iterator>::value)) {
      return text;
    } else {
      if (copies_.capacity() == 0) copies_.reserve(2 * piece_items);  // views of its elements are handed out
      return copies_.emplace_back(std::string_view(text));
    }
  }

  std::vector<std::string> copies_;
};

// Walks a range in pieces of bounded size, so that a batch of any length needs the same memory.
template <class Element, class Range, class Visit>
void for_each_piece(const Range& range, Visit visit) {
  using std::begin;
  using std::end;
  Texts<decltype(begin(range))> texts;
  Element element;
  if constexpr (decltype(texts)::elements_stay) {  // bad input is refused before anything is done
    for (const auto& source : range) {
      texts.hold(source, element);
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
    texts.hold(source, element);
    bytes += checked_size(element);
    piece.push_back(element);
    if (piece.size() == piece_items || bytes >= piece_bytes) flush();
  }
  flush();
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
