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
#include "fwd.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// Whether a value can be made of what somebody gives: whatever converts, and no null pointers for strings, no pointers
// for bool, no numbers for strings.
template <class From, class Value>
constexpr bool makes_value() {
  using Plain = std::remove_cv_t<std::remove_reference_t<From>>;
  if constexpr (std::is_void_v<From> || std::is_null_pointer_v<Plain>) {
    return false;
  } else if constexpr (std::is_same_v<Value, std::string>) {
    return !std::is_arithmetic_v<Plain> &&
           (std::is_convertible_v<From, std::string> || std::is_convertible_v<From, std::string_view>);
  } else if constexpr (std::is_same_v<Value, bool>) {
    return !std::is_pointer_v<std::decay_t<From>> && std::is_convertible_v<From, Value>;
  } else {
    return std::is_convertible_v<From, Value>;
  }
}

template <class Value, class From>
Value make_value(From&& from) {
  if constexpr (std::is_convertible_v<From, Value>) {
    return static_cast<Value>(std::forward<From>(from));
  } else {
    return Value(std::string_view(from));
  }
}

// Whether something can be called as loader(keys..., LoadContext<Value>&), which is tried first, or loader(keys...),
// and gives a value.
template <class Loader, class Value, class... Keys>
constexpr bool is_loader_of() {
  using Plain = std::remove_reference_t<Loader>;
  if constexpr (std::is_invocable_v<Plain&, Keys..., LoadContext<Value>&>) {
    return makes_value<std::invoke_result_t<Plain&, Keys..., LoadContext<Value>&>, Value>();
  } else if constexpr (std::is_invocable_v<Plain&, Keys...>) {
    return makes_value<std::invoke_result_t<Plain&, Keys...>, Value>();
  } else {
    return false;
  }
}
template <class Loader, class Value, class... Keys>
inline constexpr bool is_loader = is_loader_of<Loader, Value, Keys...>();

// Whether something can be called as loader(missing) and gives a range of pairs of a key and a value.
template <class Loader, class Key, class Value, class = void>
struct IsBatchLoader : std::false_type {};
template <class Loader, class Key, class Value>
struct IsBatchLoader<Loader, Key, Value,
                     std::void_t<decltype(std::get<1>(*std::begin(
                         std::declval<std::add_lvalue_reference_t<
                             std::invoke_result_t<std::remove_reference_t<Loader>&, const std::vector<Key>&>>>())))>> {
  using Range = std::invoke_result_t<std::remove_reference_t<Loader>&, const std::vector<Key>&>;
  using Pair = decltype(*std::begin(std::declval<std::add_lvalue_reference_t<Range>>()));
  using First = decltype(std::get<0>(std::declval<Pair>()));
  using Second = decltype(std::get<1>(std::declval<Pair>()));
  static constexpr bool value = std::is_constructible_v<Key, First> &&
                                (makes_value<Second, Value>() || makes_value<std::decay_t<Second>, Value>());
};
template <class Loader, class Key, class Value>
inline constexpr bool is_batch_loader = IsBatchLoader<Loader, Key, Value>::value;

template <class Value, class Loader, class... Keys>
Value call_loader(Loader& loader, LoadContext<Value>& context, const Keys&... keys) {
  if constexpr (std::is_invocable_v<Loader&, const Keys&..., LoadContext<Value>&>) {
    return make_value<Value>(loader(keys..., context));
  } else {
    return make_value<Value>(loader(keys...));
  }
}

// The loader of a batch, as LoadMany calls it. `TextOf` makes the key in the cache.
template <class Key, class Value, class Loader, class TextOf>
struct BatchLoader {
  Loader& loader;
  TextOf text_of;

  template <class Take>
  void load(const std::vector<Key>& missing, Take take) {
    auto&& pairs = loader(missing);
    for (auto&& pair : pairs) {
      auto&& [key, value] = pair;
      if constexpr (std::is_copy_constructible_v<Value>) {
        take(text_of(Key(key)), make_value<Value>(value));
      } else {
        take(text_of(Key(key)), make_value<Value>(std::move(value)));
      }
    }
  }
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
