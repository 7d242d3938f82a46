// SPDX-License-Identifier: MIT
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../codec.hpp"
#include "../version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

// Whether nlohmann::json converts a type both ways, and codec.hpp does not.
template <class T, class = void>
struct IsJson : std::false_type {};
template <class T>
struct IsJson<T, std::void_t<decltype(std::declval<const nlohmann::json&>().template get<T>()),
                             decltype(nlohmann::json(std::declval<const T&>()))>>
    : std::bool_constant<!IsInteger<T>::value && !std::is_same_v<T, bool> && !std::is_enum_v<T> &&
                         !std::is_same_v<T, std::string> && !IsOptional<T>::value> {};

}  // namespace LARDER_ABI
}  // namespace larder::detail

namespace larder {
inline namespace LARDER_ABI {

/// JSON text for whatever nlohmann::json can convert: a struct with to_json() and from_json(), or with
/// NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE; containers; floating-point numbers; nlohmann::json itself. Strings that are not
/// UTF-8 cannot be encoded (nlohmann::json throws).
template <class T>
struct Codec<T, std::enable_if_t<detail::IsJson<T>::value>> {
  static void encode(const T& value, std::string& bytes) { bytes += nlohmann::json(value).dump(); }
  static std::optional<T> decode(std::string_view bytes) {
    const auto json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
    if (json.is_discarded()) return std::nullopt;
    return json.template get<T>();
  }
};

}  // namespace LARDER_ABI
}  // namespace larder
