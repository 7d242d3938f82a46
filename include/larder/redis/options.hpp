#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "../error.hpp"

namespace larder::redis {

/// Where Redis is, who asks, how long it may take, and how much of it.
struct Options {
  std::string host = "127.0.0.1";                      ///< a name or an address
  std::string unix_socket;                             ///< the path of a socket, in place of host and port
  std::string username;                                ///< empty: the default user
  std::string password;                                ///< with no username either, empty: no authentication
  std::string client_name;                             ///< as CLIENT LIST shows it; empty: none
  int port = 6379;                                     ///< of the host
  int database = 0;                                    ///< the number for SELECT
  std::chrono::milliseconds connect_timeout{500};      ///< to connect and authenticate, once the name is looked up
  std::chrono::milliseconds command_timeout{1000};     ///< for one command, or one piece of a batch
  std::size_t connections = 4;                         ///< at most so many, opened as they are needed
  std::chrono::microseconds busy_poll{50};             ///< try this long before sleeping; 0: never
  std::size_t max_reply_bytes = std::size_t{1} << 30;  ///< a longer reply is a ProtocolError

  /// Reads `redis://[user[:password]@]host[:port][/database][?option=value&…]` or
  /// `unix://[user[:password]@]/path[?option=value&…]`. Every member is an option by its name, and `db` is short for
  /// `database`; durations have a unit: `us`, `ms`, `s` or `min`. User, password, path and option values are
  /// percent-decoded; an IPv6 address stands in brackets. Throws InvalidArgument, which names the part that is wrong
  /// and shows none of it.
  static Options from_url(std::string_view url);

  /// Throws InvalidArgument, which names the first member that cannot be used.
  void check() const;
};

namespace detail {

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

// Calls visit(name, member) for every option of a URL.
template <class Visit>
void for_each_option(Options& options, Visit visit) {
  visit("host", options.host);
  visit("unix_socket", options.unix_socket);
  visit("username", options.username);
  visit("password", options.password);
  visit("client_name", options.client_name);
  visit("port", options.port);
  visit("database", options.database);
  visit("connect_timeout", options.connect_timeout);
  visit("command_timeout", options.command_timeout);
  visit("connections", options.connections);
  visit("busy_poll", options.busy_poll);
  visit("max_reply_bytes", options.max_reply_bytes);
}

// Takes the front of `text` up to `separator`, and the separator; all of it if there is none.
inline std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view front = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return front;
}

class UrlReader {
 public:
  Options read(std::string_view url) {
    const bool is_unix = starts_with(url, "unix://");
    if (starts_with(url, "rediss://")) {
      throw InvalidArgument("URL: rediss:// needs TLS, which this version does not have; use redis:// or unix://");
    }
    if (!is_unix && !starts_with(url, "redis://")) throw InvalidArgument("URL: must begin with redis:// or unix://");
    url.remove_prefix(is_unix ? 7 : 8);
    if (url.find('#') != std::string_view::npos) throw InvalidArgument("URL: '#' must be written %23");

    const std::size_t authority_size = (std::min)(url.find_first_of("/?"), url.size());
    std::string_view authority = url.substr(0, authority_size);
    url.remove_prefix(authority_size);
    // What follows may be a password that was not encoded: it is not looked at, lest it be shown.
    if (url.find('@') != std::string_view::npos) {
      throw InvalidArgument("URL: '@', '/' and '?' in a user name, password, path or option must be percent-encoded");
    }
    const std::size_t at = authority.rfind('@');
    if (at != std::string_view::npos) {
      read_user(authority.substr(0, at));
      authority.remove_prefix(at + 1);
    }
    const std::string_view path = take_until(url, '?');
    if (is_unix) {
      if (!authority.empty())
        throw InvalidArgument("URL: unix:// takes a path with a leading '/', as in unix:///run/redis.sock");
      if (path.empty()) throw_bad_option("unix_socket", "must be the path of a socket, as in unix:///run/redis.sock");
      set("unix_socket", path);
    } else {
      read_host(authority);
      if (path.size() > 1) set("database", path.substr(1));
    }
    while (!url.empty()) {
      std::string_view value = take_until(url, '&');
      if (value.find('=') == std::string_view::npos) throw InvalidArgument("URL: an option is written name=value");
      const std::string_view name = take_until(value, '=');
      set(name == "db" ? "database" : name, value);
    }
    return options_;
  }

