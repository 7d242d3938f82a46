#include <larder/codec.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using larder::Codec;

namespace {

enum class Small : unsigned char { low = 0, high = 255 };
enum class Signed : int { minus = -1, one = 1 };
enum class Flag : bool { off, on };
enum Plain { none, some };

template <class T>
std::string encoded(const T& value) {
  std::string bytes = "before ";
  Codec<T>::encode(value, bytes);  // appends
  REQUIRE(bytes.compare(0, 7, "before ") == 0);
  return bytes.substr(7);
}

/// Whether a value becomes these bytes, and these bytes the value.
template <class T>
bool is_coded_as(const T& value, std::string_view bytes) {
  return encoded(value) == bytes && Codec<T>::decode(bytes) == std::optional<T>(std::in_place, value);
}

template <class T>
void check_refused(const std::vector<std::string>& all) {
  for (const auto& bytes : all) {
    INFO(bytes);
    CHECK_FALSE(Codec<T>::decode(bytes).has_value());
  }
}

/// Bytes that somebody might find in a cache.
std::vector<std::string> hostile_bytes() {
  std::vector<std::string> all = {"",
                                  " ",
                                  "\n",
                                  "-",
                                  "+",
                                  "--1",
                                  "0x10",
                                  "1e3",
                                  "1.0",
                                  "nan",
                                  "null",
                                  "true",
                                  "[",
                                  "\xFF",
                                  "\xFFopt",
                                  "\xFFopt2",
                                  "\xFFopt00",
                                  "\xFFop",
                                  std::string(1, '\0'),
                                  std::string("1\0", 2),
                                  std::string(100'000, '9'),
                                  std::string(100'000, '[')};
  for (int byte = 0; byte < 256; ++byte) all.emplace_back(3, static_cast<char>(byte));
  return all;
}

/// What is decoded becomes the same bytes again: nothing is guessed.
template <class T>
void check_hostile() {
  for (const auto& bytes : hostile_bytes()) {
    const auto value = Codec<T>::decode(bytes);
    if (value) CHECK(encoded(*value) == bytes);
  }
}

}  // namespace

TEST_CASE("strings are their own bytes") {
  for (const auto& text : hostile_bytes()) CHECK(is_coded_as(text, text));
}

TEST_CASE("integers are decimal text") {
  CHECK(is_coded_as(0, "0"));
  CHECK(is_coded_as(-1, "-1"));
  CHECK(is_coded_as(std::numeric_limits<std::int64_t>::min(), "-9223372036854775808"));
  CHECK(is_coded_as(std::numeric_limits<std::uint64_t>::max(), "18446744073709551615"));
  CHECK(is_coded_as(std::uint8_t{65}, "65"));
  CHECK(is_coded_as(static_cast<signed char>(-128), "-128"));
  CHECK(is_coded_as(short{-7}, "-7"));
  check_refused<int>({"", "-", "+1", "01", "-0", "00", " 1", "1 ", "1a", "1.0", "0x1", "2147483648", "-2147483649"});
  check_refused<unsigned>({"-1", "4294967296"});
  check_refused<std::uint8_t>({"256", "A", "-1"});
  check_hostile<int>();
  check_hostile<std::uint64_t>();
}

TEST_CASE("bool is 1 or 0") {
  CHECK(is_coded_as(true, "1"));
  CHECK(is_coded_as(false, "0"));
  check_refused<bool>({"", "2", "true", "01", "1 "});
}

TEST_CASE("enums are decimal text") {
  CHECK(is_coded_as(Small::high, "255"));
  CHECK(is_coded_as(Signed::minus, "-1"));
  CHECK(is_coded_as(Flag::on, "1"));
  CHECK(is_coded_as(some, "1"));
  check_refused<Small>({"256", "-1", ""});
  check_refused<Flag>({"2", "-1", "on"});
  check_hostile<Signed>();
}

TEST_CASE("there is none is a value") {
  using Number = std::optional<int>;
  using Text = std::optional<std::string>;
  CHECK(is_coded_as(Number(), "\xFFopt0"));
  CHECK(is_coded_as(Number(7),
                    "\xFFopt1"
                    "7"));
  CHECK(is_coded_as(Text(""), "\xFFopt1"));
  CHECK(is_coded_as(Text("0"),
                    "\xFFopt1"
                    "0"));
  CHECK(is_coded_as(std::optional<Number>(Number()), "\xFFopt1\xFFopt0"));
  CHECK(is_coded_as(std::optional<Number>(), "\xFFopt0"));
  SECTION("bytes of a plain value are none of an optional") {
    check_refused<Number>({"", "0", "1", "17", "-1", "\xFFopt1", "\xFFopt1x", "\xFFopt07", "\xFFopt"});
    check_refused<Text>({"", "0", "1value", "value", "null", "\xFF", "\xFFop", "\xFFopt", "\xFFopt2value"});
  }
  check_hostile<Number>();
  check_hostile<Text>();
}
