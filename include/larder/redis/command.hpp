// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "../error.hpp"
#include "../version.hpp"
#include "detail/own_connection.hpp"
#include "reply.hpp"

namespace larder::redis {
inline namespace LARDER_ABI {

/// An argument of a Command: a key, with a prefix put before it. It is copied.
struct Key {
  /// `prefix` and `text` together.
  Key(std::string_view before, std::string_view text) noexcept : prefix(before), key(text) {}
  /// The whole key.
  explicit Key(std::string_view text) noexcept : key(text) {}

  std::string_view prefix;  ///< before the key
  std::string_view key;     ///< without the prefix
};

/// An argument of a Command that may be long. It is not copied: the bytes must stay until the command has been run.
struct Value {
  /// Any bytes.
  explicit Value(std::string_view text) noexcept : bytes(text) {}

  std::string_view bytes;  ///< what it refers to
};

/// One request, encoded as RESP2: head(), then value(), then tail(). A short one needs no memory of its own. Its
/// arguments are counted as they are encoded.
///
///     Command("SET", Key{"users:", name}, Value{profile}, "PX", 60000)
class Command {
 public:
  /// The command's name and its arguments, each a text (which is copied), an integer, a Key, or the one Value. Throws
  /// InvalidArgument if the name is empty.
  template <class... Arguments>
  explicit Command(std::string_view name, const Arguments&... arguments)
      : count_(1 + sizeof...(Arguments)), is_suspect_(detail::may_need_own_connection(name)) {
    static_assert((is_argument<Arguments> && ...), "larder: an argument is a text, an integer, a Key or a Value");
    static_assert((std::size_t{0} + ... + (is_value<Arguments> ? 1U : 0U)) <= 1, "larder: a command has one Value");
    if (name.empty()) throw InvalidArgument("a command needs a name");
    if constexpr ((is_argument<Arguments> && ...)) {
      char* end = room_for(((room(count_) + room(name.size())) + ... + room_of(arguments)));
      end = write(write_number(end, '*', count_), name);
      ((end = write(end, arguments)), ...);
      set_end(end);
    }
  }

  /// Adds an argument, for commands whose length is known only at run time. Throws InvalidArgument if it is a second
  /// Value.
  template <class Argument>
  Command& add(const Argument& argument) {
    static_assert(is_argument<Argument>, "larder: an argument is a text, an integer, a Key or a Value");
    if (is_value<Argument> && has_value_) throw InvalidArgument("a command has one Value");
    if constexpr (is_argument<Argument>) {
      set_end(write(room_for(room_of(argument) + 1), argument));
      count_one_more();
    }
    return *this;
  }

  /// Says which kind of reply the server gives when all is well and it is not nil. Any other is then a ProtocolError,
  /// and its connection is not used again.
  Command& expects(Reply::Kind kind) noexcept {
    answer_ = kind;
    return *this;
  }

  /// Says that the command must not be sent a second time when the outcome of the first is unknown.
  Command& never_repeat() noexcept {
    is_repeatable_ = false;
    return *this;
  }

  /// All that comes before the value.
  std::string_view head() const noexcept { return {bytes(), has_value_ ? head_size_ : size_}; }
  /// The bytes of the Value, or nothing.
  std::string_view value() const noexcept { return value_; }
  /// All that comes after the value.
  std::string_view tail() const noexcept { return {bytes() + head().size(), size_ - head().size()}; }
  /// How many bytes the request has.
  std::size_t size() const noexcept { return size_ + value_.size(); }

  /// The name that it was made with.
  std::string_view name() const noexcept { return detail::first_word(head()); }
  /// Whether it has a key, which may be of no bytes.
  bool has_key() const noexcept { return has_key_; }
  /// The first key, with its prefix: what decides where in a cluster the command belongs. Empty if it has none.
  std::string_view key() const noexcept { return {bytes() + key_begin_, key_size_}; }
  /// The kind of reply that it expects, if that was said.
  std::optional<Reply::Kind> answer() const noexcept { return answer_; }
  /// Whether it may be sent a second time when the outcome of the first is unknown.
  bool repeatable() const noexcept { return is_repeatable_; }
  /// Whether it changes the connection that it goes over, as SELECT and MULTI do, or keeps it busy, as BLPOP does: a
  /// client whose connections are shared refuses it.
  bool needs_own_connection() const {
    return is_suspect_ && detail::needs_own_connection(std::string(head()).append(value()).append(tail()));
  }

 private:
  static constexpr std::size_t max_digits = 20;
  static constexpr std::size_t max_number = 1 + max_digits + 2;

  template <class T>
  static constexpr bool is_value = std::is_same_v<T, Value>;
  template <class T>
  static constexpr bool is_text = std::is_convertible_v<const T&, std::string_view> && !std::is_null_pointer_v<T>;
  template <class T>
  static constexpr bool is_integer =
      std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t> &&
      !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t>;
  template <class T>
  static constexpr bool is_argument = is_text<T> || is_integer<T> || std::is_same_v<T, Key> || is_value<T>;

  // The room that an argument of this size needs, when encoded.
  static constexpr std::size_t room(std::size_t size) noexcept {
    return size < 10 ? 4 + size + 2 : size < 100 ? 5 + size + 2 : max_number + size + 2;
  }
  template <class Argument>
  static constexpr std::size_t room_of([[maybe_unused]] const Argument& argument) noexcept {
    if constexpr (std::is_same_v<Argument, Key>) {
      return room(argument.prefix.size() + argument.key.size());
    } else if constexpr (is_value<Argument>) {
      return max_number + 2;
    } else if constexpr (is_text<Argument>) {
      return room(std::string_view(argument).size());
    } else {
      return room(std::numeric_limits<Argument>::digits10 + 2);
    }
  }

  char* write(char* to, std::string_view text) noexcept {
    return put(put(write_number(to, '$', text.size()), text), "\r\n");
  }
  template <class Integer, std::enable_if_t<is_integer<Integer>, int> = 0>
  char* write(char* to, Integer number) noexcept {
    char digits[max_digits];
    return write(to, std::string_view(digits, write_digits(digits, number)));
  }
  char* write(char* to, const Key& key) noexcept {
    const std::size_t size = key.prefix.size() + key.key.size();
    to = write_number(to, '$', size);
    if (!has_key_) {
      has_key_ = true;
      key_begin_ = static_cast<std::size_t>(to - bytes());
      key_size_ = size;
    }
    return put(put(put(to, key.prefix), key.key), "\r\n");
  }
  char* write(char* to, const Value& value) noexcept {
    to = write_number(to, '$', value.bytes.size());
    head_size_ = static_cast<std::size_t>(to - bytes());
    value_ = value.bytes;
    has_value_ = true;
    return put(to, "\r\n");
  }

  template <class Integer>
  static std::size_t write_digits(char* to, Integer number) noexcept {
    return static_cast<std::size_t>(std::to_chars(to, to + max_digits, number).ptr - to);
  }
  static char* write_number(char* to, char sign, std::size_t number) noexcept {
    *to++ = sign;
    if (number < 10) {  // most are
      *to++ = static_cast<char>('0' + number);
    } else {
      to += write_digits(to, number);
    }
    return put(to, "\r\n");
  }
  static char* put(char* to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    return to + text.size();
  }

  // Writes the number of arguments anew. There is room for one more digit.
  void count_one_more() noexcept {
    char digits[max_digits];
    const std::size_t before = write_digits(digits, count_);
    const std::size_t now = write_digits(digits, ++count_);
    char* const number = begin() + 1;
    if (now != before) {
      std::memmove(number + now, number + before, size_ - 1 - before);
      ++size_;
      ++head_size_;
      ++key_begin_;
    }
    std::memcpy(number, digits, now);
  }

  // The end of what is there, with this much room behind it.
  char* room_for(std::size_t size) {
    return long_.empty() && size_ + size <= sizeof short_ ? begin() + size_ : room_in_long(size);
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

  char* begin() noexcept { return long_.empty() ? reinterpret_cast<char*>(short_) : long_.data(); }
  const char* bytes() const noexcept { return long_.empty() ? reinterpret_cast<const char*>(short_) : long_.data(); }

  std::string_view value_;
  std::size_t size_ = 0;       // of head and tail
  std::size_t head_size_ = 0;  // where the value goes, if there is one
  std::size_t key_begin_ = 0;
  std::size_t key_size_ = 0;
  std::size_t count_;  // of the arguments, the name included
  std::optional<Reply::Kind> answer_;
  bool is_repeatable_ = true;
  bool has_value_ = false;
  bool has_key_ = false;
  bool is_suspect_;           // by its name, it may need a connection of its own
  std::string long_;          // where head and tail are, when they are too long for short_
  unsigned char short_[128];  // not of char, because its unused bytes are copied, too
};

}  // namespace LARDER_ABI
}  // namespace larder::redis
