// SPDX-License-Identifier: MIT
#pragma once

#ifndef _WIN32
#include <sys/socket.h>
#include <sys/un.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../error.hpp"
#include "../observer.hpp"
#include "../version.hpp"
#include "detail/url.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

constexpr std::string_view one_host = "must be one; several are for redis+cluster:// or redis+sentinel://";

#ifdef _WIN32
constexpr std::size_t longest_unix_path = 107;
#else
constexpr std::size_t longest_unix_path = sizeof(sockaddr_un::sun_path) - 1;
#endif

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail

namespace larder::redis {
inline namespace LARDER_ABI {

/// A point in time by the monotonic clock, at which something must have ended.
using Deadline = std::chrono::steady_clock::time_point;

/// How much of a server's certificate must be right.
enum class TlsVerify {
  full,  ///< a trusted CA has issued it, for the name or address that was connected to
  ca,    ///< a trusted CA has issued it: for a tunnel, whose end has another name
  none,  ///< nothing: others on the way to the server can read and change everything
};

/// A user and a password that change, such as a token that expires.
class Credentials {
 public:
  Credentials() = default;
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;
  virtual ~Credentials() = default;

  /// The user, which may be empty (the default user), and the password. Asked before each connection is made, by the
  /// caller's thread that makes it, and by several at a time: it has to be thread-safe. Its time is on top of
  /// connect_timeout. What it throws is a failure to connect.
  [[nodiscard]] virtual std::pair<std::string, std::string> get() = 0;
};

/// Where Redis is, who asks, how long it may take, and how much of it.
struct Options {
  std::string host = "127.0.0.1";                      ///< a name or an address
  std::string unix_socket;                             ///< the path of a socket, in place of host and port
  std::string username;                                ///< empty: the default user
  std::string password;                                ///< with no username either, empty: no authentication
  std::string client_name;                             ///< for CLIENT LIST: ASCII without spaces; empty: none
  int port = 6379;                                     ///< of the host
  int database = 0;                                    ///< the number for SELECT
  std::chrono::milliseconds connect_timeout{500};      ///< to connect and authenticate, once the name is looked up
  std::chrono::milliseconds command_timeout{1000};     ///< for one command, or one piece of a batch
  std::size_t connections = 4;                         ///< at most this many, opened as they are needed
  std::chrono::microseconds busy_poll{50};             ///< try this long before sleeping; 0: never
  std::size_t max_reply_bytes = std::size_t{1} << 30;  ///< a longer reply is a ProtocolError
  bool primary_only = false;                           ///< a server that says it is a replica is refused
  std::shared_ptr<Observer> observer;                  ///< is told of connections and repeats; not in the URL
  std::chrono::milliseconds connection_lifetime{0};    ///< an idle connection older than this is replaced; 0: never
  std::shared_ptr<Credentials> credentials;            ///< in place of username and password; not in the URL
  bool tls = false;                                    ///< needs larder/redis/tls.hpp somewhere in the program
  TlsVerify tls_verify = TlsVerify::full;              ///< in a URL: full, ca or none
  std::string tls_server_name;                         ///< for SNI, and that the certificate must have; empty: host
  std::string tls_ca_file;                             ///< CAs to trust in place of the system's, as PEM
  std::string tls_ca_path;                             ///< a folder of such, by their hashes; may be used with the file
  std::string tls_cert_file;                           ///< the client's certificate and its chain, as PEM
  std::string tls_key_file;                            ///< its key, without a passphrase; empty: in tls_cert_file

  /// Reads `redis://[user[:password]@]host[:port][/database][?option=value&…]`, the same with `rediss://` for TLS, or
  /// `unix://[user[:password]@]/path[?option=value&…]`. `valkey://` and `valkeys://` mean `redis://` and `rediss://`.
  /// Every member is an option by its name unless it says otherwise, and `db` is short for `database`; durations have a
  /// unit: `us`, `ms`, `s` or `min`. User, password, path and option values are percent-decoded; an IPv6 address stands
  /// in brackets. Throws InvalidArgument, which names the part that is wrong and shows none of it.
  static Options from_url(std::string_view url);

  /// Throws InvalidArgument, which names the first member that cannot be used.
  void validate() const;
};

}  // namespace LARDER_ABI
}  // namespace larder::redis

