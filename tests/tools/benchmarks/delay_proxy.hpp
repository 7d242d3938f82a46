#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace benchmarks {

/// A process that stands between TCP clients and a server, and holds back each byte for the same time in either
/// direction.
class DelayProxy {
 public:
  DelayProxy(const std::string& server_socket, std::chrono::nanoseconds each_way) {
    const int listener = checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    checked(::bind(listener, generic, size), "bind");
    checked(::listen(listener, 1024), "listen");
    checked(::getsockname(listener, generic, &size), "getsockname");
    port_ = ntohs(address.sin_port);
    process_ = checked(::fork(), "fork");
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      Loop(listener, server_socket, each_way).run();
    }
    ::close(listener);
  }
  DelayProxy(const DelayProxy&) = delete;
  DelayProxy& operator=(const DelayProxy&) = delete;
  ~DelayProxy() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  int port() const noexcept { return port_; }

 private:
  using Clock = std::chrono::steady_clock;

  static int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
  }

  /// One side of a connection.
  struct End {
    explicit End(int socket) : fd(socket) {}
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() { ::close(fd); }

    const int fd;
    std::weak_ptr<End> peer;
    std::string out;    // what is due, and
    bool full = false;  // has to wait for room
  };

  /// Bytes on their way. All take equally long, so that the first to come is the first to go.
  struct Piece {
    Clock::time_point due;
    std::shared_ptr<End> to;
    std::string bytes;
  };

  class Loop {
   public:
    Loop(int listener, const std::string& server_socket, std::chrono::nanoseconds delay)
        : listener_(listener), delay_(delay) {
      server_.sun_family = AF_UNIX;
      server_socket.copy(server_.sun_path, sizeof server_.sun_path - 1);
      watch(listener_, EPOLL_CTL_ADD, EPOLLIN);
      watch(timer_, EPOLL_CTL_ADD, EPOLLIN | EPOLLET);  // so that it need not be read
    }

    [[noreturn]] void run() {
      for (std::array<epoll_event, 256> events;;) {
        const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)]);
        for (const auto now = Clock::now(); !pieces_.empty() && pieces_.front().due <= now; pieces_.pop_front()) {
          const Piece& piece = pieces_.front();
          piece.to->out += piece.bytes;
          write(*piece.to);
        }
        set_timer();
      }
    }

   private:
    void watch(int fd, int operation, std::uint32_t events) const {
      epoll_event event{};
      event.events = events;
      event.data.fd = fd;
      ::epoll_ctl(epoll_, operation, fd, &event);
    }

    void handle(const epoll_event& event) {
      const int fd = event.data.fd;
      if (fd == listener_) return accept();
      const auto found = ends_.find(fd);
      if (found == ends_.end()) return;
      const auto end = found->second;
      if ((event.events & EPOLLOUT) != 0) write(*end);
      if ((event.events & ~EPOLLOUT) != 0) read(*end);
    }

    void accept() {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int on = 1;
      ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const int server = checked(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
      checked(::connect(server, reinterpret_cast<const sockaddr*>(&server_), sizeof server_), "connect");
      const auto one = std::make_shared<End>(client);
      const auto other = std::make_shared<End>(server);
      one->peer = other;
      other->peer = one;
      for (const auto& end : {one, other}) {
        ends_[end->fd] = end;
        watch(end->fd, EPOLL_CTL_ADD, EPOLLIN);
      }
    }

    void read(const End& end) {
      const auto received = ::recv(end.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (received < 0 && errno == EAGAIN) return;
      if (received <= 0) return close(end);
      const std::string bytes(buffer_.data(), static_cast<std::size_t>(received));
      pieces_.push_back({Clock::now() + delay_, end.peer.lock(), bytes});
    }

    void write(End& end) const {
      const auto sent = ::send(end.fd, end.out.data(), end.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) end.out.erase(0, static_cast<std::size_t>(sent));
      const bool full = !end.out.empty();
      if (full != end.full) watch(end.fd, EPOLL_CTL_MOD, full ? EPOLLIN | EPOLLOUT : EPOLLIN);
      end.full = full;
    }

    void close(const End& end) {
      const auto peer = end.peer.lock();
      for (const int fd : {peer->fd, end.fd}) {
        watch(fd, EPOLL_CTL_DEL, 0);
        ::shutdown(fd, SHUT_RDWR);
        ends_.erase(fd);
      }
    }

    void set_timer() {
      if (pieces_.empty() || pieces_.front().due == alarm_) return;
      alarm_ = pieces_.front().due;
      const auto due = std::chrono::nanoseconds(alarm_.time_since_epoch()).count();
      itimerspec when{};
      when.it_value.tv_sec = static_cast<time_t>(due / 1'000'000'000);
      when.it_value.tv_nsec = static_cast<long>(due % 1'000'000'000);
      ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    }

    const int listener_;
    const std::chrono::nanoseconds delay_;
    const int epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    const int timer_ = checked(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create");
    sockaddr_un server_{};
    std::map<int, std::shared_ptr<End>> ends_;
    std::deque<Piece> pieces_;
    Clock::time_point alarm_{};
    std::array<char, 65536> buffer_{};
  };

  int port_ = 0;
  pid_t process_ = -1;
};

}  // namespace benchmarks
