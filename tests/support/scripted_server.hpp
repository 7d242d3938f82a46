#pragma once

#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <cctype>
#include <cstdio>
#include <initializer_list>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sockets.hpp"
#include "testing.hpp"
#include "wire.hpp"

namespace larder::testing {

/// What a server does on one connection. After the last step it waits for the client to close, and minds further bytes.
class Script {
 public:
  Script& expect(std::string bytes) { return add({Step::Kind::expect, std::move(bytes), {}}); }
  Script& expect(std::initializer_list<std::string_view> words) { return expect(request(words)); }
  Script& send(std::string bytes) { return add({Step::Kind::send, std::move(bytes), {}}); }
  /// Sends the bytes again and again, until the client closes.
  Script& flood(std::string bytes) { return add({Step::Kind::flood, std::move(bytes), {}}); }
  Script& delay(milliseconds time) { return add({Step::Kind::delay, {}, time}); }
  Script& close() { return add({Step::Kind::close, {}, {}}); }
  Script& reset() { return add({Step::Kind::reset, {}, {}}); }
  /// Reads and forgets whatever else the client sends.
  Script& ignore() { return add({Step::Kind::ignore, {}, {}}); }
  /// What a client without password, database and name begins with.
  Script& greet() { return expect({"PING"}).send("+PONG\r\n"); }

 private:
  friend class ScriptedServer;
  struct Step {
    enum class Kind { expect, send, flood, delay, close, reset, ignore } kind;
    std::string bytes;
    milliseconds time;
  };
  Script& add(Step step) {
    steps_.push_back(std::move(step));
    return *this;
  }
  std::vector<Step> steps_;
};

/// Plays one script for each connection, in the order of the connections.
class ScriptedServer {
 public:
  enum Listen { on_unix_socket, on_tcp };

  explicit ScriptedServer(std::vector<Script> scripts, Listen listen = on_unix_socket) : scripts_(std::move(scripts)) {
    if (listen == on_unix_socket) address_.path = dir_.path() + "/scripted.sock";
    listener_ = listen_on(address_);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
    stopped_ = Fd(ends[0]);
    stop_ = Fd(ends[1]);
    thread_ = start_without_signals([this] { accept_all(); });
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer() {
    stop_.close();
    thread_.join();
    for (auto& player : players_) player.join();
  }

  const Address& address() const noexcept { return address_; }
  redis::Options options() const { return address_.options(); }
  std::size_t accepted() const noexcept { return accepted_; }

  /// What was not as the scripts have it; empty if all of them have been played to their last step.
  std::string problem() {
    eventually([&] { return played_ == scripts_.size() || has_problem(); });
    const std::lock_guard lock(mutex_);
    if (!problem_.empty()) return problem_;
    return played_ == scripts_.size()
               ? std::string()
               : std::to_string(scripts_.size() - played_) + " scripts were not played to the end";
  }

 private:
  bool has_problem() {
    const std::lock_guard lock(mutex_);
    return !problem_.empty();
  }

  void report(std::size_t connection, std::size_t step, const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) {
      problem_ = "connection " + std::to_string(connection + 1) + ", step " + std::to_string(step + 1) + ": " + what;
    }
  }

  // False once the server is to stop.
  bool wait_for(int fd, short events, milliseconds at_most = -1ms) const {
    pollfd polled[] = {{stopped_.get(), POLLIN, 0}, {fd, events, 0}};
    ::poll(polled, fd < 0 ? 1 : 2, static_cast<int>(at_most.count()));
    return polled[0].revents == 0;
  }

  void accept_all() {
    while (wait_for(listener_.get(), POLLIN)) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) continue;
      const std::size_t index = accepted_++;
      if (index >= scripts_.size()) {
        report(index, 0, "there is no script for this connection");
        continue;
      }
      players_.emplace_back([this, index, socket = std::move(fd)]() mutable { play(index, socket); });
    }
  }

  void play(std::size_t index, Fd& fd) {
    const auto& steps = scripts_[index].steps_;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (!play(steps[i], fd, [&](const std::string& what) { report(index, i, what); })) return;
    }
    ++played_;
    if (!fd) return;
    char byte = 0;
    if (wait_for(fd.get(), POLLIN) && ::recv(fd.get(), &byte, 1, 0) > 0) {
      report(index, steps.size(), "the client sent more than the script has");
    }
  }

  template <class Report>
  bool play(const Script::Step& step, Fd& fd, Report report_problem) {
    using Kind = Script::Step::Kind;
    switch (step.kind) {
      case Kind::expect: {
        std::string got;
        while (got.size() < step.bytes.size() && step.bytes.compare(0, got.size(), got) == 0) {
          char bytes[65536];
          const std::size_t wanted = (std::min)(sizeof bytes, step.bytes.size() - got.size());
          if (!wait_for(fd.get(), POLLIN)) return false;
          const auto count = ::recv(fd.get(), bytes, wanted, 0);
          if (count <= 0) break;
          got.append(bytes, static_cast<std::size_t>(count));
        }
        if (got == step.bytes) return true;
        report_problem("expected " + readable(step.bytes) + ", got " + readable(got));
        return false;
      }
      case Kind::send:
        if (send_all(fd, step.bytes)) return true;
        report_problem("the client closed before " + readable(step.bytes) + " was sent");
        return false;
      case Kind::flood:
        while (send_all(fd, step.bytes)) {
        }
        fd.close();
        return true;
      case Kind::delay:
        return wait_for(-1, 0, step.time);
      case Kind::close:
        fd.close();
        return true;
      case Kind::reset:
        fd.reset();
        return true;
      case Kind::ignore:
        for (char bytes[65536]; wait_for(fd.get(), POLLIN) && ::recv(fd.get(), bytes, sizeof bytes, 0) > 0;) {
        }
        fd.close();
        return true;
    }
    return false;
  }

  bool send_all(const Fd& fd, std::string_view bytes) const {
    while (!bytes.empty()) {
      if (!wait_for(fd.get(), POLLOUT)) return false;
      const auto count = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN) return false;
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  static std::string readable(std::string_view bytes) {
    std::string text = "\"";
    for (const char c : bytes.substr(0, 200)) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      if (c == '\r' || c == '\n') {
        text += c == '\r' ? "\\r" : "\\n";
      } else if (std::isprint(static_cast<unsigned char>(c))) {
        text += c;
      } else {
        text += escaped;
      }
    }
    return text + "\" (" + std::to_string(bytes.size()) + " bytes)";
  }

  const TempDir dir_;
  const std::vector<Script> scripts_;
  Address address_;
  Fd listener_, stopped_, stop_;
  std::atomic<std::size_t> accepted_{0}, played_{0};
  std::mutex mutex_;
  std::string problem_;
  std::list<std::thread> players_;  // of the accepting thread, until that has ended
  std::thread thread_;
};

}  // namespace larder::testing