 private:
  static bool starts_with(std::string_view text, std::string_view start) {
    return text.substr(0, start.size()) == start;
  }

  void read_user(std::string_view user) {
    const bool has_password = user.find(':') != std::string_view::npos;
    const std::string_view name = take_until(user, ':');
    if (!name.empty()) set("username", name);
    if (has_password) set("password", user);
  }

  void read_host(std::string_view authority) {
    if (!authority.empty() && authority.front() == '[') {
      const std::size_t bracket = authority.find(']');
      if (bracket == std::string_view::npos) throw_bad_option("host", "a '[' needs a ']' after the address");
      set("host", authority.substr(1, bracket - 1));
      authority.remove_prefix(bracket + 1);
      if (authority.empty()) return;
      if (authority.front() != ':') throw_bad_option("port", "must be separated from the host by ':'");
      return set("port", authority.substr(1));
    }
    const bool has_port = authority.find(':') != std::string_view::npos;
    const std::string_view host = take_until(authority, ':');
    if (!host.empty()) set("host", host);
    if (has_port) set("port", authority);
  }

  void set(std::string_view name, std::string_view value) {
    bool known = false;
    unsigned bit = 1;
    for_each_option(options_, [&](std::string_view option, auto& member) {
      if (option == name) {
        if (given_ & bit) throw_bad_option(name, "is given twice");
        given_ |= bit;
        assign(name, value, member);
        known = true;
      }
      bit <<= 1;
    });
    if (!known) {  // after a password with an unencoded '&' it may be a part of that
      throw InvalidArgument("URL: unknown option" + (has_password_option_ ? "" : " " + std::string(name)));
    }
    has_password_option_ = has_password_option_ || name == "password";
  }

  Options options_;
  unsigned given_ = 0;  // a bit for each option that has been set
  bool has_password_option_ = false;
};

}  // namespace detail

inline Options Options::from_url(std::string_view url) {
  Options options = detail::UrlReader().read(url);
  options.check();
  return options;
}

inline void Options::check() const {
  using detail::throw_bad_option;
  const auto is_text = [](const std::string& text) { return text.find('\0') == std::string::npos; };
  if (unix_socket.empty() && host.empty()) throw_bad_option("host", "must not be empty");
  if (!is_text(host)) throw_bad_option("host", "must not contain a NUL byte");
  if (!is_text(unix_socket)) throw_bad_option("unix_socket", "must not contain a NUL byte");
  if (port < 1 || port > 65535) throw_bad_option("port", "must be from 1 to 65535");
  if (database < 0) throw_bad_option("database", "must not be negative");
  constexpr auto longest = std::chrono::hours(24 * 365);
  const auto is_duration = [&](auto duration) { return duration.count() > 0 && duration <= longest; };
  if (!is_duration(connect_timeout)) throw_bad_option("connect_timeout", "must be more than 0, and at most a year");
  if (!is_duration(command_timeout)) throw_bad_option("command_timeout", "must be more than 0, and at most a year");
  if (connections < 1 || connections > 1024) throw_bad_option("connections", "must be from 1 to 1024");
  if (busy_poll.count() < 0 || busy_poll > longest)
    throw_bad_option("busy_poll", "must not be negative, nor over a year");
  if (max_reply_bytes == 0) throw_bad_option("max_reply_bytes", "must be at least 1");
}

}  // namespace larder::redis
