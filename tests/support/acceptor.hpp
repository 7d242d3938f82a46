#pragma once

#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <thread>
#include <utility>

#include "sockets.hpp"

namespace larder::testing {

/// Accepts connections, each of which is served by a thread of its own. The last member of a server, whose other
/// members it uses until it is destroyed.
class Acceptor {
 public:
  /// Called with the number of the connection, from 0, and its socket.
  using Serve = std::function<void(std::size_t index, Fd& fd)>;

  Acceptor(Address& address, Serve serve) : serve_(std::move(serve)), listener_(listen_on(address)) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
    stopped_ = Fd(ends[0]);
    stop_ = Fd(ends[1]);
    thread_ = start_without_signals([this] { accept_all(); });
  }
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor() {
    stop_.close();
    thread_.join();
    for (auto& server : servers_) server.join();
  }

  std::size_t accepted() const noexcept { return accepted_; }

  /// Waits for something to happen to a socket, or to none (-1); false once the server is to stop.
  bool wait_for(int fd, short events, milliseconds at_most = -1ms) const {
    pollfd polled[] = {{stopped_.get(), POLLIN, 0}, {fd, events, 0}};
    ::poll(polled, fd < 0 ? 1 : 2, static_cast<int>(at_most.count()));
    return polled[0].revents == 0;
  }

 private:
  void accept_all() {
    while (wait_for(listener_.get(), POLLIN)) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) continue;
      const std::size_t index = accepted_++;
      servers_.emplace_back([this, index, socket = std::move(fd)]() mutable { serve_(index, socket); });
    }
  }

  const Serve serve_;
  Fd listener_, stopped_, stop_;
  std::atomic<std::size_t> accepted_{0};
  std::list<std::thread> servers_;  // of the accepting thread, until that has ended
  std::thread thread_;
};

}  // namespace larder::testing
