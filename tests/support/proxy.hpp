#pragma once

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sockets.hpp"

namespace larder::testing {

/// Stands between a client and a server, on a unix socket or on TCP, and does to their bytes what it is told. Each
/// command has taken effect when it returns. One thread moves everything.
class Proxy {
 public:
  enum Listen { on_unix_socket, on_tcp };
  enum Direction { up, down };  // to the server, to the client
  enum class End { close, reset, silence };

  explicit Proxy(Address server, Listen listen = on_unix_socket) : server_(std::move(server)) {
    if (listen == on_unix_socket) address_.path = dir_.path() + "/proxy.sock";
    listener_ = listen_on(address_, 1024);
    make_nonblocking(listener_);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw_errno("pipe2");
    woken_ = Fd(ends[0]);
    waker_ = Fd(ends[1]);
    thread_ = start_without_signals([this] { loop(); });
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy() {
    in_loop([this] { stopped_ = true; });
    thread_.join();
  }

  const Address& address() const noexcept { return address_; }
  redis::Options options() const { return address_.options(); }

  /// Holds back each piece for so long, or for a random time between two; of a random choice only: `chance` is from 0
  /// to
  /// 1. Such a piece may have its front sent at once. No piece overtakes another.
  void delay(microseconds least, microseconds most, double chance = 1) {
    in_loop([=] { delay_ = {least, most, chance}; });
  }
  void delay(microseconds time) { delay(time, time); }

  /// One byte in so long; 0: as they come.
  void trickle(Direction direction, milliseconds time) {
    in_loop([=] {
      per_byte_[direction] = time;
      if (time > 0ms) ++faults_;
    });
  }

  /// Lets `bytes` more bytes through in a direction, and then ends the connection that they are on; once.
  void cut_after(Direction direction, std::size_t bytes, End end) {
    in_loop([=] { cut_ = Cut{direction, bytes, end}; });
  }

  /// Neither reads nor connects. What is under way comes later, when it speaks again.
  void be_silent(bool silent = true) {
    in_loop([=] {
      silent_ = silent;
      if (silent) ++faults_;
    });
  }

  /// Sends every piece for the client twice, both at once.
  void duplicate(bool on = true) {
    in_loop([=] { duplicate_ = on; });
  }

  /// Puts bytes of its own into all connections' way to the client.
  void inject(const std::string& bytes) {
    in_loop([&] {
      for (auto& link : links_) {
        link.pipes[down].queue.push_back({Clock::now(), bytes});
        write(link, link.pipes[down]);
        ++faults_;
      }
    });
  }

  /// Ends all connections, with a reset if they are on TCP, as a server that is killed does.
  void reset_all() {
    in_loop([this] {
      for (auto& link : links_) end(link, End::reset);
    });
  }

  /// Closes each new connection at once, or takes them again.
  void refuse(bool on = true) {
    in_loop([=] { refuse_ = on; });
  }

  /// Ends all connections; new ones go to another server, as after a failover.
  void move_to(const Address& server) {
    in_loop([&] {
      server_ = server;
      for (auto& link : links_) end(link, End::reset);
      ++faults_;
    });
  }

  /// New connections go to another server, and the others stay, as when a name gets another address.
  void lead_to(const Address& server) {
    in_loop([&] {
      server_ = server;
      ++faults_;
    });
  }

  std::size_t accepted() const noexcept { return accepted_; }
  /// How many bytes have come from clients.
  std::size_t bytes_up() const noexcept { return bytes_up_; }
  /// How often it has interfered.
  std::size_t faults() const noexcept { return faults_; }

 private:
  struct Piece {
    Clock::time_point due;
    std::string bytes;
  };
  struct Pipe {
    Direction direction;
    std::deque<Piece> queue;
    std::size_t queued = 0;  // bytes that were read, and not written yet
    Clock::time_point next{};
    bool blocked = false, ended = false;
  };
  struct Link {
    Fd ends[2];  // of the client, of the server
    Pipe pipes[2] = {{up, {}}, {down, {}}};
    bool over = false;

    Fd& from(const Pipe& pipe) { return ends[pipe.direction]; }
    Fd& to(const Pipe& pipe) { return ends[1 - pipe.direction]; }
  };
  struct Delay {
    microseconds least{0}, most{0};
    double chance = 0;
  };
  struct Cut {
    Direction direction;
    std::size_t bytes;
    End end;
  };

  static constexpr std::size_t queue_limit = std::size_t{1} << 20;

  static void make_nonblocking(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK); }

  void in_loop(const std::function<void()>& task) {
    std::unique_lock lock(mutex_);
    bool done = false;
    tasks_.push_back([&] {
      task();
      done = true;
    });
    [[maybe_unused]] const auto written = ::write(waker_.get(), "", 1);
    task_done_.wait(lock, [&] { return done; });
  }

