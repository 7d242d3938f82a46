#pragma once

#include <poll.h>

#include <atomic>
#include <cctype>
#include <cstdio>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "acceptor.hpp"
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

  explicit ScriptedServer(std::vector<Script> scripts, Listen listen = on_unix_socket)
      : scripts_(std::move(scripts)), address_{listen == on_unix_socket ? dir_.path() + "/scripted.sock" : "", 0} {}
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  const Address& address() const noexcept { return address_; }
  redis::Options options() const { return address_.options(); }
  std::size_t accepted() const noexcept { return acceptor_.accepted(); }

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

  void play(std::size_t index, Fd& fd) {
    if (index >= scripts_.size()) return report(index, 0, "there is no script for this connection");
    const auto& steps = scripts_[index].steps_;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (!play(steps[i], fd, [&](const std::string& what) { report(index, i, what); })) return;
    }
    ++played_;
    if (!fd) return;
    char byte = 0;
    if (acceptor_.wait_for(fd.get(), POLLIN) && ::recv(fd.get(), &byte, 1, 0) > 0) {
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
          if (!acceptor_.wait_for(fd.get(), POLLIN)) return false;
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
        return acceptor_.wait_for(-1, 0, step.time);
      case Kind::close:
        fd.close();
        return true;
      case Kind::reset:
        fd.reset();
        return true;
      case Kind::ignore:
        for (char bytes[65536]; acceptor_.wait_for(fd.get(), POLLIN) && ::recv(fd.get(), bytes, sizeof bytes, 0) > 0;) {
        }
        fd.close();
        return true;
    }
    return false;
  }

  bool send_all(const Fd& fd, std::string_view bytes) const {
    while (!bytes.empty()) {
      if (!acceptor_.wait_for(fd.get(), POLLOUT)) return false;
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
  std::atomic<std::size_t> played_{0};
  std::mutex mutex_;
  std::string problem_;
  Acceptor acceptor_{address_, [this](std::size_t index, Fd& fd) { play(index, fd); }};
};

}  // namespace larder::testing
