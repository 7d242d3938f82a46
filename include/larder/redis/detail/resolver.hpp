// SPDX-License-Identifier: MIT
#pragma once

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../../error.hpp"
#include "../options.hpp"
#include "clock.hpp"
#include "hiredis.hpp"
#include "socket.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

struct SocketAddress {
  SocketAddress(const void* address, std::size_t length) noexcept : size(static_cast<socklen_t>(length)) {
    std::memcpy(&storage, address, length);
  }

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }

  sockaddr_storage storage{};
  socklen_t size;
};

// The addresses of a host, in the order in which the system prefers them. The system's resolver takes the time it
// takes. Throws ConnectionError.
inline std::vector<SocketAddress> resolve(const std::string& host, int port) {
  start_network();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
#ifdef _WIN32
  if (error != 0) throw ConnectionError(std::string("cannot resolve the name: ") + ::gai_strerrorA(error));
#else
  if (error != 0) throw ConnectionError(std::string("cannot resolve the name: ") + ::gai_strerror(error));
#endif
  const struct Freed {
    addrinfo* list;
    ~Freed() { ::freeaddrinfo(list); }
  } freed{found};
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
    if (entry->ai_addrlen <= sizeof(sockaddr_storage)) addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
  }
  if (addresses.empty()) throw ConnectionError("cannot resolve the name: it has no address");
  return addresses;
}

// That of a unix socket. Options::validate() has seen to the length of the path.
inline SocketAddress unix_address([[maybe_unused]] const std::string& path) {
#ifdef _WIN32
  throw ConnectionError("unix sockets are not supported on Windows");
#else
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return {&address, sizeof address};
#endif
}

// Where a server is, and what attempts to connect have found out about it. Thread-safe.
class AddressBook {
 public:
  explicit AddressBook(const Options& options) : options_(options) {}

  // The addresses of the server, the one first that is to be tried first. May have to look up the host's name. Throws
  // ConnectionError.
  std::vector<SocketAddress> addresses() {
    if (!options_.unix_socket.empty()) return {unix_address(options_.unix_socket)};
    auto found = take_untried();
    if (found.empty()) found = resolve(options_.host, options_.port);
    const auto first = static_cast<std::ptrdiff_t>(first_.load(std::memory_order_relaxed) % found.size());
    std::rotate(found.begin(), found.begin() + first, found.end());
    return found;
  }

  // The look-up took so long that there was no time left to try any: the next attempt need not wait for it.
  void keep_untried(std::vector<SocketAddress> addresses) {
    const std::lock_guard<std::mutex> hold(mutex_);
    untried_ = std::move(addresses);
    kept_at_ = Clock::now();
  }

  // The next attempt begins `number` addresses further on.
  void skip(std::size_t number) noexcept { first_.fetch_add(number, std::memory_order_relaxed); }

 private:
  static constexpr std::chrono::seconds keep_for{60};

  std::vector<SocketAddress> take_untried() {
    const std::lock_guard<std::mutex> hold(mutex_);
    auto taken = std::exchange(untried_, {});
    if (Clock::now() - kept_at_ > keep_for) taken.clear();
    return taken;
  }

  const Options& options_;
  std::atomic<std::size_t> first_{0};
  std::mutex mutex_;
  std::vector<SocketAddress> untried_;
  TimePoint kept_at_{};
};

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