  void loop() {
    std::vector<pollfd> polled;
    while (!stopped_) {
      polled.clear();
      polled.push_back({woken_.get(), POLLIN, 0});
      polled.push_back({listener_.get(), static_cast<short>(silent_ ? 0 : POLLIN), 0});
      std::optional<Clock::time_point> due;
      for (auto& link : links_) {
        short events[2] = {0, 0};
        for (auto& pipe : link.pipes) {
          const auto from = static_cast<std::size_t>(pipe.direction);
          if (!silent_ && !pipe.ended && pipe.queued < queue_limit) events[from] |= POLLIN;
          if (pipe.blocked) events[1 - from] |= POLLOUT;
          if (const auto time = due_time(pipe); time && !silent_ && (!due || *time < *due)) due = time;
        }
        // A connection that nothing is wanted from must not wake the loop with its end.
        for (const std::size_t i : {0U, 1U}) polled.push_back({events[i] ? link.ends[i].get() : -1, events[i], 0});
      }
      timespec left{};
      if (due) {
        const auto wait = std::max(Clock::duration::zero(), *due - Clock::now());
        left.tv_sec = static_cast<time_t>(wait / 1s);
        left.tv_nsec = static_cast<long>((wait % 1s) / 1ns);
      }
      ::ppoll(polled.data(), polled.size(), due ? &left : nullptr, nullptr);

      std::size_t at = 2;
      for (auto& link : links_) {
        for (auto& pipe : link.pipes) {
          const auto from = static_cast<std::size_t>(pipe.direction);
          if (polled[at + 1 - from].revents) pipe.blocked = false;
          if ((polled[at + from].events & POLLIN) && polled[at + from].revents) read(link, pipe);
        }
        at += 2;
      }
      if (polled[1].revents) accept();
      if (polled[0].revents) run_tasks();
      for (auto& link : links_) {
        for (auto& pipe : link.pipes) write(link, pipe);
      }
      links_.remove_if([](const Link& link) { return link.over; });
    }
  }

  void run_tasks() {
    char bytes[64];
    while (::read(woken_.get(), bytes, sizeof bytes) > 0) {
    }
    const std::lock_guard lock(mutex_);
    for (auto& task : tasks_) task();
    tasks_.clear();
    task_done_.notify_all();
  }

  void accept() {
    Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) return;
    ++accepted_;
    Fd server = refuse_ ? Fd() : connect_to(server_);
    if (refuse_) ++faults_;
    if (!server) return client.reset();
    const int on = 1;
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    make_nonblocking(server);
    Link& link = links_.emplace_back();
    link.ends[0] = std::move(client);
    link.ends[1] = std::move(server);
  }

  void read(Link& link, Pipe& pipe) {
    if (link.over) return;
    char bytes[65536];
    const auto count = ::recv(link.from(pipe).get(), bytes, sizeof bytes, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) return end(link, End::reset);
    pipe.ended = count == 0;
    if (pipe.ended) return;
    std::string piece(bytes, static_cast<std::size_t>(count));
    if (pipe.direction == up) bytes_up_ += piece.size();
    if (duplicate_ && pipe.direction == down) {
      piece += piece;
      ++faults_;
    }
    push(pipe, std::move(piece));
  }

  void push(Pipe& pipe, std::string piece) {
    pipe.queued += piece.size();
    auto due = Clock::now();
    if (!pipe.queue.empty()) due = std::max(due, pipe.queue.back().due);
    if (delay_.most > 0us && std::uniform_real_distribution<double>()(random_) < delay_.chance) {
      ++faults_;
      if (delay_.least != delay_.most && random_() % 2 == 0) {
        const auto front = std::uniform_int_distribution<std::size_t>(0, piece.size())(random_);
        pipe.queue.push_back({due, piece.substr(0, front)});
        piece.erase(0, front);
      }
      using Random = std::uniform_int_distribution<microseconds::rep>;
      due += microseconds(Random(delay_.least.count(), delay_.most.count())(random_));
    }
    pipe.queue.push_back({due, std::move(piece)});
  }

  std::optional<Clock::time_point> due_time(const Pipe& pipe) const {
    if (pipe.blocked || pipe.queue.empty()) return std::nullopt;
    return std::max(pipe.queue.front().due, per_byte_[pipe.direction] > 0ms ? pipe.next : Clock::time_point());
  }

  void write(Link& link, Pipe& pipe) {
    for (auto due = due_time(pipe); !link.over && !silent_ && due && *due <= Clock::now(); due = due_time(pipe)) {
      auto& bytes = pipe.queue.front().bytes;
      std::size_t size = bytes.size();
      if (per_byte_[pipe.direction] > 0ms) size = std::min<std::size_t>(size, 1);
      const bool cuts = cut_ && cut_->direction == pipe.direction;
      if (cuts) size = std::min(size, cut_->bytes);
      if (cuts && size == 0 && !bytes.empty()) {
        ++faults_;
        const End how = cut_->end;
        cut_.reset();
        return end(link, how);
      }
      const auto count = size == 0 ? 0 : ::send(link.to(pipe).get(), bytes.data(), size, MSG_NOSIGNAL);
      if (count < 0 && errno == EAGAIN) {
        pipe.blocked = true;
        return;
      }
      if (count < 0) return end(link, End::reset);
      const auto sent = static_cast<std::size_t>(count);
      if (cuts) cut_->bytes -= sent;
      pipe.next = Clock::now() + per_byte_[pipe.direction];
      pipe.queued -= std::min(pipe.queued, sent);
      bytes.erase(0, sent);
      if (bytes.empty()) pipe.queue.pop_front();
    }
    if (pipe.ended && pipe.queue.empty()) end(link, End::close);
  }

  void end(Link& link, End how) {
    if (link.over) return;
    if (how == End::silence) {
      silent_ = true;
      return;
    }
    link.over = true;
    for (auto& fd : link.ends) how == End::reset ? fd.reset() : fd.close();
  }

  const TempDir dir_;
  Address address_;
  Fd listener_, woken_, waker_;
  std::atomic<std::size_t> accepted_{0}, bytes_up_{0}, faults_{0};

  // Of the loop alone.
  Address server_;
  std::list<Link> links_;
  Delay delay_;
  milliseconds per_byte_[2] = {0ms, 0ms};
  std::optional<Cut> cut_;
  bool silent_ = false, duplicate_ = false, refuse_ = false, stopped_ = false;
  std::mt19937_64 random_{20240229};

  std::mutex mutex_;  // of the tasks
  std::condition_variable task_done_;
  std::vector<std::function<void()>> tasks_;
  std::thread thread_;
};

}  // namespace larder::testing
