// SPDX-License-Identifier: MIT
#pragma once

// The only place where operating systems differ.

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#endif

#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "../../error.hpp"
#include "../options.hpp"
#include "hiredis.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

using Socket = decltype(redisContext::fd);

#ifdef _WIN32
using Length = int;
using PollEntry = WSAPOLLFD;
constexpr int send_flags = 0;
constexpr int receive_flags = 0;  // a borrowed, blocking socket is read only when it is readable
inline int last_error() noexcept { return WSAGetLastError(); }
inline bool would_block(int error) noexcept { return error == WSAEWOULDBLOCK; }
inline bool was_interrupted(int) noexcept { return false; }
inline int poll_sockets(PollEntry* entry, int timeout) noexcept { return WSAPoll(entry, 1, timeout); }
inline std::string resolver_message(int error) { return ::gai_strerrorA(error); }
inline void start_network() {  // hiredis does it too, but connects later
  WSADATA data;
  [[maybe_unused]] static const int started = ::WSAStartup(MAKEWORD(2, 2), &data);
}
#else
using Length = std::size_t;
using PollEntry = pollfd;
#ifdef MSG_NOSIGNAL
constexpr int send_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#else
constexpr int send_flags = MSG_DONTWAIT;  // suppress_sigpipe() does the rest
#endif
constexpr int receive_flags = MSG_DONTWAIT;
inline int last_error() noexcept { return errno; }
inline bool would_block(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }
inline bool was_interrupted(int error) noexcept { return error == EINTR; }
inline int poll_sockets(PollEntry* entry, int timeout) noexcept { return ::poll(entry, 1, timeout); }
inline std::string resolver_message(int error) { return ::gai_strerror(error); }
inline void start_network() noexcept {}
#endif

[[noreturn]] inline void throw_connection_lost(int error) {
  throw ConnectionError("the connection was lost: " + std::system_category().message(error));
}

// Sends what fits now; how many bytes that were. Never raises SIGPIPE.
inline std::size_t send_some(Socket socket, const char* bytes, std::size_t size) {
  for (;;) {
    const auto sent = ::send(socket, bytes, static_cast<Length>((std::min)(size, std::size_t{1} << 30)), send_flags);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    const int error = last_error();
    if (would_block(error)) return 0;
    if (!was_interrupted(error)) throw_connection_lost(error);
  }
}

// Receives what is there now; how many bytes that were.
inline std::size_t receive_some(Socket socket, char* bytes, std::size_t size) {
  for (;;) {
    const auto received = ::recv(socket, bytes, static_cast<Length>(size), receive_flags);
    if (received > 0) return static_cast<std::size_t>(received);
    if (received == 0) throw ConnectionError("the connection was closed by the server");
    const int error = last_error();
    if (would_block(error)) return 0;
    if (!was_interrupted(error)) throw_connection_lost(error);
  }
}

// Whether wait_and_receive() can be used from now on; it waits at most this long.
inline bool receive_for([[maybe_unused]] Socket socket, [[maybe_unused]] std::chrono::milliseconds longest) noexcept {
#ifdef _WIN32
  return false;  // all other calls would wait, too
#else
  const auto micros = std::chrono::microseconds(longest).count();
  timeval value{};
  value.tv_sec = static_cast<decltype(value.tv_sec)>(micros / 1'000'000);
  value.tv_usec = static_cast<decltype(value.tv_usec)>(micros % 1'000'000);
  return ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value) == 0 &&
         ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) & ~O_NONBLOCK) == 0;
#endif
}

// Waits for bytes; how many came, 0 if the time was up or a signal came.
inline std::size_t wait_and_receive(Socket socket, char* bytes, std::size_t size) {
  const auto received = ::recv(socket, bytes, static_cast<Length>(size), 0);
  if (received > 0) return static_cast<std::size_t>(received);
  if (received == 0) throw ConnectionError("the connection was closed by the server");
  const int error = last_error();
  if (!would_block(error) && !was_interrupted(error)) throw_connection_lost(error);
  return 0;
}

// Waits until one of `events` (POLLIN, POLLOUT) or an error is there, and returns what is; 0 if the deadline came
// first.
inline short wait_for(Socket socket, short events, Deadline deadline) {
  constexpr std::chrono::milliseconds longest = std::chrono::hours(1);  // in one go
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return 0;
    const auto left = (std::min)(std::chrono::ceil<std::chrono::milliseconds>(deadline - now), longest);
    PollEntry entry{socket, events, 0};
    const int ready = poll_sockets(&entry, static_cast<int>(left.count()));
    if (ready > 0) return entry.revents;
    if (ready < 0 && !was_interrupted(last_error())) throw_connection_lost(last_error());
  }
}

// Whether bytes, the end of the stream or an error are there to be read.
inline bool is_readable(Socket socket) noexcept {
  PollEntry entry{socket, POLLIN, 0};
  return poll_sockets(&entry, 0) != 0;
}

// The error that a connection attempt without waiting ended with; 0 if it succeeded.
inline int pending_error(Socket socket) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size);
  return error;
}

// The receive timeout that was set on a socket; 0: none.
inline std::chrono::milliseconds receive_timeout(Socket socket) noexcept {
#ifdef _WIN32
  DWORD value = 0;
  socklen_t size = sizeof value;
  ::getsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, reinterpret_cast<char*>(&value), &size);
  return std::chrono::milliseconds(value);
#else
  timeval value{};
  socklen_t size = sizeof value;
  ::getsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &value, &size);
  return std::chrono::seconds(value.tv_sec) +
         std::chrono::ceil<std::chrono::milliseconds>(std::chrono::microseconds(value.tv_usec));
#endif
}

// No SIGPIPE, where that is a property of the socket.
inline void suppress_sigpipe([[maybe_unused]] Socket socket) noexcept {
#ifdef SO_NOSIGPIPE
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

// When it is closed, bytes that have not gone out are thrown away.
inline void reset_on_close(Socket socket) noexcept {
  linger value{};
  value.l_onoff = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&value), sizeof value);
}

// Not inherited by programs that the process starts.
inline void close_on_exec([[maybe_unused]] Socket socket) noexcept {
#ifndef _WIN32
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
#endif
}

inline void send_without_delay(Socket socket) noexcept {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof on);
}

// The addresses of a host, as text, in the order in which the system prefers them. The system's resolver takes the
// time it takes. Throws ConnectionError.
inline std::vector<std::string> addresses_of(const std::string& host) {
  start_network();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) throw ConnectionError("cannot resolve " + host + ": " + resolver_message(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    const auto size = static_cast<socklen_t>(entry->ai_addrlen);
    if (::getnameinfo(entry->ai_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      addresses.emplace_back(text);
  }
  if (addresses.empty()) throw ConnectionError("cannot resolve " + host + ": it has no address");
  return addresses;
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
