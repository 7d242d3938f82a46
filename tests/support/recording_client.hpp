#pragma once

#include <cstddef>
#include <functional>
#include <larder/redis/client.hpp>
#include <larder/redis/command.hpp>
#include <larder/redis/reply.hpp>
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

  redis::Reply run(const redis::Command& command) override {
    exchanges.push_back(words_of(command));
    repeatable.push_back(command.repeatable());
    return answer_(exchanges.back());
  }

  std::vector<redis::Reply> run(const std::vector<redis::Command>& commands) override {
    std::string& exchange = exchanges.emplace_back();
    std::vector<redis::Reply> replies;
    for (const auto& command : commands) {
      const std::string words = words_of(command);
      exchange += (exchange.empty() ? "" : "\n") + words;
      repeatable.push_back(command.repeatable());
      replies.push_back(answer_(words));
    }
    return replies;
  }

  std::vector<std::string> exchanges;
  std::vector<bool> repeatable;  // of each command

 private:
  std::function<redis::Reply(const std::string&)> answer_;
};

}  // namespace larder::testing
