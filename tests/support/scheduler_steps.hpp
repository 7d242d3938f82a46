#pragma once

#include <larder/redis/command.hpp>
#include <larder/redis/detail/call.hpp>
#include <larder/redis/detail/scheduler_core.hpp>
#include <larder/redis/reply.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What the core of the scheduler needs around it: time that passes when a test says so, and connections without
// sockets.

namespace larder::testing {

struct FakeClock {
  static inline redis::Deadline time = redis::Deadline() + std::chrono::hours(1);
  static redis::Deadline now() noexcept { return time; }
};

// The server answers ECHO. What was appended is `unsent`, then (send_all()) on the server, then (answer()) in the
// inbox.
class FakeConnection {
 public:
  static constexpr std::size_t buffer_size = 64 * 1024;

  explicit FakeConnection(int* gone = nullptr) : gone_(gone) {}
  FakeConnection(const FakeConnection&) = delete;
  FakeConnection& operator=(const FakeConnection&) = delete;
  ~FakeConnection() {
    if (gone_) ++*gone_;
  }

  bool has_room_for(std::size_t bytes) const noexcept { return bytes_ + bytes <= buffer_size; }
  void append(const redis::Command& command) {
    unsent.push_back(text_of(command));
    bytes_ += command.size();
  }
  bool has_unsent() const noexcept { return !unsent.empty(); }
  void begin_batch() noexcept { has_sent_ = false; }
  bool has_sent() const noexcept { return has_sent_; }
  redis::Deadline used() const noexcept { return used_; }
  void doubt() noexcept { used_ = {}; }
  void mark_unusable() noexcept {}

  bool send_one() {
    if (unsent.empty()) return false;
    on_server.push_back(std::move(unsent.front()));
    unsent.pop_front();
    has_sent_ = true;
    if (unsent.empty()) bytes_ = 0;
    return true;
  }
  void send_all() {
    while (send_one()) {
    }
  }
  void answer(std::size_t count = SIZE_MAX) {
    for (; count != 0 && !on_server.empty(); --count) {
      inbox.push_back(std::move(on_server.front()));
      on_server.pop_front();
    }
  }
  // The replies that have come.
  bool receive(std::vector<redis::Reply>& received) {
    if (inbox.empty()) return false;
    used_ = FakeClock::time;
    for (auto& text : inbox) received.emplace_back(redis::Reply::Kind::string, std::move(text));
    inbox.clear();
    return true;
  }

  std::deque<std::string> unsent, on_server, inbox;
  bool is_broken = false;

 private:
  static std::string text_of(const redis::Command& command) {
    std::string text(command.head());
    text.append(command.value()).append(command.tail());
    const std::string_view name = "$4\r\nECHO\r\n$";
    const std::size_t at = text.find("\r\n", text.find(name) + name.size()) + 2;
    return text.substr(at, text.size() - at - 2);
  }

  int* gone_;
  std::size_t bytes_ = 0;
  bool has_sent_ = false;
  redis::Deadline used_ = FakeClock::time;
};

using FakeCore = redis::detail::SchedulerCore<FakeConnection, FakeClock>;
using FakeLink = FakeCore::Link;

inline redis::Command echo(std::string_view text, bool is_repeatable = true) {
  redis::Command command("ECHO", text);
  command.expects(redis::Reply::Kind::string);
  if (!is_repeatable) command.never_repeat();
  return command;
}

// A caller: the commands of a call, and the call.
class Caller {
 public:
  Caller(std::vector<redis::Command> commands, std::chrono::nanoseconds timeout, std::chrono::nanoseconds to_connect)
      : commands_(std::move(commands)),
        replies_(commands_.size()),
        call(commands_.data(), commands_.size(), replies_.data(), FakeClock::time, FakeClock::time + timeout,
             FakeClock::time + timeout + to_connect) {
    call.is_attended = true;
  }

  std::string reply(std::size_t index = 0) { return std::string(replies_[index].string()); }
  bool has_reply(std::size_t index = 0) const { return replies_[index].kind() == redis::Reply::Kind::string; }
  bool is_done() const { return call.waiter.is_done(); }
  std::string failure() const { return call.failure ? call.failure.text() : ""; }

 private:
  std::vector<redis::Command> commands_;
  std::vector<redis::Reply> replies_;

 public:
  redis::detail::Call call;
};

}  // namespace larder::testing
