// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "../codec.hpp"
#include "../version.hpp"
#include "flight.hpp"
#include "load_view.hpp"

// Loaded values as bytes, and back.

namespace larder::detail {
inline namespace LARDER_ABI {

template <class T>
constexpr char type_tag = 0;

// Whether an exception that was caught by catch (...) is the end of the thread (pthread_cancel, pthread_exit), which
// has to be thrown on.
inline bool thread_ends() noexcept { return std::current_exception() == nullptr; }

template <class Value, class ValueCodec>
std::optional<Value> decode(const LoadView& view, std::string_view key, std::string_view bytes) {
  std::optional<Value> value;
  try {
    value = CodecFor<Value, ValueCodec>::decode(bytes);
  } catch (...) {
    if (thread_ends()) throw;
  }
  if (!value) view.undecodable(key);
  return value;
}

// What those who wait are given; the bytes, if there are any, are those that are stored.
template <class Value, class ValueCodec>
LoadResult encode(const LoadView& view, std::string_view key, const Value& value) {
  LoadResult result;
  try {
    CodecFor<Value, ValueCodec>::encode(value, result.bytes);
    result.kind = LoadResult::Kind::value;
    return result;
  } catch (...) {
    if (thread_ends()) throw;
    view.load_failed(key, std::current_exception());
  }
  if constexpr (std::is_copy_constructible_v<Value>) {
    result.object = std::make_shared<const Value>(value);
    result.type = &type_tag<Value>;
    result.kind = LoadResult::Kind::value;
  }
  return result;
}

template <class Value, class ValueCodec>
std::optional<Value> decode(const LoadView& view, std::string_view key, const LoadResult& result) {
  if constexpr (std::is_copy_constructible_v<Value>) {
    if (result.object && result.type == &type_tag<Value>) return *static_cast<const Value*>(result.object.get());
  }
  if (result.object) return std::nullopt;
  return decode<Value, ValueCodec>(view, key, std::string_view(result.bytes));
}

}  // namespace LARDER_ABI
}  // namespace larder::detail
