// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "../error.hpp"
#include "../version.hpp"
#include "detail/failure_text.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

struct ReplyAccess;

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail

namespace larder::redis {
inline namespace LARDER_ABI {

/// One answer of the server.
class Reply {
 public:
  /// `failure` is an error that the server answered with; `out_of_memory` is a reply for which there was no memory.
  enum class Kind : unsigned char { null, string, status, integer, array, failure, out_of_memory };
  /// The elements of an array.
  using Array = std::vector<Reply>;

  /// Nil, or another reply without content.
  explicit Reply(Kind kind = Kind::null) noexcept : kind_(kind) {}
  /// A string, a status or a failure.
  Reply(Kind kind, std::string text) noexcept : kind_(kind), content_(std::move(text)) {}
  /// An integer.
  explicit Reply(std::int64_t integer) noexcept : kind_(Kind::integer), content_(integer) {}
  /// An array.
  explicit Reply(Array elements) noexcept : kind_(Kind::array), content_(std::move(elements)) {}

  /// What it is.
  Kind kind() const noexcept { return kind_; }

  /// The text of a failure, which begins with its code; empty for other replies.
  std::string_view failure() const noexcept {
    return kind_ == Kind::failure ? std::string_view(*std::get_if<std::string>(&content_)) : std::string_view();
  }

  /// Whether a command that expects a `kind` may get this: that kind, nil, a failure, or a reply for which there was no
  /// memory.
  bool fits(Kind kind) const noexcept {
    return kind_ == kind || kind_ == Kind::null || kind_ == Kind::failure || kind_ == Kind::out_of_memory;
  }

  /// The bytes of a string, which stay in the reply. Throws as take_array() does for another kind, nil too.
  std::string_view string() const {
    throw_unless(Kind::string);
    return *std::get_if<std::string>(&content_);
  }

  // Each is for a reply of its kind. Another kind throws ProtocolError, a failure ServerError, and a reply for which
  // there was no memory std::bad_alloc.

  /// The string, or nothing for nil.
  std::optional<std::string> take_string() {
    if (kind_ == Kind::string) return std::move(*std::get_if<std::string>(&content_));
    if (kind_ != Kind::null) throw_unless(Kind::null);
    return std::nullopt;
  }
  /// True for a status, false for nil.
  bool is_status() const {
    if (kind_ != Kind::status && kind_ != Kind::null) throw_unless(Kind::status);
    return kind_ == Kind::status;
  }
  /// Whether it is this status.
  bool is_status(std::string_view text) const noexcept {
    return kind_ == Kind::status && *std::get_if<std::string>(&content_) == text;
  }
  /// True for the status OK, false for nil. Another status is a ProtocolError, too: after MULTI, QUEUED says that
  /// nothing was done.
  bool is_ok() const {
    const bool is_it = is_status();
    if (is_it && *std::get_if<std::string>(&content_) != "OK") throw_unexpected();
    return is_it;
  }
  /// The integer.
  std::int64_t integer() const {
    throw_unless(Kind::integer);
    return *std::get_if<std::int64_t>(&content_);
  }
  /// The elements.
  Array take_array() {
    throw_unless(Kind::array);
    return std::move(*std::get_if<Array>(&content_));
  }

 private:
  friend struct detail::ReplyAccess;

  void throw_unless(Kind kind) const {
    if (kind_ == kind) return;
    if (kind_ == Kind::failure) throw ServerError(detail::thrown_failure(failure()));
    if (kind_ == Kind::out_of_memory) throw std::bad_alloc();
    throw_unexpected();
  }
  [[noreturn]] static void throw_unexpected() { throw ProtocolError("the server's answer does not fit the command"); }

  Kind kind_;
  std::variant<std::int64_t, std::string, Array> content_;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
