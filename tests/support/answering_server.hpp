#pragma once

#include <poll.h>

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "acceptor.hpp"
#include "sockets.hpp"
#include "wire.hpp"

namespace larder::testing {

using Words = std::vector<std::string>;

/// A server on a loopback port that answers each command with what a function makes of it, on any number of
/// connections. An empty answer: the server says nothing more on the connection; none: it closes it.
class AnsweringServer {
 public:
  using Answer = std::function<std::optional<std::string>(const Words& words)>;

  explicit AnsweringServer(Answer answer) : answer_(std::move(answer)) {}
  AnsweringServer(const AnsweringServer&) = delete;
  AnsweringServer& operator=(const AnsweringServer&) = delete;

  /// What a primary of a cluster without passwords answers to a new connection.
  static std::string usual(const Words& words) {
    if (words.front() == "PING") return "+PONG\r\n";
    if (words.front() == "HELLO") return "*4\r\n" + bulk("role") + bulk("master") + bulk("mode") + bulk("cluster");
    return "-ERR unknown command\r\n";
  }

  int port() const noexcept { return address_.port; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port()); }

  /// Answers in another way from now on.
  void answer_with(Answer answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }

  /// How often a command came, by its first word.
  std::size_t count(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return counts_[name];
  }

 private:
  void serve(const Fd& fd) {
    std::string bytes;
    for (;;) {
      while (auto words = take_command(bytes)) {
        const auto answer = answer_to(*words);
        if (!answer) return;
        if (answer->empty()) {
          acceptor_.wait_for(-1, 0);
          return;
        }
        for (std::size_t sent = 0; sent < answer->size();) {
          const auto count = ::send(fd.get(), answer->data() + sent, answer->size() - sent, MSG_NOSIGNAL);
          if (count <= 0) return;
          sent += static_cast<std::size_t>(count);
        }
      }
      char buffer[65536];
      if (!acceptor_.wait_for(fd.get(), POLLIN)) return;
      const auto count = ::recv(fd.get(), buffer, sizeof buffer, 0);
      if (count <= 0) return;
      bytes.append(buffer, static_cast<std::size_t>(count));
    }
  }

  std::optional<std::string> answer_to(const Words& words) {
    Answer answer;
    {
      const std::lock_guard lock(mutex_);
      ++counts_[words.front()];
      answer = answer_;
    }
    return answer(words);
  }

  // The first command in `bytes`, if the whole of it is there.
  static std::optional<Words> take_command(std::string& bytes) {
    std::size_t at = 0;
    const auto number = [&]() -> std::optional<std::size_t> {
      const auto end = bytes.find("\r\n", at);
      if (end == std::string::npos) return std::nullopt;
      const std::size_t value = std::stoul(bytes.substr(at + 1, end - at - 1));
      at = end + 2;
      return value;
    };
    const auto count = number();
    if (!count) return std::nullopt;
    Words words;
    while (words.size() < *count) {
      const auto size = number();
      if (!size || bytes.size() < at + *size + 2) return std::nullopt;
      words.push_back(bytes.substr(at, *size));
      at += *size + 2;
    }
    bytes.erase(0, at);
    return words;
  }

  Address address_;
  std::mutex mutex_;
  Answer answer_;
  std::map<std::string, std::size_t> counts_;
  Acceptor acceptor_{address_, [this](std::size_t, Fd& fd) { serve(fd); }};
};

}  // namespace larder::testing
