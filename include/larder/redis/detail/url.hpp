// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

[[noreturn]] inline void throw_bad_option(std::string_view name, std::string_view rule) {
  throw InvalidArgument(std::string(name).append(": ").append(rule));
}

inline std::string percent_decoded(std::string_view name, std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned char byte = 0;
    const char* const digits = text.data() + i + 1;
    if (text.size() - i < 3 || std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) {
      throw_bad_option(name, "a '%' must be followed by two hexadecimal digits; '%' itself is written %25");
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

// Digits alone, in the range of Integer; the rest of the text is returned.
template <class Integer>
std::string_view read_number(std::string_view name, std::string_view text, Integer& number) {
  const char* const end = text.data() + text.size();
  std::from_chars_result read{text.data(), std::errc::invalid_argument};
  if (!text.empty() && text.front() != '-') read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc()) throw_bad_option(name, "must be a number that is not negative and not too large");
  return text.substr(static_cast<std::size_t>(read.ptr - text.data()));
}

inline void assign(std::string_view name, std::string_view text, std::string& member) {
  member = percent_decoded(name, text);
}

inline void assign(std::string_view name, std::string_view text, bool& member) {
  if (text != "true" && text != "false") throw_bad_option(name, "must be true or false");
  member = text == "true";
}

template <class Integer, std::enable_if_t<std::is_integral_v<Integer>, int> = 0>
void assign(std::string_view name, std::string_view text, Integer& member) {
  if (!read_number(name, text, member).empty()) throw_bad_option(name, "must be a number");
}

template <class Rep, class Period>
void assign(std::string_view name, std::string_view text, std::chrono::duration<Rep, Period>& member) {
  using Member = std::chrono::duration<Rep, Period>;
  std::int64_t count = 0;
  const std::string_view unit = read_number(name, text, count);
  constexpr std::int64_t longest = 1'000'000'000;  // keeps every unit within range
  if (count > longest) throw_bad_option(name, "is too long");
  const auto in = [&](auto given) { member = std::chrono::ceil<Member>(given); };
  if (unit == "us" || (unit.empty() && count == 0)) return in(std::chrono::microseconds(count));
  if (unit == "ms") return in(std::chrono::milliseconds(count));
  if (unit == "s") return in(std::chrono::seconds(count));
  if (unit == "min") return in(std::chrono::minutes(count));
  throw_bad_option(name, "must be a number with a unit: us, ms, s or min, as in 500ms");
}

// Takes the front of `text` up to `separator`, and the separator; all of it if there is none.
inline std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view front = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return front;
}

// A URL taken apart. All texts are still percent-encoded.
struct Url {
  struct Setting {
    std::string_view name, value;
  };

  std::string_view scheme;        // "redis"
  std::string_view hosts;         // without the user
  std::string_view path;          // with its '/'
  std::vector<Setting> settings;  // what user, password and options set, by the names of the options
};

inline void split_user(std::string_view user, std::vector<Url::Setting>& settings) {
  const bool has_password = user.find(':') != std::string_view::npos;
  const std::string_view name = take_until(user, ':');
  if (!name.empty()) settings.push_back({"username", name});
  if (has_password) settings.push_back({"password", user});
}

inline Url split_url(std::string_view text) {
  Url url;
  const std::size_t colon = text.find("://");
  if (colon != std::string_view::npos) {
    url.scheme = text.substr(0, colon);
    text.remove_prefix(colon + 3);
  }
  if (url.scheme == "valkey") url.scheme = "redis";
  if (url.scheme == "valkeys") url.scheme = "rediss";
  if (url.scheme != "redis" && url.scheme != "rediss" && url.scheme != "unix") {
    throw InvalidArgument(
        "URL: must begin with redis://, rediss://, unix:// or, for several hosts, redis+cluster:// or "
        "redis+sentinel://");
  }
  if (text.find('#') != std::string_view::npos) throw InvalidArgument("URL: '#' must be written %23");

  const std::size_t authority_size = (std::min)(text.find_first_of("/?"), text.size());
  url.hosts = text.substr(0, authority_size);
  text.remove_prefix(authority_size);
  // What follows may be a password that was not encoded: it is not looked at, so that no message shows it.
  if (text.find('@') != std::string_view::npos) {
    throw InvalidArgument("URL: '@', '/' and '?' in a user name, password, path or option must be percent-encoded");
  }
  const std::size_t at = url.hosts.rfind('@');
  if (at != std::string_view::npos) {
    split_user(url.hosts.substr(0, at), url.settings);
    url.hosts.remove_prefix(at + 1);
  }
  url.path = take_until(text, '?');
  while (!text.empty()) {
    std::string_view value = take_until(text, '&');
    if (value.find('=') == std::string_view::npos) throw InvalidArgument("URL: an option is written name=value");
    const std::string_view name = take_until(value, '=');
    url.settings.push_back({name, value});
  }
  return url;
}

// Adds what "host:port" or "[address]:port" sets.
inline void split_host(std::string_view text, std::vector<Url::Setting>& settings) {
  if (!text.empty() && text.front() == '[') {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) throw_bad_option("host", "a '[' needs a ']' after the address");
    settings.push_back({"host", text.substr(1, bracket - 1)});
    text.remove_prefix(bracket + 1);
    if (text.empty()) return;
    if (text.front() != ':') throw_bad_option("port", "must be separated from the host by ':'");
    settings.push_back({"port", text.substr(1)});
    return;
  }
  const bool has_port = text.find(':') != std::string_view::npos;
  const std::string_view host = take_until(text, ':');
  if (text.find(':') != std::string_view::npos) {
    throw_bad_option("host", "must be followed by one ':' and the port; an IPv6 address is written in brackets: [::1]");
  }
  if (!host.empty()) settings.push_back({"host", host});
  if (has_port) settings.push_back({"port", text});
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
