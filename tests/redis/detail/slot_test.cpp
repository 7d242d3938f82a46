#include <larder/redis/detail/slot.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using larder::redis::detail::crc16;
using larder::redis::detail::hash_tag;
using larder::redis::detail::slot_of;

namespace {

// As its definition has it, a bit at a time.
std::uint32_t crc16_by_bits(std::string_view text) {
  std::uint32_t sum = 0;
  for (const char c : text) {
    sum ^= std::uint32_t{static_cast<unsigned char>(c)} << 8;
    for (int bit = 0; bit < 8; ++bit) sum = ((sum << 1) ^ ((sum & 0x8000U) != 0 ? 0x1021U : 0U)) & 0xFFFFU;
  }
  return sum;
}

}  // namespace

TEST_CASE("CRC16 is that of the cluster specification, for every length") {
  CHECK(crc16("123456789") == 0x31C3);
  CHECK(crc16("") == 0);
  std::string text;
  for (std::size_t size = 0; size < 100; ++size) {
    REQUIRE(crc16(text) == crc16_by_bits(text));
    text += static_cast<char>(size * 151 + 7);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    REQUIRE(crc16(one) == crc16_by_bits(one));
    REQUIRE(crc16("0123456" + one + "89abcdef") == crc16_by_bits("0123456" + one + "89abcdef"));
  }
}

TEST_CASE("slots are those that a server computes") {
  CHECK(slot_of("foo") == 12182);
  CHECK(slot_of("bar") == 5061);
  CHECK(slot_of("") == 0);
  CHECK(slot_of("{user1000}.following") == slot_of("{user1000}.followers"));
  CHECK(slot_of("foo{bar}") == slot_of("bar"));
}

TEST_CASE("a hash tag is what stands in the first braces, if that is not nothing") {
  CHECK(hash_tag("{user1000}.following") == "user1000");
  CHECK(hash_tag("foo{}{bar}") == "foo{}{bar}");
  CHECK(hash_tag("foo{{bar}}zap") == "{bar");
  CHECK(hash_tag("foo{bar}{zap}") == "bar");
  CHECK(hash_tag("foo{bar") == "foo{bar");
  CHECK(hash_tag("foo}bar{") == "foo}bar{");
  CHECK(hash_tag("}{a}") == "a");
  CHECK(hash_tag("") == "");
  CHECK(hash_tag("{}") == "{}");
}

TEST_CASE("the slot of a key with a prefix is that of both together") {
  for (const std::string prefix : {"", "p:", "{tag}:", "{a", "a}", "{}", "{}{b}", "x{", "}"}) {
    for (const std::string key : {"", "key", "b}c", "{b}", "}", "{", "{}", "}{c}"}) {
      CAPTURE(prefix, key);
      CHECK(slot_of(prefix, key) == slot_of(prefix + key));
    }
  }
}
