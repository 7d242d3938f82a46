// cachecontrol_peer URL PREFIX get KEY             writes the value to standard output; status 3: a miss
// cachecontrol_peer URL PREFIX set KEY [EXPIRY]    reads the value from standard input
// A key is given in hexadecimal; an expiry as seconds, or as @ and the seconds since 1970 of a deadline.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <iterator>
#include <larder/redis_cache.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

template <class Number>
Number number(std::string_view text, int base) {
  Number read{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), read, base);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) throw std::invalid_argument("not a number");
  return read;
}

std::string from_hex(std::string_view digits) {
  std::string bytes;
  for (; !digits.empty(); digits.remove_prefix(2)) {
    bytes += static_cast<char>(number<unsigned char>(digits.substr(0, 2), 16));
  }
  return bytes;
}

larder::Expiry expiry(std::string_view text) {
  if (text.empty()) return {};
  if (text.front() != '@') return number<std::int64_t>(text, 10);
  return std::chrono::system_clock::time_point(std::chrono::seconds(number<std::int64_t>(text.substr(1), 10)));
}

int run(const std::string_view* words, int count) {
  if (count != 4 && count != 5) throw std::invalid_argument("wrong number of arguments");
  larder::RedisCache cache(words[0], std::string(words[1]));
  const std::string key = from_hex(words[3]);
  if (words[2] == "get") {
    const auto value = cache.get(key);
    if (value) std::cout << *value << std::flush;
    return value ? 0 : 3;
  }
  if (words[2] != "set") throw std::invalid_argument("neither get nor set");
  const std::string value(std::istreambuf_iterator<char>(std::cin), {});
  cache.set(key, value, expiry(count == 5 ? words[4] : std::string_view()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string_view words[6];
  for (int i = 1; i < argc && i < 7; ++i) words[i - 1] = argv[i];
  return run(words, argc - 1);
} catch (const std::exception& error) {
  std::cerr << "cachecontrol_peer: " << error.what() << '\n';
  return 1;
}
