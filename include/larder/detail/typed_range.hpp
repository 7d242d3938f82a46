// SPDX-License-Identifier: MIT
#pragma once

#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../version.hpp"
#include "key_text.hpp"
#include "loader.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

template <class Range, class = void>
struct ElementOf {
  using type = void;  // it is no range
};
template <class Range>
struct ElementOf<Range, std::void_t<decltype(*std::begin(std::declval<const Range&>()))>> {
  using type = decltype(*std::begin(std::declval<const Range&>()));
};

// Fails with one sentence if these are no keys.
template <class Keys, class Key>
constexpr bool is_range_of() {
  using Element = typename ElementOf<Keys>::type;
  constexpr bool is = makes_value<Element, Key>() && !std::is_convertible_v<const Keys&, std::string_view>;
  static_assert(is, "this needs a range of keys of the cache's type");
  return is;
}

template <class Pair, class = void>
struct PairOf {
  using First = void;
  using Second = void;
};
template <class Pair>
struct PairOf<Pair, std::void_t<decltype(std::get<1>(std::declval<Pair>()))>> {
  using First = decltype(std::get<0>(std::declval<Pair>()));
  using Second = decltype(std::get<1>(std::declval<Pair>()));
};

// Fails with one sentence if these are no pairs of keys and values.
template <class Items, class Key, class Value>
constexpr bool is_range_of_items() {
  using Pair = PairOf<typename ElementOf<Items>::type>;
  constexpr bool is =
      makes_value<typename Pair::First, Key>() &&
      (std::is_same_v<std::decay_t<typename Pair::Second>, Value> || makes_value<typename Pair::Second, Value>());
  static_assert(is, "this needs a range of pairs of keys and values of the cache's types");
  return is;
}

// A key as it is, or made of something else.
template <class Key, class From>
decltype(auto) key_of(const From& from) {
  if constexpr (std::is_same_v<From, Key>) {
    return (from);
  } else {
    return make_value<Key>(from);
  }
}

template <class Key, class Keys>
std::vector<std::string> texts_of(std::string_view prefix, const Keys& keys) {
  std::vector<std::string> texts;
  for (auto&& key : keys) {
    const auto& typed = key_of<Key>(key);
    texts.emplace_back(KeyText(prefix, typed).text());
  }
  return texts;
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
