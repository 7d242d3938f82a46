// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "../version.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_ABI {

/// One request, encoded as RESP2: head(), then value(), then tail(). A short one needs no memory of its own.
///
///     Command("SET", 4, Reply::Kind::status).key("users:", name).value(profile).argument("PX").argument(60000)
class Command {
 public:
  /// `arguments` is how many follow the name; `answer` is the kind of reply that the server gives when all is well.
  Command(std::string_view name, std::size_t arguments, Reply::Kind answer) : answer_(answer) {
    char* end = write_number(room_for(max_number), '*', arguments + 1);
    set_end(end);
    argument(name);
  }

  /// Adds a key, with `prefix` put before it.
  Command& key(std::string_view prefix, std::string_view key) {
    const std::size_t size = prefix.size() + key.size();
    char* end = write_number(room_for(max_number + size + 2), '$', size);
    if (key_size_ == 0) {
      key_begin_ = static_cast<std::size_t>(end - bytes());
      key_size_ = size;
    }
    set_end(write(write(write(end, prefix), key), "\r\n"));
    return *this;
  }

  /// Adds an argument: a copy of these bytes.
  Command& argument(std::string_view text) {
    char* end = write_number(room_for(max_number + text.size() + 2), '$', text.size());
    set_end(write(write(end, text), "\r\n"));
    return *this;
  }

  /// Adds a number as an argument.
  template <class Integer, std::enable_if_t<std::is_integral_v<Integer>, int> = 0>
  Command& argument(Integer number) {
    char digits[max_digits];
    return argument(std::string_view(digits, write_digits(digits, number)));
  }

  /// Adds an argument that may be long, once a command. It is not copied: it must stay until the command has been run.
  Command& value(std::string_view text) {
    char* end = write_number(room_for(max_number + 2), '$', text.size());
    head_size_ = static_cast<std::size_t>(end - bytes());
    set_end(write(end, "\r\n"));
    value_ = text;
    has_value_ = true;
    return *this;
  }

  /// Says that the command must not be sent a second time when the outcome of the first is unknown.
  Command& never_repeat() {
    repeatable_ = false;
    return *this;
  }

  // The request is head, value and tail.

  /// All that comes before the value that may be long.
  std::string_view head() const noexcept { return {bytes(), has_value_ ? head_size_ : size_}; }
  /// That value, or nothing.
  std::string_view value() const noexcept { return value_; }
  /// All that comes after it.
  std::string_view tail() const noexcept { return {bytes() + head().size(), size_ - head().size()}; }
  /// How long the request is.
  std::size_t size() const noexcept { return size_ + value_.size(); }

  /// The first key, with its prefix: what decides where in a cluster the command belongs. Empty if it has none.
  std::string_view key() const noexcept { return {bytes() + key_begin_, key_size_}; }
  /// What the server answers with.
  Reply::Kind answer() const noexcept { return answer_; }
  /// Whether it may be sent a second time when the outcome of the first is unknown.
  bool repeatable() const noexcept { return repeatable_; }

 private:
  static constexpr std::size_t max_digits = 20;
  static constexpr std::size_t max_number = 1 + max_digits + 2;

  template <class Integer>
  static std::size_t write_digits(char* to, Integer number) noexcept {
    if (number >= 0 && number < 10) {  // most are
      *to = static_cast<char>('0' + number);
      return 1;
    }
    return static_cast<std::size_t>(std::to_chars(to, to + max_digits, number).ptr - to);
  }
  static char* write(char* to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return to + text.size();
  }
  static char* write_number(char* to, char sign, std::size_t number) noexcept {
    *to++ = sign;
    return write(to + write_digits(to, number), "\r\n");
  }

  // The end of what is there, with room for so much more behind it.
  char* room_for(std::size_t size) {
    return long_.empty() && size_ + size <= sizeof short_ ? short_ + size_ : room_in_long(size);
  }
  char* room_in_long(std::size_t size) {
    if (size_ + size > long_.size()) {
      const bool was_short = long_.empty();
      long_.resize((std::max)(2 * long_.size(), size_ + size));
      if (was_short) std::memcpy(long_.data(), short_, size_);
    }
    return long_.data() + size_;
  }
  void set_end(const char* end) noexcept { size_ = static_cast<std::size_t>(end - bytes()); }

  const char* bytes() const noexcept { return long_.empty() ? short_ : long_.data(); }

  std::string_view value_;
  std::size_t size_ = 0;       // of head and tail
  std::size_t head_size_ = 0;  // where the value goes, if there is one
  std::size_t key_begin_ = 0;
  std::size_t key_size_ = 0;
  Reply::Kind answer_;
  bool repeatable_ = true;
  bool has_value_ = false;
  std::string long_;  // where head and tail are, when they are too long for short_
  char short_[128];
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
