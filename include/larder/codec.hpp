// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "detail/fwd.hpp"
#include "version.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// Whether a type is an integer, and neither bool nor a character. `signed char` and `unsigned char` are integers.
template <class T>
struct IsInteger
    : std::bool_constant<std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
                         !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t>> {
};
#ifdef __cpp_char8_t
template <>
struct IsInteger<char8_t> : std::false_type {};
#endif

template <class Integer>
void append_decimal(Integer value, std::string& bytes) {
  char text[std::numeric_limits<Integer>::digits10 + 3];
  bytes.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

// Only what append_decimal() writes: no sign of plus, no zero in front, nothing before or after.
template <class Integer>
std::optional<Integer> parse_decimal(std::string_view bytes) {
  const std::string_view digits = bytes.substr(!bytes.empty() && bytes.front() == '-' ? 1 : 0);
  if (digits.empty() || (digits.front() == '0' && bytes.size() > 1)) return std::nullopt;
  Integer value{};
  const auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
  if (error != std::errc() || end != bytes.data() + bytes.size()) return std::nullopt;
  return value;
}

template <class T, class ItsCodec, class = void>
struct IsCodec : std::false_type {};
template <class T, class ItsCodec>
struct IsCodec<T, ItsCodec,
               std::void_t<decltype(ItsCodec::encode(std::declval<const T&>(), std::declval<std::string&>())),
                           decltype(ItsCodec::decode(std::declval<std::string_view>()))>>
    : std::is_convertible<decltype(ItsCodec::decode(std::declval<std::string_view>())), std::optional<T>> {};

// Stands in for a codec that is missing, so that this is the only error.
template <class T>
struct NoCodec {
  static void encode(const T& value, std::string& bytes);
  static std::optional<T> decode(std::string_view bytes);
};

// Fails with one sentence if it is no codec of T.
template <class T, class ItsCodec>
constexpr bool is_codec() {
  constexpr bool is = IsCodec<T, ItsCodec>::value;
  static_assert(is,
                "there is no Codec for this type: specialize larder::Codec<T>, name a class with encode() and decode() "
                "as the last argument of TypedCache, or include larder/codec/json.hpp");
  return is;
}

// Is named where it is used: a codec may be specialized after a cache was declared.
template <class T, class ItsCodec = Codec<T>>
using CodecFor = std::conditional_t<is_codec<T, ItsCodec>(), ItsCodec, NoCodec<T>>;

template <class T>
struct EnumNumber {
  using Underlying = std::underlying_type_t<T>;  // if that is no integer, as wide as it can be
  using type = std::conditional_t<IsInteger<Underlying>::value, Underlying, long long>;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail

namespace larder {
inline namespace LARDER_ABI {

/// How values of a type become bytes, and bytes become values. There is one for strings, integers, bool, enums and
/// std::optional of a type that has one; codec/json.hpp has one for the types of nlohmann::json. For a type of your own
/// specialize it, or name another class with these two functions as the last argument of TypedCache:
///
///     static void encode(const T& value, std::string& bytes);      // appends; what it throws reaches who stores
///     static std::optional<T> decode(std::string_view bytes);      // nothing, or a throw: as if nothing was stored
///
/// Anything may be in a cache that others write to, too: decode() must take any bytes, and refuse those that are left
/// over.
template <class T, class>
struct Codec;

/// Strings are their own bytes.
template <>
struct Codec<std::string> {
  static void encode(const std::string& value, std::string& bytes) { bytes += value; }
  static std::optional<std::string> decode(std::string_view bytes) { return std::string(bytes); }
};

/// Integers are decimal text, which other programs read and INCR works on.
template <class T>
struct Codec<T, std::enable_if_t<detail::IsInteger<T>::value>> {
  static void encode(T value, std::string& bytes) { detail::append_decimal(value, bytes); }
  static std::optional<T> decode(std::string_view bytes) { return detail::parse_decimal<T>(bytes); }
};

/// 1 or 0.
template <>
struct Codec<bool> {
  static void encode(bool value, std::string& bytes) { bytes += value ? '1' : '0'; }
  static std::optional<bool> decode(std::string_view bytes) {
    if (bytes == "1") return true;
    if (bytes == "0") return false;
    return std::nullopt;
  }
};

/// Enums are the decimal text of their numbers.
template <class T>
struct Codec<T, std::enable_if_t<std::is_enum_v<T>>> {
  using Number = typename detail::EnumNumber<T>::type;

  static void encode(T value, std::string& bytes) { detail::append_decimal(static_cast<Number>(value), bytes); }
  static std::optional<T> decode(std::string_view bytes) {
    const auto number = detail::parse_decimal<Number>(bytes);
    if (!number) return std::nullopt;
    if (*number < low || *number > high) return std::nullopt;
    return static_cast<T>(*number);
  }

 private:
  using Limits = std::numeric_limits<std::underlying_type_t<T>>;
  static constexpr Number low = static_cast<Number>((Limits::min)());
  static constexpr Number high = static_cast<Number>((Limits::max)());
};

/// "There is none" as a value: a mark of four bytes, then `0`, or `1` and the value. The mark is no text in UTF-8, so
/// that the bytes of a T that was stored before are not taken for an optional.
template <class T>
struct Codec<std::optional<T>> {
  static constexpr std::string_view mark = "\xFFopt";

  static void encode(const std::optional<T>& value, std::string& bytes) {
    bytes += mark;
    bytes += value ? '1' : '0';
    if (value) detail::CodecFor<T>::encode(*value, bytes);
  }
  static std::optional<std::optional<T>> decode(std::string_view bytes) {
    using Some = std::optional<std::optional<T>>;
    if (bytes.substr(0, mark.size()) != mark) return std::nullopt;
    bytes.remove_prefix(mark.size());
    if (bytes == "0") return Some(std::in_place, std::nullopt);
    if (bytes.empty() || bytes.front() != '1') return std::nullopt;
    std::optional<T> value = detail::CodecFor<T>::decode(bytes.substr(1));
    return value ? Some(std::in_place, std::move(value)) : std::nullopt;
  }
};

}  // namespace LARDER_ABI
}  // namespace larder
