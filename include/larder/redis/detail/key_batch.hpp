// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../../error.hpp"
#include "../../version.hpp"
#include "../client.hpp"
#include "../command.hpp"
#include "../options.hpp"
#include "../reply.hpp"

namespace larder::redis::detail {
inline namespace LARDER_ABI {

// One command that takes any number of keys, on many keys: as several commands, each with keys of one slot. One key
// that the user may not touch, or that is on its way to another node, fails a whole command: its keys are then tried
// one by one.
class KeyBatch {
 public:
  using Keys = std::vector<std::string_view>;

  // Refers to its arguments. Neighbors among the keys share a command.
  KeyBatch(Client& client, std::string_view name, Reply::Kind answer, std::string_view prefix, const Keys& keys)
      : client_(client), name_(name), answer_(answer), prefix_(prefix), keys_(keys) {
    std::size_t slot = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::size_t next = client.slot(prefix, keys[i]);
      if (i == 0 || next != slot || i - begins_.back() == longest) begins_.push_back(i);
      slot = next;
    }
  }

  // Runs it, and gives take(reply, first key, number of keys) the replies that are no refusals; the others are
  // returned, in the order of the keys.
  template <class Take>
  std::vector<BatchError::Refusal> run(std::optional<Deadline> deadline, Take take_reply) {
    std::vector<Command> commands;
    add_commands(commands);
    auto replies = client_.run(commands, deadline);
    std::vector<BatchError::Refusal> refusals;
    take(replies.data(), deadline, [&](Reply& reply, std::size_t first, std::size_t number) {
      if (reply.failure().empty()) return take_reply(reply, first, number);
      for (std::size_t i = first; i < first + number; ++i) refusals.push_back({i, std::string(reply.failure())});
    });
    const auto is_before = [](const auto& one, const auto& other) { return one.index < other.index; };
    std::sort(refusals.begin(), refusals.end(), is_before);
    return refusals;
  }

  void add_commands(std::vector<Command>& commands) const {
    for (std::size_t i = 0; i < begins_.size(); ++i) commands.push_back(command(begins_[i], end_of(i)));
  }

  // Gives take(reply, first key, number of keys) the answers, a failure among them; `replies` are those to the commands
  // that were added.
  template <class Take>
  void take(Reply* replies, std::optional<Deadline> deadline, Take take) {
    std::vector<Command> singles;
    std::vector<std::size_t> keys;
    for (std::size_t i = 0; i < begins_.size(); ++i) {
      const std::size_t begin = begins_[i], end = end_of(i);
      if (end - begin == 1 || !fails_for_one_key(replies[i])) {
        take(replies[i], begin, end - begin);
        continue;
      }
      for (std::size_t key = begin; key < end; ++key) {
        singles.push_back(command(key, key + 1));
        keys.push_back(key);
      }
    }
    if (singles.empty()) return;
    auto answers = client_.run(singles, deadline);
    for (std::size_t i = 0; i < keys.size(); ++i) take(answers[i], keys[i], 1);
  }

 private:
  static constexpr std::size_t longest = 128;  // keys: bounds how long one command keeps the server from others

  std::size_t end_of(std::size_t piece) const noexcept {
    return piece + 1 < begins_.size() ? begins_[piece + 1] : keys_.size();
  }

  Command command(std::size_t begin, std::size_t end) const {
    Command made(name_);
    for (std::size_t i = begin; i < end; ++i) made.add(Key(prefix_, keys_[i]));
    made.expects(answer_);
    return made;
  }

  static bool fails_for_one_key(const Reply& reply) noexcept {
    const std::string_view code = reply.failure().substr(0, reply.failure().find(' '));
    return code == "NOPERM" || code == "TRYAGAIN" || code == "CROSSSLOT";
  }

  Client& client_;
  const std::string_view name_;
  const Reply::Kind answer_;
  const std::string_view prefix_;
  const Keys& keys_;
  std::vector<std::size_t> begins_;  // of the commands, in keys_
};

}  // namespace LARDER_ABI
}  // namespace larder::redis::detail
