// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

constexpr std::size_t slot_count = 16384;

// Of CRC16 (XMODEM): table k holds what a byte adds to the sum once k bytes have followed it.
using Crc16Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Crc16Tables make_crc16_tables() noexcept {
  Crc16Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t sum = byte << 8;
    for (int bit = 0; bit < 8; ++bit) sum = ((sum << 1) & 0xFFFFU) ^ ((sum & 0x8000U) != 0 ? 0x1021U : 0U);
    tables[0][byte] = sum;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t sum = tables[k - 1][byte];
      tables[k][byte] = ((sum << 8) & 0xFFFFU) ^ tables[0][sum >> 8];
    }
  }
  return tables;
}

inline constexpr Crc16Tables crc16_tables = make_crc16_tables();

inline std::uint32_t crc16(std::string_view text) noexcept {
  const auto& tables = crc16_tables;
  const char* const end = text.data() + text.size();
  const char* at = text.data() + text.size() % 8;
  const auto byte = [&at](int index) { return std::uint32_t{static_cast<unsigned char>(at[index])}; };
  std::uint32_t sum = 0;
  switch (text.size() % 8) {  // what does not fill a step of eight bytes comes first
    case 7:
      sum ^= tables[6][byte(-7)];
      [[fallthrough]];
    case 6:
      sum ^= tables[5][byte(-6)];
      [[fallthrough]];
    case 5:
      sum ^= tables[4][byte(-5)];
      [[fallthrough]];
    case 4:
      sum ^= tables[3][byte(-4)];
      [[fallthrough]];
    case 3:
      sum ^= tables[2][byte(-3)];
      [[fallthrough]];
    case 2:
      sum ^= tables[1][byte(-2)];
      [[fallthrough]];
    case 1:
      sum ^= tables[0][byte(-1)];
      break;
    default:
      break;
  }
  for (; at != end; at += 8) {
    sum = tables[7][byte(0) ^ (sum >> 8)] ^ tables[6][byte(1) ^ (sum & 0xFFU)] ^ tables[5][byte(2)] ^
          tables[4][byte(3)] ^ tables[3][byte(4)] ^ tables[2][byte(5)] ^ tables[1][byte(6)] ^ tables[0][byte(7)];
  }
  return sum;
}

// The part of a key that decides where it belongs: what stands between the first '{' and the next '}', if that is not
// nothing, else the whole key.
inline std::string_view hash_tag(std::string_view key) noexcept {
  const std::size_t open = key.find('{');
  if (open == std::string_view::npos) return key;
  const std::string_view behind = key.substr(open + 1);
  const std::size_t size = behind.find('}');
  return size == std::string_view::npos || size == 0 ? key : behind.substr(0, size);
}

// The slot of a key in a cluster.
inline std::size_t slot_of(std::string_view key) noexcept { return crc16(hash_tag(key)) % slot_count; }

// The slot of a key with a prefix before it.
inline std::size_t slot_of(std::string_view prefix, std::string_view key) {
  if (prefix.empty()) return slot_of(key);
  const std::string_view tag = hash_tag(prefix);
  if (tag.size() != prefix.size()) return slot_of(tag);
  std::string whole;
  whole.reserve(prefix.size() + key.size());
  return slot_of(whole.append(prefix).append(key));
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
