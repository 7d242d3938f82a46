#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <larder/redis/client.hpp>
#include <larder/redis/command.hpp>
#include <larder/redis/reply.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace larder::testing {

/// The words of an encoded command, as in "SET key value PX 1000".
inline std::string words_of(const redis::Command& command) {
  std::string encoded;
  encoded.append(command.head()).append(command.value()).append(command.tail());
  std::string words;
  std::size_t at = encoded.find("\r\n") + 2;
  while (at < encoded.size()) {
    const std::size_t line_end = encoded.find("\r\n", at);
    const std::size_t size = std::stoul(encoded.substr(at + 1, line_end - at - 1));
    words += (words.empty() ? "" : " ") + encoded.substr(line_end + 2, size);
    at = line_end + 2 + size + 2;
  }
  return words;
}

/// A Client that writes down each exchange, the commands of a pipeline on lines of their own, and lets a test answer.
class RecordingClient : public redis::Client {
 public:
  explicit RecordingClient(std::function<redis::Reply(const std::string& words)> answer) : answer_(std::move(answer)) {}

  std::uint64_t generation() const noexcept override { return generations; }

  std::vector<std::string> exchanges;
  std::vector<bool> repeatable;                           // of each command
  std::vector<std::optional<redis::Deadline>> deadlines;  // of each exchange
  std::uint64_t generations = 0;

 private:
  void do_run(const redis::Command* commands, std::size_t count, redis::Reply* replies,
              std::optional<redis::Deadline> deadline) override {
    std::string exchange;
    for (std::size_t i = 0; i < count; ++i) {
      exchange += (i == 0 ? "" : "\n") + words_of(commands[i]);
      repeatable.push_back(commands[i].repeatable());
    }
    exchanges.push_back(exchange);
    deadlines.push_back(deadline);
    for (std::size_t i = 0; i < count; ++i) replies[i] = answer_(words_of(commands[i]));
  }

  std::function<redis::Reply(const std::string&)> answer_;
};

}  // namespace larder::testing