namespace larder::redis::detail {
inline namespace LARDER_ABI {

inline void assign(std::string_view name, std::string_view text, TlsVerify& member) {
  if (text != "full" && text != "ca" && text != "none") throw_bad_option(name, "must be full, ca or none");
  member = text == "full" ? TlsVerify::full : text == "ca" ? TlsVerify::ca : TlsVerify::none;
}

// Call visit(name, member) for every option of a URL: those that say where a server is, and the others.
template <class Visit>
void for_each_option_of_place(Options& options, Visit visit) {
  visit("host", options.host);
  visit("port", options.port);
  visit("unix_socket", options.unix_socket);
}
template <class Visit>
void for_each_other_option(Options& options, Visit visit) {
  visit("username", options.username);
  visit("password", options.password);
  visit("database", options.database);
  visit("client_name", options.client_name);
  visit("connect_timeout", options.connect_timeout);
  visit("command_timeout", options.command_timeout);
  visit("connections", options.connections);
  visit("busy_poll", options.busy_poll);
  visit("max_reply_bytes", options.max_reply_bytes);
  visit("primary_only", options.primary_only);
  visit("connection_lifetime", options.connection_lifetime);
  visit("tls", options.tls);
  visit("tls_verify", options.tls_verify);
  visit("tls_server_name", options.tls_server_name);
  visit("tls_ca_file", options.tls_ca_file);
  visit("tls_ca_path", options.tls_ca_path);
  visit("tls_cert_file", options.tls_cert_file);
  visit("tls_key_file", options.tls_key_file);
}

// Gives options what the parts of a URL say. `for_each(visit)` calls visit(name, member) for each that there is.
template <class ForEach>
class OptionSetter {
 public:
  explicit OptionSetter(ForEach for_each) : for_each_(std::move(for_each)) {}

  void set(const Url::Setting& setting) {
    const std::string_view name = setting.name == "db" ? "database" : setting.name;
    bool known = false;
    std::uint64_t bit = 1;
    for_each_([&](std::string_view option, auto& member) {
      if (option == name) {
        if (given_ & bit) throw_bad_option(name, "is given twice");
        given_ |= bit;
        assign(name, setting.value, member);
        known = true;
      }
      bit <<= 1;
    });
    if (!known) throw_unknown(name);
    had_password_ = had_password_ || name == "password" || name == "sentinel_password";
  }

 private:
  [[noreturn]] void throw_unknown(std::string_view name) {
    std::string text = "URL: unknown option";
    if (!had_password_) text.append(" ").append(name);  // else it may be a part of one with an unencoded '&'
    const char* before = "; there are: ";
    for_each_([&](std::string_view option, const auto&) {
      text.append(before).append(option);
      before = ", ";
    });
    throw InvalidArgument(text);
  }

  const ForEach for_each_;
  std::uint64_t given_ = 0;  // a bit for each option that has been set, of at most 64
  bool had_password_ = false;
};

// For another server, which does not speak TLS.
inline void remove_tls(Options& options) {
  const Options none;
  options.tls = none.tls;
  options.tls_verify = none.tls_verify;
  for (auto* text : {&options.tls_server_name, &options.tls_ca_file, &options.tls_ca_path, &options.tls_cert_file,
                     &options.tls_key_file}) {
    text->clear();
  }
}

// Throws InvalidArgument, which names the first member that cannot be used.
inline void check_tls(const Options& options) {
  bool has_files = false;
  const auto check_text = [&](std::string_view name, const std::string& text) {
    if (text.find('\0') != std::string::npos) throw_bad_option(name, "must not contain a NUL byte");
    has_files = has_files || !text.empty();
  };
  check_text("tls_server_name", options.tls_server_name);
  check_text("tls_ca_file", options.tls_ca_file);
  check_text("tls_ca_path", options.tls_ca_path);
  check_text("tls_cert_file", options.tls_cert_file);
  check_text("tls_key_file", options.tls_key_file);
  if (!options.tls_key_file.empty() && options.tls_cert_file.empty())
    throw_bad_option("tls_cert_file", "must be given together with tls_key_file");
  if (!options.tls && (has_files || options.tls_verify != TlsVerify::full))
    throw_bad_option("tls", "must be on for the other options of TLS: rediss:// or tls=true");
  if (options.tls && !options.unix_socket.empty()) throw_bad_option("tls", "is not for a unix socket");
}

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail

namespace larder::redis {
inline namespace LARDER_ABI {

inline Options Options::from_url(std::string_view text) {
  using detail::throw_bad_option;
  const detail::Url url = detail::split_url(text);
  std::vector<detail::Url::Setting> place;
  if (url.scheme == "unix") {
    if (!url.hosts.empty())
      throw InvalidArgument("URL: unix:// takes a path with a leading '/', as in unix:///run/redis.sock");
    if (url.path.empty()) throw_bad_option("unix_socket", "must be the path of a socket, as in unix:///run/redis.sock");
    place.push_back({"unix_socket", url.path});
  } else {
    if (url.scheme == "rediss") place.push_back({"tls", "true"});
    if (url.hosts.find(',') != std::string_view::npos) throw_bad_option("host", detail::one_host);
    detail::split_host(url.hosts, place);
    if (url.path.size() > 1) place.push_back({"database", url.path.substr(1)});
  }
  Options options;
  detail::OptionSetter setter([&](auto visit) {
    detail::for_each_option_of_place(options, visit);
    detail::for_each_other_option(options, visit);
  });
  for (const auto& setting : place) setter.set(setting);
  for (const auto& setting : url.settings) setter.set(setting);
  options.validate();
  return options;
}

inline void Options::validate() const {
  using detail::throw_bad_option;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7F'; };
  if (unix_socket.empty() && host.empty()) throw_bad_option("host", "must not be empty");
  if (std::any_of(host.begin(), host.end(), is_control)) {
    throw_bad_option("host", "must not contain spaces or control characters");
  }
  if (host.find(',') != std::string::npos) throw_bad_option("host", detail::one_host);
  if (std::any_of(client_name.begin(), client_name.end(), [](char c) { return c < '!' || c > '~'; })) {
    throw_bad_option("client_name", "must not contain spaces, control characters or bytes that are not ASCII");
  }
  if (unix_socket.find('\0') != std::string::npos) throw_bad_option("unix_socket", "must not contain a NUL byte");
  if (unix_socket.size() > detail::longest_unix_path) {
    throw_bad_option("unix_socket", "must have at most " + std::to_string(detail::longest_unix_path) +
                                        " bytes, which is all that the system takes");
  }
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
  if (connection_lifetime.count() < 0 || connection_lifetime > longest)
    throw_bad_option("connection_lifetime", "must not be negative, nor over a year");
  if (credentials && !(username.empty() && password.empty()))
    throw_bad_option("credentials", "must not be given together with username or password");
  detail::check_tls(*this);
}

}  // namespace LARDER_ABI
}  // namespace larder::redis
