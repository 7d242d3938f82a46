// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "../codec.hpp"
#include "../version.hpp"
#include "fwd.hpp"

namespace larder::detail {
inline namespace LARDER_ABI {

// A prefix and a key of some type, as the cache gets them; without an allocation where they are short. The key must
// stay as long as this.
class KeyText {
 public:
  template <class Key>
  KeyText(std::string_view prefix, const Key& key) {
    if constexpr (std::is_convertible_v<const Key&, std::string_view>) {
      join(prefix, key);
    } else if constexpr (IsInteger<Key>::value) {
      std::array<char, 24> digits;
      const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), key).ptr;
      join(prefix, {digits.data(), static_cast<std::size_t>(end - digits.data())}, true);
    } else {
      long_ = prefix;
      CodecFor<Key>::encode(key, long_);
      text_ = long_;
    }
  }
  KeyText(const KeyText&) = delete;
  KeyText& operator=(const KeyText&) = delete;

  std::string_view text() const noexcept { return text_; }

 private:
  void join(std::string_view prefix, std::string_view key, bool copy = false) {
    const std::size_t size = prefix.size() + key.size();
    if (prefix.empty() && !copy) {
      text_ = key;
    } else if (size <= short_.size()) {
      prefix.copy(short_.data(), prefix.size());
      key.copy(short_.data() + prefix.size(), key.size());
      text_ = {short_.data(), size};
    } else {
      long_.reserve(size);
      long_.append(prefix).append(key);
      text_ = long_;
    }
  }

  std::array<char, 128> short_;
  std::string long_;
  std::string_view text_;
};

}  // namespace LARDER_ABI
}  // namespace larder::detail
