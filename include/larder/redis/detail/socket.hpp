// SPDX-License-Identifier: MIT
#pragma once

// The only place where operating systems differ.

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <fcntl.h>
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
#include <string>
#include <system_error>
#include <utility>

#include "../../error.hpp"
#include "../options.hpp"
#include "clock.hpp"
#include "hiredis.hpp"

namespace larder::redis::detail {
inline namespace LARDER_HIREDIS_ABI {

using Socket = decltype(redisContext::fd);

#ifdef _WIN32
using Length = int;
using PollEntry = WSAPOLLFD;
constexpr Socket no_socket = INVALID_SOCKET;
constexpr int send_flags = 0;
constexpr int receive_flags = 0;
inline int last_error() noexcept { return WSAGetLastError(); }
inline bool would_block(int error) noexcept { return error == WSAEWOULDBLOCK; }
inline bool was_interrupted(int) noexcept { return false; }
inline bool is_under_way(int error) noexcept { return error == WSAEWOULDBLOCK; }
inline bool is_not_yet(int error) noexcept { return error == WSAENOBUFS; }
inline int poll_sockets(PollEntry* entry, int timeout) noexcept { return WSAPoll(entry, 1, timeout); }
inline void close_socket(Socket socket) noexcept { ::closesocket(socket); }
inline void start_network() {
  WSADATA data;
  [[maybe_unused]] static const int started = ::WSAStartup(MAKEWORD(2, 2), &data);
}
#else
using Length = std::size_t;
using PollEntry = pollfd;
constexpr Socket no_socket = -1;
#ifdef MSG_NOSIGNAL
constexpr int send_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#else
constexpr int send_flags = MSG_DONTWAIT;  // suppress_sigpipe() does the rest
#endif
constexpr int receive_flags = MSG_DONTWAIT;
inline int last_error() noexcept { return errno; }
inline bool would_block(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }
inline bool was_interrupted(int error) noexcept { return error == EINTR; }
// An interrupted connect() goes on all the same.
inline bool is_under_way(int error) noexcept { return error == EINPROGRESS || error == EINTR; }
// A connect() that may do better in a moment: the server's queue is full (on a unix socket), or memory is short.
inline bool is_not_yet(int error) noexcept { return error == EAGAIN || error == ENOBUFS; }
inline int poll_sockets(PollEntry* entry, int timeout) noexcept { return ::poll(entry, 1, timeout); }
inline void close_socket(Socket socket) noexcept { ::close(socket); }
inline void start_network() noexcept {}
#endif

// A socket that is closed in the end.
class OwnedSocket {
 public:
  OwnedSocket() noexcept = default;
  explicit OwnedSocket(Socket socket) noexcept : socket_(socket) {}
  OwnedSocket(OwnedSocket&& other) noexcept : socket_(std::exchange(other.socket_, no_socket)) {}
  OwnedSocket& operator=(OwnedSocket&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }
  ~OwnedSocket() {
    if (*this) close_socket(socket_);
  }

  explicit operator bool() const noexcept { return socket_ != no_socket; }
  Socket get() const noexcept { return socket_; }

 private:
  Socket socket_ = no_socket;
};

inline std::string error_message(int error) { return std::system_category().message(error); }

[[noreturn]] inline void throw_connection_lost(int error) {
  throw ConnectionError("the connection was lost: " + error_message(error));
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
    const auto now = Clock::now();
    if (now >= deadline) return 0;
    const auto left = (std::min)(std::chrono::ceil<std::chrono::milliseconds>(deadline - now), longest);
    PollEntry entry{socket, events, 0};
    const int ready = poll_sockets(&entry, static_cast<int>(left.count()));
    if (ready > 0) return entry.revents;
    if (ready < 0 && !was_interrupted(last_error())) throw_connection_lost(last_error());
  }
}

// Whether one of `events` or an error is there now.
inline bool is_ready(Socket socket, short events) noexcept {
  PollEntry entry{socket, events, 0};
  return poll_sockets(&entry, 0) != 0;
}

// A stream socket that does not block, and is not inherited by programs that the process starts. Throws
// ConnectionError.
inline OwnedSocket open_socket(int family) {
#if defined(_WIN32)
  start_network();
  OwnedSocket socket(
      ::WSASocketW(family, SOCK_STREAM, 0, nullptr, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT));
  u_long on = 1;
  if (socket) ::ioctlsocket(socket.get(), static_cast<long>(FIONBIO), &on);
#elif defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
  OwnedSocket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
#else
  OwnedSocket socket(::socket(family, SOCK_STREAM, 0));
  if (socket) {
    ::fcntl(socket.get(), F_SETFD, FD_CLOEXEC);
    ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  }
#endif
#ifndef _WIN32
  // What the program prints or reads must not be the server's, if it has closed its standard streams.
  if (socket && socket.get() <= STDERR_FILENO) {
    socket = OwnedSocket(::fcntl(socket.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  }
#endif
  if (!socket) throw ConnectionError("cannot open a socket: " + error_message(last_error()));
  return socket;
}

// Begins to connect. 0: the socket is writable when that is done; else the error.
inline int start_connecting(Socket socket, const sockaddr* address, socklen_t size) noexcept {
  if (::connect(socket, address, size) == 0) return 0;
  const int error = last_error();
  return is_under_way(error) ? 0 : error;
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

// A socket that blocks does not while this is there. Only where send() and recv() cannot be told for one call.
class NonBlocking {
 public:
#ifdef _WIN32
  explicit NonBlocking(Socket socket) noexcept : socket_(socket) { set(1); }
  ~NonBlocking() { set(0); }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;

 private:
  void set(u_long on) noexcept { ::ioctlsocket(socket_, static_cast<long>(FIONBIO), &on); }

  Socket socket_;
#else
  explicit NonBlocking(Socket) noexcept {}
#endif
};

// When it is closed, bytes that have not gone out are thrown away.
inline void reset_on_close(Socket socket) noexcept {
  linger value{};
  value.l_onoff = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&value), sizeof value);
}

inline void set_option(Socket socket, int level, int name, int value) noexcept {
  ::setsockopt(socket, level, name, reinterpret_cast<const char*>(&value), sizeof value);
}

// Sends small pieces at once, and notices after about half a minute that the other side is gone. Both do without what
// the system does not know.
inline void tune_tcp(Socket socket) noexcept {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE)
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 15);
#elif defined(TCP_KEEPALIVE)
  set_option(socket, IPPROTO_TCP, TCP_KEEPALIVE, 15);
#endif
#if defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
}

}  // namespace LARDER_HIREDIS_ABI
}  // namespace larder::redis::detail
