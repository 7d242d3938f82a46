#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "address.hpp"

namespace larder::testing {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;

[[noreturn]] inline void throw_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Fd {
 public:
  explicit Fd(int fd = -1) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends a TCP connection with RST. A unix socket knows nothing of the kind: there it is a close.
  void reset() noexcept {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }

 private:
  int fd_;
};

/// A folder of its own, with a path short enough for sockets.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/larder-test-XXXXXX";
    if (!::mkdtemp(name)) throw_errno("mkdtemp");
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// Calls use(name, size) with the address as the socket functions take it.
template <class Use>
int with_sockaddr(const Address& address, Use use) {
  if (!address.path.empty()) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (address.path.size() >= sizeof name.sun_path) throw std::length_error("the path of a socket is too long");
    std::memcpy(name.sun_path, address.path.data(), address.path.size());
    return use(reinterpret_cast<const sockaddr*>(&name), socklen_t{sizeof name});
  }
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<std::uint16_t>(address.port));
  return use(reinterpret_cast<const sockaddr*>(&name), socklen_t{sizeof name});
}

inline Fd make_socket(const Address& address) {
#ifdef SOCK_CLOEXEC
  constexpr int type = SOCK_STREAM | SOCK_CLOEXEC;
#else
  constexpr int type = SOCK_STREAM;
#endif
  Fd fd(::socket(address.path.empty() ? AF_INET : AF_UNIX, type, 0));
  if (!fd) throw_errno("socket");
  return fd;
}

/// Binds a socket to an address; port 0 becomes a free one.
inline Fd bind_to(Address& address) {
  Fd fd = make_socket(address);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto bind = [&](const sockaddr* name, socklen_t size) { return ::bind(fd.get(), name, size); };
  if (with_sockaddr(address, bind) != 0) throw_errno("bind");
  if (address.path.empty()) {
    sockaddr_in name{};
    socklen_t size = sizeof name;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size);
    address.port = ntohs(name.sin_port);
  }
  return fd;
}

/// The same, and listens there.
inline Fd listen_on(Address& address, int backlog = 128) {
  Fd fd = bind_to(address);
  if (::listen(fd.get(), backlog) != 0) throw_errno("listen");
  return fd;
}

/// A port of 127.0.0.1 that nobody else gets. It refuses connections, unless a server listens there that sets
/// SO_REUSEADDR, as Redis does.
class ReservedPort {
 public:
  const Address& address() const noexcept { return address_; }

 private:
  Address address_;
  const Fd bound_ = bind_to(address_);
};

/// Connects, or returns no socket.
inline Fd connect_to(const Address& address) {
  Fd fd = make_socket(address);
  const auto connect = [&](const sockaddr* name, socklen_t size) { return ::connect(fd.get(), name, size); };
  if (with_sockaddr(address, connect) != 0) return Fd();
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

/// Whether this machine has IPv6's loopback.
inline bool has_ipv6() {
  const Fd fd(::socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_addr = IN6ADDR_LOOPBACK_INIT;
  return fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
}

/// Starts a thread that gets no signals: these are for the threads under test.
template <class Body>
std::thread start_without_signals(Body body) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace larder::testing
